"""The spectrum at a step against a dense Hessian."""

import math

import numpy as np
import pytest
import torch

from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, compute
from ravine.figures.spectrum import density
from ravine.spectrum import said, spectrum

NETWORKS = {
    "classes": MLP(data="two_moons", subset=60, hidden=(8,)),
    "values": MLP(data="chebyshev", objective="squared", hidden=(4,)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    land = NETWORKS[request.param]
    rules = (OPTIMIZERS["gd"](lr=0.1), OPTIMIZERS["gd"](lr=1e4, weight_decay=100.0))
    result = compute(Experiment(landscape=land, optimizers=rules, view="edge", steps=60, every=60))
    center = result.paths[0].params[30]
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(land.loss, center)).flip(0)
    return result, eigenvalues, spectrum(result, 0, 30)


def test_the_spectrum_is_that_of_the_dense_hessian(case):
    result, eigenvalues, found = case
    land = result.experiment.landscape
    assert (found.run, found.step, found.dim, found.limit) == (0, 30, land.dim, 20)
    torch.testing.assert_close(found.top, eigenvalues[: len(found.top)], rtol=0, atol=found.residual + 1e-9)
    assert found.residual <= 1e-2 * float(eigenvalues[0])
    width = (found.grid[-1] - found.grid[0]) / 108
    mass = torch.trapezoid(found.density, found.grid)
    assert float(mass) == pytest.approx(1, abs=1e-3)
    # The first two moments, to three standard errors of two random vectors of as many numbers as there are parameters.
    error = 3 * eigenvalues.std() * math.sqrt(2 / (2 * land.dim))
    mean = torch.trapezoid(found.density * found.grid, found.grid)
    assert abs(float(mean - eigenvalues.mean())) < float(error)
    assert found.alone == pytest.approx(1 / (land.dim * float(width) * math.sqrt(2 * math.pi)))


def test_what_stands_apart_is_above_the_widest_gap(case):
    _, eigenvalues, found = case
    top = eigenvalues[: len(found.top)]
    ratios = top[:-1] / top[1:].clamp_min(0.01 * top[0])
    assert float(ratios.max()) > 1.5
    assert found.outliers == int(ratios.argmax()) + 1
    text = said(found)
    one = "one eigenvalue stands" if found.outliers == 1 else f"{found.outliers} eigenvalues stand"
    assert f"At step 30, {one} apart from the bulk" in text
    assert ("less than the classes" in text) == (found.classes is not None)


def test_the_smallest_eigenvalue_is_told_with_how_exact_it_is(case):
    _, eigenvalues, found = case
    assert abs(found.lowest - float(eigenvalues[-1])) <= found.lowest_error <= 1e-2 * abs(found.lowest)
    assert f" The smallest eigenvalue is {found.lowest:.4g} ± {found.lowest_error:.1g}." in said(found)
    flat = type(found)(**vars(found) | {"lowest": 1e-9, "lowest_error": 1e-6})
    assert " The smallest eigenvalue is 1e-09 ± 1e-06, and may be zero or of either sign." in said(flat)


def test_without_a_gap_nothing_stands_apart(case):
    _, _, found = case
    even = torch.linspace(2.0, 1.0, 8, dtype=torch.float64)
    level = type(found)(**vars(found) | {"top": even})
    assert level.outliers == 0
    assert "nothing stands apart from the bulk" in said(level)
    assert "stands apart" not in {one.name for one in density(level).data}


def test_the_figure_holds_the_spectrum(case):
    _, _, found = case
    drawn = {one.name: one for one in density(found).data}
    np.testing.assert_array_equal(drawn["density"].x, found.grid.numpy())
    seen = found.density > found.alone / 30
    np.testing.assert_array_equal(drawn["density"].y[seen], found.density[seen].numpy())
    marked = [*drawn["stands apart"].x, *drawn["next"].x]
    np.testing.assert_array_equal(marked, found.top.numpy())
    assert len(drawn["stands apart"].x) == found.outliers


def test_there_is_no_spectrum_where_a_run_has_diverged(case):
    result, _, _ = case
    with pytest.raises(ValueError, match="The run has diverged by step 60"):
        spectrum(result, 1, 60)
