"""The density of the Hessian's eigenvalues at one step, on a logarithmic axis, with those that stand apart marked."""

from __future__ import annotations

import plotly.graph_objects as go

from ravine.figures.parts import beside, finished
from ravine.picture import COLORS, number
from ravine.spectrum import Density


def density(found: Density, *, color: str = COLORS[0]) -> go.Figure:
    """In the color that the run has."""
    figure = go.Figure()
    floor = found.alone / 30  # between its nodes the estimate is zero, which a logarithm cannot show
    figure.add_scatter(
        x=found.grid.numpy(), y=found.density.clamp_min(floor).numpy(), mode="lines", name="density",
        line={"color": COLORS[1], "width": 2}, hovertemplate="λ = %{x:.4g}: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    inside, outside = found.top[found.outliers :].numpy(), found.top[: found.outliers].numpy()
    mark = {"mode": "markers", "hovertemplate": "λ%{customdata} = %{x:.4g}<extra></extra>"}
    count = len(found.top)
    if len(outside):
        figure.add_scatter(
            x=outside, y=[found.alone] * len(outside), customdata=list(range(1, found.outliers + 1)),
            name="stands apart", **mark, marker={"symbol": "diamond-open", "size": 11, "color": color, "line": {"width": 2.5}},
        )  # fmt: skip
    figure.add_scatter(
        x=inside, y=[found.alone] * len(inside), customdata=list(range(found.outliers + 1, count + 1)),
        name="next" if found.outliers else "largest", **mark, marker={"symbol": "line-ns-open", "size": 10, "color": color},
    )  # fmt: skip
    low, high = float(found.grid[0]), float(found.grid[-1])
    if found.limit is not None and low < found.limit < high + (high - low) / 2:  # farther off it would squeeze the rest
        line = {"dash": "dash", "width": 2.5, "color": COLORS[2]}
        figure.add_scatter(
            x=[found.limit] * 2, y=[floor, float(found.density.max())], mode="lines", line=line,
            name=f"threshold = {number(found.limit)}", hovertemplate="threshold %{x:.4g}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text=f"eigenvalue λ at step {found.step}")
    figure.update_yaxes(title_text="density", type="log", exponentformat="power")
    return beside(finished(figure, height=400)).update_layout(uirevision=f"spectrum {found.run} {found.step}")
