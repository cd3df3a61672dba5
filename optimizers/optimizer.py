"""An Optimizer is a pure pair `init` / `step`, batched over leading dimensions, that asks an oracle for what it needs.

`step(params, state, oracle)` returns new params and a new state and changes neither argument. `oracle(params)` gives loss
and gradient at any point on this step's batch, `oracle.hvp(params, vectors)` a Hessian-vector product, `oracle.layout` the
shapes of the tensors inside params, `oracle.normal(like)` random numbers. A hyper-parameter is a number, or a tensor
(..., 1) with one value per run.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from landscapes import Landscape, Layout, setting
from landscapes.setting import Declared
from optimizers.stepper import Rehearsal, Stepper, changed
from optimizers.stepper import State as State  # rules import it from here

Value = float  # a number, or a tensor (..., 1): written float, which is what most callers pass


class Evaluation(NamedTuple):
    loss: Tensor  # (...)
    grad: Tensor  # (..., dim)


class Spent(NamedTuple):
    """Evaluations of one run: losses, gradients (each with its loss) and Hessian-vector products."""

    loss: int = 0
    grad: int = 0
    hvp: int = 0


class Oracle:
    """What a rule may ask at one step. It counts what was asked, so that rules can be compared at equal cost.

    `known` is an evaluation that the runner has made already, at the point it hands to the rule.
    """

    def __init__(
        self,
        landscape: Landscape,
        batch: Tensor | None = None,
        generator: torch.Generator | None = None,
        spent: Spent | None = None,
        known: tuple[Tensor, Evaluation] | None = None,
    ):
        self._landscape, self._batch, self._generator, self._known = landscape, batch, generator, known
        self._tally = list(spent or Spent())  # shared by the oracles seen through this one
        self._look: Callable[[Tensor], Evaluation] | None = None

    @property
    def spent(self) -> Spent:
        """What has been asked so far."""
        return Spent(*self._tally)

    def seen_through(self, look: Callable[[Oracle, Tensor], Evaluation]) -> Oracle:
        """The same oracle with `look(oracle, params)` in place of its own evaluation: for wrappers that change gradients."""
        other = copy.copy(self)
        other._look = lambda params: look(self, params)
        return other

    @property
    def layout(self) -> Layout:
        return self._landscape.layout

    def __call__(self, params: Tensor) -> Evaluation:
        """Loss (...) and gradient (..., dim) at params (..., dim)."""
        if self._look is not None:
            return self._look(params)
        self._count(loss=1, grad=1)
        if self._known is not None and params is self._known[0]:
            return self._known[1]
        return Evaluation(*self._landscape.value_and_grad(params, self._batch))

    def loss(self, params: Tensor) -> Tensor:
        """Loss (...) alone, for line searches."""
        self._count(loss=1)
        return self._landscape.loss(params, self._batch)

    def hvp(self, params: Tensor, vectors: Tensor) -> Tensor:
        """Hessian-vector product (..., dim)."""
        self._count(hvp=1)
        return self._landscape.hvp(params, vectors, self._batch)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers (dim,), shared by the runs, from the runner's seeded generator."""
        return torch.randn(like.shape[-1], generator=self._generator, dtype=torch.float64).to(like)

    def signs(self, like: Tensor) -> Tensor:
        """Random signs, -1 or 1, (dim,), shared by the runs, from the runner's seeded generator."""
        bits = torch.randint(2, like.shape[-1:], generator=self._generator, dtype=torch.float64)
        return 2 * bits.to(like) - 1

    def _count(self, loss: int = 0, grad: int = 0, hvp: int = 0) -> None:
        for index, calls in enumerate((loss, grad, hvp)):
            self._tally[index] += calls


