"""Lines between the solutions of a plane, against the trainings that they join."""

import dataclasses

import numpy as np
import torch

from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, compute
from ravine.connection import between, told
from ravine.experiment import training
from ravine.figures.lines import barriers

LAND = MLP(hidden=(12,), activation="relu", subset=300)


def test_the_lines_join_the_ends_of_two_trainings():
    experiment = Experiment(
        landscape=LAND, optimizers=(OPTIMIZERS["adam"](lr=0.02),), view="slice", steps=60, points=7, plane="solutions",
        others=1, every=100,
    )  # fmt: skip
    plane = compute(experiment).plane
    ends = [compute(training(dataclasses.replace(experiment, seed=seed))).trajectory.final for seed in (0, 1)]
    lines = between(LAND, plane)
    straight, matched = lines.values()
    torch.testing.assert_close(straight.loss[[0, -1]], torch.stack([LAND.loss(end) for end in ends]))
    torch.testing.assert_close(matched.loss[[0, -1]], straight.loss[[0, -1]])  # the same two functions
    assert straight.barrier > 0.1
    assert matched.barrier < 0.8 * straight.barrier
    assert f"rises {straight.barrier:.3g} above" in told(lines)
    figure = barriers(lines)
    np.testing.assert_array_equal(figure.data[0].y, straight.loss.numpy())
    assert f"{matched.barrier:.4g}" in figure.to_json()
