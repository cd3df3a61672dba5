"""Waiting, in tests: for what another thread or process brings about, and for a coroutine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def awaited(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end, also where a browser's event loop runs in the thread of the tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def until(condition: Callable[[], object], patience: float) -> None:
    """Looks again and again, and fails after so many seconds."""
    for _ in range(int(patience / 0.02)):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("waited too long")
