"""Both ends of a spectrum against dense eigenvalues: within the errors that are told, and as exact as was asked for."""

import pytest
import torch

from landscapes import LANDSCAPES, MLP, Formula, extreme_eigenvalues, solvers
from landscapes.curvature import hessian
from landscapes.extremes import PRODUCTS, WHOLE
from landscapes.solvers import FEWEST
from tests.sampling import sampled


def spread(count, low, high, seed=0):
    noise = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * noise


SPECTRA = {
    "lower end a thousandth of the upper": torch.cat([torch.tensor([-0.01, 10.0, 6.0, 6.0]), spread(496, -0.009, 0.5)]),
    "a bulk at zero": torch.cat([torch.tensor([-0.02, 10.0, 3.0]), 1e-3 * spread(597, -1, 1) ** 3]),
    "two lowest that are nearly equal": torch.cat([torch.tensor([-0.0101, -0.01, 8.0]), spread(300, 0, 1)]),
    "flat directions": torch.cat([torch.zeros(280), torch.arange(1, 21)]),
    "flat directions, indefinite": torch.cat([torch.zeros(280), torch.arange(1, 21), torch.tensor([-0.003])]),
    "negative definite": -torch.cat([spread(200, 1, 50), torch.tensor([0.02])]),
    "positive definite": torch.cat([spread(200, 1, 50), torch.tensor([1e-4])]),
    "one value": torch.full((100,), 3.0),
    "nothing": torch.zeros(50),
    "a single parameter": torch.tensor([-2.0]),
    "tiny": 1e-30 * torch.cat([spread(100, 0, 1), torch.tensor([-0.01])]),
    "huge": 1e30 * torch.cat([spread(100, 0, 1), torch.tensor([-0.01])]),
}


def assert_right(found, low, high, tol, rounding):
    """The truth is inside both intervals, whose lengths are what was asked for; values from both sides of a rounding."""
    size = torch.maximum(low.abs(), high.abs())
    for value, error, true in ((found.lowest, found.lowest_error, low), (found.highest, found.highest_error, high)):
        assert bool(((value - true).abs() <= error).all())
        assert bool((error <= torch.maximum(tol * value.abs(), 1.01e-6 * size + rounding)).all())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", SPECTRA)
def test_the_ends_of_chosen_spectra(name, dtype, seed):
    values = SPECTRA[name].to(dtype)
    # Their images are exact to a rounding each; what the whole run loses is of the order of that times a root of the size.
    found = extreme_eigenvalues(lambda v: v * values, values, 1e-3, seed=seed)
    exact = values.double()
    size = exact.abs().max()
    rounding = 4 * len(values) ** 0.5 * torch.finfo(dtype).eps * size
    assert found.lowest.dtype == dtype
    assert_right(found, exact.min(), exact.max(), 1e-3, rounding)
    assert found.products <= len(values)
    if exact.min().abs() > 2 * rounding:
        assert found.sign == exact.min().sign()


NETWORKS = [
    MLP(data="chebyshev", hidden=(8, 8), objective="squared"),
    MLP(hidden=(4,), subset=100),
    MLP(hidden=(8,), subset=60, objective="squared"),
    MLP(hidden=(4,), objective="squared", activation="gelu", subset=100),
    MLP(hidden=(4,), activation="relu", subset=100),
    LANDSCAPES["logistic"](),
]
CASES = [(land, dtype, lr) for land in NETWORKS for dtype in (torch.float64, torch.float32) for lr in (0.0, 0.1)]


@pytest.mark.parametrize(("land", "dtype", "lr"), sampled(CASES, 8))
def test_the_ends_of_the_hessian_of_networks(land, dtype, lr):
    """At the start and after training, where the lower end is small; in float32 against the Hessian of the same point."""
    params = land.start(2)
    for _ in range(300 if lr else 0):
        params = params - lr * land.grad(params)
    params = params.to(dtype)
    true = torch.linalg.eigvalsh(hessian(land, params.double()))
    found = extreme_eigenvalues(land.hessian_operator(params), params)
    size = true.abs().amax(-1)
    # float32: products are sums over samples and units, each rounded; a hundred roundings of the largest eigenvalue.
    rounding = 100 * land.dim**0.5 * torch.finfo(dtype).eps * size
    assert_right(found, true[:, 0], true[:, -1], 1e-2, rounding)
    if dtype == torch.float64:
        torch.testing.assert_close(found.lowest, true[:, 0], rtol=1e-4, atol=1e-8 * float(size.max()))


def test_surfaces_have_both_of_their_eigenvalues():
    land = Formula("x^2 - 3*y^2 + x*y")
    found = extreme_eigenvalues(land.hessian_operator(land.start(3)), land.start(3))
    true = torch.linalg.eigvalsh(torch.tensor([[2.0, 1.0], [1.0, -6.0]], dtype=torch.float64))
    torch.testing.assert_close(found.lowest, true[0].expand(3))
    torch.testing.assert_close(found.highest, true[1].expand(3))


def test_where_products_run_out_the_interval_is_wide_and_right():
    values = torch.cat([spread(4 * WHOLE, 0, 1) ** 4, torch.tensor([-1e-7], dtype=torch.float64)])
    found = extreme_eigenvalues(lambda v: v * values, values, 1e-4)
    assert found.products == PRODUCTS
    assert (found.lowest - values.min()).abs() <= found.lowest_error
    assert found.lowest_error > 1e-4 * values.min().abs()
    assert found.sign == 0


def test_large_matrices_take_fewer_products_than_would_fill_the_memory(monkeypatch):
    monkeypatch.setattr(solvers, "_NUMBERS", 50 * 4 * WHOLE)
    values = torch.cat([spread(4 * WHOLE - 1, 0, 1) ** 4, torch.tensor([-1e-7], dtype=torch.float64)])
    for runs, products in ((1, 50), (9, FEWEST)):
        like = values.expand(runs, -1)
        found = extreme_eigenvalues(lambda v: v * values, like, 1e-4)
        assert found.products == products
        assert ((found.lowest - values.min()).abs() <= found.lowest_error).all()


def test_what_is_told_of_intervals_holds_over_many_draws():
    """Of 100 readings at a loose tolerance none misses, where at most one in a thousand may."""
    values = torch.cat([spread(200, 0, 1), torch.tensor([-0.05, 20.0], dtype=torch.float64)])
    for seed in range(100):
        found = extreme_eigenvalues(lambda v: v * values, values, 0.5, seed=seed)
        assert found.lowest - found.lowest_error <= values.min() <= found.lowest + 1e-12
        assert found.highest + found.highest_error >= values.max() >= found.highest - 1e-12


def test_runs_stop_for_themselves_and_dead_ones_are_no_numbers():
    scales = torch.tensor([[1.0], [5.0], [torch.nan], [0.0]], dtype=torch.float64)
    values = torch.cat([spread(150, 0, 1), torch.tensor([-0.01], dtype=torch.float64)])
    like = values + 0 * scales
    found = extreme_eigenvalues(lambda v: v * values * scales, like, 1e-3)
    assert all(one[2].isnan() for one in found[:4])
    torch.testing.assert_close(found.lowest[[0, 1, 3]], -0.01 * scales[[0, 1, 3], 0])
    infinite = extreme_eigenvalues(lambda v: v * torch.inf, values)
    assert all(torch.as_tensor(one).isnan() for one in infinite[:4])


def test_a_tolerance_must_be_positive():
    with pytest.raises(ValueError, match="tol = 0 is not allowed: it must be positive"):
        extreme_eigenvalues(lambda v: v, torch.ones(3), 0)
