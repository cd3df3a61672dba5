"""Experiment -> Result, all at once or bit by bit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import torch

from landscapes import Surface, slicing
from optimizers import Stepper, running, studying, sweeping, swept
from ravine.experiment import DTYPES, Experiment, training
from ravine.result import Result
from ravine.store import Store

_REPORT_SECONDS = 0.3  # between two partial results
_KEPT_PARAMS = 80  # parameter vectors of a network kept along a run, for projections


def compute(experiment: Experiment, *, store: Store | None = None, executor: Executor | None = None) -> Result:
    """The result of an experiment, from the store if it is there. Same experiment, same machine, same bits."""
    *_, result = computing(experiment, store=store, executor=executor)
    return result


def computing(
    experiment: Experiment, *, store: Store | None = None, executor: Executor | None = None
) -> Iterator[Result]:
    """`compute` as it grows: yields partial results and at last the complete one. Stop pulling to cancel.

    A slice first trains, or takes the finished training from the store; a map is first drawn at fewer points. `executor`
    (concurrent.futures) spreads the pieces of a slice or a sweep over its workers; the numbers do not depend on it. Pieces
    are kept in the store as they finish, so that a computation that was cut off goes on where it was.
    """
    found = store.get(experiment) if store is not None else None
    if found is not None:
        yield dataclasses.replace(found, experiment=experiment)  # a key leaves out what only changes the looks
        return
    parted = {"slice": _slice, "sweep": _sweep}.get(experiment.view)
    if experiment.view == "stepsize":
        steps = _study(experiment)
    else:
        steps = parted(experiment, store, executor) if parted is not None else _trajectory(experiment)
    for result in steps:
        if result.complete and store is not None:
            store.put(result, keep=parted is not None or not isinstance(experiment.landscape, Surface))
            if parted is not None:
                store.shelf(experiment).clear()
        yield result


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside torch's operations: sums in another order give other bits, and small problems run no slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trajectory(experiment: Experiment) -> Iterator[Result]:
    landscape = experiment.landscape
    place = {"dtype": DTYPES[experiment.dtype], "device": experiment.device}
    optimizers: Stepper | tuple[Stepper, ...]
    if experiment.view == "descend":
        start = torch.tensor(experiment.start, **place)  # type: ignore[arg-type]
        optimizers, probes, probe_every, params_every = experiment.optimizers, [], None, None
        report_after = math.inf
    else:
        start = landscape.start(seed=experiment.seed, **place)[0]  # type: ignore[arg-type]
        optimizers, probes, probe_every = experiment.optimizers[0], ["sharpness"], experiment.every
        params_every = max(1, experiment.steps // _KEPT_PARAMS)
        report_after = _REPORT_SECONDS
    with one_thread():
        for trajectory in running(
            landscape,
            optimizers,
            start,
            experiment.steps,
            experiment.seed,
            probes,
            probe_every=probe_every,
            params_every=params_every,
            report_every=10,
            report_after=report_after,
        ):
            done = int(trajectory.step[-1])
            yield Result(
                experiment, trajectory, done=done, total=experiment.steps, phase=f"step {done} of {experiment.steps}"
            )


def _study(experiment: Experiment) -> Iterator[Result]:
    place = {"dtype": DTYPES[experiment.dtype], "device": experiment.device}
    if experiment.start is None:
        start = experiment.landscape.start(seed=experiment.seed, **place)[0]  # type: ignore[arg-type]
    else:
        start = torch.tensor(experiment.start, **place)  # type: ignore[arg-type]
    total = experiment.steps
    with one_thread():
        for one in studying(
            experiment.landscape, experiment.optimizers[0], start, total, experiment.looked_at, experiment.seed
        ):
            done = total if one.diverged_at >= 0 else int(one.step[-1])
            yield Result.of_study(experiment, one, done=done, total=total, phase=f"step {done} of {total}")


def _slice(experiment: Experiment, store: Store | None, executor: Executor | None) -> Iterator[Result]:
    rows = experiment.points
    trained = None
    for trained in computing(training(experiment), store=store):
        share = trained.done / trained.total
        # Training and rows weigh about the same at the default sizes.
        yield Result(
            experiment, trained.trajectory, done=int(share * rows), total=2 * rows, phase=f"training, {trained.phase}"
        )
    assert trained is not None
    with one_thread():
        planes = slicing(
            experiment.landscape,
            trained.trajectory.final,
            normalize=experiment.normalize,
            span=experiment.span,
            points=rows,
            seed=experiment.plane_seed,
            executor=executor,
            shelf=store.shelf(experiment) if store is not None else None,
        )
        for row, plane in enumerate(planes, start=1):
            yield Result(
                experiment, trained.trajectory, plane, done=rows + row, total=2 * rows, phase=f"row {row} of {rows}"
            )


def _sweep(experiment: Experiment, store: Store | None, executor: Executor | None) -> Iterator[Result]:
    runs = math.prod(axis.points for axis in experiment.axes)
    before = 0
    if experiment.coarser is not None:
        for coarse in computing(experiment.coarser, store=store, executor=executor):
            before = coarse.total
            yield dataclasses.replace(coarse, experiment=experiment, total=before + runs)
    landscape, rule = experiment.landscape, experiment.optimizers[0]
    known = swept(landscape, rule)
    place = {"dtype": DTYPES[experiment.dtype], "device": experiment.device}

    def start(seed: int) -> torch.Tensor:
        if experiment.start is not None:
            return torch.tensor(experiment.start, **place)  # type: ignore[arg-type]
        return landscape.start(seed=seed, **place)[0]  # type: ignore[arg-type]

    with one_thread():
        for table in sweeping(
            landscape,
            rule,
            {axis.name: axis.numbers(known[axis.name]) for axis in experiment.axes},
            experiment.steps,
            start=start,
            seed=experiment.seed,
            sharpness=experiment.measure,
            executor=executor,
            shelf=store.shelf(experiment) if store is not None else None,
        ):
            done, cells = int(table.known.sum()), table.known.numel()
            share = runs if done == cells else runs * done // cells
            yield Result(
                experiment, table=table, done=before + share, total=before + runs, phase=f"{done:,} of {cells:,} runs"
            )
