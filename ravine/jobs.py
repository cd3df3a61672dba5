"""Long computations off the script's thread: progress, cancel, one computation for all who ask for the same thing.

Knows nothing of Streamlit: a page submits an experiment, polls the job it got, and draws what is there.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from ravine.cuts import Known
from ravine.engine import computing
from ravine.experiment import Experiment
from ravine.result import Result
from ravine.store import Store

QUEUED, RUNNING, DONE, CANCELLED, FAILED = "queued", "running", "done", "cancelled", "failed"


class Busy(RuntimeError):
    """The queue is full: a sentence for the visitor."""


@dataclass(eq=False)
class Job:
    """One computation and who waits for it. Read it freely; only the manager changes it."""

    experiment: Experiment
    state: str = QUEUED
    result: Result | None = None  # partial until done
    error: str = ""
    seconds: float = 0.0  # of computing so far
    owners: dict[str, float] = field(default_factory=dict)  # visitor -> when last seen
    steps: Iterator[Result] | None = field(default=None, repr=False)  # where it goes on
    begun: tuple[float, float] | None = (
        None  # seconds and share when the first result came: what was kept costs nothing
    )

    @property
    def active(self) -> bool:
        return self.state in (QUEUED, RUNNING)

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        return self.result.done / self.result.total if self.result is not None else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Of computing, at the pace so far; None until there is a pace."""
        seconds, share = self.begun or (0.0, 0.0)
        gained = self.share - share
        return (self.seconds - seconds) * (1 - self.share) / gained if gained > 0.02 else None


