"""Sharpness: the largest eigenvalues of the Hessian, from Hessian-vector products alone.

Lanczos with full reorthogonalisation (Golub and Van Loan, Matrix Computations, 4th ed., ch. 10), all runs of a batch at
once, stopped by the residual |H v - lambda v|, which bounds the error of an eigenvalue. Every answer carries that residual.
Along a run, the pairs of the last measurement are a model of the next Hessian (see solvers.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscapes.derivatives import Operator
from landscapes.landscape import Landscape
from landscapes.solvers import (
    CHANCE,
    COLD_CHANCE,
    Eigenpairs,
    dense,
    first_vectors,
    lanczos,
    matrix,
    nearby,
    unvalued,
)  # fmt: skip

DENSE_DIM = 24  # up to here the whole Hessian costs less than an iteration


def sharpness(
    landscape: Landscape,
    params: Tensor,
    k: int = 1,
    tol: float = 1e-6,
    *,
    start: Tensor | None = None,
    seed: int = 0,
    batch: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The k largest Hessian eigenvalues (..., k) and their unit eigenvectors (..., k, dim) at params (..., dim).

    Stops when each residual |H v - lambda v| is at most `tol` times the largest |eigenvalue| (in float32 at most about
    1e-5 is attainable). `start` (..., j, dim) warm-starts from earlier eigenvectors. Warns (RuntimeWarning) if the
    tolerance was not reached, and says what was. Raises ValueError for k outside 1..dim, a non-positive tol or a start of
    another shape, and as `landscape.loss`.
    """
    pairs = top_eigenpairs(landscape, params, k, tol, start=start, seed=seed, batch=batch)
    return pairs.values, pairs.vectors


def top_eigenpairs(
    landscape: Landscape,
    params: Tensor,
    k: int = 1,
    tol: float = 1e-6,
    *,
    start: Tensor | Eigenpairs | None = None,
    seed: int = 0,
    batch: Tensor | None = None,
    extra: int = 0,
) -> Eigenpairs:
    """As `sharpness`, with residuals and cost, and up to `extra` further pairs to start from another time.

    `start` may also be the pairs found at parameters nearby: all of them, with their values, show the way.
    """
    landscape._check(params, batch)
    lead, size = params.shape[:-1], landscape.chunk(params)
    if params.numel() <= size * landscape.dim or (batch is not None and batch.ndim > 1):
        return _at(landscape, params, k, tol, start, seed, batch, extra)
    # Runs too large for the cache together go chunk by chunk, each of which stops when it has converged.
    flat = params.reshape(-1, landscape.dim)
    parts = []
    for begin in range(0, len(flat), size):
        own = slice(begin, begin + size)
        parts.append(_at(landscape, flat[own], k, tol, _rows(start, own), seed, batch, extra))
    values, vectors, residuals, reached = (torch.cat(one) for one in zip(*(part[:4] for part in parts), strict=True))
    return Eigenpairs(
        values.reshape(*lead, -1), vectors.reshape(*lead, *vectors.shape[1:]), residuals.reshape(*lead, -1),
        reached.reshape(*lead, -1), sum(part.products for part in parts),
    )  # fmt: skip


def _rows(start: Tensor | Eigenpairs | None, own: slice) -> Tensor | Eigenpairs | None:
    """The starts of some of the runs, numbered through."""
    if start is None:
        return None
    if isinstance(start, Tensor):
        return start.reshape(-1, *start.shape[-2:])[own]
    values, vectors, residuals, reached, products = start
    return Eigenpairs(
        values.reshape(-1, values.shape[-1])[own], vectors.reshape(-1, *vectors.shape[-2:])[own],
        residuals.reshape(-1, residuals.shape[-1])[own], reached.reshape(-1, reached.shape[-1])[own], products,
    )  # fmt: skip


