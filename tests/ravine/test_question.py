"""Questions before an outcome: each view has one, its answer is in the numbers, and what is shown before tells nothing."""

import dataclasses

import numpy as np
import pytest

from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, compute
from ravine.axis import Axis
from ravine.experiment import VIEWS
from ravine.question import answer, question, unanswered

TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))
BOWL = LANDSCAPES["quadratic"](kappa=10.0)


def asked(view, lr, **changes):
    on_surface = VIEWS[view].offers(type(BOWL))
    values = {"landscape": BOWL if on_surface else TINY, "optimizers": (OPTIMIZERS["gd"](lr=lr),), "view": view}
    return Experiment(**(values | {"steps": 30} | ({"points": 5} if view == "slice" else {}) | changes))


def curves(figure):
    """How many numbers a figure draws."""
    return sum(np.isfinite(np.asarray(one.y, dtype=float)).sum() for one in figure.data if one.y is not None)


# The curvatures of the bowl are 1 and 10, so that 0.2 is the largest step size that does not diverge.
CASES = [
    ("descend", 0.05, {}, "converges"),
    ("descend", 0.2, {}, "oscillates"),
    ("descend", 0.21, {}, "diverges"),
    ("edge", 0.01, {}, "converges"),
    ("slice", 0.01, {}, "converges"),
    ("edge", 100.0, {}, "diverges"),
    ("stepsize", 0.19, {"at": 0, "start": (0.0, 1.0)}, "lowers"),
    ("stepsize", 0.25, {"at": 0, "start": (0.0, 1.0)}, "raises"),
    ("sweep", 0.1, {"over_x": Axis("lr", 0.05, 0.19, 8)}, "few"),
    ("sweep", 0.1, {"over_x": Axis("lr", 0.1, 0.3, 8), "steps": 400}, "half"),
    ("sweep", 0.1, {"over_x": Axis("lr", 5.0, 9.0, 8), "steps": 400}, "most"),
]


@pytest.mark.parametrize(("view", "lr", "changes", "expected"), CASES)
def test_the_answer_is_what_the_numbers_say(view, lr, changes, expected):
    experiment = asked(view, lr, **changes)
    about, result = question(experiment), compute(experiment)
    assert about.text.endswith("?")
    assert expected in about.answers
    assert answer(result) == expected
    before = unanswered(result)
    assert curves(before.figure()) < curves(result.figure())


def test_nothing_shown_before_depends_on_what_happens():
    """The same start at three step sizes: pictures that differ in nothing but the step size itself."""
    looks = []
    for lr in (0.05, 0.2, 0.21):
        path = unanswered(compute(asked("descend", lr))).trajectory
        looks.append([path.step.tolist(), path.loss.tolist(), path.params.tolist(), path.diverged_at.tolist()])
    assert looks[0] == looks[1] == looks[2]
    before = [unanswered(compute(asked("sweep", 0.1, over_x=Axis("lr", 0.1, end, 8)))) for end in (0.15, 0.3)]
    assert not any(bool(one.table.known.any()) or bool((one.table.diverged_at >= 0).any()) for one in before)


def test_a_step_that_was_never_reached_has_no_answer():
    experiment = asked("stepsize", 50.0, at=300, start=(0.0, 1.0), steps=300)
    result = compute(experiment)
    assert result.study.here == {}
    assert answer(result) == ""
    assert answer(compute(dataclasses.replace(experiment, at=0))) == "raises"
