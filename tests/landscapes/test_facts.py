"""What landscapes declare of themselves (landscapes/facts.py), for every kind that does: against eigenvalues by ARPACK, gradient
flow by LSODA, and gradient descent. Each check is also shown to fail where the fact does not hold.
"""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, eigsh

from landscapes import LANDSCAPES, Surface
from landscapes.setting import settings

F64 = torch.float64


def lands():
    """Every kind with its defaults, and where it has a seed with another one."""
    for kind in LANDSCAPES.values():
        if kind.name != "mlp":
            yield kind()
            if "seed" in settings(kind):
                yield kind(seed=5)
    # Where more is known than with the defaults.
    yield LANDSCAPES["matrix_factorization"](rows=3, columns=2, rank=1)
    yield LANDSCAPES["matrix_sensing"](size=3, samples=40, rank=3)
    yield LANDSCAPES["deep_linear"](depth=3, width=1, rank=1, scale=0.5)
    yield LANDSCAPES["quadratic_regression"](outputs=1, parameters=8)
    yield LANDSCAPES["matrix_factorization"](rows=1, columns=1, rank=3)
    yield LANDSCAPES["scalar_network"](depth=2, target=0.5)
    yield LANDSCAPES["quadratic"](kappa=30.0, angle=0.4)
    for seed in (1, 6):  # starting farther out than sqrt 2, and nearer
        yield LANDSCAPES["phase_retrieval"](features=1, scale=2.0, seed=seed)


ALL = list(lands())


def knowing(fact, *args, seeds=2):
    """Those of the landscapes that know a fact, as parameters of a test."""
    found = [land for land in ALL if getattr(land, fact)(*(arg(land) for arg in args)) is not None]
    if seeds == 1:  # what takes long is done with one of the two seeds
        found = list({land.name: land for land in found}.values())
    assert len(found) >= 2
    return pytest.mark.parametrize(
        "land", found, ids=lambda land: f"{land.name}-{getattr(land, 'seed', '')}".strip("-")
    )


def inside(land):
    """A start without symmetries: rows after the first are drawn."""
    return land.start(2, seed=1)[1]


def top(land, params):
    """The largest Hessian eigenvalue by ARPACK, or densely where it takes no matrix this small."""
    if land.dim < 8:
        eye = torch.eye(land.dim, dtype=F64)
        return float(np.linalg.eigvalsh(land.hvp(params, eye).numpy())[-1])
    operator = land.hessian_operator(params)
    product = LinearOperator(
        (land.dim, land.dim),
        matvec=lambda v: operator(torch.from_numpy(v.reshape(-1).copy())).numpy(),
        dtype=np.float64,
    )
    start = np.random.default_rng(0).standard_normal(land.dim)
    return float(eigsh(product, k=1, which="LA", v0=start, tol=1e-10, return_eigenvectors=False)[0])


def flow(land, start, time, *, by_logarithm=False):
    """Where gradient flow on the loss, or on its logarithm (the same path, at another speed), is at `time`."""

    def slope(_, w):
        loss, grad = land.value_and_grad(torch.from_numpy(w))
        return -(grad / loss if by_logarithm else grad).numpy()

    def jacobian(_, w):
        return -land.hvp(torch.from_numpy(w), torch.eye(land.dim, dtype=F64)).numpy()

    given = {} if by_logarithm else {"jac": jacobian}
    found = solve_ivp(slope, (0, time), start.numpy(), method="LSODA", rtol=1e-8, atol=1e-10, **given)
    assert found.success, found.message
    return torch.from_numpy(found.y[:, -1])


def descend(land, params, lr, steps):
    for _ in range(steps):
        params = params - lr * land.grad(params)
    return params


def scaled(a, b):
    """Largest difference, in units of the larger numbers."""
    return float((a - b).abs().max() / a.abs().max().clamp_min(b.abs().max()))