def _at(
    landscape: Landscape, params: Tensor, k: int, tol: float, start: Tensor | Eigenpairs | None, seed: int, batch: Tensor | None,
    extra: int,
) -> Eigenpairs:  # fmt: skip
    # An eigen-solver raises for a whole batch if one matrix is not finite: dead runs sit at zero meanwhile.
    alive = torch.isfinite(params).all(-1, keepdim=True)
    operator = landscape.hessian_operator(torch.where(alive, params, 0), batch)
    return eigenpairs(operator, params, k, tol, start=start, seed=seed, extra=extra)


def eigenpairs(
    operator: Operator,
    like: Tensor,
    k: int = 1,
    tol: float = 1e-6,
    *,
    start: Tensor | Eigenpairs | None = None,
    seed: int = 0,
    extra: int = 0,
) -> Eigenpairs:
    """The k largest eigenvalues of any symmetric operator (..., dim) -> (..., dim), one matrix for each run.

    The tolerance is one of the largest size: for the lower end, which may be far smaller, take `extreme_eigenvalues`. `like`
    (..., dim) says how many runs there are, in which dtype and where; runs whose row is not finite hold NaN. Up to
    `extra` further pairs follow the k, without a tolerance: to start from another time. The rest is as in `sharpness`.
    """
    dim = like.shape[-1]
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= dim:
        raise ValueError(f"k = {k} is not allowed: it must be from 1 to the landscape's dimension, {dim}.")
    if not tol > 0:
        raise ValueError(f"tol = {tol} is not allowed: it must be positive.")
    lead = like.shape[:-1]
    given = start if isinstance(start, Tensor) or start is None else start.vectors
    if given is not None and (given.ndim < 2 or (*given.shape[:-2], given.shape[-1]) != (*lead, dim)):
        shape = ", ".join(map(str, (*lead, "j", dim)))
        raise ValueError(f"start has shape {tuple(given.shape)}: earlier eigenvectors are of shape ({shape}).")
    flat, start = like.reshape(-1, dim), _rows(start, slice(None))
    dead = ~torch.isfinite(flat).all(-1)

    def product(vectors: Tensor) -> Tensor:
        return operator(vectors.reshape(like.shape)).reshape(flat.shape)

    count = min(k + extra, dim)
    if dim <= DENSE_DIM:
        pairs = dense(product, flat, count)
    elif isinstance(start, Tensor) and bool((torch.isfinite(start).all(-1) & start.any(-1)).any()):
        pairs = nearby(product, unvalued(start[:, :dim]), flat, k, count, tol, COLD_CHANCE, seed)
    elif isinstance(start, Eigenpairs):
        pairs = nearby(product, start, flat, k, count, tol, CHANCE, seed)
    else:
        pairs = lanczos(product, first_vectors(flat, k, seed), k, count, tol)
    dead |= ~torch.isfinite(pairs.values).all(-1)
    k = pairs.values.shape[-1]
    values = pairs.values.masked_fill(dead[:, None], torch.nan)
    vectors = pairs.vectors.masked_fill(dead[:, None, None], torch.nan)
    residuals = pairs.residuals.masked_fill(dead[:, None], torch.nan)
    return Eigenpairs(
        values.reshape(*lead, k), vectors.reshape(*lead, k, dim), residuals.reshape(*lead, k),
        pairs.reached.reshape(*lead, k), pairs.products,
    )  # fmt: skip


def hessian(landscape: Landscape, params: Tensor) -> Tensor:
    """The whole Hessian (..., dim, dim) at params (..., dim). Raises as `landscape.loss`.

    Closed forms prepare a point once and multiply cheaply, so that they go column by column; a graph of small operations is
    bounded by their number, so that all columns are one batch.
    """
    if landscape.analytic:
        found = matrix(landscape.hessian_operator(params), params)
    else:
        rows = params.unsqueeze(-2).expand(*params.shape, landscape.dim).reshape(-1, landscape.dim)
        units = torch.eye(landscape.dim, dtype=params.dtype, device=params.device).expand(*params.shape, -1)
        pieces = (tensor.split(landscape.chunk(params)) for tensor in (rows, units.reshape(rows.shape)))
        found = torch.cat([landscape.hvp(own, along) for own, along in zip(*pieces, strict=True)])
        found = found.reshape(*params.shape, landscape.dim)
    return (found + found.mT) / 2
