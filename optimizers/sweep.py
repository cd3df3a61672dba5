"""Many runs at once: a rule on a grid of hyper-parameters, as one batch of runs cut into chunks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscapes import Landscape, settings
from landscapes.setting import Number
from optimizers.optimizer import Optimizer
from optimizers.stepper import Stepper
from optimizers.trajectory import iterate


@dataclass(frozen=True)
class Sweep:
    """How each run of a grid ended; the dimensions (n1, n2, ...) are those of `over`, in its order."""

    over: dict[str, Tensor]  # name: (n,), the values of each axis
    final_loss: Tensor  # (n1, n2, ...), NaN where the run diverged
    best_loss: Tensor  # (n1, n2, ...): the least on the way, the start included; NaN where even the start has none
    diverged_at: Tensor  # (n1, n2, ...): the first step whose parameters or loss were not finite, -1 if none


def sweep(
    landscape: Landscape,
    optimizer: Optimizer,
    over: Mapping[str, Any],
    steps: int = 500,
    *,
    start: Tensor | None = None,
    seed: int = 0,
    executor: Executor | None = None,
) -> Sweep:
    """Run `optimizer` for `steps` steps from one start (dim,) at every combination of the values in `over`.

    `over` maps numeric hyper-parameters to values (n,), as {"lr": lrs, "momentum": momenta}; they replace those of
    `optimizer`, in the dtype of the start. Chunks of the grid go to `executor` where one is given; each keeps a few numbers
    per run, however many steps there are. Raises ValueError or TypeError for a name that is no numeric setting, values
    that are not a list of allowed numbers, a start of another shape, and steps below 1.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps = {steps!r} is not allowed: it must be a whole number of at least 1.")
    start = landscape.start()[0] if start is None else start
    if not isinstance(start, Tensor) or not start.is_floating_point() or start.shape != (landscape.dim,):
        raise ValueError(f"start must be a floating-point tensor of shape ({landscape.dim},), one point to start from.")
    axes = _axes(optimizer, over, start)
    shape = [len(values) for values in axes.values()]
    grid = [column.reshape(-1, 1) for column in torch.meshgrid(*axes.values(), indexing="ij")]  # each (runs, 1)
    chunks = [
        dataclasses.replace(optimizer, **dict(zip(axes, columns, strict=True)))
        for columns in zip(*(column.split(landscape.chunk(start)) for column in grid), strict=True)
    ]
    work = [(landscape, [rule], start, steps, seed) for rule in chunks]
    if executor is None:
        parts = [_ends(*one) for one in work]
    else:
        futures = [executor.submit(_ends, *one) for one in work]
        try:
            parts = [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
    final, best, diverged_at = (torch.cat(column, dim=-1).reshape(shape) for column in zip(*parts, strict=True))
    return Sweep(axes, final, best, diverged_at)


def _axes(optimizer: Optimizer, over: Mapping[str, Any], start: Tensor) -> dict[str, Tensor]:
    """The values of each axis as a tensor (n,), checked."""
    known = {name: one for name, one in settings(optimizer).items() if isinstance(one, Number)}
    if not over:
        raise ValueError(f"There is nothing to sweep over: give values for one or more of {', '.join(known)}.")
    axes = {}
    for name, values in over.items():
        if name not in known:
            raise ValueError(
                f"{name!r} is not a numeric setting of {optimizer.name}: it must be one of {', '.join(known)}."
            )
        try:
            axis = torch.as_tensor(values, dtype=start.dtype, device=start.device)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{name} must be a list or a one-dimensional tensor of numbers.") from None
        if axis.ndim != 1 or not len(axis):
            raise ValueError(
                f"{name} has shape {tuple(axis.shape)}: its values must be one-dimensional and at least one."
            )
        known[name].check(name, axis[:, None])
        axes[name] = axis
    return axes


def _ends(
    landscape: Landscape, rules: Sequence[Stepper], start: Tensor, steps: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Final loss, best loss and step of divergence of N rules, each (N, runs)."""
    best = torch.tensor(math.inf).to(start)
    survived = torch.tensor(0, device=start.device)
    for now in itertools.islice(iterate(landscape, rules, start, seed=seed), steps + 1):
        alive = now.alive
        survived = survived + alive
        best = torch.minimum(best, now.loss.where(alive, math.inf))
    return now.loss.where(alive, torch.nan), best.where(best < math.inf, torch.nan), survived.where(~alive, -1)


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
) -> Tuned:
    """The best step size of each rule, from one batch of runs over the values `lr` (n,), by default 64 from 1e-5 to 10.

    All rules and step sizes run side by side from one start (dim,). Raises ValueError for values that are not positive
    and rising.
    """
    start = landscape.start()[0] if start is None else start
    values = torch.logspace(-5, 1, 64, dtype=torch.float64) if lr is None else torch.as_tensor(lr, dtype=torch.float64)
    if values.ndim != 1 or not len(values) or not bool((values > 0).all()) or not bool((values.diff() > 0).all()):
        raise ValueError("lr must be a one-dimensional tensor of positive step sizes in rising order.")
    column = values.to(start)[:, None]
    rules = [rule.planned(steps, _no_rehearsal).at(column) for rule in optimizers]
    final, _, _ = _ends(landscape, rules, start, steps, seed)
    began = landscape.loss(start)
    known = final.nan_to_num(nan=math.inf)
    least, index = known.min(dim=-1)
    good = known <= (began - 0.9 * (began - least)).unsqueeze(-1)
    good &= known < math.inf
    place = torch.arange(len(values), device=good.device)
    low = torch.where(~good & (place < index[:, None]), place, -1).amax(-1) + 1  # just above the last bad one below
    high = torch.where(~good & (place > index[:, None]), place, len(values)).amin(-1) - 1
    ends = (values.to(start)[one].where(least < math.inf, torch.nan) for one in (index, low, high))
    return Tuned(values.to(start), final, *ends)


def _no_rehearsal(stepper: Stepper) -> Tensor:
    raise ValueError("A schedule refined from a rehearsal cannot be tuned in one batch: take another schedule.")
