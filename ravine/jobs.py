"""Long computations off the script's thread: progress, cancel, one computation for all who ask for the same thing.

Knows nothing of Streamlit: a page submits a task, polls the job it got, and draws what is there.
"""

from __future__ import annotations

import atexit
import dataclasses
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from math import inf

import torch

from ravine.crew import Crew, Failed, GivenUp, Lost
from ravine.cuts import Known
from ravine.engine import begun_by
from ravine.forecast import Forecast, Player, forecasts
from ravine.job import CANCELLED, DONE, FAILED, RUNNING, Job, Slot
from ravine.ledger import Had, Ledger
from ravine.place import FIRST_TURN, Here, Place
from ravine.store import Store
from ravine.tasks import Task, said

_RECENT = 0.2  # weight of the last one in what turns, or computations, take
_LIKE = 30.0  # seconds ahead in which as many computations come as came in the last
_FRESH = 0.5  # seconds for which a forecast is told again


class Busy(RuntimeError):
    """The queue is full: a sentence for the visitor."""


class Jobs:
    """A queue served by a few slots, fair between visitors: each job has a turn of a second or so, or of one step that takes
    longer, and the next turn is that of the visitor who has been computed for the least. The first turn is a short one: of many
    who come at once, each sees something soon.

    A visitor has at most `per_visitor` jobs: one more gives up the oldest. A job nobody has polled for `yield_after`
    seconds comes after all others, and one not polled for `forget_after` is cancelled. With a `crew`, each slot has a worker
    process: a job that does not end when it is cancelled is killed with it, and one that gives no sign of life for
    `overdue` seconds while others wait is set aside: another slot takes its part. So many are set aside as there are
    slots; then the one that has been silent longest is stopped, if that was for `silence` seconds. Those that have begun take
    no more than `memory` bytes together, by prediction, unless it is one alone: the next waits until one of them is over.
    Without a crew, slots compute here, and pieces of sweeps and slices go to `executor`, by default a pool of threads.
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
        overdue: float = 3.0,
        silence: float = 10.0,
        memory: float = inf,
        executor: Executor | None = None,
        crew: Crew | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store = store
        self._limit, self._per_visitor, self._turn, self._clock = queue, per_visitor, turn, clock
        self._first_turn = min(FIRST_TURN, turn)
        self._forget_after, self._yield_after = forget_after, yield_after
        self._overdue, self._silence, self._memory = min(overdue, silence), silence, memory
        self._jobs: dict[str, Job] = {}  # by the task's key, in the order in which they came
        self._waiting: list[Job] = []
        # Seconds of a first turn, of a later one, and of a whole computation, those of late before those of long ago:
        self._took: dict[str, float] = {}
        self._told: tuple[float, dict[Job, Forecast]] = -1.0, {}
        self._came: list[float] = []  # when new ones did, of late
        self._here: dict[str, float] = {}  # visitor -> when their page last asked whether there is more
        self._ledger = Ledger()
        self._by: dict[str, Slot] = {}  # visitor -> the slot that gave it
        self._changed = threading.Condition()
        self._crew, self._known = crew, Known()
        self._executor = executor
        if crew is None and executor is None:
            self._executor = ThreadPoolExecutor(
                os.cpu_count() or 1, "ravine-pieces", initializer=torch.set_num_threads, initargs=(1,)
            )
        self._closed = self._started = False
        self._slots: list[Slot] = []
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

    def submit(self, task: Task, owner: str) -> Job:
        """The job for a task: the one that is there, or a new one. Raises Busy if too many wait already."""
        now = self._clock()
        found = self.store.get(task)
        with self._changed:
            self._reap(now)
            job = self._jobs.get(task.key)
            new = job is None or job.state in (CANCELLED, FAILED)
            if new and found is not None:  # what is there waits for nobody
                job, new = Job(task, DONE, found), False
                self._jobs[task.key] = job
            mine = [
                other for other in self._jobs.values() if other is not job and other.active and owner in other.owners
            ]
            given_up = mine[: max(0, len(mine) + 1 - self._per_visitor)]

            def full() -> bool:
                freed = sum(other in self._waiting and set(other.owners) == {owner} for other in given_up)
                return len(self._waiting) - freed >= self._limit

            if not mine and not (job is not None and job.active and owner in job.owners):
                self._ledger.begin(owner, self._here_now())
            if new and full():
                self._make_room(now)
            if new and full():
                raise Busy(f"{self._limit} computations are waiting already. Please try again in a minute.")
            for other in self._jobs.values():
                if other in given_up or (other is not job and not other.active):
                    self._leave(other, owner)
            if job is None or new:
                job = self._jobs[task.key] = Job(task)
                for other in self._jobs.values():
                    self._show(other, job)
                self._waiting.append(job)
                self._came = [when for when in self._came if now - when < _LIKE] + [now]
                self._changed.notify_all()
            job.owners[owner] = now
            return job

    def poll(self, task: Task, owner: str) -> Job | None:
        """The visitor's job for a task, if there is one; being asked for keeps it alive."""
        now = self._clock()
        with self._changed:
            job = self._jobs.get(task.key)
            if job is not None and job.active:
                job.owners[owner] = now
                if owner not in self._ledger:
                    self._ledger.begin(owner, self._here_now())
            self._reap(now)
            return self._jobs.get(task.key)

    @property
    def line(self) -> dict[str, int]:
        """How many computations wait, may wait at most, and are being computed."""
        return {
            "waiting": len(self._waiting),
            "most": self._limit,
            "running": sum(one.job is not None for one in self._slots),
        }

    @property
    def started(self) -> bool:
        """Has it got ready to compute since it began?"""
        self._started = self._started or any(one.place is not None and one.place.ready for one in list(self._slots))
        return self._started

    def seen(self, owner: str) -> dict[str, tuple[str, int]]:
        """The state of each of a visitor's jobs and how many results it has given: equal, and nothing is new.

        Asked for so often that it waits for nobody. Who asks is there, even if the page is not drawn for want of news.
        """
        self._here[owner] = self._clock()
        mine = [(key, job) for key, job in list(self._jobs.items()) if owner in job.owners]
        return {key: (job.state, job.given) for key, job in mine}

    def cancel(self, task: Task, owner: str) -> None:
        """The visitor no longer waits. The computation ends unless somebody else waits for it; its partial result stays."""
        with self._changed:
            job = self._jobs.get(task.key)
            if job is not None and owner in job.owners:
                self._leave(job, owner)
                if not job.active:  # kept for its visitor until forgotten
                    job.owners[owner] = self._clock()

    def first(self, job: Job, patience: float, *, whole: bool = False) -> None:
        """Wait until a job has something to show, or the `whole`, or is over, but no longer than `patience` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: (job.result is not None and not whole) or not job.active, patience)

    def ahead(self, job: Job) -> int:
        """How many computations come before a waiting one."""
        with self._changed:
            if job not in self._waiting:
                return 0
            return sorted((one for one in self._waiting if one is job or not self.doubles(one)), key=self._rank).index(
                job
            )

    def wait(self, job: Job) -> float | None:
        """Seconds until a waiting one has its next turn, by how long turns have taken of late; None before there was any."""
        forecast = self._forecast(job)
        return forecast.turn if forecast is not None and forecast.turn < inf else None

    def left(self, job: Job) -> float | None:
        """Seconds until it is done, with its turns among those of others; None until it has a pace."""
        forecast = self._forecast(job) if job.seconds_left is not None else None
        return forecast.through if forecast is not None and forecast.through < inf else None

    def _forecast(self, job: Job) -> Forecast | None:
        now = self._clock()
        with self._changed:
            at, told = self._told
            if self._took and (job not in told or not at <= now < at + _FRESH):
                at, told = self._told = now, self._forecasts(now)
        one = told.get(job)
        return None if one is None else Forecast(max(0.0, one.turn - (now - at)), max(0.0, one.through - (now - at)))

    def _forecasts(self, now: float) -> dict[Job, Forecast]:
        mine = [one for one in self._waiting if not self.doubles(one)]
        players = {one: self._player(one, now) for one in mine}
        running = {}
        for slot in self._slots:
            if slot.job is not None and not slot.aside:
                one, elapsed = slot.job, now - slot.began
                player = self._player(one, now)
                # In a turn that is longer than others of its kind, half another one is as good a guess as any.
                yet = player.turn - elapsed if elapsed < player.turn else player.turn / 2
                running[len(players)] = min(yet, player.left)
                players[one] = player
        idle = sum(slot.job is None and not slot.aside for slot in self._slots)
        first, whole = self._took["first"], self._took.get("whole", inf)
        others = [
            Player((f"to come {number}",), min(first, whole), whole, comes=now - when)
            for number, when in enumerate(reversed(self._came))
            if now - when < _LIKE
        ]
        found = forecasts(
            [*players.values(), *others], running, idle, self._ledger.all, self._ledger.least(self._here_now())
        )
        return dict(zip(players, found, strict=False))

    def _player(self, job: Job, now: float) -> Player:
        turn = job.took or self._took["first"]
        left = job.seconds_left
        if left is None:
            # However long it has gone on, the longer it does the more it is one of the long ones.
            left = max(turn, self._took.get("whole", inf), job.seconds)
        return Player(tuple(job.owners), turn, left, self._late(job, now))

    def doubles(self, job: Job) -> bool:
        """Would it train what another job is training? Then it waits, and starts from the result of that one."""
        with self._changed:
            others = (
                [other for other in self._jobs.values() if other is not job and other.active] if job.trainings else []
            )
            return any(
                not self.store.has(one)
                for key, one in job.trainings.items()
                if any(
                    other.task.key == key or (job.steps is None and other.steps is not None and key in other.trainings)
                    for other in others
                )
            )

    def _leave(self, job: Job, owner: str) -> None:
        job.owners.pop(owner, None)
        if job.active and not job.owners:
            job.state = CANCELLED
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job)
                self._changed.notify_all()  # there is memory for others
            elif job.steps is not None:
                job.steps.give_up()

    def _reap(self, now: float) -> None:
        for key, job in list(self._jobs.items()):
            for owner in list(job.owners):
                if now - self._last_seen(job, owner) > self._forget_after:
                    self._leave(job, owner)
            if not job.active and not job.owners:
                del self._jobs[key]

    def _late(self, job: Job, now: float) -> bool:
        """Has nobody asked for it of late? A hidden tab asks seldom: it waits behind others."""
        return all(now - self._last_seen(job, owner) > self._yield_after for owner in job.owners)

    def _last_seen(self, job: Job, owner: str) -> float:
        return max(job.owners[owner], self._here.get(owner, -inf))

    def _make_room(self, now: float) -> None:
        """Gives up, in a full queue, what nobody has asked for of late."""
        for job in [job for job in self._waiting if self._late(job, now)]:
            for owner in list(job.owners):
                self._leave(job, owner)

    def _rank(self, job: Job) -> tuple[bool, Had]:
        """The smallest comes next: whoever has been computed for the least, and of equals who came first."""
        return self._late(job, self._clock()), self._ledger.rank(job.owners)

    def _here_now(self) -> set[str]:
        """All who wait or are served."""
        return {owner for job in self._jobs.values() if job.active for owner in job.owners}

    def _next(self, slot: Slot) -> Job | None:
        """The job that the slot goes on with, taken from those that wait."""
        waiting = [job for job in self._waiting if not self._held_up(job) and self._fits(job)]
        own = [job for job in waiting if job.home is slot]
        if not slot.aside:
            own += [job for job in waiting if job.home is None and not self._sought(job, slot)]
            # Rather than nothing what another has begun: it goes on from what it has put on the shelf.
            own = own or [job for job in waiting if job.home is not None]
        if not own:
            return None
        job = min(own, key=self._rank)
        self._waiting.remove(job)
        if job.home not in (None, slot):
            self._end(job)
        slot.charged = self._ledger.charge(
            job.owners, max(0.001, job.took or self._took.get("first", self._first_turn))
        )
        known = {owner for other in self._jobs.values() for owner in other.owners}
        self._ledger.keep(known)
        self._here = {owner: when for owner, when in list(self._here.items()) if owner in known}
        self._by = {owner: by for owner, by in self._by.items() if owner in known} | dict.fromkeys(job.owners, slot)
        return job

    def _held_up(self, job: Job) -> bool:
        """Does it wait for another's result? What it has begun is let go: it begins anew with that."""
        found = self.doubles(job)
        if found and job.steps is not None:
            self._end(job)
        return found

    def _fits(self, job: Job) -> bool:
        """Is there memory for it, beside what others hold that have begun?"""
        begun = [one for one in self._jobs.values() if one.steps is not None or one.state == RUNNING]
        return not begun or job in begun or job.memory + sum(one.memory for one in begun) <= self._memory

    def _sought(self, job: Job, slot: Slot) -> bool:
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
        slot = Slot()
        self._slots.append(slot)
        thread = threading.Thread(target=self._work, args=(slot,), name=f"ravine-job-{len(self._workers)}", daemon=True)
        self._workers.append(thread)
        thread.start()

    def _work(self, slot: Slot) -> None:
        torch.set_num_threads(1)
        while (job := self._taken(slot)) is not None:
            which = "first" if job.took is None else "later"
            goes_on = self._served_once(job, slot)
            with self._changed:
                # Alone it may have gone on for long: while others wait, a turn ends with the step that is longest.
                took = min(self._clock() - slot.began, self._turn + job.step)
                self._ledger.settle(slot.charged, took)
                if job.state != CANCELLED:
                    self._learn(which, took)
                    job.took = took
                if job.state == DONE:
                    self._learn("whole", job.seconds)
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

    def _learn(self, what: str, seconds: float) -> None:
        self._took[what] = seconds + (1 - _RECENT) * (self._took.get(what, seconds) - seconds)

    def _taken(self, slot: Slot) -> Job | None:
        """Waits for a job; None when the slot is to end."""
        with suppress(OSError, RuntimeError):  # where no process starts, that is said of the next job
            self._settle(slot)
        with self._changed:
            while not self._closed:
                job = self._next(slot)
                if job is not None:
                    job.state, slot.job, slot.began, job.silent = RUNNING, job, self._clock(), 0.0
                    return job
                if slot.aside:
                    return None
                slot.idle = True
                self._changed.wait()
                slot.idle = False
        return None

    def _settle(self, slot: Slot) -> Place:
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

    def _served_once(self, job: Job, slot: Slot) -> bool:
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

    def _advance(self, job: Job, slot: Slot) -> bool:
        """One turn of a job. Does it go on after it?"""
        place = self._settle(slot)
        with self._changed:
            if job.state != RUNNING:
                return False
            if job.steps is None:
                job.steps = place.steps(job.task)
            job.home = slot if place.stays else None
            steps = job.steps
        steps.silent_for = lambda seconds: self._silent(slot, job, seconds)
        began, before = self._clock(), job.seconds
        turn = self._first_turn if job.took is None else self._turn
        job.step, last = 0.0, began
        for result in steps:
            with self._changed:
                if job.state != RUNNING:
                    return False
                now = self._clock()
                job.silent, job.seconds, job.step, last = 0.0, before + now - began, max(job.step, now - last), now
                if job.result is None or result.done >= job.result.done:  # else it is on its way to where it was
                    job.result = result
                    job.given += 1
                    for other in self._waiting:
                        self._show(job, other)
                if job.begun is None:
                    job.begun = job.seconds, job.share
                self._changed.notify_all()
                self._reap(self._clock())
                if steps.resting and self._waiting and self._clock() - began >= turn:
                    return True
        with self._changed:
            if job.state == RUNNING:
                job.state = DONE
        return False

    def _show(self, job: Job, other: Job) -> None:
        """Lets a job that waits for what another trains see it grow."""
        first, result = next(iter(other.trainings), None), job.result
        if other.steps is not None or first is None or result is None:
            return
        if first == job.task.key:
            shown = begun_by(other.task, result)  # type: ignore[arg-type]
        elif first == next(iter(job.trainings), None) and result.plane is None:
            shown = dataclasses.replace(result, experiment=other.task)
        else:
            return
        if other.result is None or shown.done >= other.result.done:
            other.result, other.begun = shown, None  # its own pace tells nothing of what others have done for it
            other.given += 1

    def _silent(self, slot: Slot, job: Job, seconds: float) -> None:
        """A job gives no sign of life: whoever waits is served by another slot, as long as not too many are set aside."""
        with self._changed:
            job.silent = seconds
            self._reap(self._clock())
            free = sum(one.job is None and not one.aside for one in self._slots)  # about to take one that waits
            if seconds < self._overdue or len(self._waiting) <= free or slot.aside or self._closed:
                return
            aside = [one for one in self._slots if one.aside and one.job is not None and one.job.active]
            if len(aside) >= sum(not one.aside for one in self._slots):
                longest = max((one.job for one in aside if one.job), key=lambda one: one.silent)
                if longest.silent < self._silence:  # it may only take long steps
                    return
                self._stop(longest)
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
