"""Rules that began as answers to Adam and went elsewhere: kinematics, natural gradients, factored memory, a change of rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscapes import Layout, setting
from optimizers.adaptive import _Moments, quotient
from optimizers.blocks import flattened, matrices
from optimizers.optimizer import (
    Optimizer,
    Oracle,
    State,
    Value,
    decay_rate,
    decoupled_decay,
    ema,
    epsilon_setting,
    is_zero,
    moved,
    step_size_setting,
    weight_decay_setting,
)


def _per_block(values: Tensor, layout: Layout, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """A number for each block, `measure`: (..., size) -> (..., 1), repeated over the block's coordinates: (..., dim)."""
    parts = [values[..., block.start : block.stop] for block in layout.blocks]
    return torch.cat([measure(part).expand_as(part) for part in parts], dim=-1)


def _rms(values: Tensor, layout: Layout) -> Tensor:
    """The root mean square of each block."""
    return _per_block(values, layout, lambda part: part.square().mean(-1, keepdim=True).sqrt())


def _clipped(direction: Tensor, layout: Layout, bound: Value) -> Tensor:
    """Each block shortened to a root mean square of at most `bound`."""
    return direction / (_rms(direction, layout) / bound).clamp_min(1)


@dataclass(frozen=True)
class Gravity(Optimizer):
    """The step number starts at 1, as in the authors' PyTorch code (their Keras code starts at 0).

    V starts at alpha / lr times normal numbers, so the first step is random: it depends on the run's seed.
    """

    name, label = "gravity", "Gravity"
    idea = "A ball on an incline: a gradient moves it less, the larger it is."
    equation = (
        r"V \leftarrow \hat\beta V + (1 - \hat\beta)\, \frac{g}{1 + (g \max|g|)^2}, \quad "
        r"\hat\beta = \frac{\beta t + 1}{t + 2}, \quad w \leftarrow w - \eta\, V, \quad "
        r"V_0 \sim \mathcal{N}(0, \alpha^2 / \eta^2)"
    )
    reference = "Bahrami and Pouriyan Zadeh 2021, arXiv:2101.09192"
    verified = "pytorch_optimizer.Gravity"
    on_points = "The maximum is over both coordinates."
    lr: Value = step_size_setting(0.1)
    alpha: Value = setting(0.01, 0.0, 1e3, scale=(0.0, 1.0), symbol=r"\alpha", help="Length of the random first push.")
    beta: Value = setting(0.9, 0.0, 1.0, symbol=r"\beta", help="Where the share of the velocity kept ends.")

    def init(self, params: Tensor) -> State:
        return 0, None

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, velocity = state
        if velocity is None:
            inverse = self.lr / (self.lr * self.lr + 1e-30)  # 1 / lr, and 0 for a rule that does not move
            velocity = oracle.normal(params) * (self.alpha * inverse)
        steps += 1
        grad = oracle(params).grad
        largest = _per_block(grad, oracle.layout, lambda part: part.abs().amax(-1, keepdim=True))
        squashed = grad / (1 + (grad * largest).square())
        velocity = ema(velocity, squashed, (self.beta * steps + 1) / (steps + 2))
        return moved(params, velocity, self.lr), (steps, velocity)


@dataclass(frozen=True)
class FAdam(Optimizer):
    """A public port (lessw2020) differs in its eps and, for a bound other than 1, in its clipping."""

    name, label = "fadam", "FAdam"
    idea = "Adam read as a natural gradient: precondition first, clip, then average, decay included."
    equation = (
        r"B = f^p + \hat\epsilon^{2p}, \quad m \leftarrow \beta_1 m + (1 - \beta_1)\, \mathrm{clip}_c(g / B), \quad "
        r"w \leftarrow w - \eta \left( m + \lambda\, \mathrm{clip}_c(w / B) \right)"
    )
    reference = "Hwang 2024, arXiv:2405.12807"
    verified = "pytorch_optimizer.FAdam with its state in float64"
    on_points = "The root mean squares are over both coordinates."
    beta1: Value = decay_rate(0.9, r"\beta_1", "Memory of the natural gradient.")
    beta2: Value = decay_rate(0.999, r"\beta_2", "Memory of the squared gradient.")
    weight_decay: Value = weight_decay_setting(0.1, "of the preconditioned parameters")
    c: Value = setting(
        1.0, 0.0, 1e6, low_open=True, log=True, scale=(1e-2, 1e2), symbol="c",
        help="Longest root mean square of a step.",
    )  # fmt: skip
    p: Value = setting(0.5, 0.0, 2.0, low_open=True, symbol="p", help="Power of the Fisher information; 1/2 is Adam's.")
    eps: Value = epsilon_setting(1e-8)
    eps2: Value = setting(
        0.01, 0.0, 1.0, log=True, scale=(1e-6, 1.0), symbol=r"\epsilon_2", help="Bound of ε relative to the gradient."
    )

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, fisher = state
        grad, layout = oracle(params).grad, oracle.layout
        decay = self.beta2 * (1 - self.beta2**steps) / (1 - self.beta2 ** (steps + 1))  # 0 at the first step
        fisher = ema(fisher, grad * grad, decay)
        size = _rms(grad, layout)
        eps = (self.eps2 * size).clamp(max=self.eps).where(size > 0, self.eps)
        base = fisher**self.p + eps ** (2 * self.p)
        base = base.masked_fill(base < torch.finfo(base.dtype).tiny, 1)  # no gradient was ever seen, and no eps
        mean = ema(mean, _clipped(grad / base, layout, self.c), self.beta1)
        direction = mean
        if not is_zero(self.weight_decay):
            direction = moved(mean, _clipped(params / base, layout, self.c), -self.weight_decay)
        return moved(params, direction, self.lr), (steps + 1, mean, fisher)


