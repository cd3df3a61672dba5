"""Wrappers: what can be put around any rule. A wrapper is a stepper that holds another one, so wrappers nest.

To add one, write a class with a `step` and add its name to the tuple in `optimizers/__init__.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from landscapes import setting
from landscapes.setting import Declared
from optimizers.optimizer import Evaluation, Optimizer, Oracle, Value, is_zero, moved, tensors_of
from optimizers.schedules import Schedule
from optimizers.stepper import Rehearsal, State, Stepper, changed


@dataclass(frozen=True)
class Wrapper(Declared, Stepper):
    """Something around a rule, or around another wrapper. What a wrapper does not change, its inner stepper decides."""

    batchable: ClassVar[bool] = True
    equation: ClassVar[str] = ""
    idea: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    inner: Stepper

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Stepper):
            raise TypeError(f"{self.name} goes around an optimizer, not around {type(self.inner).__name__}.")
        super().__post_init__()

    @property
    def rule(self) -> Optimizer:
        return self.inner.rule

    @property
    def title(self) -> str:
        return f"{self.inner.title}, {self.label.lower()}"

    def init(self, params: Tensor) -> State:
        return self.inner.init(params)

    def to(self, like: Tensor) -> Self:
        own: dict[str, Any] = {key: one.to(like) for key, one in self.values().items() if isinstance(one, Tensor)}
        return changed(self, inner=self.inner.to(like), **own)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from tensors_of(self)
        yield from self.inner.tensors()

    def at(self, lr: float | Tensor) -> Self:
        return changed(self, inner=self.inner.at(lr))

    def scaled(self, factor: float | Tensor) -> Self:
        return changed(self, inner=self.inner.scaled(factor))

    def step_factors(self, steps: int) -> list[float] | None:
        return self.inner.step_factors(steps)

    def thresholds(self, steps: int) -> list[float] | None:
        return None

    def small_batch_thresholds(self, steps: int) -> list[float] | None:
        return None

    def inner_state(self, state: State) -> State:
        """The inner stepper's part of the state."""
        return state

    def point(self, params: Tensor, state: State) -> Tensor:
        return self.inner.point(params, self.inner_state(state))

    def preconditioner(self, state: State) -> Tensor | None:
        return self.inner.preconditioner(self.inner_state(state))

    def preconditioned_thresholds(self, steps: int) -> list[float] | None:
        return None

    def planned(self, steps: int, rehearse: Rehearsal) -> Self:
        return changed(self, inner=self.inner.planned(steps, rehearse))


@dataclass(frozen=True)
class Scheduled(Wrapper):
    """A rule whose step size follows a schedule. Not in WRAPPERS: schedules have a registry of their own."""

    name, label = "scheduled", "Schedule"
    schedule: Schedule

    @property
    def title(self) -> str:
        return f"{self.inner.title}, {self.schedule.label.lower()}"

    def thresholds(self, steps: int) -> list[float] | None:
        return self._along(steps, lambda rule: rule.stability_threshold())

    def small_batch_thresholds(self, steps: int) -> list[float] | None:
        return self._along(steps, lambda rule: rule.small_batch_threshold())

    def preconditioned_thresholds(self, steps: int) -> list[float] | None:
        return self._along(steps, lambda rule: rule.preconditioned_threshold())

    def _along(self, steps: int, threshold: Callable[[Optimizer], Value | None]) -> list[float] | None:
        """The rule's threshold at each step size of the schedule."""
        factors = self.step_factors(steps)
        if not isinstance(self.inner, Optimizer) or factors is None or threshold(self.inner) is None:
            return None
        return [float(threshold(self.inner.scaled(factor)) or math.inf) for factor in factors]

    def step_factors(self, steps: int) -> list[float] | None:
        return None if self.schedule.rehearses else self._with_inner(self.schedule.factors(steps, _no_norms).tolist())

    def _with_inner(self, own: list[float]) -> list[float] | None:
        """Factors of this schedule times those of a schedule further inside."""
        others = self.inner.step_factors(len(own))
        return None if others is None else [one * other for one, other in zip(own, others, strict=True)]

    def inner_state(self, state: State) -> State:
        return state[-1]

    def planned(self, steps: int, rehearse: Rehearsal) -> _Planned:
        """Computes the factors of the run's steps; a schedule of two passes makes its rehearsal here."""
        factors = self.schedule.factors(steps, lambda: rehearse(self.inner))
        return _Planned(
            inner=self.inner.planned(steps, rehearse),
            schedule=self.schedule,
            factors=factors.unsqueeze(-2) if factors.ndim > 1 else tuple(factors.tolist()),
        )

    def init(self, params: Tensor) -> State:
        return 0, self.inner.init(params)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        raise ValueError("A schedule must know how long the run is: call planned(steps, ...) first, as run(...) does.")


