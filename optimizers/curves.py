"""A curve of low loss between two solutions: a quadratic Bezier curve whose control point is trained.

Garipov et al. 2018, arXiv:1802.10026; Draxler et al. 2018, arXiv:1803.00885.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Landscape, Layout
from landscapes.alignment import Line, along
from landscapes.landscape import Differentiated
from optimizers.stepper import Stepper
from optimizers.trajectory import running

PLACES = 7  # where the loss along the curve is averaged
_REPORT_SECONDS = 0.3


@dataclass(frozen=True)
class Curve(Differentiated):
    """The mean loss along (1 - t)^2 first + 2 t (1 - t) control + t^2 second, as a landscape over the control point."""

    name, label = "curve", "Curve between two solutions"
    reads = "Where the straight line meets a wall, a bent one often goes around it."
    reference = "Garipov et al. 2018, arXiv:1802.10026"
    equation = r"\frac{1}{T}\sum_t L\left((1-t)^2 w_1 + 2t(1-t)\,\theta + t^2 w_2\right)"
    inner: Landscape
    first: Tensor  # (dim,)
    second: Tensor

    @property
    def layout(self) -> Layout:
        return self.inner.layout

    def start(
        self, runs: int = 1, seed: int = 0, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Tensor:
        """The middle of the straight line, for which the curve is that line."""
        middle = torch.lerp(self.first, self.second, 0.5)
        return middle.to(dtype=dtype, device=device).expand(runs, -1).clone()

    def at(self, control: Tensor, share: Tensor) -> Tensor:
        """Points (..., T, dim) of the curve of control (..., dim) at share (T,)."""
        t, control = share[:, None], control.unsqueeze(-2)
        return (1 - t) ** 2 * self.first + 2 * t * (1 - t) * control + t**2 * self.second

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        # Between the ends, which do not move; one point after the other, as what is live must fit the cache.
        places = (torch.arange(PLACES, dtype=torch.float64) + 1) / (PLACES + 1)
        points = self.at(params, places.to(params))
        return torch.stack([self.inner.loss(point, batch) for point in points.unbind(-2)]).mean(0)


def connected(
    landscape: Landscape, first: Tensor, second: Tensor, rule: Stepper, steps: int = 100, points: int = 25
) -> Line:
    """The loss along a curve from first (dim,) to second (dim,) after `steps` of a rule on its control point.

    The loss is averaged at a few places while training and told at `points` others; read it there, not at the few.
    """
    *_, (_, found) = connecting(landscape, first, second, rule, steps, points)
    assert found is not None
    return found


def connecting(
    landscape: Landscape, first: Tensor, second: Tensor, rule: Stepper, steps: int = 100, points: int = 25
) -> Iterator[tuple[int, Line | None]]:
    """`connected` as it grows: yields the steps done, and at the end the loss as well. Stop pulling to cancel."""
    for name, one in (("first", first), ("second", second)):
        if not isinstance(one, Tensor) or not one.is_floating_point() or one.shape != (landscape.dim,):
            raise ValueError(f"{name} must be a floating-point tensor of shape ({landscape.dim},).")
    curve = Curve(inner=landscape, first=first, second=second.to(first))
    start = curve.start(dtype=first.dtype, device=first.device)[0]
    for path in running(curve, rule, start, steps, params_every=steps, report_every=1, report_after=_REPORT_SECONDS):
        yield int(path.step[-1]), None
    control = path.final
    share = torch.linspace(0, 1, points, dtype=torch.float64).to(first)
    yield steps, along(landscape, share, curve.at(control, share))
