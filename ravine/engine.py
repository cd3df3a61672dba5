"""Experiment -> Result, all at once or bit by bit."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from landscapes import Landscape, Surface
from landscapes.alignment import Line
from landscapes.pieces import Shelf
from optimizers import Stepper, Trajectory, composed, layers, planned, run, running, studying, sweeping, swept
from optimizers.flow import FlowError, GradientFlow
from optimizers.probes import Probe
from optimizers.program import Program, side_by_side
from optimizers.stand_in import Unfit
from ravine import cuts
from ravine.connection import CURVED, bending, between
from ravine.experiment import DTYPES, Experiment
from ravine.measures import probes_of
from ravine.memory import stride
from ravine.overlay import Run
from ravine.result import Result
from ravine.store import Store
from ravine.telling import Tell, telling
from ravine.threads import one_thread

_REPORT_SECONDS = 0.3  # between two partial results
_REPORT_STEPS = 1  # and so many steps at least: time alone decides, since ten steps of a costly rule take minutes
_FIRST_STRETCH = 250  # steps that a program takes before it is looked at how long they took
_WORK = 1000  # pieces that a slice and its training count as


def compute(experiment: Experiment, *, store: Store | None = None, executor: Executor | None = None) -> Result:
    """The result of an experiment, from the store if it is there. Same experiment, same kind of machine, same bits."""
    *_, result = computing(experiment, store=store, executor=executor)
    return result


def computing(
    experiment: Experiment,
    *,
    store: Store | None = None,
    executor: Executor | None = None,
    known: cuts.Known | None = None,
) -> Iterator[Result]:
    """`compute` as it grows: yields partial results and at last the complete one. Stop pulling to cancel.

    A slice first trains, or takes the finished training from the store; a map is first drawn at fewer points. `executor`
    (concurrent.futures) spreads the pieces of a slice or a sweep over its workers, and if they are threads the runs of a
    training; the numbers do not depend on it. Pieces are kept in the store as they finish, so that a computation that was
    cut off goes on where it was. `known` lets a slice believe what earlier slices of the same plane have found: then it
    agrees to within its stated error, not to the bit, and is not stored.
    """
    found = store.get(experiment) if store is not None else None
    if found is not None:
        yield found
        return
    lasting = experiment.view in ("slice", "sweep") or not isinstance(experiment.landscape, Surface)
    for result in _steps(experiment, store, executor, known):
        if result.complete and store is not None and not result.recalled:
            store.put(result, keep=lasting)
            if lasting:
                store.shelf(experiment).clear()
        yield result


def _steps(
    experiment: Experiment, store: Store | None, executor: Executor | None, known: cuts.Known | None
) -> Iterator[Result]:
    match experiment.view:
        case "slice":
            return (_curved if experiment.curve else _slice)(experiment, store, executor, known)
        case "sweep":
            return _sweep(experiment, store, executor)
        case "stepsize":
            return _study(experiment, store)
    return _paths(experiment) if isinstance(experiment.landscape, Surface) else _training(experiment, store, executor)


def _paths(experiment: Experiment) -> Iterator[Result]:
    """Rules on a surface: as programs where they have one, all others at once on tensors. Most take no longer than a blink."""
    landscape = experiment.landscape
    assert isinstance(landscape, Surface)
    start = torch.tensor(experiment.start, dtype=DTYPES[experiment.dtype], device=experiment.device)
    rules = yield from _rehearsed(experiment, start)
    with one_thread():
        rules = planned(landscape, rules, start, experiment.steps, experiment.seed)
        barred: set[int] = set()
        for _ in range(len(rules) + 1):
            programs: dict[int, Program] = {}
            for index, rule in enumerate(rules):
                if index not in barred and experiment.dtype == "float64" and experiment.device == "cpu":
                    with suppress(Unfit):
                        programs[index] = Program(landscape, rule, start)
            try:
                for path in _followed(experiment, rules, programs, start):
                    done = int(path.step[-1])
                    yield Result(
                        experiment, path, done=done, total=experiment.steps, phase=f"step {done} of {experiment.steps}"
                    )
                return
            except _Late as late:  # its later steps have no program, and so none of its steps
                barred.add(late.index)


class _Late(Exception):
    """A rule turns out to have no program."""

    def __init__(self, index: int):
        self.index = index


def _followed(
    experiment: Experiment, rules: Sequence[Stepper], programs: dict[int, Program], start: torch.Tensor
) -> Iterator[Trajectory]:
    """All rules' paths side by side, as they grow. Raises _Late."""
    others = [index for index in range(len(rules)) if index not in programs]

    def joined(steps: int, rest: Trajectory | None) -> Trajectory:
        for index, one in programs.items():
            try:
                one.advance(steps)
            except Unfit:
                raise _Late(index) from None
        paths = {index: one.trajectory(steps) for index, one in programs.items()}
        if rest is not None:
            paths |= {index: rest.of(place) for place, index in enumerate(others)}
        return side_by_side([paths[index] for index in range(len(rules))])

    if others:
        for rest in running(
            experiment.landscape, [rules[index] for index in others], start, experiment.steps, experiment.seed,
            report_every=_REPORT_STEPS, report_after=_REPORT_SECONDS,
        ):  # fmt: skip
            yield joined(int(rest.step[-1]), rest)
        return
    done, stretch = 0, min(_FIRST_STRETCH, experiment.steps)
    while done < experiment.steps:
        began, done = time.monotonic(), min(done + stretch, experiment.steps)
        path = joined(done, None)
        if (took := time.monotonic() - began) < _REPORT_SECONDS / 2:
            stretch *= 2
        if took >= _REPORT_SECONDS or done == experiment.steps:
            yield path


