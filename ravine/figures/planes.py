"""Slices: a map with the path on it, a heat map, profiles along the axes, basins; one plane or several side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscapes import QUANTITIES, Plane
from landscapes.topology import topology
from ravine.cuts import Caption
from ravine.experiment import VIEWS
from ravine.figures.parts import finished, frame, ground, lift, scaled
from ravine.picture import COLORS, Floats
from ravine.reading import note, on_log_scale, persistence

if TYPE_CHECKING:  # Result.figure calls this package
    from ravine.result import Result

_ACROSS = 2  # panels in a row
_WHITE = {"color": "white", "line": {"color": "black", "width": 1.5}}
_FAR = (0xB0, 0xB0, 0xB0)  # what the color of a path becomes where it is furthest from the plane


def plane(result: Result) -> go.Figure:
    """The drawing that the experiment asks for, of its plane or of several planes on one scale."""
    experiment = result.experiment
    if result.plane is None:
        return finished(go.Figure(), height=520)
    if experiment.drawing == "cuts":
        return _profiles(result)
    if len(result.planes) > 1:
        return _panels(result)
    three = experiment.drawing == "map" and experiment.mode == "surface"
    figure = make_subplots(rows=1, cols=1, specs=[[{"type": "scene" if three else "xy"}]])
    caption = result.captions[0] if result.captions else Caption()
    x, y = (axis.double().cpu().numpy() for axis in (result.plane.alpha, result.plane.beta))
    z = _values([result.plane], experiment.clip)[0]
    height, ticks = scaled(z, log=on_log_scale(experiment.scale, result.plane))
    if experiment.drawing == "map":
        ground(figure, x, y, z, height, ticks, three=three, bar=1.0, label=_label(result))
        _path(figure, result, x, y, height, three=three)
    else:
        figure.add_heatmap(**_colored(x, y, z, height, ticks, _label(result)), row=1, col=1)
    if experiment.drawing == "basins":
        _basins(figure, result.plane, x, y)
    if three:
        _marks_above(figure, caption, x, y, height)
    else:
        _marks(figure, caption, 1, 1)
    frame(figure, (x, y), caption.names, three)
    # A zoom of the browser's own gives way to the part of the plane that was computed for it.
    return _noted(figure, result, height=560).update_layout(uirevision=f"{result.plane.window}")


def difference(first: Result, second: Result) -> go.Figure:
    """Two results' planes on one scale with the same contour levels, and the second less the first at equal coordinates."""
    assert first.plane is not None
    assert second.plane is not None
    planes = [first.plane, second.plane]
    titles = (*_told_apart(first, second), "second − first")
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.08)
    captions = [one.captions[0] if one.captions else Caption() for one in (first, second)]
    _common(figure, planes, captions, first, [(1, 1), (1, 2)], bar=_below(0.31, 0.62))
    exactness = f"first: {note(first.plane)}<br>second: {note(second.plane)}"
    if first.plane.window != second.plane.window or first.plane.loss.shape != second.plane.loss.shape:
        figure.add_annotation(
            text="no difference: the two<br>cover different windows", x=0.865, y=0.5, xref="paper", yref="paper",
            showarrow=False,
        )  # fmt: skip
        figure.update_xaxes(visible=False, row=1, col=3).update_yaxes(visible=False, row=1, col=3)
        return _footed(finished(figure, height=500), exactness, below=170)
    gap = (second.plane.loss.double() - first.plane.loss.double()).T.cpu().numpy()
    x, y = (axis.double().cpu().numpy() for axis in (first.plane.alpha, first.plane.beta))
    most = float(np.max(np.abs(gap[np.isfinite(gap)]), initial=0.0)) or 1.0
    figure.add_heatmap(
        x=x, y=y, z=gap, colorscale="RdBu_r", zmin=-most, zmax=most, colorbar=_below(0.865, 0.27) | {"title": "difference"},
        hovertemplate="%{x:.3f}, %{y:.3f}<br>difference %{z:.4g}<extra></extra>", row=1, col=3,
    )  # fmt: skip
    figure.update_xaxes(title_text=captions[1].names[0], title_standoff=4, row=1, col=3)
    return _footed(finished(figure, height=500), exactness, below=170)


def _told_apart(first: Result, second: Result) -> tuple[str, str]:
    """What the links of two results say differently, at most two things of it."""
    ours, theirs = first.experiment.to_query(), second.experiment.to_query()
    looks = VIEWS[first.experiment.view].shown
    names = [name for name in theirs if ours.get(name) != theirs[name] and name not in looks][:2]
    return tuple(  # type: ignore[return-value]
        ", ".join([which, *(f"{name} = {query.get(name, 'none')}" for name in names)])
        for which, query in (("first", ours), ("second", theirs))
    )


def _below(middle: float, length: float) -> dict[str, Any]:
    """A color bar that lies under the picture."""
    return {
        "orientation": "h", "x": middle, "xanchor": "center", "y": -0.2, "yanchor": "top", "len": length, "title_side": "top",
    }  # fmt: skip