@dataclass(frozen=True)
class Optimizer(Declared, Stepper):
    """A rule. Fields are its hyper-parameters; `init` and `step` are pure and batched."""

    batchable: ClassVar[bool] = True
    equation: ClassVar[str] = ""  # LaTeX, one update
    idea: ClassVar[str] = ""  # one sentence
    reference: ClassVar[str] = ""  # Author Year, where
    verified: ClassVar[str] = ""  # the implementation, not ours, that the tests compare 100 steps with
    tolerance: ClassVar[float] = 1e-12  # to which they agree in float64
    threshold: ClassVar[str] = ""  # stability_threshold() as people write it, without weight decay
    couples_decay: ClassVar[bool] = False  # is its weight decay part of the gradient, and so of the curvature it feels?
    decouples_decay: ClassVar[bool] = False  # or do the weights shrink by the share lr * weight_decay at each step?
    preconditions: ClassVar[bool] = False  # does it divide its momentum by a diagonal kept in the state?
    small_batch_text: ClassVar[str] = ""  # small_batch_threshold() as people write it, without weight decay
    scaled_threshold: ClassVar[str] = ""  # preconditioned_threshold() as people write it, without weight decay
    on_points: ClassVar[str] = ""  # for rules of whole tensors: what they reduce to on two plain coordinates
    lr: Value = setting(
        1e-3, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )

    predicts: ClassVar[bool] = False  # can `direction` tell where the next step goes?

    def direction(self, state: State) -> Tensor | None:
        """The direction D of the next step w - lr * D as far as the state tells it; None before the first step."""
        return None

    def point(self, params: Tensor, state: State) -> Tensor:
        return params

    def multiplications(self, layout: Layout) -> int:
        """Multiplications of one step, on average, beside those of the gradient and a few for each parameter.

        Of matrices: a product (m, k) (k, n) counts m k n; a factorization, which takes several times as long for each of
        its operations, as so many as are done in that time.
        """
        return 0

    def stability_threshold(self) -> Value | None:
        """The largest curvature of a quadratic on which the rule converges; None where no such number exists."""
        return None

    def small_batch_threshold(self) -> Value | None:
        """Near which small batches are seen to hold the batch sharpness; None where that is not known.

        With momentum mu it is 2 (1 - mu) / lr, while large batches hold it near the threshold 2 (1 + mu) / lr (Andreyev et al.
        2026, arXiv:2604.14108); without, both are 2 / lr (Andreyev and Beneventano 2024, arXiv:2412.20553).
        """
        return None

    def small_batch_thresholds(self, steps: int) -> list[float] | None:
        threshold = self.small_batch_threshold()
        return None if threshold is None else [float(threshold)] * steps

    def thresholds(self, steps: int) -> list[float] | None:
        threshold = self.stability_threshold()
        return None if threshold is None else [float(threshold)] * steps

    def preconditioner(self, state: State) -> Tensor | None:
        """The diagonal P (..., dim) of the last step w - lr * P^-1 m, bias-corrected; None before the first step.

        Only rules that precondition have one (see `preconditions`). What corrects the average of the gradients m itself for its
        start at zero, Adam's 1 / (1 - beta1^t), is not in P, as it is not in that of Cohen et al. 2022, arXiv:2207.14484: P
        describes the step once that has settled. At step 5 of beta1 = 0.9 the step is 2.44 times that much longer, at 22 1.1.
        """
        return None

    def preconditioned_threshold(self) -> Value | None:
        """The largest eigenvalue of P^-1/2 (H + felt_decay) P^-1/2 at which the rule converges on a quadratic once P has settled.

        None where no such number exists (Cohen et al. 2022, arXiv:2207.14484).
        """
        return None

    @property
    def felt_decay(self) -> Value:
        """What a weight decay inside the gradient adds to each eigenvalue of the Hessian, for rules that precondition.

        For others it is taken off the threshold instead (see `stability_threshold`).
        """
        return self.weight_decay_used if self.preconditions and self.couples_decay else 0.0

    @property
    def weight_decay_used(self) -> Value:
        """Its weight decay; 0 for a rule that has none."""
        decay: Value = self.values().get("weight_decay", 0.0)
        return decay

    def preconditioned_thresholds(self, steps: int) -> list[float] | None:
        threshold = self.preconditioned_threshold()
        return None if threshold is None else [float(threshold)] * steps

    @property
    def has_momentum(self) -> bool:
        """Does it carry earlier steps on?"""
        return not is_zero(self.values().get("momentum", 0.0))

    @property
    def threshold_text(self) -> str:
        """stability_threshold() as people write it, with the part that weight decay takes: "2/η", "2/η − λ"."""
        if self.couples_decay and self.threshold and not is_zero(self.weight_decay_used):
            return f"{self.threshold} − λ"
        return self._decayed(self.threshold)

    @property
    def small_batch_threshold_text(self) -> str:
        """small_batch_threshold() as people write it, with the part that weight decay takes."""
        return f"{self.small_batch_text} − λ" if not is_zero(self.weight_decay_used) else self.small_batch_text

    @property
    def scaled_threshold_text(self) -> str:
        """preconditioned_threshold() as people write it, with the part that weight decay takes."""
        return self._decayed(self.scaled_threshold)

    def _decayed(self, text: str) -> str:
        return f"{text} · (1 − ηλ/2)" if self.decouples_decay and text and not is_zero(self.weight_decay_used) else text

    def to(self, like: Tensor) -> Self:
        moved: dict[str, Any] = {
            name: value.to(like) for name, value in self.values().items() if isinstance(value, Tensor)
        }
        return dataclasses.replace(self, **moved) if moved else self

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        return tensors_of(self)

    @property
    def rule(self) -> Self:
        return self

    @property
    def title(self) -> str:
        return self.label

    def at(self, lr: float | Tensor) -> Self:
        return changed(self, lr=lr)

    def scaled(self, factor: float | Tensor) -> Self:
        return changed(self, lr=self.lr * factor)

    def step_factors(self, steps: int) -> list[float]:
        return [1.0] * steps

    def planned(self, steps: int, rehearse: Rehearsal) -> Self:
        return self


