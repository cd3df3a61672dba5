"""What a lesson has shown: figures, a table to read, and the goals that were met or missed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.crowd.asked import Asked
from benchmarks.crowd.servers import Watch
from benchmarks.crowd.students import LONG, Lesson

WORD = 5.0  # seconds without a picture or a sentence that are too long
TOLD = 1.0  # seconds within which a place and a time in the queue are told
TRUE = 2.0  # the factor within which they are true
_FORECAST = 5.0  # seconds: what is said to be nearer its end than that is not judged
_GROWTH = 1.1  # of memory, from a quarter of the time to its end, that is flat
_LONG = 240.0  # seconds of a lesson that shows whether it is
_LATE = 0.25  # seconds: where the clients themselves were later than that, their times are not the server's


@dataclass(frozen=True)
class Times:
    """Seconds. One who still waits when the lesson ends counts with the time that was waited, which flatters nobody."""

    asked: int
    answered: int
    p50: float
    p95: float
    worst: float

    @classmethod
    def of(cls, found: Iterable[tuple[float | None, float]]) -> Times:
        """From pairs of the time that it took, if it came, and the time that somebody waited."""
        pairs = list(found)
        values = sorted(took if took is not None else waited for took, waited in pairs)
        return cls(
            len(pairs), sum(took is not None for took, _ in pairs), *(quantile(values, one) for one in (0.5, 0.95, 1))
        )


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that so large a share of the sorted values does not exceed; NaN of none."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


@dataclass(frozen=True)
class Goal:
    name: str
    met: bool | None  # None where the lesson had nothing to judge it by
    found: str

    def __str__(self) -> str:
        return f"{'–' if self.met is None else 'pass' if self.met else 'MISS':<5} {self.name}: {self.found}"


def times(lesson: Lesson) -> dict[str, Times]:
    """By what was asked for."""

    def of(what: str, until: Callable[[Asked], float | None], kinds: Sequence[str] = ()) -> Times:
        chosen = [one for one in lesson.fair if one.what == what and (not kinds or one.kind in kinds)]
        return Times.of((until(one), one.waited) for one in chosen)

    found = {
        "page files, first visit": Times.of((one, one) for one in lesson.files),
        "Descend: open to picture": of("open", lambda one: one.picture),
        "Descend: move to picture": of("move", lambda one: one.picture),
        "shared link: open to first picture": of("shared", lambda one: one.picture),
        "shared link: open to the whole": of("shared", lambda one: one.done),
        "own change: to a word": of("own", lambda one: one.word),
        "own change: to first picture": of("own", lambda one: one.picture),
        "own change: to the whole": of("own", lambda one: one.done),
    }
    for kind in LONG:
        found[f"  {kind}: shared link"] = of("shared", lambda one: one.picture, (kind,))
        found[f"  {kind}: own change"] = of("own", lambda one: one.picture, (kind,))
    return {name: one for name, one in found.items() if one.asked}


ENDS = ("complete", "waiting", "refused", "cancelled", "failed", "exception", "nothing", "closed")


def counts(lesson: Lesson) -> dict[str, int]:
    """How requests ended, and what went wrong."""
    ends = Counter(one.end or "waiting" for one in lesson.asked)
    return {
        "requests": len(lesson.asked),
        **{name: ends[name] for name in ENDS},
        "left out, the clients stood still": len(lesson.asked) - len(lesson.fair),
        "without picture or sentence": len(speechless(lesson)),
        "moves skipped, still waiting": lesson.skipped,
        "HTTP failures": len(lesson.traffic.failures),
        "faults of students": len(lesson.faults),
    }


def speechless(lesson: Lesson) -> list[Asked]:
    """Requests that had neither a picture nor a sentence for too long, or never."""
    late = [one for one in lesson.fair if (one.word if one.word is not None else one.waited) > WORD]
    return late + [one for one in lesson.fair if one.end == "nothing"]


def judged(lesson: Lesson, watch: Watch) -> list[Goal]:
    """The goals of a class of sixty."""
    found = times(lesson)
    goals = []
    for name, row, most in (
        ("a move on Descend has its picture, p95 < 0.5 s", "Descend: move to picture", 0.5),
        ("a shared link has its first picture, p95 < 5 s", "shared link: open to first picture", 5.0),
    ):
        one = found.get(row)
        goals.append(
            Goal(name, None if one is None else one.p95 < most, "nobody asked" if one is None else f"{one.p95:.2f} s")
        )
    own = [one for one in lesson.fair if one.what == "own"]
    quick = [one for one in own if one.picture is not None and one.picture < 5]
    told = [one for one in own if one not in quick and (promise := one.promise) is not None and promise.at <= TOLD]
    name = "an own change has a picture within 5 s, or a place and a time in the queue within 1 s"
    goals.append(
        Goal(
            name,
            len(quick) + len(told) == len(own) if own else None,
            f"{len(quick)} pictures and {len(told)} places with a time, of {len(own)}",
        )
    )
    promises = [promise for one in lesson.fair if (promise := one.promise) is not None]
    kept = [(one.said, one.took) for one in promises if one.took is not None]
    goals.append(_true("times in the queue are true within a factor of 2", kept))
    forecasts = [pair for one in lesson.fair for pair in one.forecasts if max(pair) >= _FORECAST]
    goals.append(_true("times that a computation is said to take yet are", forecasts))
    memory = watch.memory()
    flat = "nothing was measured"
    if memory:
        flat = f"{memory['start']:.0f} MB, {memory['quarter']:.0f} after a quarter, {memory['end']:.0f} at the end, {memory['most']:.0f} at most"
    long = bool(memory) and lesson.seconds >= _LONG
    goals.append(Goal("memory is flat", memory["end"] < _GROWTH * memory["quarter"] if long else None, flat))
    silent = speechless(lesson)
    worst = max(((one.word if one.word is not None else one.waited) for one in lesson.fair), default=0.0)
    goals.append(
        Goal(
            f"nobody waits {WORD:.0f} s without a picture or a sentence",
            not silent,
            f"{len(silent)} did; the worst {worst:.1f} s",
        )
    )
    ended = counts(lesson)
    bad = {name: ended[name] for name in ("exception", "failed", "cancelled", "closed", "nothing") if ended[name]}
    goals.append(
        Goal(
            "no exception, nothing cancelled that is wanted",
            not bad,
            ", ".join(f"{n} {name}" for name, n in bad.items()) or "none",
        )
    )
    return goals


def _true(name: str, pairs: Sequence[tuple[float, float]]) -> Goal:
    """Are nine in ten forecasts right within the factor, a second more or less aside?"""
    right = [said <= TRUE * took + 1 and took <= TRUE * said + 1 for said, took in pairs]
    return Goal(name, sum(right) >= 0.9 * len(right) if right else None, f"{sum(right)} of {len(right)}")


def summary(name: str, lesson: Lesson, watch: Watch) -> dict[str, Any]:
    """All of it, for a file."""
    ready = sorted(one.ready for one in watch.samples if one.ready is not None)
    return {
        "name": name,
        "seconds": lesson.seconds,
        "sessions": {"descend": lesson.descend, "long": lesson.long},
        "times": {key: asdict(one) for key, one in times(lesson).items()},
        "counts": counts(lesson),
        "goals": [asdict(one) for one in judged(lesson, watch)],
        "memory": watch.memory(),
        "readyz": {"p50": quantile(ready, 0.5), "p95": quantile(ready, 0.95), "worst": quantile(ready, 1), "silent": len(watch.samples) - len(ready), "full": sum(one.status == 503 for one in watch.samples)},
        "server processors": mean([one.busy for one in watch.samples]),
        "client processors": mean([one.client for one in watch.samples]),
        "client late": max((one.late for one in watch.samples), default=0.0),
        "results written": len(watch.written),
        "written more than once": {key: count for key, count in watch.written.items() if count > 1},
        "traffic": asdict(lesson.traffic),
        "faults": lesson.faults[:50],
        "samples": watch.rows(),
        "asked": [asdict(one) for one in lesson.asked],
    }  # fmt: skip


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def table(found: dict[str, Any]) -> str:
    """A summary to read."""
    who = found["sessions"]
    lines = [f"{found['name']}: {who['descend']} on Descend and {who['long']} on long pages, {found['seconds']:.0f} s"]
    lines.append(f"{'seconds':<38}{'asked':>7}{'answered':>10}{'p50':>8}{'p95':>8}{'worst':>8}")
    for name, one in found["times"].items():
        lines.append(
            f"{name:<38}{one['asked']:>7}{one['answered']:>10}{one['p50']:>8.2f}{one['p95']:>8.2f}{one['worst']:>8.2f}"
        )
    lines.append(
        ", ".join(
            f"{name} {count}"
            for name, count in found["counts"].items()
            if count or name in ("refused", "cancelled", "exception", "without picture or sentence")
        )
    )
    ready = found["readyz"]
    lines.append(
        f"/readyz p50 {ready['p50']:.3f} s, p95 {ready['p95']:.3f}, worst {ready['worst']:.3f}, silent {ready['silent']}, full {ready['full']}"
    )
    lines.append(
        f"processors: server {found['server processors']:.2f}, this client {found['client processors']:.2f} (late by {1000 * found['client late']:.0f} ms at most)"
    )
    if found["client late"] > _LATE:
        lines.append("The clients were held up themselves: the longest times above are theirs, not the server's.")
    traffic = found["traffic"]
    lines.append(
        f"traffic: {traffic['requests']} files of {traffic['http_bytes'] / 1e6:.1f} MB, {traffic['messages']} messages of "
        f"{traffic['websocket_bytes'] / 1e6:.1f} MB, {traffic['polls']} polls"
    )
    twice = found["written more than once"]
    lines.append(f"results written to disk: {found['results written']}, more than once: {len(twice)}")
    rows = found["samples"]
    shown = rows[:: max(1, len(rows) // 10)]
    lines.append(
        "memory, MB: " + ", ".join(f"{row['at']:.0f} s {row['web']:.0f} + {row['workers']:.0f}" for row in shown)
    )
    lines += [f"fault: {one}" for one in found["faults"][:5]]
    lines += [str(Goal(**one)) for one in found["goals"]]
    return "\n".join(lines)
