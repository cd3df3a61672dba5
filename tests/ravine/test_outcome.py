"""Outcomes against what is known of gradient descent on a quadratic: it turns on 1 / curvature and 2 / curvature."""

import pytest
import torch

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS, run
from ravine.outcome import OUTCOMES, outcome

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
