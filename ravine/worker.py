"""What a worker process does: it answers what it is asked, says how far it is, and sends its answers (see ravine.crew).

It listens at its standard input and answers at its standard output: messages are pickled tuples, their arrays beside them,
from one process of ours to another. What a user's code prints goes to the standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import pickle
import queue
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from ravine.cluster import from_environment
from ravine.cuts import Known
from ravine.engine import computing
from ravine.experiment import Experiment
from ravine.limits import LIMITS
from ravine.parcel import Parcel, pack, unpack
from ravine.result import Result
from ravine.store import Store
from ravine.tasks import Task, answers, said

WARM, COLD = "warm", "cold"
BEGIN, GO, DROP = "begin", "go", "drop"  # said to a worker
READY, SIGN, RESULT, END, FAILED, DROPPED = "ready", "sign", "result", "end", "failed", "dropped"  # said by it
_NUMBER = struct.Struct(">Q")
_SHARE = 10  # times as long as sending the last result took, it computes before it sends the next
_RATE = 20e6  # bytes a second of results that are not the last: who receives them has pages to draw
_FIRST = 2.0  # seconds that the turn of an experiment may take longer, until there is something to see
_MEMORY_BYTES = 64 << 20  # of results that it remembers itself
_BEYOND = 1.5  # times what is allowed to what a worker computes by prediction, which is a bound: more is no honest need
_NICENESS = 1  # the process that draws pages comes first


def read(stream: IO[bytes]) -> Any:
    """The next message. Raises EOFError when the other side is gone."""
    packed, *buffers = [_exactly(stream, _number(stream)) for _ in range(_number(stream))]
    return pickle.loads(packed, buffers=buffers)


def write(stream: IO[bytes], message: Any) -> None:
    """Sends arrays as they lie, without a copy. Raises OSError when the other side is gone."""
    buffers: list[pickle.PickleBuffer] = []
    parts = [pickle.dumps(message, protocol=5, buffer_callback=buffers.append)]
    parts += [one.raw() for one in buffers]  # type: ignore[misc]
    stream.write(_NUMBER.pack(len(parts)))
    for part in parts:
        stream.write(_NUMBER.pack(len(part)))
        stream.write(part)
    stream.flush()


def _number(stream: IO[bytes]) -> int:
    number: int = _NUMBER.unpack(_exactly(stream, _NUMBER.size))[0]
    return number


def _exactly(stream: IO[bytes], count: int) -> memoryview:
    data = np.empty(count, np.uint8).data  # that arrays are made of, which may be written to
    if count and stream.readinto(data) < count:  # type: ignore[attr-defined]
        raise EOFError
    return data


class _Serving:
    """One worker: its reader says at once what is no longer wanted, its main thread computes one thing at a time."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes], store: Store):
        self._commands, self._answers, self._store = commands, answers, store
        self._asked: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._dropped: set[int] = set()
        self._steps: dict[int, Iterator[tuple[Any, Task]]] = {}
        self._known = Known()
        self._executor: Executor | None = None
        self._sent: dict[int, Any] = {}  # the last answer to each
        self._pause = 0.0  # seconds between two results, by what sending one takes

    def serve(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(READY)
        while True:
            match self._asked.get():
                case (op, number, *order) if op == BEGIN:
                    self._steps[number] = self._begun(*order)
                case (op, number, seconds) if op == GO and number in self._steps and number not in self._dropped:
                    self._turn(number, seconds)
                case (op, number) if op == DROP:
                    self._drop(number)

    def _listen(self) -> None:
        try:
            while True:
                command = read(self._commands)
                if command[0] == DROP:
                    self._dropped.add(command[1])
                self._asked.put(command)
        finally:
            os._exit(0)  # whoever asked is gone

    def _say(self, *message: Any) -> None:
        try:
            write(self._answers, message)
        except OSError:
            os._exit(0)

    def _begun(self, packed: Parcel) -> Iterator[Any]:
        """Runs when it is first pulled: whatever goes wrong is then said of this task."""
        task = unpack(packed)
        if self._executor is None:
            self._executor = from_environment() or ThreadPoolExecutor(
                os.cpu_count(), "ravine-pieces", initializer=torch.set_num_threads, initargs=(1,)
            )
        for answer in answers(task, store=self._store, executor=self._executor, known=self._known):
            yield answer, task

    def _turn(self, number: int, seconds: float) -> None:
        """Computes for so long, and on to the next result; sends the newest from time to time, and the last in any case."""
        until, sent = time.monotonic() + seconds, -float("inf")
        self._say(SIGN, number)
        try:
            for answer, task in self._steps[number]:
                now = time.monotonic()
                if number in self._dropped:
                    return  # the command to let go of it is next
                shows = not isinstance(answer, Result) or answer.visible
                rests = now >= until + (0.0 if shows else _FIRST)
                if not rests and not answer.complete and now - sent < self._pause:
                    self._say(SIGN, number)
                    continue
                _draw(answer)
                packed = pack(answer, task, self._sent.get(number))
                self._say(RESULT, number, rests, packed)
                self._sent[number], sent = answer, time.monotonic()
                self._pause = max(_SHARE * (sent - now), packed.nbytes / _RATE)
                if rests:
                    return
            self._forget(number)
            self._say(END, number)
        except BaseException as failure:  # also SystemExit, which a user's code may raise
            self._forget(number)
            self._say(FAILED, number, said(failure))

    def _drop(self, number: int) -> None:
        with contextlib.suppress(Exception):
            self._forget(number)
        self._dropped.discard(number)
        self._say(DROPPED, number)

    def _forget(self, number: int) -> None:
        self._sent.pop(number, None)
        steps = self._steps.pop(number, None)
        if steps is not None:
            steps.close()  # type: ignore[attr-defined]


def _draw(answer: Any) -> None:
    """Makes the pictures of what a page follows as it grows: who draws pages only sends them on."""
    if isinstance(answer, Result) and answer.experiment.view != "descend" and answer.visible:
        with contextlib.suppress(Exception):  # the page tries again, and says what is wrong
            _ = answer.pictures


def _die_with_parent() -> None:
    """Where the system can (Linux), be killed with the thread that started us, even in the midst of code that never looks up."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def bound_memory() -> None:
    """What is computed here may allocate so much beside what this process holds: beyond, an allocation fails and says so, where
    otherwise the kernel would end some process of the machine's, ours or not.

    Linux only. Not beside CUDA, which reserves many times what it uses.
    """
    if not sys.platform.startswith("linux") or torch.cuda.is_available():
        return
    import resource  # which other systems may lack

    lines = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = held + int(_BEYOND * LIMITS.memory)
    if hard == resource.RLIM_INFINITY or most < hard:  # else the system's own bound is the lower one
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _warm_up() -> None:
    """Import and run what most computations need: the first one does not wait for it."""
    for one in (Experiment.default(), dataclasses.replace(Experiment.default("edge"), steps=2)):
        for answer in computing(one):
            _draw(answer)


def serve() -> None:
    """The whole life of a worker. Its arguments are the folder of the store, and whether to warm up."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that will close this one
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    commands, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    torch.set_num_threads(1)
    if sys.argv[2] == WARM:
        _warm_up()
    bound_memory()
    _Serving(commands, answers, Store(Path(sys.argv[1]), memory_bytes=_MEMORY_BYTES)).serve()
