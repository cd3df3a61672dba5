"""The same figure again, as large as that of a training, whenever the slider moves."""

from __future__ import annotations

import streamlit as st

from benchmarks.bare_fragment.packets import figure
from pages import _components as components


@st.fragment
def bare() -> None:
    count = st.session_state["figures"] = st.session_state.get("figures", 0) + 1
    st.select_slider("Step size", range(60), key="lr0")
    components.figure("figure", figure().replace("{", f'{{"count":{count},', 1))


bare()
