"""Programs of scalar operations against the same rules on tensors."""

import ast
import itertools
import math
import random

import pytest
import torch

import optimizers.stand_in
from landscapes import LANDSCAPES, Formula
from landscapes.surfaces import Surface
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, composed, planned, run
from optimizers.program import Program, _formula, likely, side_by_side
from optimizers.scalars import QUICK, TERMS
from optimizers.stand_in import Unfit
from tests.rounding import AnotherOrder
from tests.sampling import sampled

SURFACES = {name: kind for name, kind in LANDSCAPES.items() if issubclass(kind, Surface)}
# Why those that have none have none.
WITHOUT = {
    "adahessian": "draws at random",
    "gam": "Hessian",
    "gam_accelerated": "other points",
    "grad_reg": "other points",
    "gravity": "draws at random",
    "madgrad": "takes a number out of a tensor",
    "muon": "linalg_matrix_norm",
    "sam": "other points",
    "schedule_free_adamw": "other points",
    "schedule_free_sgd": "other points",
    "shampoo": "mT",
    "sophia_h": "draws at random",
}
SPECIAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    3.0,
    math.inf,
    -math.inf,
    math.nan,
    5e-324,
    -5e-324,
    1e308,
    -1e308,
    710.0,
    -3.7,
)


def followed(land, rule, start, steps):
    (rule,) = planned(land, [rule], start, steps)
    program = Program(land, rule, start)
    program.advance(steps)
    return program.trajectory(steps)


def assert_same_run(land, rule, start, steps):
    """But for some times what rounding makes of the run, which a chaotic one makes large: of its operations, and of its start."""
    ours, theirs = followed(land, rule, start, steps), run(land, rule, start, steps)
    others = [run(land, rule, start * (1 + nudge * 2.3e-16), steps) for nudge in (-2, -1, 1, 2)]
    for seed in range(2):
        with AnotherOrder(seed):
            others.append(run(land, rule, start, steps))
    gone = [int(one.diverged_at) for one in (theirs, *others)]
    if min(gone) != max(gone):  # when it leaves finite numbers is itself a matter of rounding
        assert min(gone) <= int(ours.diverged_at) <= max(gone)
        return
    assert int(ours.diverged_at) == gone[0]
    assert all(torch.equal(a, b) for a, b in zip(ours.evaluations, theirs.evaluations, strict=True))
    for name in ("params", "loss", "grad_norm"):
        mine, true = getattr(ours, name), getattr(theirs, name)
        assert torch.equal(mine.isnan(), true.isnan()), name
        drift = torch.stack([(getattr(one, name) - true).abs() for one in others]).nan_to_num(0).amax(0)
        worst = drift.reshape(len(drift), -1).amax(1).cummax(0).values.reshape(-1, *[1] * (true.ndim - 1))
        off = (mine - true).abs().nan_to_num(0)
        assert bool((off <= 100 * worst + 1e-12 * (1 + true.abs().nan_to_num(0))).all()), (name, float(off.max()))


def cases():
    return itertools.product(sorted(OPTIMIZERS.keys() - WITHOUT), sorted(SURFACES))


@pytest.mark.parametrize(("name", "surface"), sampled(cases(), 24, seed=3))
def test_a_program_goes_where_the_rule_goes(name, surface):
    """At its own step size, at a tenth, and at a hundred times, where most runs leave finite numbers."""
    land, kind = SURFACES[surface](), OPTIMIZERS[name]
    chance = random.Random(f"{name} {surface}")
    start = land.start(2, seed=chance.randrange(1000))[1]
    for factor in (0.1, 1.0, 100.0):
        rule = kind(lr=min(factor * float(kind().lr), 1e3)) if hasattr(kind(), "lr") else kind()
        assert_same_run(land, rule, start, 50)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - WITHOUT))
def test_a_rule_at_other_settings(name):
    """Each number at a value of its own, each switch turned."""
    kind, chance = OPTIMIZERS[name], random.Random(name)
    values = {}
    for key, value in kind().values().items():
        if isinstance(value, bool):
            values[key] = not value
        elif isinstance(value, float) and key != "lr":
            values[key] = 0.05 if value == 0 else value * chance.uniform(0.5, 0.99)
    values.pop("precondition_1d", None)  # which factors matrices
    land = LANDSCAPES["himmelblau"]()
    assert_same_run(land, kind(**values), land.start()[0], 50)


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_a_rule_without_a_program_says_why(name):
    land = LANDSCAPES["rosenbrock"]()
    with pytest.raises(Unfit, match=WITHOUT[name]):
        followed(land, OPTIMIZERS[name](), land.start()[0], 20)


def test_what_is_likely_to_have_a_program_is_told_before_it_runs():
    surface, own = LANDSCAPES["rosenbrock"](), SURFACES["quadratic"]
    assert {name for name, kind in OPTIMIZERS.items() if not likely(surface, kind())} == set(WITHOUT)
    assert likely(surface, composed(OPTIMIZERS["adam"](), None, [WRAPPERS["clip_norm"]]))
    assert not likely(surface, composed(OPTIMIZERS["sam"](), None, [WRAPPERS["clip_norm"]]))
    assert not likely(surface, composed(OPTIMIZERS["adam"](), next(iter(SCHEDULES.values()))()))

    class Steeper(own):
        def loss(self, params):
            return 2 * super().loss(params)

    assert not likely(Steeper(), OPTIMIZERS["adam"]())


AROUND = sorted([*SCHEDULES, *WRAPPERS])
STEPPED = {"clip_norm", "clip_value", "decoupled_decay", "lookahead"}


