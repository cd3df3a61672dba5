"""Results -> Plotly figures: pure functions, the same picture in the app, in a notebook and in a file. One module a view."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from ravine.figures.edge import edge
from ravine.figures.paths import descend
from ravine.figures.planes import plane
from ravine.figures.stepsizes import stepsizes
from ravine.figures.sweeps import sweep

if TYPE_CHECKING:  # Result.figure calls this package
    from ravine.result import Result

_DRAWERS: dict[str, Callable[[Result], go.Figure]] = {
    "descend": descend,
    "edge": edge,
    "slice": plane,
    "sweep": sweep,
    "stepsize": stepsizes,
}


def draw(result: Result) -> go.Figure:
    """The picture of the experiment's view."""
    return _DRAWERS[result.experiment.view](result)
