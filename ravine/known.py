"""What is known of a run before it begins, in sentences: the facts that a landscape declares of itself, at its start."""

from __future__ import annotations

import math

import torch

from ravine.experiment import Experiment
from ravine.picture import number


def known(experiment: Experiment) -> tuple[str, ...]:
    """One sentence for each fact (see landscapes/facts.py); none of a landscape that declares nothing."""
    landscape, said = experiment.landscape, []
    if experiment.start is None:
        start = landscape.start(seed=experiment.seed)[0]
    else:
        start = torch.tensor(experiment.start, dtype=torch.float64)
    if landscape.flow_escapes():
        said.append("There is no minimum: gradient flow goes on to infinity.")
    least, step, end = landscape.infimum(), landscape.largest_step(start), landscape.gfs_sharpness(start)
    below = landscape.no_rest_below()
    if below is not None:
        said.append(
            f"Below a loss of {number(below)} no point is at rest: gradient flow goes on to infinity from there."
        )
    if least is not None:
        said.append(f"The loss is nowhere below {number(least)}.")
    if step is not None and math.isinf(step):
        said.append("Gradient descent stays bounded at every step size.")
    elif step is not None:
        said.append(f"From this start gradient descent stays bounded up to η = {number(float(step))}, and not beyond.")
    if end is not None and not math.isnan(end):
        said.append(f"Gradient flow from this start ends at a sharpness of {number(float(end))}.")
    return tuple(said)
