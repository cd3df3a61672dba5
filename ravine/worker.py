"""What a worker process does: it computes experiments, says how far it is, and sends its results (see ravine.crew).

It listens at its standard input and answers at its standard output: messages are pickled tuples with their length before
them, from one process of ours to another. What a user's code prints goes to the standard error.
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

import torch

from ravine import own
from ravine.cluster import from_environment
from ravine.cuts import Known
from ravine.engine import computing
from ravine.experiment import Experiment
from ravine.result import Result
from ravine.store import Store

WARM, COLD = "warm", "cold"
BEGIN, GO, DROP = "begin", "go", "drop"  # said to a worker
READY, SIGN, RESULT, END, FAILED, DROPPED = "ready", "sign", "result", "end", "failed", "dropped"  # said by it
_LENGTH = struct.Struct(">Q")
_SHARE = 10  # times as long as sending the last result took, it computes before it sends the next
_MEMORY_BYTES = 64 << 20  # of results that it remembers itself
_NICENESS = 2  # the process that draws pages comes first


def read(stream: IO[bytes]) -> Any:
    """The next message. Raises EOFError when the other side is gone."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return pickle.loads(_exactly(stream, length))


def write(stream: IO[bytes], message: Any) -> None:
    """Raises OSError when the other side is gone."""
    packed = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(packed)) + packed)
    stream.flush()


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


class _Serving:
    """One worker: its reader says at once what is no longer wanted, its main thread computes one thing at a time."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes], store: Store):
        self._commands, self._answers, self._store = commands, answers, store
        self._asked: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._dropped: set[int] = set()
        self._steps: dict[int, Iterator[Result]] = {}
        self._known = Known()
        self._executor: Executor | None = None
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

    def _begun(self, link: str, key: str, evidence: dict[str, own.Evidence]) -> Iterator[Result]:
        """Runs when it is first pulled: whatever goes wrong is then said of this computation."""
        if evidence:
            own.register_from_environment()
            own.agree(evidence)
        experiment, refusals = Experiment.from_url(link)
        if refusals or experiment.key != key:
            raise ValueError(f"This experiment is not what its link says, {link}. {' '.join(refusals)}".strip())
        if self._executor is None:
            cluster, _ = from_environment()
            self._executor = cluster or ThreadPoolExecutor(
                os.cpu_count(), "ravine-pieces", initializer=torch.set_num_threads, initargs=(1,)
            )
        yield from computing(experiment, store=self._store, executor=self._executor, known=self._known)

    def _turn(self, number: int, seconds: float) -> None:
        """Computes for so long, and on to the next result; sends the newest from time to time, and the last in any case."""
        until, sent = time.monotonic() + seconds, -float("inf")
        self._say(SIGN, number)
        try:
            for result in self._steps[number]:
                now = time.monotonic()
                if number in self._dropped:
                    return  # the command to let go of it is next
                rests = now >= until
                if not rests and not result.complete and now - sent < self._pause:
                    self._say(SIGN, number)
                    continue
                self._say(RESULT, number, rests, *_sendable(result))
                sent = time.monotonic()
                self._pause = _SHARE * (sent - now)
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
        steps = self._steps.pop(number, None)
        if steps is not None:
            steps.close()  # type: ignore[attr-defined]


def _sendable(result: Result) -> tuple[Any, ...]:
    """What makes the result again where its experiment is known: see `received`."""
    return result.arrays(), result.provenance, result.done, result.total, result.phase, result.recalled


def received(experiment: Experiment, sent: tuple[Any, ...]) -> Result:
    """The inverse of what a worker sends, bit by bit."""
    arrays, made, done, total, phase, recalled = sent
    result = Result.from_arrays(experiment, arrays, made)
    return dataclasses.replace(result, done=done, total=total, phase=phase, recalled=recalled)


def said(failure: BaseException) -> str:
    """A failure as a sentence."""
    if isinstance(failure, MemoryError):
        return "There was not enough memory for it: fewer runs, a smaller network or fewer samples need less."
    return own.told(failure)


def _die_with_parent() -> None:
    """Where the system can (Linux), be killed with the thread that started us, even in the midst of code that never looks up."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _warm_up() -> None:
    """Import and run what most computations need: the first one does not wait for it."""
    for one in (Experiment.default(), dataclasses.replace(Experiment.default("edge"), steps=2)):
        for _ in computing(one):
            pass


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
    _Serving(commands, answers, Store(Path(sys.argv[1]), memory_bytes=_MEMORY_BYTES)).serve()