@knowing("infimum")
def test_no_point_lies_below_the_infimum(land):
    floor = land.infimum()
    points = torch.cat([land.start(30, seed=2), 3 * land.start(30, seed=3)])
    assert float(land.loss(points).min()) >= floor - 1e-12
    if land.minimizers() is not None:
        torch.testing.assert_close(
            land.loss(land.minimizers()).min(), torch.tensor(floor, dtype=F64), rtol=1e-10, atol=1e-12
        )
        return

    def evaluate(w):
        loss, grad = land.value_and_grad(torch.from_numpy(w))
        return float(loss), grad.numpy()

    found = minimize(evaluate, land.start()[0].numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    assert floor <= found.fun < floor + 1e-3  # not attained, but approached


@knowing("minimizers")
def test_minimizers_are_stationary_and_nothing_near_is_lower(land):
    found = land.minimizers()
    loss, grad = land.value_and_grad(found)
    assert found.dtype == F64
    assert found.shape[1:] == (land.dim,)
    assert float(grad.abs().max()) <= 1e-11 * max(1.0, float(found.abs().max()))
    torch.testing.assert_close(loss, loss.min().expand_as(loss), rtol=1e-11, atol=1e-12)
    noise = torch.randn(40, 1, land.dim, generator=torch.Generator().manual_seed(0), dtype=F64)
    assert bool((land.loss(found + 1e-2 * noise) >= loss.min() - 1e-13).all())
    assert float(land.grad(found + 0.1).norm(dim=-1).max()) > 1e-4  # the check can fail


@knowing("known_sharpness")
def test_known_sharpness_is_the_top_eigenvalue(land):
    points, values = land.known_sharpness()
    assert points.shape == (len(values), land.dim)
    for point, value in zip(points, values.tolist(), strict=True):
        assert top(land, point) == pytest.approx(value, rel=1e-8, abs=1e-10)
    assert top(land, 1.2 * points[0] + 0.3 * inside(land)) != pytest.approx(float(values[0]), rel=1e-4)


@knowing("conserved", inside)
def test_gradient_flow_keeps_what_is_conserved_and_large_steps_do_not(land):
    start = inside(land)
    end = flow(land, start, 0.5)
    assert scaled(start, end) > 1e-3  # it moved
    kept = land.conserved(start)
    drift = float((land.conserved(end) - kept).abs().max())
    assert drift <= 1e-6 * float(start.square().sum())
    moved = descend(land, start, 0.5 / abs(top(land, start)), 5)
    assert float((land.conserved(moved) - kept).abs().max()) > 30 * drift
    batch = torch.stack([start, end]).expand(3, 2, -1)
    torch.testing.assert_close(land.conserved(batch)[1, 0], kept)


@knowing("gfs_sharpness", inside, seeds=1)
def test_gfs_sharpness_is_the_sharpness_where_the_flow_ends(land):
    starts = land.start(3, seed=1)
    declared = land.gfs_sharpness(starts)
    for start, value in zip(starts[1:], declared[1:].tolist(), strict=True):
        end = flow(land, start, 1e4)
        assert float(land.grad(end).norm()) < 1e-6
        assert top(land, end) == pytest.approx(value, rel=1e-5)
    assert top(land, inside(land)) != pytest.approx(float(declared[1]), rel=1e-4)  # not the sharpness here
    broken = starts.clone()
    broken[1, 0] = math.nan
    found = land.gfs_sharpness(broken.expand(2, -1, -1))
    assert found.shape == (2, 3)
    assert bool(found[:, 1].isnan().all())
    torch.testing.assert_close(found[1, [0, 2]], declared[[0, 2]])
    assert land.gfs_sharpness(starts.float()).dtype == torch.float32
    torch.testing.assert_close(land.gfs_sharpness(starts.float()).double(), declared, rtol=1e-4, atol=1e-6)


@knowing("largest_step", inside)
def test_gradient_descent_is_bounded_below_the_largest_step_only(land):
    bounded_below_the_largest_step_only(land)


def test_the_largest_step_of_least_squares():
    bounded_below_the_largest_step_only(LANDSCAPES["quadratic_regression"](outputs=3, parameters=5, curvature=0.0))


def bounded_below_the_largest_step_only(land):
    start = inside(land)
    step = float(land.largest_step(start))
    size = max(1.0, float(start.norm()))
    if math.isinf(step):  # a first step may lead far away; what follows does not
        for lr in (10.0, 1e3):
            far = descend(land, start, lr, 1)
            assert float(descend(land, far, lr, 500).norm()) < 1.1 * float(far.norm())
    else:
        assert float(descend(land, start, 0.97 * step, 500).norm()) < 20 * size
        assert not float(descend(land, start, 1.03 * step, 500).norm()) < 1e6 * size
    assert land.largest_step(start.expand(2, 3, -1)).shape == (2, 3)


@knowing("bias_target", seeds=1)
def test_gradient_flow_takes_the_predictor_to_the_bias_target(land):
    start, goal = land.start()[0], land.bias_target()
    # Where there is no minimum the direction comes closer as one over the logarithm of time: the flow on log L is that fast.
    forever = land.minimizers() is None
    end = flow(land, start, 200.0 if forever else 1e3, by_logarithm=forever)
    distance = (land.predictor(end) - goal).norm() / goal.norm()
    assert float(distance) < (0.05 if forever else 0.02)
    assert float((land.predictor(start) - goal).norm() / goal.norm()) > 0.5  # it was far away
    assert land.predictor(torch.stack([start, end])).shape == (2, len(goal))


@knowing("groups")
def test_groups_divide_the_samples(land):
    groups = land.groups()
    assert sorted(torch.cat(list(groups.values())).tolist()) == list(range(land.samples))
    start = inside(land)
    losses = {name: float(land.loss(start, members)) for name, members in groups.items()}
    total = sum(losses[name] * len(members) for name, members in groups.items())
    assert total / land.samples == pytest.approx(float(land.loss(start)), rel=1e-12)
    assert max(losses.values()) > 1.05 * min(losses.values())  # they do tell different stories


def test_a_surface_and_a_network_may_know_nothing():
    saddle = LANDSCAPES["saddle"]()
    assert isinstance(saddle, Surface)
    facts = (saddle.infimum(), saddle.known_sharpness(), saddle.bias_target(), saddle.groups())
    at = saddle.start()
    assert facts == (None,) * 4
    assert [saddle.conserved(at), saddle.gfs_sharpness(at), saddle.largest_step(at), saddle.predictor(at)] == [None] * 4
