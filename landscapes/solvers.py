"""Solvers for the top eigenpairs of symmetric operators, all runs of a batch at once: dense, Lanczos, and from nearby pairs."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from landscapes.derivatives import Operator

_START_NOISE = 0.02  # keeps a warm start from settling on the second eigenvector


class Eigenpairs(NamedTuple):
    """The k largest eigenvalues, in falling order. Runs at non-finite parameters, or whose Hessian is not finite, or not its square, hold NaN."""

    values: Tensor  # (..., k)
    vectors: Tensor  # (..., k, dim), of unit length
    residuals: (
        Tensor  # (..., k): |H v - lambda v|, so some eigenvalue lies within that distance of lambda; NaN: not known
    )
    reached: Tensor  # (..., k): is the residual known to be within the tolerance?
    products: int  # Hessian-vector products spent

    @property
    def proved(self) -> Tensor:
        """The values (..., k), NaN where the tolerance was not reached."""
        return self.values.where(self.reached, torch.nan)


def matrix(operator: Operator, like: Tensor) -> Tensor:
    """The whole of an operator on vectors like these (..., dim), column by column: (..., dim, dim)."""
    units = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
    return torch.stack([operator(unit.expand_as(like)) for unit in units], dim=-1)


def dense(operator: Operator, flat: Tensor, k: int) -> Eigenpairs:
    dim = flat.shape[-1]
    hessian = matrix(operator, flat)  # (runs, dim, dim)
    finite = ~_beyond(hessian.flatten(1))[:, None, None]
    values, vectors = torch.linalg.eigh(torch.where(finite, (hessian + hessian.mT) / 2, 0))
    values, vectors = values.flip(-1)[:, :k], vectors.flip(-1)[:, :, :k]
    residuals = (hessian @ vectors - vectors * values[:, None]).norm(dim=1)
    reached = torch.ones_like(values, dtype=torch.bool)
    return Eigenpairs(values.masked_fill(~finite[:, 0], torch.nan), vectors.mT, residuals, reached, dim)


def first_vectors(flat: Tensor, start: Tensor | None, k: int, seed: int) -> Tensor:
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


def lanczos(operator: Operator, first: Tensor, k: int, count: int, tol: float) -> Eigenpairs:
    """The top `count` eigenpairs from a Krylov space grown until the first k of every run have converged.

    The space grows from a band of vectors, first (runs, at least k, dim), orthonormal, one product at a time (Ruhe 1979, Math. Comp. 33): one vector alone would find
    each eigenvalue once, however often it is repeated.
    """
    runs, band, dim = first.shape
    epsilon = torch.finfo(first.dtype).eps
    goal = max(tol, 40 * epsilon)
    most = min(dim, _most(k))
    held, filled = first, band  # the basis: the first rows of what is held, which grows by half at a time
    coefficients = first.new_zeros(runs, band, 0)  # column j: the image of basis vector j, in the basis
    broken = torch.zeros(runs, dtype=torch.bool, device=first.device)
    while True:
        m = coefficients.shape[-1] + 1
        image = operator(held[:, m - 1])
        broken = broken | _beyond(image)
        image = torch.where(broken[:, None], 0, image)
        span = held[:, :filled]  # (runs, at most m + band - 1, dim)
        image, column = orthogonal(image, span)
        size = image.norm(dim=-1)
        grows = int(filled < dim)
        coefficients = functional.pad(coefficients, (0, 1, 0, grows))
        coefficients[:, :filled, -1] = column
        square = coefficients[:, :m]
        values, small = torch.linalg.eigh((square + square.mT) / 2)
        scale = values.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(first.dtype).tiny)
        if grows:
            coefficients[:, -1, -1] = size
        residuals = (coefficients[:, m:] @ small).norm(dim=1).flip(-1)[:, :count]
        reached = residuals <= goal * scale
        done = m >= max(count, band) and bool(reached[:, :k].all())
        if done or m == most:
            break
        if grows:
            # An exhausted Krylov space (an exact eigenvector to start from) goes on in a fresh direction, uncoupled.
            spent = size <= 10 * epsilon * scale[:, 0]
            if bool(spent.any()):
                fresh = torch.randn(dim, generator=torch.Generator().manual_seed(m), dtype=torch.float64).to(first)
                image = torch.where(spent[:, None], orthogonal(fresh.expand(runs, dim), span)[0], image)
                coefficients[:, -1, -1] = torch.where(spent, 0, size)
            if filled == held.shape[1]:
                held = torch.cat([held, held.new_empty(runs, min(filled // 2 + 8, dim - filled), dim)], dim=1)
            torch.div(image, image.norm(dim=-1, keepdim=True), out=held[:, filled])
            filled += 1
    if not done and m < dim:
        _warn("Lanczos", m, float((residuals[:, :k] / scale).max()), goal)
    vectors = torch.einsum("rmk,rmd->rkd", small.flip(-1)[:, :, :count], span[:, :m])
    values = values.flip(-1)[:, :count].masked_fill(broken[:, None], torch.nan)
    return Eigenpairs(values, vectors, residuals, reached if m < dim else torch.ones_like(reached), m)


def nearby(operator: Operator, old: Eigenpairs, like: Tensor, k: int, count: int, tol: float) -> Eigenpairs:
    """The top k eigenpairs of matrices near to others of which the pairs `old` are known; up to `count` to go on from.

    The old pairs are a model of the new matrix, M = sum of lambda u u', which every product corrects: it is the symmetric
    matrix nearest to M that agrees with all products so far (Powell 1970, in Nonlinear Programming, pp. 31-65). The next
    vector to multiply is the model's eigenvector, and in the directions that it does not know the residual (Davidson 1975,
    J. Comput. Phys. 17). All small matrices are in a frame (runs, n, dim): the old vectors, then residuals.
    """
    runs, dim = like.shape
    epsilon = torch.finfo(like.dtype).eps
    goal = max(tol, 40 * epsilon)
    most = min(dim, _most(k))
    frame, known = _frame(old, like)
    first = torch.zeros_like(known)
    first[:, 0] = 1
    chosen = first[:, :, None]  # (runs, n, m): the vectors multiplied so far, orthonormal
    images = like.new_zeros(runs, 0, dim)
    broken = ~torch.isfinite(like).all(-1)
    while True:
        image = operator(_mixed(chosen[:, :, -1:], frame)[:, 0])
        broken = broken | _beyond(image)
        images = torch.cat([images, torch.where(broken[:, None], 0, image)[:, None]], 1)
        seen = frame @ images.mT  # (runs, n, m): the images in the frame
        m = chosen.shape[-1]
        square = chosen.mT @ seen
        values, small = torch.linalg.eigh((square + square.mT) / 2)
        scale = values.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(like.dtype).tiny)
        values, small = values.flip(-1)[:, None, :k], small.flip(-1)[:, :, :k]
        inside = seen @ small - chosen @ small * values  # the residuals in the frame, and out of it
        outside = _mixed(small, images) - _mixed(seen @ small, frame)
        sizes = outside.norm(dim=-1)
        residuals = torch.hypot(inside.norm(dim=1), sizes)
        reached = residuals <= goal * scale
        fine = reached.all(-1)
        model = _corrected(known, chosen, seen)
        done = m > min(k, dim - 1) and bool(fine.all())
        if done or m == most:
            break
        worst = residuals.argmax(-1)[:, None, None]
        at = chosen @ small.take_along_dim(worst, 2)  # (runs, n, 1): the approximate eigenvector that needs most
        step = outside.take_along_dim(worst, 1)
        size = sizes.take_along_dim(worst[:, :, 0], 1)
        height = values.take_along_dim(worst, 2)[:, 0].abs()
        # The model's own eigenvector of that rank, on the same side.
        ahead = torch.linalg.eigh(model).eigenvectors.flip(-1).take_along_dim(worst, 2)
        ahead = ahead * torch.where((ahead * at).sum(1, keepdim=True) < 0, -1, 1)
        if len(frame[0]) < dim:
            spent = size <= 10 * epsilon * scale  # nothing new: any direction will do, and its part is of no size
            if bool(spent.any()):
                fresh = torch.randn(dim, generator=torch.Generator().manual_seed(m), dtype=torch.float64).to(like)
                step = torch.where(spent[:, :, None], fresh, step)
            step = orthogonal(step[:, 0] / step[:, 0].norm(dim=-1, keepdim=True), frame)[0]
            frame = torch.cat([frame, (step / step.norm(dim=-1, keepdim=True))[:, None]], 1)
            steep = size / torch.maximum(height, 1e-3 * scale)
            ahead = torch.cat([ahead, steep.clamp(epsilon, 1 / epsilon)[:, None]], 1)  # the height may be zero
            known, chosen = functional.pad(known, (0, 1)), functional.pad(chosen, (0, 0, 0, 1))
        if m <= k:  # one vector more is looked at than was asked for, lest another has overtaken
            second = torch.zeros_like(ahead)
            second[:, min(m, len(frame[0]) - 1)] = 1
            ahead = torch.where((fine | (m < k))[:, None, None], second, ahead)
        ahead = orthogonal(ahead[:, :, 0], chosen.mT)[0]
        ahead = orthogonal(ahead / ahead.norm(dim=-1, keepdim=True), chosen.mT)[0]
        chosen = torch.cat([chosen, (ahead / ahead.norm(dim=-1, keepdim=True))[:, :, None]], 2)
    if not done and m < dim:
        _warn("The search from nearby eigenvectors", m, float((residuals / scale).max()), goal)
    top = chosen @ small  # (runs, n, k)
    rest = model - (model @ top) @ top.mT
    rest = rest - top @ (top.mT @ rest) - 2 * scale[:, :, None] * top @ top.mT  # the top k go below the others
    others, vectors = torch.linalg.eigh((rest + rest.mT) / 2)
    others, vectors = others.flip(-1)[:, : count - k], vectors.flip(-1)[:, :, : count - k]
    return Eigenpairs(
        torch.cat([values[:, 0], others], -1).masked_fill(broken[:, None], torch.nan),
        _mixed(torch.cat([top, vectors], -1), frame),
        torch.cat([residuals, torch.full_like(others, torch.nan)], -1),
        torch.cat([reached if m < dim else torch.ones_like(reached), torch.zeros_like(others, dtype=torch.bool)], -1),
        m,
    )


def _frame(old: Eigenpairs, like: Tensor) -> tuple[Tensor, Tensor]:
    """The old vectors (runs, n, dim), orthonormal, and the old values (runs, n); where they are no numbers, any and zero."""
    values, vectors = old.values.to(like), old.vectors.to(like)
    usable = torch.isfinite(values).all(-1)
    if not bool(usable.all()):
        generator = torch.Generator().manual_seed(len(values))
        noise = torch.randn(vectors.shape[1:], generator=generator, dtype=torch.float64).to(like)
        vectors = torch.where(usable[:, None, None], vectors, noise)
    return torch.linalg.qr(vectors.mT).Q.mT, torch.where(usable[:, None], values, 0)


def _mixed(coefficients: Tensor, vectors: Tensor) -> Tensor:
    """(runs, n, j), (runs, n, dim) -> (runs, j, dim)."""
    return coefficients.mT @ vectors


def _corrected(known: Tensor, chosen: Tensor, seen: Tensor) -> Tensor:
    """The symmetric matrix (runs, n, n) nearest to diag(known) that maps `chosen` to `seen`, each (runs, n, m)."""
    off = seen - known[:, :, None] * chosen
    model = off @ chosen.mT
    own = chosen.mT @ off
    model = torch.diag_embed(known) + model + model.mT - chosen @ (own + own.mT) @ chosen.mT / 2
    return (model + model.mT) / 2


def _beyond(image: Tensor) -> Tensor:
    """Is an image (runs, dim) not finite, or so large that squares of sums of a thousand such are not?"""
    return ~torch.isfinite((1e3 * image).square().sum(-1))


def _most(k: int) -> int:
    """Products after which a solver gives what it has."""
    return 150 + 50 * k


def _warn(what: str, products: int, worst: float, goal: float) -> None:
    warnings.warn(
        f"{what} stopped after {products} products at a relative residual of {worst:.1e}; {goal:.1e} was asked for.",
        RuntimeWarning,
        stacklevel=5,
    )


def orthogonal(image: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
    """image (runs, dim) less its part in span (runs, m, dim), and the coefficients (runs, m) of that part."""
    part = torch.zeros_like(span[..., 0])
    for _ in range(2):  # twice is enough (Parlett 1998, sect. 6.9)
        now = torch.einsum("rmd,rd->rm", span, image)
        image, part = image - torch.einsum("rm,rmd->rd", now, span), part + now
    return image, part
