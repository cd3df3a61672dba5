"""The edge of stability: loss, sharpness against its threshold, and what else was measured, on one step axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from optimizers import PROBES, Trajectory
from optimizers.probes import SpectralDensity
from ravine.figures.parts import finished
from ravine.figures.ranges import above, around_zero, calm, ends, loss_ends, losses, most_loss
from ravine.measures import TOP
from ravine.overlay import Run
from ravine.picture import COLORS, number, run_colors
from ravine.stability import GAUGED, Gauge, gauges
from ravine.words import plain, within

if TYPE_CHECKING:  # Result.figure calls this package
    from ravine.result import Result

_LOSS, _GAUGE, _OTHER = 170, 240, 150  # heights of the panels in pixels
_GAP = 26
_DENSITY = SpectralDensity.name
_FLOW = "#8A8A8A"
_BAND = "rgba(138, 138, 138, 0.12)"


@dataclass(frozen=True)
class _Style:
    """How one run is drawn: in one colour, or where it is alone, in one colour for each kind of line."""

    index: int
    label: str  # empty where it is alone
    loss: str
    sharp: str
    limit: str

    def trace(self, name: str, *, legend: bool = False) -> dict[str, Any]:
        """What all its traces share; `meta` tells a click which run it hit."""
        shown = {"name": name, "showlegend": True} if legend or not self.label else {"name": f"{self.label}, {name}"}
        hover = f"{', '.join(dict.fromkeys(one for one in (self.label, name) if one))}<br>step %{{x}}: %{{y:.4g}}<extra></extra>"
        group = {"legendgroup": self.label or name}
        return {"showlegend": False, "meta": self.index, "hovertemplate": hover} | group | shown


def edge(result: Result) -> go.Figure:
    """One panel for the loss, one for each kind of sharpness with its thresholds, one for each other probe."""
    experiment = result.experiment
    runs = list(zip(experiment.runs, result.paths, strict=True))
    measured = [gauges(experiment, run, path) for run, path in runs]
    kinds = [name for name in GAUGED if any(name in found for found in measured)]
    within = (*GAUGED, TOP)
    others = [name for name in PROBES if name not in within and any(name in path.probes for _, path in runs)]
    heights = [_LOSS, *[_GAUGE] * len(kinds), *[_OTHER] * len(others)]
    total = sum(heights) + _GAP * (len(heights) - 1)
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=_GAP / total, row_heights=heights
    )
    colors = run_colors(experiment)
    most = most_loss(result.paths)
    panels = []
    for row, name in enumerate(kinds, start=2):
        found = [(one[name], path) for one, path in zip(measured, result.paths, strict=True) if name in one]
        panels.append(_panel(row, found, most, experiment.relative))
    reach = loss_ends(result.paths, most)
    highest = None if reach is None else reach[1]
    for index, (run, path) in enumerate(runs):
        style = _style(index, run, colors[index], alone=len(runs) == 1)
        _loss(figure, style, path, highest)
        for panel, name in zip(panels, kinds, strict=True):
            if name in measured[index]:
                _sharpness(figure, panel, style, measured[index][name], experiment.steps, experiment.relative)
        if TOP in path.probes:
            _following(figure, style, measured[index]["sharpness"], path, experiment.relative)
        for row, name in enumerate(others, start=2 + len(kinds)):
            if name in path.probes:
                _probe(figure, row, style, name, run, path)
    if result.flow is not None:
        _flow(figure, result, kinds)
    if len(runs) > 1:
        _keys(figure, panels, experiment.steps, followed=any(TOP in path.probes for path in result.paths))
    _loss_axis(figure, result, reach)
    ends(figure, 1, reach)
    for panel in panels:
        ends(figure, panel.row, None if panel.top is None else (0.0, panel.top, "higher"))
    for row, name in enumerate(others, start=2 + len(kinds)):
        _probe_axis(figure, row, name, result.paths, most)
        _named(figure, row, name, next(run for run, path in runs if name in path.probes), alone=len(runs) == 1)
    for row, name in enumerate(kinds, start=2):
        title = {"sharpness": "sharpness λ"}.get(name) or _wrapped(PROBES[name].label)
        units = "<br>over threshold" if experiment.relative else ""
        figure.update_yaxes(title_text=title + units, rangemode="tozero", row=row, col=1)
    named = set[str]()
    for trace in figure.data:  # a threshold that two panels share is named once
        trace.showlegend = trace.showlegend is not False and trace.name not in named
        named.add(trace.name)
    figure.update_yaxes(automargin=True, title_standoff=6)  # a title of two lines stays clear of the numbers
    figure.update_xaxes(range=[0, experiment.steps])
    figure.update_xaxes(title_text="step", title_standoff=8, row=len(heights), col=1)
    if experiment.at >= 0:
        figure.add_vline(x=experiment.at, line={"dash": "dot", "width": 1.5, "color": _FLOW})
    return finished(figure, height=total + 100).update_layout(
        hoverdistance=-1
    )  # a click anywhere hits the nearest line


def _loss_axis(figure: go.Figure, result: Result, reach: tuple[float, float, str] | None) -> None:
    found = losses(result.paths)
    positive = bool((found > 0).all())
    decades = 0.0
    if positive and len(found):
        low, high = (float(found.min()), float(found.max())) if reach is None else reach[:2]
        decades = math.log10(high / low)
    # A few marks: on a logarithmic axis Plotly would else write each of 2 to 9, one over the other.
    marks = {"dtick": math.ceil(decades / 5)} if decades >= 2 else {"nticks": 4}
    title = "loss of<br>the batch" if any(run.batch_size for run in result.experiment.runs) else "loss"
    figure.update_yaxes(title_text=title, type="log" if positive else "linear", **marks, row=1, col=1)


def _probe_axis(figure: go.Figure, row: int, name: str, paths: Sequence[Trajectory], most: float) -> None:
    """The axis of one of the other probes: it ends where runs that have not blown up are seen."""
    figure.update_yaxes(title={"text": _wrapped(PROBES[name].label), "font": {"size": 12}}, row=row, col=1)
    having = [path for path in paths if name in path.probes]
    values = torch.cat([_drawn(name, path) for path in having])
    bars = torch.cat([_bars(name, path) for path in having])
    reach = torch.cat([values - bars, values + bars], dim=-1)
    ends(figure, row, around_zero(reach, torch.cat([calm(path, most) for path in having])))


def _named(figure: go.Figure, row: int, name: str, run: Run, *, alone: bool) -> None:
    """What the entries of a vector are, above its panel: the legend is far away, and other panels have entries of these names."""
    entries = PROBES[name]().entries(run.landscape)
    if not entries or name == _DENSITY:
        return
    if bars := PROBES[name].bars:
        entries = (f"{entries[0]}, bars: {'' if bars == 1 else f'{bars:.0f} × '}{entries[1]}",)
    colored = (f'<span style="color:{COLORS[place % len(COLORS)]}">{one}</span>' for place, one in enumerate(entries))
    shades = "strong to faint: " if len(entries) > 1 else ""
    told = ", ".join(colored) if alone else f"{shades}{', '.join(entries)}"
    figure.add_annotation(
        text=told, name=name, x=0, y=1, xref="x domain", yref="y domain", xanchor="left", yanchor="bottom",
        showarrow=False, font={"size": 12}, row=row, col=1,
    )  # fmt: skip


def _drawn(name: str, path: Trajectory) -> Tensor:
    """The numbers of a probe that are drawn, (R, m); of a spectral density the nodes without their weights, and no errors."""
    values = path.probes[name].cpu().double()
    values = values[:, None] if values.ndim == 1 else values
    return values.chunk(2, dim=-1)[0] if name == _DENSITY or PROBES[name].bars else values


def _bars(name: str, path: Trajectory) -> Tensor:
    """How far the error bars of a probe reach, (R, 1): not at all where it has none, or the file is of a time when it had none."""
    values = path.probes[name].cpu().double()
    bars = PROBES[name].bars
    return bars * values[:, 1:].nan_to_num() if bars and values.ndim > 1 else values.new_zeros(len(values), 1)


@dataclass(frozen=True)
class _Panel:
    """How one kind of sharpness is drawn for all runs."""

    row: int
    top: float | None  # where its axis ends, if a spike would squeeze the rest flat
    common: tuple[str, float] | None  # the threshold that all runs share, and what it is called


def _panel(row: int, found: list[tuple[Gauge, Trajectory]], most: float, relative: bool) -> _Panel:
    limited = [(one, path) for one, path in found if one.limit is not None and len(one.value)]
    limits = [torch.ones_like(one.value) if relative else one.limit for one, _ in limited if one.limit is not None]
    values = [one.value / one.limit if relative and one.limit is not None else one.value for one, _ in limited]
    common = None
    if len(limits) > 1 and all(bool((limit == limits[0][0]).all()) for limit in limits):
        texts = {"threshold" if relative else one.text for one, _ in limited}
        text, level = texts.pop() if len(texts) == 1 else "threshold", float(limits[0][0])
        common = (text if relative else f"{text} = {number(level)}"), level
    seen = [calm(path, most)[torch.isin(path.step, one.step)] for one, path in limited]
    return _Panel(row, _top(values, limits, seen), common)


def _top(values: list[Tensor], limits: list[Tensor], seen: list[Tensor]) -> float | None:
    """Where an axis ends that shows each run's lowest threshold and all but the highest values that are `seen`."""
    lowest = [float(limit.min()) for limit in limits if bool(limit.isfinite().any())]
    if not lowest:
        return None
    every, calm = torch.cat([*values, *limits]), torch.cat([*seen, *(torch.zeros_like(one).bool() for one in limits)])
    return above(every, calm, 1.2 * max(lowest))


