"""The loss on a plane, with the path projected onto it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ravine.figures.parts import finished, frame, ground, lift, scaled
from ravine.picture import COLORS

if TYPE_CHECKING:  # Result.figure calls this package
    from ravine.result import Result


def plane(result: Result) -> go.Figure:
    """The plane through the end of training, with the projected path."""
    drawn, three = result.plane, result.experiment.mode == "surface"
    figure = make_subplots(rows=1, cols=1, specs=[[{"type": "scene" if three else "xy"}]])
    if drawn is None:
        return finished(figure, height=520)
    x, y, z = drawn.alpha.cpu().numpy(), drawn.beta.cpu().numpy(), drawn.loss.T.cpu().numpy()
    height, ticks = scaled(z, log=True)
    ground(figure, x, y, z, height, ticks, three=three, bar=1.0)
    coordinates, distance = drawn.project(result.trajectory.params)
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
        figure.add_scatter3d(x=points[:, 0], y=points[:, 1], z=lift(points, x, y, height), **common)
    else:
        figure.add_scatter(x=points[:, 0], y=points[:, 1], **common)
    frame(figure, (x, y), ("α", "β"), three)
    return finished(figure, height=560)
