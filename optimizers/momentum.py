"""Plain and accelerated gradient descent."""

from __future__ import annotations

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
    moved,
    over,
    weight_decay_setting,
)


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    name, label = "gd", "Gradient descent"
    idea = "Step against the gradient."
    equation = r"w \leftarrow w - \eta\, g"
    reference = "Cauchy 1847; Robbins and Monro 1951"
    verified = "torch.optim.SGD"
    couples_decay = True
    threshold = small_batch_text = "2/η"
    weight_decay: Value = weight_decay_setting()

    def init(self, params: Tensor) -> State:
        return ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        return moved(params, grad, self.lr), ()

    def stability_threshold(self) -> Value:
        return over(2, self.lr) - self.weight_decay

    def small_batch_threshold(self) -> Value:
        return self.stability_threshold()


@dataclass(frozen=True)
class HeavyBall(Optimizer):
    """The first velocity is the gradient itself, even with dampening, as in torch.optim.SGD."""

    name, label = "heavy_ball", "Heavy ball"
    idea = "Accumulate past gradients, as a ball with inertia would."
    equation = r"b \leftarrow \mu b + (1 - \tau) g, \quad w \leftarrow w - \eta\, b"
    reference = "Polyak 1964"
    verified = "torch.optim.SGD"
    couples_decay = True
    threshold = "2(1+μ)/(η(1−τ))"
    small_batch_text = "2(1−μ)/(η(1−τ))"
    predicts = True
    momentum: Value = decay_rate(0.9, r"\mu", "Share of the velocity kept from step to step.")
    dampening: Value = setting(0.0, 0.0, 1.0, symbol=r"\tau", help="Share of each new gradient left out.")
    weight_decay: Value = weight_decay_setting()

    def init(self, params: Tensor) -> State:
        return (None,)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (velocity,) = state
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        velocity = grad if velocity is None else moved(velocity * self.momentum, grad, self.dampening - 1)
        return moved(params, velocity, self.lr), (velocity,)

    def direction(self, state: State) -> Tensor | None:
        return state[0]

    def stability_threshold(self) -> Value:
        return over(2 * (1 + self.momentum), self.lr * (1 - self.dampening)) - self.weight_decay

    def small_batch_threshold(self) -> Value:
        return over(2 * (1 - self.momentum), self.lr * (1 - self.dampening)) - self.weight_decay


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """In the form whose iterate is the look-ahead point (Sutskever et al. 2013, ICML), as in torch.optim.SGD.

    `convex` is the scheme for convex losses with its growing momentum, as in Su, Boyd and Candes 2014, arXiv:1503.01243.
    """

    name, label = "nag", "Nesterov"
    idea = "Take the gradient where the momentum is about to carry you."
    equation = r"b \leftarrow \mu b + g, \quad w \leftarrow w - \eta\,(g + \mu b)"
    reference = "Nesterov 1983; Sutskever et al. 2013"
    verified = "torch.optim.SGD(nesterov=True)"
    couples_decay = True
    threshold = "2(1+μ)/(η(1+2μ))"
    momentum: Value = decay_rate(0.9, r"\mu", "Share of the velocity kept from step to step.")
    weight_decay: Value = weight_decay_setting()
    convex: bool = setting(False, help="Momentum (t - 1) / (t + 2) at step t instead of a constant, for convex losses.")

    def init(self, params: Tensor) -> State:
        return 0, None

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, velocity = state
        steps += 1
        grad = coupled_decay(params, oracle(params).grad, self.weight_decay)
        velocity = grad if velocity is None else torch.add(grad, velocity * self._share(steps - 1))
        return moved(params, moved(grad, velocity, -self._share(steps)), self.lr), (steps, velocity)

    @property
    def has_momentum(self) -> bool:
        return self.convex or super().has_momentum

    def _share(self, step: int) -> Value:
        """Of the velocity of step `step`, how much carries on: the look-ahead after it and the next velocity use the same."""
        return (step - 1) / (step + 2) if self.convex else self.momentum

    def stability_threshold(self) -> Value:
        momentum = 1.0 if self.convex else self.momentum  # which the growing momentum approaches
        return over(2 * (1 + momentum) / (1 + 2 * momentum), self.lr) - self.weight_decay


@dataclass(frozen=True)
class SGDW(Optimizer):
    """The decay is lr * weight_decay, as in every library; the paper's is weight_decay alone, times the schedule.

    The first velocity is the gradient itself, even with dampening, as in torch.optim.SGD.
    """

    name, label = "sgdw", "SGDW"
    idea = "Momentum whose weight decay shrinks the weights directly instead of passing through the velocity."
    equation = r"b \leftarrow \mu b + (1 - \tau) g, \quad w \leftarrow (1 - \eta\lambda)\, w - \eta\, b"
    reference = "Loshchilov and Hutter 2017, arXiv:1711.05101"
    verified = "pytorch_optimizer.SGDW"
    decouples_decay = True
    threshold = "2(1+μ)/(η(1−τ))"
    momentum: Value = decay_rate(0.9, r"\mu", "Share of the velocity kept from step to step.")
    dampening: Value = setting(0.0, 0.0, 1.0, symbol=r"\tau", help="Share of each new gradient left out.")
    nesterov: bool = setting(False, help="Take the gradient where the momentum is about to carry you.")
    weight_decay: Value = weight_decay_setting(1e-2, "decoupled: w shrinks by the share ηλ at each step")

    def init(self, params: Tensor) -> State:
        return (None,)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (velocity,) = state
        grad = oracle(params).grad
        velocity = grad if velocity is None else moved(velocity * self.momentum, grad, self.dampening - 1)
        direction = moved(grad, velocity, -self.momentum) if self.nesterov else velocity
        return moved(decoupled_decay(params, self.lr, self.weight_decay), direction, self.lr), (velocity,)

    def stability_threshold(self) -> Value:
        """From the roots of the two-term recursion of (w, b) on a parabola: -1 is the first to leave the unit circle."""
        share = 1 + (2 - self.dampening) * self.momentum if self.nesterov else 1 - self.dampening
        return decayed_threshold(over(2 * (1 + self.momentum), self.lr * share), self.lr, self.weight_decay)

    @property
    def threshold_text(self) -> str:
        return self._decayed("2(1+μ)/(η(1+(2−τ)μ))" if self.nesterov else self.threshold)
