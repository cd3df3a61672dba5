"""A lock that lets those who wait in by the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class Turns:
    """Who holds it is alone; who gives it back and asks again goes behind all who wait. Python's own lock promises no order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        self._line: deque[threading.Lock] = deque()  # one for each who waits, opened by who goes before

    def __len__(self) -> int:
        """How many hold it or wait for it."""
        with self._lock:
            return self._held + len(self._line)

    def __enter__(self) -> None:
        with self._lock:
            if not self._held:
                self._held = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._line.append(gate)
        gate.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._line:
                self._line.popleft().release()
            else:
                self._held = False