def _keys(figure: go.Figure, panels: list[_Panel], steps: int, *, followed: bool) -> None:
    """What the lines of several runs mean, each in its run's color; and a threshold that is everyone's, once."""
    line = {"color": _FLOW, "dash": "dash", "width": 2.5}
    for panel in panels:
        if panel.common is not None:
            name, level = panel.common
            figure.add_scatter(
                x=[0, steps], y=[level] * 2, mode="lines", name=name, line=line, hoverinfo="skip", row=panel.row, col=1
            )
    key = {"mode": "lines", "x": [None], "y": [None], "row": 2, "col": 1}
    if any(panel.common is None for panel in panels):
        figure.add_scatter(**key, name="its threshold", line=line)
    if followed:
        figure.add_scatter(**key, name="thin: its next eigenvalues", line={"color": _FLOW, "width": 1.2})


def _wrapped(label: str) -> str:
    """The name of a panel in lines that are no longer than the panel is high."""
    return "<br>".join(wrap(within(label), 20))


def _style(index: int, run: Run, color: str, *, alone: bool) -> _Style:
    if alone:
        return _Style(index, "", COLORS[1], COLORS[0], COLORS[2])
    return _Style(index, run.label, color, color, color)


def _loss(figure: go.Figure, style: _Style, path: Trajectory, highest: float | None) -> None:
    loss = path.loss.cpu().numpy()
    name = style.label or "loss"
    figure.add_scatter(
        x=path.step.numpy(),
        y=loss,
        mode="lines" if len(loss) > 1 else "markers",  # a run that has only begun is a point
        line={"color": style.loss, "width": 2},
        marker={"color": style.loss},
        **style.trace(name, legend=True),
        row=1,
        col=1,
    )
    died = int(path.diverged_at)
    if died > 0:
        marker = {"symbol": "x", "size": 9, "color": style.loss}
        said = f"{style.label}<br>diverged at step {died}<extra></extra>".removeprefix("<br>")
        shared = style.trace(f"diverged at step {died}") | {"hovertemplate": said}
        at = loss[died - 1] if highest is None else min(loss[died - 1], highest)  # on the edge of what is seen
        figure.add_scatter(
            x=[died - 1], y=[at], mode="markers", marker=marker, cliponaxis=False, **shared, row=1, col=1
        )


