"""What the export button holds: pictures for papers, files with every number, and the script that makes them again."""

from __future__ import annotations

from functools import partial

import streamlit as st

from pages import _components as components
from ravine import Result, export, movie
from ravine.player import plays


def panel(result: Result) -> None:
    """Draws the panel. Files are made when they are asked for."""
    view = result.experiment.view
    key, name = f"{view} export", f"ravine-{view}"
    st.caption("Every file holds the link, all its values and the versions that made the numbers.")
    preset = st.selectbox(
        "Picture for", list(export.PRESETS), key=f"{key} preset", help="Width in print, and its type size."
    )
    width, height, points = export.PRESETS[preset]
    figure = export.paper(result.figure(), width, height, points)
    curves = movie.moves(result.experiment) and not plays(result)  # a canvas records its own video
    components.picture(
        f"{key} picture",
        {"figure": figure.to_json(), "width": width, "height": height, "name": name, "grows": curves},
    )
    left, right = st.columns(2)
    files = [
        ("Web page", "html", "Opens without internet: play, zoom, rotate and hover."),
        ("Arrays (.npz)", "npz", "For NumPy."),
        (
            "Arrays (.zip)",
            "zip",
            "One .npy for each, as `ravine run` writes them. Opens again when it is dropped on any page.",
        ),
        ("Tables (.csv)", "csv.zip", "One table for arrays of the same length."),
    ]
    for place, (label, ending, help) in enumerate(files):
        (left, right)[place % 2].download_button(
            label,
            partial(export.WRITERS[ending], result),
            f"{name}.{ending}",
            on_click="ignore",
            key=f"{key} {ending}",
            width="stretch",
            help=help,
        )
    if movie.moves(result.experiment):
        left.download_button(
            "Animation (.gif)",
            partial(movie.gif, result),
            f"{name}.gif",
            on_click="ignore",
            key=f"{key} gif",
            width="stretch",
            help="Loss and sharpness as they grow; Video, above, has every panel."
            if curves
            else "The runs as they grow. A video of paths records itself: press ● beside Play.",
        )
    st.caption("Copy as Python:")
    st.code(export.script(result.experiment), language="python", wrap_lines=True)
