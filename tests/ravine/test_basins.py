"""Basins of attraction against a double well, whose basins are known, and grouping against scipy."""

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components

from landscapes import Formula
from optimizers import OPTIMIZERS
from ravine import Experiment
from ravine.basins import NAMED, SIDE, basins, grouped

WELLS = Formula("(x^2 - 1)^2 + y^2", window=((-2.0, 2.0), (-2.0, 2.0)))


def of(lr, steps=200):
    rule = OPTIMIZERS["gd"](lr=lr)
    return basins(Experiment(WELLS, (rule,), steps=steps, basins=1))


def test_the_two_wells_share_the_window_evenly():
    found = of(0.02)
    assert found.starts.shape == (SIDE**2, 2)
    assert [(group, count) for group, count, _ in found.places()] == [(0, 50), (1, 50)]
    for _, _, place in found.places():
        assert abs(float(place[0])) == pytest.approx(1, abs=1e-6)
        assert float(place[1]) == pytest.approx(0, abs=1e-2)
    left = found.starts[:, 0] < 0
    assert len(set(found.group[left].tolist())) == len(set(found.group[~left].tolist())) == 1


def test_starts_that_diverge_are_no_basin():
    found = of(0.6)
    steep = found.starts[:, 0].abs() > 1.7  # one step leads to |x| > 2.5, from where the next are ever longer
    assert (found.group[steep] == -1).all()
    assert sum(count for _, count, _ in found.places()) == int((found.group >= 0).sum())


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_connected_parts_by_size(seed):
    generator = np.random.default_rng(seed)
    points = generator.random((40, 2))
    alive = torch.from_numpy(generator.random(40) > 0.1)
    near = torch.from_numpy(np.linalg.norm(points[:, None] - points, axis=-1) < 0.12) & alive & alive[:, None]
    found = grouped(near, alive)
    _, truth = connected_components(near.numpy(), directed=False)
    assert ((found < 0) == ~alive).all()
    for group in range(NAMED):
        members = truth[(found == group).numpy()]
        assert len(set(members)) <= 1
        if len(members):
            assert len(members) == (truth == members[0]).sum()
    sizes = [int((found == group).sum()) for group in range(NAMED)]
    assert sizes == sorted(sizes, reverse=True)
