"""A small picture of a result, without axes: what a card of the gallery shows. It holds the link that it is of."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from landscapes import Surface
from ravine.movie import ground, pixels, tinted
from ravine.picture import COLORS, Floats, colors_of
from ravine.reading import on_log_scale
from ravine.result import Result
from ravine.stability import thresholds

SIZE = (360, 240)
_SHARP = 2  # drawn twice as large, for dense screens
_DRAWN = (SIZE[0] * _SHARP, SIZE[1] * _SHARP)
_PAPER, _RULE, _LOST = "#f4f4f2", "#8a8a8a", (173, 68, 0)
_COLORS = 128  # of a still: enough for a map, in a fifth of the bytes
_LINK = "link"


def thumbnail(result: Result) -> bytes:
    """A PNG of the result, with its link inside."""
    picture = _DRAWERS[result.experiment.view](result)
    told = PngImagePlugin.PngInfo()
    told.add_text(_LINK, result.experiment.to_url())
    buffer = io.BytesIO()
    # The method that keeps rare colors too: a line is few pixels, and the map behind it many.
    few = picture.quantize(_COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(buffer, "PNG", optimize=True, pnginfo=told)
    return buffer.getvalue()


def link_of(png: bytes) -> str:
    """The link that a thumbnail is of."""
    with Image.open(io.BytesIO(png)) as picture:
        return str(picture.info.get(_LINK, ""))


def _paths(result: Result) -> Image.Image:
    surface = result.experiment.landscape
    assert isinstance(surface, Surface)
    picture = ground(surface, _DRAWN)
    points = pixels(surface.window, result.trajectory.params.double().cpu().numpy(), _DRAWN)
    for index, color in enumerate(colors_of(result.experiment.optimizers)):
        _line(picture, points[:, index], color)
    return picture


def _edge(result: Result) -> Image.Image:
    """The sharpness of the first run, and its threshold."""
    path, picture = result.trajectory, Image.new("RGB", _DRAWN, _PAPER)
    steps = path.step.double().numpy() / max(1, result.experiment.steps)
    sharp = path.probes["sharpness"].double().cpu().numpy()
    limits = thresholds(result.experiment.runs[0], result.experiment.steps)
    level = limits[0] if limits else float(np.nanmax(sharp))
    seen = np.isfinite(sharp)
    top = max(1.35 * level, 1.05 * float(sharp[seen].max()))
    _line(picture, _on_paper(np.array([0.0, 1.0]), np.array([level, level]) / top), COLORS[2])
    _line(picture, _on_paper(steps[seen], sharp[seen] / top), COLORS[0])
    return picture


def _slice(result: Result) -> Image.Image:
    plane = result.plane
    assert plane is not None
    picture = tinted(plane.loss.T.double().cpu().numpy(), log=on_log_scale(result.experiment.scale, plane))
    picture = picture.resize(_DRAWN, Image.Resampling.BICUBIC)
    window = [(float(axis[0]), float(axis[-1])) for axis in (plane.alpha, plane.beta)]
    coordinates, _ = plane.project(result.trajectory.params)
    _line(picture, pixels(window, coordinates.double().cpu().numpy(), _DRAWN), COLORS[0])
    return picture


def _sweep(result: Result) -> Image.Image:
    """The final losses over two axes; runs that diverged in one color."""
    table = result.table
    assert table is not None
    final, died = table.final_loss.double().numpy().T, table.diverged_at.numpy().T
    image = np.array(tinted(np.where(died >= 0, np.nan, np.maximum(final, 1e-16)), log=True))
    image[(died >= 0)[::-1]] = _LOST
    return Image.fromarray(image).resize(_DRAWN, Image.Resampling.NEAREST)


def _stepsize(result: Result) -> Image.Image:
    """The loss along the update; upright lines at the stable step size and at the present one."""
    study = result.study
    assert study is not None
    assert study.scan is not None
    picture = Image.new("RGB", _DRAWN, _PAPER)
    eta, loss, now = np.log10(study.scan.eta.numpy()), study.scan.loss.numpy(), study.here["loss"]
    drop = now - float(np.nanmin(loss))
    low, high = now - 1.4 * drop, now + 2.5 * drop
    first, last = float(eta[0]), float(eta[-1])
    for name, color in (("stable_lr", COLORS[2]), ("lr", _RULE)):
        at = (np.log10(study.here[name]) - first) / (last - first)
        _line(picture, _on_paper(np.array([at, at]), np.array([1.0, 0.0])), color)
    seen = np.isfinite(loss) & (loss < high)
    _line(picture, _on_paper((eta[seen] - first) / (last - first), (loss[seen] - low) / (high - low)), COLORS[0])
    return picture


_DRAWERS: dict[str, Callable[[Result], Image.Image]] = {
    "descend": _paths,
    "edge": _edge,
    "slice": _slice,
    "sweep": _sweep,
    "stepsize": _stepsize,
}


def _on_paper(x: Floats, y: Floats) -> Floats:
    """Shares of the width and of the height, in pixels (..., 2) inside a margin."""
    return np.stack([20 + x * (_DRAWN[0] - 40), _DRAWN[1] - 20 - np.clip(y, 0, 1) * (_DRAWN[1] - 40)], axis=-1)


def _line(picture: Image.Image, points: Floats, color: str) -> None:
    draw, trail = ImageDraw.Draw(picture), [tuple(point) for point in points.tolist()]
    draw.line(trail, fill="#ffffff", width=9, joint="curve")
    draw.line(trail, fill=color, width=5, joint="curve")
    x, y = trail[-1]
    draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=color, outline="#ffffff", width=4)
