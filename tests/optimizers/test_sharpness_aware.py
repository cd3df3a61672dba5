"""What the sharpness-aware rules have in common, and where one becomes another."""

import math

import pytest
import torch

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS, run
from tests.optimizers.comparison import PROBLEMS

QUADRATIC, ROSENBROCK = PROBLEMS["quadratic"], PROBLEMS["rosenbrock"]


def path(name, land=ROSENBROCK, **values):
    return run(land, OPTIMIZERS[name](lr=1e-4, **values), steps=30).params


@pytest.mark.parametrize(
    ("name", "values"),
    [("gam", {"alpha": 0.0}), ("grad_reg", {"gamma": 0.0}), ("grad_reg", {"form": "norm", "a": 0.0})],
)
def test_without_its_penalty_a_rule_is_gradient_descent(name, values):
    torch.testing.assert_close(path(name, **values), path("gd"), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "values"),
    [("grad_reg", {"form": "norm", "a": 1.0, "r": 0.05}), ("gam_accelerated", {"be3": 0.0, "gamma": 0.0, "rho": 0.05})],
)
def test_with_the_worst_points_gradient_alone_a_rule_is_sam(name, values):
    torch.testing.assert_close(path(name, **values), path("sam"), rtol=1e-12, atol=1e-12)


def test_on_a_quadratic_differences_of_gradients_are_exact():
    exact = path("grad_reg", QUADRATIC, form="exact")
    for form in ("forward", "backward"):
        torch.testing.assert_close(path("grad_reg", QUADRATIC, form=form, eps=0.3), exact, rtol=1e-12, atol=1e-12)


def test_the_penalties_are_what_they_are_said_to_be():
    """One step is minus lr times the gradient of L + gamma / 2 |g|^2, by automatic differentiation of the loss alone."""
    w = ROSENBROCK.start()[0].requires_grad_()
    (g,) = torch.autograd.grad(ROSENBROCK.loss(w), w, create_graph=True)
    (penalty,) = torch.autograd.grad(g @ g / 2, w)
    step = path("grad_reg", form="exact", gamma=0.2)[1]
    torch.testing.assert_close(step, w.detach() - 1e-4 * (g.detach() + 0.2 * penalty))


@pytest.mark.parametrize("name", ["gam", "gam_accelerated", "grad_reg"])
def test_a_turned_landscape_turns_the_path(name):
    """Norms are over all parameters of a run, so the axes mean nothing."""
    angle, rule = 0.7, OPTIMIZERS[name](lr=1e-3)
    straight, turned = (LANDSCAPES["quadratic"](kappa=20.0, angle=by) for by in (0.0, angle))
    c, s = math.cos(angle), math.sin(angle)
    rotation = torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    path, image = run(straight, rule, steps=30).params, run(turned, rule, straight.start()[0] @ rotation, 30).params
    torch.testing.assert_close(image, path @ rotation, rtol=1e-12, atol=1e-12)
