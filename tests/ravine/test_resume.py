"""A training whose process is killed goes on in the next one, with the bits of a training that was left alone."""

import signal
import subprocess
import sys

import pytest

from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, Store, compute, computing

NETWORK = MLP(data="chebyshev", objective="squared", hidden=(4,))
RULES = (OPTIMIZERS["gd"](lr=0.1), OPTIMIZERS["adam"](lr=1e-2))
TRAININGS = {
    "edge": Experiment(landscape=NETWORK, optimizers=RULES, view="edge", steps=24, batch_size=8, flow=True),
    "stepsize": Experiment(landscape=NETWORK, optimizers=RULES[1:], view="stepsize", steps=24, at=6, batch_size=8),
}
KILLED = """
import os, signal, sys
from pathlib import Path
import ravine.engine
from optimizers import checkpoints
from ravine import Experiment, Store, computing

checkpoints.EVERY = checkpoints._SHARE = ravine.engine._REPORT_SECONDS = 0.0
folder, *links = sys.argv[1:]
for link in links:
    experiment, refused = Experiment.from_url(link)
    assert not refused
    steps = computing(experiment, store=Store(Path(folder)))
    next(result for result in steps if result.done >= 16)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a killed process leaves behind."""
    folder = tmp_path_factory.mktemp("killed")
    links = [one.to_url() for one in TRAININGS.values()]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder), *links], timeout=300)
    assert ended.returncode == -signal.SIGKILL
    return folder


@pytest.mark.parametrize("view", TRAININGS)
def test_a_killed_training_goes_on_with_the_same_bits(view, folder):
    experiment, store = TRAININGS[view], Store(folder)
    assert store.get(experiment) is None
    left = len(list((folder / "pieces").rglob("*.npz")))
    results = list(computing(experiment, store=store))
    assert results[0].done >= 15  # at the first look it is where the other was
    whole = compute(experiment).arrays()
    assert list(whole) == list(results[-1].arrays())
    for name, array in results[-1].arrays().items():
        assert array.tobytes() == whole[name].tobytes(), name
    assert len(list((folder / "pieces").rglob("*.npz"))) < left  # the pieces go when the whole is there
    assert not list((folder / "pieces").glob(f"{store._path(experiment).stem}*"))
