"""What is measured along a run of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscapes import Landscape
from optimizers import PROBES
from optimizers.probes import Probe, TopEigenvalues
from ravine.overlay import Run

if TYPE_CHECKING:  # an Experiment is refused if this takes too much
    from ravine.experiment import Experiment

SHARPNESS, SCALED, BATCH = "sharpness", "preconditioned_sharpness", "batch_sharpness"
TOP = TopEigenvalues.name


def probe(experiment: Experiment, name: str, landscape: Landscape) -> Probe:
    """A probe with the settings that the experiment has for it."""
    if name == TOP:
        return TopEigenvalues(k=min(experiment.eigenvalues, landscape.dim))
    return PROBES[name]()


def probes_of(experiment: Experiment, run: Run) -> tuple[Probe, ...]:
    """What is measured along a run: the sharpness that its rule answers to, and what was chosen and can be measured."""
    names = [SHARPNESS]
    if run.optimizer.preconditioned_thresholds(1) is not None:
        names.append(SCALED)
    if run.batch_size:
        names.append(BATCH)
    found = [probe(experiment, name, run.landscape) for name in dict.fromkeys([*names, *experiment.probes])]
    return tuple(one for one in found if one.name in names or not one.refusal(run.landscape, run.optimizer))
