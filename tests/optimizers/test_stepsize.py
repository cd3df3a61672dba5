"""Step sizes on cases with known truth: quadratics, the catapult, Adam; noise and adaptive step sizes by a second computation."""

import math
import statistics

import pytest
import torch

from landscapes import LANDSCAPES, MLP, Formula, eigenpairs, from_module
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, Scheduled, Study, run, stepsize, study
from ravine.verdict import verdict

BOWL = LANDSCAPES["quadratic"](kappa=10.0)  # curvatures 10 and 1
SADDLE = Formula("(x*y)^2/2", window=((-3.0, 3.0), (-3.0, 3.0)))  # Lewkowycz et al. 2020: two layers, one sample
GD = OPTIMIZERS["gd"]
NETWORK = MLP(data="chebyshev", objective="squared", hidden=(6,))


def catapult(share):
    """The step size `share` / sharpness at a start near the valley's axis."""
    start = torch.tensor([0.1, 2.0], dtype=torch.float64)
    sharp = torch.linalg.eigvalsh(torch.tensor([[4.0, 0.4], [0.4, 0.01]], dtype=torch.float64))[-1]
    return start, share / float(sharp)


def test_an_eigenvalue_that_is_not_proved_to_be_the_largest_gives_no_verdict(monkeypatch):
    def unsure(*args, **options):
        pairs = eigenpairs(*args, **options)
        return pairs._replace(reached=torch.zeros_like(pairs.reached))

    monkeypatch.setattr(stepsize, "eigenpairs", unsure)
    look = study(BOWL, GD(lr=0.05), steps=5, at=0)
    assert math.isnan(look.here["sharpness"])
    assert look.outlook == "unknown"
    assert not any("nan" in sentence for sentence in verdict(look, GD(lr=0.05)))


@pytest.mark.parametrize(
    ("lr", "outlook", "converges"),
    [
        (0.05, "smooth", True),
        (0.15, "damped", True),
        (0.195, "damped", True),
        (0.21, "diverges", False),
        (0.5, "diverges", False),
    ],
)
def test_the_outlook_on_a_quadratic_is_what_happens(lr, outlook, converges):
    look = study(BOWL, GD(lr=lr), steps=200, at=0)
    assert look.outlook == outlook
    here = look.here
    assert here["sharpness"] == pytest.approx(10)
    assert here["threshold"] == pytest.approx(2 / lr)
    assert here["stable_lr"] == pytest.approx(0.2)
    path = run(BOWL, GD(lr=lr), steps=200)
    assert (path.loss[-1] < 1e-3 * path.loss[0]) == converges
    assert here["third"] == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(look.scan.quadratic, look.scan.loss)  # the model is the loss itself


@pytest.mark.parametrize(
    ("share", "outlook"), [(0.8, "smooth"), (1.6, "damped"), (2.5, "edge"), (3.5, "edge"), (4.6, "diverges")]
)
def test_the_catapult_region_ends_at_four_over_the_sharpness(share, outlook):
    start, lr = catapult(share)
    assert study(SADDLE, GD(lr=lr), start, steps=1, at=0).outlook == outlook
    path = run(SADDLE, GD(lr=lr), start, steps=500, probes=["sharpness"], probe_every=500)
    if outlook == "diverges":
        assert int(path.diverged_at) > 0
        return
    assert float(path.loss[-1]) < 1e-6
    assert lr * float(path.probes["sharpness"][-1]) < 2  # where it came to rest the step is stable
    if outlook == "edge":
        assert float(path.loss.max()) > 2 * float(path.loss[0])  # it did oscillate out first


@pytest.mark.parametrize("rule", ["heavy_ball", "nag"])
def test_momentum_has_its_own_threshold(rule):
    for factor, outlook in ((0.9, "damped"), (1.1, "diverges")):
        lr = factor * float(OPTIMIZERS[rule](lr=1.0).stability_threshold()) / 10
        look = study(BOWL, OPTIMIZERS[rule](lr=lr), steps=400, at=0)
        assert look.outlook == outlook
        end, began = float(look.along["loss"][-1]), float(look.along["loss"][0])
        assert (end < began) == (outlook == "damped")