def _rehearsed(experiment: Experiment, start: torch.Tensor) -> Generator[Result, None, Sequence[Stepper]]:
    """The rules of an experiment on a surface, planned: where they rehearse, that takes as long as the runs themselves."""
    landscape, rules, steps, seed = experiment.landscape, experiment.optimizers, experiment.steps, experiment.seed
    parts = [layers(one) for one in rules]
    if not any(schedule is not None and schedule.rehearses for _, schedule, _ in parts):
        return rules

    def plan(tell: Tell) -> list[Stepper]:
        with one_thread():
            return planned(
                landscape, rules, start, steps, seed, tell=lambda step: tell(0.0, f"rehearsal, step {step} of {steps}")
            )

    rehearsals = telling(plan)
    begun = Trajectory.nothing()
    try:
        while True:
            _, phase = next(rehearsals)
            if not len(begun.step):
                plain = [
                    composed(rule, None, [partial(type(one), **one.values()) for one in around])
                    for rule, _, around in parts
                ]
                begun = run(landscape, plain, start, 1, seed).begun
            yield Result(experiment, begun, done=0, total=steps, phase=phase)
    except StopIteration as end:
        rules = end.value
    finally:
        rehearsals.close()
    return rules


def _training(experiment: Experiment, store: Store | None, executor: Executor | None) -> Iterator[Result]:
    """Every run of a training. Those that gain from it go side by side as one batch; batches take turns, or run at once."""
    batches: dict[tuple[Landscape, int, tuple[Probe, ...], int], list[int]] = {}
    for index, one in enumerate(experiment.runs):
        own = index if _apart(experiment, one) else -1
        batches.setdefault((one.landscape, one.batch_size, probes_of(experiment, one), own), []).append(index)
    count = len(experiment.runs) + experiment.flow
    parts = [(members, [experiment.runs[index] for index in members], len(batches) > 1) for members in batches.values()]
    if experiment.flow:  # on its own: how finely it steps must not depend on others
        parts.append(([count - 1], [_flow_of(experiment.runs[0])], True))
    shelf = store.shelf(experiment) if store is not None else None
    streams = [
        (members, _batch(experiment, runs, several=several, shelf=shelf.part(place) if shelf is not None else None))
        for place, (members, runs, several) in enumerate(parts)
    ]
    latest: dict[int, Trajectory] = {}
    with one_thread():
        while streams:
            going = []
            for (members, stream), trajectory in zip(
                streams, _pulled([one for _, one in streams], executor), strict=True
            ):
                if trajectory is None:
                    continue
                going.append((members, stream))
                for place, index in enumerate(members):
                    latest[index] = trajectory if len(members) == 1 else trajectory.of(place)
            streams = going
            if streams:
                yield _result(experiment, [latest[index] for index in range(count)])


