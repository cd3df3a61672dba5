"""What holds for every rule, whatever it does: these tests go through the registry and name nobody."""

import dataclasses
import importlib
import inspect
import itertools
import math
import pkgutil
import re

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import optimizers
from landscapes import LANDSCAPES, MLP, Landscape, settings
from landscapes.setting import Choice, Number
from optimizers import OPTIMIZERS, SCHEDULES, Evaluation, Optimizer, Oracle, Scheduled, Spent, iterate, run
from optimizers.flow import GradientFlow

QUADRATIC = LANDSCAPES["quadratic"](kappa=10.0, angle=0.4)
ROSENBROCK = LANDSCAPES["rosenbrock"]()
NETWORK = MLP(data="chebyshev", hidden=(4,), objective="squared")
every_rule = pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)

NUMBERS = [(kind, name) for kind in OPTIMIZERS.values() for name, s in settings(kind).items() if isinstance(s, Number)]
every_number = pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=[f"{kind.name}-{name}" for kind, name in NUMBERS])


def variants(kind):
    """The rule at its defaults, with each of its flags turned over, and with each of its other choices."""
    flags = [(name, not value) for name, value in kind().values().items() if isinstance(value, bool)]
    choices = [
        (name, value) for name, one in settings(kind).items() if isinstance(one, Choice) for value in one.choices
    ]
    return [kind(lr=1e-3), *(kind(lr=1e-3, **{name: value}) for name, value in flags + choices)]


def other(one):
    """An allowed value, not the default, of moderate size."""
    low = max(one.low, 0.0)
    high = min(one.high, low + 1.0)
    return low + (high - low) * (0.3 if one.default != 0.3 else 0.4)


def two_values(kind):
    """Each number's default and another, a row each."""
    return {
        name: torch.tensor([[one.default], [other(one)]], dtype=torch.float64)
        for name, one in settings(kind).items()
        if isinstance(one, Number)
    }


def assert_keeps_dtype(stepper, dtype):
    start = QUADRATIC.start(2, dtype=dtype)
    *_, now = itertools.islice(iterate(QUADRATIC, [stepper], start), 4)
    tensors = [now.params, now.loss, now.grad, *tree_leaves(now.states)]
    assert {x.dtype for x in tensors if isinstance(x, torch.Tensor)} == {dtype}


def walk(rule, land, params, steps=5, seed=0, oracle=Oracle):
    """The points that the rule visits, stepped by hand, and its last state."""
    state, points, noise = rule.init(params), [params], torch.Generator().manual_seed(seed)
    for _ in range(steps):
        params, state = rule.step(params, state, oracle(land, generator=noise))
        points.append(params)
    return torch.stack(points), state


class Calm(Oracle):
    """An oracle whose random numbers are all zero."""

    def normal(self, like):
        return torch.zeros_like(super().normal(like))


def same(a, b):
    """Equal to the last bit, through nested tuples of tensors and numbers, NaN included."""
    ones, others = tree_leaves(a), tree_leaves(b)
    return len(ones) == len(others) and all(
        torch.equal(x.contiguous().view(torch.uint8), y.contiguous().view(torch.uint8))
        if isinstance(x, torch.Tensor)
        else x == y
        for x, y in zip(ones, others, strict=True)
    )


@every_rule
@pytest.mark.parametrize("land", [ROSENBROCK, NETWORK], ids=["rosenbrock", "network"])
def test_a_step_is_pure(kind, land):
    for rule in variants(kind):
        params = land.start(3)
        state = rule.init(params)
        for _ in range(3):  # the first step is special in many rules
            before = tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, (params, state))
            answers = [rule.step(params, state, Oracle(land, generator=torch.Generator().manual_seed(1))) for _ in "ab"]
            assert same((params, state), before)
            assert same(*answers)
            params, state = answers[0]


