"""Rules that divide each coordinate by an estimate of its curvature: the diagonal of the Hessian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import setting
from optimizers.adaptive import averaged_threshold
from optimizers.optimizer import (
    Optimizer,
    Oracle,
    State,
    Value,
    decay_rate,
    decayed_threshold,
    decoupled_decay,
    ema,
    epsilon_setting,
    moved,
    weight_decay_setting,
)


def diagonal(params: Tensor, oracle: Oracle) -> Tensor:
    """The diagonal of the Hessian (..., dim), at the price of one product per parameter."""
    axes = torch.eye(params.shape[-1], dtype=params.dtype, device=params.device).unbind()
    return torch.stack([oracle.hvp(params, axis)[..., index] for index, axis in enumerate(axes)], -1)


def estimated_diagonal(params: Tensor, noise: Tensor, oracle: Oracle) -> Tensor:
    """z (H z), whose mean over noise z with independent entries of unit variance is the diagonal (Hutchinson 1989)."""
    return noise * oracle.hvp(params, noise)


@dataclass(frozen=True)
class AdaHessian(Optimizer):
    """Each parameter has its own curvature: the paper's averages over blocks of a convolution kernel are left out.

    `exact` takes the Hessian's true diagonal, at the price of one product per parameter.
    """

    name, label = "adahessian", "AdaHessian"
    idea = "Adam with a random estimate of the Hessian's diagonal in place of the gradient in the divisor."
    equation = (
        r"h = z \odot H z, \quad v \leftarrow \beta_2 v + (1 - \beta_2) h^2, \quad "
        r"w \leftarrow (1 - \eta\lambda)\, w - \eta\, \frac{m / (1 - \beta_1^t)}"
        r"{\left(v / (1 - \beta_2^t)\right)^{k/2} + \epsilon}"
    )
    reference = "Yao et al. 2020, arXiv:2006.00719"
    preconditions = decouples_decay = True
    scaled_threshold = "2(1+β₁)/((1−β₁)η)"
    verified = "pytorch_optimizer.AdaHessian, given the same estimates of the diagonal"
    lr: Value = setting(
        0.15, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    beta1: Value = decay_rate(0.9, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the squared curvature.")
    eps: Value = epsilon_setting(1e-4)
    k: Value = setting(1.0, 0.0, 1.0, low_open=True, symbol="k", help="Power of the curvature in the divisor.")
    n: int = setting(1, 1, 1000, symbol="n", help="Random vectors z that the estimate is a mean over.")
    exact: bool = setting(False, help="Use the true diagonal: one Hessian product per parameter and step.")
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by the share ηλ at each step")

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, square = state
        steps += 1
        mean = ema(mean, oracle(params).grad, self.beta1)
        curvature = self._curvature(params, oracle)
        square = ema(square, curvature * curvature, self.beta2)
        size = self._size(steps, square)
        size = size.masked_fill((size == 0) & (mean == 0), 1)  # 0 / 0: where nothing has been felt, nothing moves
        params = decoupled_decay(params, self.lr, self.weight_decay)
        return moved(params, mean / size, self.lr / (1 - self.beta1**steps)), (steps, mean, square)

    def _size(self, steps: int, square: Tensor) -> Tensor:
        return (square / (1 - self.beta2**steps)) ** (self.k / 2) + self.eps

    def preconditioner(self, state: State) -> Tensor | None:
        steps, _, square = state
        if not steps:
            return None
        size = self._size(steps, square)
        return size.masked_fill(size == 0, 1)

    def preconditioned_threshold(self) -> Value | None:
        return decayed_threshold(averaged_threshold(self.lr, self.beta1), self.lr, self.weight_decay)

    def _curvature(self, params: Tensor, oracle: Oracle) -> Tensor:
        if self.exact:
            return diagonal(params, oracle)
        draws = [estimated_diagonal(params, oracle.signs(params), oracle) for _ in range(self.n)]
        return draws[0] if self.n == 1 else torch.stack(draws).mean(0)


@dataclass(frozen=True)
class SophiaH(Optimizer):
    """The average of the diagonal is not corrected for its start at zero; where it is negative, a step has length lr."""

    name, label = "sophia_h", "Sophia-H"
    idea = "Momentum divided by a rarely renewed estimate of the curvature, no coordinate moving by more than the step size."
    equation = (
        r"h \leftarrow \beta_2 h + (1 - \beta_2)\, z \odot H z \ \text{every } k \text{ steps}, \quad "
        r"w \leftarrow (1 - \eta\lambda)\, w - \eta\, \mathrm{clip}\!\left(\frac{m}{\max(\gamma h, \epsilon)}, -1, 1\right)"
    )
    reference = "Liu et al. 2023, arXiv:2305.14342"
    verified = "pytorch_optimizer.SophiaH, given the same estimates of the diagonal"
    lr: Value = setting(
        6e-4, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    beta1: Value = decay_rate(0.96, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.99, r"\beta_2", "Memory of the curvature.")
    gamma: Value = setting(
        0.01, 0.0, 1e3, low_open=True, log=True, scale=(1e-3, 10.0), symbol=r"\gamma",
        help="Factor of the curvature: the smaller, the more coordinates move by the whole step size.",
    )  # fmt: skip
    eps: Value = setting(
        1e-12, 0.0, 1.0, low_open=True, log=True, scale=(1e-15, 1e-1), symbol=r"\epsilon",
        help="The least divisor, where the curvature is small or negative.",
    )  # fmt: skip
    k: int = setting(10, 1, 100_000, symbol="k", help="Steps from one estimate of the curvature to the next.")
    noise: str = setting("normal", choices=("normal", "signs"), help="What the random vectors z are made of.")
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by the share ηλ at each step")

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, curvature = state
        mean = ema(mean, oracle(params).grad, self.beta1)
        if steps % self.k == 0:
            noise = oracle.normal(params) if self.noise == "normal" else oracle.signs(params)
            curvature = ema(curvature, estimated_diagonal(params, noise, oracle), self.beta2)
        # An eps that is nothing in float32 is replaced by the least number above zero.
        size = (curvature * self.gamma).clamp_min(self.eps).clamp_min(torch.finfo(params.dtype).tiny)
        params = decoupled_decay(params, self.lr, self.weight_decay)
        return moved(params, (mean / size).clamp(-1, 1), self.lr), (steps + 1, mean, curvature)
