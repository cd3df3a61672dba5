"""Rules that keep only the sign of the gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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


@dataclass(frozen=True)
class SignDescent(Optimizer):
    name, label = "signsgd", "Sign descent"
    idea = "Move every coordinate by the same amount, against the sign of its averaged gradient."
    equation = r"m \leftarrow \mu m + (1 - \mu) g, \quad w \leftarrow w - \eta\, \mathrm{sign}(m)"
    reference = "Bernstein et al. 2018, arXiv:1802.04434"
    verified = "pytorch_optimizer.SignSGD"
    momentum: Value = decay_rate(0.9, r"\mu", "Memory of the gradient.")
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by the share ηλ at each step")

    def init(self, params: Tensor) -> State:
        return (torch.zeros_like(params),)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (mean,) = state
        grad = oracle(params).grad
        mean = grad if is_zero(self.momentum) else ema(mean, grad, self.momentum)
        return moved(decoupled_decay(params, self.lr, self.weight_decay), mean.sign(), self.lr), (mean,)


@dataclass(frozen=True)
class Lion(Optimizer):
    name, label = "lion", "Lion"
    idea = "Step by the sign of a mix of gradient and momentum, where the momentum remembers longer than the mix does."
    equation = (
        r"w \leftarrow (1 - \eta\lambda)\, w - \eta\, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g), \quad "
        r"m \leftarrow \beta_2 m + (1 - \beta_2) g"
    )
    reference = "Chen et al. 2023, arXiv:2302.06675"
    verified = "pytorch_optimizer.Lion"
    lr: Value = step_size_setting(1e-4)
    beta1: Value = decay_rate(0.9, r"\beta_1", "Share of the momentum in the step.")
    beta2: Value = decay_rate(0.99, r"\beta_2", "Memory of the gradient.")
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by the share ηλ at each step")

    def init(self, params: Tensor) -> State:
        return (torch.zeros_like(params),)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (mean,) = state
        grad = oracle(params).grad
        direction = ema(mean, grad, self.beta1).sign()
        params = moved(decoupled_decay(params, self.lr, self.weight_decay), direction, self.lr)
        return params, (ema(mean, grad, self.beta2),)
