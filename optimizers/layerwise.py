"""Rules that scale the step of each tensor by the size of that tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Layout, setting
from optimizers.adaptive import quotient
from optimizers.optimizer import (
    Optimizer,
    Oracle,
    State,
    Value,
    decay_rate,
    ema,
    epsilon_setting,
    is_zero,
    moved,
    weight_decay_setting,
)


def block_norms(vector: Tensor, layout: Layout) -> Tensor:
    """The norm of each block of vector (..., dim): (..., blocks)."""
    return torch.stack([torch.linalg.vector_norm(vector[..., b.start : b.stop], dim=-1) for b in layout.blocks], dim=-1)


def per_coordinate(values: Tensor, layout: Layout) -> Tensor:
    """One value per block (..., blocks), repeated for each coordinate of its block: (..., dim)."""
    parts = zip(values.split(1, dim=-1), layout.blocks, strict=True)
    return torch.cat([value.expand(*value.shape[:-1], b.stop - b.start) for value, b in parts], dim=-1)


@dataclass(frozen=True)
class LARS(Optimizer):
    """Every tensor counts as a layer, vectors too, as in the paper; most libraries leave vectors to plain momentum."""

    name, label = "lars", "LARS"
    idea = "Let each layer move by the same small share of its own size, however large its gradient is."
    equation = (
        r"b \leftarrow \mu b + \frac{\tau\, \|w_l\|}{\|g_l\| + \lambda \|w_l\|} (g_l + \lambda w_l), \quad "
        r"w_l \leftarrow w_l - \eta\, b"
    )
    reference = "You, Gitman and Ginsburg 2017, arXiv:1708.03888"
    verified = "pytorch_optimizer.LARS, with vectors as matrices of one row"
    on_points = "The two coordinates are one layer, so that the step is a share of the distance from the origin."
    lr: Value = setting(
        1.0, 0.0, 1e4, log=True, scale=(1e-3, 100.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    momentum: Value = decay_rate(0.9, r"\mu", "Share of the velocity kept from step to step.")
    nesterov: bool = setting(False, help="Add the newest step once more, as if looking ahead.")
    trust: Value = setting(
        1e-3, 0.0, 1e4, low_open=True, log=True, scale=(1e-5, 1.0), symbol=r"\tau",
        help="Share of a layer's size that one step of η = 1 moves it by.",
    )  # fmt: skip
    weight_decay: Value = weight_decay_setting()

    def init(self, params: Tensor) -> State:
        return (torch.zeros_like(params),)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (velocity,) = state
        grad = oracle(params).grad
        size, slope = block_norms(params, oracle.layout), block_norms(grad, oracle.layout)
        below = slope + self.weight_decay * size
        ratio = torch.where((size > 0) & (below > 0), self.trust * size / below, 1)
        own = per_coordinate(ratio, oracle.layout) * moved(grad, params, -self.weight_decay)
        velocity = torch.add(velocity * self.momentum, own)
        return moved(params, own + self.momentum * velocity if self.nesterov else velocity, self.lr), (velocity,)


@dataclass(frozen=True)
class LAMB(Optimizer):
    """The decay is part of the direction whose size is taken, and both averages are corrected, as in the paper. Some
    libraries correct one average only, keep the decay out, clip |w| at 10, or clip the gradient first.
    """

    name, label = "lamb", "LAMB"
    idea = "Adam whose step, in each layer, is as long as that layer's weights times the step size."
    equation = (
        r"u = \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + \lambda w, \quad "
        r"w_l \leftarrow w_l - \eta\, \frac{\|w_l\|}{\|u_l\|}\, u_l"
    )
    reference = "You et al. 2019, arXiv:1904.00962"
    verified = "pytorch_optimizer.Lamb without decay, and the paper's equations, written out in the tests"
    on_points = "The two coordinates are one layer, so that each step is the share η of the distance from the origin."
    beta1: Value = decay_rate(0.9, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the squared gradient.")
    eps: Value = epsilon_setting(1e-6)
    clip: Value = setting(
        0.0,
        0.0,
        1e6,
        scale=(0.0, 10.0),
        symbol=r"\gamma_u",
        help="Largest size of a layer that counts; 0 for no limit.",
    )
    weight_decay: Value = weight_decay_setting(0.0, "added to the direction before its size is taken")

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, square = state
        grad = oracle(params).grad
        steps += 1
        mean, square = ema(mean, grad, self.beta1), ema(square, grad * grad, self.beta2)
        first, second = 1 - self.beta1**steps, 1 - self.beta2**steps
        direction = moved(quotient(mean / first, square / second, self.eps), params, -self.weight_decay)
        size, length = block_norms(params, oracle.layout), block_norms(direction, oracle.layout)
        ratio = torch.where((size > 0) & (length > 0), self._counted(size) / length, 1)
        return moved(params, per_coordinate(ratio, oracle.layout) * direction, self.lr), (steps, mean, square)

    def _counted(self, size: Tensor) -> Tensor:
        if isinstance(self.clip, Tensor):
            return torch.where(self.clip > 0, torch.minimum(size, self.clip), size)
        return size if is_zero(self.clip) else size.clamp_max(self.clip)
