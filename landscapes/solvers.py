"""Solvers for the top eigenpairs of symmetric operators, all runs of a batch at once: dense, Lanczos, and from nearby pairs."""

from __future__ import annotations

import warnings
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from landscapes.derivatives import Operator
from landscapes.witness import CLEAR, doubt

COLD_CHANCE = 1e-3  # that a larger eigenvalue is missed from a cold start ...
_RIVAL = 0.5  # of the last eigenvalue asked for: an old pair that high may have overtaken it
_ABOVE = 0.1  # of the largest size: the model's eigenvalues are of about that accuracy
_PATIENCE = 8  # products after which the model of old pairs shows the way no longer
FEWEST = 40  # products, where the vectors that they make would take more memory than this:
_NUMBERS = 2**26  # half a gigabyte in float64
CHANCE = 0.05  # ... and, should one be hidden from earlier pairs, by one measurement that goes on from them


class Eigenpairs(NamedTuple):
    """The k largest eigenvalues, in falling order. Runs at non-finite parameters, or whose Hessian is not finite, or not its square, hold NaN."""

    values: Tensor  # (..., k)
    vectors: Tensor  # (..., k, dim), of unit length
    residuals: (
        Tensor  # (..., k): |H v - lambda v|, so some eigenvalue lies within that distance of lambda; NaN: not known
    )
    # (..., k): is the residual known to be within the tolerance of the largest size? Of an eigenvalue that is much smaller, as the
    # lowest one is near a minimum, that tells little: see extremes.py.
    reached: Tensor
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


class First(NamedTuple):
    """Vectors to start from."""

    vectors: Tensor  # (runs, k, dim), orthonormal
    drawn: Tensor  # (runs, k, k): the unit vectors that were drawn, in terms of them


