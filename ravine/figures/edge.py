"""The edge of stability: loss and sharpness along training, on one step axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ravine.figures.parts import finished
from ravine.picture import COLORS, number

if TYPE_CHECKING:  # Result.figure calls this package
    from ravine.result import Result


def edge(result: Result) -> go.Figure:
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
    return finished(figure, height=560)