@pytest.mark.parametrize(("factor", "outlook"), [(0.9, "damped"), (1.05, "edge"), (1.4, "risky"), (2.1, "diverges")])
def test_above_its_threshold_momentum_is_not_promised_a_catapult(factor, outlook):
    start, share = catapult(1.0)  # 1 / sharpness
    rule = OPTIMIZERS["heavy_ball"](lr=factor * 2 * 1.9 * share, momentum=0.9)
    assert study(SADDLE, rule, start, steps=1, at=0).outlook == outlook


def test_adam_feels_the_preconditioned_sharpness_and_does_not_diverge_above_its_threshold():
    start = torch.tensor([1e-3, 1e-3], dtype=torch.float64)
    look = study(BOWL, OPTIMIZERS["adam"](lr=0.1), start, steps=300, at=0)
    here = look.here
    assert here["scaled"]
    # The first step's P is |g| + eps: eigenvalues of P^-1/2 diag(10, 1) P^-1/2 by hand, from an axis-aligned bowl.
    grad = BOWL.grad(start)
    hessian = torch.stack([BOWL.hvp(start, unit) for unit in torch.eye(2, dtype=torch.float64)])
    root = (grad.abs() + 1e-8).rsqrt()
    expected = torch.linalg.eigvalsh(root[:, None] * hessian * root)[-1]
    assert here["sharpness"] == pytest.approx(float(expected), rel=1e-6)
    assert here["threshold"] == pytest.approx(2 * 1.9 / (0.1 * 0.1))
    assert here["sharpness"] > here["threshold"]
    assert look.outlook == "edge"
    assert look.diverged_at == -1
    assert float(look.along["loss"].max()) < 1.0  # oscillates at most by its step size
    assert study(BOWL, OPTIMIZERS["adam"](lr=0.1), steps=20, at=20).outlook == "smooth"


def test_a_rule_without_a_threshold_has_no_outlook():
    for rule in ("signsgd", "lion"):
        assert study(BOWL, OPTIMIZERS[rule](lr=0.1), steps=3, at=1).outlook == "unknown"


def test_the_line_scan_is_the_loss_along_the_update_that_the_rule_makes():
    rule, at = OPTIMIZERS["heavy_ball"](lr=0.02), 3
    look = study(NETWORK, rule, steps=5, at=at)
    path = run(NETWORK, rule, steps=5)
    update = path.params[at + 1] - path.params[at]
    shares = (look.scan.eta / 0.02)[:, None]
    torch.testing.assert_close(look.scan.loss, NETWORK.loss(path.params[at] + shares * update))
    assert look.here["update_norm"] == pytest.approx(float(update.norm()))
    # Derivatives along the line by a polynomial through exact losses near the point.
    h = torch.linspace(-0.02, 0.02, 9, dtype=torch.float64)
    losses = NETWORK.loss(path.params[at] + h[:, None] * update)
    basis = torch.stack([h**k for k in range(6)], dim=-1)
    fit = torch.linalg.lstsq(basis, losses[:, None]).solution[:, 0]
    assert look.here["slope"] == pytest.approx(float(fit[1]), rel=1e-6)
    assert look.here["curvature"] == pytest.approx(2 * float(fit[2]), rel=1e-4)
    assert look.here["third"] == pytest.approx(6 * float(fit[3]), rel=0.05)  # a third difference loses digits
    near = look.scan.eta < 0.3 * 0.02
    torch.testing.assert_close(look.scan.cubic[near], look.scan.loss[near], rtol=1e-4, atol=0)


