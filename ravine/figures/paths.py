"""Paths of optimizers on a surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscapes import Surface
from ravine.figures.parts import finished, frame, ground, lift, scaled
from ravine.picture import DASHES, colors_of, number, surface_grid, twins_of

if TYPE_CHECKING:  # Result.figure calls this package
    from ravine.result import Result


def descend(result: Result) -> go.Figure:
    """The surface with every path, and the loss along each."""
    experiment, path = result.experiment, result.trajectory
    assert isinstance(experiment.landscape, Surface)
    x, y, z = surface_grid(experiment.landscape)
    height, ticks = scaled(z, experiment.landscape.log_color)
    three = experiment.mode == "surface"
    kinds = [[{"type": "scene" if three else "xy"}, {"type": "xy"}]]
    figure = make_subplots(rows=1, cols=2, column_widths=[0.62, 0.38], horizontal_spacing=0.16, specs=kinds)
    ground(figure, x, y, z, height, ticks, three=three, bar=0.585)
    twins = twins_of(experiment.optimizers)
    for index, (rule, color) in enumerate(zip(experiment.optimizers, colors_of(experiment.optimizers), strict=True)):
        dash = DASHES[twins[index] % len(DASHES)]
        points = path.params[:, index].cpu().numpy()
        name = f"{rule.title}, η = {number(float(rule.rule.lr))}"
        line = {"color": color, "width": 5 if three else 2.5, "dash": dash}
        if three:
            lifted = lift(points, x, y, height)
            figure.add_scatter3d(
                x=points[:, 0], y=points[:, 1], z=lifted, mode="lines", line=line, name=name, row=1, col=1
            )
        else:
            figure.add_scatter(x=points[:, 0], y=points[:, 1], mode="lines", line=line, name=name, row=1, col=1)
        loss = path.loss[:, index].cpu().numpy()
        figure.add_scatter(
            x=path.step.numpy(),
            y=loss,
            mode="lines",
            line={"color": color, "dash": dash},
            showlegend=False,
            row=1,
            col=2,
        )
    positive = bool((path.loss[path.loss.isfinite()] > 0).all())
    figure.update_yaxes(title_text="loss", type="log" if positive else "linear", row=1, col=2)
    figure.update_xaxes(title_text="step", row=1, col=2)
    frame(figure, (x, y), ("x", "y"), three)
    return finished(figure, height=520)
