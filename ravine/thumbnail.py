"""A small picture of a result, without axes: what a card of the gallery shows."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from landscapes import Surface
from ravine.movie import ground, pixels
from ravine.picture import COLORS, Floats, colors_of
from ravine.result import Result
from ravine.stability import until_the_end

SIZE = (360, 240)
_SHARP = 2  # drawn twice as large, for dense screens


def thumbnail(result: Result) -> bytes:
    """A PNG of the paths on their surface, or of the sharpness and its threshold along training."""
    size = (SIZE[0] * _SHARP, SIZE[1] * _SHARP)
    surface, path = result.experiment.landscape, result.trajectory
    if isinstance(surface, Surface):
        picture = ground(surface, size)
        points = pixels(surface, path.params.double().cpu().numpy(), size)
        for index, color in enumerate(colors_of(result.experiment.optimizers)):
            _line(picture, points[:, index], color)
    else:
        picture = Image.new("RGB", size, "#f4f4f2")
        steps = path.step.double().numpy() / max(1, result.experiment.steps)
        sharp = path.probes["sharpness"].double().cpu().numpy()
        thresholds = until_the_end(result.experiment.optimizers[0].thresholds(result.experiment.steps))
        level = thresholds[0] if thresholds else float(np.nanmax(sharp))
        seen, top = np.isfinite(sharp), 1.35 * level

        def place(x: Floats, y: Floats) -> Floats:
            return np.stack([20 + x * (size[0] - 40), size[1] - 20 - np.clip(y / top, 0, 1) * (size[1] - 40)], axis=-1)

        _line(picture, place(np.array([0.0, 1.0]), np.array([level, level])), COLORS[2])
        _line(picture, place(steps[seen], sharp[seen]), COLORS[0])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _line(picture: Image.Image, points: Floats, color: str) -> None:
    draw, trail = ImageDraw.Draw(picture), [tuple(point) for point in points.tolist()]
    draw.line(trail, fill="#ffffff", width=9, joint="curve")
    draw.line(trail, fill=color, width=5, joint="curve")
    x, y = trail[-1]
    draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=color, outline="#ffffff", width=4)
