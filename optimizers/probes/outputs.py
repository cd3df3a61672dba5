"""Probes of a model that learns from samples: what its outputs say, and the geometry that they give."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscapes import Landscape, Warm, eigenpairs, setting
from landscapes.derivatives import Operator
from landscapes.landscape import Trait
from landscapes.learner import SCORES, Learner, Score
from landscapes.solvers import vectors as of_pairs
from optimizers.probes.probe import Memory, Moment, Probe
from optimizers.stepper import Stepper


def _refusal(probe: Probe, landscape: Landscape, *traits: Trait) -> str:
    why = next((why for one in traits if (why := landscape.lacks(one))), "")
    return f"{why[0].upper()}{why[1:]}: {probe.label} is not defined." if why else ""


@dataclass(frozen=True)
class _OfOutputs(Probe):
    """The largest eigenvalues of a matrix made of the Jacobian of the outputs."""

    @abstractmethod
    def operator(self, landscape: Learner, params: Tensor) -> Operator:
        """v -> A v at params (..., dim)."""

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return of_pairs(landscape.dim, runs, self.values().get("k", 1))

    def top(self, moment: Moment, memory: Memory, k: int) -> tuple[Tensor, Memory]:
        landscape, warm = moment.landscape, Warm(memory)
        assert isinstance(landscape, Learner)
        alive = torch.isfinite(moment.params).all(-1, keepdim=True)
        operator = self.operator(landscape, torch.where(alive, moment.params, 0))
        pairs = eigenpairs(operator, moment.params, k, warm.tol, start=warm.start, seed=warm.count, extra=warm.extra)
        return pairs.proved[..., :k], warm.after(pairs)


@dataclass(frozen=True)
class GaussNewton(_OfOutputs):
    """Of cross-entropy the same as of the Fisher information (see Supervised.gauss_newton_operator)."""

    name, label = "gauss_newton", "Gauss-Newton sharpness"
    symbol = r"\lambda_{\max}(J^\top \nabla^2_z \ell\, J)"
    reference = "Schraudolph 2002, Neural Computation 14; Martens 2014, arXiv:1412.1193"
    help = (
        "The largest eigenvalue of the Gauss-Newton matrix, which is the Fisher information of the model's own labels."
    )

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return _refusal(self, landscape, "gauss_newton")

    def operator(self, landscape: Learner, params: Tensor) -> Operator:
        return landscape.gauss_newton_operator(params)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        values, memory = self.top(moment, memory, 1)
        return values[..., 0], memory


@dataclass(frozen=True)
class TangentKernel(_OfOutputs):
    name, label = "ntk", "Tangent kernel eigenvalues"
    symbol = r"\lambda_i(J J^\top / n)"
    reference = "Jacot, Gabriel and Hongler 2018, arXiv:1806.07572"
    help = "The largest eigenvalues of the neural tangent kernel on the training samples, over their number."
    k: int = setting(3, 1, 50, symbol="k", help="How many eigenvalues.")

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        if self.k > landscape.dim:
            return f"{self.name} asks for {self.k} eigenvalues, and {landscape.name} has {landscape.dim} parameters."
        return _refusal(self, landscape, "jacobian")

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return tuple(f"λ{index}" for index in range(1, self.k + 1))

    def operator(self, landscape: Learner, params: Tensor) -> Operator:
        return landscape.tangent_operator(params)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        return self.top(moment, memory, self.k)


class _Scored(Probe):
    """A number that says how well a model does."""

    score: ClassVar[Score]

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return _refusal(self, landscape, *SCORES[self.score])

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        assert isinstance(moment.landscape, Learner)
        return moment.landscape.score(self.score, moment.params), None


@dataclass(frozen=True)
class TrainingAccuracy(_Scored):
    name, label, score = "train_accuracy", "Training accuracy", "accuracy"
    symbol = r"\mathrm{acc}"
    reference = "Share of correct classes"
    help = "The share of the training samples whose class the model gets right."


@dataclass(frozen=True)
class TestAccuracy(_Scored):
    __test__ = False  # pytest would take the class for a test

    name, label, score = "test_accuracy", "Test accuracy", "test_accuracy"
    symbol = r"\mathrm{acc}_{\mathrm{test}}"
    reference = "Share of correct classes"
    help = "The share of the samples held out whose class the model gets right."


@dataclass(frozen=True)
class TestLoss(_Scored):
    __test__ = False

    name, label, score = "test_loss", "Test loss", "test_loss"
    symbol = r"L_{\mathrm{test}}"
    reference = "The same loss, on the samples held out"
    help = "The loss on the samples held out, without weight decay."


@dataclass(frozen=True)
class Sparsity(Probe):
    name, label = "sparsity", "Sparsity of activations"
    symbol = r"\Pr[\,|a| \le \tau\,]"
    reference = "Li et al. 2022, arXiv:2210.06313"
    help = "The share of the hidden activations, over units and training samples, that are zero or nearly so."
    threshold: float = setting(1e-6, 0.0, 1e6, symbol=r"\tau", help="What counts as zero.")

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return _refusal(self, landscape, "activations")

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        assert isinstance(moment.landscape, Learner)
        return moment.landscape.sparsity(moment.params, self.threshold), None
