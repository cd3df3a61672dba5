"""What the export button holds: pictures for papers, files with every number, and the script that makes them again."""

from __future__ import annotations

import json
from functools import partial

import streamlit as st

from pages import _asking as asking
from pages import _components as components
from pages import _services as services
from pages._text import ours, plain
from ravine import Result, export, inquiries, movie
from ravine.files import KINDS
from ravine.pictures import sent
from ravine.player import plays
from ravine.provenance import told

_VIDEO = {  # of what else moves, by whether curves grow
    True: "Video, above, has every panel.",
    False: "A video of paths records itself: press ● beside Play.",
}


def panel(result: Result) -> None:
    """Draws the panel. Files are made when they are asked for."""
    view = result.experiment.view
    key, name = f"{view} export", f"ravine-{view}"
    st.caption(f"Every file holds the link, its values, their fingerprint, and this: {plain(told(result.provenance))}")
    preset = st.selectbox(
        "Picture for", list(export.PRESETS), key=f"{key} preset", help="Width in print, and its type size."
    )
    width, height, points = export.PRESETS[preset]
    figure = export.paper(result.figure(), width, height, points)
    curves = movie.moves(result.experiment) and not plays(result)  # a canvas records its own video
    components.picture(
        f"{key} picture",
        sent(figure),
        {
            "width": width,
            "height": height,
            "name": name,
            "grows": curves,
            "specification": json.dumps(result.specification()),
        },
    )
    columns = st.columns(2)
    offered = [
        one for one, kind in KINDS.items() if kind.on_page and (not kind.moves or movie.moves(result.experiment))
    ]
    for place, ending in enumerate(offered):
        kind = KINDS[ending]
        columns[place % 2].download_button(
            ours(kind, "label"),
            partial(asking.waited, inquiries.file(ending, result), services.visitor()),
            f"{name}.{ending}",
            on_click="ignore",
            key=f"{key} {ending}",
            width="stretch",
            help=ours(kind, "help") + (f" {_VIDEO[curves]}" if kind.moves else ""),
        )
    st.caption("Copy as Python:")
    st.code(export.script(result.experiment), language="python", wrap_lines=True)
