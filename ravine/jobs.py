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
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import torch

from ravine.crew import Crew, Failed, GivenUp, Lost
from ravine.cuts import Known
from ravine.engine import computing
from ravine.experiment import Experiment
from ravine.result import Result
from ravine.store import Store
from ravine.worker import said

QUEUED, RUNNING, DONE, CANCELLED, FAILED = "queued", "running", "done", "cancelled", "failed"


class Busy(RuntimeError):
    """The queue is full: a sentence for the visitor."""


class Steps(Protocol):
    """A computation that goes on when it is pulled."""

    resting: bool  # is nothing computed until the next pull?
    silent_for: Callable[
        [float], object
    ]  # called now and then while a pull waits, with the seconds since a sign of life

    def __iter__(self) -> Iterator[Result]: ...

    def __next__(self) -> Result: ...

    def give_up(self) -> None:
        """Says, from another thread, that nobody wants it any more: a pull that waits raises GivenUp if it can."""

    def close(self) -> None: ...


class Place(Protocol):
    """Where jobs are computed, one at a time: a worker process, or this one."""

    stays: bool  # must a computation go on where it began?

    @property
    def ended(self) -> bool: ...

    def steps(self, experiment: Experiment) -> Steps: ...

    def step_back(self) -> None:
        """Leave the processors to others."""

    def close(self) -> None: ...


