"""Where jobs are computed: a worker process (see ravine.crew), or this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Protocol

from ravine.cuts import Known
from ravine.store import Store
from ravine.tasks import Answer, Task, answers

FIRST_TURN = 0.4  # seconds of the first turn of a computation, as far as there is something to see then


class Steps(Protocol):
    """A computation that goes on when it is pulled."""

    resting: bool  # is nothing computed until the next pull?
    seconds: float  # that it was computed, up to its last sign of life
    silent_for: Callable[
        [float], object
    ]  # called now and then while a pull waits, with the seconds since a sign of life

    def __iter__(self) -> Iterator[Answer]: ...

    def __next__(self) -> Answer: ...

    def give_up(self) -> None:
        """Says, from another thread, that nobody wants it any more: a pull that waits raises GivenUp if it can."""

    def close(self) -> None: ...


class Place(Protocol):
    """Where jobs are computed, one at a time: a worker process, or this one."""

    stays: bool  # must a computation go on where it began?

    @property
    def ready(self) -> bool:
        """Has it started?"""

    @property
    def ended(self) -> bool: ...

    def steps(self, task: Task) -> Steps: ...

    def step_back(self) -> None:
        """Leave the processors to others."""

    def close(self) -> None: ...


class Here:
    """This process, in the thread that pulls: what hangs cannot be ended, and ends a cancelled one at its next result."""

    stays, ready, ended = False, True, False

    def __init__(self, store: Store, executor: Executor | None = None, known: Known | None = None):
        self._options = {"store": store, "executor": executor, "known": known}

    def steps(self, task: Task) -> Steps:
        return _Generated(answers(task, **self._options))  # type: ignore[arg-type]

    def step_back(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Generated:
    """A generator as steps."""

    resting = True

    def __init__(self, results: Iterator[Answer]):
        self._results, self.seconds = results, 0.0
        self.silent_for: Callable[[float], object] = lambda seconds: None

    def __iter__(self) -> Iterator[Answer]:
        return self

    def __next__(self) -> Answer:
        began = time.monotonic()
        try:
            return next(self._results)
        finally:
            self.seconds += time.monotonic() - began

    def give_up(self) -> None:
        pass

    def close(self) -> None:
        self._results.close()  # type: ignore[attr-defined]
