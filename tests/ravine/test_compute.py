"""Computing an experiment: the same numbers as a direct run, growing results, and files that make them again."""

import dataclasses
import importlib
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import optimizers
from landscapes import LANDSCAPES, Formula, sharpness, slice_2d
from optimizers import OPTIMIZERS, Course, judge
from ravine import Experiment, Result, Store, compute, computing, cuts, memory
from ravine.axis import Axis
from ravine.experiment import DTYPES, VIEWS, training
from tests.ravine.examples import EXAMPLES, TINY, network, paths, same, table

COMPUTE = importlib.import_module("ravine.engine")
SWEEP = importlib.import_module("optimizers.sweep")


def test_there_is_an_example_of_every_view():
    assert set(EXAMPLES) == set(VIEWS)


# ------------------------------------------------------------------ against direct runs


@pytest.mark.parametrize("dtype", DTYPES)
def test_paths_are_those_of_a_direct_run(dtype):
    experiment = paths(dtype=dtype, seed=3)
    result = compute(experiment)
    start = torch.tensor(experiment.start, dtype=DTYPES[dtype])
    for index, rule in enumerate(experiment.optimizers):
        alone = optimizers.run(experiment.landscape, rule, start, experiment.steps, seed=3)
        # In double precision a program took the steps, which rounds some of them otherwise (see tests/optimizers/test_program.py).
        off = {"rtol": 1e-9, "atol": 1e-12} if dtype == "float64" else {"rtol": 0, "atol": 0}
        torch.testing.assert_close(result.trajectory.params[:, index], alone.params, **off)
        torch.testing.assert_close(result.trajectory.loss[:, index], alone.loss, **off, equal_nan=True)
        assert int(result.trajectory.diverged_at[index]) == int(alone.diverged_at)
    assert result.trajectory.params.dtype == DTYPES[dtype]


def test_gradient_descent_is_what_the_formula_says():
    """x' = x - lr * f'(x) on f = x^2 + 3 y^2, in plain Python."""
    experiment = Experiment(
        landscape=Formula("x^2 + 3*y^2"), optimizers=(OPTIMIZERS["gd"](lr=0.1),), start=(1.0, -2.0), steps=5
    )
    x, y = 1.0, -2.0
    for step in range(6):
        np.testing.assert_allclose(compute(experiment).trajectory.params[step, 0], (x, y), rtol=1e-14)
        np.testing.assert_allclose(compute(experiment).trajectory.loss[step, 0], x * x + 3 * y * y, rtol=1e-14)
        x, y = x - 0.1 * 2 * x, y - 0.1 * 6 * y


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_is_a_direct_run(dtype):
    experiment = network(dtype=dtype, seed=2)
    path = compute(experiment).trajectory
    start = TINY.start(seed=2, dtype=DTYPES[dtype])[0]
    direct = optimizers.run(TINY, experiment.optimizers[0], start, 30, seed=2, probes=["sharpness"], probe_every=4)
    for name in ("step", "loss", "grad_norm", "params"):
        torch.testing.assert_close(getattr(path, name), getattr(direct, name), rtol=0, atol=0)
    torch.testing.assert_close(path.probes["sharpness"], direct.probes["sharpness"], rtol=0, atol=0, equal_nan=True)
    measured = path.step[~path.probes["sharpness"].isnan()]
    assert measured.tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 30]
    assert torch.equal(path.params[0], start)


def test_the_sharpness_is_the_largest_eigenvalue():
    path = compute(network()).trajectory
    for step in (0, 12, 30):
        hessian = torch.autograd.functional.hessian(lambda point: TINY.loss(point), path.params[step])
        top = float(torch.linalg.eigvalsh(hessian)[-1])
        assert float(path.probes["sharpness"][step]) == pytest.approx(top, rel=1e-3)
        assert float(sharpness(TINY, path.params[step])[0]) == pytest.approx(top, rel=1e-5)


