"""A sweep is what single runs at each of its points would have said."""

import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from landscapes import LANDSCAPES, MLP, settings
from landscapes.setting import Number
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, Scheduled, run, sweep, sweeping

ROSENBROCK = LANDSCAPES["rosenbrock"]()
NETWORK = MLP(data="chebyshev", hidden=(3,), objective="squared")
HEAVY_BALL = OPTIMIZERS["heavy_ball"]
LRS = torch.logspace(-5, 0, 6, dtype=torch.float64)
MOMENTA = torch.tensor([0.0, 0.5, 0.9, 0.99], dtype=torch.float64)


def same(ours, theirs):
    names = ("final_loss", "best_loss", "diverged_at", "known") + ("sharpness",) * (ours.sharpness is not None)
    pairs = [(getattr(ours, name), getattr(theirs, name)) for name in names]
    return all(torch.equal(one.nan_to_num(-7.0), other.nan_to_num(-7.0)) for one, other in pairs)


@pytest.mark.parametrize("land", [ROSENBROCK, NETWORK], ids=["surface", "network"])
def test_a_sweep_equals_its_runs_one_by_one(land):
    steps = 25
    table = sweep(land, HEAVY_BALL(), over={"lr": LRS, "momentum": MOMENTA}, steps=steps)
    assert list(table.over) == ["lr", "momentum"]
    assert torch.equal(table.over["lr"], LRS)
    for tensor in (table.final_loss, table.best_loss, table.diverged_at):
        assert tensor.shape == (6, 4)
    for i, j in itertools.product(range(6), range(4)):
        alone = run(land, HEAVY_BALL(lr=float(LRS[i]), momentum=float(MOMENTA[j])), steps=steps)
        assert table.diverged_at[i, j] == alone.diverged_at
        best = alone.loss[alone.loss.isfinite()].min()
        # Tensors of hyper-parameters round otherwise than numbers, and a path near the edge of stability magnifies that.
        torch.testing.assert_close(table.final_loss[i, j], alone.loss[-1], rtol=1e-9, atol=1e-12, equal_nan=True)
        torch.testing.assert_close(table.best_loss[i, j], best, rtol=1e-9, atol=1e-12)
    if land is ROSENBROCK:
        assert (table.diverged_at != -1).any()
        assert (table.best_loss < table.final_loss).any()
    assert (table.diverged_at == -1).any()
    assert torch.equal(table.final_loss.isnan(), table.diverged_at != -1)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_every_number_of_every_rule_can_be_swept(rule):
    kind = OPTIMIZERS[rule]
    names = [name for name, one in settings(kind).items() if isinstance(one, Number)]
    for name in names:
        default = getattr(kind(), name)
        table = sweep(ROSENBROCK, kind(), over={name: [default, default]}, steps=5)
        expected = run(ROSENBROCK, kind(), steps=5).loss[-1]
        torch.testing.assert_close(table.final_loss, expected.expand(2), rtol=1e-12, atol=0, equal_nan=True)
    everything = sweep(ROSENBROCK, kind(), over={name: [getattr(kind(), name)] for name in names}, steps=5)
    assert everything.final_loss.shape == (1,) * len(names)


