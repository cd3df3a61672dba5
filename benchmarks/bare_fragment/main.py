"""Two pages that compute nothing: the canvas of Descend, and a figure as the long pages have it."""

from __future__ import annotations

import streamlit as st

st.set_page_config(page_title="Bare fragment", layout="wide")
st.navigation(
    [st.Page("page.py", title="Canvas", default=True), st.Page("figure.py", title="Figure", url_path="figure")],
    position="hidden",
).run()
