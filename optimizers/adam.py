"""The two oldest relatives of Adam: another norm in the divisor, another momentum on top."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import setting
from optimizers.adaptive import averaged_threshold, divisor, quotient
from optimizers.optimizer import (
    Optimizer,
    Oracle,
    State,
    Value,
    decay_rate,
    ema,
    epsilon_setting,
    moved,
    over,
    step_size_setting,
)


@dataclass(frozen=True)
class AdaMax(Optimizer):
    """The paper has no eps and divides 0 by 0 where no gradient was ever felt; it stands where torch puts it."""

    name, label = "adamax", "AdaMax"
    idea = "Adam that divides by the largest recent gradient instead of the root mean square."
    equation = (
        r"u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad w \leftarrow w - \frac{\eta}{1 - \beta_1^t}\, \frac{m}{u}"
    )
    reference = "Kingma and Ba 2014, arXiv:1412.6980, section 7.1"
    verified = "torch.optim.Adamax"
    preconditions = True
    scaled_threshold = "2(1+β₁)/((1−β₁)η)"
    lr: Value = step_size_setting(2e-3)
    beta1: Value = decay_rate(0.9, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the largest gradient.")
    eps: Value = epsilon_setting(1e-8, above_zero=True)

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, largest = state
        steps += 1
        grad = oracle(params).grad
        mean = ema(mean, grad, self.beta1)
        largest = torch.maximum(largest * self.beta2, grad.abs() + self.eps)
        direction = mean / largest.masked_fill(largest == 0, 1)  # an eps of 1e-60 is zero in float32
        return moved(params, direction, self.lr / (1 - self.beta1**steps)), (steps, mean, largest)

    def preconditioner(self, state: State) -> Tensor | None:
        steps, _, largest = state
        return largest.masked_fill(largest == 0, 1) if steps else None

    def preconditioned_threshold(self) -> Value | None:
        return averaged_threshold(self.lr, self.beta1)


@dataclass(frozen=True)
class NAdam(Optimizer):
    """As in torch.optim.NAdam. The averages decay with beta1; only the step follows the schedule of the momentum."""

    name, label = "nadam", "NAdam"
    idea = "Adam that looks ahead as Nesterov does, with a momentum that warms up."
    equation = (
        r"w \leftarrow w - \eta\, \frac{\frac{\mu_{t+1}\, m}{1 - \prod_{i=1}^{t+1} \mu_i} + "
        r"\frac{(1 - \mu_t)\, g}{1 - \prod_{i=1}^t \mu_i}}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}, \quad "
        r"\mu_t = \beta_1 \left(1 - \tfrac{1}{2}\, 0.96^{t\psi}\right)"
    )
    reference = "Dozat 2016, ICLR workshop"
    verified = "torch.optim.NAdam"
    preconditions = True
    scaled_threshold = "2(1+β₁)/((1−β₁)(1+2β₁)η)"
    lr: Value = step_size_setting(2e-3)
    beta1: Value = decay_rate(0.9, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the squared gradient.")
    eps: Value = epsilon_setting(1e-8)
    psi: Value = setting(4e-3, 0.0, 1e6, scale=(0.0, 1.0), symbol=r"\psi", help="How fast the momentum warms up.")

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero, 1.0

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, square, product = state
        steps += 1
        grad = oracle(params).grad
        mean = ema(mean, grad, self.beta1)
        square = ema(square, grad * grad, self.beta2)
        now, ahead = self._momentum(steps), self._momentum(steps + 1)
        product = product * now
        look = mean * (ahead / (1 - product * ahead)) + grad * ((1 - now) / (1 - product))
        direction = quotient(look, square / (1 - self.beta2**steps), self.eps)
        return moved(params, direction, self.lr), (steps, mean, square, product)

    def preconditioner(self, state: State) -> Tensor | None:
        steps, _, square, _ = state
        return divisor(square / (1 - self.beta2**steps), self.eps) if steps else None

    def preconditioned_threshold(self) -> Value | None:
        """At the momentum beta1, which the growing one approaches."""
        return over(2 * (1 + self.beta1), self.lr * (1 - self.beta1) * (1 + 2 * self.beta1))

    def _momentum(self, step: int) -> Value:
        return self.beta1 * (1 - 0.5 * 0.96 ** (step * self.psi))
