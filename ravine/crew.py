"""Worker processes, seen from the process that asks them (see ravine.worker for what they do).

A process can be killed whatever it does: in an endless loop, in C code that never looks up, waiting for a lock. So what a
computation holds comes back, processor time and memory, and what it had finished lies on the store's shelf.
"""

from __future__ import annotations

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
from pathlib import Path
from typing import Any

from ravine import worker
from ravine.parcel import Parcel, pack, unpack
from ravine.place import FIRST_TURN
from ravine.store import Store
from ravine.tasks import Answer, Task

_LISTENS = 0.5  # seconds of silence between two calls of `silent_for`
_PATIENT = 3.0  # times as long as on an idle machine may pass until a silence is one
_SET_ASIDE = 15  # niceness of a worker whose place another has taken
_LONG = 9  # niceness of a worker for long computations: what a visitor sees at once comes before them
_PIPE = 1 << 20  # bytes: at the usual 64 KB the interpreter lock changes hands three hundred times for one large result
_LATER = 20.0  # seconds after hiring until another is made ready: who hires now has use for the processors


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
        self._soon: threading.Timer | None = None
        self._closed = False

    def hire(self, turn: float | None = None) -> Worker:
        """A worker, which rests after so many seconds: for long computations, or for short ones where `turn` says so, which
        then come before the long ones. Raises OSError where the system starts no process.
        """
        with self._lock:
            found, self._spare = self._spare, None
            self._keep_one_later()
        if found is None or found.ended:
            found = self._starter.submit(self._new).result()
        found.turn = self._turn if turn is None else turn
        if turn is None:
            found.step_back(_LONG)
        return found

    def close(self) -> None:
        with self._lock:
            self._closed, spare, self._spare = True, self._spare, None
            if self._soon is not None:
                self._soon.cancel()
        if spare is not None:
            spare.close()
        self._starter.shutdown()

    def _keep_one_later(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
        if not self._closed:
            self._soon = threading.Timer(_LATER, self._keep_one)
            self._soon.daemon = True
            self._soon.start()

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
        temperature = worker.WARM if warm else worker.COLD
        paths = os.pathsep.join(os.path.abspath(one) for one in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from ravine.worker import serve; serve()", str(store.folder), temperature],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=_PIPE,
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

    def steps(self, task: Task) -> Steps:
        """The answers as they come, as `answers` gives them."""
        steps = Steps(self, next(self._numbers), task)
        with self._lock:
            self._steps[steps.number] = steps
            if self._gone:
                steps.heard.put((_LOST,))
        return steps

    def step_back(self, niceness: int = _SET_ASIDE) -> None:
        """Leave the processors to others."""
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)

    def waits(self) -> dict[str, float]:
        """By the names of its threads, the seconds that each has waited for a processor; nothing where the system does not tell."""
        found = {}
        with suppress(OSError):
            for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
                with suppress(OSError, ValueError, IndexError):
                    found[thread.name] = int((thread / "schedstat").read_bytes().split()[1]) / 1e9
        return found

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
                    self._ready = True
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


def _own(silent: float, before: dict[str, float], after: dict[str, float]) -> float:
    """Of so many seconds of silence those that are its own fault, and not that the processors were others': a third at least,
    lest what hangs goes unseen on a machine that is never idle.
    """
    kept_waiting = max((seconds - before.get(name, seconds) for name, seconds in after.items()), default=0.0)
    return max(silent / _PATIENT, silent - kept_waiting)


class Steps:
    """The answers of one computation, pulled as from a generator; what is not pulled rests at the end of its turn."""

    def __init__(self, place: Worker, number: int, task: Task):
        self._place, self.number, self._task = place, number, task
        self.heard: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.resting = True  # is nothing computed until the next pull?
        self.seconds = 0.0  # that its worker was at it, up to when it was last heard
        self.silent_for: Callable[[float], object] = lambda seconds: None  # called now and then while nothing is heard
        self._later: tuple[Any, ...] | None = None  # heard, and to be heeded next
        self._silent = 0.0  # seconds since the last sign of life
        self._begun = self._pulled = self._over = False
        self._last: Answer | None = None  # the latest that was received, which the next is told by

    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> Answer:
        if self._over:
            raise StopIteration
        if not self._begun:
            self._begun = True
            found: Answer | None = self._place.store.get(self._task)
            if found is not None:
                self._finish()
                return found
            self._place.tell(worker.BEGIN, self.number, pack(self._task))
        if self.resting:
            turn = self._place.turn if self._pulled else min(FIRST_TURN, self._place.turn)
            self.resting, self._pulled = False, True
            self._place.tell(worker.GO, self.number, turn)
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
                self._let_go(self._silent)

    def _heard(self) -> Answer:
        last, waits = time.monotonic(), None
        while True:
            try:
                what, *more = self._message()
            except queue.Empty:
                if not self._place.ready:  # that it starts slowly is no fault of what it is to compute
                    last, waits = time.monotonic(), None
                waits = self._place.waits() if waits is None else waits
                self._silent = _own(time.monotonic() - last, waits, self._place.waits())
                self.silent_for(self._silent)
                continue
            silent, last, waits = time.monotonic() - last, time.monotonic(), None
            self._silent, self.seconds = 0.0, self.seconds + silent
            if what == worker.SIGN and silent > _LISTENS:
                self.silent_for(0.0)
            if what == worker.RESULT:
                self.resting, packed = more
                return self._received(packed)
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
            if self._later[0] == worker.RESULT:
                self._unpacked(message[2])
                message = self._later
            self._later = None
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

    def _received(self, packed: Parcel) -> Answer:
        answer = self._unpacked(packed)
        if answer.complete and not answer.recalled:
            self._place.store.remember(self._task.key, answer)  # the worker has written it to disk, if it is to last
        return answer

    def _unpacked(self, packed: Parcel) -> Answer:
        answer: Answer = unpack(packed, self._task, self._last)
        self._last = answer
        return answer

    def _finish(self) -> None:
        self._last = None
        self._over = self.resting = True
        self._place.forget(self.number)


class Failed(Exception):
    """What was computed has failed; the message is a sentence for who waits."""