def test_limits_along_the_update():
    look = study(BOWL, GD(lr=0.1), steps=1, at=0)
    grad = BOWL.grad(BOWL.start()[0])
    product = BOWL.hvp(BOWL.start()[0], grad)
    assert look.here["line_lr"] == pytest.approx(2 * float(grad @ grad / (grad @ product)))
    assert look.here["best_lr"] == pytest.approx(look.here["line_lr"] / 2, rel=0.15)  # the grid is 13 points a decade
    assert look.here["rise_lr"] == pytest.approx(look.here["line_lr"], rel=0.25)
    assert look.here["rise_lr"] >= look.here["line_lr"]


def test_step_sizes_of_other_rules():
    rule, steps = GD(lr=0.03), 6
    look = study(BOWL, rule, steps=steps, at=steps)
    path = run(BOWL, rule, steps=steps)
    grads = BOWL.grad(path.params)
    here = look.here
    assert here["polyak"] == pytest.approx(float(path.loss[-1] / grads[-1].square().sum()))
    travelled = (path.params - path.params[0]).norm(dim=-1).max()
    assert here["dog"] == pytest.approx(float(travelled / grads.square().sum().sqrt()))
    change = (path.params[-1] - path.params[-2]).norm() / (grads[-1] - grads[-2]).norm()
    assert here["smoothness"] == pytest.approx(float(change) / 2)
    assert 1 / 20 <= here["smoothness"] <= 1 / 2  # between half the inverses of the curvatures
    eta, bound = (
        here["armijo"],
        lambda step: BOWL.loss(path.final - step * grads[-1]) - path.loss[-1] + 1e-4 * step * grads[-1].square().sum(),
    )
    assert float(bound(eta)) <= 0 < float(bound(2 * eta))


def test_polyaks_step_knows_the_minimum_of_a_surface():
    surface = LANDSCAPES["styblinski_tang"]()
    here = study(surface, GD(lr=1e-3), steps=1, at=0).here
    least = surface.loss(surface.minimizers()).min()
    assert here["least"] == pytest.approx(float(least))
    assert here["polyak"] == pytest.approx((here["loss"] - float(least)) / here["grad_norm"] ** 2)


BOUNDED = [name for name, kind in LANDSCAPES.items() if kind().infimum() is not None]


@pytest.mark.parametrize("name", BOUNDED)
def test_polyaks_step_takes_the_least_loss_that_the_landscape_declares(name):
    land = LANDSCAPES[name]()
    here = study(land, GD(lr=1e-3), steps=2, at=1).here
    params = run(land, GD(lr=1e-3), steps=1).final
    gap = float(land.loss(params)) - land.infimum()
    assert here["polyak"] == pytest.approx(gap / float(land.grad(params).square().sum()), rel=1e-6)
    assert here["least_known"]
    if land.minimizers() is not None:
        assert here["least"] == pytest.approx(float(land.loss(land.minimizers()).min()), abs=1e-12)


def test_where_no_least_loss_is_declared_only_a_mean_over_samples_has_one_assumed():
    here = study(NETWORK, GD(lr=1e-3), steps=1, at=0).here
    assert not here["least_known"]
    assert here["polyak"] == pytest.approx(here["loss"] / here["grad_norm"] ** 2)
    assert math.isnan(study(Formula("x + y^2"), GD(lr=1e-3), steps=1, at=0).here["polyak"])


def test_the_noise_scale_is_that_of_the_per_sample_gradients():
    look = study(NETWORK, GD(lr=0.05), steps=2, at=2)
    params = run(NETWORK, GD(lr=0.05), steps=2).final
    each = NETWORK.grad(params.expand(NETWORK.samples, -1), torch.arange(NETWORK.samples)[:, None])
    mean = each.mean(0)
    expected = float((each - mean).square().sum(-1).mean() / mean.square().sum())
    assert look.here["noise_error"] > 0
    assert abs(look.here["noise_scale"] - expected) < 4 * look.here["noise_error"]
    assert look.here["noise_error"] < 0.5 * expected
    assert math.isnan(study(BOWL, GD(lr=0.1), steps=1, at=0).here["noise_scale"])