def _panels(result: Result) -> go.Figure:
    """All planes of a result on one scale with the same contour levels."""
    captions = result.captions[: len(result.planes)]
    places = [(1 + index // _ACROSS, 1 + index % _ACROSS) for index in range(len(result.planes))]
    figure = make_subplots(
        rows=places[-1][0],
        cols=_ACROSS,
        subplot_titles=[one.title for one in captions],
        horizontal_spacing=0.1,
        vertical_spacing=0.17 if places[-1][0] > 1 else None,
    )
    _common(figure, list(result.planes), list(captions), result, places, bar={"x": 1.0})
    window = result.planes[0].window
    figure.update_xaxes(matches="x", range=window[0])  # they are looked at together
    figure.update_yaxes(matches="y", range=window[1])
    return _noted(figure, result, height=380 * places[-1][0]).update_layout(uirevision=f"{window}")


def _common(
    figure: go.Figure,
    planes: list[Plane],
    captions: list[Caption],
    result: Result,
    places: list[tuple[int, int]],
    *,
    bar: dict[str, Any],
) -> None:
    """Planes at their places, colored and contoured alike."""
    log = on_log_scale(result.experiment.scale, *planes)
    values = _values(planes, result.experiment.clip)
    # As one long picture, so that the offset of a logarithm and the ticks are everyone's.
    height, ticks = scaled(np.concatenate([one.ravel() for one in values]), log=log)
    finite = height[np.isfinite(height)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    heights = np.split(height, np.cumsum([one.size for one in values])[:-1])
    for index, (drawn, caption, z, part, (row, col)) in enumerate(
        zip(planes, captions, values, heights, places, strict=True)
    ):
        x, y = (axis.double().cpu().numpy() for axis in (drawn.alpha, drawn.beta))
        common = _colored(x, y, z, part.reshape(z.shape), ticks | bar, _label(result)) | {"showscale": index == 0}
        if result.experiment.drawing == "map":
            levels = _levels(low, high) | {"coloring": "heatmap"}
            figure.add_contour(
                **common, zmin=low, zmax=high, contours=levels, autocontour=False,
                line={"width": 0.6, "color": "rgba(255,255,255,0.45)"}, row=row, col=col,
            )  # fmt: skip
        else:
            figure.add_heatmap(**common, zmin=low, zmax=high, row=row, col=col)
        _marks(figure, caption, row, col)
        figure.update_xaxes(title_text=caption.names[0], title_standoff=4, row=row, col=col)
        figure.update_yaxes(title_text=caption.names[1], title_standoff=4, row=row, col=col)


def _levels(low: float, high: float) -> dict[str, Any]:
    """About a dozen contours at round heights, which the color bar then names."""
    least = (high - low) / 16 or 1.0
    power = 10.0 ** math.floor(math.log10(least))
    size = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least)
    return {"start": math.ceil(low / size) * size, "end": high, "size": size}


def _marks(figure: go.Figure, caption: Caption, row: int, col: int) -> None:
    """The named points of a plane."""
    for name, a, b in caption.marks:
        figure.add_scatter(
            x=[a], y=[b], mode="markers+text", text=[f"<b>{name}</b>"], textposition="top right", marker=_WHITE | {"size": 9},
            textfont={"color": "white", "size": 16}, showlegend=False, hoverinfo="skip", row=row, col=col,
        )  # fmt: skip


def _marks_above(figure: go.Figure, caption: Caption, x: Floats, y: Floats, height: Floats) -> None:
    """The named points of a plane, just above its surface, which would swallow half of each."""
    above = 0.02 * float(np.ptp(height[np.isfinite(height)])) if np.isfinite(height).any() else 0.0
    for name, a, b in caption.marks:
        figure.add_scatter3d(
            x=[a], y=[b], z=lift(np.array([[a, b]]), x, y, height) + above, mode="markers+text", text=[f"<b>{name}</b>"],
            marker={"color": "white", "line": {"color": "black", "width": 3}, "size": 6}, showlegend=False,
            textfont={"size": 18, "color": "#D55E00"}, textposition="top center", hoverinfo="skip",
        )  # fmt: skip


def _noted(figure: go.Figure, result: Result, height: int) -> go.Figure:
    """Finished, with a line below about how exact the picture is; that of the least exact where there are several."""
    three = any(one.type == "surface" for one in figure.data)
    gray = "; the path, projected, turns gray where it is far from the plane" if three else ""
    return _footed(finished(figure, height), note(*result.planes) + gray, below=95)


def _footed(figure: go.Figure, text: str, below: int) -> go.Figure:
    """With a line along the lower edge, below all axes, in a margin of `below` pixels."""
    figure.add_annotation(
        text=text, x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="bottom", yshift=6 - below, showarrow=False,
        font={"size": 12}, align="left",
    )  # fmt: skip
    return figure.update_layout(margin_b=below)


def _profiles(result: Result) -> go.Figure:
    """The values along each axis through the point nearest to the middle of the solution: a one-dimensional slice."""
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    titles = [one.title for one in result.captions]
    for index, drawn in enumerate(result.planes):
        values = drawn.loss.double().cpu().numpy()
        for col, (axis, other, along) in enumerate(
            ((drawn.alpha, drawn.beta, values), (drawn.beta, drawn.alpha, values.T)), start=1
        ):
            nearest = int(other.abs().argmin())
            figure.add_scatter(
                x=axis.double().cpu().numpy(), y=along[:, nearest], mode="lines", name=titles[index] or _label(result),
                line={"color": COLORS[index % len(COLORS)], "width": 2}, showlegend=col == 1, row=1, col=col,
            )  # fmt: skip
    names = result.captions[0].names if result.captions else Caption().names
    for col, name in enumerate(names, start=1):
        figure.update_xaxes(title_text=name, title_standoff=4, row=1, col=col)
    kind = "log" if on_log_scale(result.experiment.scale, *result.planes) else "linear"
    figure.update_yaxes(type=kind)
    figure.update_yaxes(title_text=_label(result), row=1, col=1)
    return _noted(figure, result, height=460).update_layout(uirevision=f"{result.planes[0].window}")


def _basins(figure: go.Figure, drawn: Plane, x: Floats, y: Floats) -> None:
    """The borders between basins, a marker at each minimum and a cross at each saddle."""
    found = topology(drawn.loss, persistence(drawn))
    labels = found.basins.T.numpy().astype(float)
    for index in range(len(found.minima) if len(found.minima) > 1 else 0):
        figure.add_contour(
            x=x, y=y, z=(labels == index).astype(float), showscale=False, hoverinfo="skip",
            contours={"start": 0.5, "end": 0.5, "size": 1, "coloring": "none"}, line={"color": "white", "width": 2},
            showlegend=False,
        )  # fmt: skip
    for name, symbol, pixels, text in (
        ("minimum", "circle", [one.at for one in found.minima], [f"{one.value:.4g}" for one in found.minima]),
        ("saddle", "x", found.saddles, [f"{float(drawn.loss[one]):.4g}" for one in found.saddles]),
    ):
        figure.add_scatter(
            x=[x[i] for i, _ in pixels], y=[y[j] for _, j in pixels], mode="markers", name=name, text=text,
            marker=_WHITE | {"symbol": symbol, "size": 11}, cliponaxis=False, hovertemplate=f"{name} at %{{text}}<extra></extra>",
        )  # fmt: skip


def _path(figure: go.Figure, result: Result, x: Floats, y: Floats, height: Floats, *, three: bool) -> None:
    """The training, projected; the more it fades, the further it is from the plane."""
    assert result.plane is not None
    coordinates, distance = result.plane.project(result.trajectory.params)
    points = coordinates.cpu().numpy()
    away = distance.double().cpu().numpy()
    far = away / (float(np.nanmax(away)) or 1.0)
    common: dict[str, Any] = {
        "mode": "lines+markers",
        "name": "path, projected; faint where far from the plane",
        "customdata": np.stack([result.trajectory.params_step.numpy(), away], axis=-1),
        "hovertemplate": "step %{customdata[0]}<br>%{customdata[1]:.3g} from the plane<extra></extra>",
    }
    if three:
        colors = _fading(COLORS[0], far)  # in three dimensions Plotly knows one opacity for all
        common |= {"line": {"color": colors, "width": 4}, "marker": {"size": 3, "color": colors}}
        common["showlegend"] = False  # its entry would be black
        figure.add_scatter3d(x=points[:, 0], y=points[:, 1], z=lift(points, x, y, height), **common)
    else:
        common |= {
            "line": {"color": COLORS[0], "width": 1},
            "marker": {"size": 5, "color": COLORS[0], "opacity": 1 - 0.8 * far},
        }
        figure.add_scatter(x=points[:, 0], y=points[:, 1], **common)


def _fading(color: str, share: Floats) -> list[str]:
    """A color mixed with gray, the more the larger its share from 0 to 1."""
    own = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)])
    mixed = own + np.nan_to_num(share, nan=1.0)[:, None] * (np.array(_FAR) - own)
    return [f"rgb({red:.0f},{green:.0f},{blue:.0f})" for red, green, blue in mixed]


def _values(planes: list[Plane], clip: float) -> list[Floats]:
    """The values, rows beta; the highest `clip` per cent of all of them lowered to what lies below."""
    values = [one.loss.double().T.cpu().numpy() for one in planes]
    finite = np.concatenate([one[np.isfinite(one)] for one in values])
    if not clip or not finite.size:
        return values
    top = np.percentile(finite, 100 - clip)
    return [np.where(np.isfinite(one), np.minimum(one, top), one) for one in values]


def _colored(x: Floats, y: Floats, z: Floats, height: Floats, ticks: dict[str, object], label: str) -> dict[str, Any]:
    return {
        "x": x,
        "y": y,
        "z": height,
        "customdata": z,
        "colorscale": "Cividis",
        "colorbar": {"title": label, "thickness": 12} | ticks,
        "hovertemplate": f"%{{x:.3f}}, %{{y:.3f}}<br>{label} %{{customdata:.4g}}<extra></extra>",
    }


def _label(result: Result) -> str:
    return QUANTITIES[result.experiment.quantity].label.lower()
