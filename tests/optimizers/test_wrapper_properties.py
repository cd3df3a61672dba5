"""What holds for every wrapper, around rules of every sort."""

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

from landscapes import LANDSCAPES, MLP, settings
from landscapes.setting import Choice, Number
from optimizers import OPTIMIZERS, WRAPPERS, Oracle, Spent, run
from tests.optimizers.test_properties import Counted, NoLooking, assert_keeps_dtype, other, same, two_values, walk

QUADRATIC = LANDSCAPES["quadratic"](kappa=10.0, angle=0.4)
ROSENBROCK = LANDSCAPES["rosenbrock"]()
NETWORK = MLP(data="chebyshev", hidden=(4,), objective="squared")

GD = OPTIMIZERS["gd"]
CLIP_NORM, NOISE, XGRAD = (WRAPPERS[name] for name in ("clip_norm", "gradient_noise", "xgrad"))


def sort_of(kind):
    """What a wrapper may meet: a rule that predicts, one that asks for products, one that looks elsewhere, a plain one."""
    oracle, params = Oracle(ROSENBROCK, generator=torch.Generator()), ROSENBROCK.start()[0]
    kind().step(params, kind().init(params), oracle)
    return "predicts" if kind.predicts else "products" if oracle.spent.hvp else min(oracle.spent.grad, 2)


RULES = list({sort_of(kind): kind for kind in reversed(OPTIMIZERS.values())}.values())  # the first of every sort


def variants(kind, inner):
    """The wrapper at its defaults, and with each of its other choices; a c that clips, a k that pulls within the test."""
    choices = [
        (name, value) for name, one in settings(kind).items() if isinstance(one, Choice) for value in one.choices
    ]
    moderate = {name: 0.3 for name, one in settings(kind).items() if isinstance(one, Number)}
    moderate |= {"k": 2} if "k" in settings(kind) else {}
    return [kind(inner), kind(inner, **moderate), *(kind(inner, **{name: value}) for name, value in choices)]


def belongs(kind, rule):
    return kind is not XGRAD or rule.predicts


PAIRS = [(kind, rule) for kind in WRAPPERS.values() for rule in RULES if belongs(kind, rule)]
every_pair = pytest.mark.parametrize(("kind", "rule"), PAIRS, ids=[f"{kind.name}-{rule.name}" for kind, rule in PAIRS])


def test_every_sort_of_rule_is_there():
    assert {kind for kind, _ in PAIRS} == set(WRAPPERS.values())
    assert {sort_of(kind) for kind in RULES} == {"predicts", "products", 1, 2}


@every_pair
@pytest.mark.parametrize("land", [ROSENBROCK, NETWORK], ids=["rosenbrock", "network"])
def test_a_wrapped_step_is_pure(kind, rule, land):
    for wrapped in variants(kind, rule(lr=1e-3)):
        params = land.start(3)
        state = wrapped.init(params)
        for _ in range(3):
            before = tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, (params, state))
            answers = [
                wrapped.step(params, state, Oracle(land, generator=torch.Generator().manual_seed(1))) for _ in "ab"
            ]
            assert same((params, state), before)
            assert same(*answers)
            params, state = answers[0]


@every_pair
def test_a_batch_of_wrapped_runs_equals_the_runs_one_by_one(kind, rule):
    for wrapped in variants(kind, rule(lr=1e-3)):
        start = NETWORK.start(2, seed=3)
        together, _ = walk(wrapped, NETWORK, start, 4)
        for row in range(2):
            alone, _ = walk(wrapped, NETWORK, start[row], 4)
            torch.testing.assert_close(together[:, row], alone, rtol=1e-12, atol=1e-13)


