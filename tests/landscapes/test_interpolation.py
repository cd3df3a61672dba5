"""Chebyshev interpolation, against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BarycentricInterpolator

from landscapes.interpolation import (
    HELD_OUT,
    LEVELS,
    SAFETY,
    chebyshev,
    held_out,
    interpolant,
    levels,
    matrix,
    placed,
)

WINDOW = ((-2.0, 3.0), (0.5, 1.5))


@pytest.mark.parametrize("count", LEVELS)
def test_nodes_are_those_of_chebyshev_and_lobatto(count):
    ours = chebyshev(count)
    np.testing.assert_allclose(ours.numpy(), np.polynomial.chebyshev.chebpts2(count), atol=1e-15)
    assert torch.equal(ours, -ours.flip(0))
    assert ours[0] == -1
    assert ours[-1] == 1


@pytest.mark.parametrize("count", LEVELS)
def test_the_matrix_is_scipys_barycentric_interpolator(count):
    generator = np.random.default_rng(0)
    values, where = generator.normal(size=count), generator.uniform(-1, 1, 50)
    ours = matrix(count, torch.from_numpy(where)) @ torch.from_numpy(values)
    theirs = BarycentricInterpolator(chebyshev(count).numpy(), values)(where)
    np.testing.assert_allclose(
        ours.numpy(), theirs, rtol=1e-9, atol=1e-9
    )  # sums of terms up to 1e4 where points are near
    assert torch.equal(matrix(count, chebyshev(count)), torch.eye(count, dtype=torch.float64))


def test_levels_are_nested_and_evaluate_no_point_twice():
    grid = torch.full((LEVELS[-1], LEVELS[-1]), torch.nan, dtype=torch.float64)
    sizes = []
    for level in levels(WINDOW, 10**6):
        assert grid[level.places[:, 0], level.places[:, 1]].isnan().all()
        grid[level.places[:, 0], level.places[:, 1]] = level.points[:, 0] + 10 * level.points[:, 1]
        stride = (LEVELS[-1] - 1) // (level.per_axis - 1)
        alpha, beta = placed(chebyshev(level.per_axis)[:, None].expand(-1, 2), WINDOW).unbind(-1)
        torch.testing.assert_close(grid[::stride, ::stride], alpha[:, None] + 10 * beta)
        sizes.append(len(level.points))
    assert np.cumsum(sizes).tolist() == [count**2 for count in LEVELS]
    assert [level.per_axis for level in levels(WINDOW, 17**2 + 1)] == [9, 17]


def test_points_held_out_lie_in_the_window_and_on_no_grid():
    points = held_out(WINDOW)
    assert points.shape == (HELD_OUT, 2)
    (a0, a1), (b0, b1) = WINDOW
    assert ((points[:, 0] > a0) & (points[:, 0] < a1) & (points[:, 1] > b0) & (points[:, 1] < b1)).all()
    finest = torch.cat([level.points for level in levels(WINDOW, 10**6)])
    assert torch.cdist(points, finest).min() > 0


def sampled(function, count):
    nodes = chebyshev(LEVELS[-1])
    alpha, beta = placed(nodes[:, None].expand(-1, 2), WINDOW).unbind(-1)
    grid, checks = function(alpha[:, None], beta[None]), held_out(WINDOW)
    return interpolant(WINDOW, grid, count, checks, function(checks[:, 0], checks[:, 1]))


def test_a_polynomial_of_degree_eight_is_exact_and_one_of_nine_is_not():
    eight, nine = (sampled(lambda a, b, d=degree: (a / 3) ** d + (a * b) ** 2, 9) for degree in (8, 9))
    alpha, beta = torch.linspace(-2, 3, 7).double(), torch.linspace(0.5, 1.5, 5).double()
    torch.testing.assert_close(eight(alpha, beta), (alpha[:, None] / 3) ** 8 + (alpha[:, None] * beta) ** 2)
    assert eight.error < 1e-12
    assert nine.error > 1e-4


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: torch.exp(a) * torch.cos(3 * b),
        lambda a, b: 1 / (1 + a**2 + b),
        lambda a, b: (a - 0.3).relu() + b,
        lambda a, b: torch.log(1 + torch.exp(6 * a * b)),
    ],
    ids=["exp", "runge", "kink", "softplus"],
)
def test_the_stated_error_covers_the_true_one(function):
    alpha, beta = torch.linspace(-2, 3, 101).double(), torch.linspace(0.5, 1.5, 101).double()
    exact = function(alpha[:, None], beta[None])
    for count in LEVELS:
        model = sampled(function, count)
        true = (model(alpha, beta) - exact).abs().max()
        assert true <= model.error + 1e-13 * model.spread
        assert SAFETY * true > model.error / 10  # and says no more than ten times too much


def test_points_and_grids_agree():
    model = sampled(lambda a, b: torch.sin(a) * b, 17)
    points = held_out(WINDOW)
    torch.testing.assert_close(model.at(points), model(points[:, 0], points[:, 1]).diagonal())
