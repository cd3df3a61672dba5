"""A Dask cluster as an executor: the same pieces of work on other machines. Only this module knows of Dask."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import torch

from landscapes.setting import excerpt

VARIABLE = "RAVINE_SCHEDULER"  # where the app finds the scheduler's address
_PATIENCE = 5.0  # seconds to wait for a scheduler


class Unreachable(ValueError):
    """There is no cluster at that address: a sentence for whoever gave it."""


class Cluster(Executor):
    """The executor of a Dask client. Every piece runs on one thread, as here: on processors of one kind it
    has the same bits."""

    def __init__(self, client: Any):
        self._client, self._inner = client, client.get_executor()

    @property
    def ahead(self) -> int:
        """Pieces under way at once: two for each thread of the workers."""
        return max(2, 2 * sum(self._client.nthreads().values()))

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        return self._inner.submit(_alone, function, *arguments, **named)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._inner.shutdown(wait=wait)
        self._client.close()


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    torch.set_num_threads(1)
    return function(*arguments)


def connect(address: str) -> Cluster:
    """The cluster whose scheduler listens at an address as tcp://host:8786. Raises Unreachable."""
    try:
        from distributed import Client  # an optional dependency
    except ImportError:
        raise Unreachable(
            "Clusters need the package distributed, which is not installed: pip install 'ravine[cluster]'."
        ) from None
    try:
        return Cluster(Client(address, timeout=_PATIENCE, set_as_default=False))
    except (OSError, ValueError, TimeoutError) as failure:
        raise Unreachable(
            f"No Dask scheduler answers at {excerpt(address)} ({type(failure).__name__}). The address is that of a running "
            f"`dask scheduler`, as in tcp://127.0.0.1:8786."
        ) from None


def from_environment() -> tuple[Cluster | None, str]:
    """The cluster that the app was started with, if any; and a sentence where it was not to be had."""
    address = os.environ.get(VARIABLE)
    if not address:
        return None, ""
    try:
        return connect(address), ""
    except Unreachable as refusal:
        return None, f"{refusal} Computing on this machine instead."
