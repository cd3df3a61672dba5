"""Several runs in one picture: each is the run of its own link, and they are told in one sentence."""

import dataclasses
import importlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import optimizers
from landscapes import MLP
from optimizers import OPTIMIZERS, SCHEDULES, Scheduled
from ravine import Result, compute, computing
from ravine.stability import flow_sentence
from tests.ravine.examples import TINY, network, same

COMPUTE = importlib.import_module("ravine.engine")
SWEEP = importlib.import_module("optimizers.sweep")


def close(one, other):
    """Equal up to how the products of a batch round."""
    for name in ("loss", "grad_norm", "params"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-8, atol=1e-10)
    assert one.probes.keys() == other.probes.keys()
    for name, values in one.probes.items():  # an eigen-solver ends for all runs at once
        torch.testing.assert_close(values, other.probes[name], rtol=1e-3, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"vary": "opt1.lr", "across": "0.05,0.1,0.2"},
        {"vary": "seed", "across": "3,4", "batch_size": 6},
        {"vary": "batch_size", "across": "0,5", "sampling": "replacement"},
        {"vary": "land.hidden", "across": "4,3x5"},
        {"optimizers": (OPTIMIZERS["gd"](lr=0.1), OPTIMIZERS["rmsprop"](lr=0.01), OPTIMIZERS["heavy_ball"](lr=0.02))},
    ],
    ids=lambda one: one.get("vary", "rules"),
)
def test_runs_laid_over_each_other_are_those_of_single_links(changes):
    experiment = network(probes=("distance",), **changes)
    result = compute(experiment)
    assert len(result.paths) == len(experiment.runs) > 1
    for run, path in zip(experiment.runs, result.paths, strict=True):
        alone = network(
            landscape=run.landscape, optimizers=(run.optimizer,), seed=run.seed, batch_size=run.batch_size,
            sampling=experiment.sampling, probes=("distance",),
        )  # fmt: skip
        close(path, compute(alone).trajectory)
    same(result, Result.from_arrays(experiment, result.arrays()))
    assert len(result.sentences()) == len(experiment.runs)


def test_many_runs_in_one_sentence():
    wild = OPTIMIZERS["gd"](lr=1e4, weight_decay=100.0)
    rules = (OPTIMIZERS["gd"](lr=1e-3), OPTIMIZERS["gd"](lr=5.0), wild)
    result = compute(network(optimizers=rules, steps=40))
    died = int(result.paths[2].diverged_at)
    assert result.summary() == (
        "0 of 3 runs reach their threshold. Not so far: Gradient descent, η = 0.001. "
        f"Diverged: Gradient descent, η = 5, 1e+04 at step {died}."
    )
    shared = compute(network(steps=5, vary="opt1.lr", across="0.001,0.002,1.2,1.3,5.0,6.0"))
    assert shared.summary() == (
        "2 of 6 runs reach their threshold: η = 1.2 at step 0, 1.3 at step 0. Not so far: η = 0.001, 0.002. Diverged: η = 5.0, 6.0."
    )
    other = (OPTIMIZERS["gd"](lr=1e-3), OPTIMIZERS["gd"](lr=2e-3), OPTIMIZERS["signsgd"](lr=1e-3))
    assert (
        compute(network(optimizers=other, steps=5))
        .summary()
        .endswith("Without a fixed threshold: Sign descent, η = 0.001.")
    )
    assert compute(network()).summary() == compute(network()).sentences()[0]


def test_a_threshold_that_moves_is_told_by_its_ends():
    """A linear decay over five steps takes the factors 1, 4/5, ..., 1/5: the threshold rises from 20 to 100."""
    rule = Scheduled(inner=OPTIMIZERS["gd"](lr=0.1), schedule=SCHEDULES["linear"]())
    result = compute(network(optimizers=(rule,), steps=5, every=1))
    assert "below 2/η = 20 to 100, nearest to it at step" in result.summary()
    assert "below 2/η = 20: " in compute(network(optimizers=(OPTIMIZERS["gd"](lr=0.1),), steps=5)).summary()


