"""Schedules against torch.optim.lr_scheduler, and the refined one against its description in exact fractions."""

import importlib
import inspect
import pkgutil
import statistics
from fractions import Fraction

import pytest
import torch
from torch.optim import lr_scheduler

import optimizers
from landscapes import LANDSCAPES, settings
from landscapes.setting import Flag
from optimizers import OPTIMIZERS, SCHEDULES, Schedule, Scheduled, run
from tests.optimizers.comparison import PROBLEMS, STEPS, followed

LENGTHS = (1, 2, 3, 7, 10, 11, 50, 97, 100)
QUADRATIC = LANDSCAPES["quadratic"](kappa=10.0, angle=0.4)


def one_cycle(scheduler, steps, **values):
    """torch's, whose step size argument is the peak; the peak is the step size of the rule here."""
    peak = scheduler.param_groups[0]["lr"]
    return lr_scheduler.OneCycleLR(scheduler, peak, total_steps=steps, cycle_momentum=False, **values)


def restarts(optimizer, **values):
    floor = values.pop("floor", 0.0) * optimizer.param_groups[0]["lr"]
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, eta_min=floor, **values)


def annealing(optimizer, steps, floor):
    return lr_scheduler.CosineAnnealingLR(optimizer, steps, floor * optimizer.param_groups[0]["lr"])


