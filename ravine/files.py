"""The kinds of files that a result is saved as: the one list of them, for the command line, the pages and `ravine.export`.

It imports nothing, for the command line answers before torch is there.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of file, by its ending in `KINDS`."""

    label: str
    help: str
    on_page: bool = (
        True  # does Export offer it? What a browser draws itself, or another kind holds already, it does not
    )
    needs_browser: bool = False
    moves: bool = False  # only of runs that grow before the eye


KINDS: dict[str, Kind] = {
    "html": Kind("Web page", "Opens without internet: play, zoom, rotate and hover."),
    "npz": Kind("Arrays (.npz)", "For NumPy. Opens again when it is dropped on any page."),
    "zip": Kind("Arrays (.zip)", "One .npy for each. Opens again when it is dropped on any page."),
    "csv.zip": Kind("Tables (.csv)", "A table for each thing: steps, parameters, points of a slice; with a word on every column."),
    "csv": Kind("Table (.csv)", "The table that matters most: points of a slice, runs of a sweep, or steps.", on_page=False),
    "py": Kind("Script (.py)", "Python that computes the same again.", on_page=False),
    "png": Kind("Picture (.png)", "Of the web page.", on_page=False, needs_browser=True),
    "gif": Kind("Animation (.gif)", "The runs as they grow.", moves=True),
}  # fmt: skip


def ending(name: str) -> str | None:
    """Which of `KINDS` a file of this name is: the longest that fits, or None."""
    fitting = [one for one in KINDS if PurePath(name).name.endswith(f".{one}")]
    return max(fitting, key=len, default=None)


def listed() -> str:
    """All endings, as people read them."""
    return ", ".join(f".{one}" for one in KINDS)
