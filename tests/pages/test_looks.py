"""What is looked at beside a run is kept for others, and no file that a visitor opens changes what they see."""

import dataclasses

import pytest
import torch

from landscapes import MLP, top_eigenpairs
from optimizers import OPTIMIZERS
from pages import _services as services
from ravine import Experiment, Result, compute, export, inquiries

EXPERIMENT = Experiment(
    landscape=MLP(data="chebyshev", objective="squared", hidden=(4,)),
    optimizers=(OPTIMIZERS["gd"](lr=0.1),),
    view="edge",
    steps=20,
    every=1,
)


@pytest.fixture(scope="module")
def honest():
    return compute(EXPERIMENT)


def cut(result, run, step):
    return services.desk().answer(inquiries.cut(result, run, step)).value


def spectrum(result, run, step):
    return services.desk().answer(inquiries.spectrum(result, run, step)).value


@pytest.mark.parametrize("look", [cut, spectrum])
def test_a_forged_file_changes_nothing_for_others(honest, look):
    arrays = honest.arrays()
    forged = export.reopened(Result.from_arrays(EXPERIMENT, arrays | {"params": 3 * arrays["params"]}).packed())
    stored = Result.from_arrays(EXPERIMENT, arrays)  # as it comes from disk: `done` is 1, as in the file
    assert (forged.done, forged.experiment) == (stored.done, stored.experiment)
    of_forged, of_stored = look(forged, 0, 20), look(stored, 0, 20)
    assert of_forged is look(forged, 0, 20)
    assert of_stored is look(honest, 0, 20) is not of_forged  # the same numbers are looked at once
    if look is cut:
        for seen, result in ((of_forged, forged), (of_stored, stored)):
            (true,) = top_eigenpairs(EXPERIMENT.landscape, result.paths[0].params[-1]).values.tolist()
            assert seen.value == pytest.approx(true, rel=1e-3)
        assert of_forged.value > 2 * of_stored.value


def test_a_run_that_goes_on_is_looked_at_anew(honest):
    arrays = honest.arrays()
    early = dataclasses.replace(honest, done=10, trajectory=dataclasses.replace(honest.trajectory, params=torch.from_numpy(0.5 * arrays["params"])))  # fmt: skip
    assert cut(early, 0, 20) is not cut(honest, 0, 20)
