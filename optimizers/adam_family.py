"""Rules that keep Adam's quotient of two averages and change what stands above or below the line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from landscapes import setting
from optimizers.adaptive import _Moments, averaged_threshold, quotient
from optimizers.optimizer import (
    Optimizer,
    Oracle,
    State,
    Value,
    coupled_decay,
    decay_rate,
    decayed_threshold,
    decoupled_decay,
    ema,
    epsilon_setting,
    moved,
    weight_decay_setting,
)
from optimizers.stepper import changed

DECOUPLED = "decoupled: w shrinks by the share ηλ at each step"


@dataclass(frozen=True)
class AdEMAMix(_Moments):
    """The slow average is not debiased. The warm-up interpolates the memory -1 / ln(beta) from beta1's to beta3's.

    That is the paper's formula for beta3; the authors' code adds 1e-8 inside its logarithms (1e-5 away).
    """

    name, label = "ademamix", "AdEMAMix"
    idea = "Adam with a second, very slow momentum on top of the fast one."
    equation = (
        r"w \leftarrow w - \eta \left[ \frac{m / (1 - \beta_1^t) + \alpha_t s}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}"
        r" + \lambda w \right], \quad s \leftarrow \beta_{3,t}\, s + (1 - \beta_{3,t})\, g"
    )
    reference = "Pagliardini, Ablin and Grangier 2024, arXiv:2409.03137"
    verified = "pytorch_optimizer.AdEMAMix(weight_decouple=True)"
    beta3: Value = decay_rate(0.9999, r"\beta_3", "Memory of the slow momentum.")
    alpha: Value = setting(5.0, 0.0, 1e3, scale=(0.0, 10.0), symbol=r"\alpha", help="Weight of the slow momentum.")
    T: int = setting(0, 0, 10**9, symbol="T", help="Steps over which alpha and beta3 warm up; 0: no warm-up.")
    weight_decay: Value = weight_decay_setting(0.0, DECOUPLED)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, slow, square = state
        steps += 1
        share = min(steps / self.T, 1.0) if self.T else 1.0
        grad = oracle(params).grad
        mean = ema(mean, grad, self.beta1)
        slow = ema(slow, grad, self._beta3(share))
        square = ema(square, grad * grad, self.beta2)
        mixed = mean / (1 - self.beta1**steps) + slow * (self.alpha * share)
        direction = quotient(mixed, square / (1 - self.beta2**steps), self.eps)
        params = decoupled_decay(params, self.lr, self.weight_decay)
        return moved(params, direction, self.lr), (steps, mean, slow, square)

    def _beta3(self, share: float) -> Value:
        if share == 1:
            return self.beta3
        memory = (1 - share) * _memory(self.beta1) + share * _memory(self.beta3)
        if isinstance(memory, Tensor):
            return torch.exp(-1 / memory).clamp(max=self.beta3)
        return min(math.exp(-1 / memory), self.beta3) if memory else 0.0


def _memory(beta: Value) -> Value:
    """Steps after which an average has forgotten the share 1 - 1/e; 0 for beta = 0."""
    if isinstance(beta, Tensor):
        return -1 / beta.log()
    return -1 / math.log(beta) if beta else 0.0


@dataclass(frozen=True)
class DiffGrad(_Moments):
    """The first previous gradient is 0; eps stands outside the bias correction.

    The authors' first file kept a reference to the gradient's buffer, so that its friction was always 1/2.
    """

    name, label = "diffgrad", "diffGrad"
    idea = "Adam with friction where the gradient hardly changes from step to step."
    equation = (
        r"\xi = \frac{1}{1 + e^{-|g_{t-1} - g|}}, \quad "
        r"w \leftarrow w - \eta\, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\, \frac{\xi\, m}{\sqrt{v} + \epsilon}"
    )
    reference = "Dubey et al. 2019, arXiv:1909.11015"
    verified = "pytorch_optimizer.DiffGrad without its 1e-15 inside the root"
    weight_decay: Value = weight_decay_setting()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, square, previous = state
        steps += 1
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        mean = ema(mean, grad, self.beta1)
        square = ema(square, grad * grad, self.beta2)
        friction = (previous - grad).abs().sigmoid()
        lr = self.lr * (1 - self.beta2**steps) ** 0.5 / (1 - self.beta1**steps)
        return moved(params, friction * quotient(mean, square, self.eps), lr), (steps, mean, square, grad)


@dataclass(frozen=True)
class _Bounded(_Moments):
    """The clipped step size of AdaBound and AMSBound, with Adam's bias correction as in the authors' code.

    The paper has none, and divides by sqrt(t) besides. A schedule scales the bounds too, as in that code.
    """

    reference = "Luo et al. 2019, arXiv:1902.09843"
    verified = "pytorch_optimizer.AdaBound without its 1e-15 inside the root"
    final_lr: Value = setting(
        0.1, 0.0, 1e4, log=True, scale=(1e-5, 10.0), symbol=r"\eta_\infty", help="Where every step size ends."
    )
    gamma: Value = setting(
        1e-3, 1e-9, 1.0, low_open=True, high_open=True, log=True, scale=(1e-5, 0.5), symbol=r"\gamma",
        help="How fast the bounds close in.",
    )  # fmt: skip

    def bounded_step(
        self, params: Tensor, state: State, oracle: Oracle, *, keep_peak: bool = False
    ) -> tuple[Tensor, State]:
        steps, mean, square, peak = state
        steps += 1
        grad = oracle(params).grad
        mean = ema(mean, grad, self.beta1)
        square = ema(square, grad * grad, self.beta2)
        peak = torch.maximum(square, peak) if keep_peak else square
        lr = self.lr * (1 - self.beta2**steps) ** 0.5 / (1 - self.beta1**steps)
        lower = self.final_lr * (1 - 1 / (self.gamma * steps + 1))
        upper = self.final_lr * (1 + 1 / (self.gamma * steps))
        rate = (lr * quotient(torch.ones_like(params), peak, self.eps)).clamp(lower, upper)
        return torch.addcmul(params, rate, mean, value=-1), (steps, mean, square, peak)

    def scaled(self, factor: float | Tensor) -> Self:
        return changed(self, lr=self.lr * factor, final_lr=self.final_lr * factor)


@dataclass(frozen=True)
class AdaBound(_Bounded):
    name, label = "adabound", "AdaBound"
    idea = "Adam's step sizes between two bounds that close in on those of gradient descent."
    equation = (
        r"w \leftarrow w - m\, \mathrm{clip}\!\left( \frac{\eta \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)}"
        r"{\sqrt{v} + \epsilon},\; \eta_\infty \tfrac{\gamma t}{\gamma t + 1},\; "
        r"\eta_\infty \tfrac{\gamma t + 1}{\gamma t} \right)"
    )

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        return self.bounded_step(params, state, oracle)


@dataclass(frozen=True)
class AMSBound(_Bounded):
    name, label = "amsbound", "AMSBound"
    idea = "AdaBound whose divisor never shrinks, as in AMSGrad."
    equation = (
        r"\hat v \leftarrow \max(\hat v, v), \quad "
        r"w \leftarrow w - m\, \mathrm{clip}\!\left( \frac{\eta \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)}"
        r"{\sqrt{\hat v} + \epsilon},\; \eta_\infty \tfrac{\gamma t}{\gamma t + 1},\; "
        r"\eta_\infty \tfrac{\gamma t + 1}{\gamma t} \right)"
    )

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        return self.bounded_step(params, state, oracle, keep_peak=True)


@dataclass(frozen=True)
class Grams(_Moments):
    """eps is added after the bias correction, as in Adam; the authors' code adds it before (3e-7 away)."""

    name, label = "grams", "Grams"
    idea = "Adam decides how far, the sign of the present gradient decides which way."
    equation = (
        r"w \leftarrow (1 - \eta\lambda)\, w - \eta\, \mathrm{sign}(g)\, "
        r"\frac{|m| / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}"
    )
    reference = "Cao, Li and Song 2024, arXiv:2412.17107"
    verified = "pytorch_optimizer.Grams"
    eps: Value = epsilon_setting(1e-6)
    weight_decay: Value = weight_decay_setting(0.0, DECOUPLED)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, square, _ = state
        steps += 1
        grad = oracle(params).grad
        mean = ema(mean, grad, self.beta1)
        square = ema(square, grad * grad, self.beta2)
        length = quotient(mean.abs() / (1 - self.beta1**steps), square / (1 - self.beta2**steps), self.eps)
        params = decoupled_decay(params, self.lr, self.weight_decay)
        return moved(params, grad.sign() * length, self.lr), (steps, mean, square, square)


