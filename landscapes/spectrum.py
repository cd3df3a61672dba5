"""The whole spectrum from products alone: its density, its trace and its Frobenius norm, each with its standard error.

All estimates are over random vectors drawn from a seed, and batched: an operator maps (..., dim) to (..., dim), one symmetric
matrix for each run. Runs whose row of `like` is not finite hold NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from landscapes.derivatives import Operator
from landscapes.landscape import Landscape
from landscapes.solvers import orthogonal


class Estimate(NamedTuple):
    value: Tensor  # (...)
    error: Tensor  # (...): the standard error of the value


class Spectrum(NamedTuple):
    """A density of eigenvalues of integral 1, as a function."""

    grid: Tensor  # (..., points)
    density: Tensor  # (..., points)
    nodes: Tensor  # (..., m): the eigenvalues that stand for all ...
    weights: Tensor  # (..., m): ... and their shares, of sum 1


def spectral_density(
    landscape: Landscape,
    params: Tensor,
    *,
    points: int = 400,
    width: float | None = None,
    steps: int = 40,
    draws: int = 4,
    seed: int = 0,
    batch: Tensor | None = None,
) -> Spectrum:
    """The density of the Hessian's eigenvalues at params (..., dim) by stochastic Lanczos quadrature.

    Each of `draws` random vectors gives `steps` nodes (Golub and Welsch 1969; Ghorbani, Krishnan and Xiao 2019,
    arXiv:1901.10159). Outliers stand where they are; the bulk is smoothed by a normal law of standard deviation `width`, by
    default 1 % of the range. Raises ValueError as `landscape.loss`, and for counts below 1.
    """
    alive = torch.isfinite(params).all(-1, keepdim=True)
    operator = landscape.hessian_operator(torch.where(alive, params, 0), batch)
    nodes, weights = quadrature(operator, params, steps=steps, draws=draws, seed=seed)
    return smoothed(nodes, weights, points, width)


def quadrature(
    operator: Operator, like: Tensor, *, steps: int = 40, draws: int = 4, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Nodes, in rising order, and weights (..., draws * steps): the mean of f(eigenvalue) is near sum(weights * f(nodes)).

    Exact for polynomials f up to degree 2 steps - 1, apart from the choice of the random vectors.
    """
    _positive(steps=steps, draws=draws)
    dim = like.shape[-1]
    steps = min(steps, dim)
    parts = [_gauss(operator, vector.expand_as(like), steps) for vector in _normal(draws, like, seed)]
    nodes = torch.cat([nodes for nodes, _ in parts], dim=-1)
    weights = torch.cat([weights for _, weights in parts], dim=-1) / draws
    nodes, order = nodes.sort(dim=-1)
    dead = ~torch.isfinite(like).all(-1, keepdim=True)
    return nodes.masked_fill(dead, torch.nan), weights.gather(-1, order).masked_fill(dead, torch.nan)


def smoothed(nodes: Tensor, weights: Tensor, points: int = 400, width: float | None = None) -> Spectrum:
    """The density of a quadrature (..., m), each node widened to a normal law."""
    _positive(points=points)
    low, high = nodes.amin(-1, keepdim=True), nodes.amax(-1, keepdim=True)
    spread = (high - low).clamp_min(1e-12 * high.abs().clamp_min(1e-300)) / 100
    sigma = spread if width is None else torch.full_like(spread, width)
    share = torch.linspace(0, 1, points, dtype=nodes.dtype, device=nodes.device)
    grid = low - 4 * sigma + (high - low + 8 * sigma) * share
    bells = torch.exp(-((grid.unsqueeze(-1) - nodes.unsqueeze(-2)) / sigma.unsqueeze(-1)).square() / 2)
    density = (bells * weights.unsqueeze(-2)).sum(-1) / (sigma * (2 * torch.pi) ** 0.5)
    return Spectrum(grid, density, nodes, weights)


