"""As many widgets as the Descend page has, and the same picture again whenever one of them moves."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from benchmarks.bare_fragment.packets import ROOT, packets
from pages import _components as components

st.html(ROOT / "assets" / "style.css")
field, view, at = packets(urlencode(st.query_params.to_dict()))
rows = sum(key.startswith("opt") and "." not in key for key in st.query_params.to_dict())
with st.sidebar:
    st.selectbox("Surface", ("one", "two"))
    st.number_input("a", value=1.0)
    st.select_slider("b", range(60))
components.field("field", field)


@st.fragment
def bare() -> None:
    count = st.session_state["count"] = st.session_state.get("count", 100_000) + 1
    picture, side = st.columns([3.1, 1], gap="medium")
    with side:
        for column, label in zip(st.columns(2), ("View", "Steps"), strict=True):
            column.selectbox(label, ("one", "two"))
        for column, label in zip(st.columns(2), ("Start x", "Start y"), strict=True):
            column.number_input(label, value=1.0)
        for row in range(rows):
            with st.container(border=True, gap="small", key=f"run-{row}"):
                rule, more, remove = st.columns([5, 1, 1], gap="small", vertical_alignment="center")
                rule.selectbox("Rule", ("one", "two"), key=f"rule{row}", label_visibility="collapsed")
                with more, st.popover("", icon=":material/tune:", type="tertiary"):
                    for name in ("momentum", "weight decay", "step size"):
                        st.text_input(name, "0.1", key=f"{name}{row}")
                remove.button("", icon=":material/close:", key=f"remove{row}", type="tertiary")
                st.select_slider("Step size", range(60), key=f"lr{row}")
        st.button("Add a run", icon=":material/add:", width="stretch")
    with picture:
        components.canvas("canvas", view[:at] + str(count).encode() + view[at + 6 :], on_start_change=lambda: None)
    with side:
        share, data = st.columns(2)
        with share, st.popover("Share", icon=":material/link:", width="stretch"):
            st.code("link", language=None)
        data.download_button("Data", b"data", icon=":material/download:", on_click="ignore")


bare()