def test_the_slope_of_the_sharpness_is_its_gradient():
    start, lr = catapult(1.0)
    here = study(SADDLE, GD(lr=lr), start, steps=1, at=0).here

    def top(point):
        rows = torch.stack([SADDLE.hvp(point, unit) for unit in torch.eye(2, dtype=torch.float64)])
        return torch.linalg.eigvalsh(rows)[-1]

    h = 1e-5
    slope = torch.stack(
        [(top(start + h * unit) - top(start - h * unit)) / (2 * h) for unit in torch.eye(2, dtype=torch.float64)]
    )
    assert here["sharpness_slope"] == pytest.approx(float(slope.norm()), rel=1e-5)
    assert here["drift"] == pytest.approx(float(slope @ (-lr * SADDLE.grad(start))), rel=1e-4)


def test_a_schedule_moves_the_step_size_and_the_threshold():
    rule = Scheduled(
        inner=GD(lr=0.1), schedule=SCHEDULES["linear"]() if "linear" in SCHEDULES else SCHEDULES["cosine"]()
    )
    look = study(BOWL, rule, steps=10, at=5)
    factors = rule.schedule.factors(10, lambda: torch.ones(10))
    torch.testing.assert_close(look.along["lr"][:-1], 0.1 * factors[look.step[:-1]].double())
    alive = look.along["lr"][:-1] > 0
    torch.testing.assert_close(look.along["threshold"][:-1][alive], 2 / look.along["lr"][:-1][alive])
    torch.testing.assert_close(look.along["stable_lr"][:-1][alive], torch.full_like(look.along["lr"][:-1][alive], 0.2))


def test_a_schedule_inside_wrappers_moves_the_step_size_that_is_said():
    """Against the length of the steps, which gradient descent makes eta |g| long between Lookahead's pulls."""
    linear = Scheduled(inner=GD(lr=0.1), schedule=SCHEDULES["linear"]())
    around = WRAPPERS["lookahead"](inner=linear, k=100)
    twice = Scheduled(inner=around, schedule=SCHEDULES["cosine"]())
    for rule in (linear, around, twice):
        for at in (0, 45, 90):
            here = study(BOWL, rule, steps=100, at=at).here
            assert here["lr"] == pytest.approx(here["update_norm"] / here["grad_norm"])
    assert study(BOWL, around, steps=100, at=90).here["lr"] == pytest.approx(0.01)


def test_a_rehearsed_schedule_has_thresholds_once_it_is_planned():
    rule = Scheduled(inner=GD(lr=0.1), schedule=SCHEDULES["refined"]())
    assert rule.step_factors(10) is rule.thresholds(10) is None
    here = study(BOWL, rule, steps=10, at=4).here
    assert here["lr"] == pytest.approx(here["update_norm"] / here["grad_norm"])
    assert here["threshold"] == pytest.approx(2 / here["lr"])


def test_a_run_that_diverges_says_where_and_keeps_what_was_seen():
    start, lr = catapult(5.0)
    look = study(SADDLE, GD(lr=lr), start, steps=200, at=200)
    assert look.diverged_at == int(run(SADDLE, GD(lr=lr), start, steps=200).diverged_at)
    assert look.here == {}
    assert look.outlook == "unknown"
    assert bool(torch.isfinite(look.along["sharpness"][0]))
    assert bool(torch.isnan(look.along["sharpness"][-1]))


def test_tensors_and_back():
    look = study(NETWORK, GD(lr=0.05), steps=4, at=2)
    again = Study.from_tensors(look.tensors())
    assert again.here == pytest.approx(look.here, nan_ok=True)
    assert (again.at, again.diverged_at, again.outlook) == (look.at, look.diverged_at, look.outlook)
    torch.testing.assert_close(again.along, look.along, equal_nan=True)
    torch.testing.assert_close(again.scan.loss, look.scan.loss, equal_nan=True)
    torch.testing.assert_close(look.params, run(NETWORK, GD(lr=0.05), steps=4).final)


