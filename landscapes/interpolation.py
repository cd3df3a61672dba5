"""A smooth function on a rectangle from few evaluations: nested Chebyshev grids, checked at points held out.

A slice of a loss is smooth, or nearly: a polynomial through some hundred of its values gives all the pixels. Chebyshev-Lobatto
grids of 9, 17, 33, 65 points an axis are nested, so that each level uses every value of those before it (Trefethen 2019,
Approximation Theory and Approximation Practice, ch. 2-5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = (9, 17, 33, 65)
HELD_OUT = 24
SAFETY = (
    3.0  # the largest of 24 errors falls short of the largest of all; on slices of networks by less than this factor
)

Window = tuple[tuple[float, float], tuple[float, float]]


def chebyshev(count: int) -> Tensor:
    """Chebyshev-Lobatto points (count,) of [-1, 1] in rising order; symmetric, with an exact zero in the middle of an odd count."""
    # The sine form: cos(pi k / n) is not antisymmetric in floating point.
    return torch.sin(torch.pi * (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) / (count - 1))


def matrix(nodes: int, where: Tensor) -> Tensor:
    """The map from values at `chebyshev(nodes)` to the polynomial through them at `where` (p,): (p, nodes).

    The barycentric formula (Berrut and Trefethen 2004, SIAM Review 46); at a node it gives the value there to the last bit.
    """
    weight = torch.ones(nodes, dtype=torch.float64)
    weight[1::2] = -1
    weight[0] /= 2
    weight[-1] /= 2
    gap = where[:, None] - chebyshev(nodes)
    hit = gap == 0
    share = weight / torch.where(hit, 1, gap)
    share = torch.where(hit.any(-1, keepdim=True), hit.double(), share)
    return share / share.sum(-1, keepdim=True)


class Level(NamedTuple):
    """One nested grid over a window, and which of its points no earlier level has."""

    per_axis: int
    points: Tensor  # (m, 2), to be evaluated
    places: Tensor  # (m, 2), their indices in the finest grid


@dataclass(frozen=True)
class Interpolant:
    """The polynomial on a window through the values (n, n) at its Chebyshev points, to an estimated `error`.

    `error` is at least SAFETY times the largest error at the held-out points; `spread` is the range of all values seen.
    """

    window: Window
    values: Tensor  # (n, n) in float64
    error: float
    spread: float

    def __call__(self, alpha: Tensor, beta: Tensor) -> Tensor:
        """Values (p, q) on the grid of alpha (p,) and beta (q,), inside the window."""
        return self._axis(0, alpha) @ self.values @ self._axis(1, beta).T

    def at(self, points: Tensor) -> Tensor:
        """Values (k,) at points (k, 2)."""
        left, right = self._axis(0, points[:, 0]), self._axis(1, points[:, 1])
        return torch.einsum("ki,ij,kj->k", left, self.values, right)

    def _axis(self, index: int, where: Tensor) -> Tensor:
        low, high = self.window[index]
        return matrix(len(self.values), (2 * where - (low + high)) / (high - low))


def interpolant(window: Window, grid: Tensor, per_axis: int, checks: Tensor, exact: Tensor) -> Interpolant:
    """That of the level of `per_axis` points in the finest grid, held against the values `exact` (k,) at `checks` (k, 2).

    The errors of every coarser polynomial are known at many more points, those of this level. By how much they exceed its
    errors at the checks says by how much the checks fall short on this function: a kink may have none of them near it.
    """
    stride = (len(grid) - 1) // (per_axis - 1)
    values = grid[::stride, ::stride].clone()
    raw = Interpolant(window, values, 0.0, 0.0)
    alpha, beta = placed(chebyshev(per_axis)[:, None].expand(-1, 2), window).unbind(-1)
    short = 1.0
    for step in (2**power for power in range(1, (per_axis - 1).bit_length() - 2)):
        coarse = Interpolant(window, values[::step, ::step], 0.0, 0.0)
        everywhere, here = _worst(coarse(alpha, beta) - values), _worst(coarse.at(checks) - exact)
        short = max(short, everywhere / here) if here > 0 else short
    low, high = torch.cat([values.flatten(), exact]).aminmax()
    return replace(raw, error=SAFETY * short * _worst(raw.at(checks) - exact), spread=float(high - low))


def _worst(error: Tensor) -> float:
    return float(error.abs().max())


def recalled(known: Sequence[Interpolant], points: Tensor) -> Tensor:
    """Values (k,) at points (k, 2) from the most exact of the interpolants that reach there; NaN where none does."""
    values = torch.full((len(points),), torch.nan, dtype=torch.float64)
    for one in sorted(known, key=lambda one: one.error):
        (a, b), (c, d) = one.window
        x, y = points.unbind(-1)
        inside = values.isnan() & (x >= a) & (x <= b) & (y >= c) & (y <= d)
        if inside.any():
            values[inside] = one.at(points[inside])
    return values


def placed(unit: Tensor, window: Window) -> Tensor:
    """Points (k, 2) of [-1, 1]^2 moved to a window."""
    low, high = torch.tensor(window, dtype=torch.float64).unbind(-1)
    return (low + high) / 2 + unit * (high - low) / 2


def held_out(window: Window) -> Tensor:
    """The points (HELD_OUT, 2) that check an interpolant; the same ones for every slice."""
    generator = torch.Generator().manual_seed(24)
    return placed(2 * torch.rand(HELD_OUT, 2, generator=generator, dtype=torch.float64) - 1, window)


def levels(window: Window, most: int) -> Iterator[Level]:
    """The nested grids on a window, as long as one has fewer than `most` points."""
    finest = LEVELS[-1]
    seen = torch.zeros(finest, finest, dtype=torch.bool)
    for count in LEVELS:
        if count**2 >= most:
            return
        stride = (finest - 1) // (count - 1)
        wanted = torch.zeros_like(seen)
        wanted[::stride, ::stride] = True
        places = (wanted & ~seen).nonzero()
        seen |= wanted
        yield Level(count, placed(chebyshev(finest)[places], window), places)
