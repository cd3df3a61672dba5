"""What is said of a landscape before a run: the numbers that it declares, and nothing where it declares none."""

import pytest

from landscapes import LANDSCAPES, Surface
from optimizers import OPTIMIZERS
from ravine import Experiment
from ravine.known import known

GD = (OPTIMIZERS["gd"](lr=0.1),)


def of(name, **values):
    land = LANDSCAPES[name]()
    view = "descend" if isinstance(land, Surface) else "edge"
    return known(Experiment(landscape=land, optimizers=GD, view=view, **values))


def test_every_declared_fact_is_said():
    assert of("catapult", start=(1.0, 3.0)) == (
        "The loss is nowhere below 0.",
        "From this start gradient descent stays bounded up to η = 0.4, and not beyond.",  # 4 / (x² + y²)
        "Gradient flow from this start ends at a sharpness of 8.",  # |x² - y²|
    )
    assert "Gradient descent stays bounded at every step size." in of("scale_invariant")
    assert of("logistic") == (
        "There is no minimum: gradient flow goes on to infinity.",
        "The loss is nowhere below 0.",
    )
    assert of("mlp") == (  # log 2 / 1797
        "Below a loss of 0.0003857 no point is at rest: gradient flow goes on to infinity from there.",
    )
    assert of("rnn") == ()


def test_it_speaks_of_the_start_of_this_seed():
    land = LANDSCAPES["scalar_network"]()
    told = {seed: of("scalar_network", seed=seed)[-1] for seed in (0, 1)}
    assert told[0] != told[1]
    for seed, sentence in told.items():
        expected = float(land.gfs_sharpness(land.start(seed=seed)[0]))
        assert float(sentence.split()[-1].rstrip(".")) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", LANDSCAPES)
def test_only_numbers_are_said(name):
    for sentence in of(name):
        assert sentence.endswith(".")
        assert "nan" not in sentence
        assert " inf" not in sentence.replace(" infinity", "")
