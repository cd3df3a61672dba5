"""The averages of the schedule-free rules, and the distance that Prodigy finds."""

import pytest
import pytorch_optimizer
import torch

from landscapes import MLP
from optimizers import OPTIMIZERS, WRAPPERS, Optimizer, Oracle, run, sweep, tune
from tests.optimizers.comparison import PROBLEMS


def walk(land, rule, steps):
    """The states that a rule goes through, with the params."""
    params = land.start()[0]
    state = rule.init(params)
    yield params, state
    for _ in range(steps):
        params, state = rule.step(params, state, Oracle(land))
        yield params, state


THEIRS = {
    "schedule_free_sgd": lambda params, lr, b: pytorch_optimizer.ScheduleFreeSGD(params, lr=lr, momentum=b),
    "schedule_free_adamw": lambda params, lr, b: pytorch_optimizer.ScheduleFreeAdamW(params, lr=lr, betas=(b, 0.999)),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", THEIRS)
def test_the_point_to_evaluate_is_the_oracles_in_evaluation_mode(name, problem):
    """There x is recovered from y and z at every step; ours is kept."""
    land, lr, b = PROBLEMS[problem], 5e-4, 0.7
    rule, params = OPTIMIZERS[name](lr=lr, b=b), land.start()[0]
    theirs = THEIRS[name]([params], lr, b)
    for ours, state in walk(land, rule, 50):
        torch.testing.assert_close(ours, params, rtol=1e-12, atol=1e-12)
        theirs.eval()
        torch.testing.assert_close(rule.point(ours, state), params, rtol=1e-12, atol=1e-12)
        theirs.train()
        params.grad = land.grad(params)
        theirs.step()
    assert (rule.point(ours, state) - ours).abs().max() > 1e-4


def test_other_rules_are_evaluated_where_they_stand():
    params = torch.ones(2)
    assert OPTIMIZERS["gd"]().point(params, ()) is params


def test_without_weights_the_point_is_the_plain_mean():
    rule = OPTIMIZERS["schedule_free_sgd"](lr=2e-4)
    states = [state for _, state in walk(PROBLEMS["rosenbrock"], rule, 20)]
    torch.testing.assert_close(states[-1][2], torch.stack([z for _, z, *_ in states[1:]]).mean(0))


def test_weights_are_the_papers_however_large_their_powers():
    """c_t = t^r lmax^p / sum, which for these powers neither float32 nor a plain sum of it could hold."""
    lr, warmup, r, power = 1e-3, 4, 30.0, 40.0
    rule = OPTIMIZERS["schedule_free_sgd"](lr=lr, warmup=warmup, r=r, power=power)
    x, weights = None, []
    for t, (params, state) in enumerate(walk(PROBLEMS["quadratic"], rule, 8)):
        z = state[1]
        if t:
            weights.append(t**r * (lr * min(1, t / warmup)) ** power)
            share = weights[-1] / sum(weights)
            x = (1 - share) * x + share * z
            torch.testing.assert_close(state[2], x)
        else:
            x = params
    land, start = PROBLEMS["quadratic"], PROBLEMS["quadratic"].start(dtype=torch.float32)[0]
    state = rule.init(start)
    for _ in range(8):
        start, state = rule.step(start, state, Oracle(land))
    torch.testing.assert_close(state[2].double(), x, rtol=1e-5, atol=1e-5)


def test_a_step_size_of_zero_may_come_first():
    """As under a schedule that begins at zero: nothing moves, and these steps have no weight afterwards."""
    land = PROBLEMS["quadratic"]
    rule, still = OPTIMIZERS["schedule_free_sgd"](lr=1e-3), OPTIMIZERS["schedule_free_sgd"](lr=0.0)
    start = land.start()[0]
    params, state = start, rule.init(start)
    for _ in range(3):
        params, state = still.step(params, state, Oracle(land))
        torch.testing.assert_close(params, start)
    params, state = rule.step(params, state, Oracle(land))
    torch.testing.assert_close(state[2], state[1])


def test_prodigys_estimate_grows_and_stays_below_the_distance():
    """The number that gives the rule its name: on a convex problem it is a lower bound of |w0 - w*|, up to coordinates."""
    land = PROBLEMS["quadratic"]
    estimates = torch.cat([state[5] for _, state in walk(land, OPTIMIZERS["prodigy"](), 200)])
    distance = land.start()[0].abs().max()
    assert (estimates.diff() >= 0).all()
    assert estimates[0] == 1e-6
    assert distance / 100 < estimates[-1] <= distance


def test_prodigys_growth_is_limited():
    for growth in (1.02, 1.5):
        rule = OPTIMIZERS["prodigy"](growth=growth, d0=1e-3)
        estimates = torch.cat([state[5] for _, state in walk(PROBLEMS["quadratic"], rule, 50)])
        ratios = (estimates[1:] / estimates[:-1])[2:]  # the first estimate is not limited before it has left d0
        assert ratios.max() == pytest.approx(growth)


def test_prodigy_waits_for_a_gradient():
    """Weight decay alone moves nothing, as in the authors' code."""
    land, start = PROBLEMS["quadratic"], torch.zeros(2, dtype=torch.float64)
    rule = OPTIMIZERS["prodigy"](weight_decay=0.5)
    params, state = rule.step(start, rule.init(start), Oracle(land))
    assert torch.equal(params, start)
    assert state[5] == 1e-6


AVERAGING = [kind for kind in OPTIMIZERS.values() if kind.point is not Optimizer.point]
NETWORK = MLP(data="chebyshev", objective="squared", hidden=(6,))


@pytest.mark.parametrize("kind", AVERAGING, ids=lambda kind: kind.name)
@pytest.mark.parametrize("around", [lambda rule: rule, WRAPPERS["lookahead"]], ids=["alone", "wrapped"])
def test_a_run_is_recorded_where_the_rule_returns(kind, around):
    """Loss, gradient, path and probes are those of the average x, not of y where the gradients are taken."""
    rule = around(kind(lr=0.05))
    path = run(NETWORK, rule, steps=12, probes=["sharpness", "distance"])
    walked = list(walk(NETWORK, rule, 12))
    points = torch.stack([rule.point(params, state) for params, state in walked])
    stood = torch.stack([params for params, _ in walked])
    assert float((points - stood).abs().max()) > 1e-4
    torch.testing.assert_close(path.params, points, rtol=1e-12, atol=1e-14)
    losses, grads = NETWORK.value_and_grad(points)
    torch.testing.assert_close(path.loss, losses, rtol=1e-12, atol=0)
    torch.testing.assert_close(path.grad_norm, grads.norm(dim=-1), rtol=1e-12, atol=0)
    top = [torch.linalg.eigvalsh(torch.autograd.functional.hessian(NETWORK.loss, one))[-1] for one in points]
    torch.testing.assert_close(path.probes["sharpness"], torch.stack(top), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", AVERAGING, ids=lambda kind: kind.name)
def test_sweeps_and_tuning_score_what_is_returned(kind):
    lrs = [0.01, 0.05]
    runs = [run(NETWORK, kind(lr=lr), steps=10, batch_size=5) for lr in lrs]
    table = sweep(NETWORK, kind(), {"lr": lrs}, 10, batch_size=5, sharpness=True)
    torch.testing.assert_close(
        table.final_loss, torch.stack([NETWORK.loss(one.final) for one in runs]), rtol=1e-9, atol=0
    )
    torch.testing.assert_close(table.best_loss, torch.stack([one.loss.min() for one in runs]), rtol=1e-9, atol=0)
    top = [torch.linalg.eigvalsh(torch.autograd.functional.hessian(NETWORK.loss, one.final))[-1] for one in runs]
    torch.testing.assert_close(table.sharpness, torch.stack(top), rtol=1e-5, atol=0)
    tuned = tune(NETWORK, [kind()], torch.tensor(lrs), 10)
    ends = [NETWORK.loss(run(NETWORK, kind(lr=lr), steps=10).final) for lr in lrs]
    torch.testing.assert_close(tuned.final_loss[0], torch.stack(ends), rtol=1e-6, atol=0)


def test_beside_others_each_is_recorded_where_it_returns():
    """And a run that leaves finite numbers stays where it was."""
    rules = [
        OPTIMIZERS["gd"](lr=0.05),
        OPTIMIZERS["schedule_free_sgd"](lr=0.05),
        OPTIMIZERS["schedule_free_sgd"](lr=1e4),
    ]
    path = run(NETWORK, rules, steps=60)
    for index, rule in enumerate(rules[:2]):  # the third one is chaos, which rounds otherwise in company
        alone = run(NETWORK, rule, steps=60)
        torch.testing.assert_close(path.of(index).params, alone.params, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(path.of(index).loss, alone.loss, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert int(path.diverged_at[2]) > 0
    assert bool(path.params.isfinite().all())