def test_long_training_keeps_some_parameters_and_the_last(monkeypatch):
    """As many as fit, at an odd distance: at an even one a bounce from side to side at every step would not show."""
    assert compute(network(steps=400, every=100)).trajectory.params_step.tolist() == list(range(401))
    monkeypatch.setattr(memory, "_KEPT_NUMBERS", 100 * TINY.dim)
    path = compute(network(steps=400, every=100)).trajectory
    assert path.params_step.tolist() == [*range(0, 401, 5)]
    assert len(path.step) == 401
    monkeypatch.setattr(memory, "_KEPT_NUMBERS", TINY.dim)
    assert compute(network(steps=400, every=100)).trajectory.params_step.tolist() == [*range(0, 401, 21), 400]


@pytest.mark.parametrize("normalize", ["filter", "none"])
def test_a_slice_is_the_plane_through_the_end_of_training(normalize):
    experiment = network("slice", points=6, span=0.5, normalize=normalize, plane_seed=4)
    result = compute(experiment)
    end = compute(training(experiment)).trajectory.final
    direct = slice_2d(TINY, end, normalize=normalize, span=0.5, points=6, seed=4)
    for name in ("loss", "alpha", "beta", "center", "directions"):
        assert torch.equal(getattr(result.plane, name), getattr(direct, name))
    i, j = 1, 4
    point = end + direct.alpha[i] * direct.directions[0] + direct.beta[j] * direct.directions[1]
    assert float(result.plane.loss[i, j]) == pytest.approx(float(TINY.loss(point)), rel=1e-12)
    same(dataclasses.replace(result, plane=None, captions=()), compute(training(experiment)))


def test_the_middle_of_a_slice_is_the_end_of_training():
    result = compute(EXAMPLES["slice"])
    assert float(result.plane.loss[2, 2]) == pytest.approx(float(result.trajectory.loss[-1]), rel=1e-12)


@pytest.mark.parametrize("view", VIEWS)
def test_the_same_link_gives_the_same_bits(view):
    link = EXAMPLES[view].to_url()
    same(compute(Experiment.from_url(link)[0]), compute(Experiment.from_url(link)[0]))


def test_another_seed_gives_other_numbers():
    one, other = compute(network()), compute(network(seed=1))
    assert not torch.equal(one.trajectory.params[0], other.trajectory.params[0])


def test_a_slice_does_not_depend_on_its_executor():
    with ThreadPoolExecutor(3) as executor:
        same(compute(EXAMPLES["slice"]), compute(EXAMPLES["slice"], executor=executor))


@pytest.mark.parametrize("view", VIEWS)
def test_numbers_do_not_depend_on_the_threads_of_torch(view):
    before = torch.get_num_threads()
    expected = compute(EXAMPLES[view])
    torch.set_num_threads(2)
    try:
        same(compute(EXAMPLES[view]), expected)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------ the store


@pytest.fixture
def count(monkeypatch):
    """How often something was really computed."""
    calls = {"running": 0, "slicing": 0, "sweeping": 0, "studying": 0, "side_by_side": 0}
    for name in calls:
        home = cuts if name == "slicing" else COMPUTE
        real = getattr(home, name)

        def counting(*args, name=name, real=real, **options):
            calls[name] += 1
            return real(*args, **options)

        monkeypatch.setattr(home, name, counting)
    return calls


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_stored_is_not_computed_again(view, count, tmp_path):
    store = Store(tmp_path)
    first = compute(EXAMPLES[view], store=store)
    once = dict(count)
    # A map at fewer points, and the map; paths of programs.
    assert once["running"] == 1 or once["studying"] == 1 or once["sweeping"] == 2 or once["side_by_side"] == 1
    again = compute(EXAMPLES[view], store=store)
    assert count == once
    same(first, again)
    fingerprint = again.fingerprint
    other = dataclasses.replace(EXAMPLES[view], mode="surface")
    shown = compute(other, store=store)
    assert shown.experiment == other
    assert shown.complete
    assert vars(shown)["fingerprint"] is fingerprint  # taken once, however it looks
    assert count == once
    compute(EXAMPLES[view])
    assert count["running"] + count["studying"] + count["sweeping"] // 2 + count["side_by_side"] == 2


