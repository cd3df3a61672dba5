"""What a runner runs: anything with a pure pair `init` / `step`. A rule is one; so is a wrapper around another stepper."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

if TYPE_CHECKING:
    from optimizers.optimizer import Optimizer, Oracle

State = tuple[Any, ...]
Rehearsal = Callable[["Stepper"], Tensor]  # runs a stepper and returns its gradient norms (..., steps)


class Stepper(ABC):
    """A pure pair `init` / `step`, batched over leading dimensions."""

    @property
    @abstractmethod
    def rule(self) -> Optimizer:
        """The rule inside all wrappers; a rule itself."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What people read: the rule, and what is around it."""

    @abstractmethod
    def init(self, params: Tensor) -> State:
        """The state before the first step, for params (..., dim)."""

    @abstractmethod
    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        """One step: new params (..., dim) and the new state."""

    @abstractmethod
    def point(self, params: Tensor, state: State) -> Tensor:
        """The point (..., dim) that is returned at this state: `params` itself unless the rule averages its iterates."""

    @abstractmethod
    def to(self, like: Tensor) -> Self:
        """The same with its tensor-valued hyper-parameters in the dtype and on the device of `like`."""

    @abstractmethod
    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The tensor-valued hyper-parameters that hold one value per run, with a name for messages."""

    @abstractmethod
    def scaled(self, factor: float | Tensor) -> Self:
        """The same with its step size times `factor`: what a schedule does at each step."""

    @abstractmethod
    def at(self, lr: float | Tensor) -> Self:
        """The same at another step size, or at several: (..., 1), one a run."""

    @abstractmethod
    def step_factors(self, steps: int) -> list[float] | None:
        """By what schedules multiply the rule's step size at each of `steps` steps.

        None where that is not known: before a rehearsal, and where each of several runs has factors of its own.
        """

    @abstractmethod
    def thresholds(self, steps: int) -> list[float] | None:
        """The stability threshold at each of `steps` steps (see Optimizer.stability_threshold); None where there is none."""

    @abstractmethod
    def small_batch_thresholds(self, steps: int) -> list[float] | None:
        """As `thresholds`, of the batch sharpness with small batches (see Optimizer.small_batch_threshold)."""

    @abstractmethod
    def preconditioner(self, state: State) -> Tensor | None:
        """The diagonal P (..., dim) by which the rule divided its last momentum; None where it has none (yet)."""

    @abstractmethod
    def preconditioned_thresholds(self, steps: int) -> list[float] | None:
        """As `thresholds`, on the eigenvalues of P^-1/2 H P^-1/2 (see Optimizer.preconditioned_threshold)."""

    @abstractmethod
    def planned(self, steps: int, rehearse: Rehearsal) -> Stepper:
        """The same, told how many steps it will make; called once before a run."""


def changed(one: Any, **values: Any) -> Any:
    """A copy of a frozen dataclass with some fields changed and not checked again: schedules do this at every step."""
    other = copy.copy(one)
    for name, value in values.items():
        object.__setattr__(other, name, value)
    return other
