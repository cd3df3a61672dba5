"""What people do with a sweep: begin with a useful range, look closer, and open the run of one point."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from landscapes import Landscape, Surface, settings
from landscapes.setting import Integer, Number, Setting
from optimizers import Stepper, swept, with_values
from ravine.allowed import most_runs
from ravine.axis import Axis
from ravine.experiment import VIEWS, Experiment
from ravine.limits import LIMITS

SIZES = (8, 16, 32, 64, 128, 256, 512)  # points along an axis that the menu offers
_NETWORK_POINTS = 16  # along each axis, before the visitor asks for more


def natural(name: str, landscape: Landscape, optimizer: Stepper, points: int) -> Axis:
    """An axis over the useful part of what `name` can be."""
    one = swept(landscape, optimizer)[name]
    if isinstance(one, Integer):
        return Axis(name, float(one.low), float(min(one.high, one.low + points - 1)), points)
    assert isinstance(one, Number)
    low, high = one.scale or (one.low, one.high)
    if isinstance(landscape, Surface) and name in ("start_x", "start_y"):
        low, high = landscape.window[name == "start_y"]
    if one.high_open and high == one.high:
        high -= 0.01 * (high - low)
    if one.low_open and low == one.low:
        low += 0.01 * (high - low)
    return Axis(name, low, high, points, log=one.log and low > 0)


def refitted(experiment: Experiment, landscape: Landscape, optimizer: Stepper) -> Experiment:
    """The sweep on another landscape or of another rule: its axes stay where they mean something, at points it can afford."""
    known = swept(landscape, optimizer)
    same = type(landscape) is type(experiment.landscape)
    points = min(experiment.over_x.points, LIMITS.axis) if same or isinstance(landscape, Surface) else _NETWORK_POINTS
    x, y = experiment.over_x, experiment.over_y
    if x.name not in known:
        x = natural("lr", landscape, optimizer, points)
    if y is not None and y.name not in known:
        y = None
    if not same:
        x = dataclasses.replace(x, points=points)
        y = None if y is None else dataclasses.replace(y, points=points)
    batch_size = min(experiment.batch_size, landscape.samples or 0)
    most = most_runs(landscape, optimizer, experiment.steps, batch_size, experiment.measure)
    while x.points * (1 if y is None else y.points) > most and x.points > 2:
        x = dataclasses.replace(x, points=max(2, x.points // 2))
        y = None if y is None else dataclasses.replace(y, points=max(2, y.points // 2))
    start = experiment.start if same else None
    return dataclasses.replace(
        experiment, landscape=landscape, optimizers=(optimizer,), over_x=x, over_y=y, start=start,
        batch_size=batch_size,
    )  # fmt: skip


def closer(axis: Axis, low: float, high: float) -> Axis:
    """The part of an axis between low and high, its ends rounded to what its points can tell apart."""
    low, high = max(axis.low, min(low, high)), min(axis.high, max(low, high))
    size = max(abs(low), abs(high))
    width = (high - low) / size if size else 1.0
    digits = min(17, 3 + max(0, math.ceil(-math.log10(width)))) if width > 0 else 17
    low, high = (float(f"{end:.{digits}g}") for end in (low, high))
    return dataclasses.replace(axis, low=low, high=high)


def finer(experiment: Experiment) -> Experiment | None:
    """The same ranges at the next size along each axis that has more to tell; None where no more may be asked for."""

    def more(axis: Axis) -> Axis:
        most = LIMITS.axis
        if isinstance(known[axis.name], Integer):  # between two whole numbers there is nothing
            most = min(most, round(axis.high) - round(axis.low) + 1)
        return dataclasses.replace(axis, points=next((one for one in SIZES if axis.points < one <= most), axis.points))

    known = swept(experiment.landscape, experiment.optimizers[0])
    y = experiment.over_y
    try:
        found = dataclasses.replace(experiment, over_x=more(experiment.over_x), over_y=None if y is None else more(y))
    except ValueError:
        return None
    return None if found == experiment else found


def nearest(axis: Axis, one: Setting, value: float) -> float:
    """The value of the axis that is closest to this one."""
    scale = math.log if axis.log and value > 0 else float
    return min(axis.numbers(one), key=lambda known: abs(scale(known) - scale(value)))


def cell(experiment: Experiment, values: Mapping[str, float]) -> Experiment | None:
    """The single run at one point of a sweep, on the page that shows such runs; None if there is no such page."""
    view = next(name for name in ("descend", "edge") if VIEWS[name].offers(type(experiment.landscape)))
    whole = {name: int(values[name]) for name in ("seed", "batch_size") if name in values}
    if not whole.keys() <= settings(Experiment).keys():
        return None
    start = experiment.start
    if start is not None:
        start = values.get("start_x", start[0]), values.get("start_y", start[1])
    optimizer = with_values(experiment.optimizers[0], values)
    changes: dict[str, Any] = {name: getattr(Experiment.default(view), name) for name in VIEWS[view].shown}
    changes |= whole
    return dataclasses.replace(
        experiment, view=view, optimizers=(optimizer,), start=start, measure=False, outcome="final_loss",
        **changes,
    )  # fmt: skip
