"""Curves of low loss: the Bezier formula, and a wall that a curve goes around."""

import pytest
import torch

from landscapes import LANDSCAPES, MLP
from landscapes.alignment import line
from optimizers import OPTIMIZERS, run
from optimizers.curves import Curve, connected

# A ring of minima of radius one: the straight way from (-1, 0) to (1, 0) goes over the hill in its middle.
RING = LANDSCAPES["formula"](expression="(x^2 + y^2 - 1)^2 + 0.01*y")
LEFT, RIGHT = torch.tensor([-1.0, 0.0]).double(), torch.tensor([1.0, 0.0]).double()


def test_the_curve_is_that_of_bezier():
    curve = Curve(inner=RING, first=LEFT, second=RIGHT)
    control = torch.tensor([0.3, 2.0], dtype=torch.float64)
    for t, point in zip((0.0, 0.25, 1.0), curve.at(control, torch.tensor([0.0, 0.25, 1.0]).double()), strict=True):
        # De Casteljau: the middle of the middles.
        one, two = torch.lerp(LEFT, control, t), torch.lerp(control, RIGHT, t)
        torch.testing.assert_close(point, torch.lerp(one, two, t))
    assert torch.autograd.gradcheck(curve.loss, control.requires_grad_())


def test_a_curve_goes_around_a_hill():
    straight = line(RING, LEFT, RIGHT)
    assert straight.barrier == pytest.approx(1.0, abs=0.01)
    curve = Curve(inner=RING, first=LEFT, second=RIGHT)
    off = Curve(inner=RING, first=LEFT, second=RIGHT).start()[0] + torch.tensor([0.0, -0.1]).double()
    control = run(curve, OPTIMIZERS["gd"](lr=0.1), off, 300).final
    share = torch.linspace(0, 1, 50).double()
    assert RING.loss(curve.at(control, share)).max() < 0.2
    # Not trained, the curve is the straight line.
    unmoved = connected(RING, LEFT, RIGHT, OPTIMIZERS["gd"](lr=0.1), steps=1)
    assert unmoved.barrier > 0.9


def test_two_networks_are_connected_below_the_wall_between_them():
    land = MLP(hidden=(16,), activation="relu", subset=300)
    rule = OPTIMIZERS["adam"](lr=0.02)
    ends = [run(land, rule, land.start(seed=seed, dtype=torch.float32)[0], 60).final for seed in (0, 1)]
    straight = line(land, *ends)
    bent = connected(land, *ends, OPTIMIZERS["adam"](lr=0.02), steps=60)
    assert straight.barrier > 0.1
    assert bent.barrier < 0.35 * straight.barrier
    torch.testing.assert_close(bent.loss[[0, -1]], straight.loss[[0, -1]])


def test_points_of_another_landscape_are_refused():
    with pytest.raises(ValueError, match="first must be a floating-point tensor"):
        connected(RING, torch.zeros(3), RIGHT, OPTIMIZERS["gd"]())
