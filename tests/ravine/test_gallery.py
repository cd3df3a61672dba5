"""The gallery keeps its promises: every claim holds for its numbers, and every picture shows them."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from ravine import Experiment, compute
from ravine.gallery import PIECES
from ravine.picture import COLORS, colors_of
from ravine.thumbnail import SIZE, thumbnail


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.title)
def test_a_claim_is_true_and_its_picture_is_of_it(piece):
    experiment = piece.experiment()
    result = compute(experiment)
    assert piece.holds(result)
    assert Experiment.from_url(experiment.to_url()) == (experiment, [])
    with Image.open(io.BytesIO(thumbnail(result))) as picture:
        assert picture.size == (2 * SIZE[0], 2 * SIZE[1])
        colors = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    color = colors_of(experiment.optimizers)[-1] if experiment.view == "descend" else COLORS[0]
    last = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    assert (np.abs(colors.astype(int) - last).sum(1) < 12).sum() > 200  # the line of the run drawn last
    # And the claim is one that can fail: where nothing moves, nothing happens.
    still = tuple(one.at(1e-9) for one in experiment.optimizers)
    assert not piece.holds(compute(dataclasses.replace(experiment, optimizers=still, steps=60)))
