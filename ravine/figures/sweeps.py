"""Sweeps as pictures: lines over one axis with the range that does not diverge shaded, a map over two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from optimizers import Sweep
from ravine.axis import Axis
from ravine.picture import COLORS, Floats

if TYPE_CHECKING:  # Result.figure calls this package
    from ravine.result import Result

LABELS = {
    "final_loss": "final loss",
    "best_loss": "best loss",
    "diverged_at": "step of divergence",
    "sharpness": "sharpness at the end",
}
_LEVELS = "Cividis"
# One hue that Cividis has not: dark where a run is lost at once, light where it lasts longer. The stops are placed so that
# a logarithm of the step is seen.
_LOST = [[0.0, "#4a1500"], [0.01, "#7d2600"], [0.05, "#ad4400"], [0.2, "#d9702b"], [1.0, "#ffc9a3"]]
_ZERO = 1e-16  # losses below are drawn as this one
_LARGE = 3e38
_SHADE = "rgba(0,158,115,0.13)"


def sweep(result: Result) -> go.Figure:
    """The outcome that the experiment asks for, over one axis or two."""
    figure = go.Figure()
    table = result.table
    if table is not None:
        draw = _map if len(table.over) == 2 else _lines
        draw(figure, result, table)
    return figure.update_layout(
        height=560,
        margin={"l": 75, "r": 20, "t": 40, "b": 55},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        font={"size": 14},
        uirevision=" ".join(axis.write().rpartition(":")[0] for axis in result.experiment.axes),
    )


def _values(table: Sweep, outcome: str) -> Floats:
    chosen = getattr(table, outcome)
    if chosen is None:
        return np.full(tuple(table.known.shape), np.nan)
    values = chosen.double().numpy()
    return np.where(table.known.numpy() & ((table.diverged_at < 0).numpy() | (outcome == "best_loss")), values, np.nan)


def _label(axis: Axis) -> str:
    words = axis.name.replace("_", " ").replace(".", " ")
    return "step size η" if axis.name == "lr" else words


def _log_wanted(values: Floats) -> bool:
    """Never below zero, and spread over orders of magnitude?"""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() >= 0 and known.max() > 30 * max(known.min(), _ZERO))


def _shown_range(values: Floats) -> tuple[float, float]:
    """The colours' range: a few runs that are about to diverge must not darken all the others."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(np.quantile(known, 0.98))) if known.size else (0.0, 1.0)


def _map(figure: go.Figure, result: Result, table: Sweep) -> None:
    x_axis, y_axis = result.experiment.axes
    x, y = (values.double().numpy() for values in table.over.values())
    outcome = result.experiment.outcome
    values = _values(table, outcome).T
    died = table.diverged_at.numpy().T
    lost = np.where(died >= 0, died, np.nan)
    where = f"{_label(x_axis)} %{{x:.4g}}<br>{_label(y_axis)} %{{y:.4g}}<br>"
    if outcome == "diverged_at":
        shown, ticks, hover = np.where(np.isnan(values), np.nan, 0.0), {}, "did not diverge"
    elif _log_wanted(values):
        shown = np.log10(np.maximum(values, _ZERO))
        ticks, hover = _powers(*_shown_range(shown)), f"{LABELS[outcome]} 10^%{{z:.2f}}"
    else:
        shown, ticks, hover = values, {}, f"{LABELS[outcome]} %{{z:.4g}}"
    if outcome == "best_loss":
        shown = np.where(died >= 0, np.nan, shown)
    low, high = _shown_range(shown)
    side = {"x": x, "y": y, "zsmooth": False}
    bar = {"thickness": 12, "len": 0.62, "y": 1, "yanchor": "top", "title": {"text": LABELS[outcome]}}
    figure.add_heatmap(
        **side, z=np.clip(shown, low, _LARGE).astype(np.float32), zmin=low, zmax=high, colorscale=_LEVELS, colorbar=bar | ticks, name=LABELS[outcome],
        showscale=outcome != "diverged_at", hovertemplate=f"{where}{hover}<extra></extra>",
    )  # fmt: skip
    if np.isfinite(lost).any():
        bar = {"thickness": 12, "len": 0.34, "y": 0, "yanchor": "bottom", "title": {"text": "diverged at step"}}
        figure.add_heatmap(
            **side, z=lost.astype(np.float32), zmin=0, zmax=result.experiment.steps, colorscale=_LOST, colorbar=bar,
            name="diverged", hovertemplate=f"{where}diverged at step %{{z}}<extra></extra>",
        )  # fmt: skip
    for axis, update in ((x_axis, figure.update_xaxes), (y_axis, figure.update_yaxes)):
        ends = [axis.low, axis.high]
        update(
            title_text=_label(axis), type="log" if axis.log else "linear", range=np.log10(ends) if axis.log else ends
        )


def _powers(low: float, high: float) -> dict[str, object]:
    marks = np.linspace(low, high, 5)
    return {"tickvals": marks, "ticktext": [f"{10**mark:.1e}" for mark in marks]}


def _lines(figure: go.Figure, result: Result, table: Sweep) -> None:
    (axis,) = result.experiment.axes
    (x,) = (values.double().numpy() for values in table.over.values())
    outcome = result.experiment.outcome
    shown = ["final_loss", "best_loss"] if outcome.endswith("loss") else [outcome]
    died = table.diverged_at.numpy()
    for name, color in zip(shown, COLORS, strict=False):
        values = np.where(died >= 0, died, np.nan) if name == "diverged_at" else _values(table, name)
        log = _log_wanted(values)
        figure.add_scatter(
            x=x, y=values, mode="lines+markers", name=LABELS[name],
            line={"color": color, "width": 2, "dash": "dot" if name == "best_loss" else "solid"}, marker={"size": 4},
        )  # fmt: skip
        figure.update_yaxes(title_text="loss" if len(shown) == 2 else LABELS[name], type="log" if log else "linear")
    for low, high in _runs_of(table.known.numpy() & (died < 0)):
        left, right = (x[max(0, low - 1)] + x[low]) / 2, (x[min(len(x) - 1, high + 1)] + x[high]) / 2
        figure.add_vrect(x0=left, x1=right, fillcolor=_SHADE, line_width=0, layer="below")
    figure.add_scatter(
        x=[None], y=[None], mode="markers", name="did not diverge",
        marker={"symbol": "square", "size": 14, "color": "rgba(0,158,115,0.35)"},
    )  # fmt: skip
    figure.update_xaxes(
        title_text=_label(axis), type="log" if axis.log else "linear",
        range=np.log10([axis.low, axis.high]) if axis.log else [axis.low, axis.high],
    )  # fmt: skip


def _runs_of(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each stretch of True."""
    padded = np.concatenate(([False], mask, [False])).astype(int)
    turns = np.flatnonzero(np.diff(padded))
    return [(int(first), int(after) - 1) for first, after in zip(turns[::2], turns[1::2], strict=True)]
