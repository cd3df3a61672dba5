"""Probes of the Hessian: its eigenvalues, as the landscape has them and as an adaptive rule feels them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Eigenpairs, Landscape, Warm, eigenpairs, setting, top_eigenpairs
from landscapes.solvers import vectors as of_pairs
from optimizers.probes.probe import Memory, Moment, Probe, by_rule, unmeasured
from optimizers.stepper import Stepper


@dataclass(frozen=True)
class Sharpness(Probe):
    name, label = "sharpness", "Sharpness"
    symbol = r"\lambda_{\max}(\nabla^2 L)"
    reference = "Cohen et al. 2021, arXiv:2103.00065"
    help = "The largest eigenvalue of the Hessian of the full loss, to a residual of 0.5 %."

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return of_pairs(landscape.dim, runs, 1)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        pairs, memory = _top(moment, memory, 1)
        return pairs.proved[..., 0], memory


@dataclass(frozen=True)
class TopEigenvalues(Probe):
    name, label = "top_eigenvalues", "Top eigenvalues"
    symbol = r"\lambda_1, \ldots, \lambda_k"
    reference = "Ruhe 1979, Math. Comp. 33; Sagun et al. 2017, arXiv:1706.04454"
    help = "The k largest eigenvalues of the Hessian of the full loss, to a residual of 0.5 % of the largest."
    k: int = setting(3, 1, 50, symbol="k", help="How many eigenvalues.")

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return too_many(self, landscape)

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return tuple(f"λ{index}" for index in range(1, self.k + 1))

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return of_pairs(landscape.dim, runs, self.k)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        pairs, memory = _top(moment, memory, self.k)
        return pairs.proved[..., : self.k], memory


@dataclass(frozen=True)
class PreconditionedSharpness(Probe):
    """With P of the last step taken, so that it is measured from step 1 on. A weight decay that is part of the gradient is part
    of the loss here too: H is the Hessian of L + lambda |w|^2 / 2.
    """

    name, label = "preconditioned_sharpness", "Preconditioned sharpness"
    symbol = r"\lambda_{\max}(P^{-1/2} \nabla^2 L\, P^{-1/2})"
    reference = "Cohen et al. 2022, arXiv:2207.14484"
    help = (
        "The sharpness that a rule feels which divides each coordinate by P: the largest eigenvalue in its scaling. P leaves out "
        "the correction of the averaged gradient for its start at zero, which makes the first steps longer."
    )

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        if rule.rule.preconditions:
            return ""
        return f"{rule.rule.label} does not divide by a diagonal: its preconditioned sharpness is not defined."

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return of_pairs(landscape.dim, runs, 1) + 8  # those of the scaling

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        scale = by_rule(moment, lambda rule, state: rule.preconditioner(state)).rsqrt()
        if moment.step == 0:
            return unmeasured(moment.loss), memory
        like = moment.params + 0 * scale  # not a number where either is not
        alive = torch.isfinite(like).all(-1, keepdim=True)
        hessian = moment.landscape.hessian_operator(torch.where(alive, moment.params, 0))
        scale = torch.where(alive, scale, 1)
        decay = by_rule(moment, lambda rule, _: torch.as_tensor(rule.rule.felt_decay).to(moment.params))
        warm = Warm(memory)
        pairs = eigenpairs(
            lambda vectors: scale * (hessian(scale * vectors) + decay * scale * vectors),
            like,
            tol=warm.tol,
            start=warm.start,
            seed=warm.count,
            extra=warm.extra,
        )
        return pairs.proved[..., 0], warm.after(pairs)


def too_many(probe: TopEigenvalues, landscape: Landscape) -> str:
    if probe.k <= landscape.dim:
        return ""
    return f"{probe.name} asks for {probe.k} eigenvalues, and {landscape.name} has {landscape.dim} parameters."


def _top(moment: Moment, memory: Memory, k: int) -> tuple[Eigenpairs, Memory]:
    warm = Warm(memory)
    pairs = top_eigenpairs(
        moment.landscape, moment.params, k, warm.tol, start=warm.start, seed=warm.count, extra=warm.extra
    )
    return pairs, warm.after(pairs)
