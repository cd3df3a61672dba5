"""What somebody waits for and a worker answers: an experiment, or any other question that one function of ours answers.

Each has a key, equal for equal answers, and a time that it is predicted to take (see ravine.work): what is short is answered
while its visitor waits (ravine.desk), everything else in the queue (ravine.jobs).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor

from ravine import own
from ravine.cuts import Known
from ravine.engine import computing
from ravine.experiment import Experiment
from ravine.store import Store
from ravine.telling import telling

T = TypeVar("T")
_SHORT = 0.5  # seconds that a visitor waits for without a word
_PARTS = 1000  # pieces that an inquiry counts as
_UNALLOCATED = "DefaultCPUAllocator: "  # torch's words, in a RuntimeError, for memory that it did not get
_AROUND = 1 << 10  # bytes of an answer that are none of its tensors'


class Task(Protocol):
    """Something to answer."""

    @property
    def key(self) -> str:
        """Equal keys, equal answers."""

    @property
    def seconds(self) -> float:
        """What it is predicted to take."""


class Answer(Protocol):
    """What is there of an answer: `done` of `total` pieces."""

    recalled: bool  # does it believe what an earlier one has found? Then it is not stored

    @property
    def done(self) -> int: ...

    @property
    def total(self) -> int: ...

    @property
    def phase(self) -> str: ...

    @property
    def complete(self) -> bool: ...

    @property
    def visible(self) -> bool:
        """Is there something to see?"""

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True)
class Found(Generic[T]):
    """The answer of an inquiry: a value, or how far it is."""

    given: T | None
    done: int = 1
    total: int = 1
    phase: str = ""
    recalled: ClassVar[bool] = False

    @property
    def complete(self) -> bool:
        return self.done >= self.total

    @property
    def visible(self) -> bool:
        return self.complete

    @property
    def value(self) -> T:
        """What was asked for. Raises ValueError where it is not there yet."""
        if not self.complete:
            raise ValueError("The answer is not complete.")
        return cast(T, self.given)

    @cached_property
    def nbytes(self) -> int:
        """Memory held by it, about."""
        return _AROUND + _bytes(self.given)


@dataclass(frozen=True)
class Inquiry(Generic[T]):
    """A function of ours and what to ask it. Both travel to a worker: the function by its name, experiments by their links.

    Where the function takes a `tell`, it calls that with the share of its work that is done, from 0 to 1, and a few words.
    """

    answer: Callable[..., T]
    given: tuple[Any, ...]
    about: str  # equal texts for equal `given`
    seconds: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.answer.__module__}.{self.answer.__qualname__}?{self.about}"

    def answers(self) -> Iterator[Found[T]]:
        """How far it is from time to time, and at last the answer."""
        if "tell" in inspect.signature(self.answer).parameters:
            told = telling(lambda tell: self.answer(*self.given, tell=tell))
            try:
                while True:
                    share, phase = next(told)
                    yield Found(None, int((_PARTS - 1) * share), _PARTS, phase)
            except StopIteration as end:
                found: T = end.value
            finally:
                told.close()
            yield Found(found)
        else:
            yield Found(self.answer(*self.given))


def is_short(task: Task) -> bool:
    """Is it there before its visitor would want to know how far it is?"""
    return task.seconds <= _SHORT


def answers(
    task: Task, *, store: Store | None = None, executor: Executor | None = None, known: Known | None = None
) -> Iterator[Any]:
    """The answer as it grows; the last is complete, and kept in the store. Stop pulling to cancel. The options are those of
    `computing`.
    """
    if isinstance(task, Experiment):
        yield from computing(task, store=store, executor=executor, known=known)
        return
    assert isinstance(task, Inquiry)
    found = store.get(task) if store is not None else None
    if found is not None:
        yield found
        return
    for found in task.answers():
        if found.complete and store is not None:
            store.remember(task.key, found)
        yield found


def said(failure: BaseException) -> str:
    """A failure as a sentence."""
    if isinstance(failure, (MemoryError, torch.OutOfMemoryError)) or _UNALLOCATED in str(failure):
        return "There was not enough memory for it: fewer runs, a smaller network or fewer samples need less."
    if type(failure) is ValueError and not own.where(failure):  # our own refusals are sentences already
        return str(failure)
    return own.told(failure)


def _bytes(value: Any) -> int:
    """Those of the tensors and texts in a value."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes, value))
    return sum(map(_bytes, vars(value).values())) if hasattr(value, "__dataclass_fields__") else 0
