"""A Dask cluster as an executor: the same pieces of work on other machines. Only this module knows of Dask.

A cluster comes and goes. What it loses, and whatever is asked of it while it is not there, is computed on this machine: the
numbers are the same to the bit where the processors are of one kind.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any

import torch

from landscapes.setting import excerpt

VARIABLE = "RAVINE_SCHEDULER"  # where the app finds the scheduler's address
_ANSWERS = 5.0  # seconds that a scheduler may take to answer
_PATIENCE = 15.0  # seconds without workers until what they have is computed here
_AGAIN = 10.0  # seconds from one search for a scheduler that has gone to the next
_BEAT = 1.0  # seconds from one look at the cluster to the next
_HERE = "This machine computes until"

_LOG = logging.getLogger(__name__)


class Unreachable(ValueError):
    """There is no cluster at that address: a sentence for whoever gave it."""


class Cluster(Executor):
    """The executor of the cluster whose scheduler is at an address; where there is none, or no worker, that of this machine.

    Every piece runs on one thread, as here.
    """

    def __init__(self, address: str, client: Any = None, absent: str = ""):
        """`client` is Dask's, and None where the scheduler was not to be had; then `absent` says so in a sentence."""
        self.absent = absent  # while it is not there: a sentence for whoever waits
        self._address, self._client = address, client
        self._lock = threading.Lock()
        self._flying: set[_Piece] = set()
        self._here: Executor = ThreadPoolExecutor(os.cpu_count(), "ravine-here", torch.set_num_threads, (1,))
        self._threads = 0  # of its workers
        self._closing = threading.Event()
        if client is not None:
            self._threads = _threads(client)
        self._seen = time.monotonic()  # with workers
        self._watcher = threading.Thread(target=self._watch, name="ravine-cluster", daemon=True)
        self._watcher.start()

    @property
    def ahead(self) -> int:
        """Pieces under way at once: two for each thread of the workers."""
        return max(2, 2 * (os.cpu_count() or 1) if self.absent else 2 * self._threads)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        piece = _Piece(self._here, function, arguments, named)
        with self._lock:
            client = None if self.absent else self._client
            if client is not None:
                self._flying.add(piece)
        piece.outcome.add_done_callback(lambda _: self._landed(piece))
        if client is None:
            piece.compute_here()
        else:
            piece.send(client)
        return piece.outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closing.set()
        self._watcher.join()
        self._here.shutdown(wait, cancel_futures=cancel_futures)
        if self._client is not None:
            with suppress(Exception):  # whom it says goodbye to may be gone
                self._client.close(timeout=_ANSWERS)

    def _landed(self, piece: _Piece) -> None:
        with self._lock:
            self._flying.discard(piece)

    def _watch(self) -> None:
        tried = time.monotonic()
        while not self._closing.wait(_BEAT):
            threads = 0 if self._client is None else _threads(self._client)
            now = time.monotonic()
            if threads:
                self._there(threads, now)
            elif now - self._seen >= _PATIENCE and not self.absent:
                self._gone()
            elif (self._client is None or self._client.status == "closed") and now - tried >= _AGAIN:
                with suppress(Unreachable):
                    self._client = _opened(self._address)
                tried = time.monotonic()

    def _there(self, threads: int, now: float) -> None:
        with self._lock:
            back, self.absent = bool(self.absent), ""
            self._threads, self._seen = threads, now
        if back:
            _LOG.warning("The cluster at %s is there again.", excerpt(self._address))

    def _gone(self) -> None:
        alone = self._client is not None and self._client.status == "running"
        what, again = ("has no workers", "has some") if alone else ("does not answer", "answers")
        with self._lock:
            self.absent = f"The Dask cluster {what}. {_HERE} it {again}."
            lost = list(self._flying)
        _LOG.warning("%s Its scheduler is to be at %s.", self.absent, excerpt(self._address))
        for piece in lost:
            piece.compute_here()


