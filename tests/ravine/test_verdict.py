"""What is said of a step size: true at degenerate points too, and nothing that the same study has seen to be otherwise."""

import itertools
import math
import re

import pytest
import torch

from landscapes import MLP, Formula
from optimizers import OPTIMIZERS, run, study
from ravine.verdict import origins, verdict
from tests.sampling import sampled

FORMULAS = [
    "x", "abs(x)+abs(y)", "max(x,y)", "5", "exp(x)", "x^2+y^2", "-x^2-y^2", "x^2-y^2", "sin(x)/x", "log(x)+y^2", "sqrt(x)",
    "x^4+y^4", "exp(x*y)", "1/x", "0*x", "-exp(-x^2)", "tanh(x)", "x^3",
]  # fmt: skip
POINTS = [(0.0, 0.0), (1.0, 1.0), (-30.0, 2.0), (-1.0, 1.0), (20.0, 30.0)]
RULES = [
    OPTIMIZERS[name](**{"weight_decay": 30.0} if decays else {})
    for name, decays in [
        ("gd", False), ("gd", True), ("heavy_ball", False), ("nag", False), ("adam", True), ("adamw", True), ("sgdw", True),
        ("rmsprop", False), ("lion", False),
    ]
]  # fmt: skip
NONSENSE = re.compile(r"\bnan\b|\binf\b|(?<![\w.])-\d[\d.e+-]* times|room for -|None|None", re.IGNORECASE)
CASES = list(itertools.product(FORMULAS, POINTS, [0.0, 0.1, 1e4], RULES, [0, 3]))


def looked(formula, point, rule, at=0, steps=3):
    return study(Formula(formula), rule, torch.tensor(point, dtype=torch.float64), steps=steps, at=at)


@pytest.mark.parametrize(("formula", "point", "lr", "rule", "at"), sampled(CASES, 60))
def test_every_point_of_every_formula_gets_sentences_without_nonsense(formula, point, lr, rule, at):
    rule = rule.at(lr)
    look = looked(formula, point, rule, at)
    said = [*verdict(look, rule), *(f"{one.value} {one.how}" for one in origins(look, rule))]
    assert said
    for sentence in said:
        assert not NONSENSE.search(sentence), sentence
    if look.here and lr > 0 and not math.isnan(look.here["threshold"]):
        assert look.judgement.expected in verdict(look, rule)[0]


def test_where_nothing_curves_upward_the_curvature_sets_no_limit():
    for formula in ("x", "abs(x) + abs(y)", "5", "-x^2 - y^2"):
        first, second, *_ = verdict(looked(formula, (1.0, 2.0), OPTIMIZERS["gd"](lr=0.1)), OPTIMIZERS["gd"](lr=0.1))
        assert (
            first == "η = 0.1: no verdict: no direction curves upward, so the curvature sets no limit to the step size."
        )
        assert ("update is zero" in second or "so is the next update" in second) == (formula == "5")
        assert ("the loss falls as far as it was followed" in second) == (formula in ("x", "-x^2 - y^2"))


def test_at_a_zero_gradient_no_step_lowers_the_loss():
    rule = OPTIMIZERS["gd"](lr=0.1)
    said = verdict(looked("x^2 + y^2", (0.0, 0.0), rule), rule)
    assert "0.1 times the stable step" in said[0]
    assert said[1].startswith("The gradient is zero here, and so is the next update")
    assert "lower it most" not in " ".join(said)


@pytest.mark.parametrize("name", ["gd", "heavy_ball", "adam"])
def test_a_step_size_of_zero_moves_nothing(name):
    rule = OPTIMIZERS[name](lr=0.0)
    look = looked("x^2 + 3*y^2", (1.0, 1.0), rule, at=3)
    said = verdict(look, rule)
    assert said[0].startswith(
        "η = 0: a step size of 0 moves nothing. Along the top eigenvector steps are stable up to η = "
    )
    if name == "gd":
        assert look.here["stable_lr"] == pytest.approx(2 / 6)
    assert said[1].startswith("The step size is 0")


def test_a_start_outside_the_domain_is_no_divergence():
    for formula, point in (("sin(x)/x", (0.0, 0.0)), ("log(x) + y^2", (-1.0, 1.0))):
        rule = OPTIMIZERS["gd"](lr=0.1)
        (said,) = verdict(looked(formula, point, rule, at=2), rule)
        assert said == "The run cannot begin: at its start the loss or its gradient is not a finite number."


def test_a_weight_decay_beyond_two_over_the_step_size_diverges_whatever_the_curvature():
    rule = OPTIMIZERS["sgdw"](lr=0.1, momentum=0.0, weight_decay=50.0)
    look = looked("x^2 + y^2", (1.0, 1.0), rule, steps=200)
    assert look.outlook == "diverges"
    assert "the weight decay alone makes such steps diverge" in verdict(look, rule)[0]
    assert float(look.along["loss"][-1]) > float(look.along["loss"][0])


def test_the_verdict_knows_what_the_study_has_seen():
    """Cross-entropy far beyond the catapult: the run swings up and comes down, as the run itself shows."""
    land, rule, at, steps = MLP(data="two_moons", hidden=(10,), subset=30), OPTIMIZERS["gd"](lr=30.0), 5, 100
    look, path = study(land, rule, steps=steps, at=at), run(land, rule, steps=steps)
    assert look.here["sharpness"] / look.here["threshold"] > 2
    assert float(path.loss[-1]) < float(path.loss[at])
    assert look.worst == pytest.approx(float(path.loss[at:].max()))
    assert look.came_back
    assert look.outlook == "edge"
    said = " ".join(verdict(look, rule))
    assert f"came to {look.worst:.3g} at most, and to {float(path.loss[-1]):.3g} at step {steps}" in said
    assert "expect divergence" not in said
    assert "catapult" not in said


def test_a_run_that_diverges_later_is_never_promised_to_come_back():
    land = Formula("(x*y)^2/2")
    rule = OPTIMIZERS["gd"](lr=1.3)
    look = study(land, rule, torch.tensor([0.3, 2.0], dtype=torch.float64), steps=200, at=0)
    assert look.diverged_at > 0
    assert look.outlook == "diverges"
    said = verdict(look, rule)
    assert f"as this run does at step {look.diverged_at}" in said[0]
    assert not math.isfinite(float(look.along["loss"][-1]))
