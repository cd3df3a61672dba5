"""Gradient flow against its closed form on a quadratic, and against an integrator of SciPy."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from landscapes import LANDSCAPES, MLP, Formula
from optimizers import run
from optimizers.flow import TOLERANCE, FlowError, GradientFlow

NETWORK = MLP(data="chebyshev", objective="squared", hidden=(6,), gain=1.5)
# Errors of substeps shrink along a flow downhill, and add up to no more than some ten of them; relative to the start.
NEAR = 20 * TOLERANCE


def exact(land, start, time):
    """The exponential on a quadratic: (R, dim) at times (R,)."""
    values, vectors = torch.linalg.eigh(land.hvp(start.expand(2, 2), torch.eye(2, dtype=torch.float64)))
    return ((vectors.T @ start) * torch.exp(-time[:, None] * values)) @ vectors.T


def integrated(land, start, lr, steps):
    known = solve_ivp(
        lambda _, point: -land.grad(torch.from_numpy(point)).numpy(), (0, lr * steps), start.numpy(),
        method="DOP853", rtol=1e-12, atol=1e-13, t_eval=lr * np.arange(steps + 1),
    )  # fmt: skip
    return torch.from_numpy(known.y.T)


@pytest.mark.parametrize("kappa", [10.0, 100.0])
@pytest.mark.parametrize("lr", [0.01, 0.1, 0.25, 1.0])
def test_on_a_quadratic_it_is_the_exponential(lr, kappa):
    """In its fast directions too, and for steps of up to 50 times the 2/curvature of gradient descent."""
    land, start = LANDSCAPES["quadratic"](kappa=kappa), torch.tensor([1.0, 1.0], dtype=torch.float64)
    path = run(land, GradientFlow(lr=lr), start, 20)
    assert bool((path.loss.diff() <= 0).all())
    torch.testing.assert_close(path.params, exact(land, start, lr * path.step.double()), rtol=0, atol=NEAR)


@pytest.mark.parametrize(
    ("land", "lr"),
    [(LANDSCAPES["rosenbrock"](b=10.0), 0.05), (LANDSCAPES["rosenbrock"](), 1e-3), (LANDSCAPES["beale"](), 0.02), (NETWORK, 0.5)],
    ids=["rosenbrock-10", "rosenbrock", "beale", "network"],
)  # fmt: skip
def test_it_is_what_scipy_integrates(land, lr):
    start = land.start()[0]
    path, known = run(land, GradientFlow(lr=lr), start, 20, probes=[FlowError()]), integrated(land, start, lr, 20)
    torch.testing.assert_close(path.params, known, rtol=0, atol=NEAR * float(start.norm()))
    assert float(path.probes["flow_error"].max()) == TOLERANCE
    assert torch.equal(run(land, GradientFlow(lr=lr), start, 20).params, path.params)


def test_in_float32_it_is_as_exact_as_the_numbers():
    start = NETWORK.start()[0]
    path = run(NETWORK, GradientFlow(lr=0.5), start.float(), 20)
    torch.testing.assert_close(path.params.double(), integrated(NETWORK, start, 0.5, 20), rtol=0, atol=1e-5)


def test_runs_of_a_batch_have_substeps_of_their_own():
    land = LANDSCAPES["beale"]()
    starts = land.start(6, seed=1).reshape(2, 3, 2)
    together = run(land, GradientFlow(lr=0.01), starts, 5)
    for i, j in np.ndindex(2, 3):
        alone = run(land, GradientFlow(lr=0.01), starts[i, j], 5)
        torch.testing.assert_close(together.params[:, i, j], alone.params, rtol=0, atol=NEAR)


def test_at_rest_it_stays():
    land = LANDSCAPES["quadratic"]()
    path = run(land, GradientFlow(lr=0.1), torch.zeros(2, dtype=torch.float64), 3)
    assert torch.equal(path.params, torch.zeros_like(path.params))


def test_a_flow_that_ends_in_finite_time_has_diverged():
    """dw/dt = 4 w^3 from 1 is (1 - 8 t)^-1/2: infinite at t = 1/8, in the 13th step of 0.01."""
    path = run(Formula("0 - x^4 + y^2"), GradientFlow(lr=0.01), torch.tensor([1.0, 0.0], dtype=torch.float64), 20)
    torch.testing.assert_close(
        path.params[12, 0], torch.tensor((1 - 8 * 0.12) ** -0.5, dtype=torch.float64), rtol=1e-5, atol=0
    )
    assert int(path.diverged_at) == 13


def test_along_a_crease_the_error_grows_and_is_on_record():
    """|x| + y^2 / 2: the flow comes to x = 0 at time 0.3 and then slides along it, y = exp(-t) all the while."""
    land, start = Formula("abs(x) + y^2 / 2"), torch.tensor([0.3, 1.0], dtype=torch.float64)
    path = run(land, GradientFlow(lr=0.1), start, 20, probes=[FlowError()])
    allowed = path.probes["flow_error"]
    assert float(allowed[0]) == float(allowed[3]) == TOLERANCE < float(allowed[-1]) <= 0.1
    known = torch.stack([(0.3 - 0.1 * path.step).clamp_min(0), torch.exp(-0.1 * path.step)], -1).double()
    error = (path.params - known).norm(dim=-1)
    assert bool((error <= 20 * allowed).all())
    assert float(error[:3].max()) < NEAR


def test_a_step_costs_as_many_gradients_as_the_curvature_asks_for():
    """Once the fast direction is at rest: substeps of at most 3.3 over the curvature, six gradients each."""
    land, start = LANDSCAPES["quadratic"](kappa=100.0), torch.tensor([1.0, 1.0], dtype=torch.float64)
    counts = run(land, GradientFlow(lr=1.0), start, 10).evaluations.grad
    assert 6 * 100 / 3.3 <= float(counts[-1] - counts[5]) / 5 <= 2 * 6 * 100 / 3.3
