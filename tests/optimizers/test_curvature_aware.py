"""The random numbers of the curvature-aware rules, and what they estimate."""

import pytest
import torch

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS, Oracle, run
from optimizers.curvature_aware import diagonal, estimated_diagonal
from tests.optimizers.comparison import PROBLEMS

ROSENBROCK, LEAST_SQUARES = PROBLEMS["rosenbrock"], PROBLEMS["least_squares"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_signs_are_signs_of_the_runners_generator(dtype):
    """Their numbers are known, so that a test, or another implementation, can draw the same."""
    oracle = Oracle(LEAST_SQUARES, generator=torch.Generator().manual_seed(3))
    signs = torch.stack([oracle.signs(torch.empty(4, 15, dtype=dtype)) for _ in range(400)])
    bits = torch.randint(2, (400, 15), generator=torch.Generator().manual_seed(3))
    assert signs.dtype == dtype
    assert torch.equal(signs, (2 * bits - 1).to(dtype))
    assert signs.mean(0).abs().max() < 4 / 400**0.5


@pytest.mark.parametrize("land", [ROSENBROCK, LEAST_SQUARES], ids=["rosenbrock", "least_squares"])
def test_the_diagonal_is_the_hessians(land):
    params = land.start(3)
    dense = torch.stack([torch.autograd.functional.hessian(land.loss, one).diagonal() for one in params])
    oracle = Oracle(land)
    torch.testing.assert_close(diagonal(params, oracle), dense)
    assert oracle.spent.hvp == land.dim


@pytest.mark.parametrize("draw", ["signs", "normal"])
def test_the_estimate_has_the_diagonal_as_its_mean(draw):
    land, params = LEAST_SQUARES, LEAST_SQUARES.start()[0]
    oracle = Oracle(land, generator=torch.Generator().manual_seed(0))
    draws = torch.stack([estimated_diagonal(params, getattr(oracle, draw)(params), oracle) for _ in range(400)])
    error = (draws.mean(0) - diagonal(params, oracle)).abs()
    assert (error < 4 * draws.std(0) / 400**0.5).all()


def test_on_a_separable_function_a_sign_estimate_is_exact():
    land = LANDSCAPES["quadratic"](kappa=7.0)
    values = [run(land, OPTIMIZERS["adahessian"](exact=exact), steps=20).params for exact in (True, False)]
    torch.testing.assert_close(*values, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    "rule", [OPTIMIZERS["adahessian"](), OPTIMIZERS["sophia_h"](gamma=100.0)], ids=["ada", "sophia"]
)
def test_the_seed_of_a_run_decides(rule):
    ends = [run(ROSENBROCK, rule, steps=20, seed=seed).final for seed in (0, 0, 1)]
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_sophia_steps_by_lr_where_the_curvature_is_negative():
    """The average of h is far below zero on a saddle: both coordinates move by exactly lr."""
    land = LANDSCAPES["rosenbrock"]()
    start = torch.tensor([0.0, 2.0], dtype=torch.float64)  # d2/dx2 = 2 - 400 y < 0 there
    rule = OPTIMIZERS["sophia_h"](lr=0.01, k=1, noise="signs")
    moved = (run(land, rule, start, 1).final - start).abs()
    torch.testing.assert_close(moved, torch.full((2,), 0.01, dtype=torch.float64))


def test_sophia_renews_its_estimate_every_k_steps():
    spent = run(ROSENBROCK, OPTIMIZERS["sophia_h"](k=4), steps=9).evaluations
    assert spent.hvp.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]
