"""The gallery: a picture for each thing worth seeing, computed here, that opens the page which shows it."""

from __future__ import annotations

import base64

import streamlit as st

from pages import _services as services
from ravine.frame import Frame
from ravine.gallery import PIECES

st.markdown("## See for yourself")
st.caption("Each picture was computed by this app, and opens the page that made it: change anything, and watch.")
for row in range(0, len(PIECES), 2):
    for piece, column in zip(PIECES[row : row + 2], st.columns(2, gap="medium"), strict=False):
        address = piece.experiment().to_url(framed=Frame(title=piece.title))
        with column.container(border=True):
            with st.spinner("Drawing …"):
                image = base64.b64encode(services.pictured(piece)).decode()
            st.markdown(f"[![{piece.says}](data:image/png;base64,{image})]({address})")
            st.markdown(f"**[{piece.title}]({address})**  \n{piece.says}")