class _Piece:
    """A piece of work that is computed there or, when that comes to nothing, here."""

    def __init__(self, here: Executor, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]):
        self.outcome: Future[Any] = Future()
        self._here, self._call = here, (_alone, function, *arguments)
        self._named = named
        self._lock = threading.Lock()
        self._decided = False  # is it known whose numbers are taken?

    def send(self, client: Any) -> None:
        """Have it computed by the workers of a client."""
        try:
            sent = client.get_executor().submit(*self._call, **self._named)
        except Exception:  # the connection has gone just now
            self.compute_here()
            return
        self.outcome.add_done_callback(lambda outcome: sent.cancel() if outcome.cancelled() else None)
        sent.add_done_callback(self._sent_back)

    def compute_here(self) -> None:
        if not self._decide() or self.outcome.cancelled():
            return
        try:
            self._here.submit(*self._call, **self._named).add_done_callback(self._take)
        except RuntimeError:  # nothing is computed any more
            self.outcome.cancel()

    def _sent_back(self, sent: Future[Any]) -> None:
        if sent.cancelled() or sent.exception() is not None:
            self.compute_here()  # if the work itself is at fault, it fails here in the same way
        elif self._decide():
            self._take(sent)

    def _decide(self) -> bool:
        """May whoever asks say what comes of it? True once."""
        with self._lock:
            first, self._decided = not self._decided, True
        return first

    def _take(self, done: Future[Any]) -> None:
        with suppress(InvalidStateError):  # nobody waits for it any more
            if done.cancelled():
                self.outcome.cancel()
            elif (failure := done.exception()) is not None:
                self.outcome.set_exception(failure)
            else:
                self.outcome.set_result(done.result())


def _alone(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    torch.set_num_threads(1)
    return function(*arguments, **named)


def _threads(client: Any) -> int:
    """Of all its workers; 0 where they cannot be asked for."""
    if client.status != "running":
        return 0
    try:
        return sum(client.sync(client.scheduler.ncores, callback_timeout=_ANSWERS).values())
    except Exception:  # of many kinds, when a connection is about to go
        return 0


@cache
def _runner() -> Any:
    """Of Dask's event loop, in a thread of its own: one for all clients, for a client that fails does not end its own."""
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    runner.start()
    return runner


async def _greet(address: str) -> None:
    """Raises an error, of many kinds, where nobody answers as Dask does."""
    from distributed.comm.core import connect as reach

    (await reach(address, timeout=_ANSWERS)).abort()


def _opened(address: str) -> Any:
    """A client of the scheduler at an address. Raises Unreachable."""
    try:
        from distributed import Client, utils  # an optional dependency
    except ImportError:
        raise Unreachable(
            "Clusters need the package distributed, which is not installed: pip install 'ravine[cluster]'."
        ) from None
    loop = _runner().loop
    try:
        # Before there is a client: it waits without end for who listens and says nothing, and one that could not connect
        # blocks the next for ever if it is collected while that one starts.
        utils.sync(loop, _greet, address, callback_timeout=2 * _ANSWERS)
        return Client(address, timeout=_ANSWERS, set_as_default=False, loop=loop)
    except Exception as failure:  # whoever listens there may say anything
        raise Unreachable(
            f"No Dask scheduler answers at {excerpt(address)} ({type(failure).__name__}). The address is that of a running "
            f"`dask scheduler`, as in tcp://127.0.0.1:8786."
        ) from None


def connect(address: str) -> Cluster:
    """The cluster whose scheduler listens at an address as tcp://host:8786. Raises Unreachable."""
    return Cluster(address, _opened(address))


def from_environment() -> Cluster | None:
    """The cluster that the app was started with, if any: whether it is there or not, for it may come."""
    address = os.environ.get(VARIABLE)
    if not address:
        return None
    try:
        return connect(address)
    except Unreachable as refusal:
        return Cluster(address, absent=f"{refusal} {_HERE} one does.")
