"""Results -> Plotly figures: pure functions, the same picture in the app, in a notebook and in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscapes import Surface
from ravine.picture import COLORS, Floats, number, surface_grid

if TYPE_CHECKING:  # Result.figure calls this module
    from ravine.result import Result

_MAP = "Cividis"
_LEVELS = 24


def draw(result: Result) -> go.Figure:
    """The picture of the experiment's view."""
    return _DRAWERS[result.experiment.view](result)


def _edge(result: Result) -> go.Figure:
    """Loss above, sharpness below, on one step axis, with the rule's stability threshold."""
    path, rule = result.trajectory, result.experiment.optimizers[0]
    steps = path.step.numpy()
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.42, 0.58])
    figure.add_scatter(
        x=steps,
        y=path.loss.cpu().numpy(),
        mode="lines",
        line={"color": COLORS[1], "width": 2},
        name="loss",
        row=1,
        col=1,
    )
    sharp = path.probes["sharpness"].cpu().numpy()
    seen = np.isfinite(sharp)
    figure.add_scatter(
        x=steps[seen],
        y=sharp[seen],
        mode="lines+markers",
        line={"color": COLORS[0], "width": 2},
        marker={"size": 4},
        name="sharpness λ",
        row=2,
        col=1,
    )
    thresholds = rule.thresholds(result.experiment.steps + 1)
    if thresholds is not None and np.isfinite(thresholds).any():
        level = thresholds[0] == thresholds[-1]
        text = rule.rule.threshold_text
        figure.add_scatter(
            x=[0, result.experiment.steps] if level else np.arange(len(thresholds)),
            y=[thresholds[0], thresholds[-1]] if level else np.array(thresholds),
            mode="lines",
            line={"color": COLORS[2], "width": 2.5, "dash": "dash"},
            name=f"{text} = {number(thresholds[0])}" if level else text,
            row=2,
            col=1,
        )
    figure.update_yaxes(title_text="loss", type="log", row=1, col=1)
    figure.update_yaxes(title_text="sharpness λ", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(range=[0, result.experiment.steps])
    figure.update_xaxes(title_text="step", row=2, col=1)
    return _finished(figure, height=560)


def _descend(result: Result) -> go.Figure:
    """The surface with every path, and the loss along each."""
    experiment, path = result.experiment, result.trajectory
    assert isinstance(experiment.landscape, Surface)
    x, y, z = surface_grid(experiment.landscape)
    height, ticks = _scaled(z, experiment.landscape.log_color)
    three = experiment.mode == "surface"
    kinds = [[{"type": "scene" if three else "xy"}, {"type": "xy"}]]
    figure = make_subplots(rows=1, cols=2, column_widths=[0.62, 0.38], horizontal_spacing=0.16, specs=kinds)
    _ground(figure, x, y, z, height, ticks, three=three, bar=0.585)
    for index, (rule, color) in enumerate(zip(experiment.optimizers, COLORS, strict=False)):
        points = path.params[:, index].cpu().numpy()
        name = f"{rule.title}, η = {number(float(rule.rule.lr))}"
        line = {"color": color, "width": 5 if three else 2.5}
        if three:
            lifted = _lift(points, x, y, height)
            figure.add_scatter3d(
                x=points[:, 0], y=points[:, 1], z=lifted, mode="lines", line=line, name=name, row=1, col=1
            )
        else:
            figure.add_scatter(x=points[:, 0], y=points[:, 1], mode="lines", line=line, name=name, row=1, col=1)
        loss = path.loss[:, index].cpu().numpy()
        figure.add_scatter(
            x=path.step.numpy(), y=loss, mode="lines", line={"color": color}, showlegend=False, row=1, col=2
        )
    positive = bool((path.loss[path.loss.isfinite()] > 0).all())
    figure.update_yaxes(title_text="loss", type="log" if positive else "linear", row=1, col=2)
    figure.update_xaxes(title_text="step", row=1, col=2)
    _frame(figure, (x, y), ("x", "y"), three)
    return _finished(figure, height=520)


def _slice(result: Result) -> go.Figure:
    """The plane through the end of training, with the projected path."""
    plane, three = result.plane, result.experiment.mode == "surface"
    figure = make_subplots(rows=1, cols=1, specs=[[{"type": "scene" if three else "xy"}]])
    if plane is None:
        return _finished(figure, height=520)
    x, y, z = plane.alpha.cpu().numpy(), plane.beta.cpu().numpy(), plane.loss.T.cpu().numpy()
    height, ticks = _scaled(z, log=True)
    _ground(figure, x, y, z, height, ticks, three=three, bar=1.0)
    coordinates, distance = plane.project(result.trajectory.params)
    points = coordinates.cpu().numpy()
    common = {
        "mode": "lines+markers",
        "line": {"color": COLORS[0], "width": 3},
        "marker": {"size": 4, "color": COLORS[0]},
        "name": "path, projected",
        "customdata": np.stack([result.trajectory.params_step.numpy(), distance.cpu().numpy()], axis=-1),
        "hovertemplate": "step %{customdata[0]}<br>%{customdata[1]:.3g} from the plane<extra></extra>",
    }
    if three:
        figure.add_scatter3d(x=points[:, 0], y=points[:, 1], z=_lift(points, x, y, height), **common)
    else:
        figure.add_scatter(x=points[:, 0], y=points[:, 1], **common)
    _frame(figure, (x, y), ("α", "β"), three)
    return _finished(figure, height=560)


def _ground(
    figure: go.Figure,
    x: Floats,
    y: Floats,
    z: Floats,
    height: Floats,
    ticks: dict[str, object],
    *,
    three: bool,
    bar: float,
) -> None:
    """The surface itself, in the first cell: a contour map, or in three dimensions. `bar` places the colour bar."""
    color = {"title": "loss", "thickness": 12, "x": bar} | ticks
    hover = "%{x:.3f}, %{y:.3f}<br>loss %{customdata:.4g}<extra></extra>"
    common = {
        "x": x,
        "y": y,
        "z": height,
        "customdata": z,
        "colorscale": _MAP,
        "colorbar": color,
        "hovertemplate": hover,
    }
    if three:
        figure.add_surface(**common, row=1, col=1)
    else:
        line = {"width": 0.6, "color": "rgba(255,255,255,0.45)"}
        figure.add_contour(**common, ncontours=_LEVELS, line=line, row=1, col=1)


def _scaled(z: Floats, log: bool) -> tuple[Floats, dict[str, object]]:
    """What is drawn as height, and colour bar ticks in losses. Not finite values become gaps."""
    finite = z[np.isfinite(z)]
    clean = np.where(np.isfinite(z), z, np.nan)
    if not finite.size or not log:
        return clean, {}
    low, high = float(finite.min()), float(finite.max())
    if low == high <= 0:
        return clean, {}
    offset = 0.0 if low > 0 else 1e-3 * (high - low) - low  # a logarithm needs positive losses
    height = np.log10(clean + offset)
    marks = np.linspace(np.nanmin(height), np.nanmax(height), 6)
    return height, {"tickvals": marks.tolist(), "ticktext": [number(10**mark - offset) for mark in marks]}


def _lift(points: Floats, x: Floats, y: Floats, height: Floats) -> Floats:
    """Height (R,) of the surface under points (R, 2), linear between grid points; NaN outside."""
    column = (points[:, 0] - x[0]) / (x[-1] - x[0]) * (len(x) - 1)
    row = (points[:, 1] - y[0]) / (y[-1] - y[0]) * (len(y) - 1)
    inside = (column >= 0) & (column <= len(x) - 1) & (row >= 0) & (row <= len(y) - 1)
    column, row = np.where(inside, column, 0), np.where(inside, row, 0)  # a diverged run may be anywhere
    i = np.clip(column.astype(int), 0, len(x) - 2)
    j = np.clip(row.astype(int), 0, len(y) - 2)
    u, v = column - i, row - j
    low = (1 - u) * height[j, i] + u * height[j, i + 1]
    high = (1 - u) * height[j + 1, i] + u * height[j + 1, i + 1]
    return np.where(inside, (1 - v) * low + v * high, np.nan)


def _frame(figure: go.Figure, axes: tuple[Floats, Floats], names: tuple[str, str], three: bool) -> None:
    ranges = [[float(axis[0]), float(axis[-1])] for axis in axes]
    if three:
        figure.update_scenes(
            xaxis={"title": names[0], "range": ranges[0]},
            yaxis={"title": names[1], "range": ranges[1]},
            zaxis={"title": "", "showticklabels": False},
            aspectratio={"x": 1, "y": 1, "z": 0.6},
        )
    else:
        figure.update_xaxes(title_text=names[0], range=ranges[0], row=1, col=1)
        figure.update_yaxes(title_text=names[1], range=ranges[1], row=1, col=1)


def _finished(figure: go.Figure, height: int) -> go.Figure:
    return figure.update_layout(
        height=height,
        margin={"l": 70, "r": 20, "t": 40, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        font={"size": 14},
        uirevision="keep",  # zoom and camera survive new data
    )


_DRAWERS: dict[str, Callable[[Result], go.Figure]] = {"descend": _descend, "edge": _edge, "slice": _slice}