def around(name):
    rule = OPTIMIZERS["heavy_ball"](lr=0.005)
    return composed(rule, SCHEDULES[name]()) if name in SCHEDULES else composed(rule, None, [WRAPPERS[name]])


@pytest.mark.parametrize("name", sorted(STEPPED))
def test_schedules_and_wrappers_have_programs(name):
    land = LANDSCAPES["himmelblau"]()
    assert_same_run(land, around(name), land.start()[0], 40)


@pytest.mark.parametrize("name", sorted(set(AROUND) - STEPPED))
def test_schedules_and_wrappers_without_one_say_why(name):
    land = LANDSCAPES["himmelblau"]()
    with pytest.raises(Unfit):
        followed(land, around(name), land.start()[0], 40)


@pytest.mark.parametrize(
    "text",
    ["sqrt(x) + log(y)", "1/x + 1/y^2", "abs(x) + sign(y)*y", "tan(x)*asin(y)", "x^1.5 + exp(y)", "max(x, y) + min(x, -y)",
     "sinh(x) + cosh(y) - tanh(x*y)", "sigmoid(x) + softplus(-60*y)", "x^x + y^(-2)", "acos(x)*atan(y)", "3", "x"],
)  # fmt: skip
@pytest.mark.parametrize("lr", [0.01, 0.5, 1e3])
def test_formulas_at_their_poles_and_beyond(text, lr):
    land = Formula(expression=text)
    for start in ((0.3, 0.4), (-0.3, 0.9), (0.0, 0.0)):
        point = torch.tensor(start, dtype=torch.float64)
        if not torch.isfinite(land.loss(point)):
            with pytest.raises(Unfit, match="starts where"):
                followed(land, OPTIMIZERS["gd"](lr=lr), point, 5)
            continue
        for name in ("gd", "adam"):
            assert_same_run(land, OPTIMIZERS[name](lr=lr), point, 30)


def test_each_operation_is_that_of_torch_for_any_number():
    torches = {
        "div": torch.div, "pow": torch.pow, "max": torch.maximum, "min": torch.minimum, "sign": torch.sign,
        "sigmoid": torch.sigmoid, "sqrt": torch.sqrt, "add": torch.add, "sub": torch.sub, "mul": torch.mul,
        "softplus": lambda a: torch.nn.functional.softplus(a, threshold=50.0),
    } | {name: getattr(torch, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp", "log", "abs", "neg")}  # fmt: skip
    for name, function in torches.items():
        count = 2 if name in ("div", "pow", "max", "min", "add", "sub", "mul") else 1
        for values in itertools.product(SPECIAL, repeat=count):
            true = float(function(*(torch.tensor(one, dtype=torch.float64) for one in values)))
            ours = float(TERMS[name](*values))
            assert ours == pytest.approx(true, rel=1e-15, abs=5e-324, nan_ok=True), (name, values)
            if true == 0 == ours and name in ("add", "sub", "mul", "div", "neg", "sqrt"):
                assert math.copysign(1, ours) == math.copysign(1, true), (name, values)
            if count == 1 and name in QUICK:  # or it raises, and the steps are taken again
                try:
                    quick = QUICK[name](*values)
                except (ValueError, OverflowError):
                    continue
                assert quick == pytest.approx(true, rel=1e-15, abs=5e-324, nan_ok=True), (name, values)


def test_a_program_is_made_of_our_own_names_and_numbers():
    land = Formula(expression="sin(3*x)*cos(3*y) + max(x, y)^2 + 1e308*x")
    source = "def path(x, y):\n" + "".join(f"    {line}\n" for line in _formula(land).lines(False))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            assert node.id in "xyfgh" or node.id[1:].isdigit() or node.id.removesuffix("_") in TERMS
        assert not isinstance(node, (ast.Attribute, ast.Subscript, ast.Import, ast.Lambda))


def test_what_goes_otherwise_than_on_tensors_is_not_believed(monkeypatch):
    land = LANDSCAPES["rosenbrock"]()
    monkeypatch.setitem(optimizers.stand_in._TORCH, "add", lambda a, b, *, alpha=1: a)
    with pytest.raises(Unfit, match="goes otherwise"):
        Program(land, OPTIMIZERS["gd"](), land.start()[0])


def test_a_surface_that_is_more_than_its_formula_has_none():
    """A user's own may compute whatever it likes."""

    class Steeper(type(LANDSCAPES["booth"]())):
        def _value_and_grad(self, params, batch):
            loss, grad = super()._value_and_grad(params, batch)
            return 2 * loss, 2 * grad

    land = Steeper()
    with pytest.raises(Unfit, match="more than its formula"):
        Program(land, OPTIMIZERS["gd"](), land.start()[0])


def test_runs_side_by_side_are_those_of_rules_side_by_side():
    land, rules = LANDSCAPES["beale"](), [OPTIMIZERS["gd"](lr=1e-3), OPTIMIZERS["heavy_ball"](lr=10.0)]
    start = land.start()[0]
    ours = side_by_side([followed(land, rule, start, 20) for rule in rules])
    theirs = run(land, rules, start, 20)
    assert ours.diverged_at.tolist() == theirs.diverged_at.tolist()
    assert ours.diverged_at[1] > 0
    for name in ("step", "params_step", "params", "loss", "grad_norm"):
        mine, true = getattr(ours, name), getattr(theirs, name)
        assert (mine.shape, mine.dtype) == (true.shape, true.dtype)
        assert torch.allclose(mine.double(), true.double(), rtol=1e-9, equal_nan=True)
    for mine, true in zip(ours.evaluations, theirs.evaluations, strict=True):
        assert torch.equal(mine, true)
