"""Where gradient flow ends: against the closed forms that some models have, and for others against an integrator of SciPy.

The claim is an error of the sharpness of about the tolerance, 1e-5; checks allow five times as much.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from landscapes import LANDSCAPES, MLP, Formula, flow_end
from landscapes.curvature import hessian
from optimizers import OPTIMIZERS, run

F64 = torch.float64
CLAIM = 5e-5


def top(land, params):
    return torch.linalg.eigvalsh(hessian(land, params))[..., -1]


KNOWN = {
    "scalar_network": {},
    "opposing_signals": {"regular": 60, "pairs": 4},
    "diagonal_network": {"features": 12, "samples": 5, "nonzero": 3},
    "catapult_network": {"units": 8},
    "scale_invariant": {"features": 5, "samples": 10},
    "matrix_factorization": {"rows": 3, "columns": 2, "rank": 1},
    "matrix_sensing": {"size": 3, "samples": 40, "rank": 2},  # a minimum that is flat to second order across the rank
    "quadratic_regression": {"outputs": 1, "parameters": 8},
    "stability_valley": {},
    "catapult": {},
    "log_cosh_valley": {},
}


@pytest.mark.parametrize("name", KNOWN)
def test_it_ends_where_the_closed_form_says(name):
    land = LANDSCAPES[name](**KNOWN[name])
    starts = land.start(3, seed=1)[1:]
    known, found = land.gfs_sharpness(starts), flow_end(land, starts)
    assert bool(torch.isfinite(known).all())
    torch.testing.assert_close(found.sharpness, known, rtol=CLAIM, atol=0)
    torch.testing.assert_close(top(land, found.params), known, rtol=CLAIM, atol=0)
    assert float((top(land, starts) / known - 1).abs().max()) > 1e-3  # not the sharpness at the start


OTHERS = {
    "deep_linear": LANDSCAPES["deep_linear"](width=3, rank=2, scale=0.2),
    "matrix_factorization": LANDSCAPES["matrix_factorization"](rows=3, columns=2, rank=2),
    "quadratic_regression": LANDSCAPES["quadratic_regression"](outputs=5, parameters=8),
    "phase_retrieval": LANDSCAPES["phase_retrieval"](features=4, samples=30),
    "rosenbrock": LANDSCAPES["rosenbrock"](),  # a narrow bent valley: curvatures of 0.4 and 1000
    "himmelblau": LANDSCAPES["himmelblau"](),
    "network": MLP(data="teacher_student", objective="squared", hidden=(3,), subset=8),
}


@pytest.mark.parametrize("land", OTHERS.values(), ids=OTHERS)
def test_it_ends_where_scipy_says(land):
    start = land.start(2, seed=2)[-1]
    path = solve_ivp(
        lambda _, w: -land.grad(torch.from_numpy(w)).numpy(), (0, 1e4), start.numpy(), method="LSODA",
        jac=lambda _, w: -hessian(land, torch.from_numpy(w)).numpy(), rtol=1e-7, atol=1e-9,
    )  # fmt: skip
    end = torch.from_numpy(path.y[:, -1])
    assert float(land.grad(end).norm()) < 1e-6
    torch.testing.assert_close(flow_end(land, start).sharpness, top(land, end), rtol=CLAIM, atol=0)


def test_balanced_layers_end_at_the_flattest_minimum():
    """Mulayoff and Michaeli 2020: from layers with W_{l+1}^T W_{l+1} = W_l W_l^T the flow keeps them so, to W_l = S^(1/N)."""
    land = LANDSCAPES["deep_linear"](depth=3, width=3, rank=3, top=2.0, ratio=0.7, scale=0.5)
    turn = torch.linalg.qr(torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=F64)).Q
    layers = 0.7 * torch.eye(3, dtype=F64)
    balanced = torch.stack([turn[1] @ layers @ turn[0].T, turn[2] @ layers @ turn[1].T, turn[0] @ layers @ turn[2].T])
    found = flow_end(land, torch.stack([balanced.flatten(), land.start(1, seed=3)[0]]))
    assert float(found.sharpness[0]) == pytest.approx(float(land.known_sharpness()[1]), rel=CLAIM)
    assert float(found.sharpness[1]) > 1.001 * float(land.known_sharpness()[1])  # and unbalanced ones do not


def test_equally_unbalanced_factors_end_where_their_conservation_law_says():
    """U^T U - V^T V = c I commutes with everything: u^2 - v^2 = c and u v = s give the sharpness sqrt(c^2 + 4 s_1^2)."""
    land = LANDSCAPES["matrix_factorization"](rows=3, columns=3, rank=3, top=2.0, ratio=0.6)
    turn = torch.linalg.qr(torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=F64)).Q
    # The product must be positive for the flow to end at the best approximation without passing a saddle.
    start = torch.cat([(1.5 * turn[0]).flatten(), (0.5 * turn[0]).flatten()])
    expected = ((1.5**2 - 0.5**2) ** 2 + 4 * 2.0**2) ** 0.5
    assert float(flow_end(land, start).sharpness) == pytest.approx(expected, rel=CLAIM)


def test_the_error_follows_the_tolerance():
    land = LANDSCAPES["opposing_signals"](regular=60, pairs=4)
    start = land.start(3)
    known = land.gfs_sharpness(start)
    ends = {tol: flow_end(land, start, tol=tol) for tol in (1e-3, 1e-5, 1e-7)}
    errors = {tol: float((end.sharpness / known - 1).abs().max()) for tol, end in ends.items()}
    assert all(error < 5 * tol for tol, error in errors.items())
    assert errors[1e-7] < errors[1e-5] / 10 < errors[1e-3] / 100
    # Of fourth order: a tolerance of a hundredth takes about 100^(1/4) = 3.2 times the steps.
    assert 1.5 < float(ends[1e-7].steps.sum() / ends[1e-5].steps.sum()) < 4


def test_stiffness_costs_nothing_on_a_quadratic():
    for kappa in (10.0, 1e4):
        found = flow_end(LANDSCAPES["quadratic"](kappa=kappa), torch.tensor([1.0, 1.0], dtype=F64), most=20)
        assert float(found.sharpness) == pytest.approx(kappa)
        assert float(found.params.norm()) < 1e-3


@settings(max_examples=3, deadline=None)
@given(st.floats(0.0, 3.0), st.integers(0, 50))
def test_a_point_further_down_the_flow_ends_at_the_same_place(time, seed):
    land = OTHERS["phase_retrieval"]
    start = land.start(1, seed=seed)[0]
    path = solve_ivp(
        lambda _, w: -land.grad(torch.from_numpy(w)).numpy(), (0, time), start.numpy(), rtol=1e-9, atol=1e-12
    )
    ahead = torch.from_numpy(path.y[:, -1])
    sharpness = flow_end(land, torch.stack([start, ahead])).sharpness
    torch.testing.assert_close(sharpness[0], sharpness[1], rtol=CLAIM, atol=0, equal_nan=True)


def test_runs_of_a_batch_disturb_each_other_in_nothing():
    land = OTHERS["quadratic_regression"]
    starts = land.start(2, seed=1)
    alone = torch.stack([flow_end(land, start).sharpness for start in starts])
    starts = torch.cat([starts, torch.full_like(starts[:1], torch.nan), torch.full_like(starts[:1], 1e200)])
    found = flow_end(land, starts.reshape(2, 2, -1))
    assert found.params.shape == (2, 2, land.dim)
    torch.testing.assert_close(found.sharpness[0], alone, rtol=1e-9, atol=0)
    assert bool(found.sharpness[1].isnan().all())
    assert found.steps[1, 0] == 0
    assert flow_end(land, starts[:0]).sharpness.shape == (0,)


def test_float32_parameters_are_followed_in_float64():
    land = OTHERS["himmelblau"]
    start = land.start(2, seed=1)
    found = flow_end(land, start.float())
    assert found.sharpness.dtype == F64
    torch.testing.assert_close(found.sharpness, flow_end(land, start).sharpness, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "kind", [kind for kind in LANDSCAPES.values() if kind().flow_escapes()], ids=lambda one: one.name
)
def test_a_flow_that_goes_to_infinity_has_no_end(kind):
    """Nor has any other descent: SciPy's gets ever farther out, and ever lower."""
    land = kind() if kind().dim < 100 else kind(levels=2, features=3, noise=0.01)
    assert land.flow_escapes()
    assert land.minimizers() is None
    start = land.start(2, seed=1)[1]
    assert bool(flow_end(land, start, most=60).sharpness.isnan())

    def evaluate(w):
        loss, grad = land.value_and_grad(torch.from_numpy(w))
        return float(loss), grad.numpy()

    ends = [
        minimize(evaluate, start.numpy(), jac=True, method="L-BFGS-B", options={"maxiter": most, "gtol": 0, "ftol": 0})
        for most in ((5, 30) if land.infimum() == 0 else (2, 5))  # a loss without a bound soon overflows
    ]
    assert float(torch.from_numpy(ends[1].x).norm()) > 1.2 * float(torch.from_numpy(ends[0].x).norm())
    assert float(land.loss(start)) > ends[0].fun > ends[1].fun


