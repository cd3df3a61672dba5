"""The best step size of every rule, from one batch of runs over a grid of step sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Landscape
from optimizers.stepper import Stepper
from optimizers.sweep import ends, no_rehearsal


@dataclass(frozen=True)
class Tuned:
    """How N rules ended at n step sizes. A step size is good if it brings at least 90 % of the best decrease of the loss."""

    lr: Tensor  # (n,), in rising order
    final_loss: Tensor  # (N, n), NaN where the run diverged
    best: Tensor  # (N,): the step size of the least final loss; NaN if every run diverged
    low: Tensor  # (N,): the good range around it ...
    high: Tensor  # (N,)

    @property
    def decades(self) -> Tensor:
        """Width of the good range in powers of ten, (N,): how much tuning a rule needs."""
        return torch.log10(self.high / self.low)


def tune(
    landscape: Landscape,
    optimizers: Sequence[Stepper],
    lr: Tensor | None = None,
    steps: int = 1000,
    *,
    start: Tensor | None = None,
    seed: int = 0,
    tell: Callable[[int], object] = lambda step: None,
) -> Tuned:
    """The best step size of each rule, from one batch of runs over the values `lr` (n,), by default 64 from 1e-5 to 10.

    All rules and step sizes run side by side from one start (dim,). Raises ValueError for values that are not positive
    and rising. `tell` is called after each step.
    """
    start = landscape.start()[0] if start is None else start
    values = torch.logspace(-5, 1, 64, dtype=torch.float64) if lr is None else torch.as_tensor(lr, dtype=torch.float64)
    if values.ndim != 1 or not len(values) or not bool((values > 0).all()) or not bool((values.diff() > 0).all()):
        raise ValueError("lr must be a one-dimensional tensor of positive step sizes in rising order.")
    column = values.to(start)[:, None]
    rules = [rule.planned(steps, no_rehearsal).at(column) for rule in optimizers]
    _, final, _, _ = ends(landscape, rules, start, steps, seed, tell=tell)
    began = landscape.loss(start)
    known = final.nan_to_num(nan=math.inf)
    least, index = known.min(dim=-1)
    good = known <= (began - 0.9 * (began - least)).unsqueeze(-1)
    good &= known < math.inf
    place = torch.arange(len(values), device=good.device)
    low = torch.where(~good & (place < index[:, None]), place, -1).amax(-1) + 1  # just above the last bad one below
    high = torch.where(~good & (place > index[:, None]), place, len(values)).amin(-1) - 1
    found = (values.to(start)[one].where(least < math.inf, torch.nan) for one in (index, low, high))
    return Tuned(values.to(start), final, *found)