def test_overlaid_runs_grow_together():
    results = list(computing(network(vary="land.hidden", across="3,4,5", steps=60, flow=True)))
    assert [one.complete for one in results] == [False] * (len(results) - 1) + [True]
    assert all(len(one.paths) == 3 and one.flow is not None for one in results)
    assert len(results) > 3


@pytest.mark.parametrize("together", [1, 100])
def test_large_runs_are_spread_over_threads_with_the_same_bits(monkeypatch, together):
    monkeypatch.setattr(MLP, "chunk", lambda self, params: together)
    shapes, threads, batch, following = [], set(), COMPUTE._batch, COMPUTE._next

    def recorded(experiment, runs, *, several, shelf):
        shapes.append(len(runs))
        return batch(experiment, runs, several=several, shelf=shelf)

    def followed(stream):
        threads.add(threading.current_thread().name)
        return following(stream)

    monkeypatch.setattr(COMPUTE, "_batch", recorded)
    monkeypatch.setattr(COMPUTE, "_next", followed)
    experiment = network(vary="opt1.lr", across="0.05,0.1,0.2", optimizers=(OPTIMIZERS["gd"](), OPTIMIZERS["adam"]()))
    alone = compute(experiment)
    assert threads == {threading.current_thread().name}
    with ThreadPoolExecutor(2, "runs") as executor:
        same(alone, compute(experiment, executor=executor))
    assert shapes == 2 * ([1, 1, 1, 1] if together == 1 else [3, 1])
    assert any(name.startswith("runs") for name in threads)


def test_what_a_rule_answers_to_is_measured():
    rules = tuple(OPTIMIZERS[name](lr=0.01) for name in ("gd", "adam"))
    gd, adam = compute(network(optimizers=rules, steps=4, batch_size=5)).paths
    assert list(gd.probes) == ["sharpness", "batch_sharpness"]
    assert list(adam.probes) == ["sharpness", "preconditioned_sharpness", "batch_sharpness"]


def test_minibatches_are_reproducible():
    experiment = network(batch_size=4, sampling="replacement")
    same(compute(experiment), compute(experiment))
    others = [network(batch_size=4), network(batch_size=5, sampling="replacement"), network(), network(seed=1)]
    losses = [compute(one).trajectory.loss for one in (experiment, *others)]
    assert len({tuple(one.tolist()) for one in losses}) == len(losses)


def test_gradient_flow_takes_the_time_of_the_first_run():
    """Against many small steps of gradient descent, and on a schedule."""
    result = compute(network(flow=True, lr=0.1, steps=20, every=20))
    fine = optimizers.run(TINY, OPTIMIZERS["gd"](lr=1e-3), TINY.start()[0], 2000, params_every=100)
    torch.testing.assert_close(result.flow.params, fine.params, rtol=0, atol=2e-3)
    torch.testing.assert_close(result.flow.loss, fine.loss[::100], rtol=2e-3, atol=0)
    scheduled = OPTIMIZERS["gd"](lr=0.1)
    slower = optimizers.Scheduled(inner=scheduled, schedule=optimizers.SCHEDULES["linear"]())
    path = compute(network(optimizers=(slower,), flow=True, steps=20, every=20)).flow
    reached = 0.1 * float(sum(slower.schedule.factors(20, None)))
    torch.testing.assert_close(path.loss[-1], fine.loss[round(1000 * reached)], rtol=2e-3, atol=0)


def test_how_truly_gradient_flow_was_followed_is_said():
    result = compute(network(flow=True, lr=0.1, steps=20, every=20))
    said = "Gradient flow was followed to an error of 1e-08 of the parameters at each substep"
    assert result.sentences()[-1] == f"{said}."
    allowed = torch.tensor([1e-8, 1e-8, torch.nan, 1e-5], dtype=torch.float64)
    on_a_crease = dataclasses.replace(result.flow, probes={"flow_error": allowed})
    assert flow_sentence(on_a_crease) == f"{said}; on creases of the loss, which no step size resolves, to 1e-05 only."
    lost = dataclasses.replace(result.flow, diverged_at=torch.tensor(7))
    assert flow_sentence(lost).startswith("Gradient flow could not be followed to step 7: it leaves every bound, or")
    assert "not on record" in flow_sentence(dataclasses.replace(result.flow, probes={}))  # of an older version
