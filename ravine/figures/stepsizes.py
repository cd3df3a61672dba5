"""The loss along one update of a rule as a function of the step size, and the step sizes that the run would have allowed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from optimizers import Study
from ravine.figures.parts import finished
from ravine.picture import COLORS

if TYPE_CHECKING:  # Result.figure calls this package
    from ravine.result import Result

_MARKS = (("lr", "η now"), ("stable_lr", "stable η"), ("batch_lr", "stable η of batches"), ("line_lr", "limit along u"))
_ALONG = (
    ("stable_lr", "stable η", 0, "solid"),
    ("batch_lr", "stable η of batches", 6, "solid"),
    ("line_lr", "limit along the update", 1, "solid"),
    ("lr", "η of the run", 2, "dash"),
    ("polyak", "Polyak", 3, "dot"),
    ("dog", "DoG", 4, "dot"),
    ("smoothness", "local smoothness", 5, "dot"),
)


def stepsizes(result: Result) -> go.Figure:
    """Above, the line scan with its models; below, step sizes along the run; at the bottom the noise scale, if there is one."""
    study = result.study
    assert study is not None
    noisy = bool(study.along["noise_scale"].isfinite().any())
    heights = [0.46, 0.34, 0.2] if noisy else [0.55, 0.45]
    figure = make_subplots(rows=len(heights), cols=1, vertical_spacing=0.16 if noisy else 0.2, row_heights=heights)
    if study.scan is not None:
        _scan(figure, study)
    steps = study.step.numpy()
    for name, label, color, dash in _ALONG:
        values = study.along[name].numpy()
        seen = np.isfinite(values) & (values > 0)
        if seen.any():
            line = {"color": COLORS[color % len(COLORS)], "dash": dash, "width": 2}
            figure.add_scatter(
                x=steps[seen], y=values[seen], name=label, line=line, mode="lines", legend="legend2", row=2, col=1
            )
    figure.add_vline(study.at, line={"color": "gray", "width": 1, "dash": "dot"}, row=2, col=1)
    figure.update_yaxes(title_text="step size η", type="log", range=_decades(study), row=2, col=1)
    figure.update_xaxes(title_text="step", row=len(heights), col=1)
    if noisy:
        noise = study.along["noise_scale"].numpy()
        line = {"color": COLORS[1], "width": 2}
        figure.add_scatter(
            x=steps, y=noise, line=line, mode="lines", showlegend=False, name="noise scale", row=3, col=1
        )
        if study.here.get("batch_size"):
            size = study.here["batch_size"]
            figure.add_scatter(
                x=steps[[0, -1]], y=[size, size], name="batch size", mode="lines+text", text=["", "batch size"],
                textposition="top left", line={"color": "gray", "width": 1.5, "dash": "dash"}, showlegend=False,
                row=3, col=1,
            )  # fmt: skip
        figure.update_yaxes(title_text="noise scale", type="log", row=3, col=1)
        figure.update_xaxes(matches="x2", row=3, col=1)
    finished(figure, height=820 if noisy else 700)
    # A legend above each of the two, since the curves of one are not those of the other.
    return figure.update_layout(
        legend2=dict(figure.layout.legend.to_plotly_json(), y=figure.layout.yaxis2.domain[1] + 0.01)
    )


def _decades(study: Study) -> list[float] | None:
    """The range of the step sizes, as powers of ten: DoG begins a million times lower and would press the rest together."""
    shown = np.concatenate([study.along[name].numpy() for name, *_ in _ALONG if name != "dog"])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    return [float(np.log10(shown.min())) - 0.3, float(np.log10(shown.max())) + 0.3] if len(shown) else None


def _scan(figure: go.Figure, study: Study) -> None:
    scan, here = study.scan, study.here
    assert scan is not None
    eta, loss = scan.eta.numpy(), scan.loss.numpy()
    finite = np.isfinite(loss)
    start = here["loss"]
    next_one = here["slope"] + here["curvature"] / 2  # the change that the model expects of the update itself
    drop = (
        max(start - float(loss[finite].min()), min(next_one, abs(start)), 1e-3 * abs(start), 1e-300)
        if finite.any()
        else 1.0
    )
    # What rises without bound is cut: the question is where it turns, not how high it gets.
    low, high = start - 1.3 * drop, start + 2.5 * drop
    for name, values, style in (
        ("loss along the update", loss, {"color": COLORS[0], "width": 3}),
        ("quadratic model", scan.quadratic.numpy(), {"color": COLORS[1], "width": 2, "dash": "dash"}),
        ("cubic model", scan.cubic.numpy(), {"color": COLORS[2], "width": 2, "dash": "dot"}),
        (
            "loss of the batch, shifted",
            scan.batch.numpy() - here["batch_loss"] + start,
            {"color": COLORS[6], "width": 2},
        ),
    ):
        if not np.isfinite(values).any():
            continue
        shown = np.where(np.isfinite(values) & (values < high + drop) & (values > low - drop), values, np.nan)
        figure.add_scatter(x=eta, y=shown, name=name, line=style, mode="lines", row=1, col=1)
    figure.add_hline(start, line={"color": "gray", "width": 1}, row=1, col=1)
    for level, (name, label) in enumerate(_MARKS):
        value = here[name]
        if math.isfinite(value) and value > 0:
            figure.add_vline(
                value, line={"color": "gray", "width": 1.5, "dash": "dash" if level else "solid"}, row=1, col=1
            )
            figure.add_annotation(
                x=math.log10(value),
                y=1 - 0.1 * level,
                yref="y domain",
                text=label,
                showarrow=False,
                xanchor="left",
                row=1,
                col=1,
            )
    figure.update_xaxes(title_text="step size η along the update", type="log", row=1, col=1)
    figure.update_yaxes(title_text="loss", range=[low, high], row=1, col=1)
