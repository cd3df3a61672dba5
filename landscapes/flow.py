"""Where gradient flow, dw/dt = -grad L(w), ends: followed numerically, with the whole Hessian, until it is at rest.

Where the way is not stiff, explicit steps go far for what they cost (explicit.py). In between, and where it is, there are those of
an exponential Rosenbrock method of order four with a step size of its own for each run (Hochbruck, Ostermann and Schweitzer
2009, SIAM J. Numer. Anal. 47, the scheme exprb43): each step solves the flow on the quadratic model of the loss exactly and
corrects for what the gradient has beyond it. So no curvature makes it unstable, saddles of a quadratic cost no more than
minima do, and near a minimum the steps grow until one takes the flow there. The Hessian is symmetric, so that the matrix
functions are functions of its eigenvalues.

Where the loss is smooth in pieces alone, as that of a ReLU network, the flow may slide along a crease between two of them, to and
fro across it in steps as short as the tolerance: most such runs are not at rest in time unless it is loose.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from landscapes.curvature import hessian
from landscapes.explicit import explicit, judged
from landscapes.landscape import Landscape

_HORIZON = 1000.0  # at rest is what would hardly change in a thousand times the time that it took to come here
_FAR = 1e6  # a flow that has come so many times the size of its start away goes to infinity
_FOREVER = 1e15  # and so does one that is still on its way after so many times one over the curvature
_TRIES = 4  # of steps with one Hessian
_LONG = 30.0  # the factor in time over which a sharpness that stands has stood
_FLOOR = 1e-3  # the loss that is left there, relative to the tolerance times curvature times squared parameters
_SPRINT = 16  # explicit steps between two of the others, or a quarter of the parameters, as which a Hessian costs about as much
_TERMS = 18  # of the series of phi_4 below one: the next is less than the last bit


class FlowEnd(NamedTuple):
    """Where gradient flow comes to rest, in float64; NaN for a run that was not seen to end at a minimum."""

    params: Tensor  # (..., dim), to a tenth of the root of the tolerance where no flat direction is left to go down
    sharpness: Tensor  # (...), the largest Hessian eigenvalue there
    steps: Tensor  # (...), that were taken or tried


class _Local(NamedTuple):
    """The quadratic model of the loss at a point, in the axes of the Hessian."""

    values: Tensor  # (r, dim), its eigenvalues in rising order
    axes: Tensor  # (r, dim, dim), its eigenvectors as columns
    pull: Tensor  # (r, dim), minus the gradient along each
    loss: Tensor  # (r,)
    finite: Tensor  # (r,)

    def inward(self, vectors: Tensor) -> Tensor:
        """Vectors (r, dim) in the axes."""
        return (vectors.unsqueeze(-2) @ self.axes).squeeze(-2)

    def outward(self, vectors: Tensor) -> Tensor:
        """The inverse of `inward`."""
        return (self.axes @ vectors.unsqueeze(-1)).squeeze(-1)


def flow_end(landscape: Landscape, params: Tensor, *, tol: float = 1e-5, most: int = 300) -> FlowEnd:
    """Where gradient flow from params (..., dim) ends, and the sharpness there.

    The error of a step is kept below `tol`, relative to the parameters, and that of the sharpness comes to about as much. NaN for a run
    that has not come to rest after `most` steps, that goes to infinity, or that rests where the loss still curves down.
    The work of a step is that of six gradients, or of one Hessian and its eigenvectors. Raises as `landscape.loss`, and ValueError for a tol or
    a number of steps that is not positive.
    """
    landscape._check(params, None)
    if not 0 < tol < 1:
        raise ValueError(f"tol = {tol} is not allowed: it must be between 0 and 1.")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"most = {most!r} is not allowed: it must be a whole number of at least 1.")
    flat = params.detach().double().reshape(-1, landscape.dim)
    ended, sharpness = torch.full_like(flat, torch.nan), torch.full_like(flat[:, 0], torch.nan)
    steps = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
    rows = torch.isfinite(flat).all(-1).nonzero()[:, 0]  # of the runs that are on their way
    point, far = flat[rows], _FAR * (1 + flat[rows].norm(dim=-1))
    time, step, stride, mark, since = (torch.zeros_like(far) for _ in range(5))
    least, lost = landscape.infimum(), landscape.no_rest_below() or -torch.inf
    sprint = max(_SPRINT, landscape.dim // 4)
    while len(rows):
        local = _local(landscape, point)
        size, unit = point.norm(dim=-1), 1 / local.values.abs().amax(-1).clamp_min(1e-30)
        rest = _at_rest(landscape, point, local, _HORIZON * torch.maximum(time, unit), tol)
        mark, since = _stood(local, mark, since, time, tol)
        if least is not None:  # where no saddle is ahead it is enough that the sharpness has stood
            down = local.loss - least <= _FLOOR * tol * local.values[:, -1] * size.square()
            rest |= down & (time > _LONG * torch.maximum(since, unit))
        rest &= local.loss >= lost
        ended[rows[rest]], sharpness[rows[rest]] = point[rest], local.values[rest, -1]
        lasts = (size <= far) & (time <= _FOREVER * unit) & (local.loss >= lost) & (steps[rows] < most)
        going = local.finite & ~rest & lasts
        local = _Local(*(one[going] for one in local))
        rows, point, far, time, step, stride, mark, since, unit = (
            one[going] for one in (rows, point, far, time, step, stride, mark, since, unit)
        )
        point, took, step, tried = _stepped(landscape, point, local, step.where(step > 0, unit), tol)
        time, steps[rows] = time + took, steps[rows] + tried
        short = (step <= (1 + landscape.dim / 12) * unit) & ((took == 0) | (step <= 3 * took))
        quick = short.nonzero()[:, 0]  # steps that grow no more: explicit ones go farther for what they cost
        if len(quick):
            begin = stride[quick].where(stride[quick] > 0, torch.minimum(step, unit)[quick])
            point[quick], took, stride[quick] = explicit(landscape.grad, point[quick], begin, tol, sprint)
            time[quick] += took
            steps[rows[quick]] += sprint
    lead = params.shape[:-1]
    return FlowEnd(ended.reshape(params.shape), sharpness.reshape(lead), steps.reshape(lead))


def _stepped(
    landscape: Landscape, point: Tensor, local: _Local, step: Tensor, tol: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points (r, dim) after a step of at most `step` (r,), how long it was (zero where no try succeeded), how long the next
    may be, and how many were tried: the quadratic model stays good for shorter ones.
    """
    point, took, step = point.clone(), torch.zeros_like(step), step.clone()
    tried = torch.zeros(len(step), dtype=torch.int64, device=step.device)
    for _ in range(_TRIES):
        open_ = (took == 0).nonzero()[:, 0]
        if not len(open_):
            break
        at, h = point[open_], step[open_]
        move, error = _move(landscape, at, _Local(*(one[open_] for one in local)), h)
        taken, factor = judged(at, at + move, error, tol)
        point[open_] = (at + move).where(taken[:, None], at)
        took[open_], step[open_] = h.where(taken, 0.0), h * factor
        tried[open_] += 1
    return point, took, step, tried