def tensors_of(declared: Declared) -> Iterator[tuple[str, Tensor]]:
    """Its own settings that hold one value per run."""
    for name, value in declared.values().items():
        if isinstance(value, Tensor) and value.ndim:
            yield f"{name} of {declared.name}", value


def ema(average: Tensor, new: Tensor, decay: Value) -> Tensor:
    """Exponential moving average: decay * average + (1 - decay) * new."""
    return torch.lerp(average, new, 1 - decay)


def moved(params: Tensor, direction: Tensor, lr: Value) -> Tensor:
    """params - lr * direction."""
    if isinstance(lr, Tensor):
        return torch.addcmul(params, direction, lr, value=-1)
    return torch.add(params, direction, alpha=-lr)


def coupled_decay(params: Tensor, grad: Tensor, weight_decay: Value) -> Tensor:
    """The gradient of the loss plus weight_decay / 2 * |params|^2."""
    return grad if is_zero(weight_decay) else moved(grad, params, -weight_decay)


def decoupled_decay(params: Tensor, lr: Value, weight_decay: Value) -> Tensor:
    """params shrunk by the factor 1 - lr * weight_decay (Loshchilov and Hutter 2017, arXiv:1711.05101)."""
    return params if is_zero(weight_decay) else params * (1 - lr * weight_decay)


def over(value: Value, lr: Value) -> Value:
    """value / lr, and infinity over 0: a rule that does not move is stable everywhere."""
    return math.inf if is_zero(lr) else value / lr


def decayed_threshold(threshold: Value, lr: Value, weight_decay: Value) -> Value:
    """The threshold where w also shrinks by the share lr * weight_decay: -1 stays the first root to leave the circle."""
    return threshold * (1 - lr * weight_decay / 2)


def is_zero(value: Value) -> bool:
    """Is the hyper-parameter switched off for every run? Tensors are never looked into: that would wait for a GPU."""
    return not isinstance(value, Tensor) and value == 0


def weight_decay_setting(default: float = 0.0, kind: str = "added to the gradient (L2)") -> Any:
    return setting(default, 0.0, 100.0, scale=(0.0, 1.0), symbol=r"\lambda", help=f"Weight decay, {kind}.")


def decay_rate(default: float, symbol: str, help: str) -> Any:
    """A momentum or averaging coefficient in [0, 1)."""
    return setting(default, 0.0, 1.0, high_open=True, symbol=symbol, help=help)


def step_size_setting(default: float) -> Any:
    """`lr` with another default than Optimizer's."""
    return setting(
        default,
        0.0,
        1e4,
        log=True,
        scale=(1e-5, 10.0),
        label="Step size",
        symbol=r"\eta",
        help="How far one step goes.",
    )


def epsilon_setting(default: float, above_zero: bool = False) -> Any:
    return setting(
        default, 0.0, 1.0, low_open=above_zero, log=True, scale=(1e-12, 1e-1), symbol=r"\epsilon",
        help="Keeps the denominator above zero.",
    )  # fmt: skip
