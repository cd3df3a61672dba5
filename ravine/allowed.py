"""What an experiment may be: registered parts that go together, and no more work than is allowed here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from landscapes import LANDSCAPES, Landscape, Surface
from landscapes.setting import Declared
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, Stepper, layers, swept
from optimizers.noise import check_judged
from ravine import limits, memory, work
from ravine.axis import fitted

if TYPE_CHECKING:  # an Experiment asks whether it is allowed
    from ravine.experiment import Experiment


def registered(landscape: Any, optimizers: Any) -> tuple[Stepper, ...]:
    """The optimizers as a tuple. Raises TypeError for what no link can say: only members of the registries, with one number for each setting."""
    if LANDSCAPES.get(getattr(landscape, "name", "")) is not type(landscape):
        raise TypeError(
            "landscape must be one of LANDSCAPES, as in LANDSCAPES['rosenbrock'](), or one of your own under a name, as in "
            "ravine.adopt('mine', from_module(...))."
        )
    rules = (optimizers,) if isinstance(optimizers, Stepper) else optimizers
    if not isinstance(rules, (tuple, list)) or not all(isinstance(rule, Stepper) for rule in rules):
        raise TypeError("optimizers must be a tuple of members of OPTIMIZERS, as in (OPTIMIZERS['gd'](lr=0.1),).")
    for stepper in rules:
        rule, schedule, wrappers = layers(stepper)
        known: list[tuple[Mapping[str, Any], Declared]] = [(OPTIMIZERS, rule)]
        known += [(WRAPPERS, one) for one in wrappers]
        known += [(SCHEDULES, schedule)] if schedule is not None else []
        for registry, one in known:
            if registry.get(one.name) is not type(one):
                raise TypeError(f"{one.name} is not registered, so that a link could not name it.")
            for name, value in one.values().items():
                if isinstance(value, Tensor):
                    raise TypeError(f"{name} of {one.name} is a tensor: an experiment takes one number for it.")
        if len({one.name for one in wrappers}) < len(wrappers):
            raise ValueError(f"A wrapper goes around {rule.name} twice: each may be there once.")
    return tuple(rules)


def check_sweep(experiment: Experiment) -> None:
    """Axes that the rule has, an outcome that is measured, and not too many runs."""
    landscape, rule = experiment.landscape, experiment.optimizers[0]
    known = swept(landscape, rule)
    names = [fitted(axis, known).name for axis in experiment.axes]
    if len(set(names)) < len(names):
        raise ValueError(f"Both axes sweep {names[0]}: choose two different ones.")
    if experiment.outcome == "sharpness" and not experiment.measure:
        raise ValueError("outcome = sharpness is not allowed: the sharpness is not measured unless measure = true.")
    schedule = layers(rule)[1]
    if schedule is not None and schedule.rehearses:
        raise ValueError(f"A sweep makes no rehearsals, and the schedule {schedule.label} needs one: take another.")
    _check_batch_size(landscape, experiment.batch_size)
    runs, steps = math.prod(axis.points for axis in experiment.axes), experiment.steps
    if not isinstance(landscape, Surface):
        each = work.of_run(landscape, rule, steps, experiment.batch_size, experiment.measure)
        _check_work(each.times(runs), landscape, experiment.batch_size, "fewer runs, ")
        _check_memory(experiment)
    elif runs * steps > limits.LIMITS.updates:
        raise ValueError(
            f"This asks for {runs:,} runs of {steps:,} steps; their product may be at most {limits.LIMITS.updates:,} here. "
            f"Choose fewer values or fewer steps."
        )


def most_runs(landscape: Landscape, rule: Stepper, steps: int, batch_size: int, measure: bool) -> int:
    """How many runs of so many steps a sweep may make here."""
    if isinstance(landscape, Surface):
        return limits.LIMITS.updates // steps
    return limits.LIMITS.work // work.of_run(landscape, rule, steps, batch_size, measure).total


def check_count(experiment: Experiment) -> None:
    """Not too many runs laid over each other."""
    if len(experiment.runs) > limits.LIMITS.runs:
        raise ValueError(
            f"This asks for {len(experiment.runs)} runs; at most {limits.LIMITS.runs} are laid over each other here."
        )


def check_rivals(experiment: Experiment, most: int) -> None:
    """Seeds for the trainings beside the first that a plane through solutions needs: those that follow, up to `most`."""
    if experiment.plane == "solutions" and experiment.seed + experiment.others > most:
        raise ValueError(
            f"seed = {experiment.seed} is not allowed with plane = solutions: the other solutions take the next "
            f"{experiment.others}, so it must be at most {most - experiment.others}."
        )


def check_runs(experiment: Experiment) -> None:
    """What the runs cost, and whether batches can be drawn for each."""
    for run in experiment.runs:
        _check_batch_size(run.landscape, run.batch_size)
    if experiment.view == "stepsize" and experiment.batch_size:
        check_judged(experiment.landscape)
    if not isinstance(experiment.landscape, Surface):
        _check_work(work.of_runs(experiment), experiment.landscape, experiment.batch_size)
        _check_memory(experiment)


def _check_work(asked: work.Work, landscape: Landscape, batch_size: int, first: str = "") -> None:
    most = limits.LIMITS.work
    if asked.total > most:
        raise ValueError(
            f"This asks for {asked.total / 1e9:,.0f} billion multiplications, and at most {most / 1e9:,.0f} billion are allowed "
            f"here. "
            f"Choose {first}{asked.less(landscape, batch_size)}."
        )


def _check_memory(experiment: Experiment) -> None:
    asked, most = memory.of(experiment), limits.LIMITS.memory
    if asked.total > most:
        raise ValueError(
            f"This may take {asked.total / 1e9:,.1f} GB of memory, and at most {most / 1e9:,.1f} GB are allowed here. "
            f"Choose {asked.less(experiment)}."
        )


def _check_batch_size(landscape: Landscape, batch_size: int) -> None:
    samples = landscape.samples
    if batch_size > (samples or 0):
        why = landscape.lacks("samples")
        allowed = f"0: {why}" if why else f"at most {samples}, its samples"
        raise ValueError(f"batch_size = {batch_size} is not allowed for {landscape.name}: it must be {allowed}.")
