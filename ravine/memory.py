"""How much memory an experiment may take at most, told before anything is computed.

Counted in bytes beside what an idle process holds: parameter vectors of every run, by what they are for. It is a bound, and
a few times what most runs take: how many products an eigenvalue takes is not known beforehand.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from landscapes import QUANTITIES, Landscape, Surface
from landscapes.extremes import most_products
from landscapes.solvers import vectors as of_pairs
from landscapes.warm import Warm
from optimizers import Stepper
from optimizers.curves import PLACES
from optimizers.footprint import state_numbers
from optimizers.probes import Probe
from ravine.measures import probes_of
from ravine.overlay import Run

if TYPE_CHECKING:  # an Experiment is refused if it asks for too much
    from ravine.experiment import Experiment

_KEPT_NUMBERS = 5_000_000  # in the parameter vectors kept along the runs of a network, for projections
_LEAST_KEPT = 20  # parameter vectors of a run, however long, while they are no more than this:
_KEPT_AT_MOST = 20_000_000
_STANDING = 16  # vectors of a run and of the step that it takes: parameters, gradients, what the rule makes of them
_STATES = 4  # old and new, those that a measurement looks at, and what is between
_SMALL = 1000  # parameters: what a rule keeps of fewer is not worth the look
_STUDY = 24  # vectors of a look at a step size beside an eigenvalue
_BASE = 48 << 20  # what any computation takes, in buffers and in torch itself
_CONTAINER = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"  # of both kinds on Linux
_UNKNOWN = 8 << 30  # where a system does not tell
_ITEMS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Memory:
    """Bytes at most, by what they are for."""

    kept: int = 0  # parameters along the runs
    rules: int = 0  # where the runs stand, and what their rules remember
    measuring: int = 0  # eigenvectors, gradients of samples
    samples: int = 0  # data, and what layers make of them
    planes: int = 0

    @property
    def total(self) -> int:
        return _BASE + sum(getattr(self, one.name) for one in fields(self))

    @property
    def lasting(self) -> int:
        """What it holds from its first step to its last, also while others have their turn."""
        return self.total - _BASE

    def less(self, experiment: Experiment) -> str:
        """What to change: first what is about the largest part."""
        runs, landscape = len(experiment.runs), experiment.landscape
        advice = {
            "fewer runs": self.kept + self.rules + self.measuring if runs > 1 and experiment.view == "edge" else 0,
            "fewer solutions": self.kept if experiment.view == "slice" and experiment.plane == "solutions" else 0,
            "a rule that remembers less": self.rules / 2,
            "fewer measurements or eigenvalues": self.measuring if experiment.view == "edge" else 0,
            "fewer samples": self.samples if landscape.samples is not None else 0,
        }
        named = [name for name, part in sorted(advice.items(), key=lambda one: -one[1]) if part > self.total / 8]
        if experiment.dtype == "float64":
            named.append("float32")
        return ", ".join([*named, f"or fewer parameters than {landscape.dim:,}"])


def machine() -> int:
    """Bytes of this machine, or of the container that this process is in."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else []
    for place in _CONTAINER:
        with suppress(OSError, ValueError):  # no container, or no bound
            found.append(int(Path(place).read_text()))
    return min(found, default=_UNKNOWN)