def _apart(experiment: Experiment, run: Run) -> bool:
    """Would a batch evaluate its runs one by one anyway? Then they are better off on several cores, with the same bits."""
    like = torch.empty(0, dtype=DTYPES[experiment.dtype], device=experiment.device)
    return not run.batch_size and run.landscape.chunk(like) == 1


def _pulled(streams: list[Iterator[Trajectory]], executor: Executor | None) -> Iterator[Trajectory | None]:
    """The next of each stream, None of one that is over; all at once where the executor has threads of this process."""
    if len(streams) > 1 and isinstance(
        executor, ThreadPoolExecutor
    ):  # a half-done run cannot travel to another process
        return executor.map(_next, streams)
    return map(_next, streams)


def _next(stream: Iterator[Trajectory]) -> Trajectory | None:
    with one_thread():
        return next(stream, None)


def _result(experiment: Experiment, paths: list[Trajectory]) -> Result:
    done = sum(int(path.step[-1]) for path in paths) // len(paths)
    flow = paths.pop() if experiment.flow else None
    phase = f"step {done} of {experiment.steps}"
    return Result(
        experiment, paths[0], others=tuple(paths[1:]), flow=flow, done=done, total=experiment.steps, phase=phase
    )


def _batch(experiment: Experiment, runs: list[Run], *, several: bool, shelf: Shelf | None) -> Iterator[Trajectory]:
    """The runs of one landscape, side by side; a single one in the shape of a single one."""
    landscape = runs[0].landscape
    place: dict[str, Any] = {"dtype": DTYPES[experiment.dtype], "device": experiment.device}
    starts = [landscape.start(seed=one.seed, **place)[0] for one in runs]
    rules, seeds = [one.optimizer for one in runs], [one.seed for one in runs]
    alone = len(runs) == 1
    return running(
        landscape,
        rules[0] if alone else rules,
        starts[0] if alone else starts,
        experiment.steps,
        seeds[0] if alone else seeds,
        (*probes_of(experiment, runs[0]), *([FlowError()] if isinstance(rules[0].rule, GradientFlow) else [])),
        batch_size=runs[0].batch_size or None,
        sampling=experiment.sampling,
        probe_every=experiment.every,
        params_every=stride(experiment),
        report_every=_REPORT_STEPS,
        report_after=_REPORT_SECONDS,
        beside=not several,  # several batches are on several cores as it is
        shelf=shelf,
    )


def _flow_of(run: Run) -> Run:
    """Gradient flow from the start of a run, over the same time at each step."""
    rule, schedule, _ = layers(run.optimizer)
    flow = composed(GradientFlow(lr=rule.lr), schedule)
    return dataclasses.replace(run, optimizer=flow, batch_size=0)


def _study(experiment: Experiment, store: Store | None) -> Iterator[Result]:
    place = {"dtype": DTYPES[experiment.dtype], "device": experiment.device}
    if experiment.start is None:
        start = experiment.landscape.start(seed=experiment.seed, **place)[0]  # type: ignore[arg-type]
    else:
        start = torch.tensor(experiment.start, **place)  # type: ignore[arg-type]
    total = experiment.steps
    with one_thread():
        for one in studying(
            experiment.landscape, experiment.optimizers[0], start, total, experiment.looked_at, experiment.seed,
            batch_size=experiment.batch_size or None, sampling=experiment.sampling,
            shelf=store.shelf(experiment) if store is not None else None,
        ):  # fmt: skip
            done = total if one.diverged_at >= 0 else int(one.step[-1])
            yield Result.of_study(experiment, one, done=done, total=total, phase=f"step {done} of {total}")


