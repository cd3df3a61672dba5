"""Where gradient flow, dw/dt = -grad L(w), ends: followed numerically, with the whole Hessian, until it is at rest.

An exponential Rosenbrock method of order four with a step size of its own for each run (Hochbruck, Ostermann and Schweitzer
2009, SIAM J. Numer. Anal. 47, the scheme exprb43): each step solves the flow on the quadratic model of the loss exactly and
corrects for what the gradient has beyond it. So no curvature makes it unstable, saddles of a quadratic cost no more than
minima do, and near a minimum the steps grow until one takes the flow there. The Hessian is symmetric, so that the matrix
functions are functions of its eigenvalues.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from landscapes.curvature import hessian
from landscapes.landscape import Landscape

_HORIZON = 1000.0  # at rest is what would hardly change in a thousand times the time that it took to come here
_FAR = 1e6  # a flow that has come so many times the size of its start away goes to infinity
_FOREVER = 1e15  # and so does one that is still on its way after so many times one over the curvature
_TERMS = 18  # of the series of phi_4 below one: the next is less than the last bit


class FlowEnd(NamedTuple):
    """Where gradient flow comes to rest, in float64; NaN for a run that was not seen to end at a minimum."""

    params: Tensor  # (..., dim), to a tenth of the root of the tolerance
    sharpness: Tensor  # (...), the largest Hessian eigenvalue there
    steps: Tensor  # (...), that were taken or tried


class _Local(NamedTuple):
    """The quadratic model of the loss at a point, in the axes of the Hessian."""

    values: Tensor  # (r, dim), its eigenvalues in rising order
    axes: Tensor  # (r, dim, dim), its eigenvectors as columns
    pull: Tensor  # (r, dim), minus the gradient along each
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
    The work of a step is that of one Hessian and its eigenvectors. Raises as `landscape.loss`, and ValueError for a tol or
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
    time = torch.zeros_like(far)
    step = torch.zeros_like(far)
    for _ in range(most):
        local = _local(landscape, point)
        size, unit = point.norm(dim=-1), 1 / local.values.abs().amax(-1).clamp_min(1e-30)
        rest = _at_rest(landscape, point, local, _HORIZON * torch.maximum(time, unit), tol)
        ended[rows[rest]], sharpness[rows[rest]] = point[rest], local.values[rest, -1]
        going = local.finite & ~rest & (size <= far) & (time <= _FOREVER * unit)
        if not bool(going.any()):
            break
        local = _Local(*(one[going] for one in local))
        rows, point, far, time, step, unit = (one[going] for one in (rows, point, far, time, step, unit))
        step = step.where(step > 0, unit)
        steps[rows] += 1
        move, error = _move(landscape, point, local, step)
        new = point + move
        error = error.norm(dim=-1) / (tol * torch.maximum(point.norm(dim=-1), new.norm(dim=-1)))
        usable = torch.isfinite(error) & torch.isfinite(new).all(-1)
        taken = usable & (error <= 1)
        point, time = new.where(taken[:, None], point), (time + step).where(taken, time)
        factor = (0.8 * error.clamp_min(1e-12) ** -0.25).clamp(0.2, 10.0)  # the error is of fourth order in the step
        step = step * factor.where(usable, 0.1)
    lead = params.shape[:-1]
    return FlowEnd(ended.reshape(params.shape), sharpness.reshape(lead), steps.reshape(lead))


def _local(landscape: Landscape, point: Tensor) -> _Local:
    matrix, grad = hessian(landscape, point), landscape.grad(point)
    finite = torch.isfinite(matrix).all(-1).all(-1) & torch.isfinite(grad).all(-1)
    values, axes = torch.linalg.eigh(matrix.where(finite[:, None, None], 0.0))  # one bad matrix would fail them all
    local = _Local(values, axes, torch.zeros_like(grad), finite)
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