class Jobs:
    """A queue served by a few threads, fair between visitors: each job has a turn of a second or so, and the next turn is
    that of the visitor who has waited longest.

    A visitor has at most `per_visitor` jobs: one more gives up the oldest. A job nobody has polled for `forget_after`
    seconds is cancelled, and already after `yield_after` if others wait. Pieces of sweeps and slices go to `executor`, by
    default a pool of threads.
    """

    def __init__(
        self,
        store: Store,
        workers: int = 1,
        queue: int = 60,
        per_visitor: int = 1,
        forget_after: float = 60.0,
        yield_after: float = 5.0,
        turn: float = 1.0,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store = store
        self._limit, self._per_visitor, self._turn, self._clock = queue, per_visitor, turn, clock
        self._forget_after, self._yield_after = forget_after, yield_after
        self._jobs: dict[str, Job] = {}  # by the experiment's key, in the order in which they came
        self._waiting: list[Job] = []
        self._turns = 0  # given so far
        self._served: dict[str, int] = {}  # visitor -> the last turn given to a job of theirs
        self._changed = threading.Condition()
        self._known = Known()
        cores = os.cpu_count() or 1
        self._executor: Executor = executor or ThreadPoolExecutor(
            cores, "ravine-pieces", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"ravine-job-{index}", daemon=True) for index in range(workers)
        ]
        for worker in self._workers:
            worker.start()
        atexit.register(self.close)  # a thread that is in torch when Python ends takes the process down with it

    def close(self, patience: float = 5.0) -> None:
        """Cancels everything, and waits so many seconds at most until the workers have ended."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                for owner in list(job.owners):
                    self._leave(job, owner)
            self._changed.notify_all()
        until = time.monotonic() + patience
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))

    def submit(self, experiment: Experiment, owner: str) -> Job:
        """The job for an experiment: the one that is there, or a new one. Raises Busy if too many wait already."""
        now = self._clock()
        with self._changed:
            self._reap(now)
            job = self._jobs.get(experiment.key)
            new = job is None or job.state in (CANCELLED, FAILED)
            mine = [
                other for other in self._jobs.values() if other is not job and other.active and owner in other.owners
            ]
            given_up = mine[: max(0, len(mine) + 1 - self._per_visitor)]
            freed = sum(other in self._waiting and set(other.owners) == {owner} for other in given_up)
            if new and len(self._waiting) - freed >= self._limit:
                raise Busy(f"{self._limit} computations are waiting already. Please try again in a minute.")
            for other in self._jobs.values():
                if other in given_up or (other is not job and not other.active):
                    self._leave(other, owner)
            if job is None or new:
                job = self._jobs[experiment.key] = Job(experiment)
                self._waiting.append(job)
                self._changed.notify()
            job.owners[owner] = now
            return job

    def poll(self, experiment: Experiment, owner: str) -> Job | None:
        """The visitor's job for an experiment, if there is one; being asked for keeps it alive."""
        now = self._clock()
        with self._changed:
            job = self._jobs.get(experiment.key)
            if job is not None and job.active:
                job.owners[owner] = now
            self._reap(now)
            return self._jobs.get(experiment.key)

    def cancel(self, experiment: Experiment, owner: str) -> None:
        """The visitor no longer waits. The computation ends unless somebody else waits for it; its partial result stays."""
        with self._changed:
            job = self._jobs.get(experiment.key)
            if job is not None and owner in job.owners:
                self._leave(job, owner)
                if not job.active:  # kept for its visitor until forgotten
                    job.owners[owner] = self._clock()

    def first(self, job: Job, patience: float) -> None:
        """Wait until a job has something to show or is over, but no longer than `patience` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: job.result is not None or not job.active, patience)

    def ahead(self, job: Job) -> int:
        """How many computations come before a waiting one."""
        with self._changed:
            return sorted(self._waiting, key=self._waited).index(job) if job in self._waiting else 0

    def _leave(self, job: Job, owner: str) -> None:
        job.owners.pop(owner, None)
        if job.active and not job.owners:
            job.state = CANCELLED
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job)

    def _reap(self, now: float) -> None:
        # A browser's hidden tab asks seldom: it may take its time unless somebody waits for the place.
        patience = min(self._yield_after, self._forget_after) if self._waiting else self._forget_after
        for key, job in list(self._jobs.items()):
            for owner, seen in list(job.owners.items()):
                if now - seen > patience:
                    self._leave(job, owner)
            if not job.active and not job.owners:
                del self._jobs[key]

    def _waited(self, job: Job) -> int:
        """The turn since which a job's visitors wait: the smallest comes next, and of equals who came first."""
        return min((self._served.get(owner, 0) for owner in job.owners), default=0)

    def _next(self) -> Job:
        job = min(self._waiting, key=self._waited)
        self._waiting.remove(job)
        self._turns += 1
        known = {owner for other in self._jobs.values() for owner in other.owners}
        self._served = {owner: turn for owner, turn in self._served.items() if owner in known}
        self._served |= dict.fromkeys(job.owners, self._turns)
        return job

    def _end(self, job: Job) -> None:
        """Let go of what a computation holds."""
        steps, job.steps = job.steps, None
        if steps is not None:
            steps.close()  # type: ignore[attr-defined]

    def _work(self) -> None:
        torch.set_num_threads(1)
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._next()
                job.state = RUNNING
            try:
                goes_on = self._advance(job)
            except Exception as failure:  # whatever a computation raises must reach its visitor, not end the worker
                goes_on = False
                with self._changed:
                    if job.state == RUNNING:  # else it was cancelled: nobody waits for a sentence
                        job.state, job.error = FAILED, f"{type(failure).__name__}: {failure}"
            with self._changed:
                if goes_on and job.state == RUNNING:
                    self._waiting.append(job)
                else:
                    self._end(job)
                self._changed.notify_all()

    def _advance(self, job: Job) -> bool:
        """One turn of a job. Does it go on after it?"""
        began, before = self._clock(), job.seconds
        if job.steps is None:
            job.steps = computing(job.experiment, store=self.store, executor=self._executor, known=self._known)
        for result in job.steps:
            with self._changed:
                if job.state != RUNNING:
                    return False
                job.result, job.seconds = result, before + self._clock() - began
                if job.begun is None:
                    job.begun = job.seconds, job.share
                self._changed.notify_all()
                self._reap(self._clock())
                if self._waiting and self._clock() - began >= self._turn:
                    return True
        with self._changed:
            if job.state == RUNNING:
                job.state = DONE
        return False
