"""Runs as an animated GIF: paths on a surface growing over the map of the screen, or the curves of a training."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from plotly.colors import get_colorscale, sample_colorscale

from landscapes import Surface
from ravine.curves import Curves
from ravine.experiment import Experiment
from ravine.picture import Floats, colors_of, number, run_colors, surface_grid, twins_of
from ravine.result import Result

FRAMES = 60
SIZE = (640, 480)  # of the map in pixels; a strip below says the step and the losses
STRIP = 30
_SECONDS = 5.0
STILL = "Only paths on a surface and training runs play as a GIF."


def moves(experiment: Experiment) -> bool:
    """Is there a GIF of this experiment?"""
    return experiment.view in ("descend", "edge")


def gif(result: Result) -> bytes:
    """The runs growing from their start, in at most FRAMES pictures. Raises ValueError for other results."""
    if not moves(result.experiment):
        raise ValueError(STILL)
    pictures = list(_paths(result) if result.experiment.view == "descend" else _curves(result))
    return _packed(pictures, json.dumps(result.specification()))


def _curves(result: Result) -> Iterator[Image.Image]:
    """Loss and sharpness growing step by step."""
    width, height = SIZE
    curves = Curves(result, (width, height))
    for step in np.unique(np.linspace(0, result.experiment.steps, FRAMES).round().astype(int)).tolist():
        frame = Image.new("RGB", (width, height + STRIP), "#ffffff")
        frame.paste(curves.picture(step))
        draw = ImageDraw.Draw(frame)
        labels = [run.label[:16] for run in result.experiment.runs] if len(result.paths) > 1 else []
        for place, (word, color) in enumerate(
            zip([f"step {step}", *labels], ["#000000", *run_colors(result.experiment)], strict=False)
        ):
            draw.text((10 + 130 * place, height + 6), word, fill=color, font=ImageFont.load_default(16))
        yield frame


def _paths(result: Result) -> Iterator[Image.Image]:
    """Paths growing over the map."""
    surface, path = result.experiment.landscape, result.trajectory
    assert isinstance(surface, Surface)
    colors, twins = colors_of(result.experiment.optimizers), twins_of(result.experiment.optimizers)
    plain = ground(surface, SIZE, STRIP)
    points = pixels(surface.window, path.params.double().cpu().numpy(), SIZE)  # (R, N, 2)
    rows = np.unique(np.linspace(0, len(points) - 1, FRAMES).round().astype(int))
    for row in rows:
        picture = plain.copy()
        draw = ImageDraw.Draw(picture)
        for index, (color, twin) in enumerate(zip(colors, twins, strict=True)):
            trail = [tuple(point) for point in points[: row + 1, index].tolist()]
            if len(trail) > 1:
                hollow = [(5, color), (1, "#ffffff")]
                for width, ink in [(4, "#ffffff"), (2, color)] if not twin else hollow:
                    draw.line(trail, fill=ink, width=width, joint="curve")
        for index, color in enumerate(colors):
            x, y = points[row, index]
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=color, outline="#ffffff", width=2)
        draw.rectangle((0, SIZE[1], SIZE[0], SIZE[1] + STRIP), fill="#ffffff")
        words = [f"step {int(path.step[row])}"] + [f"{number(float(loss))}" for loss in path.loss[row]]
        for place, (word, color) in enumerate(zip(words, ("#000000", *colors), strict=True)):
            draw.text((10 + 130 * place, SIZE[1] + 6), word, fill=color, font=ImageFont.load_default(16))
        yield picture


def _packed(pictures: Sequence[Image.Image], comment: str) -> bytes:
    """The pictures as a GIF that rests on the last one, with a text inside."""
    frames = [one.convert("P", palette=Image.Palette.ADAPTIVE, colors=128) for one in pictures]
    buffer = io.BytesIO()
    durations = [round(1000 * _SECONDS / len(frames))] * (len(frames) - 1) + [1500]
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, comment=comment.encode()
    )
    return buffer.getvalue()


def ground(surface: Surface, size: tuple[int, int], strip: int = 0) -> Image.Image:
    """The map in the colors of the loss, with white room for a strip below."""
    _, _, z = surface_grid(surface)
    picture = Image.new("RGB", (size[0], size[1] + strip), "#ffffff")
    picture.paste(tinted(z, log=surface.log_color).resize(size, Image.Resampling.BICUBIC))
    return picture


def tinted(z: Floats, *, log: bool) -> Image.Image:
    """Values (ny, nx), row 0 at the bottom, as one pixel each in the colors of a map; gray where they are not finite."""
    finite = np.where(np.isfinite(z), z, np.nan)
    height = np.log10(finite - np.nanmin(finite) + 1e-3 * np.nanstd(finite) + 1e-300) if log else finite
    low, high = np.nanpercentile(height, [2, 98])
    share = np.clip((height - low) / ((high - low) or 1.0), 0, 1)
    table = np.array(
        [[int(part) for part in color[4:-1].split(",")] for color in sample_colorscale(get_colorscale("Cividis"), np.linspace(0, 1, 256), colortype="rgb")],
        dtype=np.uint8,
    )  # fmt: skip
    image = table[np.nan_to_num(share * 255, nan=0).astype(np.uint8)]
    image[~np.isfinite(height)] = 150
    return Image.fromarray(image[::-1].copy())


def pixels(window: Sequence[tuple[float, float]], points: Floats, size: tuple[int, int]) -> Floats:
    """Points (..., 2) in pixels of the map of a window, kept within a few of its widths where a run leaves it."""
    low, high = np.array(window).T
    share = (np.nan_to_num(points, nan=0.0, posinf=1e9, neginf=-1e9) - low) / (high - low)
    share = np.clip(share, -3, 4)
    return np.stack([share[..., 0] * size[0], (1 - share[..., 1]) * size[1]], axis=-1)
