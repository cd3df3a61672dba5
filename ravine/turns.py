"""A lock that lets those who wait in by the order in which they came."""

from __future__ import annotations

import threading
from types import TracebackType


class Turns:
    """Who holds it is alone; who gives it back and asks again goes behind all who wait. Python's own lock promises no order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._given = self._serving = 0  # numbers drawn so far, and the one whose turn it is

    def __enter__(self) -> None:
        with self._changed:
            mine = self._given
            self._given += 1
            self._changed.wait_for(lambda: self._serving == mine)

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._serving += 1
            self._changed.notify_all()
