"""In what two experiments differ, called as the pages call it."""

from __future__ import annotations

from dataclasses import dataclass

from landscapes.setting import Choice, Declared, Flag, Setting, settings
from optimizers import layers
from ravine.experiment import Experiment
from ravine.words import chosen, spoken

_ABSENT = "–"
_PARTS = {"land": "Landscape", "opt": "Rule", "schedule": "Schedule", "wrap": "Around the gradient or the step"}


@dataclass(frozen=True)
class Difference:
    label: str  # what differs, as people read it
    key: str  # the same in a link
    a: str
    b: str


def differences(a: Experiment, b: Experiment) -> list[Difference]:
    """What two links say differently, in the order in which links say it."""
    one, other = _said(a), _said(b)
    return [
        Difference((one | other)[key][0], key, one.get(key, ("", _ABSENT))[1], other.get(key, ("", _ABSENT))[1])
        for key in dict(one | other)
        if one.get(key, ("", ""))[1] != other.get(key, ("", ""))[1]
    ]


def _said(experiment: Experiment) -> dict[str, tuple[str, str]]:
    """Key of the link -> what it is called, and its value as people read it."""
    said = {"page": ("Page", experiment.view)}
    parts = _parts(experiment)
    for key, text in experiment.to_query().items():
        owner, _, name = key.rpartition(".")
        if key in parts:
            said[key] = _PARTS[name.rstrip("0123456789")] + _of(experiment, key), parts[key][1]
        elif owner in parts or not owner:
            declared = parts[owner][0] if owner else experiment
            one = settings(declared).get(name)
            label = name.capitalize() if one is None else spoken(name, one) + _of(experiment, key)
            said[key] = label, text if one is None else _value(one, text)
    return said


def _parts(experiment: Experiment) -> dict[str, tuple[Declared, str]]:
    """Key of the link -> the declared thing behind it, and what that is called."""
    parts: dict[str, tuple[Declared, str]] = {"land": (experiment.landscape, experiment.landscape.label)}
    for index, stepper in enumerate(experiment.optimizers, start=1):
        rule, schedule, wrappers = layers(stepper)
        parts[f"opt{index}"] = rule, rule.label
        if schedule is not None:
            parts[f"opt{index}.schedule"] = schedule, schedule.label
        if wrappers:
            parts[f"opt{index}.wrap"] = wrappers[0], ", ".join(one.label for one in wrappers)
        parts |= {f"opt{index}.{one.name}": (one, one.label) for one in wrappers}
    return parts


def _of(experiment: Experiment, key: str) -> str:
    """Whose it is, where several runs have one each."""
    own = key.startswith("opt") and len(experiment.optimizers) > 1
    return f" of run {key.partition('.')[0].removeprefix('opt')}" if own else ""


def _value(one: Setting, text: str) -> str:
    if isinstance(one, Choice) and text in one.choices:
        return chosen(one, text)
    return {"true": "on", "false": "off"}.get(text, text) if isinstance(one, Flag) else text
