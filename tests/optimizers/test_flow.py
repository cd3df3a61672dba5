"""Gradient flow against its closed form on a quadratic, and against an integrator of SciPy on a network."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from landscapes import LANDSCAPES, MLP
from optimizers import run
from optimizers.flow import GradientFlow

NETWORK = MLP(data="chebyshev", objective="squared", hidden=(6,), gain=1.5)


@pytest.mark.parametrize("lr", [0.01, 0.1, 1.0])
def test_on_a_quadratic_it_is_the_exponential(lr):
    """Curvatures 1 and 100: steps of up to 50 times the 2/curvature of gradient descent."""
    land, start = LANDSCAPES["quadratic"](kappa=100.0), torch.tensor([1.0, 1.0], dtype=torch.float64)
    path = run(land, GradientFlow(lr=lr), start, 20)
    values, vectors = torch.linalg.eigh(land.hvp(start.expand(2, 2), torch.eye(2, dtype=torch.float64)))
    time = lr * path.step.double()
    exact = ((vectors.T @ start) * torch.exp(-time[:, None] * values)) @ vectors.T
    assert bool((path.loss.diff() <= 0).all())
    # The fast mode moves by exp(-1) or more a substep, where the scheme is right to about 0.01.
    torch.testing.assert_close(path.params, exact, rtol=0, atol=0.02)
    torch.testing.assert_close(path.final, exact[-1], rtol=0, atol=1e-4)


def test_it_is_of_fourth_order():
    land, start = LANDSCAPES["quadratic"](kappa=3.0), torch.tensor([1.0, 1.0], dtype=torch.float64)
    fine = run(land, GradientFlow(lr=1 / 512), start, 512).final
    errors = [float((run(land, GradientFlow(lr=1 / n), start, n).final - fine).norm()) for n in (8, 16, 32)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.3)


def test_on_a_network_it_is_what_scipy_integrates():
    start = NETWORK.start()[0]
    path = run(NETWORK, GradientFlow(lr=0.5), start, 20)
    known = solve_ivp(
        lambda _, point: -NETWORK.grad(torch.from_numpy(point)).numpy(), (0, 10), start.numpy(),
        method="LSODA", rtol=1e-8, atol=1e-10, t_eval=np.arange(21) / 2,
    )  # fmt: skip
    np.testing.assert_allclose(path.params.numpy(), known.y.T, atol=0.01)
    np.testing.assert_allclose(path.loss[-1], NETWORK.loss(torch.from_numpy(known.y[:, -1])), rtol=2e-3)
    again = run(NETWORK, GradientFlow(lr=0.5), start, 20)
    assert torch.equal(path.params, again.params)


def test_a_step_costs_as_many_gradients_as_the_curvature_asks_for():
    land, start = LANDSCAPES["quadratic"](kappa=100.0), torch.tensor([1.0, 1.0], dtype=torch.float64)
    per_step = [float(run(land, GradientFlow(lr=lr), start, 10).evaluations.grad[-1]) / 10 for lr in (1e-3, 0.1, 1.0)]
    assert per_step[0] == 4
    assert per_step[1] == 4 * 6  # 0.1 * 100 / 2, and a margin
    assert per_step[2] == 4 * 58
