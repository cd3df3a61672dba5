"""How a long function says how far it is, to whoever waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import torch
from torch import Tensor

from landscapes.derivatives import Operator

Tell = Callable[[float, str], object]  # the share of the work that is done, from 0 to 1, and a few words

T = TypeVar("T")
_EVERY = 0.2  # seconds between two things that are told


def silent(share: float, phase: str) -> None:
    """Nobody listens."""


def counted(operator: Operator, tell: Tell, of: int, phase: str) -> Operator:
    """The operator, which tells of each product; of about so many as will be needed."""
    done = 0

    def product(vectors: Tensor) -> Tensor:
        nonlocal done
        done += 1
        tell(min(0.99, done / of), f"{phase}, product {done}")
        return operator(vectors)

    return product


class _GivenUp(BaseException):
    """Nobody pulls any more."""


def telling(function: Callable[[Tell], T]) -> Generator[tuple[float, str], None, T]:
    """What a function tells, from time to time; returns what it returns. It has a thread of its own, and goes on only while
    it is pulled: closing the generator ends it at the next thing that it tells.
    """
    turn, told = threading.Semaphore(0), queue.SimpleQueue[tuple[str, Any]]()
    given_up, last = False, time.monotonic()

    def tell(share: float, phase: str) -> None:
        nonlocal last
        if time.monotonic() - last < _EVERY:
            return
        told.put(("told", (share, phase)))
        turn.acquire()
        if given_up:
            raise _GivenUp
        last = time.monotonic()

    def compute() -> None:
        turn.acquire()
        if given_up:
            return
        try:
            torch.set_num_threads(1)
            told.put(("returned", function(tell)))
        except BaseException as failure:  # also SystemExit, which a user's code may raise: it is that of who pulls
            told.put(("failed", failure))

    thread = threading.Thread(target=compute, name="ravine-telling", daemon=True)
    thread.start()
    try:
        while True:
            turn.release()
            how, what = told.get()
            if how == "failed":
                raise what
            if how == "returned":
                found: T = what
                return found
            yield what
    finally:
        given_up = True
        turn.release()
        thread.join()
