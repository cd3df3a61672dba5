"""What people do with a sweep: finer grids, minibatches and schedules in it, and what is refused."""

import dataclasses

import pytest
import torch

import optimizers
from landscapes import MLP
from optimizers import OPTIMIZERS, SCHEDULES, Scheduled
from ravine import Experiment, compute
from ravine.axis import Axis
from ravine.limits import LIMITS
from ravine.sweeps import SIZES, cell, closer, finer, refitted

NETWORK = MLP(data="chebyshev", objective="squared", hidden=(4,))
MAP = Experiment.default("sweep")


def small(**changes):
    values = {"landscape": NETWORK, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": "sweep", "steps": 4,
              "over_x": Axis("lr", 0.05, 0.2, 3)}  # fmt: skip
    return Experiment(**(values | changes))


def test_finer_grids_go_through_the_sizes_to_the_limit_and_each_begins_coarse():
    at, sizes = dataclasses.replace(MAP, over_x=dataclasses.replace(MAP.over_x, points=10), steps=10), []
    while at is not None:
        sizes.append(at.over_x.points)
        link, refused = Experiment.from_url(at.to_url())
        assert (link, refused) == (at, [])
        assert (at.coarser is None) == (at.over_y.points <= 64)
        at = finer(at)
    assert sizes == [10, *(one for one in SIZES if 10 < one <= LIMITS.axis)]


def test_no_finer_grid_than_the_limit_of_work_allows():
    assert finer(dataclasses.replace(MAP, steps=LIMITS.steps)) is None
    assert finer(small()).over_x.points == 8


def test_whole_numbers_have_no_more_values_than_they_have():
    seeds = small(over_x=Axis("seed", 0, 9, 5))
    assert finer(seeds).over_x.points == 8
    assert finer(finer(seeds)) is None


def test_a_sweep_on_minibatches_opens_the_run_of_a_point():
    experiment = small(batch_size=5, sampling="replacement")
    assert Experiment.from_url(experiment.to_url()) == (experiment, [])
    single = cell(experiment, {"lr": 0.2})
    assert (single.batch_size, single.sampling, single.seed) == (5, "replacement", 0)
    final = compute(single).trajectory.final
    torch.testing.assert_close(compute(experiment).table.final_loss[-1], NETWORK.loss(final))
    other = MLP(data="chebyshev", objective="squared", subset=3, hidden=(4,))
    assert refitted(experiment, other, experiment.optimizers[0]).batch_size == 3
    with pytest.raises(ValueError, match="batch_size = 21 is not allowed for mlp: it must be at most 20"):
        small(batch_size=21)
    with pytest.raises(ValueError, match="it must be 0: .* is not a mean over samples"):
        dataclasses.replace(MAP, batch_size=2)


def test_schedules_are_swept_and_one_that_rehearses_is_refused():
    rule = Scheduled(inner=OPTIMIZERS["gd"](lr=0.1), schedule=SCHEDULES["cosine"]())
    experiment = small(optimizers=(rule,), over_y=Axis("schedule.warmup", 0, 4, 5))
    assert Experiment.from_url(experiment.to_url()) == (experiment, [])
    single = cell(experiment, {"lr": 0.2, "schedule.warmup": 3})
    path = optimizers.run(NETWORK, single.optimizers[0], steps=4)
    torch.testing.assert_close(compute(experiment).table.final_loss[-1, 3], path.loss[-1])
    with pytest.raises(ValueError, match="A sweep makes no rehearsals, and the schedule Refined from gradient norms"):
        small(optimizers=(Scheduled(inner=rule.inner, schedule=SCHEDULES["refined"]()),))


def test_a_closer_look_keeps_its_points():
    axis = Axis("lr", 1e-3, 1.0, 64, log=True)
    assert closer(axis, 0.1234567, 0.2345678) == Axis("lr", 0.1235, 0.2346, 64, log=True)