@dataclass(frozen=True)
class Adan(Optimizer):
    """The averages start at 0 and are debiased, as in the authors' code (the paper starts v at g^2).

    The betas are those of code and libraries: one minus the paper's. optax.adan weights the differences by 1 - beta2.
    """

    name, label = "adan", "Adan"
    idea = "Nesterov's look-ahead, estimated from the difference of successive gradients."
    equation = (
        r"u \leftarrow \beta_2 u + (1 - \beta_2)(g - g_{t-1}), \quad "
        r"v \leftarrow \beta_3 v + (1 - \beta_3)\,(g + \beta_2 (g - g_{t-1}))^2, \quad "
        r"w \leftarrow \frac{1}{1 + \eta\lambda} \left( w - \eta\, \frac{m / (1 - \beta_1^t) + \beta_2 u / (1 - \beta_2^t)}"
        r"{\sqrt{v / (1 - \beta_3^t)} + \epsilon} \right)"
    )
    reference = "Xie et al. 2022, arXiv:2208.06677"
    verified = "pytorch_optimizer.Adan"
    beta1: Value = decay_rate(0.98, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.92, r"\beta_2", "Memory of the gradient's differences, and their weight.")
    beta3: Value = decay_rate(0.99, r"\beta_3", "Memory of the squared look-ahead gradient.")
    eps: Value = epsilon_setting(1e-8)
    weight_decay: Value = weight_decay_setting(0.0, "proximal: w is divided by 1 + ηλ after the step")
    no_prox: bool = setting(False, label="AdamW's decay", help="Shrink w before the step by the share ηλ instead.")

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, change, square, previous = state
        grad = oracle(params).grad
        difference = grad - previous if steps else torch.zeros_like(grad)
        steps += 1
        mean = ema(mean, grad, self.beta1)
        change = ema(change, difference, self.beta2)
        square = ema(square, moved(grad, difference, -self.beta2).square(), self.beta3)
        ahead = mean / (1 - self.beta1**steps) + change * (self.beta2 / (1 - self.beta2**steps))
        direction = quotient(ahead, square / (1 - self.beta3**steps), self.eps)
        if self.no_prox:
            params = moved(decoupled_decay(params, self.lr, self.weight_decay), direction, self.lr)
        else:
            params = moved(params, direction, self.lr) / (1 + self.lr * self.weight_decay)
        return params, (steps, mean, change, square, grad)


