"""Both ends of a symmetric operator's spectrum, each with an interval of its own: the lower one may be a thousandth of the upper.

One Lanczos run from a vector drawn at random. Of its tridiagonal T the eigenvalues t_1 <= ... <= t_m lie between the ends. Past
them, an eigenvector w of eigenvalue l has along the drawn vector a component of at most p(l) = prod b_i / prod |l - t_i|, with the
b_i next to the diagonal and the last one for what is left. Whatever w is, that component is below s with a chance of at most
s sqrt(2 dim / pi): where p(l) is that small, no eigenvalue lies beyond l (van Dorsselaer, Hochstenbach and van der Vorst 2000, SIAM
J. Matrix Anal. Appl. 22). So far reaches the interval; neither a gap in the spectrum nor a residual is taken for granted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from landscapes.derivatives import Operator
from landscapes.solvers import COLD_CHANCE, orthogonal, room

PRODUCTS = 240  # where there are more parameters; with fewer the whole space is searched, and the ends are exact
WHOLE = 640
_SMALL = 1e-6  # of the largest size: an end that near to zero is not told more exactly


class Extremes(NamedTuple):
    """Both ends of a spectrum. The lowest eigenvalue lies in lowest - lowest_error ... lowest, and a rounding above it, the highest
    likewise on the other side, but for a chance of at most one in a thousand. NaN where the matrix or the point is not finite.
    """

    lowest: Tensor  # (...)
    lowest_error: Tensor  # (...), absolute, with what rounding adds
    highest: Tensor  # (...)
    highest_error: Tensor  # (...)
    products: int  # Hessian-vector products spent

    @property
    def sign(self) -> Tensor:
        """-1, 0 or 1 (...): that of the lowest eigenvalue, 0 where its interval holds zero."""
        return self.lowest.sign().where(self.lowest.abs() > self.lowest_error, 0)


def most_products(dim: int, runs: int) -> int:
    """How many products `extreme_eigenvalues` makes at most, and so how many vectors of each run it holds."""
    return dim if dim <= WHOLE else min(PRODUCTS, room(dim * runs))


def extreme_eigenvalues(
    operator: Operator, like: Tensor, tol: float = 1e-2, *, lower: bool = True, seed: int = 0
) -> Extremes:
    """The ends of the spectrum of an operator (..., dim) -> (..., dim), one symmetric matrix for each row of `like` (..., dim).

    Goes on until each end, or without `lower` the upper one, is known to `tol` of its own size, or to a millionth of the larger
    one (in float32 to what rounding leaves, about 1e-5 of the larger one). Up to 640 parameters that takes as long as it takes;
    with more it ends after 240 products, or where its vectors fill half a gigabyte but not before 40, and the errors say what is
    known by then. Raises ValueError for a tol that is not positive.
    """
    if not tol > 0:
        raise ValueError(f"tol = {tol} is not allowed: it must be positive.")
    flat = like.reshape(-1, like.shape[-1])
    runs, dim = flat.shape
    epsilon = torch.finfo(flat.dtype).eps
    dead = ~torch.isfinite(flat).all(-1)
    most = most_products(dim, runs)
    drawn = torch.randn(dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = (drawn / drawn.norm()).to(flat).expand(runs, 1, dim)
    held = basis.new_empty(runs, most, dim)  # of which those not written yet take no memory
    held[:, :1] = basis
    band = _Band(runs, dim, epsilon)
    check = min(8, most)
    for m in range(1, most + 1):
        image = operator(held[:, m - 1].reshape(like.shape)).reshape(flat.shape)
        peak = image.abs().amax(-1, keepdim=True)  # divided by it, so that no square is out of range
        dead = dead | ~torch.isfinite(peak[:, 0])
        peak = torch.where(dead[:, None] | (peak == 0), 1, peak)
        image, parts = orthogonal(torch.where(dead[:, None], 0, image / peak), held[:, :m])
        size = image.norm(dim=-1, keepdim=True)
        band.add(parts.cpu().double() * peak.cpu().double(), (size.cpu().double() * peak.cpu().double())[:, 0])
        if m in (check, most):
            found = band.extremes(whole=m == dim)
            floor = (_SMALL + 2 * band.rounding) * torch.maximum(found.lowest.abs(), found.highest.abs())
            below = found.lowest_error <= torch.maximum(tol * found.lowest.abs(), floor)
            above = found.highest_error <= torch.maximum(tol * found.highest.abs(), floor)
            below = below | (not lower)
            if m == most or bool((below & above | band.spent | dead.cpu()).all()):
                break
            check = m + max(4, m // 8)
        # Where the space is spent, it holds an eigenvector of every eigenvalue: the rest is multiplied in vain.
        spent = band.spent.to(dead.device)[:, None] | (size == 0)
        held[:, m] = torch.where(spent, 0, image / torch.where(spent, 1, size))
    low, low_error, high, high_error = (
        one.to(flat).masked_fill(dead, torch.nan).reshape(like.shape[:-1]) for one in found[:4]
    )
    return Extremes(low, low_error, high, high_error, m)


class _Band:
    """The tridiagonal matrices of all runs, in float64; what is told of one that is spent, is told of its first rows."""

    def __init__(self, runs: int, dim: int, epsilon: float):
        self.diagonal = torch.empty(runs, 0, dtype=torch.float64)
        self.beside = self.diagonal
        self.spent = torch.zeros(runs, dtype=torch.bool)
        self.rounding = max(8, math.sqrt(dim)) * epsilon  # of the largest size, in each end; what was seen may be more
        self._dim, self._least = dim, 10 * epsilon
        self._uneven = torch.zeros(runs, dtype=torch.float64)

    def add(self, parts: Tensor, size: Tensor) -> None:
        """One more column: the parts (runs, m) of an image along the basis, and the size (runs,) of the rest."""
        own = parts[:, -1]
        if parts.shape[1] > 1:
            # What rounding has put where a symmetric matrix has zeros, and made unequal beside the diagonal.
            off = torch.cat([parts[:, :-2], (parts[:, -2] - self.beside[:, -1])[:, None]], 1).norm(dim=-1)
            self._uneven = torch.maximum(self._uneven, torch.where(self.spent, 0, off))
            # A value inside the spectrum, coupled to nothing, changes neither end.
            own = torch.where(self.spent, self.diagonal[:, 0], own)
        self.diagonal = torch.cat([self.diagonal, own[:, None]], 1)
        scale = torch.cat([self.diagonal, self.beside], 1).abs().amax(-1)
        self.spent = self.spent | (size <= self._least * scale)
        self.beside = torch.cat([self.beside, torch.where(self.spent, 0, size)[:, None]], 1)

    def extremes(self, *, whole: bool) -> Extremes:
        """What the rows so far tell; `whole` says that they are all."""
        between = self.beside[:, :-1]
        matrix = torch.diag_embed(self.diagonal) + torch.diag_embed(between, 1) + torch.diag_embed(between, -1)
        values = torch.linalg.eigvalsh(matrix)
        largest = values.abs().amax(-1)
        scale = largest.clamp_min(torch.finfo(torch.float64).tiny)
        logs = (self.beside / scale[:, None]).clamp_min(torch.finfo(torch.float64).tiny).log().sum(-1)
        logs = logs - math.log(COLD_CHANCE / math.sqrt(2 * self._dim / math.pi))
        exact = self.spent | whole
        low, high = (
            _beyond(distances / scale[:, None], logs).masked_fill(exact, 0) * scale
            + torch.maximum(self.rounding * largest, self._uneven)
            for distances in (values - values[:, :1], values[:, -1:] - values)
        )
        return Extremes(values[:, 0], low, values[:, -1], high, 0)


def _beyond(distances: Tensor, logs: Tensor) -> Tensor:
    """The x (runs,) past an end at which the sum of log(x + distances) over (runs, m) has come to `logs`: by bisection."""
    low, high = torch.full_like(logs, -40), torch.full_like(logs, 40)
    for _ in range(40):
        middle = (low + high) / 2
        enough = (middle.exp()[:, None] + distances).log().sum(-1) >= logs
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high.exp()