def _sharpness(figure: go.Figure, panel: _Panel, style: _Style, gauge: Gauge, steps: int, relative: bool) -> None:
    """The measured values, the threshold as a dashed line, and where it is first reached."""
    if relative and gauge.limit is None:
        return
    unit = gauge.limit if relative and gauge.limit is not None else torch.ones_like(gauge.value)
    called = "sharpness λ" if gauge.name == "sharpness" else gauge.called
    figure.add_scatter(
        x=gauge.step.numpy(),
        y=(gauge.value / unit).numpy(),
        mode="lines+markers",
        line={"color": style.sharp, "width": 2},
        marker={"size": 4},
        error_y=_doubt(gauge, unit, style),
        **style.trace(called),
        row=panel.row,
        col=1,
    )
    if gauge.limit is None or not bool(torch.isfinite(gauge.limit).any()):
        return
    if gauge.upper is not None:
        _large_batches(figure, panel, style, gauge, unit)
    limit = gauge.limit / unit
    level = bool((limit == limit[0]).all())
    if panel.common is None:
        figure.add_scatter(
            x=[0, steps] if level else gauge.step.numpy(),
            y=[float(limit[0])] * 2 if level else limit.numpy(),
            mode="lines",
            line={"color": style.limit, "width": 1.5 if style.label else 2.5, "dash": "dash"},
            **style.trace(f"{gauge.text} = {number(float(limit[0]))}" if level and not relative else gauge.text),
            row=panel.row,
            col=1,
        )
    first = gauge.crossing
    if first is not None:
        step = int(gauge.step[first])
        said = f"first reaches {gauge.text} at step {step}"
        mark = {"symbol": "diamond-open", "size": 12, "color": style.limit, "line": {"width": 2.5}}
        shared = style.trace(said) | {"hovertemplate": f"{style.label}<br>{said}<extra></extra>".removeprefix("<br>")}
        height = float((gauge.value / unit)[first])
        at = height if panel.top is None else min(height, panel.top)
        figure.add_scatter(
            x=[step], y=[at], mode="markers", marker=mark, cliponaxis=False, **shared, row=panel.row, col=1
        )


