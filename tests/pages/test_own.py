"""A landscape of the visitor's own on the pages: what is done in another way than one might expect is said there."""

import pytest
import torch
from torch import nn

from landscapes import LANDSCAPES, from_module
from optimizers import OPTIMIZERS
from ravine import own
from ravine.stability import gauges
from tests.pages.visitor import settled, small, visit_link


@pytest.fixture
def total(monkeypatch):
    before = dict(LANDSCAPES)
    inputs = torch.linspace(-1, 1, 12)[:, None]
    with pytest.warns(RuntimeWarning, match="sum over samples"):
        landscape = from_module(nn.Linear(1, 1), nn.MSELoss(reduction="sum"), (inputs, inputs), test=(inputs, inputs))
    yield own._adopted("total", landscape)()
    LANDSCAPES.clear()
    LANDSCAPES.update(before)


def test_notes_and_what_minibatches_of_a_sum_mean_are_said(total):
    rules = (OPTIMIZERS["gd"](lr=0.01),)
    experiment = small("edge", landscape=total, optimizers=rules, batch_size=3, probes=("test_loss",), steps=4)
    app = visit_link(experiment)
    job = settled(app, "edge")
    (run,), (path,) = experiment.runs, job.result.paths
    found = gauges(experiment, run, path)
    assert found["sharpness"].limit.tolist() == [pytest.approx(2 / 0.01 * 12 / 3)] * len(found["sharpness"].step)
    # The exact quadratic: sums of 2 (x, 1)(x, 1)' over all samples.
    rows = torch.stack([torch.linspace(-1, 1, 12), torch.ones(12)], dim=1).double()
    top = torch.linalg.eigvalsh(2 * rows.T @ rows)[-1]
    torch.testing.assert_close(found["sharpness"].value, top.expand(len(found["sharpness"].step)), rtol=1e-4, atol=0)
    assert found["batch_sharpness"].limit[0] == pytest.approx(2 / 0.01)
    captions = [one.value.replace("\\", "") for one in app.caption]
    assert any(text.startswith("The loss is a sum over samples, and so is the landscape") for text in captions)
    assert any("on average 3/12 of the whole" in text for text in captions)
    with pytest.raises(ValueError, match="reduction='mean', or all samples"):
        small("stepsize", landscape=total, optimizers=rules, batch_size=3)