def test_slices_of_one_training_train_once(count, tmp_path):
    store = Store(tmp_path)
    compute(network("slice", points=5), store=store)
    compute(network("slice", points=5, span=0.5), store=store)
    compute(network("edge"), store=store)
    assert count == {"running": 1, "slicing": 2, "sweeping": 0, "studying": 0, "side_by_side": 0}
    compute(network("slice", points=5, seed=1), store=store)
    assert count == {"running": 2, "slicing": 3, "sweeping": 0, "studying": 0, "side_by_side": 0}


def test_only_what_took_long_is_written_to_disk(tmp_path):
    store = Store(tmp_path)
    compute(EXAMPLES["descend"], store=store)
    assert list(tmp_path.rglob("*.npz")) == []
    compute(EXAMPLES["slice"], store=store)
    assert len(list(tmp_path.rglob("*.npz"))) == 2  # the training and the slice


# ------------------------------------------------------------------ sweeps


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sweep_is_a_direct_sweep(dtype):
    experiment = table(dtype=dtype, seed=4)
    over = {"lr": experiment.over_x.values(), "momentum": [0.0, 0.9]}
    start = torch.tensor(experiment.start, dtype=DTYPES[dtype])
    rule = experiment.optimizers[0]
    direct = optimizers.sweep(experiment.landscape, rule, over, 30, start=start, seed=4, sharpness=True)
    result = compute(experiment)
    for name in ("final_loss", "best_loss", "diverged_at", "sharpness", "known"):
        found = getattr(result.table, name)
        torch.testing.assert_close(found, getattr(direct, name), rtol=0, atol=0, equal_nan=True)
    assert list(result.table.over) == ["lr", "momentum"]
    assert bool((result.table.diverged_at >= 0).any())
    assert result.table.known.all()


def test_a_sweep_over_seeds_and_batch_sizes_of_a_network():
    axes = {"over_x": Axis("seed", 0, 2, 3), "over_y": Axis("batch_size", 5, 20, 2)}
    result = compute(network("sweep", steps=4, **axes))
    for i, j in ((0, 0), (2, 1)):
        size = [5, 20][j]
        alone = optimizers.run(TINY, OPTIMIZERS["gd"](lr=0.1), TINY.start(seed=i)[0], 4, i, batch_size=size)
        torch.testing.assert_close(result.table.final_loss[i, j], TINY.loss(alone.final))


def test_a_map_comes_at_fewer_points_first():
    results = list(computing(table()))
    sizes = [tuple(one.table.known.shape) for one in results]
    assert sizes == [(64, 2), (66, 2)]
    assert [one.complete for one in results] == [False, True]
    assert all(one.experiment == table() for one in results)
    assert len(list(computing(table(over_y=None)))) == 1


@pytest.mark.parametrize("cut", [1, 3])
def test_a_sweep_that_was_cut_off_goes_on_where_it_was(monkeypatch, tmp_path, cut):
    """A worker that dies in the middle, then another process with the same disk."""
    monkeypatch.setattr(type(paths().landscape), "chunk", lambda self, params: 30)
    experiment = table(over_x=Axis("lr", 1e-4, 1.0, 60, log=True))
    whole = compute(experiment)
    done = []
    real = SWEEP._ended
    monkeypatch.setattr(SWEEP, "_ended", lambda *work: done.append(1) or real(*work))
    steps = computing(experiment, store=Store(tmp_path))
    for _ in range(cut):
        next(steps)
    steps.close()
    assert len(done) == cut
    again = list(computing(experiment, store=Store(tmp_path)))
    assert len(done) == 4
    same(again[-1], whole)
    assert int(again[0].table.known.sum()) == 30
    assert list((tmp_path / "pieces").glob("*/*")) == []  # the whole is there, so its pieces are gone
    list(computing(experiment, store=Store(tmp_path)))
    assert len(done) == 4


