"""One computation in the queue with who waits for it, and the slot that serves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ravine import memory as taking
from ravine.cuts import trainings
from ravine.experiment import Experiment
from ravine.place import Place, Steps
from ravine.tasks import Task

QUEUED, RUNNING, DONE, CANCELLED, FAILED = "queued", "running", "done", "cancelled", "failed"


@dataclass(eq=False)
class Slot:
    """One of those that compute: a thread that serves one job at a time, in a place of its own."""

    place: Place | None = None
    job: Job | None = None
    began: float = 0.0  # when its turn did
    charged: dict[str, float] = field(default_factory=dict)  # visitor -> seconds that the turn was to take
    idle: bool = False  # does it wait for a job?
    aside: bool = False  # another has taken its part, and it only finishes what it has


@dataclass(eq=False)
class Job:
    """One computation and who waits for it. Read it freely; only the manager changes it."""

    task: Task
    state: str = QUEUED
    result: Any = None  # the answer, partial until done
    given: int = 0  # answers so far
    error: str = ""
    seconds: float = 0.0  # of computing so far
    owners: dict[str, float] = field(default_factory=dict)  # visitor -> when last seen
    steps: Steps | None = field(default=None, repr=False)  # where it goes on
    home: Slot | None = field(default=None, repr=False)  # who alone can go on with them
    took: float | None = None  # seconds of its last turn, as long as those are while others wait
    step: float = 0.0  # seconds of the longest step in it
    losses: int = 0  # of workers that ended while they computed it
    silent: float = 0.0  # seconds since it last gave a sign of life, as far as can be told
    begun: tuple[float, float] | None = (
        None  # seconds and share when the first result came: what was kept costs nothing
    )

    @property
    def active(self) -> bool:
        return self.state in (QUEUED, RUNNING)

    @cached_property
    def trainings(self) -> dict[str, Experiment]:
        """What it begins with, and others may begin with too or be, by the keys."""
        return {one.key: one for one in trainings(self.task)} if isinstance(self.task, Experiment) else {}

    @cached_property
    def memory(self) -> int:
        """Bytes that it holds from its first step to its last, by prediction."""
        return taking.of(self.task).lasting if isinstance(self.task, Experiment) else 0

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        return self.result.done / self.result.total if self.result is not None else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Of computing without a pause, at the pace so far; None until there is a pace."""
        seconds, share = self.begun or (0.0, 0.0)
        gained = self.share - share
        return (self.seconds - seconds) * (1 - self.share) / gained if gained > 0.02 else None
