"""Every rule against an implementation that is not ours: torch.optim, else pytorch_optimizer, else the paper by hand."""

import importlib
from functools import cache
from pathlib import Path

import pytest
import torch
from pytorch_optimizer.optimizer import sam as third_party_sam

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS, Optimizer, run
from tests.optimizers.comparison import PROBLEMS, STEPS, Case, assert_same_path, followed
from tests.rounding import amplified

# Every oracles_*.py beside this file holds the cases of one family of rules.
CASES: list[Case] = [
    case
    for path in sorted(Path(__file__).parent.glob("oracles_*.py"))
    for case in importlib.import_module(f"tests.optimizers.{path.stem}").CASES
]


@pytest.fixture(autouse=True)
def _wide_norm(monkeypatch):
    """pytorch_optimizer takes SAM's norm in float32 (5e-9 off in float64): the same sum, in the parameters' precision."""

    def squared_norm(groups, *, weight_adaptive):
        return sum(
            (p.grad * p.abs() if weight_adaptive and group["adaptive"] else p.grad).square().sum()
            for group in groups
            for p in group["params"]
        ).reshape(1)

    monkeypatch.setattr(third_party_sam, "get_global_gradient_norm", squared_norm)


def walked(number, problem):
    """Our run of a case."""
    land, case = PROBLEMS[problem], CASES[number]
    return run(land, OPTIMIZERS[case.rule](**case.ours), land.start()[0], STEPS)


path = cache(walked)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{case.rule}-{i}" for i, case in enumerate(CASES)])
def test_a_rule_visits_the_points_of_its_oracle(number, problem):
    land, case, ours = PROBLEMS[problem], CASES[number], path(number, problem)
    start = land.start()[0]
    theirs = followed(land, start, case.oracle)
    assert_same_path(ours.params, theirs, OPTIMIZERS[case.rule].tolerance, lambda: walked(number, problem).params)
    assert ours.diverged_at == -1
    assert (ours.final - start).norm() > 1e-2  # the comparison is of points that moved


LOOSER = [number for number, case in enumerate(CASES) if OPTIMIZERS[case.rule].tolerance > Optimizer.tolerance]


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("number", LOOSER, ids=[CASES[number].rule for number in LOOSER])
def test_a_looser_tolerance_is_what_rounding_asks_for(number, problem):
    """Whatever the processor: two implementations differ by the errors of both, and no two draws of errors are alike."""
    conditions = []

    def eigh(matrix, decomposed=torch.linalg.eigh):
        values, vectors = decomposed(matrix)
        conditions.append(float(values.amax() / values.amin()))
        return values, vectors

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.linalg, "eigh", eigh)
        points = walked(number, problem).params
    tolerance = OPTIMIZERS[CASES[number].rule].tolerance
    assert torch.finfo(torch.float64).eps * max(conditions) < tolerance
    off = amplified(lambda: walked(number, problem).params)
    assert bool((30 * off < tolerance * (1 + points.abs())).all())


def test_a_looser_tolerance_is_not_looser_than_need_be():
    assert all(OPTIMIZERS[CASES[number].rule].tolerance <= 1e-9 for number in LOOSER)


def test_the_least_squares_problem_is_differentiated_rightly():
    land = PROBLEMS["least_squares"]
    points = land.start(4)
    (grads,) = torch.autograd.grad(land.loss(points.requires_grad_(True)).sum(), points)
    torch.testing.assert_close(land.grad(points.detach()), grads)
    hessian = torch.autograd.functional.hessian(land.loss, points[0].detach())
    torch.testing.assert_close(land.hvp(points[0].detach(), points[1:].detach()), points[1:].detach() @ hessian)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_every_rule_is_compared_at_two_settings(rule):
    assert len([case for case in CASES if case.rule == rule]) >= 2


def test_the_settings_compared_differ_from_each_other():
    """Two settings whose paths were the same would test one setting twice."""
    for rule in OPTIMIZERS:
        ends = [path(number, "rosenbrock").final for number, case in enumerate(CASES) if case.rule == rule]
        assert all((ends[0] - other).abs().max() > 1e-6 for other in ends[1:])


@pytest.mark.parametrize("problem", PROBLEMS)
def test_amsgrad_without_bias_correction_is_the_papers(problem):
    """Algorithm 2 of Reddi, Kale and Kumar 2018, which corrects neither average; no library has this form."""
    land = PROBLEMS[problem]
    start, lr, beta1, beta2, eps = land.start()[0], 0.01, 0.8, 0.9, 1e-8
    ours = run(land, OPTIMIZERS["amsgrad"](lr=lr, beta1=beta1, beta2=beta2, eps=eps, debias=False), start, STEPS)
    w, m, v, peak = start.numpy().copy(), 0.0, 0.0, 0.0
    for step in range(STEPS):
        g = land.grad(torch.from_numpy(w)).numpy()
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        peak = v if step == 0 else (v > peak) * v + (v <= peak) * peak
        w = w - lr * m / (peak**0.5 + eps)
        torch.testing.assert_close(ours.params[step + 1], torch.from_numpy(w), rtol=1e-12, atol=1e-12)


def test_sam_on_a_quadratic_by_hand():
    """The gradient at w + rho H w / |H w| of w' H w / 2 is H w + rho H H w / |H w|."""
    land, lr, rho = LANDSCAPES["quadratic"](kappa=4.0), 0.1, 0.5
    hessian, w = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)), land.start()[0]
    expected = w - lr * (hessian @ w + rho * hessian @ hessian @ w / (hessian @ w).norm())
    torch.testing.assert_close(run(land, OPTIMIZERS["sam"](lr=lr, rho=rho), w, 1).final, expected)


def test_asam_on_a_quadratic_by_hand():
    """ASAM's ball is measured after dividing by |w|: the ascent is rho w^2 g / | |w| g |."""
    land, lr, rho = LANDSCAPES["quadratic"](kappa=4.0), 0.1, 0.5
    hessian, w = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)), land.start()[0]
    g = hessian @ w
    expected = w - lr * hessian @ (w + rho * w**2 * g / (w * g).norm())
    torch.testing.assert_close(run(land, OPTIMIZERS["sam"](lr=lr, rho=rho, adaptive=True), w, 1).final, expected)
