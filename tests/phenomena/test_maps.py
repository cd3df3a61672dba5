"""Rates on an ill-conditioned quadratic, and maps over step sizes whose boundaries are coastlines, not lines.

Each claim has a negative control: a case in which the same measurement must say otherwise.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from landscapes import LANDSCAPES, Formula, Landscape, Layout
from optimizers import OPTIMIZERS, run, sweep

WELL = Formula("(x^2 - 1)^2/4 + 0*y", window=((-2, 2), (-2, 2)))
GD = OPTIMIZERS["gd"]()
UNTIL = 300


@dataclass(frozen=True)
class Diagonal(Landscape):
    """Half the sum of curvature times square, over 50 curvatures from 1 to 100 in even ratios."""

    name, label = "diagonal", "Diagonal"
    analytic = True
    equation = r"\\frac{1}{2} \\sum_i \\lambda_i w_i^2"
    layout = Layout.of([("w", (50,))])

    def curvatures(self, like):
        return torch.logspace(0, 2, 50, dtype=like.dtype)

    def start(self, runs=1, seed=0, *, dtype=torch.float64, device="cpu"):
        return torch.ones(runs, 50, dtype=dtype)

    def _loss(self, params, batch):
        return (self.curvatures(params) * params.square()).sum(-1) / 2

    def _value_and_grad(self, params, batch):
        return self._loss(params, batch), self.curvatures(params) * params

    def _hessian_operator(self, params, batch):
        return lambda vectors: self.curvatures(params) * vectors


def rate(rule):
    """The factor by which |w| shrinks each step, fitted to the last two thirds of 400."""
    norms = run(Diagonal(), rule, steps=400).params.norm(dim=-1).log().numpy()
    steps = np.arange(401)
    return math.exp(np.polyfit(steps[134:], norms[134:], 1)[0])


def test_momentum_replaces_the_condition_number_by_its_root():
    """Polyak 1964; Nesterov; Lessard, Recht and Packard, arXiv:1408.3595."""
    least, most = 1.0, 100.0
    kappa, root = most / least, math.sqrt(most / least)
    cases = {
        "gd": (OPTIMIZERS["gd"](lr=2 / (most + least)), (kappa - 1) / (kappa + 1)),
        "heavy_ball": (
            OPTIMIZERS["heavy_ball"](lr=4 / (math.sqrt(most) + math.sqrt(least)) ** 2, momentum=((root - 1) / (root + 1)) ** 2),
            (root - 1) / (root + 1),
        ),
        "nag": (OPTIMIZERS["nag"](lr=1 / most, momentum=(root - 1) / (root + 1)), 1 - 1 / root),
        "nag tuned": (
            OPTIMIZERS["nag"](
                lr=4 / (3 * most + least), momentum=(math.sqrt(3 * kappa + 1) - 2) / (math.sqrt(3 * kappa + 1) + 2)
            ),
            1 - 2 / math.sqrt(3 * kappa + 1),
        ),
    }  # fmt: skip
    for name, (rule, expected) in cases.items():
        assert rate(rule) == pytest.approx(expected, abs=6e-3), name
    # The control: without its momentum the accelerated step size is as slow as the condition number says.
    assert rate(OPTIMIZERS["gd"](lr=1 / most)) == pytest.approx(1 - 1 / kappa, abs=6e-3)


def test_a_thousandth_beside_two_over_the_curvature_decides():
    """|w| after 2000 steps is (1 -+ 0.002)^2000: a factor of 3000 between the two."""
    bowl = Formula("7*x^2/2 + 0*y", window=((-2, 2), (-2, 2)))
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    lrs = [2 / 7 * (1 - 1e-3), 2 / 7 * (1 + 1e-3)]
    table = sweep(bowl, GD, {"lr": lrs}, steps=2000, start=start)
    for loss, factor in zip(table.final_loss.tolist(), (1 - 0.002, 1 + 0.002), strict=True):
        assert 0.5 * math.log(2 * loss / 7) == pytest.approx(2000 * math.log(factor), abs=1e-6)


def test_the_period_of_the_double_well_doubles_until_it_diverges():
    """A stable minimum below eta = 1, a 2-cycle of gap sqrt(1 - 1/eta) until sqrt(5) - 1, bounded until 2."""
    lrs = torch.linspace(0.8, 2.1, 131, dtype=torch.float64)
    start = torch.tensor([0.7, 0.0], dtype=torch.float64)
    path = run(WELL, OPTIMIZERS["gd"](lr=lrs[:, None]), start, steps=3000)
    tail = path.params[-8:, :, 0]  # (8, eta)
    bounded = path.diverged_at == -1
    still = (tail[0] - tail[1]).abs() < 1e-6
    paired = ((tail[0] - tail[2]).abs() < 1e-6) & ~still
    assert float(lrs[still & bounded].max()) == pytest.approx(1.0, abs=0.021)
    assert float(lrs[paired & bounded].max()) == pytest.approx(math.sqrt(5) - 1, abs=0.021)
    inside = paired & bounded & (lrs > 1.05)
    gap = (tail[0] - tail[1]).abs()
    torch.testing.assert_close(gap[inside], (1 - 1 / lrs[inside]).sqrt(), rtol=0, atol=1e-4)
    assert float(lrs[bounded].max()) == pytest.approx(2.0, abs=0.021)


def dimension(mask):
    """Box-counting slope of the boundary of a mask (n, n), over boxes of 1 to 64 pixels."""
    edge = np.zeros_like(mask)
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    sizes = [size for size in (1, 2, 4, 8, 16, 32, 64) if 4 * size <= len(mask)]
    counts = [edge.reshape(len(edge) // s, s, len(edge) // s, s).any((1, 3)).sum() for s in sizes]
    return -np.polyfit(np.log(sizes), np.log(counts), 1)[0]


def test_where_a_run_ends_is_a_coastline():
    """Sohl-Dickstein 2024, arXiv:2402.06184, on the double well: which side a bounded run ends on, over step size and start."""
    points = 256
    lrs = torch.linspace(0.5, 2.2, points, dtype=torch.float64)
    starts = torch.stack([torch.linspace(-2.5, 2.5, points, dtype=torch.float64), torch.zeros(points)], dim=-1)
    rule = OPTIMIZERS["gd"](lr=lrs[:, None, None])
    path = run(WELL, rule, starts, steps=UNTIL, record_every=UNTIL)
    bounded = (path.diverged_at == -1).numpy()
    right = bounded & (path.final[..., 0] > 0).numpy()
    assert 1.4 < dimension(right) < 1.9
    # The control, by the same measure: whether the run stays bounded at all is an ordinary line.
    assert dimension(bounded) == pytest.approx(1.0, abs=0.1)
    # A sweep over the same grid says the same of every run.
    table = sweep(
        WELL, OPTIMIZERS["gd"](), {"lr": lrs, "start_x": starts[:, 0]}, UNTIL, start=torch.zeros(2, dtype=torch.float64)
    )
    np.testing.assert_array_equal((table.diverged_at == -1).numpy(), bounded)


def test_the_boundary_of_divergence_can_be_a_coastline_too():
    """Heavy ball on Himmelblau's surface: the map that the page opens with, and that of plain descent on a bowl beside it."""
    lrs = torch.logspace(math.log10(0.02), math.log10(0.06), 128, dtype=torch.float64)
    over = {"lr": lrs, "momentum": torch.linspace(0.4, 0.95, 128, dtype=torch.float64)}
    coast = sweep(LANDSCAPES["himmelblau"](), OPTIMIZERS["heavy_ball"](), over, steps=200)
    bowl = sweep(LANDSCAPES["quadratic"](kappa=80.0), OPTIMIZERS["heavy_ball"](), over, steps=1500)
    rough, smooth = ((one.diverged_at == -1).numpy() for one in (coast, bowl))
    assert 0.05 < rough.mean() < 0.95
    assert 0.05 < smooth.mean() < 0.95
    assert dimension(rough) > 1.3
    assert dimension(smooth) == pytest.approx(1.0, abs=0.1)
