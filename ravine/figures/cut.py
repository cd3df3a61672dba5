"""The loss along the top eigenvector at one step, and the projection of every kept iterate on it."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ravine.cut import Cut
from ravine.figures.parts import beside, finished
from ravine.picture import COLORS


def line_cut(cut: Cut, *, color: str = COLORS[0]) -> go.Figure:
    """In the color that the run has."""
    figure = make_subplots(rows=2, cols=1, row_heights=[0.55, 0.45], vertical_spacing=0.2)
    along, loss = cut.along.numpy(), cut.loss.numpy()
    line = {"mode": "lines", "x": along, "row": 1, "col": 1}
    figure.add_scatter(y=loss, name="loss", line={"color": COLORS[1], "width": 2.5}, **line)
    figure.add_scatter(
        y=cut.parabola.numpy(), name="to second order", line={"color": COLORS[1], "dash": "dot", "width": 1.5}, **line
    )
    steps, position = cut.steps[cut.window].numpy(), cut.position[cut.window].numpy()
    figure.add_scatter(
        x=position, y=np.interp(position, along, loss), mode="lines+markers", name="iterates",
        line={"color": color, "width": 1}, marker={"size": 7, "color": color}, opacity=0.85,
        customdata=np.stack([steps, cut.distance[cut.window].numpy()], axis=-1),
        hovertemplate="step %{customdata[0]}<br>%{customdata[1]:.3g} away from the line<extra></extra>", row=1, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=[0.0], y=[cut.height], mode="markers", name=f"step {cut.step}",
        marker={"symbol": "diamond-open", "size": 13, "color": color, "line": {"width": 2.5}}, row=1, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=cut.steps.numpy(), y=cut.position.numpy(), mode="lines", line={"color": color, "width": 1.5}, showlegend=False,
        name="projection", hovertemplate="step %{x}: %{y:.3g}<extra></extra>", row=2, col=1,
    )  # fmt: skip
    figure.add_vline(x=cut.step, line={"dash": "dot", "width": 1.5, "color": "#8A8A8A"}, row=2, col=1)
    figure.update_xaxes(title_text=f"along the top eigenvector at step {cut.step}", row=1, col=1)
    figure.update_yaxes(title_text="loss", row=1, col=1)
    low, high = float(loss.min()), float(loss.max())  # the parabola may leave it far behind
    figure.update_yaxes(range=[low - 0.08 * (high - low), high + 0.08 * (high - low)], row=1, col=1)
    figure.update_xaxes(title_text="step", row=2, col=1)
    figure.update_yaxes(title_text="projection on it", row=2, col=1)
    return beside(finished(figure, height=440)).update_layout(uirevision=f"{cut.run} {cut.step}")
