"""How far the axes of a training's panels reach: a run that blows up does not press the others flat, and a panel says
what lies beyond it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from torch import Tensor

from optimizers import Trajectory

SHOWN_BY = "; a double click shows them"  # how a panel's note ends where somebody can click
_BLOWN = 100.0  # times the largest loss at a start: from there on a run counts as blown up
_SQUEEZED = 2.0  # times what most values need: then the axis ends before the outermost
_ROOM = 1.1  # of what is seen, so that lines stay clear of the panel's edge


def most_loss(paths: Sequence[Trajectory]) -> float:
    """The loss above which a run counts as blown up; infinite where losses fall below zero and so have no scale."""
    found = losses(paths)
    bounded = len(found) > 0 and float(found.min()) >= 0
    return _BLOWN * max(float(path.loss[0]) for path in paths) if bounded else math.inf


def loss_ends(paths: Sequence[Trajectory], most: float) -> tuple[float, float, str] | None:
    """Ends of the axis of the loss, logarithmic where all are positive, and what lies beyond; None where nearly all fits."""
    found = losses(paths)
    if bool((found > 0).all()):
        return (0.8 * float(found.min()), most, "higher") if bool((found > most).any()) else None
    return around_zero(found, found <= most)


def losses(paths: Sequence[Trajectory]) -> Tensor:
    """The finite losses of all runs (k,)."""
    return torch.cat([path.loss[path.loss.isfinite()].cpu().double() for path in paths])


def calm(path: Trajectory, most: float) -> Tensor:
    """(R,): the recorded steps at which the run has not blown up."""
    loss = path.loss.cpu().double()
    return loss.isfinite() & (loss <= most)


def above(values: Tensor, calm: Tensor, least: float) -> float | None:
    """What shows `least` and all but the highest of the calm values (k,); None where that is nearly everything."""
    every, seen = values[values.isfinite()], values[calm & values.isfinite()]
    usual = _ROOM * max(least, float(seen.quantile(0.95)) if len(seen) else 0.0)
    return usual if len(every) and float(every.max()) > _SQUEEZED * usual else None


def around_zero(values: Tensor, calm: Tensor) -> tuple[float, float, str] | None:
    """Ends that show zero and all but the outermost of the calm values (k, ...), and which lie beyond: "higher", "lower" or
    "outer". None where that is nearly everything."""
    every, seen = values[values.isfinite()], values[calm]
    seen = seen[seen.isfinite()].abs()
    usual = _ROOM * float(seen.quantile(0.95)) if len(seen) else 0.0
    if not usual or float(every.abs().max()) <= _SQUEEZED * usual:
        return None
    low, high = float(every.min()), float(every.max())
    beyond = "lower" if high <= usual else "higher" if low >= -usual else "outer"
    return max(min(0.0, _ROOM * low), -usual), min(max(0.0, _ROOM * high), usual), beyond


def ends(figure: go.Figure, row: int, reach: tuple[float, float, str] | None) -> None:
    """Lets the axis of a panel end there, if anywhere, and says so: the rest is a double click away."""
    if reach is None:
        return
    low, high, beyond = reach
    log = figure.layout[f"yaxis{row if row > 1 else ''}"].type == "log"
    figure.update_yaxes(range=[math.log10(low), math.log10(high)] if log else [low, high], row=row, col=1)
    # Between the panels, clear of the lines; above the first is the legend.
    figure.add_annotation(
        text=f"{beyond} values are cut off{SHOWN_BY}", x=1, y=1, xref="x domain", yref="y domain", xanchor="right",
        yanchor="bottom" if row > 1 else "top", showarrow=False, font={"size": 11}, row=row, col=1,
    )  # fmt: skip
