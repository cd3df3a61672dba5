"""Wrappers: against torch and pytorch_optimizer, against the paper by hand, nested in one another, and declared."""

import importlib
import inspect
import itertools
import pkgutil

import pytest
import pytorch_optimizer
import torch

import optimizers
from landscapes import LANDSCAPES, settings
from landscapes.setting import Number
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, Oracle, Scheduled, Wrapper, run
from tests.optimizers.comparison import PROBLEMS, STEPS, assert_same_path, followed
from tests.optimizers.test_gradient_noise import LAWS, Flat

QUADRATIC = LANDSCAPES["quadratic"](kappa=10.0, angle=0.4)
ROSENBROCK = LANDSCAPES["rosenbrock"]()
LINES = PROBLEMS["least_squares"]

GD, HEAVY_BALL, ADAM, ADAMW = (OPTIMIZERS[name] for name in ("gd", "heavy_ball", "adam", "adamw"))
CLIP_NORM, CLIP_VALUE, LOOKAHEAD, DECAY, NOISE, XGRAD = (
    WRAPPERS[name] for name in ("clip_norm", "clip_value", "lookahead", "decoupled_decay", "gradient_noise", "xgrad")
)
every_problem = pytest.mark.parametrize("problem", ["rosenbrock", "least_squares"])


def agree(problem, ours, theirs):
    """Ours visits the points of theirs over 100 steps, which soon are not those of the bare rule."""
    land = PROBLEMS[problem]
    start = land.start()[0]
    path = run(land, ours, start, STEPS)
    assert_same_path(path.params, followed(land, start, theirs), 1e-12, lambda: run(land, ours, start, STEPS).params)
    assert path.diverged_at == -1
    assert (run(land, ours.inner, start, 10).params - path.params[:11]).abs().max() > 1e-6


def sgd(momentum=0.0, lr=1e-3):
    return lambda params: torch.optim.SGD(params, lr=lr, momentum=momentum)


def adam(params):
    return torch.optim.Adam(params, lr=0.005, betas=(0.8, 0.99))


# Calm enough that a rounding error stays one: at a larger step size Adam's path amplifies it a billionfold.
OUR_ADAM = ADAM(lr=0.005, beta1=0.8, beta2=0.99)


# ---- Against torch and pytorch_optimizer


class Before:
    """torch's optimizer after something is done to the gradients."""

    def __init__(self, optimizer, change):
        self.optimizer, self.change = optimizer, change

    def step(self, closure):
        (group,) = self.optimizer.param_groups
        self.change(group["params"])
        self.optimizer.step()


INNER = {
    "gd": (GD(lr=1e-3), sgd()),
    "heavy_ball": (HEAVY_BALL(lr=1e-3, momentum=0.8), sgd(0.8)),
    "adam": (OUR_ADAM, adam),
}


@every_problem
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("c", [0.2, 1.5])
def test_the_clipped_norm_is_torchs(inner, c, problem):
    ours, theirs = INNER[inner]
    agree(
        problem,
        CLIP_NORM(ours, c=c),
        lambda params: Before(theirs(params), lambda own: torch.nn.utils.clip_grad_norm_(own, c)),
    )


@every_problem
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("c", [0.1, 0.7])
def test_the_clipped_values_are_torchs(inner, c, problem):
    ours, theirs = INNER[inner]
    agree(
        problem,
        CLIP_VALUE(ours, c=c),
        lambda params: Before(theirs(params), lambda own: torch.nn.utils.clip_grad_value_(own, c)),
    )


@every_problem
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize(("k", "alpha"), [(5, 0.5), (3, 0.2)])
def test_lookahead_is_pytorch_optimizers(inner, k, alpha, problem):
    ours, theirs = INNER[inner]
    agree(
        problem,
        LOOKAHEAD(ours, k=k, alpha=alpha),
        lambda params: pytorch_optimizer.Lookahead(theirs(params), k=k, alpha=alpha),
    )


@every_problem
@pytest.mark.parametrize("decay", [0.01, 2.0])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_decay_around_gradient_descent_is_pytorch_optimizers_sgdw(momentum, decay, problem):
    agree(
        problem,
        DECAY(HEAVY_BALL(lr=1e-3, momentum=momentum) if momentum else GD(lr=1e-3), weight_decay=decay),
        lambda params: pytorch_optimizer.SGDW(
            params, lr=1e-3, momentum=momentum, weight_decay=decay, weight_decouple=True
        ),
    )


@every_problem
def test_decay_around_adam_is_torchs_adamw(problem):
    agree(
        problem,
        DECAY(OUR_ADAM, weight_decay=0.1),
        lambda params: torch.optim.AdamW(params, lr=0.005, betas=(0.8, 0.99), weight_decay=0.1),
    )


