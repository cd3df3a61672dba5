"""The tensors inside params as matrices: a block (out, ...) is out x everything else, a vector is one row."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from landscapes import Layout
from optimizers.optimizer import Value

# How many products (n, n) (n, n) a factorization of (n, n) takes as long as. Measured in one thread, for n = 256 to 1024 in
# single and double precision: eigh 5.7 to 12.8 (8.6 and 8.8 at 512), qr 2.5 to 6.5 (4.9, 4.4), svd 13.7 to 27.5 (15.4, 20.6).
EIGH, QR, SVD = 9, 5, 20


def shapes(layout: Layout) -> list[tuple[int, int]]:
    """The shapes (m, n) of the blocks as matrices, a vector as one row."""
    return [(b.shape[0], math.prod(b.shape[1:])) if len(b.shape) > 1 else (1, b.stop - b.start) for b in layout.blocks]


def orthogonal_multiplications(layout: Layout) -> int:
    """What `orthogonal` takes of all blocks."""
    return sum(SVD * m * n * min(m, n) for m, n in shapes(layout) if min(m, n) > 1)


def matrices(layout: Layout, vector: Tensor) -> list[Tensor]:
    """The blocks of vector (..., dim) as matrices (..., m, n)."""
    pairs = zip(layout.blocks, shapes(layout), strict=True)
    return [vector[..., b.start : b.stop].unflatten(-1, shape) for b, shape in pairs]


def flattened(blocks: Iterable[Tensor]) -> Tensor:
    """The inverse of `matrices`: (..., m, n) each -> (..., dim)."""
    return torch.cat([block.flatten(-2) for block in blocks], dim=-1)


def wide(value: Value) -> Value:
    """A hyper-parameter (..., 1) as (..., 1, 1), to meet matrices."""
    return value.unsqueeze(-1) if isinstance(value, Tensor) else value


def finite_or_zero(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Which matrices (..., 1, 1) are finite, and all of them with the others set to 0: eigh and svd refuse a whole batch
    for one matrix that is not."""
    finite = torch.isfinite(matrix).flatten(-2).all(-1)[..., None, None]
    return finite, torch.where(finite, matrix, 0)


def unit(x: Tensor) -> Tensor:
    """x / |x| in the Euclidean norm of the last dimension; 0 for 0."""
    length = x.norm(dim=-1, keepdim=True)
    return x / length.masked_fill(length == 0, 1)


def orthogonal(matrix: Tensor) -> Tensor:
    """U V^T of the thin SVD (..., m, n), without the singular values that are zero up to rounding: 0 stays 0."""
    if 1 in matrix.shape[-2:]:  # a vector: the same without an SVD
        return unit(matrix.flatten(-2)).reshape_as(matrix)
    finite, matrix = finite_or_zero(matrix)
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    kept = sizes > sizes[..., :1] * max(matrix.shape[-2:]) * torch.finfo(matrix.dtype).eps
    return torch.where(finite, (left * kept.unsqueeze(-2)) @ right, torch.nan)
