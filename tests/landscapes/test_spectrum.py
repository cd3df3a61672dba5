"""Estimates of the whole spectrum against dense eigenvalues, within their standard errors."""

import pytest
import torch

from landscapes import MLP
from landscapes.spectrum import frobenius, quadrature, smoothed, spectral_density, trace

NET = MLP(data="chebyshev", hidden=(8, 8), objective="squared")  # 97 parameters
PARAMS = NET.start(2) + 0.2 * torch.randn(2, NET.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
HESSIANS = torch.stack([torch.autograd.functional.hessian(NET.loss, w, vectorize=True) for w in PARAMS])
TRUE = torch.linalg.eigvalsh(HESSIANS)  # (2, 97), rising
OPERATOR = NET.hessian_operator(PARAMS)


def test_the_trace_is_right_within_its_standard_error():
    found = torch.stack([torch.stack(trace(OPERATOR, PARAMS, products=30, seed=2 * seed)) for seed in range(20)])
    values, errors = found.unbind(1)
    assert ((values - TRUE.sum(-1)) / errors).abs().median() < 1.5
    assert ((values.mean(0) - TRUE.sum(-1)).abs() < 4 * values.std(0) / 20**0.5).all()


def test_where_the_spectrum_falls_the_subspace_makes_the_trace_far_more_exact():
    curvatures = torch.arange(1.0, 201.0, dtype=torch.float64) ** -2
    turn = torch.linalg.qr(torch.randn(200, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    matrix = turn @ torch.diag(curvatures) @ turn.T
    like = curvatures[None]
    ours = torch.stack([trace(lambda v: v @ matrix, like, 30, seed=2 * seed).value for seed in range(30)])
    signs = 2.0 * torch.randint(2, (30, 30, 200), generator=torch.Generator().manual_seed(0)).double() - 1
    plain = torch.einsum("sni,ij,snj->sn", signs, matrix, signs).mean(-1)
    assert (ours - curvatures.sum()).square().mean() < 0.05 * (plain - curvatures.sum()).square().mean()


def test_the_trace_is_exact_where_there_are_products_enough():
    value, error = trace(OPERATOR, PARAMS, products=3 * NET.dim)
    torch.testing.assert_close(value, TRUE.sum(-1), rtol=1e-10, atol=1e-10)
    assert (error == 0).all()


def test_the_frobenius_norm_is_right_within_its_standard_error():
    found = torch.stack([torch.stack(frobenius(OPERATOR, PARAMS, products=30, seed=seed)) for seed in range(30)])
    values, errors = found.unbind(1)
    assert ((values - TRUE.norm(dim=-1)) / errors).abs().median() < 1.5
    # The root of an unbiased estimate is low by about half its variance: room for that.
    assert ((values.mean(0) - TRUE.norm(dim=-1)).abs() < 4 * values.std(0) / 30**0.5 + errors.square().mean(0)).all()


def test_a_quadrature_with_all_steps_has_the_moments_of_its_random_vector():
    """The rule is exact for x^j with j < 2 steps: v'A^j v for the unit vector v that it drew."""
    nodes, weights = quadrature(OPERATOR, PARAMS, steps=6, draws=1, seed=3)
    vector = torch.randn(1, NET.dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)[0]
    vector = vector / vector.norm()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, dtype=torch.float64))
    for power in range(1, 12):
        expected = torch.stack([vector @ torch.linalg.matrix_power(H, power) @ vector for H in HESSIANS])
        torch.testing.assert_close((weights * nodes**power).sum(-1), expected, rtol=1e-6, atol=0)


def test_outliers_of_the_density_stand_where_the_largest_eigenvalues_are():
    nodes, weights = quadrature(OPERATOR, PARAMS, steps=40, draws=2)
    torch.testing.assert_close(nodes[:, -1], TRUE[:, -1], rtol=1e-6, atol=0)
    assert (weights[:, -1] < 0.2).all()
    # Most of the spectrum is bulk: the share of nodes' weight below 1 % of the largest is that of the eigenvalues.
    for run in range(2):
        small = TRUE[run, -1] / 100
        expected = (TRUE[run].abs() < small).double().mean()
        found = weights[run, nodes[run].abs() < small].sum()
        # The share of a random vector in a subspace of dimension d scatters by sqrt(2 / (d draws)), d about 85.
        assert abs(found - expected) < 4 * (2 / (NET.dim * 2)) ** 0.5


def test_the_density_is_one():
    density = spectral_density(NET, PARAMS, points=2000, steps=20)
    assert density.grid.shape == density.density.shape == (2, 2000)
    torch.testing.assert_close(
        torch.trapezoid(density.density, density.grid), torch.ones(2, dtype=torch.float64), rtol=1e-3, atol=0
    )
    mean = torch.trapezoid(density.density * density.grid, density.grid)
    torch.testing.assert_close(mean, (density.nodes * density.weights).sum(-1), rtol=1e-2, atol=1e-3)


def test_leading_dimensions_and_dead_runs():
    wild = PARAMS.clone()
    wild[0, 3] = torch.inf
    nodes, weights = quadrature(NET.hessian_operator(torch.where(wild.isfinite(), wild, 0)), wild, steps=5, draws=1)
    calm, _ = quadrature(NET.hessian_operator(PARAMS[1]), PARAMS[1], steps=5, draws=1)
    assert nodes[0].isnan().all()
    torch.testing.assert_close(nodes[1], calm)
    assert spectral_density(NET, PARAMS[0], points=10).grid.shape == (10,)
    assert smoothed(nodes, weights, 5).density[0].isnan().all()


@pytest.mark.parametrize("name", ["steps", "draws", "points"])
def test_a_count_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} = 0 is not allowed: it must be a whole number of at least 1."):
        spectral_density(NET, PARAMS, **{name: 0})
