"""The gallery: for each page something true and striking. Every claim is one that the tests hold against the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from landscapes import LANDSCAPES, MLP
from landscapes.surfaces import Quadratic
from optimizers import OPTIMIZERS
from ravine.experiment import Experiment
from ravine.outcome import OSCILLATES, outcome
from ravine.result import Result


@dataclass(frozen=True)
class Piece:
    """One picture of the gallery: what it shows, the experiment, and the check that what it says is so."""

    title: str
    says: str
    experiment: Callable[[], Experiment]
    holds: Callable[[Result], bool]


def _bounce() -> Experiment:
    return Experiment(Quadratic(kappa=10.0), (OPTIMIZERS["gd"](lr=0.2),), start=(-1.6, 1.2), steps=60)


def _bounces(result: Result) -> bool:
    path = result.trajectory
    return outcome(path.params[:, 0], path.loss[:, 0], int(path.diverged_at[0])) == OSCILLATES


def _race() -> Experiment:
    rules = (OPTIMIZERS["gd"](lr=1e-3), OPTIMIZERS["heavy_ball"](lr=1e-3))
    return Experiment(LANDSCAPES["rosenbrock"](), rules, start=(-1.5, 2.0), steps=250)


def _momentum_wins(result: Result) -> bool:
    slow, fast = result.trajectory.loss[-1].tolist()
    return fast < slow / 50


def _four() -> Experiment:
    rules = tuple(
        OPTIMIZERS[name](lr=lr) for name, lr in (("gd", 0.01), ("heavy_ball", 0.01), ("adam", 0.3), ("signsgd", 0.1))
    )
    return Experiment(LANDSCAPES["himmelblau"](), rules, start=(-0.27, -0.92), steps=200)


def _end_apart(result: Result) -> bool:
    """Of four rules from one point, at least two end in different minima."""
    ends = result.trajectory.final.double()
    minima = LANDSCAPES["himmelblau"]().minimizers()
    assert minima is not None
    return len(set(torch.cdist(ends, minima.double()).argmin(1).tolist())) >= 2


def _edge() -> Experiment:
    network = MLP(data="chebyshev", objective="squared", hidden=(20, 20))
    return Experiment(network, (OPTIMIZERS["gd"](lr=0.15),), view="edge", steps=500, every=20)


def _at_the_edge(result: Result) -> bool:
    """The sharpness begins below half of 2 / eta and over the last third of its measurements stays within a tenth of it."""
    sharp = result.trajectory.probes["sharpness"].double()
    ratio = sharp[~sharp.isnan()] * float(result.experiment.optimizers[0].rule.lr) / 2
    return bool(ratio[0] < 0.5) and abs(float(ratio[-len(ratio) // 3 :].mean()) - 1) < 0.1


PIECES = (
    Piece("Forever back and forth", "At a step size of exactly 2 / curvature, gradient descent neither settles nor leaves.", _bounce, _bounces),
    Piece("The same step size, and momentum", "After 250 steps in the valley, momentum is at less than a fiftieth of the loss.", _race, _momentum_wins),
    Piece("One start, different ends", "From the same point, rules end in different minima.", _four, _end_apart),
    Piece("The edge of stability", "Training sharpens the loss until the step size can only just cope, and keeps it there.", _edge, _at_the_edge),
)  # fmt: skip