@dataclass(frozen=True)
class _Planned(Scheduled):
    """A schedule that knows the factor of each step of its run."""

    factors: tuple[float, ...] | Tensor  # (T,), or (..., 1, T) with one row per run

    def step_factors(self, steps: int) -> list[float] | None:
        """After the end of the run it was planned for, its last factor goes on."""
        if isinstance(self.factors, Tensor):
            return None
        longer = max(0, steps - len(self.factors))
        return self._with_inner([*self.factors[:steps], *[self.factors[-1]] * longer])

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, inner_state = state
        if isinstance(self.factors, Tensor):  # (..., 1, T) -> (..., 1)
            factor = self.factors[..., min(steps, self.factors.shape[-1] - 1)].to(params)
        else:
            factor = self.factors[min(steps, len(self.factors) - 1)]
        params, inner_state = self.inner.scaled(factor).step(params, inner_state, oracle)
        return params, (steps + 1, inner_state)


@dataclass(frozen=True)
class ClipNorm(Wrapper):
    name, label = "clip_norm", "Clip the norm"
    idea = "Shorten gradients longer than c, keeping their direction."
    equation = r"g \leftarrow g\, \min\left(1, \frac{c}{\|g\| + 10^{-6}}\right)"
    reference = "Pascanu et al. 2012, arXiv:1211.5063"
    c: Value = setting(
        1.0, 0.0, 1e9, low_open=True, log=True, scale=(1e-3, 1e3), symbol="c", help="The longest gradient let through."
    )

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        def clipped(behind: Oracle, point: Tensor) -> Evaluation:
            loss, grad = behind(point)
            # The 1e-6 is torch.nn.utils.clip_grad_norm_'s.
            share = self.c / (torch.linalg.vector_norm(grad, dim=-1, keepdim=True) + 1e-6)
            return Evaluation(loss, grad * share.clamp(max=1))

        return self.inner.step(params, state, oracle.seen_through(clipped))


@dataclass(frozen=True)
class ClipValue(Wrapper):
    name, label = "clip_value", "Clip each coordinate"
    idea = "Keep every coordinate of the gradient within -c and c."
    equation = r"g_i \leftarrow \mathrm{clip}(g_i, -c, c)"
    reference = "Zhang et al. 2019, arXiv:1912.03194"
    c: Value = setting(
        1.0,
        0.0,
        1e9,
        low_open=True,
        log=True,
        scale=(1e-3, 1e3),
        symbol="c",
        help="The largest coordinate let through.",
    )

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        def clipped(behind: Oracle, point: Tensor) -> Evaluation:
            loss, grad = behind(point)
            bound = torch.as_tensor(self.c, dtype=grad.dtype, device=grad.device)
            return Evaluation(loss, torch.minimum(torch.maximum(grad, -bound), bound))

        return self.inner.step(params, state, oracle.seen_through(clipped))


@dataclass(frozen=True)
class Lookahead(Wrapper):
    """The inner state is left alone when the weights are pulled back."""

    name, label = "lookahead", "Lookahead"
    idea = "After k fast steps, pull back toward the slow weights."
    equation = r"\text{every } k \text{ steps:}\quad s \leftarrow s + \alpha (w - s), \quad w \leftarrow s"
    reference = "Zhang et al. 2019, arXiv:1907.08610"
    k: int = setting(5, 1, 100_000, symbol="k", help="Fast steps between two pulls.")
    alpha: Value = setting(0.5, 0.0, 1.0, low_open=True, symbol=r"\alpha", help="How far the slow weights follow.")

    def init(self, params: Tensor) -> State:
        return 0, params, self.inner.init(params)

    def inner_state(self, state: State) -> State:
        return state[-1]

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, slow, inner_state = state
        params, inner_state = self.inner.step(params, inner_state, oracle)
        steps += 1
        if steps % self.k == 0:
            params = slow = torch.lerp(slow, params, self.alpha)  # exact where alpha is 1
        return params, (steps, slow, inner_state)


@dataclass(frozen=True)
class DecoupledDecay(Wrapper):
    name, label = "decoupled_decay", "Decoupled weight decay"
    idea = "Shrink the weights a little at each step, whatever the rule makes of the gradient."
    equation = r"w \leftarrow w - \eta \lambda w"
    reference = "Loshchilov and Hutter 2017, arXiv:1711.05101"
    weight_decay: Value = setting(
        1e-2, 0.0, 100.0, log=True, scale=(1e-5, 1.0), symbol=r"\lambda", help="Share of w, times the step size."
    )

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        new, state = self.inner.step(params, state, oracle)
        return new if is_zero(self.weight_decay) else moved(new, params, self.rule.lr * self.weight_decay), state


