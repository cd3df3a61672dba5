"""Sharpness: the largest eigenvalues of the Hessian, from Hessian-vector products alone.

Lanczos with full reorthogonalisation (Golub and Van Loan, Matrix Computations, 4th ed., ch. 10), all runs of a batch at
once, stopped by the residual |H v - lambda v|, which bounds the error of an eigenvalue. Every answer carries that residual.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from landscapes.derivatives import Operator
from landscapes.landscape import Landscape

DENSE_DIM = 24  # up to here the whole Hessian costs less than an iteration
_START_NOISE = 0.02  # keeps a warm start from settling on the second eigenvector


class Eigenpairs(NamedTuple):
    """The k largest eigenvalues, in falling order. Runs at non-finite parameters or with a non-finite Hessian hold NaN."""

    values: Tensor  # (..., k)
    vectors: Tensor  # (..., k, dim), of unit length
    residuals: Tensor  # (..., k): |H v - lambda v|, so some eigenvalue lies within that distance of lambda
    products: int  # Hessian-vector products spent


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
    start: Tensor | None = None,
    seed: int = 0,
    batch: Tensor | None = None,
    extra: int = 0,
) -> Eigenpairs:
    """As `sharpness`, with residuals and cost, and up to `extra` further pairs to start from another time."""
    landscape._check(params, batch)
    lead, size = params.shape[:-1], landscape.chunk(params)
    if params.numel() <= size * landscape.dim or (batch is not None and batch.ndim > 1):
        return _at(landscape, params, k, tol, start, seed, batch, extra)
    # Runs too large for the cache together go chunk by chunk, each of which stops when it has converged.
    flat = params.reshape(-1, landscape.dim)
    starts = None if start is None else start.reshape(len(flat), *start.shape[-2:])
    parts = []
    for begin in range(0, len(flat), size):
        own = slice(begin, begin + size)
        own_start = None if starts is None else starts[own]
        parts.append(_at(landscape, flat[own], k, tol, own_start, seed, batch, extra))
    values, vectors, residuals = (torch.cat(tensors) for tensors in zip(*(part[:3] for part in parts), strict=True))
    return Eigenpairs(
        values.reshape(*lead, -1), vectors.reshape(*lead, *vectors.shape[1:]), residuals.reshape(*lead, -1),
        sum(part.products for part in parts),
    )  # fmt: skip


def _at(
    landscape: Landscape, params: Tensor, k: int, tol: float, start: Tensor | None, seed: int, batch: Tensor | None,
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
    start: Tensor | None = None,
    seed: int = 0,
    extra: int = 0,
) -> Eigenpairs:
    """The k largest eigenvalues of any symmetric operator (..., dim) -> (..., dim), one matrix for each run.

    `like` (..., dim) says how many runs there are, in which dtype and where; runs whose row is not finite hold NaN. Up to
    `extra` further pairs follow the k, without a tolerance: to start from another time. The rest is as in `sharpness`.
    """
    dim = like.shape[-1]
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= dim:
        raise ValueError(f"k = {k} is not allowed: it must be from 1 to the landscape's dimension, {dim}.")
    if not tol > 0:
        raise ValueError(f"tol = {tol} is not allowed: it must be positive.")
    lead = like.shape[:-1]
    if start is not None and (start.ndim < 2 or (*start.shape[:-2], start.shape[-1]) != (*lead, dim)):
        shape = ", ".join(map(str, (*lead, "j", dim)))
        raise ValueError(f"start has shape {tuple(start.shape)}: earlier eigenvectors are of shape ({shape}).")
    flat = like.reshape(-1, dim)
    dead = ~torch.isfinite(flat).all(-1)

    def product(vectors: Tensor) -> Tensor:
        return operator(vectors.reshape(like.shape)).reshape(flat.shape)

    if dim <= DENSE_DIM:
        pairs = _dense(product, flat, min(k + extra, dim))
    else:
        pairs = _lanczos(product, _first_vectors(flat, start, k, seed), k, min(k + extra, dim), tol)
    dead |= ~torch.isfinite(pairs.values).all(-1)
    k = pairs.values.shape[-1]
    values = pairs.values.masked_fill(dead[:, None], torch.nan)
    vectors = pairs.vectors.masked_fill(dead[:, None, None], torch.nan)
    residuals = pairs.residuals.masked_fill(dead[:, None], torch.nan)
    return Eigenpairs(
        values.reshape(*lead, k), vectors.reshape(*lead, k, dim), residuals.reshape(*lead, k), pairs.products
    )


def _dense(operator: Operator, flat: Tensor, k: int) -> Eigenpairs:
    dim = flat.shape[-1]
    columns = [operator(unit.expand_as(flat)) for unit in torch.eye(dim, dtype=flat.dtype, device=flat.device)]
    hessian = torch.stack(columns, dim=-1)  # (runs, dim, dim)
    finite = torch.isfinite(hessian).all(-1).all(-1)[:, None, None]
    values, vectors = torch.linalg.eigh(torch.where(finite, (hessian + hessian.mT) / 2, 0))
    values, vectors = values.flip(-1)[:, :k], vectors.flip(-1)[:, :, :k]
    residuals = (hessian @ vectors - vectors * values[:, None]).norm(dim=1)
    return Eigenpairs(values.masked_fill(~finite[:, 0], torch.nan), vectors.mT, residuals, dim)


def _first_vectors(flat: Tensor, start: Tensor | None, k: int, seed: int) -> Tensor:
    """Orthonormal vectors (runs, at least k, dim): the first ones along `start`, the others at random."""
    warm = 0 if start is None else min(start.shape[-2], flat.shape[-1])
    # Drawn on the CPU, so that every device starts from the same numbers.
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(max(k, warm), flat.shape[-1], generator=generator, dtype=torch.float64).to(flat)
    block = (noise / noise.norm(dim=-1, keepdim=True)).expand(len(flat), *noise.shape)
    if start is not None:
        given = start.to(flat).reshape(len(flat), -1, flat.shape[-1])[:, :warm]
        size = given.norm(dim=-1, keepdim=True)
        usable = torch.isfinite(size) & (size > 0)
        given = torch.where(usable, given / size + _START_NOISE * block[:, :warm], block[:, :warm])
        block = torch.cat([given, block[:, warm:]], dim=1)
    return torch.linalg.qr(block.mT).Q.mT


def _lanczos(operator: Operator, first: Tensor, k: int, count: int, tol: float) -> Eigenpairs:
    """The top `count` eigenpairs from a Krylov space grown until the first k of every run have converged.

    The space grows from a band of vectors, first (runs, at least k, dim), orthonormal, one product at a time (Ruhe 1979, Math. Comp. 33): one vector alone would find
    each eigenvalue once, however often it is repeated.
    """
    runs, band, dim = first.shape
    epsilon = torch.finfo(first.dtype).eps
    goal = max(tol, 40 * epsilon)
    most = min(dim, 150 + 50 * k)
    basis = list(first.unbind(1))
    coefficients = first.new_zeros(runs, band, 0)  # column j: the image of basis vector j, in the basis
    broken = torch.zeros(runs, dtype=torch.bool, device=first.device)
    while True:
        m = coefficients.shape[-1] + 1
        image = operator(basis[m - 1])
        broken = broken | ~torch.isfinite(image).all(-1)
        image = torch.where(broken[:, None], 0, image)
        span = torch.stack(basis, dim=1)  # (runs, at most m + band - 1, dim)
        image, column = orthogonal(image, span)
        size = image.norm(dim=-1)
        grows = int(len(basis) < dim)
        coefficients = functional.pad(coefficients, (0, 1, 0, grows))
        coefficients[:, : len(basis), -1] = column
        square = coefficients[:, :m]
        values, small = torch.linalg.eigh((square + square.mT) / 2)
        scale = values.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(first.dtype).tiny)
        if grows:
            coefficients[:, -1, -1] = size
        residuals = (coefficients[:, m:] @ small).norm(dim=1).flip(-1)[:, :count]
        done = m >= max(count, band) and bool((residuals[:, :k] <= goal * scale).all())
        if done or m == most:
            break
        if grows:
            # An exhausted Krylov space (an exact eigenvector to start from) goes on in a fresh direction, uncoupled.
            spent = size <= 10 * epsilon * scale[:, 0]
            if bool(spent.any()):
                fresh = torch.randn(dim, generator=torch.Generator().manual_seed(m), dtype=torch.float64).to(first)
                image = torch.where(spent[:, None], orthogonal(fresh.expand(runs, dim), span)[0], image)
                coefficients[:, -1, -1] = torch.where(spent, 0, size)
            basis.append(image / image.norm(dim=-1, keepdim=True))
    if not done and m < dim:
        worst = float((residuals[:, :k] / scale).max())
        warnings.warn(
            f"Lanczos stopped after {m} products at a relative residual of {worst:.1e}; {goal:.1e} was asked for.",
            RuntimeWarning,
            stacklevel=4,
        )
    vectors = torch.einsum("rmk,rmd->rkd", small.flip(-1)[:, :, :count], span[:, :m])
    return Eigenpairs(values.flip(-1)[:, :count].masked_fill(broken[:, None], torch.nan), vectors, residuals, m)


def orthogonal(image: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
    """image (runs, dim) less its part in span (runs, m, dim), and the coefficients (runs, m) of that part."""
    part = torch.zeros_like(span[..., 0])
    for _ in range(2):  # twice is enough (Parlett 1998, sect. 6.9)
        now = torch.einsum("rmd,rd->rm", span, image)
        image, part = image - torch.einsum("rm,rmd->rd", now, span), part + now
    return image, part