@every_rule
@pytest.mark.parametrize("land", [ROSENBROCK, NETWORK], ids=["rosenbrock", "network"])
def test_a_batch_of_runs_equals_the_runs_one_by_one(kind, land):
    for rule in variants(kind):
        # Off the symmetry of odd networks and data: there a bias has a gradient of pure rounding, and rules that divide by
        # the gradient's size make steps of it.
        noise = 0.1 * torch.randn(6, land.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        start = (land.start(6, seed=3) + noise).reshape(2, 3, land.dim)
        together, _ = walk(rule, land, start, 10)
        for i, j in itertools.product(range(2), range(3)):
            alone, _ = walk(rule, land, start[i, j], 10)
            # A batched matrix product sums in another order, and eigenvectors make more of it: what a rule makes of rounding
            # is in its tolerance. The surface's arithmetic is element by element. A rule that diverges on a steep surface
            # does so alone as in company.
            rtol = max(kind.tolerance, 1e-9 if land is NETWORK else 1e-12)
            near = {"rtol": rtol, "atol": rtol / 10}
            torch.testing.assert_close(together[:, i, j], alone, **near, equal_nan=True)


@every_number
def test_a_tensor_of_values_equals_the_values_one_by_one(kind, name):
    default, another = getattr(kind(), name), other(settings(kind)[name])
    assert default != another
    for rule in variants(kind):
        batched = dataclasses.replace(rule, **{name: torch.tensor([[default], [another]], dtype=torch.float64)})
        start = QUADRATIC.start()
        together, _ = walk(batched, QUADRATIC, start.expand(2, 2), 10)
        for row, value in enumerate((default, another)):
            alone, _ = walk(dataclasses.replace(rule, **{name: value}), QUADRATIC, start[0], 10)
            torch.testing.assert_close(together[:, row], alone, rtol=1e-12, atol=1e-13)


@every_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_run_keeps_its_dtype_whatever_the_dtype_of_the_hyper_parameters(kind, dtype):
    for rule in [*variants(kind), kind(**two_values(kind))]:
        assert_keeps_dtype(rule, dtype)


@every_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("start", [(0.0, 0.0), (0.0, 1.0)], ids=["minimizer", "one coordinate"])
def test_a_zero_gradient_gives_no_nan(kind, start, dtype):
    """At the minimizer no gradient exists at all; on the axis one coordinate never feels one."""
    land = LANDSCAPES["quadratic"](kappa=10.0)
    start = torch.tensor(start, dtype=dtype)
    lowest = {n: s.low for n, s in settings(kind).items() if isinstance(s, Number) and not s.low_open}
    tensors = {name: torch.tensor([value], dtype=dtype) for name, value in lowest.items()}
    standard = {n: torch.tensor([getattr(kind(), n)], dtype=dtype) for n in lowest}
    tiny = {n: 1e-60 for n in lowest if settings(kind)[n].log}  # above zero, and zero in float32
    rules = [*variants(kind), kind(**tensors), kind(**tiny)]
    for name in lowest:  # each number at the end of its range, the others as numbers or as tensors
        rules += [kind(**{name: lowest[name]}), kind(**{name: tensors[name]}), kind(**standard | {name: lowest[name]})]
    for rule in rules:
        points, state = walk(rule, land, start, 5)
        assert torch.isfinite(points).all(), rule
        assert all(torch.isfinite(x).all() for x in tree_leaves(state) if isinstance(x, torch.Tensor)), rule
        still = start == 0
        if (points[:, still] != 0).any():  # only a random push moves such a coordinate
            points, _ = walk(rule, land, start, 5, oracle=Calm)
        assert (points[:, still] == 0).all(), rule


THRESHOLDS = [kind for kind in OPTIMIZERS.values() if kind().stability_threshold() is not None]
WITH_THRESHOLD = {  # each once: plain gradient descent has no momentum to vary
    kind(**{name: value for name, value in values.items() if name in settings(kind)})
    for kind in THRESHOLDS
    for momentum in (0.0, 0.5, 0.9)
    for values in (
        {"lr": 0.1, "momentum": momentum},
        {"lr": 0.03, "momentum": momentum, "weight_decay": 0.4, "dampening": 0.3},
        {"lr": 0.1, "convex": True},
        {"lr": 0.1, "momentum": momentum, "nesterov": True, "dampening": 0.3, "weight_decay": 0.4},
        {"lr": 0.1, "momentum": momentum, "nesterov": True, "dampening": 0.9, "weight_decay": 4.0},
    )
}


@pytest.mark.parametrize("rule", sorted(WITH_THRESHOLD, key=repr), ids=repr)
def test_the_stability_threshold_is_where_stability_ends(rule):
    threshold = rule.stability_threshold()
    start = torch.tensor([0.0, 1.0], dtype=torch.float64)  # on the steep axis
    below = run(LANDSCAPES["quadratic"](kappa=0.99 * threshold), rule, start, 1000, record_every=500)
    above = run(LANDSCAPES["quadratic"](kappa=1.01 * threshold), rule, start, 1000, record_every=500)
    assert below.final.abs().max() < 1e-6
    assert above.diverged_at != -1 or above.final.abs().max() > 1e6


def test_a_threshold_is_declared_somewhere():
    assert THRESHOLDS


@pytest.mark.parametrize("kind", THRESHOLDS, ids=lambda kind: kind.name)
def test_the_stability_threshold_exists_all_over_the_range(kind):
    """A rule that does not move is stable everywhere, as number and as tensor; one threshold per run elsewhere."""
    assert kind(lr=0.0).stability_threshold() == math.inf
    numbers = kind(lr=torch.tensor([[0.0], [0.5]], dtype=torch.float64)).stability_threshold()
    assert numbers.tolist() == [[math.inf], [pytest.approx(kind(lr=0.5).stability_threshold())]]
    for name, one in settings(kind).items():
        if isinstance(one, Number):
            ends = [end for end, is_open in ((one.low, one.low_open), (one.high, one.high_open)) if not is_open]
            assert all(not math.isnan(kind(**{name: end}).stability_threshold()) for end in ends)


PRECONDITIONED = [kind for kind in OPTIMIZERS.values() if kind.preconditions]
every_preconditioned = pytest.mark.parametrize("kind", PRECONDITIONED, ids=lambda kind: kind.name)


@every_preconditioned
@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_the_preconditioned_threshold_is_where_stability_ends(kind, beta1):
    """With a constant P: eps or the start of the sum of squares is 1, beside which gradients of 1e-30 are nothing."""
    frozen = {"eps": 1.0, "b0": 1.0, "beta1": beta1, "momentum": beta1, "psi": 1e6, "weight_decay": 0.0}
    rule = kind(**{name: value for name, value in frozen.items() if name in settings(kind)}, lr=0.1)
    if kind.name == "adahessian":  # its P is the curvature itself: eps alone leaves a power of it near 1
        rule = dataclasses.replace(rule, exact=True, k=1e-9)
    scale = 2.0 if kind.name == "adahessian" else 1.0  # P = curvature^0 + eps
    below, above = (swing(rule, factor * scale * rule.preconditioned_threshold()) for factor in (0.95, 1.05))
    assert below[-1] < 1e-9 * below.max()  # the first steps, with their short memory, may go astray
    assert above.max() > 1e3 * above[0]  # until the gradients are felt in P, which stops the growth


def swing(rule, curvature):
    """|w| along a run from 1e-30 on a parabola."""
    start = torch.tensor([0.0, 1e-30], dtype=torch.float64)
    return run(LANDSCAPES["quadratic"](kappa=curvature), rule, start, 500, record_every=50).params[:, 1].abs()


@every_preconditioned
def test_the_preconditioner_is_what_a_settled_step_is_divided_by(kind):
    """Under a constant gradient g every average is g, and the step is lr g / P."""
    grad = torch.tensor([0.3, -2.0], dtype=torch.float64)

    class Constant(Oracle):
        def __call__(self, params):
            return Evaluation((params * grad).sum(-1), grad)

        def hvp(self, params, vectors):
            return 3.0 * vectors

    weight_decay = {"weight_decay": 0.0} if "weight_decay" in settings(kind) else {}
    flags = {"exact": True} if kind.name == "adahessian" else {}
    rule = kind(lr=1e-3, **weight_decay, **flags)
    params = torch.zeros(2, dtype=torch.float64)
    state = rule.init(params)
    assert rule.preconditioner(state) is None
    for _ in range(3000):
        before = params
        params, state = rule.step(params, state, Oracle.__new__(Constant))
    # Momenta are averages, and sums still grow by a share of 1e-3 a step.
    momentum = rule.values().get("momentum", 0.0)
    expected = rule.lr * grad / rule.preconditioner(state) / (1 - momentum)
    torch.testing.assert_close(before - params, expected, rtol=2e-3, atol=0)


def test_a_preconditioned_threshold_follows_the_schedule():
    rule = OPTIMIZERS["adam"](lr=0.1, beta1=0.5)
    assert rule.preconditioned_thresholds(3) == [60.0] * 3
    halved = Scheduled(inner=rule, schedule=SCHEDULES["linear"]())
    factors = SCHEDULES["linear"]().factors(4, lambda: None).tolist()
    expected = [60.0 / factor if factor else math.inf for factor in factors]
    assert halved.preconditioned_thresholds(4) == pytest.approx(expected)
    assert OPTIMIZERS["gd"]().preconditioned_thresholds(3) is None
    assert OPTIMIZERS["adam"](weight_decay=0.1, lr=0.1, beta1=0.5).preconditioned_thresholds(3) == [60.0] * 3


@pytest.mark.parametrize("name", ["adamw", "adahessian", "adopt"])
def test_decoupled_decay_lowers_the_preconditioned_threshold(name):
    kind = OPTIMIZERS[name]
    plain, decayed = kind(lr=0.5, weight_decay=0.0), kind(lr=0.5, weight_decay=0.8)
    assert decayed.preconditioned_threshold() == pytest.approx(0.8 * plain.preconditioned_threshold())


DECAYING = [kind for kind in PRECONDITIONED if "weight_decay" in settings(kind)]


@pytest.mark.parametrize("kind", DECAYING, ids=lambda kind: kind.name)
@pytest.mark.parametrize("weight_decay", [0.5, 3.0])
def test_with_weight_decay_stability_ends_where_the_felt_curvature_is_at_the_threshold(kind, weight_decay):
    """With a constant P of 1, as above; a decay inside the gradient adds itself to the curvature, one beside it does not."""
    frozen = {"eps": 1.0, "momentum": 0.5, "beta1": 0.5, "exact": True, "k": 1e-9}
    known = {name: value for name, value in frozen.items() if name in settings(kind)}
    rule = kind(**known, lr=0.1, weight_decay=weight_decay)
    scale = 2.0 if kind.name == "adahessian" else 1.0
    felt = [factor * rule.preconditioned_threshold() for factor in (0.95, 1.05)]
    below, above = (swing(rule, scale * one - float(rule.felt_decay)) for one in felt)
    assert below[-1] < 1e-9 * below.max()  # the first steps, with their short memory, may go astray
    assert above.max() > 1e3 * above[0]
    assert kind.couples_decay != kind.decouples_decay
    assert (rule.felt_decay == weight_decay) == kind.couples_decay
    assert ("(1 − ηλ/2)" in rule.scaled_threshold_text) == kind.decouples_decay


@pytest.mark.parametrize("kind", THRESHOLDS, ids=lambda kind: kind.name)
def test_the_text_of_a_threshold_is_its_number(kind):
    """Read as arithmetic, with the settings for the letters."""
    for values in ({}, {"nesterov": True}, {"weight_decay": 0.4}, {"nesterov": True, "weight_decay": 0.4}):
        own = {name: value for name, value in values.items() if name in settings(kind)}
        rule = kind(lr=0.05, **own, **({"dampening": 0.2} if "dampening" in settings(kind) else {}))
        assert spelled_out(rule.threshold_text, rule) == pytest.approx(float(rule.stability_threshold()))


@every_preconditioned
def test_the_text_of_a_preconditioned_threshold_is_its_number(kind):
    for values in ({}, {"weight_decay": 0.4}):
        rule = kind(lr=0.05, **{name: value for name, value in values.items() if name in settings(kind)})
        assert spelled_out(rule.scaled_threshold_text, rule) == pytest.approx(float(rule.preconditioned_threshold()))


def spelled_out(text, rule):
    letters = {"η": "lr", "μ": "momentum", "τ": "dampening", "λ": "weight_decay", "β₁": "beta1"}
    text = text.replace("−", "-").replace(" · ", "*").replace("β₁", "β")
    text = re.sub(r"(?<=[\d)ηλμτβ])(?=[(ηλμτβ])", "*", text)
    names = {letter.removesuffix("₁"): rule.values().get(name) for letter, name in letters.items()}
    return eval(text, {"__builtins__": {}}, names)


def test_the_preconditioned_sharpness_feels_the_decay_that_is_part_of_the_gradient():
    """Against the eigenvalues of the dense P^-1/2 (H + decay) P^-1/2, with P from torch.optim's own state."""
    land = MLP(data="chebyshev", objective="squared", hidden=(3,))
    start, decay = land.start()[0], 3.0
    for name, theirs in (("adam", torch.optim.Adam), ("rmsprop", torch.optim.RMSprop)):
        path = run(land, OPTIMIZERS[name](lr=0.01, weight_decay=decay), start, 3, probes=["preconditioned_sharpness"])
        weights = start.clone().requires_grad_()
        optimizer = theirs([weights], lr=0.01, weight_decay=decay)
        for step in range(1, 4):
            weights.grad = land.grad(weights.detach())
            optimizer.step()
            state = optimizer.state[weights]
            square = state["exp_avg_sq"] / (1 - 0.999**step) if name == "adam" else state["square_avg"]
            root = (square.sqrt() + 1e-8).rsqrt()
            rows = torch.stack([land.hvp(weights.detach(), unit) for unit in torch.eye(land.dim, dtype=start.dtype)])
            dense = root[:, None] * (rows + decay * torch.eye(land.dim, dtype=start.dtype)) * root
            expected = torch.linalg.eigvalsh(dense)[-1]
            torch.testing.assert_close(path.probes["preconditioned_sharpness"][step], expected, rtol=1e-4, atol=0)


@dataclasses.dataclass(frozen=True)
class Counted(Landscape):
    """Another landscape that counts what it is asked."""

    name, label, reads, reference, equation = "counted", "Counted", "A test.", "none", "none"
    inner: Landscape = ROSENBROCK
    calls: dict = dataclasses.field(default_factory=lambda: {"loss": 0, "grad": 0, "hvp": 0})

    @property
    def layout(self):
        return self.inner.layout

    def start(self, runs=1, seed=0, *, dtype=torch.float64, device="cpu"):
        return self.inner.start(runs, seed, dtype=dtype, device=device)

    def _loss(self, params, batch):
        self.calls["loss"] += 1
        return self.inner.loss(params, batch)

    def _value_and_grad(self, params, batch):
        self.calls["loss"] += 1
        self.calls["grad"] += 1
        return self.inner.value_and_grad(params, batch)

    def _hessian_operator(self, params, batch):
        product = self.inner.hessian_operator(params, batch)

        def counted(vectors):
            self.calls["hvp"] += 1
            return product(vectors)

        return counted


@every_rule
def test_the_oracle_counts_the_calls_really_made(kind):
    for rule in variants(kind):
        land = Counted()
        params, spent = land.start()[0], Spent()
        state = rule.init(params)
        for _ in range(4):
            oracle = Oracle(land, generator=torch.Generator().manual_seed(0), spent=spent)
            params, state = rule.step(params, state, oracle)
            spent = oracle.spent
        assert spent._asdict() == land.calls
        assert spent.loss >= spent.grad
        assert sum(spent) >= 4


@every_rule
def test_the_runner_evaluates_no_point_twice(kind):
    """What a run costs is what it reports, and one evaluation of the last point; where the rule returns another point than
    the one of its gradients, one of that at each step as well."""
    for rule in variants(kind):
        land = Counted()
        spent = run(land, rule, steps=6).evaluations
        returned = 7 * (kind.point is not Optimizer.point)
        assert land.calls["grad"] == int(spent.grad[-1]) + 1 + returned
        assert land.calls["hvp"] == int(spent.hvp[-1])


def test_the_oracle_counts_losses_and_products():
    land = Counted()
    oracle, params = Oracle(land), ROSENBROCK.start()[0]
    oracle.loss(params)
    oracle.hvp(params, params)
    oracle(params)
    assert oracle.spent._asdict() == land.calls == {"loss": 2, "grad": 1, "hvp": 1}


class NoLooking(TorchDispatchMode):
    """Refuses every operation that reads a number out of a tensor: on a GPU the step would wait, and a batch of runs has
    no single answer anyway."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        looks = {"_local_scalar_dense", "equal", "nonzero", "is_nonzero", "masked_select", "unique"}
        if any(word in str(function) for word in looks):
            raise AssertionError(f"a step looked into a tensor: {function}")
        return function(*args, **kwargs or {})


def test_looking_into_a_tensor_is_noticed():
    with pytest.raises(AssertionError, match="looked into"), NoLooking():
        bool(torch.ones(()) > 0)


@every_rule
def test_no_step_depends_on_a_look_into_a_tensor(kind):
    numbers = {n: torch.tensor([[s.default]]) for n, s in settings(kind).items() if isinstance(s, Number)}
    for rule in [*variants(kind), kind(**numbers)]:
        params = QUADRATIC.start(2, dtype=torch.float32)  # where no default step size diverges in three steps
        state = rule.init(params)
        QUADRATIC.grad(params)  # its formula is compiled at the first use, which looks at constants
        with NoLooking():
            for _ in range(3):
                params, state = rule.step(params, state, Oracle(QUADRATIC, generator=torch.Generator()))
        assert torch.isfinite(params).all()


def test_every_rule_written_is_registered():
    written = set()
    for found in pkgutil.walk_packages(optimizers.__path__, "optimizers."):
        for _, one in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
            if issubclass(one, Optimizer) and one is not Optimizer and not one.__name__.startswith("_"):
                written.add(one)
    # Gradient flow is what others are compared with: how many gradients a step of it takes depends on where it is.
    assert written == {*OPTIMIZERS.values(), GradientFlow}


@pytest.mark.parametrize(("name", "kind"), OPTIMIZERS.items(), ids=OPTIMIZERS)
def test_a_rule_says_what_it_is(name, kind):
    assert kind.name == name
    assert all(text.strip() for text in (kind.label, kind.idea, kind.equation, kind.reference))
    assert kind.idea.endswith(".")
    assert any(character.isdigit() for character in kind.reference)  # a year
    assert [one.label for one in OPTIMIZERS.values()].count(kind.label) == 1
    assert dataclasses.is_dataclass(kind)
    assert kind() == kind()  # without arguments, and frozen: an instance is its own specification
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().lr = 1.0


@every_rule
def test_defaults_and_scales_lie_within_the_ranges(kind):
    for name, one in settings(kind).items():
        assert one.check(name, one.default) == one.default == getattr(kind(), name)
        assert one.help
        if isinstance(one, Number):
            assert one.symbol
            for end in one.scale or ():
                assert one.check(name, end) == end


@every_number
def test_values_outside_the_range_are_refused_with_a_sentence(kind, name):
    one = settings(kind)[name]
    outside = [
        one.low if one.low_open else one.low - 1,
        one.high if one.high_open else one.high * 2,
        math.nan,
        math.inf,
    ]
    for value in outside:
        with pytest.raises(ValueError, match=f"{name} = .* is not allowed: it must be a number"):
            kind(**{name: value})
        with pytest.raises(ValueError, match=f"{name} has an entry that is not allowed"):
            kind(**{name: torch.tensor([[one.default], [value]], dtype=torch.float64)})