CLASSIFIER = MLP(data="two_moons", hidden=(6,), subset=12)


def test_no_point_is_at_rest_where_all_samples_are_right():
    """Scaling the last layer scales the outputs, and lowers the loss: along it the gradient does not vanish."""
    below = CLASSIFIER.no_rest_below()
    assert below == pytest.approx(0.6931 / 12, rel=1e-3)
    start = CLASSIFIER.start(3, seed=1)
    path = run(CLASSIFIER, OPTIMIZERS["gd"](lr=0.5), start, 1000, record_every=500)
    last = torch.zeros(CLASSIFIER.dim, dtype=F64)
    last[CLASSIFIER.layout.blocks[2].start :] = 1
    inner = (CLASSIFIER.grad(path.params) * path.params * last).sum(-1)
    assert bool((path.loss[-1] < below).all())
    assert bool((inner[-1] < 0).all())
    assert bool((inner[0] > 0).any())  # as it may above that loss
    found = flow_end(CLASSIFIER, torch.cat([start, path.params[-1]]))
    assert bool(found.sharpness.isnan().all())
    assert bool((found.steps[:3] > 0).all())
    assert found.steps[3:].tolist() == [0, 0, 0]  # seen at once


@pytest.mark.parametrize("changes", [{"weight_decay": 0.01}, {"objective": "squared"}])
def test_decay_and_squares_have_points_at_rest(changes):
    land = replace(CLASSIFIER, **changes)
    assert land.no_rest_below() is None
    assert not land.flow_escapes()


