"""The merge tree, against the connected components of SciPy at every level and against surfaces whose minima are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from landscapes import LANDSCAPES, slice_2d
from landscapes.topology import topology

TOUCHING = np.ones((3, 3), dtype=int)
AXES = torch.eye(2, dtype=torch.float64)

pictures = st.integers(2, 7).flatmap(
    lambda rows: st.integers(2, 7).flatmap(
        lambda columns: st.lists(
            st.one_of(st.integers(0, 9).map(float), st.just(float("nan")), st.just(float("inf"))),
            min_size=rows * columns, max_size=rows * columns,
        ).map(lambda flat: torch.tensor(flat, dtype=torch.float64).view(rows, columns))
    )
)  # fmt: skip


@given(pictures)
def test_components_at_every_level_are_those_of_scipy(picture):
    """The number of basins born and not yet merged at a level is the number of components of the set below it."""
    found = topology(picture).minima
    everything = topology(picture, 0.0)
    array = np.where(np.isfinite(picture.numpy()), picture.numpy(), np.inf)
    for level in range(-1, 10):
        count = ndimage.label(array <= level, TOUCHING)[1]
        alive = 0
        for one in found:
            end = float("inf") if one.saddle is None else float(picture[one.saddle])
            alive += one.value <= level < end
        assert alive == count
    assert torch.equal(everything.basins == -1, ~picture.isfinite())


@given(pictures, st.sampled_from([0.0, 1.0, 3.0]))
def test_basins_are_in_one_piece_and_hold_their_minimum(picture, threshold):
    found = topology(picture, threshold)
    for index, one in enumerate(found.minima):
        mine = (found.basins == index).numpy()
        assert mine[one.at]
        assert one.value == float(picture[one.at]) == float(picture[torch.from_numpy(mine)].min())
        assert one.saddle is None or one.persistence > threshold
        assert one.saddle is None or one.persistence == float(picture[one.saddle]) - one.value
        assert ndimage.label(mine, TOUCHING)[1] == 1
    assert [one.value for one in found.minima] == sorted(one.value for one in found.minima)


def test_himmelblaus_four_minima_and_their_saddles():
    """Minima at zero; known saddle heights of 13.31, 67.72 and 104.02 join them (of 178.34 one goes around)."""
    land = LANDSCAPES["himmelblau"]()
    plane = slice_2d(land, torch.zeros(2).double(), AXES, normalize="none", span=5.0, points=201)
    found = topology(plane.loss, 1.0)
    assert len(found.minima) == 4
    places = sorted(
        (round(float(plane.alpha[i]), 1), round(float(plane.beta[j]), 1)) for i, j in (one.at for one in found.minima)
    )
    # (3, 2), (-2.805, 3.131), (-3.779, -3.283), (3.584, -1.848): to within the grid of 0.05
    np.testing.assert_allclose(places, [(-3.8, -3.3), (-2.8, 3.1), (3.0, 2.0), (3.6, -1.8)], atol=0.11)
    heights = sorted(float(plane.loss[one]) for one in found.saddles)
    np.testing.assert_allclose(heights, [13.31, 67.72, 104.02], rtol=0.01)
    assert not any(one.at_edge for one in found.minima)


def test_small_ripples_are_no_minima():
    x = torch.linspace(-2, 2, 81, dtype=torch.float64)
    bowl = x[:, None] ** 2 + x[None] ** 2
    ripples = bowl + 0.05 * torch.sin(40 * x)[:, None]
    assert len(topology(ripples).minima) > 5
    assert len(topology(ripples, 0.2).minima) == 1
    assert len(topology(bowl).minima) == 1
    slope = x[:, None] + 0 * x[None]
    assert topology(slope, 0.1).minima[0].at_edge


def test_a_picture_without_a_finite_value_has_no_minima():
    found = topology(torch.full((3, 3), torch.nan))
    assert found.minima == ()
    assert (found.basins == -1).all()


@pytest.mark.parametrize(("values", "threshold"), [(torch.zeros(3), 0.0), (torch.zeros(3, 3), -1.0)])
def test_what_is_no_picture_is_refused(values, threshold):
    with pytest.raises(ValueError, match="must be"):
        topology(values, threshold)
