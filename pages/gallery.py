"""The gallery: a picture for each thing worth seeing, that opens the page which shows it."""

from __future__ import annotations

import streamlit as st

from pages._text import image, linked, ours
from ravine.frame import Frame
from ravine.gallery import PIECES, still

_ROW = 4
_PAGES = {
    "descend": "Descend",
    "edge": "Edge of stability",
    "slice": "Slice",
    "sweep": "Sweep",
    "stepsize": "Step size",
}

st.markdown("## See for yourself")
st.caption("Each picture was computed by this app, and opens the page that made it: change anything, and watch.")
for row in range(0, len(PIECES), _ROW):
    for piece, column in zip(PIECES[row : row + _ROW], st.columns(_ROW, gap="small"), strict=False):
        experiment = piece.experiment()
        address = experiment.to_url(framed=Frame(title=piece.title))
        with column.container(border=True):
            picture = image(ours(piece, "says"), still(piece).read_bytes(), "image/png")
            st.markdown(linked(picture, address))
            st.markdown(f"**{linked(ours(piece, 'title'), address)}**  \n{ours(piece, 'says')}")
            st.caption(_PAGES[experiment.view])
