"""What a probe is, and the moment it looks at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from landscapes import Landscape
from landscapes.setting import Declared
from optimizers.stepper import State, Stepper

Memory = Any  # what a probe carries from one measurement to the next


class Moment(NamedTuple):
    """One step of N rules side by side, before they take it."""

    landscape: Landscape
    rules: tuple[Stepper, ...]  # N
    states: tuple[State, ...]  # N, before the step
    step: int
    params: Tensor  # (N, ..., dim)
    loss: Tensor  # (N, ...), on this step's batch
    grad: Tensor  # (N, ..., dim), likewise
    batches: tuple[Tensor | None, ...]  # sample indices (b,) of this step for each rule; None where it sees all
    update: Callable[[], Tensor]  # computes what the rules are about to add to params (N, ..., dim), changing nothing


@dataclass(frozen=True)
class Probe(Declared):
    """A quantity measured along a run, one number per run or one vector; pure, with explicit memory.

    Fields are its settings, so a probe is its own specification, as landscapes and rules are.
    """

    symbol: ClassVar[str]  # LaTeX
    reference: ClassVar[str]
    help: ClassVar[str]  # one sentence: what it shows
    follows: ClassVar[bool] = False  # must it see every step?
    bars: ClassVar[float] = (
        0.0  # where the last of two entries is the error of the first: so many to either side in a figure
    )

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        """Why this probe cannot be measured here, in one sentence; empty where it can."""
        return ""

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        """What the numbers are where each measurement is a vector of them; empty where it is one number."""
        return ()

    def vectors(self, landscape: Landscape, runs: int) -> int:
        """Parameter vectors of each of `runs` runs that one measurement holds at most, memory included."""
        return 8

    @abstractmethod
    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        """The values (N, ...), or (N, ..., m) for m entries, and the memory for the next; the first memory is None."""

    def follow(self, moment: Moment, memory: Memory) -> Memory:
        """The memory after the step that is about to be taken; called at every step, for probes that follow."""
        return memory


def unmeasured(like: Tensor) -> Tensor:
    """NaN in the shape of a measurement: the placeholder for a step at which nothing was measured."""
    return torch.full_like(like, torch.nan)


def by_rule(moment: Moment, measure: Callable[[Stepper, State], Tensor | None]) -> Tensor:
    """(N, ..., dim): what `measure` finds for each rule, NaN where it finds nothing."""
    found = zip(moment.rules, moment.states, moment.params.unbind(), strict=True)
    rows = []
    for rule, state, own in found:
        row = measure(rule, state)
        rows.append(unmeasured(own) if row is None else row.expand_as(own))
    return torch.stack(rows)


def check(probes: Sequence[Probe], landscape: Landscape, rules: Sequence[Stepper]) -> None:
    """Raises ValueError with the sentence of the first probe that cannot be measured."""
    for probe in probes:
        for rule in rules:
            if refusal := probe.refusal(landscape, rule):
                raise ValueError(refusal)
