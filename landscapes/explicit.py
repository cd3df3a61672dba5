"""Explicit steps along gradient flow, dw/dt = -grad L(w): gradients alone, for the part of the way that is not stiff.

The pair of orders five and four of Dormand and Prince 1980, J. Comput. Appl. Math. 6, with a step size of its own for each
run; it is stable up to a step of 3.3 over the curvature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscapes.landscape import Landscape

_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),  # the last one is where the step ends
)
# Where a step crosses a crease, as those of ReLU, these two orders may agree by chance and be wrong. A third difference of the
# slopes at 0, 3/10, 4/5 and 1 is of order four where the loss is smooth, and sees a jump wherever it is in the step.
_CREASE = (-0.125, 0, 2 / 7, -0.375, 0, 0, 3 / 14)
_ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # order five less order four


def explicit(
    landscape: Landscape, point: Tensor, step: Tensor, tol: float, tries: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Where gradient flow is from points (r, dim) after so many tries of a step, first of `step` (r,), each with an error of at
    most `tol` relative to the parameters; how long they were together, and how long the next may be.
    """
    time = torch.zeros_like(step)
    slope = -landscape.grad(point)
    for _ in range(tries):
        slopes, new = [slope], point
        for row in _STAGES:
            new = point + step[:, None] * _combined(row, slopes)
            slopes.append(-landscape.grad(new))
        error, jump = _combined(_ERROR, slopes), _combined(_CREASE, slopes)
        error = error.where((error.norm(dim=-1) > jump.norm(dim=-1))[:, None], jump)
        taken, factor = judged(point, new, step[:, None] * error, tol)
        point, slope = new.where(taken[:, None], point), slopes[-1].where(taken[:, None], slope)
        time, step = time + step.where(taken, 0.0), step * factor
    return point, time, step


def judged(point: Tensor, new: Tensor, error: Tensor, tol: float) -> tuple[Tensor, Tensor]:
    """Is a step from `point` to `new` (r, dim) with an estimated error taken (r,), and by which factor is the next one longer?"""
    size = error.norm(dim=-1) / (tol * torch.maximum(point.norm(dim=-1), new.norm(dim=-1)))
    usable = torch.isfinite(size) & torch.isfinite(new).all(-1)
    factor = (0.8 * size.clamp_min(1e-12) ** -0.25).clamp(0.2, 10.0)  # the error is of fourth order in the step
    return usable & (size <= 1), factor.where(usable, 0.1)


def _combined(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total = torch.add(total, slope, alpha=weight)
    return total