def _local(landscape: Landscape, point: Tensor) -> _Local:
    matrix, (loss, grad) = hessian(landscape, point), landscape.value_and_grad(point)
    finite = torch.isfinite(matrix).all(-1).all(-1) & torch.isfinite(grad).all(-1)
    values, axes = torch.linalg.eigh(matrix.where(finite[:, None, None], 0.0))  # one bad matrix would fail them all
    local = _Local(values, axes, torch.zeros_like(grad), loss, finite)
    return local._replace(pull=-local.inward(grad.where(finite[:, None], 0.0)))


def _at_rest(landscape: Landscape, point: Tensor, local: _Local, time: Tensor, tol: float) -> Tensor:
    """Is this a minimum, and would the flow, going on for a time (r,), leave the sharpness within a tenth of the tolerance?

    The parameters alone do not tell: where a minimum is flat to second order they come to rest as a power of time, long
    after the steepest direction has.
    """
    low, high = local.values[:, 0], local.values[:, -1]
    ahead = local.outward(_ahead(local, time))
    near = (ahead.norm(dim=-1) <= 0.1 * tol**0.5 * point.norm(dim=-1)) & (high > 0) & (low >= -tol * high)
    if not bool(near.any()):
        return near
    steepest = local.axes[..., -1]
    there = (steepest * landscape.hvp(point + ahead.where(near[:, None], 0.0), steepest)).sum(-1)
    return near & ((there - high).abs() <= 0.1 * tol * high)


def _stood(local: _Local, mark: Tensor, since: Tensor, time: Tensor, tol: float) -> tuple[Tensor, Tensor]:
    """The sharpness (r,) that a run still has, and the time since when it has, without a direction that curves down.

    A power law t^-a that changes by c in the last factor of `_LONG` has c / (_LONG^a - 1) ahead of it: no more than 4 c for a >= 1/15.
    """
    low, high = local.values[:, 0], local.values[:, -1]
    stands = ((high - mark).abs() <= 0.02 * tol * high) & (low >= -tol * high)
    return mark.where(stands, high), since.where(stands, time)


def _ahead(local: _Local, time: Tensor) -> Tensor:
    """How far (r, dim) the flow on the quadratic model goes in a time (r,), in the axes."""
    return time[:, None] * _phi_1(-time[:, None] * local.values) * local.pull


def _move(landscape: Landscape, point: Tensor, local: _Local, step: Tensor) -> tuple[Tensor, Tensor]:
    """What one step (r,) adds to point (r, dim), and how far that is from the embedded scheme of order three."""

    def beyond(move: Tensor) -> Tensor:
        """What the force after a move has beyond that of the quadratic model, all in the axes."""
        return -local.inward(landscape.grad(point + local.outward(move))) - (local.pull - local.values * move)

    h = step[:, None]
    exponent = -h * local.values
    phi_1 = _phi_1(exponent)
    phi_3, phi_4 = _phi_3_4(exponent, phi_1)
    second = beyond(_ahead(local, step / 2))
    third = beyond(h * phi_1 * (local.pull + second))
    error = h * phi_4 * (12 * third - 48 * second)
    move = h * (phi_1 * local.pull + phi_3 * (16 * second - 2 * third)) + error
    return local.outward(move), local.outward(error)


def _phi_1(z: Tensor) -> Tensor:
    """(exp(z) - 1) / z."""
    return (torch.expm1(z) / z.where(z != 0, 1.0)).where(z != 0, 1.0)


def _phi_3_4(z: Tensor, phi_1: Tensor) -> tuple[Tensor, Tensor]:
    """phi_(k+1)(z) = (phi_k(z) - 1/k!) / z for k = 2 and 3; by the series of phi_4 where that would cancel."""
    small = z.abs() < 1
    near, away = z.where(small, 0.0), z.where(~small, 1.0)
    powers = torch.arange(_TERMS, device=z.device)
    series = near.unsqueeze(-1).pow(powers) @ torch.exp(-torch.lgamma(powers.to(z) + 5))
    phi_3 = ((phi_1 - 1) / away - 0.5) / away
    return (near * series + 1 / math.factorial(3)).where(small, phi_3), series.where(
        small, (phi_3 - 1 / math.factorial(3)) / away
    )
