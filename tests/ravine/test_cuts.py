"""The slice view: planes, panels and windows, each checked against the landscape itself."""

import dataclasses

import numpy as np
import pytest
import torch

from landscapes import MLP, QUANTITIES
from landscapes.planes import PLANES
from optimizers import OPTIMIZERS
from ravine import Experiment, Result, compute, computing
from ravine.cuts import Known, looked, looking
from ravine.experiment import training
from ravine.figures.planes import difference
from ravine.reading import note

RELU = MLP(data="chebyshev", hidden=(6, 5), activation="relu", objective="squared")
TANH = dataclasses.replace(RELU, activation="tanh")
DIGITS = MLP(hidden=(8,), test_share=0.5)


def sliced(land=TANH, **changes):
    values = {"landscape": land, "optimizers": (OPTIMIZERS["gd"](lr=0.05),), "view": "slice", "steps": 20, "points": 11}
    return Experiment(**(values | changes))


@pytest.mark.parametrize("plane", PLANES)
def test_every_plane_is_cut_drawn_and_kept(plane):
    result = compute(sliced(plane=plane, points=7))
    assert result.complete
    where = result.plane.center + torch.stack([result.plane.alpha[1], result.plane.beta[5]]) @ result.plane.directions
    torch.testing.assert_close(result.plane.loss[1, 5], TANH.loss(where))
    again = Result.from_arrays(result.experiment, result.arrays())
    assert again.captions == result.captions
    assert again.figure().to_json() == result.figure().to_json()


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_quantity_has_every_drawing(quantity):
    result = compute(sliced(DIGITS, quantity=quantity, points=5, steps=5))
    for drawing in ("map", "heat map", "cuts", "basins"):
        experiment = dataclasses.replace(result.experiment, drawing=drawing, clip=10.0)
        looked = dataclasses.replace(result, experiment=experiment)
        figure = looked.figure()
        assert QUANTITIES[quantity].label.lower() in figure.to_json()
        assert len(figure.data) > 0
        assert len(looked.sentences()) == 1


def test_the_path_fades_with_its_distance_from_the_plane():
    result = compute(sliced())
    (path,) = [one for one in result.figure().data if one.name and one.name.startswith("path")]
    _, distance = result.plane.project(result.trajectory.params)
    opacity, away = np.array(path.marker.opacity), distance.numpy()
    np.testing.assert_allclose(path.customdata[:, 1], away)
    assert np.corrcoef(opacity, away)[0, 1] == pytest.approx(-1)
    assert opacity[-1] == 1  # the end lies on it


def test_in_three_dimensions_the_path_turns_gray_with_its_distance():
    result = compute(sliced(mode="surface"))
    (path,) = [one for one in result.figure().data if one.name and one.name.startswith("path")]
    _, distance = result.plane.project(result.trajectory.params)
    colors = np.array([[int(one) for one in text[4:-1].split(",")] for text in path.line.color])
    share = (distance / distance.max()).numpy()[:, None]
    np.testing.assert_allclose(colors, (1 - share) * [0xD5, 0x5E, 0x00] + share * 0xB0, atol=0.6)
    assert tuple(path.marker.color) == tuple(path.line.color)


def test_a_rescaled_twin_looks_the_same_where_filters_are_normalized():
    result = compute(sliced(RELU, beside="rescaled", exact=True))
    titles = [one.title for one in result.captions]
    assert titles == [
        f"{name}, normalization: {how}" for how in ("filter", "none") for name in ("network", "rescaled twin")
    ]
    own, twin, raw, raw_twin = (one.loss for one in result.planes)
    assert torch.equal(own, twin)  # a power of two rounds nothing
    assert (raw - raw_twin).abs().max() > 0.5 * raw.min()
    for other in (TANH, dataclasses.replace(RELU, norm="layer")):
        with pytest.raises(ValueError, match=r"choose rectified units \(relu\), and no normalization\.$"):
            compute(sliced(other, beside="rescaled"))


def test_panels_share_one_scale_and_their_contour_levels():
    result = compute(sliced(beside="seeds"))
    grounds = [one for one in result.figure().data if one.type == "contour"]
    assert len(grounds) == 4
    assert len({(one.zmin, one.zmax, one.contours.start, one.contours.size) for one in grounds}) == 1
    assert grounds[0].zmin == pytest.approx(min(float(np.min(one.z)) for one in grounds))
    assert (
        len({one.contours.size for one in grounds} & {float(f"{a}e{b}") for a in (1, 2, 5) for b in range(-9, 9)}) == 1
    )
    single = compute(sliced(plane_seed=2))
    assert torch.equal(result.planes[2].loss, single.plane.loss)
    hows = compute(sliced(beside="normalizations", normalize="layer"))
    assert [one.title for one in hows.captions] == ["layer", "filter", "vector", "none"]


def test_two_planes_are_compared_on_one_scale():
    first, second = compute(sliced()), compute(sliced(plane_seed=1))
    figure = difference(first, second)
    left, right, gap = figure.data
    assert (left.zmin, left.zmax) == (right.zmin, right.zmax)
    np.testing.assert_allclose(gap.z, (second.plane.loss - first.plane.loss).numpy().T)
    titles = [one.text for one in figure.layout.annotations]
    assert titles[:2] == ["first, plane_seed = 0", "second, plane_seed = 1"]
    assert note(first.plane) in titles[-1]
    other = difference(first, compute(sliced(span=0.5)))
    assert len(other.data) == 2
    (told,) = [one for one in other.layout.annotations if "different windows" in one.text]
    assert (told.xref, told.yref) == ("paper", "paper")  # an axis without a trace is none to stand on


