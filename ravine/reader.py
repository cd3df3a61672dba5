"""The experiment of a link. Reading never fails: what cannot be used, or does not fit the rest, is put back to its default."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

from landscapes import LANDSCAPES, settings
from landscapes.setting import excerpt
from optimizers import Stepper, composed, layers
from ravine import frame, overlay
from ravine.link import START, VERSION, Query, cut

if TYPE_CHECKING:  # an Experiment reads itself from a link
    from ravine.experiment import Experiment, View


class Reader:
    """Reads the experiment of one query."""

    def __init__(self, query: Mapping[str, str]):
        self._link = Query(query)

    def experiment(self, default: Experiment, view: View, landscapes: list[str]) -> tuple[Experiment, list[str]]:
        """The experiment of a view, on one of the landscapes that it can show; and what was not used, in sentences."""
        version = self._link.left.pop("v", str(VERSION))
        if version != str(VERSION):
            self._link.refused.append(
                f"The link's version is “{excerpt(version)}”; this app reads version {VERSION} and did its best."
            )
        places = {name: LANDSCAPES[name] for name in landscapes}
        values: dict[str, Any] = {
            "view": default.view,
            "landscape": self._link.declared("land", places, default.landscape),
            "optimizers": self._optimizers(default, view.optimizers),
        }
        if "start" in self._link.left:
            text = self._link.left.pop("start")
            try:
                values["start"] = START.read("start", text)[0]
            except ValueError as refusal:
                self._link.refused.append(f"{refusal} The default is used.")
        elif type(values["landscape"]) is type(default.landscape):
            values["start"] = default.start
        known = settings(default)
        if "over_y" in view.keys and "over_y" not in self._link.left and values["optimizers"] != default.optimizers:
            self._link.left["over_y"] = "none"  # the default's second axis belongs to the default's rule
        for key in (*view.keys, *view.shown):
            values[key] = self._link.value(key, known[key], self._link.left.pop(key, None), getattr(default, key))
        for key in self._link.left:
            if key not in frame.KEYS:  # read by those who show the link, not by those who compute it
                self._link.refused.append(
                    f"“{excerpt(key)}” is not something a {default.view} link says, so it was ignored."
                )
        experiment = self._built(values, default)
        return experiment, cut(self._link.refused)

    def _built(self, values: dict[str, Any], default: Experiment) -> Experiment:
        """The experiment, or with as few values as possible put back to their defaults so that the rest fits together."""
        repairs: list[dict[str, Any]] = [
            {"device": "cpu"},
            {"start": None},
            {"vary": overlay.NOTHING},
            {"batch_size": 0},
            {"steps": default.steps},
            {"points": default.points},
            {"over_y": None},
            {"over_x": settings(default)["over_x"].default, "over_y": None},
            {"outcome": default.outcome},
            {"quantity": default.quantity},
            {"seed": default.seed} if values.get("plane") == "solutions" else {},
            {"optimizers": tuple(_without_schedule(one) for one in values["optimizers"])},
            {"landscape": default.landscape, "start": default.start},
        ]
        # Putting back what stands there already repairs nothing, and subsets of repairs double with each.
        repairs = [
            one for one in repairs if any(values.get(key) != default_value for key, default_value in one.items())
        ]
        reasons: list[str] = []
        for count in range(len(repairs) + 1):
            for chosen in combinations(repairs, count):
                attempt = dict(values)
                for repair in chosen:
                    attempt |= repair
                try:
                    experiment = type(default)(**attempt)
                except (ValueError, TypeError) as refusal:
                    reasons.append(str(refusal))
                    continue
                # One reason for each value put back: each repair may uncover the next.
                self._link.refused += [f"{reason} The default is used." for reason in dict.fromkeys(reasons)][:count]
                return experiment
        self._link.refused.append(f"{reasons[-1]} The default is shown.")
        return default

    def _optimizers(self, default: Experiment, most: int) -> tuple[Stepper, ...]:
        found: list[Stepper] = []
        for number in "123456789":
            if f"opt{number}" not in self._link.left:
                continue
            if len(found) == most:
                self._link.take(f"opt{number}")
                one_or_more = f"at most {most} optimizers" if most > 1 else "one optimizer"
                self._link.refused.append(f"opt{number} was ignored: this view shows {one_or_more}.")
                continue
            optimizer = self._link.stepper(f"opt{number}")
            if optimizer is not None:
                found.append(optimizer)
        return tuple(found) or default.optimizers


def _without_schedule(stepper: Stepper) -> Stepper:
    rule, _, wrappers = layers(stepper)
    return composed(rule, None, (partial(type(one), **one.values()) for one in wrappers))
