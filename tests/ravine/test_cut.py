"""The cut along the top eigenvector against a dense Hessian and the loss itself."""

import numpy as np
import pytest
import torch

from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, compute
from ravine import cut as cuts
from ravine.figures.cut import line_cut

TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))


@pytest.fixture(scope="module")
def result():
    rules = (OPTIMIZERS["gd"](lr=0.1), OPTIMIZERS["gd"](lr=1e4, weight_decay=100.0))
    return compute(Experiment(landscape=TINY, optimizers=rules, view="edge", steps=40))


@pytest.mark.parametrize("step", [0, 17, 40, -1, 99])
def test_a_cut_is_the_loss_along_the_top_eigenvector(result, step):
    found = cuts.cut(result, 0, step)
    path = result.paths[0]
    at = 40 if step in (-1, 99) else step
    assert found.step == at
    values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(TINY.loss, path.params[at]))
    top = vectors[:, -1]
    assert found.value == pytest.approx(float(values[-1]), rel=1e-4)
    assert found.residual < 1e-2 * found.value
    sign = float(torch.sign(found.position[0] * ((path.params[0] - path.params[at]) @ top))) or 1.0
    for index in (0, 20, 60):
        point = path.params[at] + sign * found.along[index] * top
        assert float(found.loss[index]) == pytest.approx(float(TINY.loss(point)), rel=1e-3)
    offset = path.params - path.params[at]
    torch.testing.assert_close(found.position, sign * (offset @ top), rtol=0, atol=2e-3)
    assert found.height == pytest.approx(float(TINY.loss(path.params[at])), rel=1e-12)  # summed in another order
    size = (found.position**2 + found.distance**2).sqrt()
    torch.testing.assert_close(size, offset.norm(dim=-1), rtol=1e-6, atol=1e-9)
    near = found.along.abs() < 0.02
    torch.testing.assert_close(found.parabola[near], found.loss[near], rtol=1e-4, atol=1e-6)
    inside = found.position[found.window]
    assert float(found.along[0]) <= float(inside.min()) <= float(inside.max()) <= float(found.along[-1])


def test_the_figure_holds_the_cut(result):
    found = cuts.cut(result, 0, 20)
    curve, parabola, iterates, mark, time = line_cut(found).data
    np.testing.assert_array_equal(curve.x, found.along.numpy())
    np.testing.assert_array_equal(curve.y, found.loss.numpy())
    np.testing.assert_array_equal(parabola.y, found.parabola.numpy())
    np.testing.assert_array_equal(iterates.x, found.position[found.window].numpy())
    assert (mark.x[0], mark.y[0]) == (0, found.height)
    np.testing.assert_array_equal(time.x, found.steps.numpy())
    np.testing.assert_array_equal(time.y, found.position.numpy())
    assert f"At step 20 the top eigenvalue is {found.value:.4g}" in cuts.said(found)


def test_there_is_no_cut_where_a_run_has_diverged(result):
    assert int(result.paths[1].diverged_at) > 0
    with pytest.raises(ValueError, match="The run has diverged by step 40: there is nothing to look at"):
        cuts.cut(result, 1, 40)


def test_a_large_network_is_left_to_the_slice(result, monkeypatch):
    monkeypatch.setattr(cuts, "_WORK", 10)
    with pytest.raises(ValueError, match="too large to look into"):
        cuts.cut(result, 0, 3)
