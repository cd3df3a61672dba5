"""A watched run: its losses, its sharpness against the threshold of its optimizer, its updates and their gradients."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ravine.figures.parts import finished
from ravine.picture import COLORS

if TYPE_CHECKING:  # Log.figure calls this module
    from ravine.log import Log

_PANELS = (
    ("loss", "log", (("train_loss", "loss of the batch"), ("loss", "loss, watched data"))),
    (
        "curvature",
        "linear",
        (
            ("sharpness", "sharpness λ"),
            ("preconditioned_sharpness", "preconditioned sharpness"),
            ("directional_sharpness", "along the update"),
            ("threshold", ""),
        ),
    ),
    (
        "update",
        "log",
        (
            ("update_norm", "length of the update"),
            ("given_norm", "gradient it was made from"),
            ("grad_norm", "gradient, watched data"),
        ),
    ),
)


def watched(log: Log) -> go.Figure:
    """Three panels on one step axis: losses, curvatures with the threshold, lengths of updates and gradients.

    A vertical line stands where a loss is no longer finite.
    """
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.32, 0.44, 0.24])
    color = iter(COLORS * 2)
    for row, (title, scale, traces) in enumerate(_PANELS, start=1):
        for field, name in traces:
            values = log.fields[field]
            seen = np.isfinite(values)
            style: dict[str, Any] = {"mode": "lines+markers" if seen.sum() < 200 else "lines", "marker": {"size": 4}}
            line: dict[str, Any] = {"color": next(color), "width": 2}
            if field == "grad_norm":  # beside the one that was made use of
                line |= {"dash": "dot"}
            if field == "threshold":
                style, line = {"mode": "lines"}, line | {"dash": "dash"}
                name = f"threshold {escape(log.header.get('threshold', ''))}"
            if seen.any():
                figure.add_scatter(x=log.step[seen], y=values[seen], name=name, line=line, row=row, col=1, **style)
        figure.update_yaxes(title_text=title, type=scale, row=row, col=1)
    felt = log.felt[np.isfinite(log.felt)]
    limits = log.fields["threshold"][np.isfinite(log.fields["threshold"])]
    if limits.size and felt.size:  # a threshold far off must not squeeze what was measured
        top, limit = float(felt.max()), float(limits.max())
        high = 1.15 * max(top, min(limit, 3 * top))
        if np.isfinite(high):
            figure.update_yaxes(range=[0, high], row=2, col=1)
    broken = np.isinf(log.fields["loss"]) | np.isinf(log.fields["train_loss"])
    if broken.any():
        figure.add_vline(
            x=int(log.step[int(broken.argmax())]),
            line={"dash": "dot", "width": 1},
            annotation_text="not finite",
            row=1,
            col=1,
        )
    figure.update_xaxes(title_text="step", row=3, col=1)
    return finished(figure, height=680)
