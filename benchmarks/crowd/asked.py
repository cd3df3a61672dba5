"""What a visitor asked for and what came of it: how long until a word, a picture and the end, and what was said meanwhile."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.crowd.front_end import Heard, Tab

_SENTENCES = 60  # of one request that are kept, from the first on
# How the app says what becomes of a request: see pages/_live.py and pages/_waiting.py, and `sorry` in app.py.
_FATES = (
    ("exception", re.compile(r"Something went wrong on our side|code of your own landscape failed")),
    ("failed", re.compile(r"could not be computed")),
    ("cancelled", re.compile(r"^Cancelled\.")),
)
_PLACE = re.compile(r"(\d+)\b[^.;·]*\bbefore\b|\bnumber (\d+) in line|\bYou are next\b")
_TIME = re.compile(r"about (\d+(?:\.\d+)?) (s|min|minutes|h)\b")
_UNITS = {"s": 1.0, "min": 60.0, "minutes": 60.0, "h": 3600.0}


class Promise(NamedTuple):
    at: float  # seconds after the request
    said: float  # seconds until its turn
    took: float | None  # None where it still waits


@dataclass
class Asked:
    """One request. Times are seconds since it was made, None for what has not come."""

    who: str
    kind: str  # of page: a name in benchmarks.crowd.students
    what: str  # "open", "move", "shared" or "own"
    at: float  # seconds since the lesson began
    begun: float | None = None  # a run of the script that answers it
    word: float | None = None  # a picture, a sentence or a progress bar
    picture: float | None = None
    done: float | None = None  # the whole answer
    end: str = (
        ""  # "complete", "refused", "failed", "cancelled", "exception", "nothing", "closed"; empty while it waits
    )
    waited: float = 0.0  # seconds that somebody has looked
    said: list[tuple[float, str]] = field(default_factory=list)

    @property
    def promise(self) -> Promise | None:
        """The first place in the queue that was told together with a time, and how long it took from then on."""
        for at, text in self.said:
            told = place_and_time(text)
            if told is not None and told[1] is not None:
                begun = (later for later, other in self.said if later > at and place_and_time(other) is None)
                over = [one for one in (next(begun, None), self.picture, self.done) if one is not None and one > at]
                return Promise(at, told[1], min(over) - at if over else None)
        return None

    @property
    def forecasts(self) -> list[tuple[float, float]]:
        """Seconds that a running computation was said to take yet, and those that it took."""
        found = []
        if self.end == "complete" and self.done is not None:
            for at, text in self.said:
                time = _TIME.search(text)
                if time and place_and_time(text) is None and "left" in text:
                    found.append((float(time[1]) * _UNITS[time[2]], self.done - at))
        return found


def place_and_time(text: str) -> tuple[int, float | None] | None:
    """How many come before, and the seconds until one's turn where they are told; None for a sentence about something else."""
    place, time = _PLACE.search(text), _TIME.search(text)
    if place is None:
        return None
    return int(place[1] or place[2] or 1), float(time[1]) * _UNITS[time[2]] if time else None


class Follower:
    """Listens to a tab on behalf of a request, from the moment that it is made.

    What a run of before still sends does not count: only what comes once the awaited run has begun, of the whole page or of
    the fragment named. With `live` the answer is whole when the page says so; else when a run ends that has shown a picture,
    or neither a picture nor a word.
    """

    def __init__(self, tab: Tab, asked: Asked, now: float, fragment: str | None = None, *, live: bool):
        self.tab, self.asked, self._fragment, self._live = tab, asked, fragment, live
        self._from, self._old, self._whole = now, tab.picture, False
        tab.hear = self

    def __call__(self, heard: Heard) -> None:
        asked, since = self.asked, heard.at - self._from
        if asked.end and heard.what not in ("exception", "closed"):
            return
        if heard.what in ("exception", "closed"):
            self._over(since, heard.what, heard.text)
        elif asked.begun is None:
            if heard.what == "run" and self._fragment in (None, heard.text):
                asked.begun = since
        elif heard.what == "picture":
            if heard.text != self._old and asked.picture is None:
                asked.picture = since
                asked.word = since if asked.word is None else asked.word
        elif heard.what == "finished":
            if self._whole or (not self._live and (asked.picture is not None or not asked.said)):
                self._over(since, "complete" if asked.picture is not None else "nothing")
        elif heard.what != "run":
            self._hear(heard, since)

    def _hear(self, heard: Heard, since: float) -> None:
        """A sentence."""
        if self.asked.word is None:
            self.asked.word = since
        fate = next((name for name, words in _FATES if words.search(heard.text)), "")
        if heard.what == "error" or (heard.what == "info" and fate == "cancelled"):
            self._over(since, fate or "refused", heard.text)
        else:
            self._whole = self._whole or heard.what == "success"  # its picture comes below it, in the same run
            self._note(since, heard.text)

    def _over(self, since: float, end: str, text: str = "") -> None:
        self.asked.end, self.asked.done = end, since
        if text:
            self._note(since, text)

    def _note(self, since: float, text: str) -> None:
        said = self.asked.said
        if len(said) < _SENTENCES and (not said or said[-1][1] != text[:300]):
            said.append((since, text[:300]))