@every_problem
def test_decay_under_a_schedule_is_torchs_adamw_under_it(problem):
    """The decay is times the step size of the moment."""

    class Under:
        def __init__(self, params):
            self.optimizer = torch.optim.AdamW(params, lr=0.005, betas=(0.8, 0.99), weight_decay=0.5)
            self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 7, 0.8)

        def step(self, closure):
            self.optimizer.step()
            self.scheduler.step()

    agree(problem, Scheduled(DECAY(OUR_ADAM, weight_decay=0.5), SCHEDULES["step"](period=7, gamma=0.8)), Under)


# ---- XGrad


class Predicted:
    """Guan et al. 2023 around torch's optimizer: save, go to the predicted weights, gradient, restore, step.

    `ahead(state, group)` is the optimizer's next direction.
    """

    def __init__(self, optimizer, ahead, s):
        self.optimizer, self.ahead, self.s = optimizer, ahead, s

    def step(self, closure):
        (group,) = self.optimizer.param_groups
        saved = [param.clone() for param in group["params"]]
        for param in group["params"]:
            if state := self.optimizer.state[param]:
                param.sub_(group["lr"] * self.s * self.ahead(state, group))
        closure()
        for param, own in zip(group["params"], saved, strict=True):
            param.copy_(own)
        self.optimizer.step()


def velocity(state, group):
    return state["momentum_buffer"]


def ratio(state, group):
    (beta1, beta2), steps = group["betas"], float(state["step"])
    mean, square = state["exp_avg"] / (1 - beta1**steps), state["exp_avg_sq"] / (1 - beta2**steps)
    return mean / (square.sqrt() + group["eps"])


XGRADS = {
    "heavy_ball": (HEAVY_BALL(lr=5e-4, momentum=0.8), sgd(0.8, 5e-4), velocity),
    "heavy_ball-decay": (
        HEAVY_BALL(lr=5e-4, momentum=0.7, weight_decay=0.5, dampening=0.2),
        lambda params: torch.optim.SGD(params, lr=5e-4, momentum=0.7, weight_decay=0.5, dampening=0.2),
        velocity,
    ),
    "adam": (OUR_ADAM, adam, ratio),
    "adam-decay": (
        ADAM(lr=0.005, beta1=0.7, beta2=0.99, weight_decay=0.3, eps=1e-3),
        lambda params: torch.optim.Adam(params, lr=0.005, betas=(0.7, 0.99), weight_decay=0.3, eps=1e-3),
        ratio,
    ),
    "adamw": (
        ADAMW(lr=0.005, beta1=0.8, beta2=0.995, weight_decay=0.3),
        lambda params: torch.optim.AdamW(params, lr=0.005, betas=(0.8, 0.995), weight_decay=0.3),
        ratio,
    ),
}


@every_problem
@pytest.mark.parametrize("inner", XGRADS)
@pytest.mark.parametrize("s", [1.0, 2.5])
def test_weight_prediction_is_the_papers_around_torch(inner, s, problem):
    ours, theirs, ahead = XGRADS[inner]
    agree(problem, XGRAD(ours, s=s), lambda params: Predicted(theirs(params), ahead, s))


@every_problem
def test_predicting_a_momentum_ahead_is_classical_nesterov(problem):
    """Our w is Nesterov's theta; torch's iterate is the point theta + mu v that its gradients are taken at."""
    land, lr, mu = PROBLEMS[problem], 1e-3, 0.8
    start = land.start()[0]
    theta = run(land, XGRAD(HEAVY_BALL(lr=lr, momentum=mu), s=mu), start, STEPS).params
    seen = followed(land, start, lambda params: torch.optim.SGD(params, lr=lr, momentum=mu, nesterov=True))
    torch.testing.assert_close(theta[1:] + mu * theta.diff(dim=0), seen[1:], rtol=1e-12, atol=1e-12)
    w, v = start.clone(), torch.zeros_like(start)
    for step in range(STEPS):
        v = mu * v - lr * land.grad(w + mu * v)
        w = w + v
        torch.testing.assert_close(theta[step + 1], w, rtol=1e-12, atol=1e-12)


PREDICTING = [kind for kind in OPTIMIZERS.values() if kind.predicts]


@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_weight_prediction_knows_where_it_belongs(kind):
    """A rule that says it predicts does so from its second step on; the others are refused."""
    if kind.predicts:
        params = ROSENBROCK.start()[0]
        state = kind().init(params)
        assert kind().direction(state) is None
        _, state = kind().step(params, state, Oracle(ROSENBROCK))
        assert kind().direction(state).shape == params.shape
        assert XGRAD(kind()).inner == kind()
    else:
        assert kind().direction(()) is None
        with pytest.raises(ValueError, match="xgrad goes directly around a rule whose state tells its next direction"):
            XGRAD(kind())