# ------------------------------------------------------------------ growing


def test_training_grows():
    results = list(computing(network(steps=45)))
    assert len(results) >= 4
    assert [one.complete for one in results] == [False] * (len(results) - 1) + [True]
    whole = results[-1].trajectory
    for one in results:
        assert one.total == 45
        assert one.done == int(one.trajectory.step[-1])
        assert f"{one.done} of 45" in one.phase
        size = len(one.trajectory.step)
        torch.testing.assert_close(one.trajectory.loss, whole.loss[:size], rtol=0, atol=0)
    assert sorted({one.done for one in results}) == [one.done for one in results]


@pytest.mark.parametrize("workers", [None, 2])
def test_a_slice_grows_row_by_row(workers):
    executor = ThreadPoolExecutor(workers) if workers else None
    results = list(computing(network("slice", points=5), executor=executor))
    if executor:
        executor.shutdown()
    shares = [one.done / one.total for one in results]
    assert shares == sorted(shares)
    assert [one.complete for one in results] == [False] * (len(results) - 1) + [True]
    trained = [one for one in results if one.plane is None]
    rows = [one for one in results if one.plane is not None]
    assert len(trained) >= 2
    assert len(rows) == 6
    assert torch.equal(rows[-1].plane.loss, rows[-2].plane.loss)  # the last says only that it was the last
    for count, one in enumerate(rows[:-1], start=1):
        known = ~one.plane.loss.isnan()
        assert known.sum(dim=0).tolist() == [count] * 5
        assert torch.equal(one.plane.loss[known], rows[-1].plane.loss[known])
        assert one.phase == f"{5 * count} points"
    assert all("training" in one.phase for one in trained)