def _doubt(gauge: Gauge, unit: Tensor, style: _Style) -> dict[str, Any] | None:
    """Error bars of a mean over batches."""
    if gauge.error is None:
        return None
    return _error_bars((PROBES[gauge.name].bars * gauge.error / unit).numpy(), style.sharp)


def _error_bars(lengths: np.ndarray[Any, Any], color: str) -> dict[str, Any]:
    return {"type": "data", "array": lengths, "thickness": 1, "width": 2, "color": color}


def _large_batches(figure: go.Figure, panel: _Panel, style: _Style, gauge: Gauge, unit: Tensor) -> None:
    """The upper end of the band: where large batches hold the batch sharpness with momentum, small ones at the threshold."""
    assert gauge.upper is not None
    upper = gauge.upper / unit
    level = bool((upper == upper[0]).all())
    name = f"{gauge.upper_text} = {number(float(upper[0]))}" if level else gauge.upper_text
    place = {"x": gauge.step.numpy(), "mode": "lines", "row": panel.row, "col": 1}
    assert gauge.limit is not None
    figure.add_scatter(y=(gauge.limit / unit).numpy(), line={"width": 0}, hoverinfo="skip", showlegend=False, **place)
    line = {"color": style.limit, "width": 1.5, "dash": "dot"}
    shade = {"fill": "tonexty", "fillcolor": _BAND}
    figure.add_scatter(y=upper.numpy(), line=line, **shade, **style.trace(f"large batches: {name}"), **place)


