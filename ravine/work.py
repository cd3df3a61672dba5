"""How much computing an experiment on a network asks for: parameters times samples times evaluations of the loss.

It is counted in multiplications. What an eigenvalue or an interpolated picture will take is not known beforehand: the first
counts as it usually does, the second as if every grid point were computed.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from landscapes import QUANTITIES, Landscape
from landscapes.quantities import COARSE
from optimizers.curves import PLACES
from optimizers.stepsize import CHECKPOINTS

if TYPE_CHECKING:  # an Experiment is refused if it asks for too much
    from ravine.experiment import Experiment

# In evaluations of the loss:
_GRADIENT = 3  # forth, and twice as much back
_PRODUCT = 2 * _GRADIENT  # of the Hessian with a vector
_FOLLOWED = 6 * _PRODUCT  # an eigenvalue along a run, which goes on from the last one
_ALONE = 20 * _PRODUCT  # an eigenvalue anywhere else
_BESIDE = 4  # planes side by side


@dataclass(frozen=True)
class Work:
    """Multiplications, by what they are for."""

    steps: int
    measurements: int = 0
    points: int = 0
    curve: int = 0

    @property
    def total(self) -> int:
        return self.steps + self.measurements + self.points + self.curve

    def times(self, count: int) -> Work:
        return Work(*(count * part for part in astuple(self)))

    def less(self, landscape: Landscape, batch_size: int) -> str:
        """What to reduce: first what takes most."""
        advice = {
            "fewer steps": self.steps,
            "fewer measurements of the sharpness": self.measurements,
            "fewer grid points": self.points,
            "fewer steps of the curve": self.curve,
        }
        named = [name for name, part in sorted(advice.items(), key=lambda one: -one[1]) if part > self.total / 10]
        if landscape.samples is not None and not (batch_size and self.steps > self.total / 2):
            named.append(f"fewer samples than {landscape.samples:,}")
        return ", ".join([*named, f"or fewer parameters than {landscape.dim:,}"])


def _of_steps(landscape: Landscape, steps: int, batch_size: int) -> int:
    """The multiplications of a run without anything measured on the way."""
    share = batch_size / landscape.samples if batch_size and landscape.samples else 1.0
    return math.ceil(_GRADIENT * steps * landscape.multiplications * min(1.0, share))


def of_run(landscape: Landscape, steps: int, batch_size: int, measure: bool) -> Work:
    """The work of one run of a sweep, whose sharpness may be measured where it ends."""
    return Work(_of_steps(landscape, steps, batch_size), _ALONE * landscape.multiplications if measure else 0)


def of_runs(experiment: Experiment) -> Work:
    """The work of all runs, of networks, and of the picture that a slice draws where they end."""
    steps = looks = points = curve = 0
    trainings = 1 + experiment.others if experiment.view == "slice" and experiment.plane == "solutions" else 1
    for run in experiment.runs:
        each = run.landscape.multiplications
        steps += trainings * _of_steps(run.landscape, experiment.steps, run.batch_size)
        looks += trainings * _measured(experiment) * each
    if experiment.view == "slice":
        points = _picture(experiment) * experiment.landscape.multiplications
        curve = experiment.curve * PLACES * _GRADIENT * experiment.landscape.multiplications
    return Work(steps, looks, points, curve)


def _measured(experiment: Experiment) -> int:
    """Evaluations of the loss for the sharpness along a run."""
    if experiment.view == "stepsize":
        return (CHECKPOINTS + 2) * _ALONE
    return (experiment.steps // experiment.every + 1) * _FOLLOWED


def _picture(experiment: Experiment) -> int:
    """Evaluations of the loss for a slice, every grid point computed."""
    planes = 1 if experiment.beside == "nothing" else _BESIDE
    if QUANTITIES[experiment.quantity].costly:
        return planes * min(experiment.points, COARSE) ** 2 * _ALONE
    return planes * experiment.points**2
