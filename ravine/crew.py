"""Worker processes, seen from the process that asks them (see ravine.worker for what they do).

A process can be killed whatever it does: in an endless loop, in C code that never looks up, waiting for a lock. So what a
computation holds comes back, processor time and memory, and what it had finished lies on the store's shelf.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from ravine import own, worker
from ravine.experiment import Experiment
from ravine.result import Result
from ravine.store import Store

_LISTENS = 0.5  # seconds of silence between two calls of `silent_for`
_SET_ASIDE = 15  # niceness of a worker whose place another has taken
_LONG = 6  # niceness of a worker for long computations: what a visitor sees at once comes before them


class GivenUp(Exception):
    """The computation was given up by `Steps.give_up`; its worker may have been killed."""


class Lost(Exception):
    """The worker has ended without being told to; the message says how."""


class Crew:
    """Hires workers, and keeps one at hand that has started already: the next one need not wait for torch."""

    def __init__(self, store: Store, turn: float = 1.0, obeys_within: float = 2.0, warm: bool = True):
        self._new, self._turn = partial(Worker, store, turn, obeys_within, warm), turn
        # Where a worker dies with the thread that started it, that thread must live as long as this process.
        self._starter = ThreadPoolExecutor(1, "ravine-crew")
        self._lock = threading.Lock()
        self._spare: Worker | None = None
        self._closed = False

    def hire(self, turn: float | None = None) -> Worker:
        """A worker, which rests after so many seconds: for long computations, or for short ones where `turn` says so, which
        then come before the long ones. Raises OSError where the system starts no process.
        """
        with self._lock:
            found, self._spare = self._spare, None
        if found is None or found.ended:
            found = self._starter.submit(self._new).result()
        found.turn = self._turn if turn is None else turn
        if turn is None:
            found.step_back(_LONG)
        found.when_ready(self._keep_one)
        return found

    def close(self) -> None:
        with self._lock:
            self._closed, spare, self._spare = True, self._spare, None
        if spare is not None:
            spare.close()
        self._starter.shutdown()

    def _keep_one(self) -> None:
        with suppress(RuntimeError):  # at the end of the program nothing is started any more
            self._starter.submit(self._kept)

    def _kept(self) -> None:
        with self._lock:
            if not self._closed and (self._spare is None or self._spare.ended):
                self._spare = self._new()


class Worker:
    """A process that computes one thing at a time, and rests from one that is not pulled."""

    stays = True

    def __init__(self, store: Store, turn: float, obeys_within: float, warm: bool):
        self.store, self.turn, self.obeys_within = store, turn, obeys_within
        self._numbers = count(1)
        self._lock, self._speaking = threading.Lock(), threading.Lock()
        self._steps: dict[int, Steps] = {}  # those that may still hear something
        self._ready, self._gone = False, False
        self._once_ready: list[Callable[[], object]] = []
        temperature = worker.WARM if warm else worker.COLD
        paths = os.pathsep.join(os.path.abspath(one) for one in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from ravine.worker import serve; serve()", str(store.folder), temperature],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
        )
        self._reader = threading.Thread(target=self._read, name="ravine-worker", daemon=True)
        self._reader.start()

    @property
    def ready(self) -> bool:
        """Has it started?"""
        return self._ready

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def steps(self, experiment: Experiment) -> Steps:
        """The results of an experiment as they come, as `computing` gives them."""
        steps = Steps(self, next(self._numbers), experiment)
        with self._lock:
            self._steps[steps.number] = steps
            if self._gone:
                steps.heard.put((_LOST,))
        return steps

    def when_ready(self, then: Callable[[], object]) -> None:
        """Calls it once the worker has started; at once if it has."""
        with self._lock:
            if not self._ready:
                self._once_ready.append(then)
                return
        then()

    def step_back(self, niceness: int = _SET_ASIDE) -> None:
        """Leave the processors to others."""
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)

    def close(self) -> None:
        """End the process, whatever it does: its memory and its processor time are free when this returns."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()

    def tell(self, *message: Any) -> None:
        """Say something; who is gone hears nothing."""
        assert self._process.stdin is not None
        with self._speaking, suppress(OSError, ValueError):
            worker.write(self._process.stdin, message)

    def forget(self, number: int) -> None:
        with self._lock:
            self._steps.pop(number, None)

    def ending(self) -> str:
        """How the process ended, in words."""
        try:
            status = self._process.wait(self.obeys_within)
        except subprocess.TimeoutExpired:  # it has closed its output and lives on
            self._process.kill()
            status = self._process.wait()
        if status >= 0:
            return f"it ended with status {status}"
        with suppress(ValueError):
            name = signal.Signals(-status).name
            return f"it was ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
        return f"it was ended by signal {-status}"

    def _read(self) -> None:
        """Hands on what the worker says, until it is gone."""
        assert self._process.stdout is not None
        try:
            while True:
                what, *message = worker.read(self._process.stdout)
                if what == worker.READY:
                    with self._lock:
                        self._ready, waiting = True, self._once_ready
                    for then in waiting:
                        then()
                    continue
                number, *more = message
                with self._lock:
                    steps = self._steps.get(number)
                if steps is not None:
                    steps.heard.put((what, *more))
        except (EOFError, OSError, ValueError):
            with self._lock:
                self._gone, left = True, list(self._steps.values())
            for steps in left:
                steps.heard.put((_LOST,))


