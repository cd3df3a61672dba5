"""Page set-up and navigation."""

import os
from pathlib import Path

import streamlit as st

from pages import _connections as connections
from pages import _file as reopen
from pages import _waiting as waiting
from ravine import log
from ravine.experiment import VIEWS
from ravine.frame import Frame

HERE = Path(__file__).resolve().parent

# Read before the page is: what stands around it depends on the frame that its link asks for.
framed, _ = Frame.from_query(st.query_params.to_dict())
title = f"{framed.title} · Ravine" if framed.title else "Ravine"
st.set_page_config(page_title=title, page_icon=str(HERE.parent / "assets" / "icon.png"), layout="wide")
ASSETS = HERE.parent / "assets"
st.html(ASSETS / "style.css")
if framed.present:
    st.html(ASSETS / "present.css")
if framed.present or framed.show:
    st.html(ASSETS / "fewer.css")
page = st.navigation(
    [
        st.Page(HERE / "gallery.py", title="Gallery", url_path="gallery"),
        st.Page(HERE / "descend.py", title="Descend", default=True),
        st.Page(HERE / "edge.py", title="Edge of stability", url_path="edge"),
        st.Page(HERE / "slice.py", title="Slice", url_path="slice"),
        st.Page(HERE / "sweep.py", title="Sweep", url_path="sweep"),
        st.Page(HERE / "stepsize.py", title="Step size", url_path="stepsize"),
        st.Page(HERE / "watch.py", title="Watch", url_path="watch"),
        st.Page(HERE / "reference.py", title="Reference", url_path="reference"),
        st.Page(HERE / "compare.py", title="Compare", url_path="compare"),
    ],
    position="hidden" if framed.present else "top",
)
if log.ENVIRONMENT in os.environ and "log opened" not in st.session_state:  # `ravine open FILE`
    st.session_state["log opened"] = True
    if page.url_path == "" and not st.query_params:
        st.switch_page(HERE / "watch.py")
if connections.place():
    waiting.room()
page.run()
if not framed.present and not framed.show and page.url_path != "compare":  # which has fields of its own
    beside = page.url_path in {view.path for view in VIEWS.values()}
    with st.sidebar if beside else st.container():
        reopen.panel()
