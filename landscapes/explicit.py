"""Explicit steps along gradient flow, dw/dt = -grad L(w): gradients alone, for the part of the way that is not stiff.

The pair of orders five and four of Dormand and Prince 1980, J. Comput. Appl. Math. 6, with a step size of its own for each
run; it is stable up to a step of 3.3 over the curvature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Gradient = Callable[[Tensor], Tensor]  # (r, dim) -> (r, dim)

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


class _Standing(NamedTuple):
    """Where each of r runs is, and how far its next try goes."""

    point: Tensor  # (r, dim)
    slope: Tensor  # (r, dim), minus the gradient there
    step: Tensor  # (r,)
    time: Tensor  # (r,), since the start


def explicit(grad: Gradient, point: Tensor, step: Tensor, tol: float, tries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where gradient flow is from points (r, dim) after so many tries of a step, first of `step` (r,), each with an error of at
    most `tol` relative to the parameters; how long they were together, and how long the next may be.
    """
    now = _Standing(point, -grad(point), step, torch.zeros_like(step))
    for _ in range(tries):
        now = _tried(grad, now, now.step, tol)
    return now.point, now.time, now.step


def followed(
    grad: Gradient, point: Tensor, duration: Tensor, step: Tensor, tol: Tensor, tries: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where gradient flow is from points (r, dim) after a `duration` (r,), by steps with an error of at most `tol` (r,) each,
    relative to the parameters; the time that is left (r,) where so many tries were too few; how long the next step may be; and
    how many tries there were.
    """
    now, tried = _Standing(point, -grad(point), step, torch.zeros_like(step)), torch.zeros_like(step)
    for _ in range(tries):
        left = duration - now.time
        if not bool((left > 0).any()):
            break
        tried += left > 0
        step = torch.minimum(now.step, left)
        after = _tried(grad, now, step, tol)
        taken, cut = after.time > now.time, step < now.step
        # What is left of the duration says nothing about how long a step may be.
        longest = torch.where(taken & cut, torch.maximum(now.step, after.step), after.step)
        now = after._replace(
            step=longest.where(left > 0, now.step), time=duration.where(taken & (step == left), after.time)
        )
    return now.point, duration - now.time, now.step, tried


def _tried(grad: Gradient, now: _Standing, step: Tensor, tol: float | Tensor) -> _Standing:
    """After one more try, of a `step` (r,)."""
    slopes, new = [now.slope], now.point
    for row in _STAGES:
        new = now.point + step[:, None] * _combined(row, slopes)
        slopes.append(-grad(new))
    error, jump = _combined(_ERROR, slopes), _combined(_CREASE, slopes)
    error = error.where((error.norm(dim=-1) > jump.norm(dim=-1))[:, None], jump)
    taken, factor = judged(now.point, new, step[:, None] * error, tol)
    return _Standing(
        new.where(taken[:, None], now.point),
        slopes[-1].where(taken[:, None], now.slope),
        step * factor,
        now.time + step.where(taken, 0.0),
    )


def judged(point: Tensor, new: Tensor, error: Tensor, tol: float | Tensor) -> tuple[Tensor, Tensor]:
    """Is a step from `point` to `new` (r, dim) with an estimated error taken (r,), and by which factor is the next one longer?"""
    allowed = tol * torch.maximum(point.norm(dim=-1), new.norm(dim=-1))
    size = error.norm(dim=-1) / allowed.clamp_min(torch.finfo(point.dtype).tiny)  # at rest at zero, both are zero
    usable = torch.isfinite(size) & torch.isfinite(new).all(-1)
    factor = (0.8 * size.clamp_min(1e-12) ** -0.25).clamp(0.2, 10.0)  # the error is of fourth order in the step
    return usable & (size <= 1), factor.where(usable, 0.1)


def _combined(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total = torch.add(total, slope, alpha=weight)
    return total