def _inverse_root(values: Tensor) -> Tensor:
    """1 / sqrt(values), and 0 where they vanish."""
    return values.rsqrt().masked_fill(values == 0, 0)


def _scaled(grad: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """g / sqrt(R_i C_j / mean(R)) of a matrix (..., m, n), factor by factor: the product R_i C_j would underflow."""
    row_factor = _inverse_root(rows) * rows.mean(-1, keepdim=True).sqrt()
    return grad * row_factor.unsqueeze(-1) * _inverse_root(columns).unsqueeze(-2)


@dataclass(frozen=True)
class Adafactor(Optimizer):
    """Algorithms 4 and 5 of the paper, without momentum. A vector is a matrix of one row, which forgets nothing; blocks of
    more dimensions are read as (first, all others).

    torch.optim.Adafactor bounds the estimate from below instead of adding eps1 to g^2, and decays by lr * weight_decay.
    pytorch_optimizer's defaults add a first moment in bfloat16.
    """

    name, label = "adafactor", "Adafactor"
    idea = "Remember of a matrix's squared gradients only row and column means, and step relative to its own size."
    equation = (
        r"\hat v_{ij} = \frac{R_i C_j}{\sum_k R_k}, \quad u = \frac{g}{\sqrt{\hat v}}, \quad w \leftarrow w - "
        r"\max(\epsilon_2, \mathrm{rms}(w))\, \rho_t\, \frac{u}{\max(1, \mathrm{rms}(u) / d)}, \quad "
        r"\rho_t = \min(10^{-2}, t^{-1/2})"
    )
    reference = "Shazeer and Stern 2018, arXiv:1804.04235"
    verified = "pytorch_optimizer.AdaFactor without momentum, its cap on the decay lifted"
    on_points = "A vector keeps all of its squares: nothing is factored, and sizes are over both coordinates."
    lr: Value = setting(
        1e-2, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta",
        help="How far one step goes; in use where the relative step is off.",
    )  # fmt: skip
    decay: Value = setting(
        0.8, 0.0, 10.0, low_open=True, scale=(0.1, 2.0), symbol="a",
        help="Squares are averaged with the rate t to the -a.",
    )  # fmt: skip
    eps1: Value = setting(
        1e-30, 0.0, 1.0, log=True, scale=(1e-30, 1e-1), symbol=r"\epsilon_1", help="Added to each squared gradient."
    )
    eps2: Value = setting(
        1e-3, 0.0, 1.0, log=True, scale=(1e-6, 1.0), symbol=r"\epsilon_2",
        help="Least size that parameters are taken to have.",
    )  # fmt: skip
    d: Value = setting(
        1.0, 0.0, 1e6, low_open=True, log=True, scale=(1e-2, 1e2), symbol="d",
        help="Longest root mean square of an update.",
    )  # fmt: skip
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by λ times the step size in use")
    relative_step: bool = setting(True, help="Let the step size follow min(0.01, 1/√t) in place of η.")
    scale_parameter: bool = setting(True, help="Multiply the step size by the parameters' own size.")

    def init(self, params: Tensor) -> State:
        return 0, ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, averages = state
        steps += 1
        grad, layout = oracle(params).grad, oracle.layout
        decay = 1 - steps**-self.decay  # 0 at the first step
        means = [(square.mean(-1), square.mean(-2)) for square in matrices(layout, grad * grad + self.eps1)]
        averages = tuple(
            (ema(old_rows, rows, decay), ema(old_columns, columns, decay))
            for (old_rows, old_columns), (rows, columns) in zip(averages or means, means, strict=True)
        )
        blocks = zip(matrices(layout, grad), averages, strict=True)
        direction = flattened(_scaled(block, *own) for block, own in blocks)
        direction = _clipped(direction, layout, self.d)
        lr: Any = min(1e-2, steps**-0.5) if self.relative_step else self.lr
        if self.scale_parameter:
            lr = _rms(params, layout).clamp(min=self.eps2) * lr
        return moved(decoupled_decay(params, lr, self.weight_decay), direction, lr), (steps, averages)


@dataclass(frozen=True)
class SWATS(_Moments):
    """Each run changes over at its own step. The test is the paper's, absolute; `rtol` adds a relative part.

    pytorch_optimizer has one number for eps and rtol, and one estimate for each tensor in place of one for the run.
    """

    name, label = "swats", "SWATS"
    idea = "Start as Adam, and change to SGD once the step size that Adam implies has settled."
    equation = (
        r"\gamma = \frac{p \cdot p}{-p \cdot g}, \quad \Lambda = \frac{\mathrm{EMA}_{\beta_2}(\gamma)}{1 - \beta_2^t}; \quad "
        r"|\Lambda - \gamma| \le \mathrm{tol} \;\Rightarrow\; b \leftarrow \beta_1 b + g, \quad "
        r"w \leftarrow w - (1 - \beta_1)\, \Lambda\, b"
    )
    reference = "Keskar and Socher 2017, arXiv:1712.07628"
    verified = "pytorch_optimizer.SWATS on the flat vector, without its 1e-15 inside the root"
    atol: Value = setting(
        1e-9, 0.0, 1e3, log=True, scale=(1e-12, 1.0), symbol=r"\tau",
        help="How near the estimates must be to change over.",
    )  # fmt: skip
    rtol: Value = setting(
        0.0, 0.0, 1e3, scale=(0.0, 1.0), symbol=r"\tau_r", help="The same, as a share of the estimate."
    )

    def init(self, params: Tensor) -> State:
        zero, number = torch.zeros_like(params), torch.zeros_like(params[..., :1])
        return 0, zero, zero, zero, number, number

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, square, velocity, average, settled = state
        steps += 1
        grad = oracle(params).grad
        first, second = 1 - self.beta1**steps, 1 - self.beta2**steps
        mean = ema(mean, grad, self.beta1)
        square = ema(square, grad * grad, self.beta2)
        move = quotient(mean, square, self.eps) * (-self.lr * second**0.5 / first)

        sgd = settled > 0  # the step size of the second phase; 0 in the first
        velocity = moved(velocity * self.beta1, grad, -1.0).where(sgd, velocity)
        params = torch.addcmul(params, velocity, settled * (1 - self.beta1), value=-1).where(sgd, params + move)

        against = -(move * grad).sum(-1, keepdim=True)
        implied = (move * move).sum(-1, keepdim=True) / against.masked_fill(against == 0, 1)
        average = ema(average, implied, self.beta2).where(against != 0, average)
        estimate = average / second
        near = (estimate - implied).abs() <= self.atol + self.rtol * implied.abs()
        if steps > 1:
            settled = estimate.where(near & (estimate > 0) & (against != 0) & ~sgd, settled)
        return params, (steps, mean, square, velocity, average, settled)


@dataclass(frozen=True)
class INNAprop(Optimizer):
    """The authors' momentum form (innaprop_v2), free of the pole at lr = beta, its factor 1 - alpha * lr taken in.

    Without decay it visits the points of the paper's form in psi. With decay the two are different methods; this one
    shrinks w alone, not what the momentum remembers.
    """

    name, label = "innaprop", "INNAprop"
    idea = "Inertial Newton dynamics, damped by viscosity and by curvature, in RMSProp's scaling."
    equation = (
        r"d = \frac{g}{\sqrt{v / (1 - \sigma^t)} + \epsilon}, \quad w \leftarrow (1 - \eta\lambda)\, w - m - \eta\beta\, d, "
        r"\quad m \leftarrow (1 - \alpha\eta)\, m + \eta^2 (1 - \alpha\beta)\, d"
    )
    reference = "Bolte et al. 2024, arXiv:2410.05871"
    verified = "the paper's equations, written out in the tests"
    alpha: Value = setting(0.1, 0.0, 1e3, scale=(0.0, 4.0), symbol=r"\alpha", help="Viscous damping.")
    beta: Value = setting(
        0.9, 0.0, 1e3, scale=(0.0, 4.0), symbol=r"\beta", help="Damping by curvature, as in Newton's method."
    )
    s: Value = decay_rate(0.999, r"\sigma", "Memory of the squared gradient.")
    eps: Value = epsilon_setting(1e-8)
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by the share ηλ at each step")

    def init(self, params: Tensor) -> State:
        zero = torch.zeros_like(params)
        return 0, zero, zero

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, square, momentum = state
        steps += 1
        grad = oracle(params).grad
        square = ema(square, grad * grad, self.s)
        scaled = quotient(grad, square / (1 - self.s**steps), self.eps)
        params = moved(decoupled_decay(params, self.lr, self.weight_decay) - momentum, scaled, self.lr * self.beta)
        pull = self.lr * self.lr * (1 - self.alpha * self.beta)
        return params, (steps, square, moved(momentum * (1 - self.alpha * self.lr), scaled, -pull))