class Here:
    """This process, in the thread that pulls: what hangs cannot be ended, and ends a cancelled one at its next result."""

    stays, ended = False, False

    def __init__(self, store: Store, executor: Executor | None = None, known: Known | None = None):
        self._options = {"store": store, "executor": executor, "known": known}

    def steps(self, experiment: Experiment) -> Steps:
        return _Generated(computing(experiment, **self._options))  # type: ignore[arg-type]

    def step_back(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Generated:
    """A generator as steps."""

    resting = True

    def __init__(self, results: Iterator[Result]):
        self._results = results
        self.silent_for: Callable[[float], object] = lambda seconds: None

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        return next(self._results)

    def give_up(self) -> None:
        pass

    def close(self) -> None:
        self._results.close()  # type: ignore[attr-defined]


@dataclass(eq=False)
class _Slot:
    """One of those that compute: a thread that serves one job at a time, in a place of its own."""

    place: Place | None = None
    job: Job | None = None
    idle: bool = False  # does it wait for a job?
    aside: bool = False  # another has taken its part, and it only finishes what it has


@dataclass(eq=False)
class Job:
    """One computation and who waits for it. Read it freely; only the manager changes it."""

    experiment: Experiment
    state: str = QUEUED
    result: Result | None = None  # partial until done
    error: str = ""
    seconds: float = 0.0  # of computing so far
    owners: dict[str, float] = field(default_factory=dict)  # visitor -> when last seen
    steps: Steps | None = field(default=None, repr=False)  # where it goes on
    home: _Slot | None = field(default=None, repr=False)  # who alone can go on with them
    losses: int = 0  # of workers that ended while they computed it
    silent: float = 0.0  # seconds since it last gave a sign of life, as far as can be told
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
    """A queue served by a few slots, fair between visitors: each job has a turn of a second or so, and the next turn is that
    of the visitor who has waited longest.

    A visitor has at most `per_visitor` jobs: one more gives up the oldest. A job nobody has polled for `yield_after`
    seconds comes after all others, and one not polled for `forget_after` is cancelled. With a `crew`, each slot has a worker
    process: a job that does not end when it is cancelled is killed with it, and one that gives no sign of life for
    `silence` seconds while others wait is set aside: another slot takes its part. So many are set aside as there are
    slots; then the one that has been silent longest is stopped. Without a crew, slots compute here, and pieces of sweeps and
    slices go to `executor`, by default a pool of threads.
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
        silence: float = 10.0,
        executor: Executor | None = None,
        crew: Crew | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store = store
        self._limit, self._per_visitor, self._turn, self._clock = queue, per_visitor, turn, clock
        self._forget_after, self._yield_after, self._silence = forget_after, yield_after, silence
        self._jobs: dict[str, Job] = {}  # by the experiment's key, in the order in which they came
        self._waiting: list[Job] = []
        self._turns = 0  # given so far
        self._served: dict[str, int] = {}  # visitor -> the last turn given to a job of theirs
        self._by: dict[str, _Slot] = {}  # visitor -> the slot that gave it
        self._changed = threading.Condition()
        self._crew, self._known = crew, Known()
        self._executor = executor
        if crew is None and executor is None:
            self._executor = ThreadPoolExecutor(
                os.cpu_count() or 1, "ravine-pieces", initializer=torch.set_num_threads, initargs=(1,)
            )
        self._closed = False
        self._slots: list[_Slot] = []
        self._workers: list[threading.Thread] = []
        with self._changed:
            for _ in range(workers):
                self._open()
        atexit.register(self.close)  # a thread that is in torch when Python ends takes the process down with it

    def close(self, patience: float = 5.0) -> None:
        """Cancels everything, and waits so many seconds at most until the workers have ended."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                for owner in list(job.owners):
                    self._leave(job, owner)
            self._changed.notify_all()
            threads = list(self._workers)
        until = time.monotonic() + patience
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if self._crew is not None:
            self._crew.close()

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

            def full() -> bool:
                freed = sum(other in self._waiting and set(other.owners) == {owner} for other in given_up)
                return len(self._waiting) - freed >= self._limit

            if new and full():
                self._make_room(now)
            if new and full():
                raise Busy(f"{self._limit} computations are waiting already. Please try again in a minute.")
            for other in self._jobs.values():
                if other in given_up or (other is not job and not other.active):
                    self._leave(other, owner)
            if job is None or new:
                job = self._jobs[experiment.key] = Job(experiment)
                self._waiting.append(job)
                self._changed.notify_all()
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
            return sorted(self._waiting, key=self._rank).index(job) if job in self._waiting else 0

    def _leave(self, job: Job, owner: str) -> None:
        job.owners.pop(owner, None)
        if job.active and not job.owners:
            job.state = CANCELLED
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job)
            elif job.steps is not None:
                job.steps.give_up()

    def _reap(self, now: float) -> None:
        for key, job in list(self._jobs.items()):
            for owner, seen in list(job.owners.items()):
                if now - seen > self._forget_after:
                    self._leave(job, owner)
            if not job.active and not job.owners:
                del self._jobs[key]

    def _late(self, job: Job, now: float) -> bool:
        """Has nobody asked for it of late? A hidden tab asks seldom, and under load any page does: it waits behind others."""
        return all(now - seen > self._yield_after for seen in job.owners.values())

    def _make_room(self, now: float) -> None:
        """Gives up, in a full queue, what nobody has asked for of late."""
        for job in [job for job in self._waiting if self._late(job, now)]:
            for owner in list(job.owners):
                self._leave(job, owner)

    def _rank(self, job: Job) -> tuple[bool, int]:
        """The smallest comes next: whoever waits since the earliest turn, and of equals who came first."""
        waited = min((self._served.get(owner, 0) for owner in job.owners), default=0)
        return self._late(job, self._clock()), waited

    def _next(self, slot: _Slot) -> Job | None:
        """The job that the slot goes on with, taken from those that wait."""
        own = [job for job in self._waiting if job.home is slot]
        if not slot.aside:
            own += [job for job in self._waiting if job.home is None and not self._sought(job, slot)]
            # Rather than nothing what another has begun: it goes on from what it has put on the shelf.
            own = own or [job for job in self._waiting if job.home is not None]
        if not own:
            return None
        job = min(own, key=self._rank)
        self._waiting.remove(job)
        if job.home not in (None, slot):
            self._end(job)
        self._turns += 1
        known = {owner for other in self._jobs.values() for owner in other.owners}
        self._served = {owner: turn for owner, turn in self._served.items() if owner in known}
        self._served |= dict.fromkeys(job.owners, self._turns)
        self._by = {owner: by for owner, by in self._by.items() if owner in known} | dict.fromkeys(job.owners, slot)
        return job

    def _sought(self, job: Job, slot: _Slot) -> bool:
        """Is another slot about to take it, where what its visitor looked at before is remembered?"""
        before = [self._by[owner] for owner in job.owners if owner in self._by]
        return slot not in before and any(one.idle for one in before)

    def _end(self, job: Job) -> None:
        """Let go of what a computation holds."""
        steps, job.steps, job.home = job.steps, None, None
        if steps is not None:
            steps.close()

    def _open(self) -> None:
        """One more slot."""
        slot = _Slot()
        self._slots.append(slot)
        thread = threading.Thread(target=self._work, args=(slot,), name=f"ravine-job-{len(self._workers)}", daemon=True)
        self._workers.append(thread)
        thread.start()

    def _work(self, slot: _Slot) -> None:
        torch.set_num_threads(1)
        while (job := self._taken(slot)) is not None:
            goes_on = self._served_once(job, slot)
            with self._changed:
                slot.job = None
                if goes_on and job.state == RUNNING:
                    self._waiting.append(job)
                    self._changed.notify_all()
                    continue
            self._end(job)  # may wait for a worker to obey
            with self._changed:
                self._changed.notify_all()
        with self._changed:
            self._slots.remove(slot)
            self._workers.remove(threading.current_thread())
        if slot.place is not None:
            slot.place.close()

    def _taken(self, slot: _Slot) -> Job | None:
        """Waits for a job; None when the slot is to end."""
        with suppress(OSError, RuntimeError):  # where no process starts, that is said of the next job
            self._settle(slot)
        with self._changed:
            while not self._closed:
                job = self._next(slot)
                if job is not None:
                    job.state, slot.job, job.silent = RUNNING, job, 0.0
                    return job
                if slot.aside:
                    return None
                slot.idle = True
                self._changed.wait()
                slot.idle = False
        return None

    def _settle(self, slot: _Slot) -> Place:
        """The slot's place; a new one for one that has ended, and then nothing is at home there any more."""
        if slot.place is not None and slot.place.ended:
            slot.place.close()
            with self._changed:
                slot.place = None
                for job in self._jobs.values():
                    if job.home is slot:
                        self._end(job)
        if slot.place is None:
            place: Place = self._crew.hire() if self._crew else Here(self.store, self._executor, self._known)
            slot.place = place
        return slot.place

    def _served_once(self, job: Job, slot: _Slot) -> bool:
        """One turn of a job, whatever becomes of it. Does it go on after it?"""
        error = ""
        try:
            return self._advance(job, slot)
        except GivenUp:
            return False
        except Lost as loss:  # not of our doing: once it may be chance
            job.losses += 1
            if job.losses == 1:
                return True
            error = f"The process that computed it has ended twice: {loss}."
        except Failed as failure:
            error = str(failure)
        except Exception as failure:  # whatever a computation raises must reach its visitor, not end the slot
            error = said(failure)
        with self._changed:
            if job.state == RUNNING:  # else it was cancelled: nobody waits for a sentence
                job.state, job.error = FAILED, error
        return False

    def _advance(self, job: Job, slot: _Slot) -> bool:
        """One turn of a job. Does it go on after it?"""
        place = self._settle(slot)
        with self._changed:
            if job.state != RUNNING:
                return False
            if job.steps is None:
                job.steps = place.steps(job.experiment)
            job.home = slot if place.stays else None
            steps = job.steps
        steps.silent_for = lambda seconds: self._silent(slot, job, seconds)
        began, before = self._clock(), job.seconds
        for result in steps:
            with self._changed:
                if job.state != RUNNING:
                    return False
                job.silent, job.seconds = 0.0, before + self._clock() - began
                if job.result is None or result.done >= job.result.done:  # else it is on its way to where it was
                    job.result = result
                if job.begun is None:
                    job.begun = job.seconds, job.share
                self._changed.notify_all()
                self._reap(self._clock())
                if steps.resting and self._waiting and self._clock() - began >= self._turn:
                    return True
        with self._changed:
            if job.state == RUNNING:
                job.state = DONE
        return False

    def _silent(self, slot: _Slot, job: Job, seconds: float) -> None:
        """A job gives no sign of life: whoever waits is served by another slot, as long as not too many are set aside."""
        with self._changed:
            job.silent = seconds
            self._reap(self._clock())
            if seconds < self._silence or not self._waiting or slot.aside or self._closed:
                return
            aside = [one for one in self._slots if one.aside and one.job is not None and one.job.active]
            if len(aside) >= sum(not one.aside for one in self._slots):
                self._stop(max((one.job for one in aside if one.job), key=lambda one: one.silent))
            slot.aside = True
            for other in self._waiting:
                if other.home is slot:
                    self._end(other)
            self._open()
        if slot.place is not None:
            slot.place.step_back()

    def _stop(self, job: Job) -> None:
        """End a job that has been silent for long."""
        job.state = FAILED
        job.error = (
            f"It gave no sign of progress for {job.silent:.0f} s while others waited, and was stopped. What it had "
            "finished is kept, and Run goes on from there; a smaller network, fewer samples or a simpler rule take "
            "shorter steps."
        )
        if job.steps is not None:
            job.steps.give_up()