def trace(operator: Operator, like: Tensor, products: int = 30, seed: int = 0) -> Estimate:
    """Hutch++ (Meyer, Musco, Musco and Woodruff 2021, arXiv:2010.09649): the trace on a subspace that holds most of it, exactly,
    and the rest by Hutchinson's estimator. Exact where a third of the products are as many as there are parameters.
    """
    _positive(products=products)
    third = max(products // 3, 2)
    dim = like.shape[-1]
    if third >= dim:
        eye = torch.eye(dim, dtype=like.dtype, device=like.device)
        exact = sum((operator(unit.expand_as(like))[..., index] for index, unit in enumerate(eye)), like.new_zeros(()))
        return _alive(Estimate(exact, torch.zeros_like(exact)), like)
    sketch = torch.stack([operator(vector.expand_as(like)) for vector in _signs(third, like, seed)], dim=-1)
    basis = torch.linalg.qr(torch.where(torch.isfinite(sketch), sketch, 0)).Q  # (..., dim, third)
    large = sum(((unit * operator(unit)).sum(-1) for unit in basis.movedim(-1, 0)), torch.zeros_like(like[..., 0]))
    draws = []
    for vector in _signs(third, like, seed + 1):
        rest = vector - (basis @ (basis.mT @ vector.expand_as(like).unsqueeze(-1))).squeeze(-1)
        draws.append((rest * operator(rest)).sum(-1))
    small = torch.stack(draws)
    return _alive(Estimate(large + small.mean(0), small.std(0) / third**0.5), like)


def frobenius(operator: Operator, like: Tensor, products: int = 30, seed: int = 0) -> Estimate:
    """The root of the sum of the squared eigenvalues, from the mean of |A z|^2 over random signs z."""
    _positive(products=products)
    draws = torch.stack([operator(vector.expand_as(like)).square().sum(-1) for vector in _signs(products, like, seed)])
    value = draws.mean(0).sqrt()
    error = draws.std(0) / products**0.5 if products > 1 else torch.full_like(value, torch.nan)
    return _alive(Estimate(value, error / (2 * value.clamp_min(torch.finfo(like.dtype).tiny))), like)


def _gauss(operator: Operator, first: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights (..., steps) of the Gauss rule for one random vector."""
    flat = first.reshape(-1, first.shape[-1])
    basis = [flat / flat.norm(dim=-1, keepdim=True)]
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    for _ in range(steps):
        image = operator(basis[-1].reshape(first.shape)).reshape(flat.shape)
        image = torch.where(torch.isfinite(image), image, 0)
        alphas.append((image * basis[-1]).sum(-1))
        image, _ = orthogonal(image, torch.stack(basis, dim=1))
        size = image.norm(dim=-1)
        scale = torch.stack([*alphas, *betas]).abs().amax(0)
        spent = size <= 100 * torch.finfo(flat.dtype).eps * scale  # an invariant subspace: its rule is exact
        betas.append(torch.where(spent, 0, size))
        basis.append(image / torch.where(spent, torch.inf, size)[:, None])
    band = torch.stack(betas[:-1], dim=-1) if steps > 1 else flat.new_zeros(len(flat), 0)
    tridiagonal = torch.diag_embed(torch.stack(alphas, dim=-1))
    tridiagonal = tridiagonal + torch.diag_embed(band, 1) + torch.diag_embed(band, -1)
    nodes, vectors = torch.linalg.eigh(tridiagonal)
    shape = (*first.shape[:-1], steps)
    return nodes.reshape(shape), vectors[:, 0].square().reshape(shape)


def _alive(estimate: Estimate, like: Tensor) -> Estimate:
    dead = ~torch.isfinite(like).all(-1)
    return Estimate(*(one.masked_fill(dead, torch.nan) for one in estimate))


def _positive(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} = {count!r} is not allowed: it must be a whole number of at least 1.")


# Drawn on the CPU, so that every device has the same numbers; the same for all runs.


def _normal(count: int, like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, like.shape[-1], generator=generator, dtype=torch.float64).to(like)


def _signs(count: int, like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randint(2, (count, like.shape[-1]), generator=generator) - 1).to(like)