def _curved(
    experiment: Experiment, store: Store | None, executor: Executor | None, known: cuts.Known | None
) -> Iterator[Result]:
    """The slice, and then the curve of low loss between its solutions."""
    plainly = dataclasses.replace(experiment, curve=0)
    for base in computing(plainly, store=store, executor=executor, known=known):
        yield dataclasses.replace(base, experiment=experiment, total=2 * base.total)
    assert base.plane is not None
    line = known.curve(experiment) if known is not None else None
    stream: Iterator[tuple[int, Line | None]] = iter([(experiment.curve, line)])
    if line is None:
        stream = bending(experiment.landscape, base.plane, experiment.optimizers[0], experiment.curve)
    with one_thread():
        for step, line in stream:
            lines = base.lines if line is None else base.lines | {CURVED: line}
            share = step / experiment.curve if line is not None else min(0.99, step / experiment.curve)
            done, total = base.total + int(base.total * share), 2 * base.total
            phase = f"curve, step {step} of {experiment.curve}"
            yield dataclasses.replace(base, experiment=experiment, lines=lines, done=done, total=total, phase=phase)
    if known is not None and line is not None:
        known.add_curve(experiment, line)


def begun_by(experiment: Experiment, training: Result, before: Sequence[Result] = ()) -> Result:
    """A slice so far, while it or another computation trains what it begins with; `before` are its finished trainings."""
    # Training and planes weigh about the same at the default sizes.
    share = (len(before) + training.done / training.total) / len(cuts.trainings(experiment))
    path = before[0].trajectory if before else training.trajectory
    return Result(experiment, path, done=int(500 * share), total=_WORK, phase=f"training, {training.phase}")


def _slice(
    experiment: Experiment, store: Store | None, executor: Executor | None, known: cuts.Known | None
) -> Iterator[Result]:
    trained: list[Result] = []
    for one in cuts.trainings(experiment):
        for pulled, result in enumerate(computing(one, store=store)):
            if pulled or not result.complete:  # what was there already nobody needs to see again
                yield begun_by(experiment, result, trained)
        trained.append(result)
    path = trained[0].trajectory
    with one_thread():
        shelf = store.shelf(experiment) if store is not None else None
        wanted = cuts.panels(
            experiment, path.params[path.kept(experiment.at)], path, [one.trajectory.final for one in trained[1:]]
        )
        captions = tuple(one.caption for one in wanted)
        several = len(trained) > 1
        for planes, share, believed in cuts.growing(experiment, wanted, executor, shelf, known):
            spent = sum(one.evaluations for one in planes)
            result = Result(
                experiment,
                path,
                planes[0],
                beside=tuple(planes[1:]),
                captions=captions,
                recalled=believed,
                done=500 + int((400 if several else 500) * share),
                total=_WORK,
                phase=f"{spent:,} points",
            )
            yield result
        if several:
            phase = "comparing the solutions"
            result = dataclasses.replace(result, phase=phase)
            yield result
            for lines in between(experiment.landscape, planes[0]):
                result = dataclasses.replace(result, lines=lines)
                yield result
            yield dataclasses.replace(result, done=_WORK)


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
            batch_size=experiment.batch_size or None,
            sampling=experiment.sampling,
            sharpness=experiment.measure,
            executor=executor,
            shelf=store.shelf(experiment) if store is not None else None,
        ):
            done, cells = int(table.known.sum()), table.known.numel()
            share = runs if done == cells else runs * done // cells
            yield Result(
                experiment, table=table, done=before + share, total=before + runs, phase=f"{done:,} of {cells:,} runs"
            )
