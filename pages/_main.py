"""Page set-up and navigation."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent

st.set_page_config(page_title="Ravine", page_icon=str(HERE.parent / "assets" / "icon.png"), layout="wide")
st.html(HERE.parent / "assets" / "style.css")
st.navigation(
    [
        st.Page(HERE / "descend.py", title="Descend", default=True),
        st.Page(HERE / "edge.py", title="Edge of stability", url_path="edge"),
        st.Page(HERE / "slice.py", title="Slice", url_path="slice"),
        st.Page(HERE / "reference.py", title="Reference", url_path="reference"),
    ],
    position="top",
).run()