# A schedule at some settings, and torch's for an optimizer and a number of steps.
CASES = {
    "constant": (SCHEDULES["constant"](), lambda o, T: lr_scheduler.LambdaLR(o, lambda k: 1.0)),
    "linear": (SCHEDULES["linear"](), lambda o, T: lr_scheduler.LinearLR(o, 1.0, 0.0, T)),
    "cosine": (SCHEDULES["cosine"](), lambda o, T: annealing(o, T, 0.0)),
    "cosine-floor": (SCHEDULES["cosine"](floor=0.3), lambda o, T: annealing(o, T, 0.3)),
    "sgdr": (SCHEDULES["sgdr"](), lambda o, T: restarts(o, T_0=10, T_mult=2)),
    "sgdr-equal": (SCHEDULES["sgdr"](period=7, mult=1), lambda o, T: restarts(o, T_0=7, T_mult=1)),
    "sgdr-floor": (
        SCHEDULES["sgdr"](period=1, mult=3, floor=0.2),
        lambda o, T: restarts(o, T_0=1, T_mult=3, floor=0.2),
    ),
    "one_cycle": (SCHEDULES["one_cycle"](), one_cycle),
    "one_cycle-linear": (
        SCHEDULES["one_cycle"](linear=True, pct=0.45, div=10.0, final_div=100.0),
        lambda o, T: one_cycle(o, T, anneal_strategy="linear", pct_start=0.45, div_factor=10.0, final_div_factor=100.0),
    ),
    "one_cycle-three": (SCHEDULES["one_cycle"](three_phase=True), lambda o, T: one_cycle(o, T, three_phase=True)),
    "one_cycle-three-linear": (
        SCHEDULES["one_cycle"](three_phase=True, linear=True, pct=0.41),
        lambda o, T: one_cycle(o, T, three_phase=True, anneal_strategy="linear", pct_start=0.41),
    ),
    "one_cycle-late": (SCHEDULES["one_cycle"](pct=0.8), lambda o, T: one_cycle(o, T, pct_start=0.8)),
    "step": (SCHEDULES["step"](), lambda o, T: lr_scheduler.StepLR(o, 100)),
    "step-often": (SCHEDULES["step"](period=3, gamma=0.7), lambda o, T: lr_scheduler.StepLR(o, 3, 0.7)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def no_norms():
    raise AssertionError("a schedule that needs no rehearsal asked for one")


def torch_factors(make, steps):
    """The step sizes of torch's scheduler over a step size of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler, factors = make(optimizer, steps), []
    for step in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return torch.tensor(factors, dtype=torch.float64)


@every_case
@pytest.mark.parametrize("steps", LENGTHS)
def test_the_factors_are_torchs(case, steps):
    schedule, theirs = case
    ours = schedule.factors(steps, no_norms)
    torch.testing.assert_close(ours, torch_factors(theirs, steps), rtol=1e-12, atol=1e-13)


def test_the_cases_are_different_schedules():
    factors = [schedule.factors(STEPS, no_norms) for schedule, _ in CASES.values() if schedule.name != "constant"]
    for index, one in enumerate(factors):
        assert all((one - another).abs().max() > 1e-3 for another in factors[index + 1 :])
    assert {schedule.name for schedule, _ in CASES.values()} == set(SCHEDULES) - {"refined"}


@every_case
@pytest.mark.parametrize("warmup", [1, 5, 200])
def test_a_warm_up_multiplies_the_schedule(case, warmup):
    schedule, theirs = case
    ours = type(schedule)(**{**schedule.values(), "warmup": warmup}).factors(STEPS, no_norms)
    ramp = torch_factors(lambda o, T: lr_scheduler.LambdaLR(o, lambda k: min(1.0, (k + 1) / warmup)), STEPS)
    torch.testing.assert_close(ours, torch_factors(theirs, STEPS) * ramp, rtol=1e-12, atol=1e-13)


def test_a_warm_up_is_torchs_linear_one():
    ours = SCHEDULES["constant"](warmup=8).factors(STEPS, no_norms)
    theirs = torch_factors(lambda o, T: lr_scheduler.LinearLR(o, 1 / 8, 1.0, 7), STEPS)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_one_cycle_whose_rise_ends_where_it_begins():
    """torch divides by zero where pct * T = 1 (with fewer steps it does not): the run begins at the bottom and falls."""
    make = lambda o, T: one_cycle(o, T, pct_start=0.25)  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        torch_factors(make, 4)
    factors = SCHEDULES["one_cycle"](pct=0.25).factors(4, no_norms)
    assert torch.isfinite(factors).all()
    assert factors[0] == pytest.approx(1 / 25)
    assert factors[1] == pytest.approx(0.75, rel=1e-4)  # a third of the way down a cosine
    assert factors[-1] == pytest.approx(1 / 25 / 1e4)


def test_landmarks_by_hand():
    """Where the factors are numbers that one can check in the head."""
    assert SCHEDULES["linear"]().factors(4, no_norms).tolist() == [1.0, 0.75, 0.5, 0.25]
    assert SCHEDULES["step"](period=2, gamma=0.5).factors(5, no_norms).tolist() == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert SCHEDULES["step"](period=2, gamma=0.0).factors(3, no_norms).tolist() == [1.0, 1.0, 0.0]
    assert SCHEDULES["cosine"]().factors(2, no_norms).tolist() == pytest.approx([1.0, 0.5])
    sgdr = SCHEDULES["sgdr"](period=2, mult=2).factors(7, no_norms)
    half = (1 + 2**-0.5) / 2
    assert sgdr.tolist() == pytest.approx([1.0, 0.5, 1.0, half, 0.5, 1 - half, 1.0])


# ---- A rule under a schedule


class Together:
    """torch's optimizer and its scheduler, a step of the one after a step of the other."""

    def __init__(self, optimizer, scheduler):
        self.optimizer, self.left = optimizer, STEPS
        self.scheduler = scheduler(optimizer, STEPS)

    def step(self, closure):
        self.optimizer.step()
        self.left -= 1
        if self.left:  # 1cycle refuses to go beyond the end
            self.scheduler.step()


RULES = {
    "heavy_ball": (
        OPTIMIZERS["heavy_ball"](lr=1e-3, momentum=0.8),
        lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.8),
    ),
    "adam": (
        OPTIMIZERS["adam"](lr=0.05, beta2=0.99),
        lambda params: torch.optim.Adam(params, lr=0.05, betas=(0.9, 0.99)),
    ),
}


@pytest.mark.parametrize("problem", ["rosenbrock", "least_squares"])
@pytest.mark.parametrize("rule", RULES)
@every_case
def test_a_scheduled_rule_visits_the_points_of_torch(case, rule, problem):
    schedule, scheduler = case
    ours, theirs = RULES[rule]
    land = PROBLEMS[problem]
    start = land.start()[0]
    path = run(land, Scheduled(ours, schedule), start, STEPS).params
    expected = followed(land, start, lambda params: Together(theirs(params), scheduler))
    torch.testing.assert_close(path, expected, rtol=1e-12, atol=1e-12)
    assert (path[-1] - start).norm() > 1e-2


# ---- Refined


def refined(norms, tau):
    """Section 8 of OPTIMIZERS.md in exact fractions: median, weights, sums of the later ones, over the maximum."""
    steps = len(norms)
    width = 2 * int(tau * steps / 2) + 1
    beyond = norms + norms[-2::-1]  # mirrored at the end, whose value is not repeated
    smooth = [
        statistics.median(beyond[max(j, 0)] for j in range(k - width // 2, k + width // 2 + 1)) for k in range(steps)
    ]
    weights = [1 / Fraction(norm) ** 2 for norm in smooth]
    factors = [weight * sum(weights[k + 1 :]) for k, weight in enumerate(weights)]
    peak = max(factors)
    return torch.tensor([float(factor / peak) for factor in factors], dtype=torch.float64)


def random_norms(steps, seed=0):
    noise = torch.randn(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise.cumsum(0).mul(0.3).exp()


@pytest.mark.parametrize("tau", [0.0, 0.1, 0.37, 0.99])
@pytest.mark.parametrize("steps", [length for length in LENGTHS if length > 1])
def test_refined_is_its_description(steps, tau):
    norms = random_norms(steps)
    ours = SCHEDULES["refined"](tau=tau).factors(steps, lambda: norms)
    torch.testing.assert_close(ours, refined(norms.tolist(), tau), rtol=1e-12, atol=0)
    assert ours[-1] == 0
    assert ours.max() == 1


def test_the_filter_changes_the_schedule():
    norms = random_norms(100)
    raw, smooth = (SCHEDULES["refined"](tau=tau).factors(100, lambda: norms) for tau in (0.0, 0.1))
    assert (raw - smooth).abs().max() > 0.1


@pytest.mark.parametrize("tau", [0.0, 0.1])
@pytest.mark.parametrize("norm", [1.0, 0.3, 1e-200, 1e200])
def test_constant_norms_give_linear_decay(norm, tau):
    for steps in (2, 3, 10, 97):
        factors = SCHEDULES["refined"](tau=tau).factors(
            steps, lambda steps=steps: torch.full((steps,), norm, dtype=torch.float64)
        )
        assert factors.tolist() == [(steps - 1 - k) / (steps - 1) for k in range(steps)]


def test_one_step_is_a_full_one():
    """Its maximum is zero, so there is nothing to divide by; a run that cannot move would be no run."""
    assert SCHEDULES["refined"]().factors(1, lambda: torch.ones(1)).tolist() == [1.0]


@pytest.mark.parametrize("growth", [3.0, 1 / 3.0])
def test_refined_loses_nothing_where_norms_span_many_orders(growth):
    """Weights then span 1e-90 to 1: a later sum taken as the whole minus its first term would be zero."""
    norms = torch.tensor([growth**k for k in range(95)], dtype=torch.float64)
    ours = SCHEDULES["refined"](tau=0.0).factors(95, lambda: norms)
    torch.testing.assert_close(ours, refined(norms.tolist(), 0.0), rtol=1e-12, atol=0)


def test_refined_has_a_row_for_every_run():
    norms = torch.stack([random_norms(30, seed) for seed in range(6)]).reshape(2, 3, 30)
    together = SCHEDULES["refined"](warmup=4).factors(30, lambda: norms)
    assert together.shape == (2, 3, 30)
    for index in range(6):
        alone = SCHEDULES["refined"](warmup=4).factors(30, lambda index=index: norms.reshape(6, 30)[index])
        assert torch.equal(together.reshape(6, 30)[index], alone)


def test_missing_norms_are_filled_from_their_neighbours():
    nan, inf = torch.nan, torch.inf
    factors = SCHEDULES["refined"](tau=0.0).factors(6, lambda: torch.tensor([0.0, 3.0, nan, 2.0, inf, nan]).double())
    torch.testing.assert_close(factors, refined([3.0, 3.0, 3.0, 2.0, 2.0, 2.0], 0.0), rtol=1e-12, atol=0)
    unknown = SCHEDULES["refined"](tau=0.0).factors(3, lambda: torch.full((3,), nan))
    assert unknown.tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_refined_run_is_torchs_under_the_norms_of_its_rehearsal(problem):
    """Pass 1 with torch alone, the factors by the description, pass 2 with torch's LambdaLR."""
    land = PROBLEMS[problem]
    start = land.start()[0]

    def sgd(params):
        return torch.optim.SGD(params, lr=1e-3, momentum=0.8)

    rehearsal = followed(land, start, sgd)[:-1]
    factors = refined(land.grad(rehearsal).norm(dim=-1).tolist(), 0.1).tolist()
    expected = followed(
        land,
        start,
        lambda params: Together(sgd(params), lambda o, T: lr_scheduler.LambdaLR(o, lambda k: factors[k])),
    )
    rule = OPTIMIZERS["heavy_ball"](lr=1e-3, momentum=0.8)
    ours = run(land, Scheduled(rule, SCHEDULES["refined"]()), start, STEPS)
    torch.testing.assert_close(ours.params, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(ours.params[-1], ours.params[-2])  # the last factor is zero: momentum alone moves nothing


def test_each_run_of_a_batch_rehearses_for_itself():
    """By its own start, and by its own step size."""
    refine, start = SCHEDULES["refined"](), PROBLEMS["rosenbrock"].start(3, seed=1)
    land, rule = PROBLEMS["rosenbrock"], OPTIMIZERS["heavy_ball"](lr=1e-3, momentum=0.5)
    together = run(land, Scheduled(rule, refine), start, 40).params
    for index in range(3):
        alone = run(land, Scheduled(rule, refine), start[index], 40).params
        torch.testing.assert_close(together[:, index], alone, rtol=1e-12, atol=1e-13)
    rates = torch.tensor([[1e-4], [1e-3]], dtype=torch.float64)
    together = run(land, Scheduled(OPTIMIZERS["gd"](lr=rates), refine), start[0], 40).params
    for index, rate in enumerate((1e-4, 1e-3)):
        alone = run(land, Scheduled(OPTIMIZERS["gd"](lr=rate), refine), start[0], 40).params
        torch.testing.assert_close(together[:, index], alone, rtol=1e-12, atol=1e-13)
    assert (together[-1, 0] - together[-1, 1]).norm() > 1e-2


def test_a_diverged_rehearsal_gives_a_schedule_all_the_same():
    """Norms rise a hundredfold a step until they are infinite, then there are none."""
    land, rule = LANDSCAPES["quadratic"](kappa=20.0), OPTIMIZERS["gd"](lr=5.0)
    start = torch.stack([land.start()[0], torch.zeros(2, dtype=torch.float64)])
    rehearsal = run(land, rule, start, 400)
    assert rehearsal.diverged_at[0] > 0
    assert rehearsal.diverged_at[1] == -1
    norms = rehearsal.grad_norm[:-1].mT
    for tau in (0.0, 0.1):
        factors = SCHEDULES["refined"](tau=tau).factors(400, lambda: norms)
        assert torch.isfinite(factors).all()
        assert ((factors >= 0) & (factors <= 1)).all()
        assert (factors.amax(-1) == 1).all()
    both = run(land, Scheduled(rule, SCHEDULES["refined"]()), start, 400)
    assert both.diverged_at[1] == -1
    assert (both.params[:, 1] == 0).all()


# ---- Every schedule

VARIANTS = [
    kind(**values)
    for kind in SCHEDULES.values()
    for values in (
        {},
        {"warmup": 4},
        *({name: not one.default} for name, one in settings(kind).items() if isinstance(one, Flag)),
        *(
            {name: getattr(one, end)}
            for name, one in settings(kind).items()
            for end in ("low", "high")
            if not isinstance(one, Flag) and not getattr(one, f"{end}_open", False)
        ),
    )
]


@pytest.mark.parametrize("schedule", VARIANTS, ids=repr)
def test_factors_are_shares_of_the_step_size(schedule):
    for steps in LENGTHS:
        factors = schedule.factors(steps, lambda steps=steps: random_norms(steps))
        assert factors.shape == (steps,)
        assert factors.dtype == torch.float64
        assert torch.isfinite(factors).all()
        assert ((factors >= 0) & (factors <= 1)).all()


@pytest.mark.parametrize(("name", "kind"), SCHEDULES.items(), ids=SCHEDULES)
def test_a_schedule_says_what_it_is(name, kind):
    assert kind.name == name
    assert all(text.strip() for text in (kind.label, kind.idea, kind.equation, kind.reference))
    assert kind.idea.endswith(".")
    assert any(character.isdigit() for character in kind.reference)  # a year
    assert [one.label for one in SCHEDULES.values()].count(kind.label) == 1
    assert kind() == kind()
    for setting_name, one in settings(kind).items():
        assert one.check(setting_name, one.default) == one.default == getattr(kind(), setting_name)
        assert one.help


def test_every_schedule_written_is_registered():
    written = set()
    for found in pkgutil.walk_packages(optimizers.__path__, "optimizers."):
        for _, one in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
            if issubclass(one, Schedule) and one is not Schedule and not one.__name__.startswith("_"):
                written.add(one)
    assert written == set(SCHEDULES.values())


@pytest.mark.parametrize("kind", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_scheduled_run_keeps_its_dtype(kind, dtype):
    rates = torch.tensor([[1e-3], [1e-2]], dtype=torch.float64)
    done = run(QUADRATIC, Scheduled(OPTIMIZERS["adam"](lr=rates), kind()), QUADRATIC.start(2, dtype=dtype), 7)
    assert done.params.dtype == done.loss.dtype == dtype
    assert torch.isfinite(done.params).all()
    assert (done.params[0] != done.params[-1]).all()


def test_beyond_the_planned_end_the_last_factor_stays():
    rule = Scheduled(OPTIMIZERS["gd"](lr=0.1), SCHEDULES["linear"]()).planned(4, no_norms)
    path = [
        now.params[0]
        for now, _ in zip(optimizers.iterate(QUADRATIC, [rule], QUADRATIC.start()[0]), range(8), strict=False)
    ]
    for step, factor in enumerate([1.0, 0.75, 0.5, 0.25, 0.25, 0.25, 0.25]):
        expected = path[step] - 0.1 * factor * QUADRATIC.grad(path[step])
        torch.testing.assert_close(path[step + 1], expected, rtol=1e-14, atol=1e-15)


def test_a_schedule_that_was_not_told_the_length_says_so():
    rule = Scheduled(OPTIMIZERS["gd"](), SCHEDULES["linear"]())
    steps = optimizers.iterate(QUADRATIC, [rule], QUADRATIC.start()[0])
    next(steps)
    with pytest.raises(ValueError, match=r"A schedule must know how long the run is: call planned\(steps, ...\) first"):
        next(steps)


def test_a_rehearsal_keeps_no_path(monkeypatch):
    """The parameters of a network at every step would fill the memory; the rehearsal needs the norms alone."""
    kept = []
    real = optimizers.trajectory._Record.add

    def add(self, now, *, keep_params):
        kept.append((id(self), keep_params))
        real(self, now, keep_params=keep_params)

    monkeypatch.setattr(optimizers.trajectory._Record, "add", add)
    run(QUADRATIC, Scheduled(OPTIMIZERS["gd"](), SCHEDULES["refined"]()), steps=20, params_every=10)
    rehearsal = [keep for record, keep in kept if record == kept[0][0]]
    assert len(rehearsal) == 21
    assert sum(rehearsal) == 2
