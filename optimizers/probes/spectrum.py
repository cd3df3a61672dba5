"""Probes of the Hessian as a whole: trace, norm, density, and the lower end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Landscape, extreme_eigenvalues, setting
from landscapes.derivatives import Operator
from landscapes.extremes import most_products
from landscapes.spectrum import frobenius, quadrature, trace
from optimizers.probes.probe import Memory, Moment, Probe


def hessian_of(moment: Moment) -> Operator:
    """The Hessian of the full loss; of runs that are no longer finite, at zero."""
    alive = torch.isfinite(moment.params).all(-1, keepdim=True)
    return moment.landscape.hessian_operator(torch.where(alive, moment.params, 0))


@dataclass(frozen=True)
class SmallestEigenvalue(Probe):
    name, label = "smallest_eigenvalue", "Smallest eigenvalue"
    symbol = r"\lambda_{\min}(\nabla^2 L)"
    reference = "van Dorsselaer, Hochstenbach and van der Vorst 2000, SIAM J. Matrix Anal. Appl. 22"
    help = (
        "The lower end of the Hessian's spectrum: below zero where the loss curves down. The error bars hold it, but for a chance "
        "of one in a thousand; they are at most 1 % of its own size where the products allowed suffice."
    )
    bars = 1.0

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return "smallest eigenvalue", "error"

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return most_products(landscape.dim, runs) + 8

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count = memory or 0
        ends = extreme_eigenvalues(hessian_of(moment), moment.params, seed=count)
        return torch.stack([ends.lowest, ends.lowest_error], dim=-1), count + 1


def _products(default: int, what: str) -> int:
    return setting(default, 6, 10_000, label="Products", help=f"Hessian-vector products to spend on {what}.")


@dataclass(frozen=True)
class Trace(Probe):
    name, label = "trace", "Trace of the Hessian"
    symbol = r"\mathrm{tr}\,\nabla^2 L"
    reference = "Meyer, Musco, Musco and Woodruff 2021, arXiv:2010.09649"
    help = "The sum of all eigenvalues by Hutch++, and the standard error of that estimate."
    bars = 2.0
    products: int = _products(30, "the estimate")

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return "trace", "standard error"

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return 4 * max(2, self.products // 3) + 8

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count = memory or 0
        estimate = trace(hessian_of(moment), moment.params, self.products, seed=2 * count)
        return torch.stack(estimate, dim=-1), count + 1


@dataclass(frozen=True)
class FrobeniusNorm(Probe):
    name, label = "frobenius", "Frobenius norm of the Hessian"
    symbol = r"\|\nabla^2 L\|_F"
    reference = "Hutchinson 1989, Commun. Stat. 18"
    help = "The root of the sum of the squared eigenvalues, and the standard error of that estimate."
    bars = 2.0
    products: int = _products(30, "the estimate")

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return "norm", "standard error"

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count = memory or 0
        estimate = frobenius(hessian_of(moment), moment.params, self.products, seed=count)
        return torch.stack(estimate, dim=-1), count + 1


@dataclass(frozen=True)
class SpectralDensity(Probe):
    """Draw it with `landscapes.spectrum.smoothed(nodes, weights)`."""

    name, label = "spectral_density", "Spectral density"
    symbol = r"\rho(\lambda)"
    reference = "Ghorbani, Krishnan and Xiao 2019, arXiv:1901.10159"
    help = "Eigenvalues that stand for the whole spectrum, bulk and outliers, and the share of it that each stands for."
    steps: int = setting(30, 2, 500, label="Nodes", help="Eigenvalues for each random vector.")
    draws: int = setting(2, 1, 100, label="Random vectors", help="Vectors that the density is a mean over.")

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        count = min(self.steps, landscape.dim) * self.draws
        return tuple(f"{what} {index}" for what in ("node", "weight") for index in range(1, count + 1))

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return 2 * min(self.steps, landscape.dim) + self.draws + 8

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        both = quadrature(hessian_of(moment), moment.params, steps=self.steps, draws=self.draws)
        return torch.cat(both, dim=-1), None
