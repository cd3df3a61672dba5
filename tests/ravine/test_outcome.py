"""Outcomes against what is known of gradient descent on a quadratic: it turns on 1 / curvature and 2 / curvature."""

import json

import pytest
import torch

from landscapes import LANDSCAPES, MLP, Formula
from optimizers import OPTIMIZERS, run
from ravine import Experiment, compute
from ravine.axis import Axis
from ravine.outcome import DIVERGES, OUTCOMES, outcome
from ravine.picture import descend_view

STEEP = 10.0


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (0.5, "converges"),
        (0.99, "converges"),
        (1.5, "converges"),
        (2.0, "oscillates"),
        (2.01, "diverges"),
        (9.0, "diverges"),
    ],
)
def test_gradient_descent_on_a_bowl(factor, expected):
    """Along the steep axis each step multiplies by 1 - factor: towards 0 below 2, back and forth at 2, away beyond."""
    path = run(LANDSCAPES["quadratic"](kappa=STEEP), OPTIMIZERS["gd"](lr=factor / STEEP), steps=200)
    assert outcome(path.params, path.loss, int(path.diverged_at)) == expected
    assert expected in OUTCOMES


def test_one_step_and_no_motion_converge():
    still = torch.zeros(2, 2)
    assert outcome(still, torch.ones(2), -1) == "converges"
    assert outcome(torch.zeros(9, 2), torch.ones(9), -1) == "converges"
    assert outcome(torch.zeros(9, 2), torch.ones(9), 4) == "diverges"


def test_a_run_has_diverged_in_the_same_sense_wherever_that_is_said():
    """At 1.25 times its threshold for 40 steps the loss is finite and far above its start: paths, table, training, sweep, answer."""
    bowl, rule = LANDSCAPES["quadratic"](kappa=10.0), OPTIMIZERS["gd"](lr=0.25)
    paths = compute(Experiment(landscape=bowl, optimizers=(rule,), steps=40))
    path = paths.trajectory
    assert int(path.diverged_at[0]) == -1
    rose = f"diverged: its loss rose from {float(path.loss[0, 0]):.4g} to {float(path.loss[-1, 0]):.4g}"
    assert paths.sentences() == [f"Gradient descent {rose}."]
    assert outcome(path.params[:, 0], path.loss[:, 0], -1) == DIVERGES
    length = int.from_bytes(descend_view(paths, "")[:4], "little")
    assert json.loads(descend_view(paths, "")[4 : 4 + length])["runs"][0]["ended"] == rose
    lrs = Axis("lr", 0.05, 0.35, 7)
    table = compute(Experiment(landscape=bowl, optimizers=(rule,), view="sweep", steps=40, over_x=lrs))
    assert int((table.table.diverged_at >= 0).sum()) == 0
    assert table.sentences()[0].startswith("3 of 7 runs diverged, 3 of them to a finite loss above that of the start.")
    network = MLP(data="chebyshev", objective="squared", hidden=(4,))
    large = OPTIMIZERS["gd"](lr=2.0)
    training = compute(
        Experiment(landscape=network, optimizers=(large,), view="edge", steps=6, every=2, dtype="float64")
    )
    losses = training.trajectory.loss
    assert (training.sentences()[0].startswith("The run diverged: its loss rose")) == bool(losses[-1] > losses[0])


def test_a_start_outside_the_domain_is_no_divergence():
    land = Formula("log(x) + y^2")
    result = compute(Experiment(landscape=land, optimizers=(OPTIMIZERS["gd"](lr=0.1),), steps=5, start=(-1.0, 1.0)))
    assert result.sentences() == [
        "Gradient descent cannot begin: at its start the loss or its gradient is not a finite number."
    ]
