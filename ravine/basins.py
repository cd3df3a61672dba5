"""Where the starts of a grid end: basins of attraction of one rule on one surface."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Surface
from optimizers import running
from ravine.experiment import DTYPES, Experiment
from ravine.telling import Tell, silent
from ravine.threads import one_thread

SIDE = 10  # starts per axis
NAMED = 6  # places that get a color of their own; further ones are one group
_TOLD = 20  # times on the way at which it can say how far it is
_NEAR = 0.02  # of the window's diagonal: ends so close together count as one place


@dataclass(frozen=True)
class Basins:
    starts: Tensor  # (SIDE**2, 2)
    ends: Tensor  # (SIDE**2, 2)
    group: (
        Tensor  # (SIDE**2,): the place at which a start ends, largest first; NAMED for further ones, -1 if it diverges
    )

    def places(self) -> list[tuple[int, int, Tensor]]:
        """Group, how many starts end there, and the middle (2,) of their ends; diverged starts are left out."""
        groups = sorted(set(self.group[self.group >= 0].tolist()))
        return [(one, int((self.group == one).sum()), self.ends[self.group == one].mean(0)) for one in groups]


def asked(experiment: Experiment) -> bool:
    """Does an experiment ask for the basins of a run that it has?"""
    return 1 <= experiment.basins <= len(experiment.optimizers)


def basins(experiment: Experiment, tell: Tell = silent) -> Basins:
    """Where every start of a grid over the window ends under the rule that the experiment asks about, run as far as it does."""
    stepper = experiment.optimizers[experiment.basins - 1]
    surface = experiment.landscape
    assert isinstance(surface, Surface)
    low, high = torch.tensor(surface.window, dtype=torch.float64).T
    share = (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE
    grid = low + (high - low) * torch.stack(torch.meshgrid(share, share, indexing="xy"), dim=-1).reshape(-1, 2)
    starts = grid.to(dtype=DTYPES[experiment.dtype], device=experiment.device)
    steps = experiment.steps
    with one_thread():
        for path in running(
            surface,
            stepper,
            starts,
            steps,
            experiment.seed,
            record_every=-(-steps // _TOLD),
            report_every=1,
            report_after=0.2,
        ):
            tell(int(path.step[-1]) / steps, f"step {int(path.step[-1])} of {steps}")
    ends, alive = path.final, path.diverged_at < 0
    near = torch.cdist(ends.double(), ends.double()) < _NEAR * float((high - low).norm())
    return Basins(starts, ends, grouped(near & alive & alive[:, None], alive))


def grouped(near: Tensor, alive: Tensor) -> Tensor:
    """Connected parts (K,) of a symmetric relation (K, K): the largest is 0, those from NAMED on are NAMED, the dead -1."""
    label = torch.arange(len(near))
    for _ in range(len(near)):
        least = torch.where(near, label, len(near)).amin(1).minimum(label)
        if bool((least == label).all()):
            break
        label = least
    counts = torch.bincount(label[alive], minlength=len(near))
    rank = counts.argsort(descending=True, stable=True).argsort(stable=True)
    return torch.where(alive, rank[label].clamp(max=NAMED), -1)