def test_chunks_and_executors_change_no_bit(monkeypatch):
    over = {"momentum": MOMENTA, "lr": LRS}
    whole = sweep(ROSENBROCK, HEAVY_BALL(), over, steps=20)
    assert whole.final_loss.shape == (4, 6)
    for size in (1, 5, 24):
        monkeypatch.setattr(type(ROSENBROCK), "chunk", lambda self, params, size=size: size)
        assert same(sweep(ROSENBROCK, HEAVY_BALL(), over, steps=20), whole)
        with ThreadPoolExecutor(2) as pool:
            submitted = []
            monkeypatch.setattr(
                pool, "submit", lambda f, *a, submit=pool.submit, log=submitted: log.append(f) or submit(f, *a)
            )
            assert same(sweep(ROSENBROCK, HEAVY_BALL(), over, steps=20, executor=pool), whole)
        assert len(submitted) == -(-24 // size)


@pytest.mark.parametrize("land", [ROSENBROCK, NETWORK], ids=["surface", "network"])
def test_starts_and_the_sharpness_at_the_end(land):
    starts = land.start(3, seed=1)
    rule, lrs = OPTIMIZERS["gd"](), [1e-4, 1e-3, 50.0]
    table = sweep(land, rule, {"start": starts, "lr": lrs}, steps=10, sharpness=True)
    for i, j in itertools.product(range(3), range(3)):
        alone = run(land, OPTIMIZERS["gd"](lr=lrs[j]), starts[i], steps=10)
        torch.testing.assert_close(table.final_loss[i, j], alone.loss[-1], rtol=1e-9, atol=1e-12, equal_nan=True)
        assert table.diverged_at[i, j] == alone.diverged_at
        if alone.diverged_at >= 0:
            assert table.sharpness[i, j].isnan()
        else:
            hessian = torch.autograd.functional.hessian(lambda point: land.loss(point), alone.final)
            top = torch.linalg.eigvalsh(hessian)[-1]
            torch.testing.assert_close(table.sharpness[i, j], top, rtol=1e-4, atol=1e-8)
    assert (table.diverged_at == -1).all(0).tolist()[:2] == [True, True]
    assert sweep(land, rule, {"lr": lrs}, steps=10).sharpness is None


def test_the_coordinates_of_a_start():
    xs, ys = [-1.0, 0.5, 1.5], [0.25, 2.0]
    table = sweep(ROSENBROCK, OPTIMIZERS["gd"](), {"start_y": ys, "start_x": xs}, steps=8)
    points = torch.tensor([[[x, y] for x in xs] for y in ys], dtype=torch.float64)
    torch.testing.assert_close(table.final_loss, run(ROSENBROCK, OPTIMIZERS["gd"](), points, 8).loss[-1])
    along = sweep(ROSENBROCK, OPTIMIZERS["gd"](), {"start_y": ys}, steps=8, start=points[1, 0])
    torch.testing.assert_close(along.final_loss, table.final_loss[:, 0])


def test_seeds_and_batch_sizes():
    """A seed is that of the start, unless one is given, and of the batches; the final loss is that of all samples."""
    rule, seeds, sizes, lrs = OPTIMIZERS["gd"], [3, 0], [4, 20, 7], [0.01, 0.2]
    table = sweep(NETWORK, rule(), {"batch_size": sizes, "lr": lrs, "seed": seeds}, steps=6)
    fixed = sweep(NETWORK, rule(), {"seed": seeds}, steps=6, start=NETWORK.start()[0], batch_size=4)
    assert table.final_loss.shape == (3, 2, 2)
    for i, j, k in itertools.product(range(3), range(2), range(2)):
        start = NETWORK.start(seed=seeds[k])[0]
        alone = run(NETWORK, rule(lr=lrs[j]), start, steps=6, seed=seeds[k], batch_size=sizes[i])
        torch.testing.assert_close(table.final_loss[i, j, k], NETWORK.loss(alone.final))
        torch.testing.assert_close(table.best_loss[i, j, k], alone.loss.min())
    assert table.final_loss.unique().numel() == 12
    alone = run(NETWORK, rule(), NETWORK.start()[0], steps=6, seed=3, batch_size=4)
    torch.testing.assert_close(fixed.final_loss[0], NETWORK.loss(alone.final))


def test_the_numbers_of_wrappers_and_rules_under_a_schedule():
    inner = WRAPPERS["clip_norm"](inner=HEAVY_BALL(lr=1e-2), c=0.5)
    rule = Scheduled(inner=inner, schedule=SCHEDULES["cosine"]())
    bounds, momenta = [0.1, 5.0], [0.0, 0.9]
    table = sweep(ROSENBROCK, rule, {"clip_norm.c": bounds, "momentum": momenta}, steps=12)
    for i, j in itertools.product(range(2), range(2)):
        inner = WRAPPERS["clip_norm"](inner=HEAVY_BALL(lr=1e-2, momentum=momenta[j]), c=bounds[i])
        alone = run(ROSENBROCK, Scheduled(inner=inner, schedule=rule.schedule), steps=12)
        torch.testing.assert_close(table.final_loss[i, j], alone.loss[-1])
    assert table.final_loss.unique().numel() == 4


def test_the_settings_of_a_schedule_are_axes():
    rule = Scheduled(inner=HEAVY_BALL(lr=1e-2), schedule=SCHEDULES["step"](period=5))
    warmups, lrs = [0, 7], [1e-4, 1e-3]
    shares = [0.1, 0.7]
    name = next(name for name, one in settings(rule.schedule).items() if isinstance(one, Number))
    table = sweep(ROSENBROCK, rule, {"schedule.warmup": warmups, "lr": lrs, f"schedule.{name}": shares}, steps=12)
    for i, j, k in itertools.product(range(2), range(2), range(2)):
        schedule = dataclasses.replace(rule.schedule, warmup=warmups[i], **{name: shares[k]})
        alone = run(ROSENBROCK, Scheduled(inner=HEAVY_BALL(lr=lrs[j]), schedule=schedule), steps=12)
        torch.testing.assert_close(table.final_loss[i, j, k], alone.loss[-1])
    assert table.final_loss.unique().numel() == 8


def test_batches_drawn_with_replacement():
    rule = OPTIMIZERS["gd"](lr=0.1)
    table = sweep(NETWORK, rule, {"lr": [0.1]}, steps=6, batch_size=4, sampling="replacement")
    alone = run(NETWORK, rule, steps=6, batch_size=4, sampling="replacement")
    torch.testing.assert_close(table.final_loss[0], NETWORK.loss(alone.final))


class Shelf(dict):
    def put(self, number, piece):
        self[number] = piece


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sweep_grows_and_what_is_on_the_shelf_is_not_computed_again(monkeypatch, workers):
    monkeypatch.setattr(type(ROSENBROCK), "chunk", lambda self, params: 5)
    over = {"momentum": MOMENTA, "lr": LRS}
    whole = sweep(ROSENBROCK, HEAVY_BALL(), over, steps=20)
    shelf = Shelf()
    stream = sweeping(ROSENBROCK, HEAVY_BALL(), over, 20, shelf=shelf)
    tables = [next(stream), next(stream)]
    stream.close()
    assert [int(table.known.sum()) for table in tables] == [5, 10]
    assert sorted(shelf) == [0, 1]
    assert torch.equal(tables[1].final_loss[tables[1].known].nan_to_num(), whole.final_loss.flatten()[:10].nan_to_num())
    assert tables[1].final_loss[~tables[1].known].isnan().all()
    assert (tables[1].diverged_at[~tables[1].known] == -1).all()
    pool = ThreadPoolExecutor(workers) if workers else None
    fresh = Shelf(shelf)
    fresh.put = lambda number, piece: (computed.append(number), dict.__setitem__(fresh, number, piece))
    computed = []
    *_, resumed = sweeping(ROSENBROCK, HEAVY_BALL(), over, 20, shelf=fresh, executor=pool)
    assert same(resumed, whole)
    assert sorted(computed) == [2, 3, 4]


def test_the_edge_of_stability_of_a_quadratic():
    """Gradient descent at curvature 10 converges below lr = 0.2 and nowhere above."""
    lrs = torch.linspace(0.01, 0.4, 40, dtype=torch.float64) + 1e-3
    table = sweep(LANDSCAPES["quadratic"](kappa=10.0), OPTIMIZERS["gd"](), {"lr": lrs}, steps=2000)
    assert torch.equal((table.final_loss < 1e-8).nan_to_num(), lrs < 0.2)
    assert torch.equal(
        table.diverged_at != -1, lrs > 0.215
    )  # at 0.211 a step is a factor of 1.11: the square of 2000 of them is 1e181


def test_the_start_is_the_landscapes_own_unless_given():
    start = torch.tensor([0.3, 0.4], dtype=torch.float64)
    over = {"lr": [1e-4, 1e-3]}
    assert sweep(ROSENBROCK, HEAVY_BALL(), over, 5, start=start).final_loss[0] == pytest.approx(
        float(run(ROSENBROCK, HEAVY_BALL(lr=1e-4), start, 5).loss[-1]), rel=1e-12
    )
    assert same(
        sweep(ROSENBROCK, HEAVY_BALL(), over, 5), sweep(ROSENBROCK, HEAVY_BALL(), over, 5, start=ROSENBROCK.start()[0])
    )
    single = sweep(ROSENBROCK, HEAVY_BALL(), over, 5, start=start.float())
    assert single.final_loss.dtype == single.best_loss.dtype == single.over["lr"].dtype == torch.float32


def test_a_start_that_is_no_number_has_no_loss():
    table = sweep(ROSENBROCK, HEAVY_BALL(), {"lr": [1e-4]}, 5, start=torch.tensor([torch.nan, 0.0]))
    assert table.diverged_at.tolist() == [0]
    assert table.best_loss.isnan().all()
    assert table.final_loss.isnan().all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"over": {"speed": [1.0]}}, "'speed' cannot be swept with Heavy ball: it must be one of lr, momentum, dampening, weight_decay, start_x, start_y, seed, start."),
        ({"over": {"centered": [1.0]}, "optimizer": OPTIMIZERS["rmsprop"]()}, "'centered' cannot be swept with RMSProp: it must be one of lr, a, eps, momentum, weight_decay, start_x, start_y, seed, start."),
        ({"over": {}}, "There is nothing to sweep over: give values for one or more of lr, momentum, dampening, weight_decay, start_x, start_y, seed, start."),
        ({"over": {"lr": 0.1}}, "lr has shape (): its values must be one-dimensional and at least one."),
        ({"over": {"lr": []}}, "lr has shape (0,): its values must be one-dimensional and at least one."),
        ({"over": {"lr": torch.ones(2, 1)}}, "lr has shape (2, 1): its values must be one-dimensional and at least one."),
        ({"over": {"lr": "fast"}}, "lr must be a list or a one-dimensional tensor of numbers."),
        ({"over": {"lr": [[1.0], [1.0, 2.0]]}}, "lr must be a list or a one-dimensional tensor of numbers."),
        ({"over": {"momentum": [0.5, 1.0]}}, "momentum has an entry that is not allowed: each must be a number at least 0 and below 1."),
        ({"over": {"lr": [float("nan")]}}, "lr has an entry that is not allowed: each must be a number at least 0 and at most 10000."),
        ({"over": {"batch_size": [1]}}, "'batch_size' cannot be swept with Heavy ball: it must be one of lr, momentum, dampening, weight_decay, start_x, start_y, seed, start."),
        ({"over": {"batch_size": [21]}, "land": NETWORK}, "batch_size = 21 is not allowed: it must be a whole number from 1 to 20."),
        ({"over": {"seed": [0.5]}}, "seed = 0.5 is not allowed: it must be a whole number from 0 to 2147483647."),
        ({"over": {"start": [0.5, 0.5]}}, "start has shape (2,): it must be points (n, 2)."),
        ({"over": {"start": [[0.5, 0.5]], "start_x": [1.0]}}, "start and its coordinates start_x and start_y cannot be swept together: choose one of them."),
        ({"optimizer": Scheduled(inner=HEAVY_BALL(), schedule=SCHEDULES["refined"]())}, "A schedule refined from a rehearsal cannot be swept in one batch: take another schedule."),
        ({"steps": 0}, "steps = 0 is not allowed: it must be a whole number of at least 1."),
        ({"start": torch.zeros(1, 2)}, "start must be a floating-point tensor of shape (2,), one point to start from."),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_sentence(values, sentence):
    with pytest.raises((ValueError, TypeError)) as refusal:
        sweep(
            **{"landscape": values.pop("land", ROSENBROCK), "optimizer": HEAVY_BALL(), "over": {"lr": [0.1]}, **values}
        )
    assert str(refusal.value) == sentence