def test_without_hidden_layers_independent_samples_can_always_be_told_apart():
    assert MLP(hidden=(), subset=20).flow_escapes()
    assert not MLP(hidden=(), subset=20, weight_decay=0.1).flow_escapes()
    assert not MLP(hidden=(), subset=60).flow_escapes()  # 60 of 64 pixels: some of them are the same in all samples
    assert not MLP(hidden=(), subset=200).flow_escapes()


def test_steps_across_creases_keep_to_the_tolerance():
    """Of a ReLU network, against an integrator of SciPy at a tolerance so tight that it finds each crossing."""
    land = MLP(data="teacher_student", objective="squared", hidden=(4,), subset=8, activation="relu")
    start = land.start()[0]
    path = solve_ivp(lambda _, w: -land.grad(torch.from_numpy(w)).numpy(), (0, 20), start.numpy(), rtol=1e-7, atol=1e-9)
    expected = flow_end(land, torch.from_numpy(path.y[:, -1])).sharpness
    torch.testing.assert_close(flow_end(land, start).sharpness, expected, rtol=CLAIM, atol=0)


def test_saddles_are_no_end():
    valley = LANDSCAPES["stability_valley"]()
    starts = torch.tensor([[1.0, -1.0], [1.0, -0.9]], dtype=F64)  # the first flows into the saddle at zero
    assert flow_end(valley, starts, most=100).sharpness.isnan().tolist() == [True, False]
    monkey = LANDSCAPES["monkey_saddle"]()  # no curvature there at all
    assert bool(flow_end(monkey, torch.zeros(2, dtype=F64), most=30).sharpness.isnan())


def test_a_flow_that_is_not_at_rest_is_not_a_number():
    land, start = OTHERS["rosenbrock"], OTHERS["rosenbrock"].start()
    assert bool(flow_end(land, start, most=20).sharpness.isnan())
    # A crease, along which the flow would slide: the steps get ever shorter.
    crease = Formula("abs(x) + x*y + y^2 + 0.1*y")
    assert bool(flow_end(crease, torch.tensor([1.0, 1.0], dtype=F64), most=100).sharpness.isnan())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"tol": 0.0}, "tol = 0.0 is not allowed: it must be between 0 and 1."),
        ({"most": 0}, "most = 0 is not allowed: it must be a whole number of at least 1."),
        ({"most": 2.5}, "most = 2.5 is not allowed: it must be a whole number of at least 1."),
    ],
)
def test_bad_input_is_refused(values, sentence):
    land = OTHERS["himmelblau"]
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        flow_end(land, land.start(), **values)
    assert str(refused.value) == sentence
    with pytest.raises(ValueError, match="himmelblau needs"):
        flow_end(land, torch.zeros(3, dtype=F64))


@pytest.mark.parametrize(
    "land", [OTHERS["network"], OTHERS["quadratic_regression"], OTHERS["himmelblau"]], ids=lambda one: one.name
)
def test_the_whole_hessian_is_that_of_double_differentiation(land):
    params = land.start(6, seed=1).reshape(2, 3, -1)
    found = hessian(land, params)
    assert found.shape == (2, 3, land.dim, land.dim)
    expected = torch.autograd.functional.hessian(land.loss, params[1, 2])
    torch.testing.assert_close(found[1, 2], expected, rtol=1e-9, atol=1e-11)
