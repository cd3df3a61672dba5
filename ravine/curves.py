"""The curves of a training run as a picture that can be drawn up to any step: the loss above, the sharpness below."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ravine.picture import COLORS, Floats, number, run_colors
from ravine.result import Result
from ravine.stability import gauges, telling

_MARGIN = (78, 26, 14, 12)  # left, top, right, bottom of a panel, in pixels
_DIM = "#dddddd"
_LIMIT_ALONE = COLORS[2]


@dataclass(frozen=True)
class _Panel:
    title: str
    box: tuple[int, int, int, int]  # left, top, right, bottom
    steps: int
    low: float
    high: float
    log: bool

    def place(self, steps: Floats, values: Floats) -> list[tuple[float, float]]:
        """Pixels of the finite ones of the values, kept near the panel where a run leaves it."""
        left, top, right, bottom = self.box
        low, high = (np.log10([self.low, self.high]) if self.log else (self.low, self.high)) + np.zeros(2)
        seen = np.isfinite(values) & ((values > 0) | (not self.log))
        y = (np.log10(values[seen]) if self.log else values[seen]) - low
        x = left + steps[seen] / max(1, self.steps) * (right - left)
        return list(
            zip(x.tolist(), (bottom - np.clip(y / ((high - low) or 1.0), 0, 1) * (bottom - top)).tolist(), strict=True)
        )

    def frame(self, draw: ImageDraw.ImageDraw) -> None:
        """The axes, with the values at their ends."""
        left, top, right, bottom = self.box
        draw.rectangle(self.box, outline=_DIM)
        font = ImageFont.load_default(14)
        draw.text((left, top - 20), self.title, fill="#000000", font=font)
        for value, y in ((self.high, top), (self.low, bottom - 14)):
            draw.text((left - 8, y), number(value), fill="#000000", font=font, anchor="ra")


@dataclass(frozen=True)
class _Line:
    panel: _Panel
    points: list[tuple[float, float]]
    color: str


class Curves:
    """Every run of a training result, on axes that fit all of it. Raises ValueError where no run was trained."""

    def __init__(self, result: Result, size: tuple[int, int]):
        experiment, paths = result.experiment, result.paths
        if experiment.view != "edge" or not len(result.trajectory.step):
            raise ValueError("Only training runs have curves that grow.")
        told = [telling(gauges(experiment, run, path)) for run, path in zip(experiment.runs, paths, strict=True)]
        losses = [path.loss.double().cpu().numpy() for path in paths]
        finite = np.concatenate([one[np.isfinite(one)] for one in losses])
        positive = bool((finite > 0).all())
        most = min(float(finite.max()), 100 * max(float(one[0]) for one in losses)) if positive else float(finite.max())
        width, height = size
        left, top, right, bottom = _MARGIN
        middle = int(0.42 * height)
        loss = _Panel(
            "loss", (left, top, width - right, middle - bottom), experiment.steps, float(finite.min()), most, positive
        )
        felt = [
            value
            for one in told
            if one is not None and one.limit is not None
            for value in (*one.value.tolist(), *one.limit[[0, -1]].tolist())
            if math.isfinite(value)
        ]
        sharp = _Panel(
            "sharpness, and its threshold", (left, middle + top, width - right, height - bottom), experiment.steps,
            0.0, 1.1 * max(felt, default=1.0), False,
        )  # fmt: skip
        self._size, self._panels, self._grow = size, (loss, sharp), list[_Line]()
        self._still: list[_Line] = []
        own = run_colors(experiment)
        for index, (path, values, gauge) in enumerate(zip(paths, losses, told, strict=True)):
            alone = len(paths) == 1
            steps = path.step.double().numpy()
            self._grow.append(_Line(loss, loss.place(steps, values), COLORS[1] if alone else own[index]))
            if gauge is not None and gauge.limit is not None and len(gauge.value):
                at = gauge.step.double().numpy()
                self._grow.append(_Line(sharp, sharp.place(at, gauge.value.numpy()), own[index]))
                ends = np.array([0.0, experiment.steps]), gauge.limit.numpy()[[0, -1]]
                self._still.append(_Line(sharp, sharp.place(*ends), _LIMIT_ALONE if alone else own[index]))

    def picture(self, step: float) -> Image.Image:
        """Everything up to a step."""
        picture = Image.new("RGB", self._size, "#ffffff")
        draw = ImageDraw.Draw(picture)
        for panel in self._panels:
            panel.frame(draw)
        for line in self._still:
            for (x0, y0), (x1, y1) in _dashes(line.points):
                draw.line((x0, y0, x1, y1), fill=line.color, width=2)
        for line in self._grow:
            left, _, right, _ = line.panel.box
            end = left + step / max(1, line.panel.steps) * (right - left)
            trail = [point for point in line.points if point[0] <= end + 0.01]
            if len(trail) > 1:
                draw.line(trail, fill=line.color, width=2, joint="curve")
            if trail:
                x, y = trail[-1]
                draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=line.color)
        return picture


def _dashes(
    points: list[tuple[float, float]], count: int = 30
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Every second piece of the straight line between two points."""
    if len(points) < 2:
        return []
    ends = np.linspace(points[0], points[-1], 2 * count)
    return [((a[0], a[1]), (b[0], b[1])) for a, b in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True)]