@every_pair
def test_tensor_settings_of_a_wrapper_equal_numbers(kind, rule):
    """Its own, the rule's step size, and both at once."""
    start, rates = QUADRATIC.start()[0], (1e-3, 0.02)
    rate = torch.tensor(rates, dtype=torch.float64).unsqueeze(-1)
    together, _ = walk(kind(rule(lr=rate)), QUADRATIC, start.expand(2, 2), 10)
    for row, value in enumerate(rates):
        alone, _ = walk(kind(rule(lr=value)), QUADRATIC, start, 10)
        torch.testing.assert_close(together[:, row], alone, rtol=1e-12, atol=1e-13)
    for name, one in settings(kind).items():
        if isinstance(one, Number):
            pair = (one.default, other(one))
            values = torch.tensor(pair, dtype=torch.float64).unsqueeze(-1)
            # run, unlike walk, must find the tensors itself in order to make room for them.
            paths = run(QUADRATIC, kind(rule(lr=rate), **{name: values}), start, 10).params
            assert paths.shape == (11, 2, 2)
            for row, value in enumerate(pair):
                alone = run(QUADRATIC, kind(rule(lr=rates[row]), **{name: value}), start, 10).params
                torch.testing.assert_close(paths[:, row], alone, rtol=1e-12, atol=1e-13)


def test_a_tensor_that_does_not_fit_is_named():
    three, two = torch.full((3, 1), 0.1), torch.full((2, 1), 0.1)
    with pytest.raises(ValueError, match="lr of gd has shape .* one value per run"):
        run(QUADRATIC, CLIP_NORM(GD(lr=three), c=two), steps=1)
    with pytest.raises(ValueError, match="c of clip_norm has shape .* one value per run"):
        run(QUADRATIC, CLIP_NORM(GD(lr=0.1), c=three), QUADRATIC.start(2), 1)


@every_pair
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wrapped_run_keeps_its_dtype(kind, rule, dtype):
    rate = torch.tensor([[1e-3], [1e-2]], dtype=torch.float64)
    for wrapped in [*variants(kind, rule(lr=1e-3)), kind(rule(lr=rate), **two_values(kind))]:
        assert_keeps_dtype(wrapped, dtype)


@every_pair
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("start", [(0.0, 0.0), (0.0, 1.0)], ids=["minimizer", "one coordinate"])
def test_a_zero_gradient_gives_no_nan_in_a_wrapper(kind, rule, start, dtype):
    land, start = LANDSCAPES["quadratic"](kappa=10.0), torch.tensor(start, dtype=dtype)
    lowest = {n: s.low for n, s in settings(kind).items() if isinstance(s, Number) and not s.low_open}
    tensors = {name: torch.tensor([value], dtype=dtype) for name, value in lowest.items()}
    for wrapped in [*variants(kind, rule()), kind(rule(), **lowest), kind(rule(), **tensors)]:
        points, state = walk(wrapped, land, start, 5)
        assert torch.isfinite(points).all(), wrapped
        assert all(torch.isfinite(x).all() for x in tree_leaves(state) if isinstance(x, torch.Tensor)), wrapped
        if kind is not NOISE:
            assert (points[:, start == 0] == 0).all(), wrapped


@every_pair
def test_the_oracle_counts_the_calls_really_made_through_a_wrapper(kind, rule):
    for wrapped in variants(kind, rule(lr=1e-3)):
        land = Counted()
        params, spent = land.start()[0], Spent()
        state = wrapped.init(params)
        for _ in range(4):
            oracle = Oracle(land, generator=torch.Generator().manual_seed(0), spent=spent)
            params, state = wrapped.step(params, state, oracle)
            spent = oracle.spent
        assert spent._asdict() == land.calls
        assert sum(spent) >= 4


@every_pair
def test_a_wrapper_costs_no_more_than_its_rule(kind, rule):
    wrapped, bare = (run(ROSENBROCK, one, steps=5).evaluations for one in (kind(rule(lr=1e-3)), rule(lr=1e-3)))
    assert all(torch.equal(*counts) for counts in zip(wrapped, bare, strict=True))


@every_pair
def test_no_wrapped_step_depends_on_a_look_into_a_tensor(kind, rule):
    numbers = {n: torch.tensor([[s.default]]) for n, s in settings(kind).items() if isinstance(s, Number)}
    for wrapped in [*variants(kind, rule(lr=1e-3)), kind(rule(lr=1e-3), **numbers)]:
        params = ROSENBROCK.start(2, dtype=torch.float32)
        state = wrapped.init(params)
        with NoLooking():
            for _ in range(3):
                params, state = wrapped.step(params, state, Oracle(ROSENBROCK, generator=torch.Generator()))
        assert torch.isfinite(params).all()