def stride(experiment: Experiment) -> int:
    """Steps from one kept parameter vector to the next: odd, so that a bounce from side to side at every step shows."""
    each = sum(one.landscape.dim for one in experiment.runs)
    fewest = max(2, min(_LEAST_KEPT, _KEPT_AT_MOST // each))
    return min(math.ceil(experiment.steps * each / _KEPT_NUMBERS), max(1, experiment.steps // fewest)) | 1


def _kept(experiment: Experiment) -> int:
    """Parameter vectors kept of each run, the first and the last among them."""
    return experiment.steps // stride(experiment) + 2


def of(experiment: Experiment) -> Memory:
    """What an experiment on a network takes; on a surface, of two numbers a run, next to nothing."""
    if isinstance(experiment.landscape, Surface):
        return Memory()
    match experiment.view:
        case "sweep":
            found = _of_sweep(experiment)
        case "stepsize":
            found = _of_study(experiment)
        case "slice":
            found = _of_slice(experiment)
        case _:
            found = _of_training(experiment)
    item = _ITEMS[experiment.dtype].itemsize
    return Memory(*(item * getattr(found, one.name) for one in fields(found)))


def _of_training(experiment: Experiment) -> Memory:
    """In numbers. Runs that go side by side are measured together, others at worst at the same time."""
    runs = experiment.runs
    at_once = min(len(runs), os.cpu_count() or 1)
    rules = sum(_standing(run.landscape, run.optimizer) for run in runs)
    measuring = 0
    for run in runs:
        together = min(len(runs), run.landscape.chunk(torch.empty(0, dtype=_ITEMS[experiment.dtype])))
        measuring += _measured(run, probes_of(experiment, run), together)
    return Memory(
        kept=sum(_kept(experiment) * run.landscape.dim for run in runs),
        rules=rules + (_standing(runs[0].landscape, runs[0].optimizer) if experiment.flow else 0),
        measuring=measuring,
        samples=2 * at_once * max(run.landscape.live for run in runs),
    )


def _standing(landscape: Landscape, stepper: Stepper) -> int:
    """Numbers of one run, and of the step that it takes."""
    state = state_numbers(stepper, landscape.layout) if landscape.dim >= _SMALL else 0
    return _STANDING * landscape.dim + _STATES * state


def _measured(run: Run, probes: tuple[Probe, ...], runs: int) -> int:
    """Numbers of a run for its measurements: the largest is under way, and of each other something is remembered."""
    taken = [one.vectors(run.landscape, runs) for one in probes]
    return (max(taken, default=0) + len(taken) * (Warm.extra + 8)) * run.landscape.dim


def _of_sweep(experiment: Experiment) -> Memory:
    """A few numbers of each run are kept; those of a chunk run at once, and as many chunks as there are cores."""
    landscape = experiment.landscape
    like = torch.empty(0, dtype=_ITEMS[experiment.dtype])
    together = 2 * landscape.chunk(like) * (os.cpu_count() or 1)
    cells = math.prod(axis.points for axis in experiment.axes)
    rows = min(together, cells)
    looked = of_pairs(landscape.dim, rows, 1) * landscape.dim if experiment.measure else 0
    return Memory(
        kept=64 * cells,
        rules=rows * _standing(landscape, experiment.optimizers[0]),
        measuring=rows * looked,
        samples=2 * min(rows, os.cpu_count() or 1) * landscape.live,
    )


def _of_study(experiment: Experiment) -> Memory:
    landscape = experiment.landscape
    return Memory(
        rules=_standing(landscape, experiment.optimizers[0]),
        measuring=(of_pairs(landscape.dim, 1, 1) + _STUDY) * landscape.dim,
        samples=2 * landscape.live,
    )


def _of_slice(experiment: Experiment) -> Memory:
    """One training after the other, and then planes through where they ended."""
    landscape, dim = experiment.landscape, experiment.landscape.dim
    cores = os.cpu_count() or 1
    trainings = 1 + experiment.others if experiment.plane == "solutions" else 1
    (run,) = experiment.runs
    panels = 1 if experiment.beside == "nothing" else 4
    looked = cores * 4
    if QUANTITIES[experiment.quantity].costly:
        looked += cores * most_products(dim, 1)
    return Memory(
        kept=trainings * _kept(experiment) * dim,
        rules=_standing(landscape, run.optimizer),
        measuring=_measured(run, probes_of(experiment, run), 1),
        samples=2 * cores * landscape.live,
        planes=(2 * _kept(experiment) + 6 * panels + looked + (12 * PLACES if experiment.curve else 0)) * dim,
    )