@dataclass(frozen=True)
class ADOPT(_Moments):
    """The first call only measures the gradient: parameters and momentum wait for the second."""

    name, label = "adopt", "ADOPT"
    idea = "Divide by the size that gradients had before this one, then average: converges for every beta2."
    equation = (
        r"m \leftarrow \beta_1 m + (1 - \beta_1)\, \mathrm{clip}\!\left( \frac{g}{\max(\sqrt{v}, \epsilon)},\, "
        r"\pm (t-1)^{1/4} \right), \quad w \leftarrow (1 - \eta\lambda)\, w - \eta\, m, \quad "
        r"v \leftarrow \beta_2 v + (1 - \beta_2) g^2"
    )
    reference = "Taniguchi et al. 2024, arXiv:2411.02853"
    preconditions = decouples_decay = True
    scaled_threshold = "2(1+β₁)/((1−β₁)η)"
    verified = "pytorch_optimizer.ADOPT with the paper's bound and no decay at the first call"
    beta2: Value = decay_rate(0.9999, r"\beta_2", "Memory of the squared gradient.")
    eps: Value = epsilon_setting(1e-6, above_zero=True)
    clip: bool = setting(True, help="Bound the scaled gradient by the fourth root of the number of steps.")
    weight_decay: Value = weight_decay_setting(0.0, DECOUPLED)

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, square = state
        grad = oracle(params).grad
        if steps == 0:
            return params, (1, mean, grad * grad)
        scaled = grad / self._size(square)
        if self.clip:
            scaled = scaled.clamp(-(steps**0.25), steps**0.25)
        mean = ema(mean, scaled, self.beta1)
        params = decoupled_decay(params, self.lr, self.weight_decay)
        return moved(params, mean, self.lr), (steps + 1, mean, ema(square, grad * grad, self.beta2))

    def _size(self, square: Tensor) -> Tensor:
        return square.sqrt().clamp_min(torch.finfo(square.dtype).tiny).clamp(min=self.eps)

    def preconditioner(self, state: State) -> Tensor | None:
        """The divisor of the next step: the state holds none before this gradient's square has come in."""
        steps, _, square = state
        return self._size(square) if steps else None

    def preconditioned_threshold(self) -> Value | None:
        return decayed_threshold(averaged_threshold(self.lr, self.beta1), self.lr, self.weight_decay)


