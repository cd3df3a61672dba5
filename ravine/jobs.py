"""Long computations off the script's thread: progress, cancel, one computation for all who ask for the same thing.

Knows nothing of Streamlit: a page submits an experiment, polls the job it got, and draws what is there.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from ravine.engine import computing
from ravine.experiment import Experiment
from ravine.result import Result
from ravine.store import Store

QUEUED, RUNNING, DONE, CANCELLED, FAILED = "queued", "running", "done", "cancelled", "failed"


class Busy(RuntimeError):
    """The queue is full: a sentence for the visitor."""


@dataclass
class Job:
    """One computation and who waits for it. Read it freely; only the manager changes it."""

    experiment: Experiment
    state: str = QUEUED
    result: Result | None = None  # partial until done
    error: str = ""
    seconds: float = 0.0  # of computing so far
    owners: dict[str, float] = field(default_factory=dict)  # visitor -> when last seen

    @property
    def active(self) -> bool:
        return self.state in (QUEUED, RUNNING)


class Jobs:
    """A queue served by a few threads. A visitor has one job at a time: a new one gives up the old.

    A job nobody has polled for `forget_after` seconds is cancelled, and already after `yield_after` if others wait.
    """

    def __init__(
        self,
        store: Store,
        workers: int = 1,
        queue: int = 60,
        forget_after: float = 60.0,
        yield_after: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store = store
        self._limit, self._clock = queue, clock
        self._forget_after, self._yield_after = forget_after, yield_after
        self._jobs: dict[str, Job] = {}  # by the experiment's key
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        cores = os.cpu_count() or 1
        self._rows: Executor = ThreadPoolExecutor(
            cores, "ravine-rows", initializer=torch.set_num_threads, initargs=(1,)
        )
        for index in range(workers):
            threading.Thread(target=self._work, name=f"ravine-job-{index}", daemon=True).start()

    def submit(self, experiment: Experiment, owner: str) -> Job:
        """The job for an experiment: the one that is there, or a new one. Raises Busy if too many wait already."""
        now = self._clock()
        with self._changed:
            self._reap(now)
            job = self._jobs.get(experiment.key)
            new = job is None or job.state in (CANCELLED, FAILED)
            given_up = sum(set(other.owners) == {owner} for other in self._waiting)
            if new and len(self._waiting) - given_up >= self._limit:
                raise Busy(f"{self._limit} computations are waiting already. Please try again in a minute.")
            for other in self._jobs.values():
                if other is not job:
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
        """How many computations come before a queued one."""
        with self._changed:
            return self._waiting.index(job) if job in self._waiting else 0

    def _leave(self, job: Job, owner: str) -> None:
        job.owners.pop(owner, None)
        if job.active and not job.owners:
            job.state = CANCELLED
            if job in self._waiting:
                self._waiting.remove(job)

    def _reap(self, now: float) -> None:
        # A browser's hidden tab asks seldom: it may take its time unless somebody waits for the place.
        patience = min(self._yield_after, self._forget_after) if self._waiting else self._forget_after
        for key, job in list(self._jobs.items()):
            for owner, seen in list(job.owners.items()):
                if now - seen > patience:
                    self._leave(job, owner)
            if not job.active and not job.owners:
                del self._jobs[key]

    def _work(self) -> None:
        torch.set_num_threads(1)
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                job = self._waiting.popleft()
                job.state = RUNNING
            began = self._clock()
            try:
                for result in computing(job.experiment, store=self.store, executor=self._rows):
                    with self._changed:
                        if job.state != RUNNING:
                            break
                        job.result, job.seconds = result, self._clock() - began
                        self._changed.notify_all()
                        self._reap(self._clock())
                else:
                    with self._changed:
                        if job.state == RUNNING:
                            job.state = DONE
            except Exception as failure:  # whatever a computation raises must reach its visitor, not end the worker
                with self._changed:
                    if job.state != RUNNING:  # cancelled: nobody waits for a sentence
                        continue
                    job.state, job.error = FAILED, f"{type(failure).__name__}: {failure}"
