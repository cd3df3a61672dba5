"""The gallery keeps its promises: every claim holds for its numbers, and every still is of the link that it opens."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from ravine import Experiment, compute
from ravine.experiment import VIEWS
from ravine.gallery import PIECES, STILLS, still
from ravine.picture import COLORS, colors_of
from ravine.thumbnail import SIZE, link_of, thumbnail


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.title)
def test_a_claim_is_true_and_its_picture_is_of_it(piece):
    experiment = piece.experiment()
    result = compute(experiment)
    assert piece.holds(result)
    with Image.open(io.BytesIO(thumbnail(result))) as picture:
        assert picture.size == (2 * SIZE[0], 2 * SIZE[1])
        colors = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    color = colors_of(experiment.optimizers)[-1] if experiment.view == "descend" else COLORS[0]
    last = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    if experiment.view == "sweep":  # which shows as many runs that are lost as there are
        lost = float((result.table.diverged_at >= 0).double().mean())
        assert (np.abs(colors.astype(int) - (173, 68, 0)).sum(1) < 12).mean() == pytest.approx(lost, abs=0.01)
    else:
        assert (np.abs(colors.astype(int) - last).sum(1) < 40).sum() > 200  # the line of the run drawn last
    # And the claim is one that can fail: where nothing moves, nothing happens; and no path lies in just any plane.
    less = {"optimizers": tuple(one.at(1e-9) for one in experiment.optimizers), "steps": 60}
    less = {"sweep": {"steps": 1}, "slice": {"plane": "random"}}.get(experiment.view, less)
    assert not piece.holds(compute(dataclasses.replace(experiment, **less)))


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.title)
def test_a_still_is_small_and_of_the_link_that_it_opens(piece):
    data = still(piece).read_bytes()
    assert len(data) < 90_000
    assert Experiment.from_url(link_of(data)) == (piece.experiment(), []), "Draw it anew: python -m ravine.gallery"


def test_every_page_has_a_piece_and_no_still_is_left_over():
    assert {piece.experiment().view for piece in PIECES} == set(VIEWS)
    assert {path.name for path in STILLS.iterdir()} == {still(piece).name for piece in PIECES}
