"""The gallery: for each page something true and striking. Every claim is one that the tests hold against the numbers.

Its pictures are stills, so that nobody waits for them: `python -m ravine.gallery` draws them from the links, and each holds
the link that it is of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from landscapes import LANDSCAPES, MLP
from landscapes.surfaces import Quadratic
from optimizers import OPTIMIZERS
from ravine.axis import Axis
from ravine.experiment import Experiment
from ravine.outcome import OSCILLATES, outcome
from ravine.player import ASSETS
from ravine.result import Result

STILLS = ASSETS / "gallery"


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


def _catapult() -> Experiment:
    return Experiment(
        LANDSCAPES["catapult_network"](), (OPTIMIZERS["gd"](lr=0.24),), view="edge", steps=80, every=1
    )  # fmt: skip


def _thrown(result: Result) -> bool:
    """The loss rises more than fortyfold and then nearly vanishes, where the curvature is less than half of the start's."""
    loss, sharp = result.trajectory.loss, result.trajectory.probes["sharpness"]
    return bool(loss.max() > 40 * loss[0]) and bool(loss[-1] < 1e-6 * loss[0]) and bool(sharp[-1] < sharp[0] / 2)


def _border() -> Experiment:
    x, y = Axis("lr", 0.02, 0.045, 128), Axis("momentum", 0.3, 0.95, 128)
    rule = OPTIMIZERS["heavy_ball"](lr=0.01)
    return Experiment(LANDSCAPES["himmelblau"](), (rule,), view="sweep", steps=200, over_x=x, over_y=y)


def _rugged(result: Result) -> bool:
    """On a grid of twice the points, a smooth line would be twice as long in cells; this one is thrice."""
    assert result.table is not None
    lost = result.table.diverged_at >= 0

    def length(cells: Tensor) -> int:
        return int((cells[1:] != cells[:-1]).sum() + (cells[:, 1:] != cells[:, :-1]).sum())

    return length(lost) > 3 * length(lost[::2, ::2]) > 0


def _too_large() -> Experiment:
    network = MLP(data="chebyshev", objective="squared", hidden=(20, 20))
    return Experiment(network, (OPTIMIZERS["gd"](lr=0.3),), view="stepsize", steps=150, at=50)


def _goes_on(result: Result) -> bool:
    """Beyond the stable step size, and yet the run ends below a third of its loss."""
    study = result.study
    assert study is not None
    loss = study.along["loss"]
    return study.here["lr"] > 1.1 * study.here["stable_lr"] and bool(loss[-1] < loss[0] / 3)


def _own_plane() -> Experiment:
    network = MLP(data="chebyshev", objective="squared", hidden=(20, 20))
    return Experiment(
        network, (OPTIMIZERS["gd"](lr=0.3),), view="slice", steps=200, every=50, points=41, plane="pca"
    )  # fmt: skip


def _flat(result: Result) -> bool:
    """More than four fifths of the squared distances from the end of the path lie in the plane."""
    assert result.plane is not None
    path = result.trajectory.params.double()
    _, distance = result.plane.project(result.trajectory.params)
    moved = (path - path[-1]).square().sum()
    return bool(moved > 1) and bool(distance.double().square().sum() < 0.2 * moved)


PIECES = (
    Piece("Forever back and forth", "At a step size of exactly 2 / curvature, gradient descent neither settles nor leaves.", _bounce, _bounces),
    Piece("The same step size, and momentum", "After 250 steps in the valley, momentum is at less than a fiftieth of the loss.", _race, _momentum_wins),
    Piece("One start, different ends", "From the same point, rules end in different minima.", _four, _end_apart),
    Piece("The edge of stability", "Training sharpens the loss until the step size can only just cope, and keeps it there.", _edge, _at_the_edge),
    Piece("No clean line", "Look twice as closely at where runs begin to diverge, and the border is three times as long.", _border, _rugged),
    Piece("The catapult", "The loss rises fortyfold, and that is what carries the run to a flatter place, where it vanishes.", _catapult, _thrown),
    Piece("Too large, and it works", "This step is beyond what the curvature allows, and the run goes on to a third of its loss.", _too_large, _goes_on),
    Piece("Two of 481 dimensions", "More than four fifths of the way that training goes lie in a plane of two.", _own_plane, _flat),
)  # fmt: skip


def still(piece: Piece) -> Path:
    """The file of its picture."""
    return STILLS / f"{re.sub('[^a-z]+', '-', piece.title.lower())}.png"


def main() -> None:
    """Draw every still anew: `python -m ravine.gallery`."""
    from ravine.engine import compute
    from ravine.thumbnail import thumbnail

    STILLS.mkdir(exist_ok=True)
    for piece in PIECES:
        still(piece).write_bytes(thumbnail(compute(piece.experiment())))


if __name__ == "__main__":
    main()
