"""One experiment, several runs: each rule, and one setting at several values, laid over each other in one picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from landscapes import Landscape, settings
from landscapes.setting import Choice, Flag, Integer, Integers, Number, Setting, excerpt
from optimizers import Stepper, with_values
from ravine.words import chosen, plain, spoken

if TYPE_CHECKING:  # an Experiment says what its runs are
    from ravine.experiment import Experiment

NOTHING = "nothing"
_OWN = ("seed", "batch_size")  # of the experiment itself
_KINDS = (Number, Integer, Integers, Flag, Choice)  # whose texts hold no comma


@dataclass(frozen=True)
class Run:
    """One of the runs of an experiment."""

    landscape: Landscape
    optimizer: Stepper
    seed: int
    batch_size: int
    label: str  # tells it from the others


def variable(experiment: Experiment) -> dict[str, Setting]:
    """The settings that may take several values, by their places in the link: opt1.lr, land.hidden, seed, ..."""
    places: list[tuple[str, Any]] = [
        (f"opt{index}.", one.rule) for index, one in enumerate(experiment.optimizers, start=1)
    ]
    places.append(("land.", experiment.landscape))
    found = {f"{place}{name}": one for place, owner in places for name, one in settings(owner).items()}
    found |= {name: settings(experiment)[name] for name in _OWN}
    return {place: one for place, one in found.items() if isinstance(one, _KINDS)}


def values(experiment: Experiment) -> list[Any]:
    """The values of the setting that is varied. Raises ValueError for one that does not read."""
    known = variable(experiment)
    if experiment.vary not in known:
        listed = ", ".join(known)
        raise ValueError(
            f"vary = {excerpt(experiment.vary)} is not allowed here: it must be {NOTHING} or one of {listed}."
        )
    one = known[experiment.vary]
    read = [one.read(experiment.vary, text.strip()) for text in experiment.across.split(",")]
    if len(set(read)) < len(read):
        raise ValueError(f"across = {excerpt(experiment.across)} holds a value twice: each is one run.")
    return read


def runs(experiment: Experiment) -> tuple[Run, ...]:
    """Each rule once, or where a setting is varied that concerns it, once for each value."""
    base = partial(Run, seed=experiment.seed, batch_size=experiment.batch_size)
    several = len(experiment.optimizers) > 1
    given = [] if experiment.vary == NOTHING else values(experiment)
    found = []
    for index, optimizer in enumerate(experiment.optimizers, start=1):
        named = f"{optimizer.title}, η = {optimizer.rule.lr:.4g}" if several else ""
        alone = base(experiment.landscape, optimizer, label=named)
        place, _, name = experiment.vary.rpartition(".")
        if experiment.vary == NOTHING or (place.startswith("opt") and place != f"opt{index}"):
            found.append(alone)
            continue
        one = variable(experiment)[experiment.vary]
        called = plain(one.symbol) if one.symbol else spoken(name, one)
        title = f"{optimizer.title}, " if several else ""
        for value in given:
            said = chosen(one, value) if isinstance(one, Choice) else one.write(value)
            label = f"{title}{called} = {said}"
            found.append(dataclasses.replace(_changed(alone, place, name, value), label=label))
    return tuple(found)


def _changed(run: Run, place: str, name: str, value: Any) -> Run:
    """The run with one setting at another value. Raises ValueError where the rest does not go with it."""
    if place == "land":
        return dataclasses.replace(run, landscape=dataclasses.replace(run.landscape, **{name: value}))
    if place:
        return dataclasses.replace(run, optimizer=with_values(run.optimizer, {name: value}))
    return dataclasses.replace(run, **{name: value})
