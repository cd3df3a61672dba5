"""How much computing something asks for, and how long that takes: the one place that predicts it.

Counted are multiplications, parameters times samples times evaluations of the loss and those of rules that factorize matrices,
which bound what is allowed; and tensor operations, which take their time however small their tensors are. What an eigenvalue or an interpolated picture will take
is not known beforehand: the first counts as it usually does, the second as if every grid point were computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

from landscapes import QUANTITIES, Landscape, Surface
from landscapes.quantities import COARSE
from optimizers import Stepper, layers
from optimizers.curves import PLACES
from optimizers.program import likely
from optimizers.stepsize import CHECKPOINTS

if TYPE_CHECKING:  # an Experiment is refused if it asks for too much
    from ravine.experiment import Experiment

# In evaluations of the loss:
_GRADIENT = 3  # forth, and twice as much back
_PRODUCT = 2 * _GRADIENT  # of the Hessian with a vector
_SCAN = 150  # a look at the loss along one update
_BESIDE = 4  # planes side by side
# In products of the Hessian with a vector:
_FOLLOWED = 6  # an eigenvalue along a run, which goes on from the last one
_ALONE = 20  # an eigenvalue anywhere else
_SPECTRUM = 100  # its density, its top and its lower end
# In multiplications of each parameter:
_UPRIGHT = 4  # of a vector with each of those before it, to keep them orthogonal
# In tensor operations:
_RULE = 30  # a step of a rule, and of each wrapper around it
_STEP = 20  # a step of the loop around all rules
# In seconds of one core of a machine of 2026, within a factor of two or so; what is late all the same, the desk hands on:
_OPERATION = 4e-6
_MULTIPLICATION = 1 / 3e9
_NUMBER = 1.5e-7  # an operation on a number, in a program,
_NOTED = 5e-3  # which is made in this time
_UPDATE, _ENTRY = 1.2e-7, 4e-9  # of one run of many in a batch: a step of its rule, and an operation of its surface


@dataclass(frozen=True)
class Work:
    """Multiplications, by what they are for."""

    steps: int
    measurements: int = 0
    points: int = 0
    curve: int = 0
    operations: int = 0  # of all these, tensor operations
    own: int = 0  # of steps, multiplications of the rule itself, however many samples there are

    @property
    def total(self) -> int:
        return self.steps + self.measurements + self.points + self.curve

    @property
    def seconds(self) -> float:
        """Of one core, about."""
        return self.total * _MULTIPLICATION + self.operations * _OPERATION

    def times(self, count: int) -> Work:
        return Work(*(count * part for part in astuple(self)))

    def and_evaluations(self, landscape: Landscape, count: int) -> Work:
        """So many evaluations of the loss more."""
        return replace(
            self,
            measurements=self.measurements + count * landscape.multiplications,
            operations=self.operations + count * landscape.operations,
        )

    def less(self, landscape: Landscape, batch_size: int) -> str:
        """What to reduce: first what takes most."""
        advice = {
            "fewer steps": self.steps,
            "fewer measurements of the sharpness": self.measurements,
            "fewer grid points": self.points,
            "fewer steps of the curve": self.curve,
        }
        named = [name for name, part in sorted(advice.items(), key=lambda one: -one[1]) if part > self.total / 10]
        unaffected = self.steps if batch_size else self.own
        if landscape.samples is not None and unaffected <= self.total / 2:
            named.append(f"fewer samples than {landscape.samples:,}")
        return ", ".join([*named, f"or fewer parameters than {landscape.dim:,}"])


def _of_steps(landscape: Landscape, steps: int, batch_size: int) -> int:
    """The multiplications of a run without anything measured on the way."""
    share = batch_size / landscape.samples if batch_size and landscape.samples else 1.0
    return math.ceil(_GRADIENT * steps * landscape.multiplications * min(1.0, share))


def _of_products(landscape: Landscape, count: int, times: int = 1) -> Work:
    """So many products with the Hessian, so many times, and what keeps their vectors orthogonal."""
    upright = _UPRIGHT * landscape.dim * count**2 // 2
    return Work(
        0,
        measurements=times * (count * _PRODUCT * landscape.multiplications + upright),
        operations=times * count * _PRODUCT * landscape.operations,
    )


def of_run(landscape: Landscape, rule: Stepper, steps: int, batch_size: int, measure: bool) -> Work:
    """The work of one run of a sweep, whose sharpness may be measured where it ends."""
    looks = _of_products(landscape, _ALONE, int(measure))
    own = steps * rule.rule.multiplications(landscape.layout)
    return Work(
        _of_steps(landscape, steps, batch_size) + own,
        looks.measurements,
        operations=_GRADIENT * steps * landscape.operations + looks.operations,
        own=own,
    )


def of_runs(experiment: Experiment) -> Work:
    """The work of all runs, of networks, and of the picture that a slice draws where they end."""
    steps = looks = points = curve = operations = own = 0
    trainings = 1 + experiment.others if experiment.view == "slice" and experiment.plane == "solutions" else 1
    for run in experiment.runs:
        measured = _measured(experiment, run.landscape)
        of_rule = trainings * experiment.steps * run.optimizer.rule.multiplications(run.landscape.layout)
        own += of_rule
        steps += trainings * _of_steps(run.landscape, experiment.steps, run.batch_size) + of_rule
        looks += trainings * measured.measurements
        operations += trainings * (_GRADIENT * experiment.steps * run.landscape.operations + measured.operations)
        operations += trainings * experiment.steps * _of_rules([run.optimizer])
    if experiment.view == "slice":
        points = _picture(experiment)
        curve = experiment.curve * PLACES * _GRADIENT * experiment.landscape.multiplications
    return Work(steps, looks, points, curve, operations, own)


def seconds(experiment: Experiment) -> float:
    """What the experiment takes."""
    if experiment.view == "descend":
        return _of_programs(experiment) if _has_programs(experiment) else of_paths(experiment).seconds
    if experiment.view != "sweep":
        return of_runs(experiment).seconds
    runs = math.prod(axis.points for axis in experiment.axes)
    if isinstance(experiment.landscape, Surface):
        return runs * experiment.steps * (_UPDATE + _ENTRY * _GRADIENT * experiment.landscape.operations)
    (rule,) = experiment.optimizers
    each = of_run(experiment.landscape, rule, experiment.steps, experiment.batch_size, experiment.measure)
    return each.times(runs).seconds


def of_paths(experiment: Experiment, several: int = 1) -> Work:
    """The work of all rules on a surface; with `several` times as much at each step where they run from many places."""
    each = _STEP + _of_rules(experiment.optimizers)
    each += 2 * _GRADIENT * experiment.landscape.operations * len(experiment.optimizers)
    rehearsed = 2 if any(_rehearses(one) for one in experiment.optimizers) else 1
    return Work(0, operations=several * rehearsed * experiment.steps * each)


def _has_programs(experiment: Experiment) -> bool:
    """Does it run as programs of scalar operations (see optimizers.program), as far as can be told at once?"""
    return (
        experiment.dtype == "float64"
        and experiment.device == "cpu"
        and isinstance(experiment.landscape, Surface)
        and all(likely(experiment.landscape, one) for one in experiment.optimizers)
    )


def _of_programs(experiment: Experiment) -> float:
    """Seconds of all rules on a surface."""
    each = _of_rules(experiment.optimizers) + _GRADIENT * experiment.landscape.operations * len(experiment.optimizers)
    return len(experiment.optimizers) * _NOTED + experiment.steps * each * _NUMBER


def of_cut(landscape: Landscape, points: int) -> Work:
    """The work of the loss at so many points along the top eigenvector."""
    return _of_products(landscape, _ALONE).and_evaluations(landscape, points + _GRADIENT)


def of_spectrum(landscape: Landscape) -> Work:
    return _of_products(landscape, _SPECTRUM)


def of_look(landscape: Landscape) -> Work:
    """The work of what there is to know of a step size at one point."""
    return _of_products(landscape, _ALONE, 3).and_evaluations(landscape, _SCAN)


def _of_rules(rules: Sequence[Stepper]) -> int:
    """Tensor operations of one step of each rule, its evaluations aside."""
    return sum(_RULE * (1 + len(layers(one)[2])) for one in rules)


def _rehearses(rule: Stepper) -> bool:
    schedule = layers(rule)[1]
    return schedule is not None and schedule.rehearses


def _measured(experiment: Experiment, landscape: Landscape) -> Work:
    """The work of the sharpness along a run."""
    if experiment.view == "stepsize":
        return _of_products(landscape, _ALONE, CHECKPOINTS + 2)
    return _of_products(landscape, _FOLLOWED, experiment.steps // experiment.every + 1)


def _picture(experiment: Experiment) -> int:
    """Multiplications for a slice, every grid point computed."""
    planes = 1 if experiment.beside == "nothing" else _BESIDE
    landscape, quantity = experiment.landscape, QUANTITIES[experiment.quantity]
    if quantity.costly:
        return _of_products(landscape, quantity.products, planes * min(experiment.points, COARSE) ** 2).measurements
    return planes * experiment.points**2 * landscape.multiplications