def test_a_plane_through_solutions_holds_the_ends_of_other_seeds():
    result = compute(sliced(plane="solutions", others=2))
    ends = [compute(training(sliced(seed=seed))).trajectory.final for seed in (1, 2)]
    for (_, a, b), end in zip(result.captions[0].marks[1:], ends, strict=True):
        where = result.plane.center + torch.tensor([a, b]).double() @ result.plane.directions
        torch.testing.assert_close(where, end)
    for mode in ("contour", "surface"):
        experiment = dataclasses.replace(result.experiment, mode=mode)
        drawn = [one for one in dataclasses.replace(result, experiment=experiment).figure().data if one.text]
        assert [one.text[0] for one in drawn] == ["<b>A</b>", "<b>B</b>", "<b>C</b>"]
        assert [(one.x[0], one.y[0]) for one in drawn] == [(a, b) for _, a, b in result.captions[0].marks]


def test_the_window_moves_and_narrows():
    whole, part = compute(sliced(span=1.0)), compute(sliced(span=0.2, look_alpha=0.4, look_beta=-0.8))
    np.testing.assert_allclose(part.plane.window, [(0.2, 0.6), (-1.0, -0.6)])
    assert torch.equal(part.plane.directions, whole.plane.directions)
    assert float(part.plane.loss[0, 10]) == pytest.approx(float(whole.plane.loss[6, 2]), rel=1e-9)  # (0.2, -0.6)


def test_a_box_on_the_picture_is_the_next_picture():
    experiment = sliced(plane="pca", span=0.5, look_alpha=0.3, look_beta=-0.2, points=5, exact=True)
    shown = compute(experiment).plane
    (a, _), (b, _) = shown.window
    side, other = ((high - low) / 4 for low, high in shown.window)
    box = ((a + 0.1, a + 0.1 + side), (b + 0.2 + other, b + 0.2))  # drawn from any corner
    values = looking(experiment, shown.window, box)
    assert values["span"] == pytest.approx(0.125)
    part = compute(dataclasses.replace(experiment, **values)).plane
    np.testing.assert_allclose(part.window, (box[0], box[1][::-1]), rtol=1e-4)
    assert looking(experiment, shown.window, ((a, a + side), (b, b)))["span"] == pytest.approx(0.125)  # a square
    far = looked(1e9, -1e9, 1e9)
    assert sliced(**far).span == 100.0
    assert sliced(**looked(0.0, 0.0, 0.0)).span > 0


def test_what_is_known_of_a_plane_is_not_computed_again():
    known = Known()
    first = sliced(DIGITS, points=41, tolerance=1e-3)
    *_, whole = computing(first, known=known)
    assert not whole.recalled
    *_, part = computing(dataclasses.replace(first, span=0.5, tolerance=1e-2), known=known)
    assert part.recalled
    assert part.plane.evaluations == 24
    fresh = compute(dataclasses.replace(first, span=0.5, exact=True))
    assert (part.plane.loss - fresh.plane.loss).abs().max() <= part.plane.error
    *_, other = computing(dataclasses.replace(first, plane_seed=1), known=known)
    assert not other.recalled  # another plane


def test_a_costly_quantity_is_seen_on_a_coarse_grid():
    result = compute(sliced(quantity="sharpness", points=31, steps=2))
    assert result.plane.loss.shape == (21, 21)


def test_a_picture_says_how_exact_it_is():
    first, *_, last = [one.plane for one in computing(sliced(points=5)) if one.plane is not None]
    assert note(first) == "5 of 25 points computed"
    assert note(last) == "every one of 25 points computed"
    quick = compute(sliced(DIGITS, points=31, tolerance=0.05)).plane
    assert note(quick).startswith(f"interpolated from {quick.evaluations} points, error estimated at ")


def test_a_picture_of_eigenvalues_says_to_what_share_they_are_known():
    result = compute(sliced(quantity="nonconvexity", points=5))
    worst = float((result.plane.uncertainty / result.plane.loss).max())
    assert 0 < worst < 0.03
    assert (
        note(result.plane)
        == f"every one of 25 points computed, each to {100 * max(worst, 1e-6):.1g} % of its value or better"
    )
    assert note(result.plane) in result.sentences()[0]
    assert "cannot be told" not in result.sentences()[0]
    again = Result.from_arrays(result.experiment, result.arrays())
    assert torch.equal(again.plane.uncertainty, result.plane.uncertainty)
    loss, uncertainty = result.plane.loss.clone(), result.plane.uncertainty.clone()
    loss[0, 0], uncertainty[0, 0] = 1e-9, 1e-6
    loss[0, 1], uncertainty[0, 1] = torch.nan, torch.nan
    near = dataclasses.replace(result, plane=dataclasses.replace(result.plane, loss=loss, uncertainty=uncertainty))
    assert note(near.plane) == note(result.plane) + ", but for those not told from zero"
    assert "At 1 of its points the sign of λ_min cannot be told: what is shown there is the most" in near.sentences()[0]


def test_basins_are_told_with_what_they_mean():
    result = compute(sliced(drawing="basins", points=31))
    (sentence,) = result.sentences()
    assert "those of the slice: out of the plane the loss may fall further" in sentence


def test_losses_that_are_not_finite_leave_the_rest_of_the_picture():
    result = compute(sliced(points=9))
    loss = result.plane.loss.clone()
    loss[0, 0], loss[1, 1] = torch.inf, torch.nan
    broken = dataclasses.replace(result, plane=dataclasses.replace(result.plane, loss=loss))
    for drawing in ("map", "heat map", "cuts", "basins"):
        one = dataclasses.replace(broken, experiment=dataclasses.replace(result.experiment, drawing=drawing, clip=5.0))
        assert len(one.figure().data) > 0
    (sentence,) = broken.sentences()
    assert "At 2 of its points it is not finite." in sentence
