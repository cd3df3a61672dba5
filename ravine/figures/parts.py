"""What figures are made of: the drawn surface, points lifted onto it, axes and margins."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from ravine.picture import Floats, number

_MAP = "Cividis"
_LEVELS = 24


def ground(
    figure: go.Figure,
    x: Floats,
    y: Floats,
    z: Floats,
    height: Floats,
    ticks: dict[str, object],
    *,
    three: bool,
    bar: float,
    label: str = "loss",
) -> None:
    """The surface itself, in the first cell: a contour map, or in three dimensions. `bar` places the colour bar."""
    color = {"title": label, "thickness": 12, "x": bar} | ticks
    hover = "%{x:.3f}, %{y:.3f}<br>" + label + " %{customdata:.4g}<extra></extra>"
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
        figure.add_contour(**common, ncontours=_LEVELS, contours={"coloring": "heatmap"}, line=line, row=1, col=1)


def scaled(z: Floats, log: bool) -> tuple[Floats, dict[str, object]]:
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
    marks = _round(low, high) if not offset else np.array([])
    if len(marks) < 3:
        marks = 10 ** np.linspace(np.nanmin(height), np.nanmax(height), 6) - offset
    return height, {"tickvals": np.log10(marks + offset).tolist(), "ticktext": [number(one) for one in marks]}


def _round(low: float, high: float) -> Floats:
    """Powers of ten from low to high, at most seven of them; with their doubles and halves where powers alone are few."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    if last - first < 3:
        between = [digit * 10.0**power for power in range(first - 1, last + 1) for digit in (1, 2, 5)]
        return np.array([one for one in between if low <= one <= high])
    return 10.0 ** np.arange(first, last + 1, -(-(last - first + 1) // 7))


def lift(points: Floats, x: Floats, y: Floats, height: Floats) -> Floats:
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


def frame(figure: go.Figure, axes: tuple[Floats, Floats], names: tuple[str, str], three: bool) -> None:
    ranges = [[float(axis[0]), float(axis[-1])] for axis in axes]
    if three:
        figure.update_scenes(
            xaxis={"title": names[0], "range": ranges[0]},
            yaxis={"title": names[1], "range": ranges[1]},
            zaxis={"title": "", "showticklabels": False},
            aspectratio={"x": 1, "y": 1, "z": 0.6},
            camera={
                "eye": {"x": -1.1, "y": -1.7, "z": 1.4},
                "center": {"x": 0, "y": 0, "z": -0.15},
            },  # room for axis names
        )
    else:
        figure.update_xaxes(title_text=names[0], range=ranges[0], row=1, col=1)
        figure.update_yaxes(title_text=names[1], range=ranges[1], row=1, col=1)


def finished(figure: go.Figure, height: int) -> go.Figure:
    return figure.update_layout(
        height=height,
        margin={"l": 70, "r": 20, "t": 40, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        font={"size": 14},
        uirevision="keep",  # zoom and camera survive new data
    )


def beside(figure: go.Figure) -> go.Figure:
    """A figure in the narrow column beside another: small type, and a legend in two columns close above."""
    legend = {"font": {"size": 12}, "entrywidth": 90}
    figure.update_xaxes(title_font_size=12, title_standoff=4).update_yaxes(
        title_font_size=12, title_standoff=4, automargin=True
    )
    return figure.update_layout(margin={"l": 60, "t": 10, "b": 40}, legend=legend, font={"size": 12})
