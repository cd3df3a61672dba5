"""How many may be at work on a server at once, and the line of those who wait for a seat."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

_WINDOW = 600.0  # seconds back that a guess of the waiting time looks


class Seats:
    """Seats for so many; who comes later waits in line, in the order of coming. Safe to use from several threads."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic):
        self.most, self._clock = most, clock
        self._seated: set[str] = set()
        self._line: OrderedDict[str, None] = OrderedDict()
        self._freed: deque[float] = deque(maxlen=1000)  # when seats were given up
        self._began = clock()
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        return len(self._seated)

    @property
    def waiting(self) -> int:
        return len(self._line)

    def come(self, who: str) -> None:
        """Take a seat, or a place at the end of the line."""
        with self._lock:
            if len(self._seated) < self.most:
                self._seated.add(who)
            else:
                self._line[who] = None

    def leave(self, who: str) -> None:
        """The first in line takes the seat."""
        with self._lock:
            self._line.pop(who, None)
            if who in self._seated:
                self._seated.remove(who)
                self._freed.append(self._clock())
                if self._line:
                    self._seated.add(self._line.popitem(last=False)[0])

    def place(self, who: str) -> int:
        """In line: 1 is the next; 0 for who has a seat or is not known."""
        with self._lock:
            return list(self._line).index(who) + 1 if who in self._line else 0

    def wait(self, place: int) -> float | None:
        """Seconds until a place in line becomes a seat, at the rate at which seats were given up of late; None if none was."""
        with self._lock:
            now = self._clock()
            freed = sum(when > now - _WINDOW for when in self._freed)
            return place * min(_WINDOW, now - self._began) / freed if freed else None
