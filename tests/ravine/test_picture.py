"""Packets for the canvas, read back by a decoder of their own: what the browser gets are the result's numbers."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscapes import LANDSCAPES, MLP, Formula, Plane, Surface
from optimizers import OPTIMIZERS
from ravine import Experiment, compute, computing
from ravine.limits import LIMITS
from ravine.picture import (
    COLORS,
    GRID,
    colors_of,
    descend_view,
    number,
    plane_field,
    run_colors,
    slice_view,
    surface_field,
    surface_grid,
    twins_of,
)

TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))
SURFACES = [kind for kind in LANDSCAPES.values() if issubclass(kind, Surface)]


def unpack(packet):
    """Header and float32 numbers, as assets/surface.js reads them: no code shared with the packer."""
    length = int.from_bytes(packet[:4], "little")
    assert length % 4 == 0  # the floats must be aligned
    header = json.loads(packet[4 : 4 + length].decode("utf-8"), parse_constant=pytest.fail)  # JSON knows no NaN
    body = packet[4 + length :]
    assert len(body) % 4 == 0
    return header, np.frombuffer(body, dtype=np.dtype("<f4"))


def single(values):
    """What float32 makes of numbers: infinite where they are beyond it."""
    return torch.as_tensor(values).to(torch.float32).numpy()


def paths(**changes):
    rules = (OPTIMIZERS["gd"](lr=1e-3), OPTIMIZERS["adam"](lr=0.1), OPTIMIZERS["heavy_ball"](lr=10.0))
    values = {"landscape": LANDSCAPES["rosenbrock"](), "optimizers": rules, "start": (0.5, -0.25), "steps": 30}
    return Experiment(**(values | changes))


def sliced(**changes):
    values = {"landscape": TINY, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": "slice", "steps": 20, "points": 7}
    return Experiment(**(values | changes))


# ------------------------------------------------------------------ fields


@pytest.mark.parametrize("kind", SURFACES, ids=lambda kind: kind.name)
def test_a_field_is_the_loss_over_the_window(kind):
    surface = kind()
    identity, packet = surface_field(surface)
    header, floats = unpack(packet)
    assert header["id"] == identity
    assert header["nx"] == header["ny"] == GRID
    assert header["names"] == ["x", "y"]
    assert header["log"] == surface.log_color
    assert (tuple(header["x"]), tuple(header["y"])) == surface.window
    z = floats.reshape(header["ny"], header["nx"])
    (left, right), (low, high) = surface.window
    for row, column in ((0, 0), (0, GRID - 1), (GRID - 1, 0), (40, 100), (GRID // 2, GRID // 2)):
        x = left + (right - left) * column / (GRID - 1)
        y = low + (high - low) * row / (GRID - 1)
        loss = float(surface.loss(torch.tensor([x, y], dtype=torch.float64)))
        assert z[row, column] == pytest.approx(loss, rel=1e-5, abs=1e-5)
    known = surface.minimizers()
    assert header["minimizers"] == ([] if known is None else known.tolist())


def test_a_grid_cannot_be_changed_by_its_readers():
    for array in surface_grid(LANDSCAPES["booth"]()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def plane(loss=None, span=1.0):
    generator = torch.Generator().manual_seed(0)
    if loss is None:
        loss = torch.rand(4, 5, generator=generator, dtype=torch.float64) + 0.5
    alpha = torch.linspace(-span, span, loss.shape[0], dtype=torch.float64)
    beta = torch.linspace(-2 * span, 2 * span, loss.shape[1], dtype=torch.float64)
    return Plane(loss, alpha, beta, torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[:2])


def test_a_plane_is_drawn_with_alpha_to_the_right():
    one = plane()
    header, floats = unpack(plane_field(one)[1])
    assert (header["nx"], header["ny"]) == (4, 5)
    assert (header["x"], header["y"]) == ([-1.0, 1.0], [-2.0, 2.0])
    assert header["names"] == ["α", "β"]
    assert header["minimizers"] == []
    for i in range(4):
        for j in range(5):
            assert floats[j * 4 + i] == np.float32(one.loss[i, j])


def test_rows_not_computed_yet_are_nan():
    one = plane()
    one.loss[2:] = torch.nan
    _, floats = unpack(plane_field(one)[1])
    assert np.isnan(floats.reshape(5, 4)).sum(axis=0).tolist() == [0, 0, 5, 5]
    _, floats = unpack(plane_field(plane(torch.full((4, 5), torch.nan, dtype=torch.float64)))[1])
    assert np.isnan(floats).all()


@pytest.mark.parametrize(
    ("low", "high", "log"), [(1.0, 2.0, False), (1.0, 29.0, False), (1.0, 31.0, True), (0.0, 9.0, False)]
)
def test_losses_of_many_sizes_are_coloured_by_their_logarithm(low, high, log):
    loss = torch.full((4, 5), low, dtype=torch.float64)
    loss[1, 2], loss[3, 3], loss[0, 0] = high, torch.nan, torch.inf
    assert unpack(plane_field(plane(loss))[1])[0]["log"] is log


def test_numbers_beyond_float32_become_infinite():
    surface = Formula("exp(200*x) - exp(200*y)")
    header, floats = unpack(surface_field(surface)[1])
    z = floats.reshape(header["ny"], header["nx"])
    assert z[GRID // 2, -1] == np.inf
    assert z[-1, GRID // 2] == -np.inf
    assert np.isfinite(z[0, 0])


values = st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=4, max_size=4)


@given(values, values, st.sampled_from([1.0, 2.0]))
def test_the_id_of_a_field_changes_with_its_content_and_only_then(first, second, span):
    one = plane_field(plane(torch.tensor(first, dtype=torch.float64).reshape(2, 2)))
    again = plane_field(plane(torch.tensor(first, dtype=torch.float64).reshape(2, 2)))
    other = plane_field(plane(torch.tensor(second, dtype=torch.float64).reshape(2, 2), span))
    assert one == again
    changed = np.float32(first).tobytes() != np.float32(second).tobytes() or span != 1.0
    assert (one[0] != other[0]) == changed
    assert (one[1] != other[1]) == changed


def test_fields_of_different_surfaces_have_different_ids():
    ids = {surface_field(kind())[0] for kind in SURFACES}
    assert len(ids) == len(SURFACES)
    wide = Formula("x^2 + y^2", window=((-3.0, 3.0), (-3.0, 3.0)))
    assert surface_field(Formula("x^2 + y^2"))[0] != surface_field(wide)[0]
    assert surface_field(Formula("x^2 + y^2"))[0] == surface_field(Formula("y^2 + x^2"))[0]


def test_the_unknown_is_content_too():
    one = plane()
    partial = dataclasses.replace(one, loss=one.loss.clone())
    partial.loss[3] = torch.nan
    assert plane_field(one)[0] != plane_field(partial)[0]


# ------------------------------------------------------------------ runs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_paths_are_the_results_numbers(dtype):
    result = compute(paths(dtype=dtype, mode="surface"))
    header, floats = unpack(descend_view(result, "some id"))
    path, rules = result.trajectory, result.experiment.optimizers
    assert header["field"] == "some id"
    assert header["mode"] == "surface"
    assert header["start"] == [0.5, -0.25]
    assert header["clickable"] is True
    assert header["fade"] is False
    assert header["steps"] == list(range(31))
    assert header["rows"] == 31
    assert floats.shape == (3 * 4 * 31,)
    blocks = floats.reshape(3, 4, 31)
    for index, (run, rule) in enumerate(zip(header["runs"], rules, strict=True)):
        np.testing.assert_array_equal(blocks[index, 0], single(path.params[:, index, 0]))
        np.testing.assert_array_equal(blocks[index, 1], single(path.params[:, index, 1]))
        np.testing.assert_array_equal(blocks[index, 2], single(path.loss[:, index]))
        assert run["label"] == rule.label
        assert run["color"] == colors_of(rules)[index]
        assert float(run["detail"].rpartition(" ")[2]) == rule.lr


def test_a_diverged_run_says_where():
    result = compute(paths())
    died = int(result.trajectory.diverged_at[2])
    assert died > 0
    header, floats = unpack(descend_view(result, ""))
    assert header["runs"][2]["diverged"] == died
    assert header["runs"][2]["ended"] == f"diverged at step {died}"
    assert np.isnan(floats.reshape(3, 4, 31)[2, 2, died:]).all()
    for index in (0, 1):
        assert header["runs"][index]["diverged"] is None
        x, y = result.trajectory.params[-1, index].tolist()
        assert f"({x:.4g}, {y:.4g})" in header["runs"][index]["ended"]


def test_a_projected_path_is_the_nearest_point_of_the_plane():
    result = compute(sliced(steps=200))
    path, one = result.trajectory, result.plane
    header, floats = unpack(slice_view(result, "id"))
    assert header["start"] is None
    assert header["clickable"] is False
    assert header["fade"] is True
    assert header["steps"] == path.params_step.tolist()
    assert len(header["runs"]) == 1
    alpha, beta, loss, fade, slope = floats.reshape(5, header["rows"])
    np.testing.assert_array_equal(slope, single(path.grad_norm[torch.searchsorted(path.step, path.params_step)]))
    basis = one.directions.numpy().T
    offsets = (path.params - one.center).numpy()
    nearest = np.stack([np.linalg.lstsq(basis, offset, rcond=None)[0] for offset in offsets])
    away = np.linalg.norm(offsets - nearest @ basis.T, axis=1)
    np.testing.assert_allclose(alpha, nearest[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(beta, nearest[:, 1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fade, away / away.max(), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(loss, single(path.loss[path.params_step]))
    assert fade.max() == 1.0
    assert fade[-1] == pytest.approx(0.0, abs=1e-6)


def test_named_points_travel_with_the_path():
    result = compute(sliced(plane="solutions", others=1))
    header, _ = unpack(slice_view(result, "id"))
    assert header["marks"] == [{"name": "A", "at": [0, 0]}, {"name": "B", "at": [1, 0]}]
    _, distance = result.plane.project(result.trajectory.params)
    assert header["furthest"] == pytest.approx(float(distance.max()))


def test_partial_slices_can_be_sent():
    partial = [one for one in computing(sliced()) if one.plane is not None]
    for one in partial:
        header, _ = unpack(slice_view(one, "id"))
        assert header["rows"] == len(one.trajectory.params_step)


def test_runs_are_told_apart_by_colour():
    assert len(set(COLORS)) == len(COLORS) == LIMITS.runs
    channels = np.array([[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in COLORS], float)
    apart = np.linalg.norm(channels[:, None] - channels[None], axis=-1)
    assert apart[~np.eye(len(COLORS), dtype=bool)].min() > 60


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_short_and_true(value):
    text = number(value)
    assert len(text) <= 11
    assert float(text) == pytest.approx(value, rel=6e-4)


def test_a_rule_keeps_its_color_and_runs_of_one_color_are_told_apart():
    alone = {name: colors_of([kind()])[0] for name, kind in OPTIMIZERS.items()}
    assert set(alone.values()) == set(COLORS)
    often = ("gd", "heavy_ball", "adam", "signsgd", "nag", "rmsprop", "muon", "adagrad")
    assert len({alone[name] for name in often}) == len(often)
    others = ["gd", "adam", "lion"]
    for name, kind in OPTIMIZERS.items():
        row = [OPTIMIZERS[other]() for other in others] + [kind()]
        assert colors_of(row) == (*(alone[other] for other in others), alone[name])  # whatever stands beside it
        assert len(set(zip(colors_of(row), twins_of(row), strict=True))) == 4
    assert twins_of([OPTIMIZERS["gd"]()] * 3) == (0, 1, 2)
    # Drawn so: hollow on the canvas, dashed in a figure.
    result = compute(paths(optimizers=(OPTIMIZERS["gd"](lr=1e-4), OPTIMIZERS["gd"](lr=1e-5))))
    header, _ = unpack(descend_view(result, ""))
    assert [run["twin"] for run in header["runs"]] == [0, 1]
    assert {one.line.dash for one in result.figure().data if one.type == "scatter"} == {"solid", "dash"}


def test_compared_rules_have_their_colors_in_training_too():
    network = MLP(data="chebyshev", objective="squared", hidden=(4,))
    rules = (OPTIMIZERS["adam"](lr=0.01), OPTIMIZERS["gd"](lr=0.1))
    experiment = Experiment(network, rules, view="edge", steps=10)
    assert run_colors(experiment) == colors_of(rules)
    twice = dataclasses.replace(experiment, optimizers=(*rules, rules[1]))
    assert run_colors(twice)[:2] == colors_of(rules)
    assert len(set(run_colors(twice))) == 3
    varied = dataclasses.replace(experiment, vary="seed", across="0,1")
    assert run_colors(varied) == COLORS[:4]
