"""One axis of a sweep: a name, a range, and how many values from end to end. Written lr:0.001:1.0:64log."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from landscapes.setting import Integer, Number, Setting, excerpt
from ravine import limits

_TEXT = re.compile(r"([A-Za-z_][\w.]{0,60})[:=]([^:=]{1,40}):([^:=]{1,40}):([0-9]{1,6})(log)?", re.ASCII)
_COARSER = (64, 256)  # points a side that a map is drawn at on the way to more


@dataclass(frozen=True)
class Axis:
    """`points` values from low to high, evenly spaced or, with `log`, in even ratios."""

    name: str
    low: float
    high: float
    points: int
    log: bool = False

    def values(self) -> list[float]:
        """The values, the ends exactly as given."""
        if self.points == 1:
            return [self.low]
        ends = [math.log(self.low), math.log(self.high)] if self.log else [self.low, self.high]
        step = (ends[1] - ends[0]) / (self.points - 1)
        inner = [ends[0] + step * place for place in range(1, self.points - 1)]
        return [self.low, *(map(math.exp, inner) if self.log else inner), self.high]

    def numbers(self, setting: Setting) -> list[float]:
        """The values that the setting takes: for whole numbers the nearest, each once."""
        if not isinstance(setting, Integer):
            return self.values()
        return list(dict.fromkeys(round(value) for value in self.values()))

    def coarser(self) -> Axis:
        """The same range at the points that come before these, if any do."""
        return replace(self, points=max((one for one in _COARSER if one < self.points), default=self.points))

    def write(self) -> str:
        return f"{self.name}:{self.low!r}:{self.high!r}:{self.points}{'log' if self.log else ''}"


def read_axis(text: str) -> Axis:
    """The axis of a text as lr:0.001:1:64log, or lr=0.001:1:64log as people type it. Raises ValueError."""
    found = _TEXT.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        number = Number(0.0)
        low, high = (number.read("a limit", one) for one in found.group(2, 3))
    except ValueError:
        raise ValueError(
            f"“{excerpt(text)}” is not an axis: write the name, both ends and the number of values, as in lr:0.001:1:64log."
        ) from None
    return check_axis(Axis(found[1], low, high, int(found[4]), bool(found[5])))


def check_axis(axis: Axis) -> Axis:
    """The axis, if it is one by itself, whatever its name means. Raises ValueError."""
    if not axis.low < axis.high:
        raise ValueError(f"The axis of {axis.name} goes from {axis.low:g} to {axis.high:g}: the lower end comes first.")
    if not 2 <= axis.points <= limits.LIMITS.axis:
        raise ValueError(
            f"The axis of {axis.name} has {axis.points} values: it must have at least 2 and at most {limits.LIMITS.axis}."
        )
    if axis.log and axis.low <= 0:
        raise ValueError(
            f"The axis of {axis.name} is logarithmic and begins at {axis.low:g}: it must begin above zero."
        )
    return axis


def fitted(axis: Axis, known: dict[str, Setting]) -> Axis:
    """The axis, if one of the settings `known` has its name and allows its ends. Raises ValueError."""
    if axis.name not in known:
        raise ValueError(f"“{axis.name}” cannot be swept here: it must be one of {', '.join(known)}.")
    one = known[axis.name]
    for end in (axis.low, axis.high):
        one.check(axis.name, round(end) if isinstance(one, Integer) else end)
    return axis


@dataclass(frozen=True)
class AxisSetting(Setting):
    """A setting whose value is an Axis, or None where there may be none."""

    default: Any = None
    optional: bool = False

    @property
    def allowed(self) -> str:
        return "an axis as in lr:0.001:1:64log" + (", or none" if self.optional else "")

    def check(self, name: str, value: Any) -> Axis | None:
        if value is None and self.optional:
            return None
        if not isinstance(value, Axis):
            raise TypeError(self.refusal(name, value))
        return check_axis(read_axis(value.write()))

    def read(self, name: str, text: str) -> Axis | None:
        return None if text == "none" and self.optional else read_axis(text)

    def write(self, value: Axis | None) -> str:
        return "none" if value is None else value.write()