def test_weight_prediction_goes_around_no_wrapper():
    for inner in (CLIP_NORM(ADAM()), Scheduled(ADAM(), SCHEDULES["linear"]()), XGRAD(ADAM())):
        with pytest.raises(ValueError, match=r"xgrad goes directly around .*\.$"):
            XGRAD(inner)


@pytest.mark.parametrize("kind", [*WRAPPERS.values(), Scheduled], ids=lambda kind: kind.name)
def test_only_an_optimizer_can_be_wrapped(kind):
    values = {"schedule": SCHEDULES["linear"]()} if kind is Scheduled else {}
    for thing, called in (("adam", "str"), (ADAM, "DeclaredMeta"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"{kind.name} goes around an optimizer, not around {called}."):
            kind(thing, **values)


# ---- Identities


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_a_wrapper_that_changes_nothing_is_the_rule(rule):
    base = OPTIMIZERS[rule](lr=1e-3)
    zero = torch.zeros(1, dtype=torch.float64)
    idle = [
        LOOKAHEAD(base, k=1, alpha=1.0),
        DECAY(base, weight_decay=0.0),
        DECAY(base, weight_decay=zero),
        CLIP_NORM(base, c=1e9),
        CLIP_VALUE(base, c=1e9),
        Scheduled(base, SCHEDULES["constant"]()),
        *(NOISE(base, law=law, sigma=0.0) for law in LAWS if rule not in DRAWING),
        *([XGRAD(base, s=0.0), XGRAD(base, s=zero)] if base.predicts else []),
    ]
    bare, *paths = run(LINES, [base, *idle], LINES.start()[0], 6).params.unbind(1)
    assert (bare[-1] != bare[0]).any()
    for wrapped, path in zip(idle, paths, strict=True):
        assert torch.equal(path, bare), wrapped


def test_lookahead_of_one_whole_step_is_exact_however_long_the_step():
    """slow + (w - slow) would round where w is far from the slow weights."""
    start, bare = QUADRATIC.start(50, seed=1), GD(lr=0.7)
    wrapped = run(QUADRATIC, LOOKAHEAD(bare, k=1, alpha=1.0), start, 30).params
    assert torch.equal(wrapped, run(QUADRATIC, bare, start, 30).params)


def drawing():
    """The rules that draw random numbers themselves: the noise takes some of the same stream."""
    found = set()
    for name, kind in OPTIMIZERS.items():
        ends = [run(LINES, kind(lr=1e-3), steps=3, seed=seed).final for seed in (0, 1)]
        if not torch.equal(*ends):
            found.add(name)
    return found


DRAWING = drawing()


# ---- Nesting

NESTED = list(itertools.permutations(WRAPPERS.values(), 2))


@pytest.mark.parametrize(("outer", "inner"), NESTED, ids=lambda kind: kind.name)
def test_two_wrappers_nest_in_either_order(outer, inner):
    """Weight prediction goes innermost, or it says so."""
    rule = ADAM(lr=0.01)
    if outer is XGRAD:
        with pytest.raises(ValueError, match="xgrad goes directly around"):
            outer(inner(rule))
        return
    nested = outer(inner(rule))
    assert nested.rule is rule
    done = run(ROSENBROCK, nested, ROSENBROCK.start(3), 20)
    assert (done.diverged_at == -1).all()
    assert (done.final != done.params[0]).all()
    for index in range(3):
        alone = run(ROSENBROCK, nested, done.params[0, index], 20).params
        torch.testing.assert_close(done.params[:, index], alone, rtol=1e-12, atol=1e-13)


def test_the_order_of_two_wrappers_matters():
    """The outer one changes the gradient first and the step last; by hand."""
    land, start = Flat(4), Flat(4).start()[0] + 1
    draw = -run(land, NOISE(GD(lr=1.0), sigma=10.0), start, 1).params.diff(dim=0)[0]
    assert draw.abs().min() > 0.1  # all would be clipped
    inside = run(land, CLIP_VALUE(NOISE(GD(lr=1.0), sigma=10.0), c=0.1), start, 1).final
    torch.testing.assert_close(inside, start - draw)  # the gradient of zero is clipped, then noise is added
    outside = run(land, NOISE(CLIP_VALUE(GD(lr=1.0), c=0.1), sigma=10.0), start, 1).final
    torch.testing.assert_close(outside, start - draw.clamp(-0.1, 0.1))
    # With k = 1 and alpha = 1/2, half of what is inside is kept.
    pulled = run(land, LOOKAHEAD(DECAY(GD(lr=1.0), weight_decay=0.2), k=1), start, 1).final
    torch.testing.assert_close(pulled, start * 0.9)
    whole = run(land, DECAY(LOOKAHEAD(GD(lr=1.0), k=1), weight_decay=0.2), start, 1).final
    torch.testing.assert_close(whole, start * 0.8)


def test_a_schedule_in_a_wrapper_in_a_schedule_multiplies():
    halves, thirds = SCHEDULES["step"](period=1, gamma=0.5), SCHEDULES["step"](period=2, gamma=1 / 3)
    nested = Scheduled(CLIP_VALUE(Scheduled(GD(lr=0.1), halves), c=0.4), thirds)
    points = run(QUADRATIC, nested, steps=9).params
    for step in range(9):
        factor = 0.5**step * (1 / 3) ** (step // 2)
        expected = points[step] - 0.1 * factor * QUADRATIC.grad(points[step]).clamp(-0.4, 0.4)
        torch.testing.assert_close(points[step + 1], expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("kind", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_goes_around_every_wrapper_and_under_all_but_one(kind, schedule):
    """Around: the step size in the rule's step is the scheduled one, as by changing lr by hand."""
    wrapped = Scheduled(kind(ADAM(lr=0.05)), SCHEDULES[schedule](warmup=3))
    path = run(ROSENBROCK, wrapped, steps=12).params
    rehearsed = run(ROSENBROCK, kind(ADAM(lr=0.05)), steps=12).grad_norm[:-1]
    factors = SCHEDULES[schedule](warmup=3).factors(12, lambda: rehearsed)
    params, noise = ROSENBROCK.start()[0], torch.Generator().manual_seed(0)
    state = kind(ADAM()).init(params)
    for step, factor in enumerate(factors.tolist()):
        now = kind(ADAM(lr=0.05 * factor))
        params, state = now.step(params, state, Oracle(ROSENBROCK, generator=noise))
        torch.testing.assert_close(path[step + 1], params, rtol=1e-13, atol=1e-14)
    if kind is not XGRAD:
        under = run(ROSENBROCK, kind(Scheduled(ADAM(lr=0.05), SCHEDULES[schedule]())), steps=12)
        assert under.diverged_at == -1


def test_an_unplanned_schedule_inside_a_wrapper_says_a_sentence():
    wrapped = CLIP_NORM(Scheduled(GD(), SCHEDULES["linear"]()))
    params = QUADRATIC.start()[0]
    with pytest.raises(ValueError, match=r"A schedule must know how long the run is: call planned\(steps, ...\) first"):
        wrapped.step(params, wrapped.init(params), Oracle(QUADRATIC))


@pytest.mark.parametrize("land", [ROSENBROCK, LINES], ids=["rosenbrock", "least_squares"])
def test_wrapped_and_plain_rules_side_by_side_do_what_they_do_alone(land):
    rate = torch.tensor([[1e-3], [1e-2]], dtype=torch.float64)
    rules = [
        GD(lr=1e-3),
        *(kind(ADAM(lr=0.01)) for kind in WRAPPERS.values()),
        Scheduled(LOOKAHEAD(CLIP_NORM(ADAM(lr=rate))), SCHEDULES["refined"]()),
        ADAM(lr=0.01),
    ]
    start = land.start(2)
    together = run(land, rules, start, 25, seed=5)
    for index, rule in enumerate(rules):
        alone = run(land, rule, start, 25, seed=5)
        torch.testing.assert_close(together.params[:, index], alone.params, rtol=1e-12, atol=1e-13)
        for name in ("loss", "grad", "hvp"):
            ours, theirs = (getattr(one.evaluations, name) for one in (together, alone))
            assert torch.equal(ours[:, index], theirs)


# ---- Declarations


def test_every_wrapper_written_is_registered():
    written = set()
    for found in pkgutil.walk_packages(optimizers.__path__, "optimizers."):
        for _, one in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
            if issubclass(one, Wrapper) and one is not Wrapper and not one.__name__.startswith("_"):
                written.add(one)
    assert written == {*WRAPPERS.values(), Scheduled}


@pytest.mark.parametrize(("name", "kind"), WRAPPERS.items(), ids=WRAPPERS)
def test_a_wrapper_says_what_it_is(name, kind):
    assert kind.name == name
    assert all(text.strip() for text in (kind.label, kind.idea, kind.equation, kind.reference))
    assert kind.idea.endswith(".")
    assert any(character.isdigit() for character in kind.reference)  # a year
    assert [one.label for one in WRAPPERS.values()].count(kind.label) == 1
    assert kind(ADAM()) == kind(ADAM()) != kind(ADAM(lr=0.5))
    for setting_name, one in settings(kind).items():
        assert one.check(setting_name, one.default) == one.default == getattr(kind(ADAM()), setting_name)
        assert one.help
        if isinstance(one, Number):
            assert one.symbol
            for end in one.scale or ():
                assert one.check(setting_name, end) == end
            with pytest.raises(ValueError, match=f"{setting_name} = .* is not allowed"):
                kind(ADAM(), **{setting_name: one.low if one.low_open else one.low - 1})
