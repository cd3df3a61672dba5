"""Rules that take the best step of a given length, where the norm that measures length may be any."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Layout, setting
from optimizers.blocks import flattened, matrices, orthogonal, orthogonal_multiplications, unit
from optimizers.optimizer import (
    Optimizer,
    Oracle,
    State,
    Value,
    decay_rate,
    decoupled_decay,
    ema,
    is_zero,
    moved,
    step_size_setting,
    weight_decay_setting,
)


def largest_sign(x: Tensor) -> Tensor:
    """The sign of the largest entry, the first of several, with 0 elsewhere."""
    index = x.abs().argmax(-1, keepdim=True)
    return torch.zeros_like(x).scatter(-1, index, x.gather(-1, index).sign())


def power_gradient(x: Tensor, p: Value) -> Tensor:
    """The gradient of the p-norm; 0 at 0. Entries are divided by the largest first, so that no power overflows."""
    peak = x.abs().amax(-1, keepdim=True)
    share = x.abs() / peak.masked_fill(peak == 0, 1)
    total = share.pow(p).sum(-1, keepdim=True).pow((p - 1) / p)
    return x.sign() * share.pow(p - 1) / total.masked_fill(total == 0, 1)


@dataclass(frozen=True)
class SteepestDescent(Optimizer):
    """Over norms of the whole vector, or for `spectral` and `rms_to_rms` of each block on its own.

    With `dual` the step is the minimiser of the linear model plus |step|^2 / (2 lr): its length is lr times the dual
    norm. A singular value that is zero up to rounding has no direction and is left out.
    """

    name, label = "steepest", "Steepest descent"
    idea = "Of all steps of one length, take the one that goes down most; what is long is up to the norm."
    equation = (
        r"m \leftarrow \mu m + (1 - \mu) g, \quad w \leftarrow w - \eta\, s\, T(m), \quad "
        r"T(m) = \arg\max_{\|d\| = 1} \langle m, d\rangle, \quad s = 1 \text{ or } \|m\|_*"
    )
    reference = "Bernstein and Newhouse 2024, arXiv:2409.20325"
    verified = "the paper's equations, written out in the tests"
    on_points = "Two coordinates are one row, whose spectral norm is its Euclidean length: spectral equals l2 there."
    lr: Value = step_size_setting(1e-2)
    momentum: Value = decay_rate(0.0, r"\mu", "Memory of the gradient.")
    norm: str = setting(
        "l2", choices=("l2", "linf", "l1", "spectral", "rms_to_rms"), help="What measures the step's length."
    )
    dual: bool = setting(False, help="Let the length of the step follow the size of the gradient, in the dual norm.")

    def init(self, params: Tensor) -> State:
        return (torch.zeros_like(params),)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (mean,) = state
        grad = oracle(params).grad
        mean = grad if is_zero(self.momentum) else ema(mean, grad, self.momentum)
        return moved(params, self._steepest(mean, oracle.layout), self.lr), (mean,)

    def multiplications(self, layout: Layout) -> int:
        return orthogonal_multiplications(layout) if self.norm in ("spectral", "rms_to_rms") else 0

    def _steepest(self, mean: Tensor, layout: Layout) -> Tensor:
        match self.norm:
            case "l2":
                return self._sized(mean, unit(mean))
            case "linf":
                return self._sized(mean, mean.sign())
            case "l1":
                return self._sized(mean, largest_sign(mean))
            case _:
                return flattened(self._steepest_matrix(block) for block in matrices(layout, mean))

    def _steepest_matrix(self, mean: Tensor) -> Tensor:
        rows, columns = mean.shape[-2:]
        scale = math.sqrt(rows / columns) if self.norm == "rms_to_rms" else 1.0
        direction = scale * orthogonal(mean)
        return self._sized(mean.flatten(-2), direction.flatten(-2)).reshape_as(mean)

    def _sized(self, mean: Tensor, direction: Tensor) -> Tensor:
        """The direction of norm 1, or that times the dual norm of the mean, which is their product."""
        return direction * (mean * direction).sum(-1, keepdim=True) if self.dual else direction


@dataclass(frozen=True)
class LionK(Optimizer):
    """K is a convex function whose gradient shapes the step: `l1` gives Lion, `spectral` acts on each block on its own."""

    name, label = "lion_k", "Lion-K"
    idea = "Lion with its sign replaced by the gradient of any convex function of the mixed momentum."
    equation = (
        r"w \leftarrow (1 - \eta\lambda)\, w - \eta\, \nabla K(\beta_1 m + (1 - \beta_1) g), \quad "
        r"m \leftarrow \beta_2 m + (1 - \beta_2) g"
    )
    reference = "Chen et al. 2023, arXiv:2310.05898"
    verified = "the paper's equations, written out in the tests"
    on_points = "Two coordinates are one row, whose spectral norm is its Euclidean length: spectral equals l2 there."
    lr: Value = step_size_setting(1e-4)
    beta1: Value = decay_rate(0.9, r"\beta_1", "Share of the momentum in the step.")
    beta2: Value = decay_rate(0.99, r"\beta_2", "Memory of the gradient.")
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by the share ηλ at each step")
    K: str = setting(
        "l2", choices=("l1", "l2", "lp", "huber", "spectral"), help="Norm or function that shapes the step."
    )
    p: Value = setting(1.5, 1.0, 100.0, low_open=True, scale=(1.1, 10.0), symbol="p", help="The norm's power, for lp.")
    e: Value = setting(
        0.1, 0.0, 1e6, low_open=True, log=True, scale=(1e-3, 10.0), symbol="e", help="Where huber's step reaches 1."
    )

    def init(self, params: Tensor) -> State:
        return (torch.zeros_like(params),)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (mean,) = state
        grad = oracle(params).grad
        direction = self._gradient(ema(mean, grad, self.beta1), oracle.layout)
        params = moved(decoupled_decay(params, self.lr, self.weight_decay), direction, self.lr)
        return params, (ema(mean, grad, self.beta2),)

    def multiplications(self, layout: Layout) -> int:
        return orthogonal_multiplications(layout) if self.K == "spectral" else 0

    def _gradient(self, mixed: Tensor, layout: Layout) -> Tensor:
        match self.K:
            case "l1":
                return mixed.sign()
            case "l2":
                return unit(mixed)
            case "lp":
                return power_gradient(mixed, self.p)
            case "huber":
                return (mixed / self.e).clamp(-1, 1)
            case _:
                return flattened(orthogonal(block) for block in matrices(layout, mixed))