@pytest.mark.parametrize("view", ["edge", "slice"])
def test_a_computation_can_be_abandoned(view, count, tmp_path):
    store = Store(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        steps = computing(network(view, steps=300), store=store)
        first = next(steps)
        assert not first.complete
        steps.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert store.get(first.experiment) is None
    assert count == {"running": 1, "slicing": 0, "sweeping": 0, "studying": 0, "side_by_side": 0}


def test_an_abandoned_slice_keeps_its_training(count, tmp_path):
    store = Store(tmp_path)
    experiment = network("slice", points=5)
    for result in computing(experiment, store=store):
        if result.plane is not None:
            break
    compute(experiment, store=store)
    assert count == {"running": 1, "slicing": 2, "sweeping": 0, "studying": 0, "side_by_side": 0}


def test_an_abandoned_slice_leaves_its_executor():
    with ThreadPoolExecutor(1) as executor:
        steps = computing(network("slice", points=51), executor=executor)
        assert any(one.plane is not None for one in steps)
        steps.close()
        assert executor.submit(int, "7").result(timeout=60) == 7


# ------------------------------------------------------------------ arrays and files


@pytest.mark.parametrize("view", VIEWS)
def test_arrays_make_the_result_again(view):
    result = compute(EXAMPLES[view])
    again = Result.from_arrays(result.experiment, result.arrays())
    same(result, again)
    assert again.complete
    assert again.sentences() == result.sentences()
    assert result.nbytes == sum(array.nbytes for array in result.arrays().values())
    for name in result.arrays():
        missing = {key: array for key, array in result.arrays().items() if key != name}
        if name == "plane.loss":  # without it, a result of a training
            assert Result.from_arrays(result.experiment, missing).plane is None
        elif name == "sweep.sharpness":
            assert Result.from_arrays(result.experiment, missing).table.sharpness is None
        elif not name.startswith("probes."):
            with pytest.raises(KeyError):
                Result.from_arrays(result.experiment, missing)


@pytest.mark.parametrize("view", VIEWS)
def test_a_saved_file_holds_every_number_and_makes_them_again(view, tmp_path):
    result = compute(EXAMPLES[view])
    result.save(tmp_path / "run.zip")
    assert (tmp_path / "run.zip").read_bytes()[:2] == b"PK"
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert archive.testzip() is None
        specification = json.loads(archive.read("specification.json"))
        arrays = {
            name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
            if name.endswith(".npy")
        }
        assert len(arrays) + 1 == len(archive.namelist())
    same(Result.from_arrays(result.experiment, arrays), result)
    again, refusals = Experiment.from_url(specification["link"])
    assert refusals == []
    assert specification["complete"] is True
    assert specification["provenance"]["torch"] == torch.__version__
    assert Experiment.from_query(specification["values"], view) == (again, [])
    same(compute(again), result)


def test_a_file_of_a_partial_result_says_so():
    partial = next(computing(network(steps=200)))
    with zipfile.ZipFile(io.BytesIO(partial.packed())) as archive:
        specification = json.loads(archive.read("specification.json"))
        assert (specification["complete"], specification["fingerprint"]) == (False, "")  # of numbers yet to come
        assert len(np.load(io.BytesIO(archive.read("loss.npy")))) == partial.done + 1


@pytest.mark.parametrize("name", ["run.npz", "run", "run.zip.txt"])
def test_files_end_in_zip(name, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.zip"):
        compute(EXAMPLES["descend"]).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ sentences


def test_paths_in_words():
    first, second, third = compute(paths()).sentences()
    path = compute(paths()).trajectory
    x, y = path.params[-1, 0].tolist()
    assert first == f"Gradient descent ended at ({x:.4g}, {y:.4g}) with loss {float(path.loss[-1, 0]):.4g}."
    assert second.startswith("Adam ended at (")
    died = int(path.diverged_at[2])
    assert died > 0
    assert third == f"Heavy ball diverged at step {died}."


def test_a_diverged_training_in_words():
    result = compute(
        network(lr=1000.0, optimizers=(OPTIMIZERS["gd"](lr=1000.0, weight_decay=1.0),), steps=40, dtype="float32")
    )
    died = int(result.trajectory.diverged_at)
    assert died > 0
    assert result.sentences() == [f"The run diverged at step {died}."]


def test_an_edge_not_reached_in_words():
    result = compute(network())
    values = result.trajectory.probes["sharpness"]
    most = float(values[~values.isnan()].max())
    assert most < 20
    judged = judge(values[~values.isnan()] / 20, result.trajectory.step[~values.isnan()])
    assert judged.course is Course.BELOW
    assert result.sentences() == [
        f"The sharpness has reached {most:.3g} so far, below 2/η = 20: {judged.seen}; {judged.expected}."
    ]


def test_an_edge_reached_in_words():
    """With so large a step that the start is beyond the edge already, and one that reaches it on the way."""
    sharp = compute(network(every=1)).trajectory.probes["sharpness"]
    assert float(sharp[0]) < float(sharp[-1])
    between = float((sharp[0] + sharp[-1]) / 2)
    frozen = network(every=1)  # the numbers of one run, told for a rule whose threshold lies between
    told = dataclasses.replace(
        compute(frozen), experiment=dataclasses.replace(frozen, optimizers=(OPTIMIZERS["gd"](lr=2 / between),))
    )
    step = next(index for index, value in enumerate(sharp.tolist()) if value >= between)
    tail = sharp.tolist()[-10:]  # 30 % of 31 measurements, rounded up
    ratio = sum(tail) / len(tail) / between
    (sentence,) = told.sentences()
    assert sentence.startswith(
        f"The sharpness, held against 2/η = {between:.4g}: it reached the threshold at step {step}"
    )
    judged = judge(sharp / between)
    assert judged.late == pytest.approx(ratio)
    assert f"{judged.seen}; {judged.expected}." in sentence


def test_rules_without_a_threshold_in_words():
    for name, kind in OPTIMIZERS.items():
        rule = kind()
        (sentence,) = compute(network(optimizers=(rule,), steps=2)).sentences()
        none = rule.stability_threshold() is None and rule.preconditioned_threshold() is None
        assert none == ("has no fixed threshold" in sentence), name
        scaled = rule.stability_threshold() is None and not none
        assert scaled == ("preconditioned sharpness" in sentence), name


def test_a_slice_is_taken_at_the_step_asked_for():
    result = compute(network("slice", points=5, at=12))
    assert torch.equal(result.plane.center, result.trajectory.params[12])


def test_a_slice_in_words():
    result = compute(EXAMPLES["slice"])
    low, high = float(result.plane.loss.min()), float(result.plane.loss.max())
    offset = (result.trajectory.params[0] - result.plane.center).numpy()
    basis = result.plane.directions.numpy().T
    inside, *_ = np.linalg.lstsq(basis, offset, rcond=None)
    away = np.linalg.norm(offset - basis @ inside)
    (sentence,) = result.sentences()
    for part in (
        f"loss runs from {low:.4g} to {high:.4g}",
        f"its start lies {away:.3g} away from the plane",
        f"its foot {np.linalg.norm(basis @ inside):.3g} from the center on it",
    ):
        assert part in sentence
    partial = next(computing(EXAMPLES["slice"]))
    assert partial.sentences() == ["Nothing of the slice has been computed yet."]


# ------------------------------------------------------------------ programs


def mixed(**changes):
    """A rule that has a program, one that draws at random, and one that diverges."""
    rules = (OPTIMIZERS["adam"](lr=0.1), OPTIMIZERS["gravity"](lr=0.01), OPTIMIZERS["gd"](lr=10.0))
    return Experiment(landscape=LANDSCAPES["beale"](), optimizers=rules, **({"steps": 60, "seed": 5} | changes))


def assert_as_on_tensors(result):
    asked = result.experiment
    start = torch.tensor(asked.start, dtype=torch.float64)
    path = optimizers.run(asked.landscape, asked.optimizers, start, asked.steps, seed=asked.seed)
    assert result.trajectory.diverged_at.tolist() == path.diverged_at.tolist()
    for name in ("params", "loss", "grad_norm"):
        mine, true = getattr(result.trajectory, name), getattr(path, name)
        torch.testing.assert_close(mine, true, rtol=1e-9, atol=1e-12, equal_nan=True)
    for mine, true in zip(result.trajectory.evaluations, path.evaluations, strict=True):
        assert torch.equal(mine, true)


def test_rules_with_programs_and_without_run_side_by_side():
    assert_as_on_tensors(compute(mixed()))


def test_a_rule_whose_program_ends_halfway_runs_on_tensors_from_the_start(monkeypatch):
    """It decides in one more way than is followed."""
    asked = dataclasses.replace(
        mixed(), optimizers=(OPTIMIZERS["swats"](lr=0.01), OPTIMIZERS["gd"](lr=1e-3)), steps=100
    )
    monkeypatch.setattr("optimizers.program._VARIANTS", 1)
    assert_as_on_tensors(compute(asked))


def test_long_paths_of_programs_grow(monkeypatch):
    monkeypatch.setattr(COMPUTE, "_REPORT_SECONDS", 0.0)
    asked = dataclasses.replace(mixed(), optimizers=(OPTIMIZERS["adam"](lr=0.1), OPTIMIZERS["gd"](lr=10.0)), steps=2000)
    results = list(computing(asked))
    assert len(results) > 3
    assert [one.done for one in results] == sorted(one.done for one in results)
    for one in results[:-1]:
        assert not one.complete
        size = one.done + 1
        torch.testing.assert_close(one.trajectory.params, results[-1].trajectory.params[:size], rtol=0, atol=0)
        assert one.trajectory.loss.shape == (size, 2)
    assert_as_on_tensors(results[-1])
