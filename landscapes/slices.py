"""Two-dimensional slices: the loss on a plane through a point of parameter space."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from landscapes.directions import normalize, random_directions
from landscapes.landscape import Landscape
from landscapes.pieces import Piece, Shelf, pieces


@dataclass(frozen=True)
class Plane:
    """The loss at center + alpha[i] * directions[0] + beta[j] * directions[1]; NaN where not computed yet."""

    loss: Tensor  # (points, points), first index alpha
    alpha: Tensor  # (points,)
    beta: Tensor  # (points,)
    center: Tensor  # (dim,)
    directions: Tensor  # (2, dim)

    def project(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Plane coordinates (..., 2) of the nearest points of the plane to params (..., dim), and the distances (...)."""
        offset = params.to(self.center) - self.center
        # Random directions are not orthogonal: solve the 2 x 2 normal equations rather than take inner products.
        gram = self.directions @ self.directions.T
        coordinates = (
            torch.linalg.solve(gram, (offset @ self.directions.T).mT).mT
            if offset.ndim > 1
            else (torch.linalg.solve(gram, self.directions @ offset))
        )
        return coordinates, (offset - coordinates @ self.directions).norm(dim=-1)


def slice_2d(
    landscape: Landscape,
    center: Tensor,
    directions: str | Tensor = "random",
    normalize: str = "filter",
    span: float = 1.0,
    points: int = 51,
    seed: int = 0,
    *,
    executor: Executor | None = None,
) -> Plane:
    """The loss on a plane of points x points around center (dim,), reaching `span` to each side along both directions.

    `directions` is "random" (two Gaussian directions of that seed) or a tensor (2, dim); `normalize` rescales either
    (see `directions.normalize`); a tensor that is to be taken as it is needs normalize="none". The middle of an odd grid
    is the centre itself. Raises ValueError or TypeError for what does not fit.
    """
    *_, plane = slicing(landscape, center, directions, normalize, span, points, seed, executor=executor)
    return plane


def slicing(
    landscape: Landscape,
    center: Tensor,
    directions: str | Tensor = "random",
    normalize: str = "filter",
    span: float = 1.0,
    points: int = 51,
    seed: int = 0,
    *,
    executor: Executor | None = None,
    shelf: Shelf | None = None,
) -> Iterator[Plane]:
    """`slice_2d` as it grows: yields the plane after each row, from the centre outwards. Stop pulling to cancel.

    Rows are spread over `executor` where one is given; values do not depend on it. Finished rows are kept on `shelf` and
    not computed again.
    """
    plane = _blank(landscape, center, directions, normalize, span, points, seed)
    order = sorted(range(points), key=lambda row: abs(row - (points - 1) / 2))
    loss = plane.loss.clone()
    work = {row: (landscape, plane, row) for row in order}
    for row, (values,) in pieces(_row, work, executor=executor, shelf=shelf):
        loss[row] = values.to(loss.device)
        yield replace(plane, loss=loss.clone())


def _blank(
    landscape: Landscape, center: Tensor, directions: str | Tensor, how: str, span: float, points: int, seed: int
) -> Plane:
    if not isinstance(center, Tensor) or not center.is_floating_point() or center.shape != (landscape.dim,):
        raise ValueError(
            f"center must be a floating-point tensor of shape ({landscape.dim},), one point of this landscape."
        )
    if not torch.isfinite(center).all():
        raise ValueError("center has an entry that is not finite: there is no loss around it.")
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise ValueError(f"points = {points!r} is not allowed: it must be a whole number of at least 2.")
    if not 0 < span < float("inf"):
        raise ValueError(f"span = {span} is not allowed: it must be positive.")
    if isinstance(directions, str):
        if directions != "random":
            raise ValueError(f"directions = {directions!r} is not allowed: it must be 'random' or a tensor (2, dim).")
        pair = random_directions(landscape.layout, center, 2, seed)
    else:
        if not isinstance(directions, Tensor):
            raise TypeError(f"directions = {directions!r} is not allowed: it must be 'random' or a tensor (2, dim).")
        if directions.shape != (2, landscape.dim):
            raise ValueError(f"directions must have shape (2, {landscape.dim}), not {tuple(directions.shape)}.")
        pair = directions.to(center)
    if not torch.isfinite(pair).all():
        raise ValueError("directions has an entry that is not finite.")
    pair = normalize(pair, center, landscape.layout, how)
    if torch.linalg.matrix_rank(pair.double()) < 2:
        raise ValueError("The two directions are parallel or zero: they span no plane.")
    half = (points - 1) / 2
    axis = (
        span * (torch.arange(points, dtype=torch.float64) - half) / half
    )  # symmetric, with an exact zero in the middle
    axis = axis.to(center)
    return Plane(
        torch.full((points, points), torch.nan, dtype=center.dtype, device=center.device), axis, axis, center, pair
    )


def _row(landscape: Landscape, plane: Plane, row: int) -> Piece:
    base = plane.center + plane.alpha[row] * plane.directions[0]
    size = landscape.chunk(base)
    parts = [landscape.loss(base + beta[:, None] * plane.directions[1]) for beta in plane.beta.split(size)]
    return (torch.cat(parts),)