def first_vectors(like: Tensor, k: int, seed: int) -> First:
    """k vectors to start from, drawn at random: on the CPU, so that every device starts from the same numbers."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(k, like.shape[-1], generator=generator, dtype=torch.float64).to(like)
    basis, drawn = torch.linalg.qr((noise / noise.norm(dim=-1, keepdim=True)).mT)
    return First(basis.mT.expand(len(like), -1, -1), drawn.expand(len(like), -1, -1))


def lanczos(operator: Operator, start: First, k: int, count: int, tol: float) -> Eigenpairs:
    """The top `count` eigenpairs from a Krylov space grown until the first k of every run have converged, and the chance that
    a larger one has gone unseen is small.

    The space grows from a band of vectors, one product at a time (Ruhe 1979, Math. Comp. 33): one vector alone would find
    each eigenvalue once, however often it is repeated.
    """
    first = start.vectors
    runs, band, dim = first.shape
    epsilon = torch.finfo(first.dtype).eps
    goal = max(tol, 40 * epsilon)
    most = min(dim, _most(k), room(runs * dim))
    held, filled = _held(first, min(dim, most + band)), band  # the basis: the first rows of what is held
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
        below = coefficients[:, m:]
        residuals = (below @ small).norm(dim=1).flip(-1)[:, :count]
        reached = residuals <= goal * scale
        done = m >= max(count, band) and bool(reached[:, :k].all())
        if done:
            bar = values[:, -k, None] + max(CLEAR, tol) * scale
            drawn = functional.pad(start.drawn, (0, 0, 0, m - band))
            left = doubt(values, small, k, bar, scale, partial(_beneath, below), drawn, dim)
            clear = (left.chance <= COLD_CHANCE) | broken
            done = bool(clear.all())
            if m == most:
                reached = reached & clear[:, None]
        if done or m == most:
            break
        if grows:
            # An exhausted Krylov space (an exact eigenvector to start from) goes on in a fresh direction, uncoupled.
            spent = size <= 10 * epsilon * scale[:, 0]
            if bool(spent.any()):
                fresh = torch.randn(dim, generator=torch.Generator().manual_seed(m), dtype=torch.float64).to(first)
                image = torch.where(spent[:, None], orthogonal(fresh.expand(runs, dim), span)[0], image)
                coefficients[:, -1, -1] = torch.where(spent, 0, size)
            torch.div(image, image.norm(dim=-1, keepdim=True), out=held[:, filled])
            filled += 1
    if not done and m < dim:
        _warn("Lanczos", m, residuals[:, :k] / scale, goal)
    vectors = torch.einsum("rmk,rmd->rkd", small.flip(-1)[:, :, :count], span[:, :m])
    values = values.flip(-1)[:, :count].masked_fill(broken[:, None], torch.nan)
    return Eigenpairs(values, vectors, residuals, reached if m < dim else torch.ones_like(reached), m)


def _beneath(below: Tensor, mix: Tensor) -> Tensor:
    return (below @ mix).norm(dim=1)[:, 0]


def nearby(
    operator: Operator, old: Eigenpairs, like: Tensor, k: int, count: int, tol: float, chance: float, seed: int = 0
) -> Eigenpairs:
    """The top k eigenpairs of matrices near to others of which the pairs `old` are known; up to `count` to go on from.

    The old pairs are a model of the new matrix, M = sum of lambda u u', which every product corrects: it is the symmetric
    matrix nearest to M that agrees with all products so far (Powell 1970, in Nonlinear Programming, pp. 31-65). The next
    vector to multiply is the model's eigenvector, and in the directions that it does not know the residual (Davidson 1975,
    J. Comput. Phys. 17). Once the pairs have converged, a direction drawn from `seed` is multiplied, and then, by the model,
    the ones along which a larger eigenvalue would have to hide, until that is unlikely (witness.py) or one is found. Of equal
    eigenvalues a drawn direction shows one, and is orthogonal to the others: where the first k - 1 have risen by it, the next
    one is drawn. All small matrices are in a frame (runs, n, dim): the old vectors, then residuals.
    """
    runs, dim = like.shape
    epsilon = torch.finfo(like.dtype).eps
    goal = max(tol, 40 * epsilon)
    most = min(dim, _most(k), room(runs * dim) // 2)  # for each vector has its image beside it
    frame, known = _frame(old, like)
    n = frame.shape[1]
    frames = _held(frame, min(dim, n + most))
    leading = _leading(old, k)
    chosen = _unit_vector(known, 0)  # (runs, n, m): the vectors multiplied so far, orthonormal
    mapped = _held(like.new_zeros(runs, 0, dim), most)
    broken = ~torch.isfinite(like).all(-1)
    drawn: list[tuple[int, Tensor]] = []  # the places among them of those drawn at random, and the values by then
    stale = broken  # have they risen since the last draw?
    while True:
        image = operator(_mixed(chosen[:, :, -1:], frame)[:, 0])
        broken = broken | _beyond(image)
        m = chosen.shape[-1]
        mapped[:, m - 1] = torch.where(broken[:, None], 0, image)
        images = mapped[:, :m]
        seen = frame @ images.mT  # (runs, n, m): the images in the frame
        square = chosen.mT @ seen
        square = (square + square.mT) / 2
        whole, every = torch.linalg.eigh(square)
        scale = whole.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(like.dtype).tiny)
        values, small = whole.flip(-1)[:, None, :k], every.flip(-1)[:, :, :k]
        space = _Images(frame, chosen, images, seen, square)
        inside, outside = space.off(small)
        residuals = torch.hypot(inside.norm(dim=1), outside.norm(dim=-1))
        reached = residuals <= goal * scale
        fine = reached.all(-1) & (m >= k)
        model = _corrected(known, chosen, seen)
        clear = torch.full_like(fine, m == dim)
        if drawn:
            bar = values[:, 0, -1:] + max(CLEAR, tol) * scale
            odds = torch.ones_like(bar[:, 0])
            for place, then in drawn:
                doubts = doubt(whole, every, k, bar, scale, space.missing, _unit_vector(whole, place), dim)
                stale = (values[:, 0, : k - 1] > then + CLEAR / 2 * scale).any(-1)
                odds = odds * doubts.chance.where(~stale, 1)
            clear = clear | (odds <= chance) | broken
            # Where the pairs have converged, the search goes on where another would have to lie, x = F g; or rather, as long as
            # the old pairs show the way, along (l - M)^-1 x, in which those of eigenvalues near to l are larger.
            hiding = space.off(doubts.toward)
            if m <= 2 * _PATIENCE:
                hiding = _solved(_below(model, chosen @ small, scale), bar + _ABOVE * scale, scale, *hiding)
        done = bool((fine & clear).all())
        if done or m == most:
            break
        worst = residuals.argmax(-1)[:, None, None]
        ahead, step = inside.take_along_dim(worst, 2), outside.take_along_dim(worst, 1)
        if drawn:
            ahead, step = (torch.where(fine[:, None, None], *both) for both in zip(hiding, (ahead, step), strict=True))
        size = step.norm(dim=-1)
        length = torch.hypot(ahead.norm(dim=1), size).clamp_min(torch.finfo(like.dtype).tiny)
        ahead, part = ahead / length[:, None], (size / length).clamp_min(epsilon)
        if m < k + _PATIENCE:  # the model's own eigenvector of that rank, on the same side
            at = chosen @ small.take_along_dim(worst, 2)  # the approximate eigenvector that needs most
            height = values.take_along_dim(worst, 2)[:, 0].abs()
            model_s = torch.linalg.eigh(model).eigenvectors.flip(-1).take_along_dim(worst, 2)
            model_s = model_s * torch.where((model_s * at).sum(1, keepdim=True) < 0, -1, 1)
            steep = (size / torch.maximum(height, 1e-3 * scale)).clamp(epsilon, 1 / epsilon)  # the height may be zero
            searching = ~fine if drawn else torch.ones_like(fine)
            ahead = torch.where(searching[:, None, None], model_s, ahead)
            part = torch.where(searching[:, None], steep, part)
        draws = m >= leading and (not drawn or bool((stale & fine).any())) and (m >= k + _PATIENCE or bool(fine.all()))
        if draws:
            step = noise = _noise(like, seed + (len(drawn) << 32)).expand(runs, 1, dim)
            drawn.append((m, values[:, 0, : k - 1]))
        if n < dim:
            # Nothing new: any direction will do, and its part is of no size.
            spent = step.norm(dim=-1) <= 10 * epsilon * scale
            if bool(spent.any()):
                step = torch.where(spent[:, :, None], _noise(like, m), step)
            step = orthogonal(step[:, 0] / step[:, 0].norm(dim=-1, keepdim=True), frame)[0]
            frames[:, n] = step / step.norm(dim=-1, keepdim=True)
            n += 1
            frame = frames[:, :n]
            known, chosen = functional.pad(known, (0, 1)), functional.pad(chosen, (0, 0, 0, 1))
            ahead = torch.cat([ahead, part[:, None]], 1)
        if draws:
            ahead = frame @ noise.mT
        elif m < leading:
            ahead = _unit_vector(known, m)
        ahead = orthogonal(ahead[:, :, 0], chosen.mT)[0]
        ahead = orthogonal(ahead / ahead.norm(dim=-1, keepdim=True), chosen.mT)[0]
        chosen = torch.cat([chosen, (ahead / ahead.norm(dim=-1, keepdim=True))[:, :, None]], 2)
    if not done and m < dim:
        reached = reached & clear[:, None]
        _warn("The search from nearby eigenvectors", m, residuals / scale, goal)
    top = chosen @ small  # (runs, n, k)
    others, vectors = torch.linalg.eigh(_below(model, top, scale))
    others, vectors = others.flip(-1)[:, : count - k], vectors.flip(-1)[:, :, : count - k]
    return Eigenpairs(
        torch.cat([values[:, 0], others], -1).masked_fill(broken[:, None], torch.nan),
        _mixed(torch.cat([top, vectors], -1), frame),
        torch.cat([residuals, torch.full_like(others, torch.nan)], -1),
        torch.cat([reached if m < dim else torch.ones_like(reached), torch.zeros_like(others, dtype=torch.bool)], -1),
        m,
    )


class _Images(NamedTuple):
    """Vectors that were multiplied, in a frame, with their images."""

    frame: Tensor  # (runs, n, dim), orthonormal
    chosen: Tensor  # (runs, n, m), orthonormal
    images: Tensor  # (runs, m, dim)
    seen: Tensor  # (runs, n, m): the images in the frame
    square: Tensor  # (runs, m, m): and in the vectors

    def off(self, mix: Tensor) -> tuple[Tensor, Tensor]:
        """What mixtures (runs, m, j) of the images have outside the vectors: (runs, n, j) in the frame, (runs, j, dim) out of it."""
        inside = self.seen @ mix
        return inside - self.chosen @ (self.square @ mix), _mixed(mix, self.images) - _mixed(inside, self.frame)

    def missing(self, mix: Tensor) -> Tensor:
        """The length (runs,) of that for a single mixture (runs, m, 1)."""
        inside, outside = self.off(mix)
        return torch.hypot(inside.norm(dim=1), outside.norm(dim=-1))[:, 0]


def unvalued(vectors: Tensor) -> Eigenpairs:
    """Vectors (runs, j, dim) to start from whose values are not known; where one is no number or zero, any will do."""
    size = vectors.norm(dim=-1)
    values = torch.ones_like(size).where(torch.isfinite(size) & (size > 0), torch.nan)
    return Eigenpairs(values, vectors, torch.full_like(size, torch.nan), torch.zeros_like(size, dtype=torch.bool), 0)


def _leading(old: Eigenpairs, k: int) -> int:
    """How many old pairs are multiplied before all else: the first k, and one more where it may have come to their height."""
    if old.values.shape[-1] <= k:
        return k
    close = old.values > _RIVAL * old.values[:, k - 1 : k]
    return k + int(bool(close[:, k : k + 1].any()))


def _unit_vector(like: Tensor, place: int) -> Tensor:
    """(runs, n, 1) for `like` (runs, n)."""
    unit = torch.zeros_like(like)
    unit[:, place] = 1
    return unit[:, :, None]


def _noise(like: Tensor, seed: int) -> Tensor:
    """A random unit vector (1, dim), drawn on the CPU, so that every device has the same."""
    drawn = torch.randn(1, like.shape[-1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn / drawn.norm()).to(like)


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


def _below(model: Tensor, top: Tensor, scale: Tensor) -> Tensor:
    """The model with its eigenvectors `top` (runs, n, k) below all others."""
    rest = model - (model @ top) @ top.mT
    rest = rest - top @ (top.mT @ rest) - 2 * scale[:, :, None] * top @ top.mT
    return (rest + rest.mT) / 2


def _solved(model: Tensor, level: Tensor, scale: Tensor, inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
    """(level - model)^-1 x, for x (runs, n, 1) in the frame and (runs, 1, dim) out of it, where the model is zero.

    Where the model has an eigenvalue at the level (runs, 1) or above, it is taken to be a little below.
    """
    values, vectors = torch.linalg.eigh(model)
    apart = (level - functional.pad(values, (0, 1))).clamp_min(1e-2 * scale)
    return vectors @ (vectors.mT @ inside / apart[:, :-1, None]), outside / apart[:, -1:, None]


def _beyond(image: Tensor) -> Tensor:
    """Is an image (runs, dim) not finite, or so large that squares of sums of a thousand such are not?"""
    return ~torch.isfinite((1e3 * image).square().sum(-1))


def room(numbers: int) -> int:
    """How many vectors of so many numbers, in all runs, a solver may hold: it ends before they fill the memory."""
    return max(FEWEST, _NUMBERS // max(1, numbers))


def _held(rows: Tensor, count: int) -> Tensor:
    """Rows (runs, n, dim) at the head of `count`, so that more are added in place; those not written yet take no memory."""
    held = rows.new_empty(len(rows), count, rows.shape[-1])
    held[:, : rows.shape[1]] = rows
    return held


def vectors(dim: int, runs: int, k: int) -> int:
    """Vectors of each run that finding its top k eigenpairs holds at most, with those to go on from."""
    return min(dim, _most(k), room(dim * runs)) + 4 * k + 32


def _most(k: int) -> int:
    """Products after which a solver gives what it has."""
    return 150 + 50 * k


def _warn(what: str, products: int, residuals: Tensor, goal: float) -> None:
    worst = float(residuals.max())
    short = f"at a relative residual of {worst:.1e}; {goal:.1e} was asked for"
    if worst <= goal:
        short = f"and cannot tell whether there is a larger eigenvalue; the relative residual is {worst:.1e}"
    warnings.warn(
        f"{what} stopped after {products} products {short}.",
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
