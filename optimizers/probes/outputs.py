"""Probes of a model that learns from samples: what its outputs say, and the geometry that they give."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Landscape, Network, Supervised, eigenpairs, setting
from landscapes.derivatives import Operator
from landscapes.supervised import OBJECTIVES
from optimizers.probes.hessian import Warm
from optimizers.probes.probe import Memory, Moment, Probe
from optimizers.stepper import Stepper


def by_chunk(landscape: Landscape, params: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """(..., dim) -> (..., *), as many runs at once as fit the cache."""
    flat = params.reshape(-1, landscape.dim)
    parts = [
        measure(rows[0]).unsqueeze(0) if len(rows) == 1 else measure(rows)
        for rows in flat.split(landscape.chunk(params))
    ]
    found = torch.cat(parts)
    return found.reshape(*params.shape[:-1], *found.shape[1:])


def _supervised(probe: Probe, landscape: Landscape) -> str:
    if isinstance(landscape, Supervised):
        return ""
    return f"{landscape.label} does not learn from samples: {probe.label} is not defined."


def _classes(probe: Probe, landscape: Landscape) -> str:
    if isinstance(landscape, Supervised) and not landscape.classes:
        return f"{landscape.data} has no classes: {probe.label} is not defined."
    return _supervised(probe, landscape)


def _held_out(landscape: Landscape) -> str:
    like = torch.empty(0, dtype=torch.float64)
    if isinstance(landscape, Supervised) and landscape.test_set(like) is None:
        return "There are no test samples: choose a share of the samples to hold out."
    return ""


@dataclass(frozen=True)
class _OfOutputs(Probe):
    """The largest eigenvalues of a matrix made of the Jacobian of the outputs."""

    @abstractmethod
    def operator(self, landscape: Supervised, params: Tensor) -> Operator:
        """v -> A v at params (..., dim)."""

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return _supervised(self, landscape)

    def top(self, moment: Moment, memory: Memory, k: int) -> tuple[Tensor, Memory]:
        landscape, warm = moment.landscape, Warm(memory)
        assert isinstance(landscape, Supervised)
        alive = torch.isfinite(moment.params).all(-1, keepdim=True)
        operator = self.operator(landscape, torch.where(alive, moment.params, 0))
        pairs = eigenpairs(operator, moment.params, k, warm.tol, start=warm.start, seed=warm.count, extra=warm.extra)
        return pairs.proved[..., :k], warm.after(pairs)


@dataclass(frozen=True)
class GaussNewton(_OfOutputs):
    """The same as of the Fisher information (see Supervised.gauss_newton_operator)."""

    name, label = "gauss_newton", "Gauss-Newton sharpness"
    symbol = r"\lambda_{\max}(J^\top \nabla^2_z \ell\, J)"
    reference = "Schraudolph 2002, Neural Computation 14; Martens 2014, arXiv:1412.1193"
    help = (
        "The largest eigenvalue of the Gauss-Newton matrix, which is the Fisher information of the model's own labels."
    )

    def operator(self, landscape: Supervised, params: Tensor) -> Operator:
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
        return _supervised(self, landscape)

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return tuple(f"λ{index}" for index in range(1, self.k + 1))

    def operator(self, landscape: Supervised, params: Tensor) -> Operator:
        _, push, pull = landscape.jacobian(params)  # J'J has the eigenvalues of JJ', and zeros
        return lambda vectors: pull(push(vectors)) / landscape.samples

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        return self.top(moment, memory, self.k)


@dataclass(frozen=True)
class TrainingAccuracy(Probe):
    name, label = "train_accuracy", "Training accuracy"
    symbol = r"\mathrm{acc}"
    reference = "Share of correct classes"
    help = "The share of the training samples whose class the model gets right."

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return _classes(self, landscape)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        landscape = moment.landscape
        assert isinstance(landscape, Supervised)
        inputs, targets = landscape.training_set(moment.params)
        score = by_chunk(landscape, moment.params, lambda w: landscape.accuracy(landscape.outputs(w, inputs), targets))
        return score, None


@dataclass(frozen=True)
class TestAccuracy(Probe):
    __test__ = False  # pytest would take the class for a test

    name, label = "test_accuracy", "Test accuracy"
    symbol = r"\mathrm{acc}_{\mathrm{test}}"
    reference = "Share of correct classes"
    help = "The share of the samples held out whose class the model gets right."

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return _classes(self, landscape) or _held_out(landscape)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        return _tested(moment, Supervised.accuracy), None


@dataclass(frozen=True)
class TestLoss(Probe):
    __test__ = False

    name, label = "test_loss", "Test loss"
    symbol = r"L_{\mathrm{test}}"
    reference = "The same loss, on the samples held out"
    help = "The loss on the samples held out, without weight decay."

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return _supervised(self, landscape) or _held_out(landscape)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        assert isinstance(moment.landscape, Supervised)
        return _tested(moment, OBJECTIVES[moment.landscape.objective]), None


def _tested(moment: Moment, score: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    landscape = moment.landscape
    assert isinstance(landscape, Supervised)
    held_out = landscape.test_set(moment.params)
    assert held_out is not None
    inputs, targets = held_out
    return by_chunk(landscape, moment.params, lambda w: score(landscape.outputs(w, inputs), targets))


@dataclass(frozen=True)
class Sparsity(Probe):
    name, label = "sparsity", "Sparsity of activations"
    symbol = r"\Pr[\,|a| \le \tau\,]"
    reference = "Li et al. 2022, arXiv:2210.06313"
    help = "The share of the hidden activations, over units and training samples, that are zero or nearly so."
    threshold: float = setting(1e-6, 0.0, 1e6, symbol=r"\tau", help="What counts as zero.")

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        if isinstance(landscape, Network):
            inputs, _ = landscape.training_set(torch.empty(0, dtype=torch.float64))
            if landscape.activations(landscape.start()[0], inputs[:1]):
                return ""
        return f"{landscape.label} has no hidden activations: their sparsity is not defined."

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        landscape = moment.landscape
        assert isinstance(landscape, Network)
        inputs, _ = landscape.training_set(moment.params)

        def share(params: Tensor) -> Tensor:
            small, lead = torch.zeros_like(params[..., 0]), params.shape[:-1]
            count = 0
            for signal in landscape.activations(params, inputs):
                flat = signal.reshape(*lead, -1)
                small, count = small + (flat.abs() <= self.threshold).sum(-1), count + flat.shape[-1]
            return small / count

        return by_chunk(landscape, moment.params, share), None
