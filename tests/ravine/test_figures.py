"""Figures hold exactly the result's numbers."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from landscapes import LANDSCAPES, Formula
from optimizers import OPTIMIZERS, PROBES, SCHEDULES, Scheduled
from ravine import Experiment, compute, computing
from ravine.axis import Axis
from ravine.experiment import MODES, OUTCOMES, VIEWS
from ravine.figures.parts import scaled
from ravine.figures.ranges import around_zero
from ravine.picture import COLORS, colors_of, surface_grid
from ravine.stability import until_the_end
from tests.ravine import examples
from tests.ravine.examples import TINY, paths


def network(view="edge", **changes):
    values = {"landscape": TINY, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": view, "steps": 20, "points": 7}
    return Experiment(**(values | changes))


def traces(figure, kind):
    return [one for one in figure.data if one.type == kind]


def table(**changes):
    axes = {"over_x": Axis("lr", 1e-4, 1.0, 9, log=True), "over_y": Axis("momentum", 0.0, 0.9, 4)}
    return examples.table(**(axes | changes))


EXAMPLES = {
    "descend": paths(),
    "edge": network(),
    "slice": network("slice"),
    "sweep": table(),
    "stepsize": network("stepsize", at=3),
}


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_a_figure_that_can_be_sent(view):
    figure = compute(EXAMPLES[view]).figure()
    assert len(figure.data) > 0
    assert json.loads(figure.to_json())["data"]


# ------------------------------------------------------------------ the edge


def test_the_edge_figure_holds_loss_and_sharpness():
    result = compute(network(every=3))
    loss, sharp, line = result.figure().data
    path = result.trajectory
    np.testing.assert_array_equal(loss.x, path.step.numpy())
    np.testing.assert_array_equal(loss.y, path.loss.numpy())
    measured = [0, 3, 6, 9, 12, 15, 18, 20]
    np.testing.assert_array_equal(sharp.x, measured)
    np.testing.assert_array_equal(sharp.y, path.probes["sharpness"].numpy()[measured])
    assert list(line.x) == [0, 20]


@pytest.mark.parametrize("lr", [0.1, 0.25, 1 / 3])
def test_the_threshold_of_gradient_descent_is_two_over_the_step_size(lr):
    *_, line = compute(network(optimizers=(OPTIMIZERS["gd"](lr=lr),))).figure().data
    assert list(line.y) == [pytest.approx(2 / lr)] * 2
    assert "2/η" in line.name
    assert float(line.name.rpartition(" ")[2]) == pytest.approx(2 / lr, rel=1e-3)


def lines(figure, row):
    """The threshold lines of the panel of that number, the loss being the first."""
    return [
        one for one in figure.data
        if one.yaxis == ("y" if row == 1 else f"y{row}") and one.line.dash == "dash" and one.x[0] is not None
    ]  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rule_has_a_line_for_each_threshold(name):
    rule = OPTIMIZERS[name]()
    figure = compute(network(optimizers=(rule,), steps=2)).figure()
    threshold, scaled = rule.stability_threshold(), rule.preconditioned_threshold()
    assert [list(one.y) for one in lines(figure, 2)] == ([] if threshold is None else [[threshold] * 2])
    assert [list(one.y) for one in lines(figure, 3)] == ([] if scaled is None else [[pytest.approx(scaled)] * 2])


# ------------------------------------------------------------------ several runs


def overlaid(**changes):
    return network(vary="opt1.lr", across="0.1,0.5,20.0", every=1, **changes)


def test_every_run_has_one_colour_and_its_own_threshold():
    result = compute(overlaid(steps=60))
    figure = result.figure()
    drawn = figure.data
    for index, (run, path) in enumerate(zip(result.experiment.runs, result.paths, strict=True)):
        own = [one for one in drawn if one.meta == index]
        assert {one.legendgroup for one in own} == {run.label}
        assert [one.name for one in own if one.showlegend] == [run.label]
        colors = {one.line.color or one.marker.color for one in own}
        assert colors == {COLORS[index]}
        loss, sharp = own[0], next(one for one in own if "sharpness" in one.name)
        np.testing.assert_array_equal(loss.y, path.loss.numpy())
        seen = ~path.probes["sharpness"].isnan()
        np.testing.assert_allclose(sharp.y, path.probes["sharpness"][seen].numpy())
        (line,) = [one for one in lines(figure, 2) if one.meta == index]
        assert list(line.y) == [pytest.approx(2 / float(run.optimizer.rule.lr))] * 2


def test_where_a_run_diverged_is_marked():
    wild = OPTIMIZERS["gd"](lr=1000.0, weight_decay=1.0)
    result = compute(network(optimizers=(OPTIMIZERS["gd"](lr=0.1), wild), steps=40, dtype="float32"))
    died = int(result.paths[1].diverged_at)
    (dead,) = [one for one in result.figure().data if one.name and "diverged" in one.name]
    assert (dead.meta, list(dead.x)) == (1, [died - 1])
    low, high = result.figure().layout.yaxis.range  # the other run is not squeezed flat
    assert 10**high == pytest.approx(100 * float(result.paths[1].loss[0]))
    assert float(result.paths[1].loss[died - 1]) > 10**high == pytest.approx(dead.y[0])  # on the edge of what is seen
    assert 10**low < float(result.paths[0].loss.min())


def test_the_first_crossing_is_marked():
    result = compute(overlaid(steps=60))
    for index, path in enumerate(result.paths):
        limit = 2 / result.experiment.runs[index].optimizer.rule.lr
        values = path.probes["sharpness"].tolist()
        over = [step for step, value in enumerate(values) if value >= limit]
        marks = [one for one in result.figure().data if one.meta == index and "first reaches" in one.name]
        assert [list(one.x) for one in marks] == ([[over[0]]] if over else [])
        for one in marks:
            assert one.y[0] == pytest.approx(values[over[0]])
            assert f"at step {over[0]}" in one.name


def test_in_units_of_the_threshold_every_line_is_at_one():
    experiment = overlaid(steps=30)
    plain = compute(experiment)
    figure = dataclasses.replace(plain, experiment=dataclasses.replace(experiment, relative=True)).figure()
    (shared,) = lines(figure, 2)
    assert (shared.name, list(shared.y), shared.meta) == ("threshold", [1.0, 1.0], None)
    for index, lr in enumerate((0.1, 0.5, 20.0)):
        sharp = next(one for one in figure.data if one.meta == index and "sharpness" in one.name)
        values = plain.paths[index].probes["sharpness"]
        np.testing.assert_allclose(sharp.y, values[~values.isnan()].numpy() * lr / 2)


def test_a_threshold_that_all_runs_share_is_drawn_once():
    (line,) = lines(compute(network(vary="seed", across="0,1,2")).figure(), 2)
    assert (line.name, list(line.x), list(line.y), line.showlegend) == ("2/η = 20", [0, 20], [20.0, 20.0], True)
    decayed = Scheduled(inner=OPTIMIZERS["gd"](lr=0.1), schedule=SCHEDULES["linear"]())
    figure = compute(network(optimizers=(decayed, OPTIMIZERS["gd"](lr=0.1)), every=1)).figure()
    falling, level = lines(figure, 2)
    np.testing.assert_allclose(falling.y[:20], 20.0 / (1 - np.arange(20) / 20))
    assert list(level.y) == [20.0, 20.0]


def test_a_spike_does_not_hide_the_thresholds():
    steady, wild = OPTIMIZERS["gd"](lr=0.1), OPTIMIZERS["gd"](lr=20.0)
    result = compute(network(optimizers=(steady, wild), steps=60, every=1))
    values = torch.cat([path.probes["sharpness"][:30] for path in result.paths])
    assert float(values[values.isfinite()].max()) > 200
    (_, top), calm = result.figure().layout.yaxis2.range, compute(network()).figure()
    assert 20 < top < 200
    assert [one.text[:6] for one in result.figure().layout.annotations].count("higher") >= 1
    assert calm.layout.yaxis2.range is None
    assert not calm.layout.annotations


def test_a_run_that_diverges_presses_no_panel_flat():
    probes = ("distance", "layer_norms")
    wild = OPTIMIZERS["gd"](lr=1000.0, weight_decay=1.0)
    both = (OPTIMIZERS["gd"](lr=0.1), wild)
    result = compute(network(optimizers=both, steps=12, every=1, probes=probes))
    figure, steady = result.figure(), result.paths[0]
    titles = {"distance from the<br>start": "distance", "parameter norm by<br>layer": "layer_norms"}
    panels = {titles.get(axis.title.text): axis for axis in figure.select_yaxes()}
    for name in titles.values():
        own, all_runs = steady.probes[name], torch.cat([path.probes[name].flatten() for path in result.paths])
        low, high = panels[name].range
        assert low <= 0 <= float(own.max()) <= high < 10 * float(own.max()) < float(all_runs[all_runs.isfinite()].max())
    cut_off = [axis for axis in figure.select_yaxes() if axis.range is not None]
    notes = [one.text for one in figure.layout.annotations if one.name != "layer_norms"]
    assert len(notes) == len(cut_off)
    assert all(note.endswith("values are cut off; a double click shows them") for note in notes)


def test_an_axis_ends_where_most_calm_values_are_seen():
    values, calm = torch.cat([torch.linspace(1, 2, 99), torch.tensor([1e30])]), torch.ones(100, dtype=torch.bool)
    low, high, beyond = around_zero(values, calm)
    assert (low, beyond) == (0.0, "higher")
    assert 2 < high < 2.3
    assert around_zero(-values, calm) == (-high, -low, "lower")
    assert around_zero(torch.stack([values, -values], -1), calm)[2] == "outer"
    assert around_zero(values[:99], calm[:99]) is None
    assert around_zero(torch.zeros(100), calm) is None  # nothing to see is no reason to cut
    growing = torch.logspace(0, 30, 100)  # half of it and more lies far out
    assert around_zero(growing, growing < 10)[1] < 11
    assert around_zero(growing, growing < 0) is None


def test_losses_that_need_not_be_positive_are_cut_off_as_well():
    result = compute(network(steps=40))
    falling, rising = -torch.logspace(-1, 20, 41), torch.cat([torch.tensor([1.0, 0.0]), torch.logspace(-1, 20, 39)])
    for values, beyond in ((falling, "lower"), (rising, "higher")):
        path = dataclasses.replace(result.trajectory, loss=values)
        figure = dataclasses.replace(result, trajectory=path).figure()
        assert figure.layout.yaxis.type == "linear"
        assert max(map(abs, figure.layout.yaxis.range)) < 5e19
        assert [one.text.partition(" ")[0] for one in figure.layout.annotations] == [beyond]


def test_gradient_flow_and_the_step_looked_at_are_drawn():
    result = compute(network(flow=True, at=7))
    figure = result.figure()
    loss, sharp = (one for one in figure.data if "gradient flow" in one.name)
    np.testing.assert_array_equal(loss.y, result.flow.loss.numpy())
    seen = ~result.flow.probes["sharpness"].isnan()
    np.testing.assert_allclose(sharp.y, result.flow.probes["sharpness"][seen].numpy())
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes} == {(7, 7)}
    assert not compute(network()).figure().layout.shapes


def test_a_chosen_probe_has_a_panel_and_the_eigenvalues_lie_under_the_sharpness():
    result = compute(network(probes=("distance", "top_eigenvalues"), eigenvalues=4))
    figure = result.figure()
    path = result.trajectory
    drawn = {one.name: one for one in figure.data}
    seen = ~path.probes["distance"].isnan()
    np.testing.assert_allclose(drawn["distance from the start"].y, path.probes["distance"][seen].numpy())
    for index in range(1, 4):
        np.testing.assert_allclose(drawn["λ" + "₁₂₃₄₅"[index]].y, path.probes["top_eigenvalues"][seen, index].numpy())
        assert drawn["λ" + "₁₂₃₄₅"[index]].yaxis == drawn["sharpness λ"].yaxis
    assert not {"λ₁", "λ₅"} & drawn.keys()  # the first is the sharpness
    assert all(drawn[f"λ{below}"].showlegend for below in "₂₃₄")
    assert len({drawn[name].yaxis for name in ("loss", "sharpness λ", "distance from the start")}) == 3
    relative = dataclasses.replace(result, experiment=dataclasses.replace(result.experiment, relative=True)).figure()
    (second,) = [one for one in relative.data if one.name == "λ₂"]
    np.testing.assert_allclose(second.y, drawn["λ₂"].y * 0.1 / 2)


@pytest.mark.parametrize(("name", "bars"), [("smallest_eigenvalue", "error"), ("trace", "2 × standard error")])
def test_an_error_is_drawn_as_bars_around_its_value(name, bars):
    result = compute(network(probes=(name,), steps=4, every=2))
    figure = result.figure()
    entry = PROBES[name]().entries(TINY)[0]
    (line,) = [one for one in figure.data if one.name == entry]
    values, errors = result.trajectory.probes[name][::2].T.numpy()
    np.testing.assert_array_equal(line.y, values)
    np.testing.assert_array_equal(line.error_y.array, errors * (2 if name == "trace" else 1))
    (told,) = figure.layout.annotations
    assert f">{entry}, bars: {bars}</span>" in told.text
    kept = dataclasses.replace(result.trajectory, probes={name: result.trajectory.probes[name][:, 0]})
    (line,) = [one for one in dataclasses.replace(result, trajectory=kept).figure().data if one.name == entry]
    np.testing.assert_array_equal(line.y, values)  # a file from before there were errors


def test_entries_of_a_vector_are_named_above_their_panel():
    (told,) = compute(network(probes=("layer_norms",), steps=2)).figure().layout.annotations
    names = PROBES["layer_norms"]().entries(TINY)
    assert told.text == ", ".join(
        f'<span style="color:{color}">{one}</span>' for one, color in zip(names, COLORS, strict=False)
    )
    several = compute(network(probes=("layer_norms",), steps=2, vary="seed", across="0,1")).figure()
    (told,) = several.layout.annotations
    assert told.text == f"strong to faint: {', '.join(names)}"
    drawn = [one for one in several.data if one.meta == 1 and one.name.rpartition(", ")[2] in names]
    assert [one.hovertemplate.partition("<br>")[0] for one in drawn] == [f"Seed of the run = 1, {one}" for one in names]
    assert not any(one.showlegend for one in drawn)


def test_the_spectral_density_is_a_cloud_of_its_nodes():
    result = compute(network(probes=("spectral_density",), every=10))
    (cloud,) = [one for one in result.figure().data if one.name == "spectral density"]
    values = result.trajectory.probes["spectral_density"][[0, 10, 20]]
    nodes, weights = values[:, : values.shape[1] // 2], values[:, values.shape[1] // 2 :]
    np.testing.assert_array_equal(cloud.x, np.repeat([0, 10, 20], nodes.shape[1]))
    np.testing.assert_array_equal(cloud.y, nodes.flatten().numpy())
    heavy, light = int(weights.flatten().argmax()), int(weights.flatten().argmin())
    assert cloud.marker.opacity[heavy] > cloud.marker.opacity[light]


def test_there_are_no_more_eigenvalues_than_parameters():
    land = LANDSCAPES["scalar_network"](depth=2)
    result = compute(network(landscape=land, probes=("top_eigenvalues",), eigenvalues=5))
    assert result.trajectory.probes["top_eigenvalues"].shape[-1] == land.dim == 2


def test_a_step_size_of_zero_has_no_line():
    assert len(compute(network(optimizers=(OPTIMIZERS["gd"](lr=0.0),))).figure().data) == 2


def test_the_edge_is_drawn_while_it_runs():
    partial = next(computing(network(steps=200)))
    loss, *_ = partial.figure().data
    assert len(loss.y) == partial.done + 1
    assert tuple(partial.figure().layout.xaxis.range) == (0, 200)


# ------------------------------------------------------------------ paths


@pytest.mark.parametrize("name", ["rosenbrock", "rastrigin"])
@pytest.mark.parametrize("mode", MODES)
def test_the_surface_is_drawn_over_its_window(name, mode):
    surface = LANDSCAPES[name]()
    figure = compute(paths(landscape=surface, mode=mode)).figure()
    (ground,) = traces(figure, mode)
    x, y, z = surface_grid(surface)
    np.testing.assert_array_equal(ground.x, x)
    np.testing.assert_array_equal(ground.y, y)
    np.testing.assert_array_equal(ground.customdata, z)
    drawn = np.asarray(ground.z)
    order = np.argsort(z, axis=None)
    assert (np.diff(drawn.ravel()[order]) >= 0).all()  # height rises with the loss
    if not surface.log_color:
        np.testing.assert_array_equal(drawn, z)
    other = next(one for one in MODES if one != mode)
    assert traces(figure, other) == []


@pytest.mark.parametrize("mode", MODES)
def test_paths_are_the_results_numbers(mode):
    result = compute(paths(mode=mode))
    figure, path = result.figure(), result.trajectory
    flat = traces(figure, "scatter")
    drawn = flat[0::2] if mode == "contour" else traces(figure, "scatter3d")
    curves = flat[1::2] if mode == "contour" else flat
    assert len(drawn) == len(curves) == 3
    for index, rule in enumerate(result.experiment.optimizers):
        np.testing.assert_array_equal(drawn[index].x, path.params[:, index, 0].numpy())
        np.testing.assert_array_equal(drawn[index].y, path.params[:, index, 1].numpy())
        np.testing.assert_array_equal(curves[index].x, path.step.numpy())
        np.testing.assert_array_equal(curves[index].y, path.loss[:, index].numpy())
        assert rule.label in drawn[index].name
        assert drawn[index].line.color == curves[index].line.color == colors_of(result.experiment.optimizers)[index]


def test_paths_lie_on_the_drawn_surface():
    result = compute(paths(landscape=Formula("x^2 + 3*y^2"), optimizers=(OPTIMIZERS["gd"](lr=0.05),), mode="surface"))
    (line,) = traces(result.figure(), "scatter3d")
    np.testing.assert_allclose(line.z, result.trajectory.loss[:, 0].numpy(), atol=2e-3)


def test_what_leaves_the_window_is_not_on_the_surface():
    result = compute(paths(start=(50.0, 50.0), optimizers=(OPTIMIZERS["gd"](lr=0.0),), mode="surface"))
    (line,) = traces(result.figure(), "scatter3d")
    assert np.isnan(np.asarray(line.z, float)).all()
    diverged = compute(paths(mode="surface"))
    assert int(diverged.trajectory.diverged_at[2]) > 0
    assert len(traces(diverged.figure(), "scatter3d")) == 3


def test_losses_that_are_not_finite_are_gaps():
    surface = Formula("log(x) + y^2")
    (ground,) = traces(compute(paths(landscape=surface, start=(1.0, 1.0))).figure(), "contour")
    x, _, z = surface_grid(surface)
    drawn = np.asarray(ground.z)
    assert np.isnan(drawn[:, x <= 0]).all()
    np.testing.assert_array_equal(drawn[:, x > 0], z[:, x > 0])
    (ground,) = traces(compute(paths(landscape=Formula("1/(x*x) + y"), start=(1.0, 1.0))).figure(), "contour")
    assert not np.isinf(np.asarray(ground.z)).any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("formula", ["0*x", "0*x - 3", "0*x + 2"])
def test_a_flat_surface_can_be_drawn(formula, mode):
    figure = compute(paths(landscape=Formula(formula), mode=mode)).figure()
    (ground,) = traces(figure, mode)
    assert np.isfinite(np.asarray(ground.z)).all()


# ------------------------------------------------------------------ slices


@pytest.mark.parametrize("mode", MODES)
def test_a_slice_holds_the_plane_and_the_path(mode):
    result = compute(network("slice", mode=mode, scale="log"))
    figure, plane = result.figure(), result.plane
    (ground,) = traces(figure, mode)
    np.testing.assert_array_equal(ground.x, plane.alpha.numpy())
    np.testing.assert_array_equal(ground.y, plane.beta.numpy())
    np.testing.assert_array_equal(ground.customdata, plane.loss.numpy().T)
    np.testing.assert_allclose(10 ** np.asarray(ground.z), plane.loss.numpy().T, rtol=1e-12)
    (path,) = traces(figure, "scatter" if mode == "contour" else "scatter3d")
    coordinates, distance = plane.project(result.trajectory.params)
    np.testing.assert_array_equal(np.stack([path.x, path.y], axis=-1), coordinates.numpy())
    np.testing.assert_array_equal(path.customdata[:, 0], result.trajectory.params_step.numpy())
    np.testing.assert_array_equal(path.customdata[:, 1], distance.numpy())


@pytest.mark.parametrize(("low", "high", "named"), [
    (3e-4, 2e3, ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]),
    (0.3, 12.0, ["0.5", "1", "2", "5", "10"]),
    (-1.0, 3.0, None),
])  # fmt: skip
def test_a_logarithmic_color_bar_names_round_numbers(low, high, named):
    spaced = np.geomspace if low > 0 else np.linspace
    z = spaced(low, high, 100_000).reshape(100, 1000)
    height, ticks = scaled(z, log=True)
    assert named is None or ticks["ticktext"] == named
    # Each stands where the value that it names is drawn.
    drawn = np.interp([float(text) for text in ticks["ticktext"]], z.ravel(), height.ravel())
    np.testing.assert_allclose(ticks["tickvals"], drawn, atol=0.02 * np.ptp(height))


@pytest.mark.parametrize("mode", MODES)
def test_a_slice_is_drawn_while_it_grows(mode):
    for result in computing(network("slice", mode=mode)):
        figure = result.figure()
        if result.plane is None:
            assert len(figure.data) == 0
        else:
            (ground,) = traces(figure, mode)
            unknown = result.plane.loss.numpy().T
            np.testing.assert_array_equal(np.isnan(np.asarray(ground.z)), np.isnan(unknown))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [0.0, 1.5, -2.0, torch.nan, torch.inf])
def test_a_slice_of_one_value_can_be_drawn(value, mode):
    result = compute(network("slice", mode=mode))
    flat = dataclasses.replace(result.plane, loss=torch.full_like(result.plane.loss, value))
    (ground,) = traces(dataclasses.replace(result, plane=flat).figure(), mode)
    assert np.isfinite(np.asarray(ground.z)).all() == np.isfinite(value)
    assert not np.isinf(np.asarray(ground.z)).any()


# ------------------------------------------------------------------ sweeps


def test_a_map_shows_losses_and_what_diverged_apart():
    result = compute(table())
    losses, lost = result.figure().data
    final, died = result.table.final_loss.numpy().T, result.table.diverged_at.numpy().T  # momentum upwards
    assert losses.z.shape == (4, 9)
    np.testing.assert_array_equal(np.isnan(losses.z), died >= 0)
    np.testing.assert_array_equal(np.isnan(lost.z), died < 0)
    np.testing.assert_array_equal(lost.z[died >= 0], died[died >= 0])
    inside = died < 0
    np.testing.assert_allclose(losses.z[inside], final[inside], rtol=1e-6)  # float32
    wide = compute(table(over_x=Axis("lr", 1e-7, 2e-3, 9, log=True), landscape=LANDSCAPES["booth"](), steps=900))
    (drawn,) = wide.figure().data
    logs = np.log10(wide.table.final_loss.numpy().T)
    np.testing.assert_allclose(drawn.z, np.maximum(logs, -16), rtol=1e-5, atol=1e-6)  # what is below is drawn as zero
    np.testing.assert_array_equal(losses.x, result.table.over["lr"].numpy())
    layout = result.figure().layout
    assert (layout.xaxis.type, layout.yaxis.type) == ("log", "linear")


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("over_y", [None, Axis("momentum", 0.0, 0.9, 4)], ids=["lines", "map"])
def test_every_outcome_can_be_drawn(outcome, over_y):
    figure = compute(table(outcome=outcome, over_y=over_y)).figure()
    assert json.loads(figure.to_json())["data"]
    assert any(one.name.startswith(("final", "best", "step", "sharpness")) for one in figure.data)


def test_the_stable_range_is_shaded():
    """On a bowl of curvature 10 gradient descent is stable below 0.2, and far above it 30 steps overflow."""
    bowl = LANDSCAPES["quadratic"](kappa=10.0)
    axes = {"over_x": Axis("lr", 1e-3, 1e4, 71, log=True), "over_y": None}
    result = compute(table(landscape=bowl, optimizers=(OPTIMIZERS["gd"](),), steps=400, start=None, **axes))
    figure = result.figure()
    (shade,) = figure.layout.shapes
    died = result.table.diverged_at.numpy() >= 0
    x = result.table.over["lr"].numpy()
    assert shade.x0 == x[0]
    assert x[~died].max() < shade.x1 < x[died].min()
    assert 0.2 < shade.x1 < 1.0
    (line,) = [one for one in figure.data if one.name == "final loss"]
    np.testing.assert_array_equal(np.asarray(line.y, float), result.table.final_loss.numpy())


def test_a_sweep_that_diverges_everywhere_can_be_drawn():
    result = compute(table(over_x=Axis("lr", 100.0, 1000.0, 3)))
    assert (result.table.diverged_at >= 0).all()
    assert json.loads(result.figure().to_json())["data"]
    assert result.sentences() == ["12 of 12 runs diverged."]


def test_the_threshold_of_a_schedule_is_that_of_the_steps_taken():
    """A linear decay over four steps takes the factors 1, 3/4, 1/2, 1/4; the end of the run keeps the last."""
    rule = Scheduled(inner=OPTIMIZERS["gd"](lr=0.1), schedule=SCHEDULES["linear"]())
    limits = until_the_end(rule.thresholds(4))
    assert limits == pytest.approx([20, 80 / 3, 40, 80, 80])