@pytest.mark.parametrize("at", [-1, 6, 1.5, True])
def test_what_is_not_a_step_of_the_run_is_refused(at):
    with pytest.raises(ValueError, match="at = .* must be a step of the run, from 0 to 5"):
        study(BOWL, GD(lr=0.1), steps=5, at=at)
    with pytest.raises(ValueError, match=r"start must be a tensor of shape \(2,\)"):
        study(BOWL, GD(lr=0.1), torch.zeros(3), steps=5)


# ------------------------------------------------------------------ minibatches


def regression(inputs, targets):
    """Mean squared error of a linear model, (n, d) -> (n,): exactly quadratic, each sample's Hessian 2 x x'."""
    module = torch.nn.Linear(inputs.shape[1], 1, bias=False, dtype=torch.float64)
    torch.nn.init.constant_(module.weight, 1.0)
    return from_module(module, torch.nn.functional.mse_loss, (inputs, targets[:, None]))


def scattered(count=24, dim=3):
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(count, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("factor", "word"), [(0.5, "leave room"), (1.0, "edge of stochastic"), (1.5, "swing")])
def test_where_every_batch_is_equally_curved_the_batch_sharpness_tells_what_happens(factor, word):
    land = regression(torch.ones(6, 1, dtype=torch.float64), torch.zeros(6, dtype=torch.float64))  # each curved by 2
    rule = GD(lr=factor)
    look = study(land, rule, steps=1, at=0, batch_size=1, sampling="replacement")
    assert look.here["batch_sharpness"] == pytest.approx(2.0)
    assert look.here["batch_error"] == pytest.approx(0.0, abs=1e-12)
    assert look.here["batch_lr"] == pytest.approx(1.0)
    assert look.here["batches_above"] == (factor > 1)
    said = verdict(look, rule)[0]
    assert word in said
    # w goes to (1 - 2 lr) w at each step: to 0, to and fro between 1 and -1, or away.
    end = run(land, rule, steps=20, batch_size=1, sampling="replacement", record_every=20).final
    assert float(end.abs()) == pytest.approx(abs(1 - 2 * factor) ** 20, abs=1e-9)


def test_batches_above_two_over_eta_are_those_whose_step_raises_their_own_loss():
    inputs, targets = scattered()
    land = regression(inputs, targets)
    params, lr = land.start()[0], 0.4
    look = study(land, GD(lr=lr), steps=1, at=0, batch_size=3)
    orders = torch.Generator().manual_seed(0)  # as the run draws them: whole epochs, cut into batches
    batches = [batch for _ in range(16) for batch in torch.randperm(24, generator=orders).split(3)]
    drawn = int(look.here["batches"])
    assert drawn % 16 == 0
    assert 16 <= drawn <= 128
    rises, curvatures = [], []
    for batch in batches[:drawn]:
        grad = land.grad(params, batch)
        rises.append(bool(land.loss(params - lr * grad, batch) > land.loss(params, batch)))
        hessian = 2 * inputs[batch].T @ inputs[batch] / 3
        curvatures.append(float(grad @ hessian @ grad / grad.square().sum()))
    assert 0 < sum(rises) < drawn
    assert look.here["batches_above"] == pytest.approx(sum(rises) / drawn)
    assert look.here["batch_sharpness"] == pytest.approx(sum(curvatures) / drawn)
    error = statistics.stdev(curvatures) / drawn**0.5
    assert look.here["batch_error"] == pytest.approx(error)
    assert drawn == 128 or error <= 0.05 * look.here["batch_sharpness"]