_LOST, _GIVEN_UP = "lost", "given up"  # heard from this side


class Steps:
    """The results of one computation, pulled as from a generator; what is not pulled rests at the end of its turn."""

    def __init__(self, place: Worker, number: int, experiment: Experiment):
        self._place, self.number, self._experiment = place, number, experiment
        self.heard: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.resting = True  # is nothing computed until the next pull?
        self.silent_for: Callable[[float], object] = lambda seconds: None  # called now and then while nothing is heard
        self._later: tuple[Any, ...] | None = None  # heard, and to be heeded next
        self._begun = self._over = False

    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> Result:
        if self._over:
            raise StopIteration
        if not self._begun:
            self._begun = True
            found = self._place.store.get(self._experiment)
            if found is not None:
                self._finish()
                return dataclasses.replace(found, experiment=self._experiment)  # a key leaves out the looks
            seen = own.evidence([self._experiment.landscape.name])
            self._place.tell(worker.BEGIN, self.number, self._experiment.to_url(), self._experiment.key, seen)
        if self.resting:
            self.resting = False
            self._place.tell(worker.GO, self.number, self._place.turn)
        return self._heard()

    def give_up(self) -> None:
        """Nobody wants it any more: whoever waits for the next result gets GivenUp, at the latest when the worker is killed."""
        self.heard.put((_GIVEN_UP,))

    def close(self) -> None:
        """Let go of what the worker holds of it: at once where it rests, else as after `give_up`."""
        if not self._begun or self._over:
            self._finish()
        elif self.resting:
            self._place.tell(worker.DROP, self.number)
            self._finish()
        else:
            with suppress(GivenUp):
                self._let_go(0.0)

    def _heard(self) -> Result:
        last = time.monotonic()
        while True:
            try:
                what, *more = self._message()
            except queue.Empty:
                if not self._place.ready:  # that it starts slowly is no fault of what it is to compute
                    last = time.monotonic()
                self.silent_for(time.monotonic() - last)
                continue
            silent, last = time.monotonic() - last, time.monotonic()
            if what == worker.SIGN and silent > _LISTENS:
                self.silent_for(0.0)
            if what == worker.RESULT:
                self.resting, *sent = more
                return self._received(sent)
            if what == worker.END:
                self._finish()
                raise StopIteration
            if what == worker.FAILED:
                self._finish()
                raise Failed(more[0])
            if what == _LOST:
                self._finish()
                raise Lost(self._place.ending())
            if what == _GIVEN_UP:
                self._let_go(silent)

    def _message(self) -> tuple[Any, ...]:
        """What is said next; of several results the newest. Raises queue.Empty after a while of silence."""
        message, self._later = self._later or self.heard.get(timeout=_LISTENS), None
        while message[0] == worker.RESULT and not self.heard.empty():
            self._later = self.heard.get()
            if self._later[0] not in (worker.RESULT, worker.SIGN):
                break
            message, self._later = self._later if self._later[0] == worker.RESULT else message, None
        return message

    def _let_go(self, silent: float) -> None:
        """Ends it, by killing the worker if it does not obey. Raises GivenUp."""
        self._place.tell(worker.DROP, self.number)
        until = time.monotonic() + max(0.0, self._place.obeys_within - silent)
        obeyed = not self._place.ready  # it will hear of both at once
        while not obeyed and (left := until - time.monotonic()) > 0:
            with suppress(queue.Empty):
                obeyed = self.heard.get(timeout=left)[0] in (worker.DROPPED, _LOST)
        self._finish()
        if not obeyed:
            self._place.close()
        raise GivenUp

    def _received(self, sent: list[Any]) -> Result:
        result = worker.received(self._experiment, tuple(sent))
        if result.complete and not result.recalled:
            self._place.store.put(result, keep=False)  # the worker has written it to disk, if it is to last
        return result

    def _finish(self) -> None:
        self._over = self.resting = True
        self._place.forget(self.number)


class Failed(Exception):
    """What was computed has failed; the message is a sentence for who waits."""