def _following(figure: go.Figure, style: _Style, gauge: Gauge, path: Trajectory, relative: bool) -> None:
    """The eigenvalues after the largest, as thin lines below the sharpness, which is the largest."""
    if relative and gauge.limit is None:
        return
    unit = gauge.limit if relative and gauge.limit is not None else torch.ones_like(gauge.value)
    values = path.probes[TOP].cpu().double()[torch.isin(path.step, gauge.step)]
    for place, column in enumerate((values / unit[:, None]).unbind(-1)[1:], start=2):
        shared = style.trace(plain(rf"\lambda_{place}"), legend=not style.label)
        figure.add_scatter(
            x=gauge.step.numpy(), y=column.numpy(), mode="lines", line={"color": style.sharp, "width": 1.2},
            opacity=1.2 - 0.15 * place, **shared, row=2, col=1,
        )  # fmt: skip


def _cloud(figure: go.Figure, row: int, style: _Style, path: Trajectory) -> None:
    """The nodes of the spectral density at each measurement, darker the more of the spectrum they stand for."""
    nodes, weights = _drawn(_DENSITY, path), path.probes[_DENSITY].cpu().double().chunk(2, dim=-1)[1]
    seen = torch.isfinite(nodes) & torch.isfinite(weights)
    steps = path.step[:, None].expand_as(nodes)[seen]
    shade = (1 + weights[seen].clamp_min(1e-6).log10() / 5).clamp(0.15, 1)  # full for all, faint below 1e-4 of it
    figure.add_scatter(
        x=steps.numpy(), y=nodes[seen].numpy(), mode="markers",
        marker={"color": style.sharp, "size": 4, "opacity": shade.numpy()}, **style.trace("spectral density") | {"showlegend": False}, row=row, col=1,
    )  # fmt: skip


def _probe(figure: go.Figure, row: int, style: _Style, name: str, run: Run, path: Trajectory) -> None:
    """One line, or one for each entry of a vector; a cloud where the entries are nodes and their weights."""
    if name == _DENSITY:
        _cloud(figure, row, style, path)
        return
    columns = _drawn(name, path).numpy()
    entries = PROBES[name]().entries(run.landscape)
    bars = _bars(name, path)[:, 0].numpy()
    seen = np.isfinite(columns).any(-1)
    shades = _shades(style, columns.shape[1])
    for place, (column, (color, opacity)) in enumerate(zip(columns.T, shades, strict=True)):
        part = entries[place] if entries else within(PROBES[name].label)
        figure.add_scatter(
            x=path.step.numpy()[seen], y=column[seen], mode="lines", line={"color": color, "width": 2}, opacity=opacity,
            error_y=_error_bars(bars[seen], color) if PROBES[name].bars else None,
            **style.trace(part) | {"showlegend": False}, row=row, col=1,
        )  # fmt: skip


def _shades(style: _Style, count: int) -> list[tuple[str, float]]:
    """Color and opacity of each entry of a vector: by color where a run is alone, else fading in the run's own."""
    if style.label:
        return [(style.sharp, max(0.25, 1 - 0.7 * place / count)) for place in range(count)]
    return [(COLORS[place % len(COLORS)], 1.0) for place in range(count)]


def _flow(figure: go.Figure, result: Result, kinds: list[str]) -> None:
    """Gradient flow over the same time: its loss, and its sharpness among the run's."""
    assert result.flow is not None
    path, experiment = result.flow, result.experiment
    line = {"color": _FLOW, "width": 2, "dash": "dot"}
    shared = {
        "mode": "lines",
        "line": line,
        "meta": 0,
        "hovertemplate": "gradient flow<br>step %{x}: %{y:.4g}<extra></extra>",
    }
    name = "gradient flow" if len(experiment.runs) == 1 else f"gradient flow, time of {experiment.runs[0].label}"
    figure.add_scatter(x=path.step.numpy(), y=path.loss.cpu().numpy(), name=name, **shared, row=1, col=1)
    if experiment.relative:
        return
    flow = gauges(experiment, experiment.runs[0], path)["sharpness"]
    figure.add_scatter(
        x=flow.step.numpy(), y=flow.value.numpy(), name="gradient flow, sharpness λ", showlegend=False, **shared,
        row=2 + kinds.index("sharpness"), col=1,
    )  # fmt: skip
