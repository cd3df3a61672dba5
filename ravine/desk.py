"""What a page shows at once: answered while its visitor waits, for one visitor at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ravine.crew import Failed, Lost
from ravine.place import Place, Steps
from ravine.store import Store
from ravine.tasks import Answer, Task, is_short, said
from ravine.turns import Turns

_REMEMBERED = 1000  # tasks that took longer than they were to


class Memory:
    """The keys of tasks that are none for a desk, the latest of them. Several desks share one."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        self._keys[key] = None
        while len(self._keys) > _REMEMBERED:
            self._keys.popitem(last=False)


class Late(Exception):
    """The task takes longer than anybody waits for at the desk: it is one for the queue."""


class Desk:
    """One place where short tasks take turns, in the order in which their visitors came; one in several steps lets the others
    in at each of its answers. What has taken `patience` seconds of the place is ended, for all others wait for it.

    One at a time, since torch gives the interpreter away at each of thousands of tiny operations: several at once in this
    process would spend most of their time on getting it back.
    """

    def __init__(self, store: Store, hire: Callable[[], Place], patience: float = 5.0, late: Memory | None = None):
        self._store, self._hire, self._patience = store, hire, patience
        self._turns = Turns()
        self._place: Place | None = None
        self._late = Memory() if late is None else late

    @property
    def people(self) -> int:
        """How many are served or wait."""
        return len(self._turns)

    @property
    def ready(self) -> bool:
        """Would nobody have to wait for its process to start?"""
        place = self._place
        return place is not None and place.ready and not place.ended

    def open(self) -> None:
        """Start the place before anybody waits for it."""
        if self._place is None or self._place.ended:
            with self._turns, suppress(OSError):
                self._here()

    def takes(self, task: Task) -> bool:
        """Is it short, by prediction and by what is known of it?"""
        return is_short(task) and task.key not in self._late

    def answer(self, task: Task) -> Any:
        """The complete answer. Raises Failed, with a sentence, for what fails, and Late for what is not short."""
        found = self._store.get(task)
        if found is not None:
            return found
        if not self.takes(task):
            raise Late
        try:
            return self._answered(task)
        except Lost:  # once it may be chance
            try:
                return self._answered(task)
            except Lost as loss:
                raise Failed(f"The process that computed it has ended twice: {loss}.") from loss

    def _answered(self, task: Task) -> Answer:
        begun: tuple[Place, Steps] | None = None
        while True:
            with self._turns:
                place = self._here()
                if begun is None or begun[0] is not place:
                    begun = place, place.steps(task)
                answer = self._turn(begun[1], task)
            if answer.complete:
                return answer

    def _turn(self, steps: Steps, task: Task) -> Answer:
        """Answers until it is complete, or rests and others may come in between."""

        def watch(silent: float = 0.0) -> None:
            if steps.seconds + silent >= self._patience:
                self._late.add(task.key)
                raise Late

        steps.silent_for = watch
        try:
            while not (answer := next(steps)).complete:
                watch()
                if steps.resting:
                    return answer
            steps.close()
            return answer
        except BaseException as failure:
            steps.close()  # as long as it is our turn: nobody is to wait for what we have left behind
            if isinstance(failure, (Failed, Late, Lost)) or not isinstance(failure, Exception):
                raise
            raise Failed(said(failure)) from failure

    def _here(self) -> Place:
        if self._place is not None and self._place.ended:
            self._place.close()
            self._place = None
        if self._place is None:
            self._place = self._hire()
        return self._place
