"""Rules that leave out the part of a step that only changes the length of scale-invariant weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Layout, setting
from optimizers.adaptive import quotient
from optimizers.blocks import flattened, matrices, wide
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

_DECOUPLED = "decoupled: w shrinks by the share ηλ at each step, by less where the step is projected"


def project_out_radial(
    layout: Layout, params: Tensor, grad: Tensor, direction: Tensor, delta: Value, eps: Value
) -> tuple[Tensor, Tensor]:
    """The direction (..., dim) without its part along the weights where those look scale-invariant, and where they do.

    Scale-invariant weights are orthogonal to their gradient. In each matrix the rows are looked at first, all together,
    then the whole; vectors are never projected.
    """
    directions, projected = [], []
    blocks = (matrices(layout, x) for x in (params, grad, direction))
    for block, weights, slopes, steps in zip(layout.blocks, *blocks, strict=True):
        left, found = steps, torch.zeros_like(steps, dtype=torch.bool)
        if len(block.shape) > 1:
            row = [x.flatten(-2).unsqueeze(-2) for x in (weights, slopes, steps)]
            by_rows, rest = _without_radial(weights, slopes, steps, delta, eps)
            at_once, rest_at_once = _without_radial(row[0], row[1], row[2], delta, eps)
            left = rest.where(by_rows, rest_at_once.reshape_as(steps).where(at_once, steps))
            found = (by_rows | at_once).expand_as(steps)
        directions.append(left)
        projected.append(found)
    return flattened(directions), flattened(projected)


def _without_radial(w: Tensor, g: Tensor, d: Tensor, delta: Value, eps: Value) -> tuple[Tensor, Tensor]:
    """Are all rows of w nearly orthogonal to those of g (..., 1, 1)? And the rows of d without their part along w."""
    length, slope = w.norm(dim=-1, keepdim=True), g.norm(dim=-1, keepdim=True)
    sizes = at_least(length, wide(eps)) * at_least(slope, wide(eps))
    cosine = (w * g).sum(-1, keepdim=True).abs() / sizes.masked_fill(sizes == 0, 1)
    size = length + wide(eps)
    radius = w / size.masked_fill(size == 0, 1)
    small = cosine.amax(-2, keepdim=True) < wide(delta) / math.sqrt(w.shape[-1])
    return small, d - radius * (radius * d).sum(-1, keepdim=True)


def at_least(x: Tensor, low: Value) -> Tensor:
    return torch.maximum(x, low) if isinstance(low, Tensor) else x.clamp_min(low)


@dataclass(frozen=True)
class _Radial(Optimizer):
    """The settings that both rules share, and the step that they have in common."""

    nesterov: bool = setting(False, help="Weigh the newest gradient once more, as if looking ahead.")
    delta: Value = setting(
        0.1, 0.0, 1e3, low_open=True, log=True, scale=(1e-3, 10.0), symbol=r"\delta",
        help="How nearly orthogonal weights and gradient are taken for scale-invariant.",
    )  # fmt: skip
    wd_ratio: Value = setting(
        0.1, 0.0, 1.0, high_open=True, label="Decay ratio", symbol="r", help="Weight decay where projected, as a share."
    )
    eps: Value = epsilon_setting(1e-8)
    weight_decay: Value = weight_decay_setting(0.0, _DECOUPLED)

    def projected_step(
        self, params: Tensor, grad: Tensor, direction: Tensor, lr: Value, decay: Value, layout: Layout
    ) -> Tensor:
        """params - lr * direction, less its radial part; params shrunk by the share `decay`."""
        direction, projected = project_out_radial(layout, params, grad, direction, self.delta, self.eps)
        if not is_zero(self.weight_decay):
            shrunk = params * decay
            params = params - (shrunk * self.wd_ratio).where(projected, shrunk)
        return moved(params, direction, lr)


@dataclass(frozen=True)
class SGDP(_Radial):
    """The velocity itself keeps its radial part, as in the paper; the authors' code projects the velocity in place.

    Weight decay is divided by 1 - momentum, so that it keeps pace with steps that momentum lengthens.
    """

    name, label = "sgdp", "SGDP"
    idea = (
        "Momentum that leaves out what only lengthens scale-invariant weights, which would shrink their effective step."
    )
    equation = (
        r"b \leftarrow \mu b + (1 - \tau) g, \quad w \leftarrow w - \eta \left(b - \frac{\langle w, b\rangle}{\|w\|^2}\, w\right) "
        r"\quad \text{where } \frac{|\langle w, g\rangle|}{\|w\| \|g\|} < \frac{\delta}{\sqrt{n}}"
    )
    reference = "Heo et al. 2020, arXiv:2006.08217"
    verified = "pytorch_optimizer.SGDP"
    on_points = "Two coordinates are a vector, from which nothing is projected: what is left is heavy ball."
    momentum: Value = decay_rate(0.9, r"\mu", "Share of the velocity kept from step to step.")
    dampening: Value = setting(0.0, 0.0, 1.0, symbol=r"\tau", help="Share of each new gradient left out.")

    def init(self, params: Tensor) -> State:
        return (torch.zeros_like(params),)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad = oracle(params).grad
        velocity = moved(state[0] * self.momentum, grad, self.dampening - 1)
        direction = moved(grad, velocity, -self.momentum) if self.nesterov else velocity
        decay = self.lr * self.weight_decay / (1 - self.momentum)
        return self.projected_step(params, grad, direction, self.lr, decay, oracle.layout), (velocity,)


@dataclass(frozen=True)
class AdamP(_Radial):
    name, label = "adamp", "AdamP"
    idea = "Adam that leaves out what only lengthens scale-invariant weights, which would shrink their effective step."
    equation = (
        r"q = \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}, \quad "
        r"w \leftarrow w - \eta \left(q - \frac{\langle w, q\rangle}{\|w\|^2}\, w\right) "
        r"\quad \text{where } \frac{|\langle w, g\rangle|}{\|w\| \|g\|} < \frac{\delta}{\sqrt{n}}"
    )
    reference = "Heo et al. 2020, arXiv:2006.08217"
    verified = "pytorch_optimizer.AdamP"
    on_points = "Two coordinates are a vector, from which nothing is projected: what is left is Adam."
    beta1: Value = decay_rate(0.9, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the squared gradient.")

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, square = state
        steps += 1
        grad = oracle(params).grad
        mean = ema(mean, grad, self.beta1)
        square = ema(square, grad * grad, self.beta2)
        ahead = ema(mean, grad, self.beta1) if self.nesterov else mean
        lr = self.lr * (1 - self.beta2**steps) ** 0.5 / (1 - self.beta1**steps)
        direction, decay = quotient(ahead, square, self.eps), self.lr * self.weight_decay
        return self.projected_step(params, grad, direction, lr, decay, oracle.layout), (steps, mean, square)
