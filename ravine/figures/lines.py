"""The loss, and where there are classes the accuracy, along lines between solutions."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscapes.alignment import Line
from ravine.figures.parts import finished
from ravine.picture import COLORS, number


def barriers(lines: Mapping[str, Line]) -> go.Figure:
    """One color a line, with its barrier in the legend; the chord that a barrier is measured from is dotted."""
    classes = all(one.accuracy is not None for one in lines.values())
    figure = make_subplots(rows=1, cols=2 if classes else 1, horizontal_spacing=0.1)
    for (name, one), color in zip(lines.items(), COLORS, strict=False):
        share, loss = one.share.cpu().numpy(), one.loss.cpu().numpy()
        figure.add_scatter(
            x=share, y=loss, mode="lines", name=f"{name}: barrier {number(one.barrier)}",
            line={"color": color, "width": 2.5}, row=1, col=1,
        )  # fmt: skip
        figure.add_scatter(
            x=share[[0, -1]], y=loss[[0, -1]], mode="lines", line={"color": color, "width": 1, "dash": "dot"},
            showlegend=False, hoverinfo="skip", row=1, col=1,
        )  # fmt: skip
        if classes and one.accuracy is not None:
            figure.add_scatter(
                x=share, y=one.accuracy.cpu().numpy(), mode="lines", line={"color": color, "width": 2.5},
                showlegend=False, name=name, row=1, col=2,
            )  # fmt: skip
    figure.update_xaxes(title_text="share of the way from A to B")
    figure.update_yaxes(title_text="loss", row=1, col=1)
    if classes:
        figure.update_yaxes(title_text="training accuracy", row=1, col=2)
    return finished(figure, height=380)