@dataclass(frozen=True)
class GradientNoise(Wrapper):
    """Noise of unit scale times sigma, of the same draw for all runs; heavy tails make rare long jumps."""

    name, label = "gradient_noise", "Gradient noise"
    idea = "Add noise of a chosen law to the gradient, as small batches do."
    equation = r"g \leftarrow g + \sigma\, \xi"
    reference = "Simsekli et al. 2019, arXiv:1901.06053"
    law: str = setting(
        "normal",
        choices=("normal", "uniform", "laplace", "student", "cauchy"),
        help="Student's t has 3 degrees of freedom; Cauchy has no variance.",
    )
    sigma: Value = setting(0.1, 0.0, 1e6, log=True, scale=(1e-4, 100.0), symbol=r"\sigma", help="Scale of the noise.")

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        def noisy(behind: Oracle, point: Tensor) -> Evaluation:
            loss, grad = behind(point)
            return Evaluation(loss, grad + self.sigma * self._draw(behind, grad))

        return self.inner.step(params, state, oracle.seen_through(noisy))

    def _draw(self, oracle: Oracle, like: Tensor) -> Tensor:
        """(dim,) of the law; normal, uniform and Laplace have unit variance."""
        normal = oracle.normal(like)
        if self.law == "normal":
            return normal
        if self.law == "student":
            squares = torch.stack([oracle.normal(like).square() for _ in range(3)])
            return normal / squares.mean(0).sqrt()
        if self.law == "cauchy":
            return normal / oracle.normal(like).abs()
        # The normal law's distribution function makes a uniform draw of it, in the open interval (0, 1).
        uniform = torch.special.ndtr(normal.double()).clamp(1e-16, 1 - 1e-16)
        if self.law == "uniform":
            return ((2 * uniform - 1) * math.sqrt(3)).to(like)
        centred = uniform - 0.5
        return (-centred.sign() * torch.log1p(-2 * centred.abs()) / math.sqrt(2)).to(like)


@dataclass(frozen=True)
class WeightPrediction(Wrapper):
    """XGrad: the gradient is taken where the rule's own momentum is about to carry the weights.

    Only around a rule that can tell its next direction from its state (see Optimizer.direction).
    """

    name, label = "xgrad", "Weight prediction (XGrad)"
    idea = "Take the gradient where the optimizer is about to be."
    equation = r"w' = w - \eta\, s\, D(\text{state}), \quad \text{step from } w \text{ with } \nabla L(w')"
    reference = "Guan et al. 2023, arXiv:2305.18240"
    s: Value = setting(1.0, 0.0, 100.0, symbol="s", help="How many steps ahead.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.inner, Optimizer) or not self.inner.predicts:
            raise ValueError(
                "xgrad goes directly around a rule whose state tells its next direction: heavy_ball, adam or adamw."
            )

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        rule = self.inner
        assert isinstance(rule, Optimizer)
        ahead = rule.direction(state)

        def predicted(behind: Oracle, point: Tensor) -> Evaluation:
            return behind(point if ahead is None or is_zero(self.s) else point - rule.lr * self.s * ahead)

        return rule.step(params, state, oracle.seen_through(predicted))


def _no_norms() -> Tensor:
    raise AssertionError("only a schedule that rehearses asks for norms")


def composed(
    rule: Optimizer, schedule: Schedule | None = None, wrappers: Iterable[Callable[[Stepper], Wrapper]] = ()
) -> Stepper:
    """A rule with wrappers around it, the first one innermost, and a schedule around all."""
    stepper: Stepper = rule
    for wrap in wrappers:
        stepper = wrap(stepper)
    return stepper if schedule is None else Scheduled(inner=stepper, schedule=schedule)


def layers(stepper: Stepper) -> tuple[Optimizer, Schedule | None, tuple[Wrapper, ...]]:
    """What `composed` put together. Raises ValueError for a schedule that is not outermost."""
    schedule = None
    if isinstance(stepper, Scheduled):
        schedule, stepper = stepper.schedule, stepper.inner
    wrappers: list[Wrapper] = []
    while isinstance(stepper, Wrapper):
        if isinstance(stepper, Scheduled):
            raise ValueError("A schedule must be the outermost layer around a rule.")
        wrappers.insert(0, stepper)
        stepper = stepper.inner
    return stepper.rule, schedule, tuple(wrappers)
