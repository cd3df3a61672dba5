"""A door of the house and what is thrown at it: inputs are drawn by a seed, checked, and the smallest bad one is kept."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from tests.fuzz.guard import Astray, innocent
from tests.fuzz.hostile import escaped

_BATCH = 100  # inputs that are drawn by one seed
_SENTENCES, _CHARACTERS = 8, 1500  # of a refusal
_FREE = 1e9  # seconds


@dataclass(frozen=True)
class Door:
    """Where inputs come in. A reader gives something or refuses by a ValueError; nothing else may come of any input.

    `sound` raises AssertionError for a reading that does not hold: a round trip that loses something, say. `again` turns
    the bytes of a kept input into the input.
    """

    name: str
    inputs: SearchStrategy[Any]
    read: Callable[[Any], Any]
    sound: Callable[[Any], None]
    seconds: float  # of processor time that reading one input may take
    memory: int  # bytes that it may take
    kept: Callable[[Any], bytes] = bytes
    again: Callable[[bytes], Any] = bytes

    def check(self, one: Any, timed: bool = True) -> bool:
        """Raises for an input that the door does not hold against. Was it let in?"""
        seen = innocent(lambda: self.read(one), seconds=self.seconds if timed else _FREE, memory=self.memory)
        if escaped():
            raise Astray("It was run: its canary was there.")
        if seen.refusal is not None:
            plain([str(seen.refusal)])
            return False
        self.sound(seen.given)
        return True


def plain(refusals: list[str]) -> None:
    """Asserts that this can be shown to a visitor: at most eight sentences, and nothing in them that is not to be seen."""
    assert len(refusals) <= _SENTENCES, refusals
    for one in refusals:
        assert one[:1].strip(), refusals
        assert one[-1] in ".!?)", one
        assert one.isprintable(), ascii(one)
        assert len(one) <= _CHARACTERS, one
        assert len(re.findall(r"[.!?](?=\s|$)", one)) <= _SENTENCES, one


@dataclass
class Hunt:
    """What was thrown at a door, and the smallest input that it did not hold against."""

    door: Door
    read: int = 0
    refused: int = 0
    failure: BaseException | None = None
    found: Any = None

    @property
    def told(self) -> str:
        return f"{self.door.name}: {self.read:,} read, {self.refused:,} refused"

    def keep(self, folder: Path) -> Path:
        """Writes the input that was found down. Its name says which door it is for."""
        data = self.door.kept(self.found)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.door.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        return path


def hunt(
    door: Door, *, start: int = 0, seconds: float = float("inf"), inputs: int | None = None, timed: bool = True
) -> Hunt:
    """Throws inputs at a door until one goes through, time is over, or so many are through. Same seed, same inputs."""
    done = Hunt(door)
    until = time.monotonic() + seconds
    left = inputs if inputs is not None else float("inf")
    while left > 0 and time.monotonic() < until and done.failure is None:
        _batch(done, start, int(min(_BATCH, left)), until, timed)
        start, left = start + 1, left - _BATCH
    return done


def _batch(done: Hunt, start: int, count: int, until: float, timed: bool) -> None:
    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(done.door.inputs)
    def one(thrown: Any) -> None:
        if time.monotonic() > until and done.failure is None:
            return
        try:
            let_in = done.door.check(thrown, timed)
        except Exception as failure:
            done.failure, done.found = failure, thrown  # the last one is the smallest
            raise
        done.read, done.refused = done.read + let_in, done.refused + (not let_in)

    try:
        one()
    except BaseException:
        if done.failure is None:
            raise
