"""Lines between the solutions of a plane, against the trainings that they join; and the curve around the wall."""

import dataclasses

import numpy as np
import pytest
import torch

from landscapes import MLP
from landscapes.alignment import aligned, line
from optimizers import OPTIMIZERS
from optimizers.curves import connected
from ravine import Experiment, Result, compute, computing
from ravine.connection import CURVED, MATCHED, STRAIGHT, told
from ravine.cuts import Known
from ravine.experiment import training
from ravine.figures.lines import barriers

LAND = MLP(hidden=(12,), activation="relu", subset=300)
ADAM = OPTIMIZERS["adam"](lr=0.02)
PAIR = Experiment(
    landscape=LAND,
    optimizers=(ADAM,),
    view="slice",
    steps=60,
    points=7,
    plane="solutions",
    others=1,
    every=100,
    curve=40,
)


@pytest.fixture(scope="module")
def seen():
    """The results of a comparison as it grows, and what it leaves for later ones."""
    known = Known()
    return list(computing(PAIR, known=known)), known


@pytest.fixture(scope="module")
def ends():
    return [compute(training(dataclasses.replace(PAIR, seed=seed))).trajectory.final for seed in (0, 1)]


def test_the_lines_join_the_ends_of_two_trainings(seen, ends):
    result = seen[0][-1]
    assert list(result.lines) == [STRAIGHT, MATCHED, CURVED]
    straight, matched, curve = result.lines.values()
    for one in (straight, matched, curve):
        torch.testing.assert_close(one.loss[[0, -1]], torch.stack([LAND.loss(end) for end in ends]))
    torch.testing.assert_close(straight.loss, line(LAND, *ends).loss)
    torch.testing.assert_close(matched.loss, line(LAND, ends[0], aligned(LAND, ends[1], ends[0])).loss)
    torch.testing.assert_close(curve.loss, connected(LAND, *ends, ADAM, steps=40).loss)
    assert straight.barrier > 0.1
    assert matched.barrier < 0.8 * straight.barrier
    assert curve.barrier < 0.5 * straight.barrier


def test_they_are_told_drawn_and_kept(seen):
    result = seen[0][-1]
    straight, matched, curve = result.lines.values()
    for one in (straight, matched, curve):
        assert f"{one.barrier:.3g}" in told(result.lines)
        assert f"{one.barrier:.4g}" in barriers(result.lines).to_json()
    assert result.sentences()[1] == told(result.lines)
    assert "cannot be renumbered" in told({STRAIGHT: straight})
    np.testing.assert_array_equal(barriers(result.lines).data[0].y, straight.loss.numpy())
    again = Result.from_arrays(PAIR, result.arrays())
    assert list(again.lines) == list(result.lines)
    assert all(
        torch.equal(one.loss, two.loss) for one, two in zip(again.lines.values(), result.lines.values(), strict=True)
    )
    assert torch.equal(again.lines[MATCHED].accuracy, matched.accuracy)


def test_the_work_is_reported_and_comes_last(seen):
    results = seen[0]
    shares = [one.done / one.total for one in results]
    assert shares == sorted(shares)
    assert [one.complete for one in results] == [False] * (len(results) - 1) + [True]
    assert results[-2].lines.keys() == {STRAIGHT, MATCHED}  # seen while the curve is trained
    assert results[-2].phase.startswith("curve, step ")


def test_another_part_of_the_plane_does_not_train_the_curve_again(seen):
    results, known = seen
    part = list(computing(dataclasses.replace(PAIR, span=0.5), known=known))
    assert part[-1].lines[CURVED] is results[-1].lines[CURVED]
    assert known.curve(dataclasses.replace(PAIR, curve=39)) is None


def test_only_a_plane_through_solutions_has_a_curve():
    other = dataclasses.replace(PAIR, plane="random")
    assert other.curve == 0
    assert Experiment.from_url(PAIR.to_url())[0] == PAIR
    with pytest.raises(ValueError, match="Choose fewer steps of the curve, fewer samples than 1,797"):
        dataclasses.replace(PAIR, landscape=MLP(hidden=(1024,) * 3), curve=2000, points=5, steps=5)