@dataclass(frozen=True)
class OptAMSGrad(_Moments):
    """Two coupled sequences: h takes AMSGrad's steps, w looks ahead of h along a guess of the next gradient.

    The guess `rmpe` extrapolates the last r + 1 gradients; until they exist, and where the system cannot be solved, the
    guess is the last gradient. The authors' code extrapolates iterates instead and debiases; this is the paper's rule.
    """

    name, label = "opt_amsgrad", "Optimistic AMSGrad"
    idea = "AMSGrad that also steps along a guess of the next gradient."
    equation = (
        r"\hat v \leftarrow \max(\hat v, v), \quad h \leftarrow h - \eta\, \frac{\theta}{\sqrt{\hat v} + \epsilon}, \quad "
        r"w \leftarrow h - \eta\, \frac{\beta_1 \theta_{t-1} + (1 - \beta_1)\, \hat g}{\sqrt{\hat v} + \epsilon}"
    )
    reference = "Wang, Li, Karimi and Li 2019, arXiv:1903.01435"
    verified = "the paper's equations, written out in the tests"
    beta2: Value = decay_rate(0.99, r"\beta_2", "Memory of the squared error of the guess.")
    eps: Value = epsilon_setting(1e-8, above_zero=True)
    guess: str = setting(
        "last", choices=("last", "rmpe"), help="The last gradient, or an extrapolation of the last few."
    )
    r: int = setting(5, 1, 50, symbol="r", help="Differences of gradients that the extrapolation uses.")
    ridge: Value = setting(
        1e-3, 0.0, 1e6, low_open=True, log=True, scale=(1e-8, 1e2), symbol=r"\rho", help="Keeps the extrapolation tame."
    )

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return params, zero, zero, zero, zero, ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        half, mean, square, peak, guess, past = state
        grad = oracle(params).grad
        before, mean = mean, ema(mean, grad, self.beta1)
        square = ema(square, (grad - guess).square(), self.beta2)
        peak = torch.maximum(square, peak)
        guess = grad
        if self.guess == "rmpe":
            past = (*past, grad)[-(self.r + 1) :]
            if len(past) == self.r + 1:
                guess = self._extrapolated(torch.stack(past, dim=-2))
        half = moved(half, quotient(mean, peak, self.eps), self.lr)
        ahead = quotient(ema(before, guess, self.beta1), peak, self.eps)
        return moved(half, ahead, self.lr), (half, mean, square, peak, guess, past)

    def _extrapolated(self, grads: Tensor) -> Tensor:
        """Where the gradients (..., r + 1, dim) are heading, by regularised minimal polynomial extrapolation."""
        changes = grads.diff(dim=-2)
        gram = changes @ changes.mT  # (..., r, r)
        ridge = self.ridge.unsqueeze(-1) if isinstance(self.ridge, Tensor) else self.ridge
        gram = gram + ridge * torch.eye(self.r, dtype=gram.dtype, device=gram.device)
        weights = torch.linalg.solve_ex(gram, torch.ones_like(gram[..., :1])).result  # (..., r, 1)
        guess = (weights / weights.sum(-2, keepdim=True) * grads[..., 1:, :]).sum(-2)
        return guess.where(guess.isfinite(), grads[..., -1, :])
