"""A sweep is what single runs at each of its points would have said."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from landscapes import LANDSCAPES, MLP, settings
from landscapes.setting import Number
from optimizers import OPTIMIZERS, run, sweep

ROSENBROCK = LANDSCAPES["rosenbrock"]()
NETWORK = MLP(data="chebyshev", hidden=(3,), objective="squared")
HEAVY_BALL = OPTIMIZERS["heavy_ball"]
LRS = torch.logspace(-5, 0, 6, dtype=torch.float64)
MOMENTA = torch.tensor([0.0, 0.5, 0.9, 0.99], dtype=torch.float64)


def same(ours, theirs):
    pairs = [(getattr(ours, name), getattr(theirs, name)) for name in ("final_loss", "best_loss", "diverged_at")]
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
        ({"over": {"speed": [1.0]}}, "'speed' is not a numeric setting of heavy_ball: it must be one of lr, momentum, dampening, weight_decay."),
        ({"over": {"centered": [1.0]}, "optimizer": OPTIMIZERS["rmsprop"]()}, "'centered' is not a numeric setting of rmsprop: it must be one of lr, a, eps, momentum, weight_decay."),
        ({"over": {}}, "There is nothing to sweep over: give values for one or more of lr, momentum, dampening, weight_decay."),
        ({"over": {"lr": 0.1}}, "lr has shape (): its values must be one-dimensional and at least one."),
        ({"over": {"lr": []}}, "lr has shape (0,): its values must be one-dimensional and at least one."),
        ({"over": {"lr": torch.ones(2, 1)}}, "lr has shape (2, 1): its values must be one-dimensional and at least one."),
        ({"over": {"lr": "fast"}}, "lr must be a list or a one-dimensional tensor of numbers."),
        ({"over": {"lr": [[1.0], [1.0, 2.0]]}}, "lr must be a list or a one-dimensional tensor of numbers."),
        ({"over": {"momentum": [0.5, 1.0]}}, "momentum has an entry that is not allowed: each must be a number at least 0 and below 1."),
        ({"over": {"lr": [float("nan")]}}, "lr has an entry that is not allowed: each must be a number at least 0 and at most 10000."),
        ({"steps": 0}, "steps = 0 is not allowed: it must be a whole number of at least 1."),
        ({"start": torch.zeros(1, 2)}, "start must be a floating-point tensor of shape (2,), one point to start from."),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_sentence(values, sentence):
    with pytest.raises((ValueError, TypeError)) as refusal:
        sweep(ROSENBROCK, **{"optimizer": HEAVY_BALL(), "over": {"lr": [0.1]}, **values})
    assert str(refusal.value) == sentence