@pytest.mark.parametrize(("size", "sampling"), [(1, "replacement"), (2, "epochs")])
def test_the_limit_under_noise_is_where_the_mean_loss_over_every_batch_stops_falling(size, sampling):
    inputs, targets = scattered()
    land = regression(inputs, targets)
    params = land.start()[0]
    here = study(land, GD(lr=0.1), steps=1, at=0, batch_size=size, sampling=sampling).here
    batches = torch.combinations(torch.arange(24), size)
    grads = land.grad(params.expand(len(batches), -1), batches)
    hessian = 2 * inputs.T @ inputs / 24
    limit = 2 * float(land.grad(params).square().sum() / ((grads @ hessian) * grads).sum(-1).mean())
    assert float(land.loss(params - limit * grads).mean()) == pytest.approx(float(land.loss(params)))
    # Between the limits at both ends of four standard errors of the noise scale, which comes from a few batches.
    noisy, spread = here["noisy_lr"], 4 * here["curved_error"]
    ends = [noisy * (1 + here["curved_noise"] * left) / (1 + max(0.0, here["curved_noise"] + error) * left)
            for left in (1.0 if size == 1 else 22 / 23 / 2,) for error in (-spread, spread)]  # fmt: skip
    assert ends[1] < limit < ends[0]
    assert ends[0] < 4 * ends[1]


def test_the_update_looked_at_is_the_one_that_the_run_makes_from_its_batch():
    rule, at = OPTIMIZERS["heavy_ball"](lr=0.02), 3
    look = study(NETWORK, rule, steps=5, at=at, seed=4, batch_size=8)
    path = run(NETWORK, rule, steps=5, seed=4, batch_size=8)
    torch.testing.assert_close(look.params, path.final)
    update = path.params[at + 1] - path.params[at]
    assert look.here["update_norm"] == pytest.approx(float(update.norm()))
    there = path.params[at] + (look.scan.eta / 0.02)[:, None] * update
    torch.testing.assert_close(look.scan.loss, NETWORK.loss(there))
    near = look.scan.eta.argmin()
    assert float(look.scan.batch[near]) == pytest.approx(float(path.loss[at]), rel=1e-2)
    grads = NETWORK.grad(path.params[at - 1 : at + 1])  # of all samples: two batches differ by more than the curvature
    moved = path.params[at] - path.params[at - 1]
    assert look.here["smoothness"] == pytest.approx(float(moved.norm() / (grads[1] - grads[0]).norm()) / 2)
    assert look.here["small_batches"] == pytest.approx(2 * (1 - 0.9) / 0.02)
    assert "2(1−μ)/η = 10, near which small batches" in verdict(look, rule)[0]
    assert "2(1+μ)/η = 190 (Andreyev et al. 2026, arXiv:2604.14108)" in verdict(look, rule)[0]
    nesterov = OPTIMIZERS["nag"](lr=0.02)
    assert "not known for this rule" in verdict(study(NETWORK, nesterov, steps=1, at=0, batch_size=8), nesterov)[0]
    assert torch.isnan(study(NETWORK, rule, steps=5, at=at).scan.batch).all()


def summed(reduction):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    inputs = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    loss = torch.nn.MSELoss(reduction=reduction)
    return from_module(module, loss, (inputs, torch.sin(3 * inputs)))


@pytest.mark.filterwarnings("ignore:The loss is a sum over samples")
def test_a_sum_over_samples_has_the_noise_scale_of_their_mean_and_no_verdict_on_batches():
    mean, total = summed("mean"), summed("sum")
    start = mean.start()[0]
    one, other = (study(land, GD(lr=lr), start, steps=2, at=2) for land, lr in ((mean, 0.1), (total, 0.1 / 20)))
    torch.testing.assert_close(other.params, one.params)
    for name in ("noise_scale", "curved_noise"):
        assert other.here[name] == pytest.approx(one.here[name])
    assert other.here["stable_lr"] == pytest.approx(one.here["stable_lr"] / 20)
    study(mean, GD(lr=0.1), start, steps=2, at=1, batch_size=4)
    with pytest.raises(ValueError, match="sum over samples.*reduction='mean'"):
        study(total, GD(lr=0.1), start, steps=2, at=1, batch_size=4)
