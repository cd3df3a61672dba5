"""What is drawn around an iterate, against derivatives by sympy and against rules solved by hand."""

import numpy as np
import pytest
import sympy
import torch

from landscapes import LANDSCAPES, Formula
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, composed
from ravine import Experiment, compute
from ravine.around import AROUND
from ravine.picture import descend_view
from ravine.surroundings import GRID, largest_curvature, surroundings
from tests.ravine.test_picture import single, unpack

TEXT = "x^4 - 2*x^2*y + 3*y^2 + x"


def around(*rules, wanted=tuple(AROUND), **changes):
    values = {"landscape": Formula(TEXT), "optimizers": rules, "start": (0.7, -0.4), "steps": 12}
    result = compute(Experiment(**(values | changes)))
    return result, surroundings(result, wanted)


def derivatives(points):
    """Gradient (..., 2) and Hessian xx, xy, yy (..., 3) by sympy."""
    x, y = sympy.symbols("x y")
    f = sympy.sympify(TEXT.replace("^", "**"))
    asked = [f.diff(x), f.diff(y), f.diff(x, 2), f.diff(x, y), f.diff(y, 2)]
    values = [
        np.broadcast_to(sympy.lambdify((x, y), one)(points[..., 0], points[..., 1]), points.shape[:-1]) for one in asked
    ]
    return np.stack(values[:2], -1), np.stack(values[2:], -1)


def test_slope_and_curvature_are_those_of_the_formula():
    result, found = around(OPTIMIZERS["gd"](lr=0.05), OPTIMIZERS["adam"](lr=0.1))
    gradient, hessian = derivatives(result.trajectory.params.numpy())
    np.testing.assert_allclose(found["gradient"].numpy(), gradient, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["curvature"].numpy(), hessian, rtol=1e-12, atol=1e-12)


def test_the_last_step_of_heavy_ball_is_its_velocity():
    momentum, lr = 0.8, 0.02
    result, found = around(OPTIMIZERS["heavy_ball"](lr=lr, momentum=momentum), wanted=["step"])
    velocity = np.zeros(2)
    gradients, _ = derivatives(result.trajectory.params.numpy())
    for row, gradient in enumerate(gradients[:-1, 0], start=1):
        velocity = momentum * velocity + gradient
        np.testing.assert_allclose(found["step"][row, 0].numpy(), -lr * velocity, rtol=1e-9, atol=1e-12)
    assert found["step"][0].abs().sum() == 0


def test_gradient_descent_answers_to_all_sides_alike():
    lr = 0.03
    _, found = around(OPTIMIZERS["gd"](lr=lr), wanted=["response"])
    np.testing.assert_allclose(found["response"][:, 0].numpy(), [[lr**2, 0, lr**2]] * 13, rtol=1e-9, atol=1e-12)


def test_rmsprop_answers_as_its_equation_says():
    """w - lr g / (sqrt(v) + eps) with v = a v + (1 - a) g^2, differentiated by g by hand; it acts on each axis alone."""
    lr, a, eps = 0.05, 0.9, 1e-8
    result, found = around(OPTIMIZERS["rmsprop"](lr=lr, a=a, eps=eps), wanted=["response"])
    gradients, _ = derivatives(result.trajectory.params.numpy())
    v = np.zeros(2)
    for row, g in enumerate(gradients[:, 0]):
        v = a * v + (1 - a) * g**2
        size = np.sqrt(v)
        slope = lr * (1 / (size + eps) - (1 - a) * g**2 / (size * (size + eps) ** 2))
        xx, xy, yy = found["response"][row, 0].numpy()
        np.testing.assert_allclose(
            [xx, yy], slope**2, rtol=1e-4, atol=1e-12
        )  # central differences at 1e-4 of the gradient
        assert abs(xy) < 1e-9


def test_every_rule_and_layer_can_be_asked():
    layered = composed(OPTIMIZERS["heavy_ball"](), SCHEDULES["cosine"](), [WRAPPERS["lookahead"]])
    for kind in OPTIMIZERS.values():
        result, found = around(kind(), layered, steps=3)
        for name, width in (("gradient", 2), ("response", 3), ("stability", 1)):
            assert found[name].shape == (4, 2, width), kind.name
        assert torch.isfinite(found["response"]).all(), kind.name


def test_the_region_of_stability_is_the_threshold_on_the_largest_curvature():
    _, found = around(OPTIMIZERS["gd"](lr=0.1), OPTIMIZERS["adam"](lr=0.1), wanted=["stability"])
    assert found["stability"][:, 0, 0].tolist() == [20.0] * 13
    assert found["stability"][:, 1].isnan().all()
    surface = Formula(TEXT)
    grid = largest_curvature(surface)
    (left, right), (low, high) = surface.window
    for row, column in ((0, 0), (7, 50), (GRID - 1, 3)):
        point = np.array([left + (right - left) * column / (GRID - 1), low + (high - low) * row / (GRID - 1)])
        xx, xy, yy = derivatives(point)[1]
        assert float(grid[row, column]) == pytest.approx(np.linalg.eigvalsh([[xx, xy], [xy, yy]])[-1], rel=1e-12)


def test_a_packet_holds_what_was_asked_for_and_no_more():
    result, found = around(OPTIMIZERS["gd"](lr=0.05), OPTIMIZERS["adam"](lr=0.1))
    header, floats = unpack(descend_view(result, "id", around=surroundings(result, ["curvature", "gradient"])))
    assert header["overlays"] == ["gradient", "curvature"]
    blocks = floats.reshape(2, 4 + 2 + 3, 13)
    np.testing.assert_array_equal(blocks[1, 4:6].T, single(found["gradient"][:, 1]))
    np.testing.assert_array_equal(blocks[0, 6:].T, single(found["curvature"][:, 0]))
    header, floats = unpack(descend_view(result, "id", around=surroundings(result, ["stability"])))
    np.testing.assert_array_equal(floats[-(GRID**2) :].reshape(GRID, GRID), single(largest_curvature(Formula(TEXT))))
    assert (
        unpack(descend_view(result, "id", around=surroundings(result, ["step"]), only_start=True))[0]["overlays"] == []
    )


def test_an_unknown_aspect_is_told():
    with pytest.raises(ValueError, match="'torsion' is unknown: it must be one of gradient"):
        around(OPTIMIZERS["gd"](), wanted=["torsion"])
    assert LANDSCAPES["formula"] is Formula
