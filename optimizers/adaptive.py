"""Rules that divide each coordinate by a running size of its gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import setting
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
    is_zero,
    moved,
    over,
    step_size_setting,
    weight_decay_setting,
)


def quotient(direction: Tensor, square: Tensor, eps: Value | Tensor) -> Tensor:
    """direction / (sqrt(square) + eps), and 0 where both parts vanish: a coordinate without gradient does not move."""
    size = square.sqrt() + eps
    # A number far above zero needs no guard. A tensor may hold zeros, which are not looked for (see is_zero).
    guarded = isinstance(eps, Tensor) or eps < torch.finfo(size.dtype).tiny
    return direction / (size.masked_fill(size == 0, 1) if guarded else size)


def divisor(square: Tensor, eps: Value | Tensor) -> Tensor:
    """What `quotient` divides by, and 1 where both parts vanish."""
    size = square.sqrt() + eps
    return size.masked_fill(size == 0, 1)


def averaged_threshold(lr: Value, beta1: Value) -> Value:
    """For steps lr * m with m = beta1 m + (1 - beta1) g: heavy ball's threshold, at its step size lr * (1 - beta1)."""
    return over(2 * (1 + beta1), lr * (1 - beta1))


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    name, label = "adagrad", "AdaGrad"
    idea = "Divide by the root of the sum of all squared gradients: often-seen coordinates slow down."
    equation = (
        r"G \leftarrow G + g^2, \quad w \leftarrow w - \frac{\eta}{1 + (t-1)\,\delta}\, \frac{g}{\sqrt{G} + \epsilon}"
    )
    reference = "Duchi, Hazan and Singer 2011, JMLR 12"
    verified = "torch.optim.Adagrad"
    preconditions = couples_decay = True
    scaled_threshold = "2/η"
    lr: Value = setting(
        1e-2, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    eps: Value = epsilon_setting(1e-10)
    acc0: Value = setting(0.0, 0.0, 1e6, scale=(0.0, 1.0), symbol="G_0", help="Where the sum of squares starts.")
    decay: Value = setting(0.0, 0.0, 1e3, scale=(0.0, 1.0), symbol=r"\delta", help="Decay of the step size.")
    weight_decay: Value = weight_decay_setting()

    def init(self, params: Tensor) -> State:
        return 0, torch.zeros_like(params) + self.acc0

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, total = state
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        total = torch.addcmul(total, grad, grad)
        lr = self.lr if is_zero(self.decay) else self.lr / (1 + steps * self.decay)
        return moved(params, quotient(grad, total, self.eps), lr), (steps + 1, total)

    def preconditioner(self, state: State) -> Tensor | None:
        steps, total = state
        return divisor(total, self.eps) * (1 + (steps - 1) * self.decay) if steps else None

    def preconditioned_threshold(self) -> Value | None:
        return over(2, self.lr)


@dataclass(frozen=True)
class AdaGradNorm(Optimizer):
    name, label = "adagrad_norm", "AdaGrad-Norm"
    idea = "One step size for all coordinates, divided by the root of the sum of all squared gradient lengths."
    equation = r"B \leftarrow B + \|g\|^2, \quad w \leftarrow w - \eta\, \frac{g}{\sqrt{B}}, \quad B_0 = b_0^2"
    reference = "Ward, Wu and Bottou 2018, arXiv:1806.01811"
    verified = "the paper's equations, written out in the tests"
    preconditions = True
    scaled_threshold = "2/η"
    lr: Value = step_size_setting(1.0)
    b0: Value = setting(
        0.1, 0.0, 1e6, low_open=True, log=True, scale=(1e-3, 10.0), symbol="b_0", help="Where the divisor starts."
    )

    def init(self, params: Tensor) -> State:
        return 0, torch.zeros_like(params[..., :1]) + self.b0**2

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, total = state
        grad = oracle(params).grad
        total = torch.add(total, (grad * grad).sum(-1, keepdim=True))
        return moved(params, quotient(grad, total, 0.0), self.lr), (steps + 1, total)

    def preconditioner(self, state: State) -> Tensor | None:
        steps, total = state
        return divisor(total, 0.0) if steps else None

    def preconditioned_threshold(self) -> Value | None:
        return over(2, self.lr)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    name, label = "rmsprop", "RMSProp"
    idea = "AdaGrad that forgets: divide by a moving average of the squared gradient."
    equation = r"v \leftarrow a v + (1-a) g^2, \quad w \leftarrow w - \eta\, \frac{g}{\sqrt{v} + \epsilon}"
    reference = "Tieleman and Hinton 2012, lecture 6.5; centered: Graves 2013, arXiv:1308.0850"
    verified = "torch.optim.RMSprop"
    preconditions = couples_decay = True
    scaled_threshold = "2(1+μ)/η"
    lr: Value = setting(
        1e-2, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    a: Value = decay_rate(0.99, "a", "Memory of the squared gradients.")
    eps: Value = epsilon_setting(1e-8)
    momentum: Value = decay_rate(0.0, r"\mu", "Momentum on the scaled gradient.")
    centered: bool = setting(False, help="Subtract the squared mean gradient, so that the divisor is a variance.")
    weight_decay: Value = weight_decay_setting()

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, square, mean, velocity = state
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        square = ema(square, grad * grad, self.a)
        if self.centered:
            mean = ema(mean, grad, self.a)
        direction = quotient(grad, self._spread(square, mean), self.eps)
        if not is_zero(self.momentum):
            direction = velocity = torch.add(velocity * self.momentum, direction)
        return moved(params, direction, self.lr), (steps + 1, square, mean, velocity)

    def _spread(self, square: Tensor, mean: Tensor) -> Tensor:
        if not self.centered:
            return square
        return torch.addcmul(square, mean, mean, value=-1).clamp_min(0)  # a variance may round below zero

    def preconditioner(self, state: State) -> Tensor | None:
        steps, square, mean, _ = state
        return divisor(self._spread(square, mean), self.eps) if steps else None

    def preconditioned_threshold(self) -> Value | None:
        return over(2 * (1 + self.momentum), self.lr)


@dataclass(frozen=True)
class Adadelta(Optimizer):
    name, label = "adadelta", "Adadelta"
    idea = (
        "Scale each coordinate by the size of its recent steps over the size of its recent gradients: the units cancel."
    )
    equation = (
        r"v \leftarrow r v + (1-r) g^2, \quad d = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}}\, g, \quad "
        r"u \leftarrow r u + (1-r) d^2, \quad w \leftarrow w - \eta\, d"
    )
    reference = "Zeiler 2012, arXiv:1212.5701"
    verified = "torch.optim.Adadelta"
    preconditions = True
    scaled_threshold = "2/η"
    lr: Value = step_size_setting(1.0)
    r: Value = decay_rate(0.9, "r", "Memory of the squared gradients and steps.")
    eps: Value = epsilon_setting(1e-6, above_zero=True)

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        count, grads, steps = state
        grad = oracle(params).grad
        grads = ema(grads, grad * grad, self.r)
        direction = quotient(grad * (steps + self.eps).sqrt(), grads + self.eps, 0.0)
        steps = ema(steps, direction * direction, self.r)
        return moved(params, direction, self.lr), (count + 1, grads, steps)

    def preconditioner(self, state: State) -> Tensor | None:
        count, grads, steps = state
        return divisor(grads + self.eps, 0.0) / divisor(steps + self.eps, 0.0) if count else None

    def preconditioned_threshold(self) -> Value | None:
        return over(2, self.lr)


@dataclass(frozen=True)
class MADGRAD(Optimizer):
    """The authors' code and pytorch_optimizer add eps to the step size; here it is the paper's."""

    name, label = "madgrad", "MADGRAD"
    idea = "Stand where all gradients together, over the cube root of their squares, point from the start; average the way."
    equation = (
        r"s \leftarrow s + \eta\sqrt{t}\, g, \quad v \leftarrow v + \eta\sqrt{t}\, g^2, \quad "
        r"w \leftarrow \mu w + (1 - \mu) \left(w_0 - \frac{s}{\sqrt[3]{v} + \epsilon}\right)"
    )
    reference = "Defazio and Jelassi 2021, arXiv:2101.11075"
    verified = "pytorch_optimizer.MADGRAD, given the step size less eps, which it adds"
    lr: Value = step_size_setting(1e-2)
    momentum: Value = decay_rate(0.9, r"\mu", "Share of the old position kept from step to step.")
    eps: Value = epsilon_setting(1e-6)
    weight_decay: Value = weight_decay_setting()

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, params, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, start, total, squares = state
        steps += 1
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        rate = self.lr * math.sqrt(steps)
        total = moved(total, grad, -rate)
        squares = moved(squares, grad * grad, -rate)
        size = squares.pow(1 / 3) + self.eps
        goal = start - total / size.masked_fill(size == 0, 1)
        return ema(params, goal, self.momentum), (steps, start, total, squares)


@dataclass(frozen=True)
class _Moments(Optimizer):
    """The settings that Adam and its relatives share, and the step that they have in common."""

    beta1: Value = decay_rate(0.9, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the squared gradient.")
    eps: Value = epsilon_setting(1e-8)

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero, zero

    def moments_preconditioner(self, state: State, debias: bool = True) -> Tensor | None:
        """sqrt(square / c2) + eps of the last step."""
        steps, _, _, peak = state
        return divisor(peak / (1 - self.beta2**steps) if debias else peak, self.eps) if steps else None

    def adam_step(
        self, params: Tensor, grad: Tensor, state: State, *, keep_peak: bool = False, debias: bool = True
    ) -> tuple[Tensor, State]:
        """params - lr * (mean / c1) / (sqrt(square / c2) + eps); with `keep_peak` the square may only grow."""
        steps, mean, square, peak = state
        steps += 1
        mean = ema(mean, grad, self.beta1)
        square = ema(square, grad * grad, self.beta2)
        peak = torch.maximum(square, peak) if keep_peak else square
        ratio, factor = self._ratio(steps, mean, peak, debias)
        return moved(params, ratio, self.lr * factor), (steps, mean, square, peak)

    def _ratio(self, steps: int, mean: Tensor, peak: Tensor, debias: bool) -> tuple[Tensor, Value]:
        """(mean / c1) / (sqrt(peak / c2) + eps) as a quotient and a factor: two tensor operations fewer."""
        first, second = (1 - self.beta1**steps, 1 - self.beta2**steps) if debias else (1.0, 1.0)
        root = second**0.5
        return quotient(mean, peak, self.eps * root), root / first

    def moments_direction(self, state: State) -> Tensor | None:
        """The next direction of the plain debiased rule, from the averages so far."""
        steps, mean, _, peak = state
        if steps == 0:
            return None
        ratio, factor = self._ratio(steps, mean, peak, True)
        return ratio * factor


@dataclass(frozen=True)
class Adam(_Moments):
    name, label = "adam", "Adam"
    idea = "Momentum divided by the root mean square of recent gradients, both corrected for their start at zero."
    equation = r"w \leftarrow w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}"
    reference = "Kingma and Ba 2014, arXiv:1412.6980"
    verified = "torch.optim.Adam"
    preconditions = couples_decay = True
    scaled_threshold = "2(1+β₁)/((1−β₁)η)"
    predicts = True
    weight_decay: Value = weight_decay_setting()

    def direction(self, state: State) -> Tensor | None:
        return self.moments_direction(state)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        return self.adam_step(params, grad, state)

    def preconditioner(self, state: State) -> Tensor | None:
        return self.moments_preconditioner(state)

    def preconditioned_threshold(self) -> Value | None:
        return averaged_threshold(self.lr, self.beta1)


@dataclass(frozen=True)
class AdamW(_Moments):
    name, label = "adamw", "AdamW"
    idea = "Adam whose weight decay bypasses the division by gradient size."
    equation = (
        r"w \leftarrow (1 - \eta\lambda)\, w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}"
    )
    reference = "Loshchilov and Hutter 2017, arXiv:1711.05101"
    verified = "torch.optim.AdamW"
    preconditions = decouples_decay = True
    scaled_threshold = "2(1+β₁)/((1−β₁)η)"
    predicts = True
    weight_decay: Value = weight_decay_setting(1e-2, "decoupled: w shrinks by the share ηλ at each step")

    def direction(self, state: State) -> Tensor | None:
        return self.moments_direction(state)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad = oracle(params).grad
        return self.adam_step(decoupled_decay(params, self.lr, self.weight_decay), grad, state)

    def preconditioner(self, state: State) -> Tensor | None:
        return self.moments_preconditioner(state)

    def preconditioned_threshold(self) -> Value | None:
        return decayed_threshold(averaged_threshold(self.lr, self.beta1), self.lr, self.weight_decay)


@dataclass(frozen=True)
class AMSGrad(_Moments):
    """The maximum is over the uncorrected averages and is corrected afterwards, as in torch.optim.Adam(amsgrad=True).

    The paper corrects neither average: `debias=False` is its form.
    """

    name, label = "amsgrad", "AMSGrad"
    idea = "Adam whose divisor never shrinks, so that rare large gradients are not forgotten."
    equation = (
        r"\hat v \leftarrow \max(\hat v, v), \quad "
        r"w \leftarrow w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{\hat v / (1 - \beta_2^t)} + \epsilon}"
    )
    reference = "Reddi, Kale and Kumar 2018, arXiv:1904.09237"
    verified = "torch.optim.Adam(amsgrad=True)"
    preconditions = couples_decay = True
    scaled_threshold = "2(1+β₁)/((1−β₁)η)"
    debias: bool = setting(True, help="Correct both averages for their start at zero.")
    weight_decay: Value = weight_decay_setting()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        return self.adam_step(params, grad, state, keep_peak=True, debias=self.debias)

    def preconditioner(self, state: State) -> Tensor | None:
        return self.moments_preconditioner(state, self.debias)

    def preconditioned_threshold(self) -> Value | None:
        return averaged_threshold(self.lr, self.beta1)
