"""Rules that tune themselves: averages in place of a schedule, and a step size found on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import setting
from optimizers.adaptive import quotient
from optimizers.optimizer import (
    Optimizer,
    Oracle,
    State,
    Value,
    coupled_decay,
    decay_rate,
    decoupled_decay,
    ema,
    epsilon_setting,
    moved,
    weight_decay_setting,
)


@dataclass(frozen=True)
class _ScheduleFree(Optimizer):
    """Three sequences: z takes the steps, x is the average of z, and params are y between them, where gradients are taken."""

    b: Value = setting(
        0.9, 0.0, 1.0, low_open=True, high_open=True, symbol=r"\beta", help="Where y lies, from z (0) to x (1)."
    )
    weight_decay: Value = weight_decay_setting(0.0, "added to the direction at y")
    warmup: int = setting(0, 0, 10_000_000, symbol="T_w", help="Steps over which the step size rises to η.")
    r: Value = setting(0.0, 0.0, 100.0, scale=(0.0, 10.0), symbol="r", help="Later iterates weigh more: power of t.")
    power: Value = setting(
        2.0, 0.0, 100.0, scale=(0.0, 4.0), symbol="p", help="Larger steps weigh more: power of the largest step size."
    )

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params[..., :1])
        return 0, params, params, zero, zero

    def point(self, params: Tensor, state: State) -> Tensor:
        return state[2]

    def averaged(self, state: State, direction: Tensor) -> tuple[Tensor, State]:
        """z moved against the direction, x moved toward z; returns the y between them and the new state."""
        steps, z, x, total, peak = state
        steps += 1
        lr = self.lr * min(1.0, steps / max(self.warmup, 1))
        z = moved(z, direction, lr)
        # The weights t^r peak^p are summed in units of the last one, which keeps large powers within float32. While every
        # step size was zero, z is x and the weights do not matter.
        before, peak = peak, peak.clamp_min(lr)
        growth = before / peak.clamp_min(torch.finfo(peak.dtype).tiny)
        total = total * ((steps - 1) / steps) ** self.r * growth**self.power + 1
        x = torch.lerp(x, z, 1 / total)
        return ema(x, z, self.b), (steps, z, x, total, peak)


_EQUATION = (
    r"c_t = \frac{t^r \max_{s \le t} \eta_s^p}{\sum_{i \le t} i^r \max_{s \le i} \eta_s^p}, \quad "
    r"x \leftarrow (1 - c_t)\, x + c_t z, \quad y = (1 - \beta)\, z + \beta x"
)


@dataclass(frozen=True)
class ScheduleFreeSGD(_ScheduleFree):
    name, label = "schedule_free_sgd", "Schedule-free SGD"
    idea = "Average the iterates instead of lowering the step size; take gradients between iterate and average."
    equation = r"z \leftarrow z - \eta_t\, (\nabla L(y) + \lambda y), \quad " + _EQUATION
    reference = "Defazio et al. 2024, arXiv:2405.15682"
    verified = "pytorch_optimizer.ScheduleFreeSGD"
    lr: Value = setting(
        1.0, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        return self.averaged(state, coupled_decay(params, oracle(params).grad, self.weight_decay))


@dataclass(frozen=True)
class ScheduleFreeAdamW(_ScheduleFree):
    """There is no average of gradients: y has the part of momentum."""

    name, label = "schedule_free_adamw", "Schedule-free AdamW"
    idea = "AdamW whose iterates are averaged instead of a schedule lowering the step size."
    equation = (
        r"z \leftarrow z - \eta_t \left( \frac{g}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + \lambda y \right),\ "
        r"g = \nabla L(y), \quad " + _EQUATION
    )
    reference = "Defazio et al. 2024, arXiv:2405.15682"
    verified = "pytorch_optimizer.ScheduleFreeAdamW"
    lr: Value = setting(
        2.5e-3, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the squared gradient.")
    eps: Value = epsilon_setting(1e-8)

    def init(self, params: Tensor) -> State:
        return *super().init(params), torch.zeros_like(params)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        *averages, square = state
        grad = oracle(params).grad
        square = ema(square, grad * grad, self.beta2)
        direction = quotient(grad, square / (1 - self.beta2 ** (averages[0] + 1)), self.eps)
        params, new = self.averaged(tuple(averages), coupled_decay(params, direction, self.weight_decay))
        return params, (*new, square)


@dataclass(frozen=True)
class Prodigy(Optimizer):
    """One number d per run, below the distance to the solution, enters every average. The memory of s is sqrt(beta2).

    Until the first gradient that is not zero nothing moves; the authors' code does not count such steps for `debias`, we do.
    """

    name, label = "prodigy", "Prodigy"
    idea = "Adam whose step size is a growing estimate d of the distance to the solution."
    equation = (
        r"a \leftarrow \sqrt{\beta_2}\, a + \tfrac{d}{d_0} d \eta\, g^\top (w_0 - w),\ "
        r"s \leftarrow \sqrt{\beta_2}\, s + \tfrac{d}{d_0} d \eta\, g, \quad d' = \max\left(d, \tfrac{a}{\|s\|_1}\right), \quad "
        r"w \leftarrow (1 - d \eta \lambda)\, w - d \eta\, \frac{m}{\sqrt{v} + d' \epsilon}"
    )
    reference = "Mishchenko and Defazio 2023, arXiv:2306.06101"
    verified = "pytorch_optimizer.Prodigy, its sums kept in float64"
    lr: Value = setting(
        1.0, 0.0, 1e4, log=True, scale=(1e-3, 10.0), label="Step size", symbol=r"\eta", help="Factor of the estimate."
    )
    beta1: Value = decay_rate(0.9, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the squared gradient.")
    d0: Value = setting(  # the open end is above zero in float32 too
        1e-6,
        1e-30,
        1e6,
        low_open=True,
        log=True,
        scale=(1e-8, 1.0),
        symbol="d_0",
        help="The first estimate; should be low.",
    )
    coef: Value = setting(
        1.0, 0.0, 1e3, low_open=True, log=True, scale=(0.1, 10.0), symbol="c", help="Factor of each new estimate."
    )
    growth: Value = setting(
        1e30, 1.0, 1e38, low_open=True, log=True, scale=(1.01, 10.0), symbol=r"\gamma",
        help="The estimate grows at most by this factor a step; 1e30 is no limit.",
    )  # fmt: skip
    eps: Value = epsilon_setting(1e-8)
    debias: bool = setting(False, help="Correct both averages for their start at zero.")
    safeguard_warmup: bool = setting(False, help="Leave η out of s, for schedules that warm up slowly.")
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by the share dηλ at each step")

    def init(self, params: Tensor) -> State:
        zero, number = torch.zeros_like(params), torch.zeros_like(params[..., :1])
        return 0, params, zero, zero, zero, number + self.d0, number + self.d0, number

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, start, mean, square, sum_, d, peak, numerator = state
        steps += 1
        grad, beta3 = oracle(params).grad, self.beta2**0.5
        lr = d * self.lr
        if self.debias:
            lr = lr * ((1 - self.beta2**steps) ** 0.5 / (1 - self.beta1**steps))
        share = d / self.d0
        numerator = numerator * beta3 + share * lr * (grad * (start - params)).sum(-1, keepdim=True)
        sum_ = sum_ * beta3 + share * (d if self.safeguard_warmup else lr) * grad
        mean = ema(mean, d * grad, self.beta1)
        square = ema(square, (d * grad).square(), self.beta2)

        size = sum_.abs().sum(-1, keepdim=True)
        seen = size != 0
        estimate = self.coef * numerator / size.where(seen, 1)
        peak = torch.maximum(peak, estimate)
        d = torch.minimum(peak, torch.where(d == self.d0, torch.maximum(d, estimate), d) * self.growth)
        new = moved(decoupled_decay(params, lr, self.weight_decay), quotient(mean, square, d * self.eps), lr)
        return new.where(seen, params), (steps, start, mean, square, sum_, d, peak, numerator)
