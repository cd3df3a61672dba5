"""A rule on a surface, as a program of scalar operations: tensors of two numbers take ten times as long.

Rules stay written once, for tensors. One of their steps is taken with stand-ins for tensors, which note each operation on
numbers. Python is generated from these notes and from the graph of the surface's formula, and run step after step. Where a
rule decides by a number, the decision is noted too; where it falls otherwise later on, that step is noted as well. A rule
whose steps cannot be noted raises Unfit and runs on tensors: it asks for other points than its own, draws at random, or
factors matrices.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from landscapes import Surface
from landscapes.expression import Expr, ordered
from optimizers.optimizer import Evaluation, Oracle, Spent
from optimizers.stepper import State, Stepper
from optimizers.trajectory import Counts, Trajectory

_VARIANTS = 12  # ways in which the decisions of a rule may fall, at most
_NUMBERS = (int, float)
_OF_THE_FORMULA = ("loss", "value_and_grad", "_loss", "_value_and_grad", "graph", "_numbers", "_compiled")
_COMPARED = 3  # steps that are also taken on tensors, before the program is believed
_ROUNDING = 1e-9  # that the two may differ by: many times what rounding does, in three steps


class Unfit(Exception):
    """No such program: the reason, for whoever reads a list of them."""


# ------------------------------------------------------------------ numbers as torch has them


def _divided(a: float, b: float) -> float:
    if b == 0:
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)
    return a / b


def _power(a: float, b: float) -> float:
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:  # 0 to a negative power, or a root of a negative number
        if a == 0:
            return math.copysign(math.inf, a) if b % 2 == 1 else math.inf
        return math.nan


def _guarded(function: Callable[[float], float], at: dict[float, float]) -> Callable[[float], float]:
    """A function of `math` that gives inf or nan where that raises; `at` holds its values at poles."""

    def safe(a: float) -> float:
        try:
            return function(a)
        except OverflowError:
            return math.copysign(math.inf, a) if function is math.sinh else math.inf
        except ValueError:
            return at.get(a, math.nan)

    return safe


def _largest(a: float, b: float) -> float:
    return a if a != a or a >= b else b


def _least(a: float, b: float) -> float:
    return a if a != a or a <= b else b


def _sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a)) if a > -700 else math.exp(a)


def _softplus(a: float) -> float:
    return a if a > 50 else math.log1p(math.exp(a))


def _sign(a: float) -> float:
    return float((a > 0) - (a < 0))  # 0 for nan, as torch has it


_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": _guarded(math.sin, {}),
    "cos": _guarded(math.cos, {}),
    "tan": _guarded(math.tan, {}),
    "asin": _guarded(math.asin, {}),
    "acos": _guarded(math.acos, {}),
    "atan": math.atan,
    "sinh": _guarded(math.sinh, {}),
    "cosh": _guarded(math.cosh, {}),
    "tanh": math.tanh,
    "exp": _guarded(math.exp, {}),
    "log": _guarded(math.log, {0.0: -math.inf}),
    "sqrt": _guarded(math.sqrt, {}),
    "abs": abs,
    "sign": _sign,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
}
_TERMS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": _divided, "pow": _power, "max": _largest,
    "min": _least, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
    "ge": operator.ge, "mod": operator.mod, "and": lambda a, b: bool(a) and bool(b), "or": lambda a, b: bool(a) or bool(b),
    "neg": operator.neg, "not": operator.not_, "where": lambda c, a, b: a if c else b, **_FUNCTIONS,
}  # fmt: skip
# What Python writes shorter than a call; none of these raises for any number.
_WRITTEN = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "neg": "-{}", "eq": "{} == {}", "ne": "{} != {}",
    "lt": "{} < {}", "le": "{} <= {}", "gt": "{} > {}", "ge": "{} >= {}", "and": "{} and {}", "or": "{} or {}",
    "not": "not {}", "where": "{1} if {0} else {2}",
}  # fmt: skip
# Faster, as long as no number is special; where one raises, the steps are taken again without them.
_QUICK_WRITTEN = _WRITTEN | {"div": "{} / {}"}
_QUICK = {
    "pow": math.pow, "sqrt": math.sqrt, "sin": math.sin, "cos": math.cos, "tan": math.tan, "exp": math.exp,
    "log": math.log, "sinh": math.sinh, "cosh": math.cosh,
}  # fmt: skip


# ------------------------------------------------------------------ what a step does, noted


class _Notes:
    """The lines of a program, each an operation on numbers whose outcome has a name."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, tuple[str, ...]]] = []  # name, operation, arguments
        self.decisions: list[tuple[int, str, bool]] = []  # after how many lines, the name of what decides, how it fell
        self._names = count()

    def number(self, operation: str, *of: _Number) -> _Number:
        value = _TERMS[operation](*(one.value for one in of))
        if all(one.fixed for one in of):
            return _fixed(value)
        name = f"v{next(self._names)}"
        self.lines.append((name, operation, tuple(one.name for one in of)))
        return _Number(name, value)


@dataclass(frozen=True)
class _Number:
    name: str  # in the program; how it is written, for a number that is the same at each step
    value: Any  # at the step that is noted
    fixed: bool = False


def _fixed(value: Any) -> _Number:
    return _Number(repr(value), value, fixed=True)


class _Stand:
    """Stands in for a tensor of few numbers. Functions of torch that it does not know raise Unfit."""

    def __init__(self, notes: _Notes, shape: tuple[int, ...], numbers: Sequence[_Number]):
        self.notes, self.shape, self.numbers = notes, torch.Size(shape), list(numbers)

    dtype, device = torch.float64, torch.device("cpu")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def dim(self) -> int:
        return len(self.shape)

    def numel(self) -> int:
        return len(self.numbers)

    @property
    def T(self) -> _Stand:
        turned: _Stand = _TORCH["permute"](self, tuple(reversed(range(self.ndim))))
        return turned

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], kinds: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        known = _chosen if name == "where" and function is not torch.where else _TORCH.get(name)
        if known is None:
            raise Unfit(f"uses torch's {name or function}")
        return known(*given, **(named or {}))

    def __getattr__(self, name: str) -> Any:
        known = _chosen if name == "where" else _TORCH.get(name)
        if known is None:
            raise Unfit(f"uses a tensor's {name}")
        return lambda *given, **named: known(self, *given, **named)

    def __bool__(self) -> bool:
        if len(self.numbers) != 1:
            raise Unfit("decides by several numbers at once")
        (number,) = self.numbers
        if not number.fixed:
            self.notes.decisions.append((len(self.notes.lines), number.name, bool(number.value)))
        return bool(number.value)

    def __float__(self) -> float:
        raise Unfit("takes a number out of a tensor")

    __int__ = __index__ = __iter__ = __float__

    def __getitem__(self, index: Any) -> _Stand:
        return self.at(self.places[index])

    @property
    def places(self) -> Tensor:
        """Which number is where."""
        return torch.arange(len(self.numbers)).reshape(self.shape)

    def at(self, places: Tensor) -> _Stand:
        """Its numbers at other places."""
        return _Stand(self.notes, tuple(places.shape), [self.numbers[at] for at in places.flatten().tolist()])

    def __hash__(self) -> int:
        return id(self)


def _binary(operation: str, *, swapped: bool = False) -> Callable[[_Stand, Any], Any]:
    return lambda self, other: _each(operation, other, self) if swapped else _each(operation, self, other)


for _name, _operation in {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "pow": "pow",
    "mod": "mod",
}.items():
    setattr(_Stand, f"__{_name}__", _binary(_operation))
    setattr(_Stand, f"__r{_name}__", _binary(_operation, swapped=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "and", "or"):
    setattr(_Stand, f"__{_name}__", _binary(_name))
for _name, _operation in {"neg": "neg", "abs": "abs", "invert": "not"}.items():
    setattr(_Stand, f"__{_name}__", lambda self, operation=_operation: _each(operation, self))


def _stand(value: Any, notes: _Notes) -> _Stand:
    if isinstance(value, _Stand):
        return value
    if isinstance(value, Tensor):
        return _Stand(notes, tuple(value.shape), [_fixed(one) for one in value.flatten().tolist()])
    if isinstance(value, (bool, *_NUMBERS)):
        return _Stand(notes, (), [_fixed(value)])
    raise Unfit(f"mixes tensors with {type(value).__name__}")


def _each(operation: str, *of: Any) -> _Stand:
    """An operation on numbers, for each of those of several tensors, which broadcast."""
    notes = next(one.notes for one in of if isinstance(one, _Stand))
    stands = [_stand(one, notes) for one in of]
    if operation == "pow" and stands[1].numbers[0].fixed and len(stands[1].numbers) == 1:
        whole = {2: 1, 3: 2, 0.5: 0}.get(stands[1].numbers[0].value)
        if whole == 0:
            return _each("sqrt", stands[0])
        if whole is not None:  # as torch does it
            out = stands[0]
            for _ in range(whole):
                out = _each("mul", out, stands[0])
            return out
    shapes = {one.shape for one in stands if one.shape}  # a single number goes with any shape
    shape = shapes.pop() if len(shapes) == 1 else torch.Size(np.broadcast_shapes(*shapes))
    rows = [
        one.numbers
        if one.shape == shape
        else one.numbers * math.prod(shape)
        if not one.shape
        else _spread(one, shape).numbers
        for one in stands
    ]
    return _Stand(notes, tuple(shape), [notes.number(operation, *numbers) for numbers in zip(*rows, strict=True)])


def _spread(one: _Stand, shape: Sequence[int]) -> _Stand:
    return one.at(one.places.expand(tuple(shape)))


def _moved_about(change: Callable[..., Tensor]) -> Callable[..., _Stand]:
    """A function of torch that only rearranges."""

    return lambda one, *given, **named: one.at(change(one.places, *given, **named))


def _scaled(value: Any, factor: Any) -> Any:
    """A product, where either may be a number that is known."""
    if isinstance(factor, _Stand) or (isinstance(value, _Stand) and factor != 1):
        return _each("mul", value, factor)
    return value if factor == 1 else value * factor


def _added(a: Any, b: Any, *, alpha: Any = 1) -> _Stand:
    return _each("add", a, _scaled(b, alpha))


def _lowered(a: Any, b: Any, *, alpha: Any = 1) -> _Stand:
    return _each("sub", a, _scaled(b, alpha))


def _lerped(start: Any, end: Any, weight: Any) -> _Stand:
    """As torch takes it: from the nearer end."""
    if isinstance(weight, _Stand):
        near = _each("lt", _each("abs", weight), 0.5)
        way = _each("sub", end, start)
        from_start = _each("add", start, _each("mul", weight, way))
        from_end = _each("sub", end, _each("mul", way, _each("sub", 1, weight)))
        return _each("where", near, from_start, from_end)
    if abs(weight) < 0.5:
        return _each("add", start, _each("mul", weight, _each("sub", end, start)))
    return _each("sub", end, _each("mul", _each("sub", end, start), 1 - weight))


def _with_product(base: Any, a: Any, b: Any, *, value: Any = 1) -> _Stand:
    return _each("add", base, _each("mul", _scaled(a, value), b))


def _with_quotient(base: Any, a: Any, b: Any, *, value: Any = 1) -> _Stand:
    return _each("add", base, _each("div", _scaled(a, value), b))


def _summed(one: _Stand, dim: Any = None, keepdim: bool = False) -> _Stand:
    dims = range(one.ndim) if dim is None else [at % one.ndim for at in ([dim] if isinstance(dim, int) else dim)]
    kept = [at for at in range(one.ndim) if at not in dims]
    rows = one.permute(*kept, *dims)
    shape = [one.shape[at] for at in kept]
    size = math.prod(shape)
    numbers = []
    for row in range(size):
        each = rows.numbers[row * (len(rows.numbers) // size) : (row + 1) * (len(rows.numbers) // size)]
        total = each[0]
        for number in each[1:]:
            total = one.notes.number("add", total, number)
        numbers.append(total)
    if keepdim:
        shape = [1 if at in dims else one.shape[at] for at in range(one.ndim)]
    return _Stand(one.notes, tuple(shape), numbers)


def _norm(one: _Stand, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> _Stand:
    if ord == 1:
        return _summed(_each("abs", one), dim, keepdim)
    if ord != 2:
        raise Unfit(f"takes a norm of order {ord}")
    return _each("sqrt", _summed(_each("mul", one, one), dim, keepdim))


def _meant(one: _Stand, dim: Any = None, keepdim: bool = False) -> _Stand:
    total = _summed(one, dim, keepdim)
    return _each("div", total, len(one.numbers) // len(total.numbers))


def _put_together(how: Callable[..., Tensor]) -> Callable[..., _Stand]:
    """torch.stack or torch.cat."""

    def together(parts: Sequence[Any], dim: int = 0) -> _Stand:
        notes = next(one.notes for one in parts if isinstance(one, _Stand))
        stands = [_stand(one, notes) for one in parts]
        numbers, places = list[_Number](), []
        for one in stands:
            places.append(one.places + len(numbers))
            numbers += one.numbers
        return _Stand(notes, (len(numbers),), numbers).at(how(places, dim))

    return together


def _split(one: _Stand, sizes: Any, dim: int = 0) -> tuple[_Stand, ...]:
    return tuple(one.at(part) for part in one.places.split(sizes, dim))


def _clamped(one: _Stand, min: Any = None, max: Any = None) -> _Stand:
    if min is not None:
        one = _each("max", one, min)
    return one if max is None else _each("min", one, max)


def _filled(value: float) -> Callable[..., _Stand]:
    def filled(one: _Stand, dtype: Any = None, **_: Any) -> _Stand:
        number = _fixed(bool(value) if dtype is torch.bool else value)
        return _Stand(one.notes, tuple(one.shape), [number] * len(one.numbers))

    return filled


def _unbound(one: _Stand, dim: int = 0) -> tuple[_Stand, ...]:
    return tuple(_TORCH["select"](one, dim, at) for at in range(one.shape[dim]))


_TORCH: dict[str, Callable[..., Any]] = {
    "add": _added, "sub": _lowered, "subtract": _lowered, "rsub": lambda a, b, *, alpha=1: _lowered(b, a, alpha=alpha),
    "mul": lambda a, b: _each("mul", a, b), "div": lambda a, b: _each("div", a, b), "pow": lambda a, b: _each("pow", a, b),
    "neg": lambda a: _each("neg", a), "abs": lambda a: _each("abs", a), "sign": lambda a: _each("sign", a),
    "sqrt": lambda a: _each("sqrt", a), "rsqrt": lambda a: _each("div", 1.0, _each("sqrt", a)), "exp": lambda a: _each("exp", a),
    "log": lambda a: _each("log", a), "tanh": lambda a: _each("tanh", a), "square": lambda a: _each("mul", a, a),
    "reciprocal": lambda a: _each("div", 1.0, a), "maximum": lambda a, b: _each("max", a, b),
    "minimum": lambda a, b: _each("min", a, b), "clamp": _clamped, "clamp_min": lambda a, low: _clamped(a, min=low),
    "clamp_max": lambda a, high: _clamped(a, max=high), "lerp": _lerped, "addcmul": _with_product, "addcdiv": _with_quotient,
    "where": lambda condition, a, b: _each("where", condition, a, b),
    "masked_fill": lambda a, mask, value: _each("where", mask, value, a), "sum": _summed, "mean": _meant,
    "linalg_vector_norm": _norm, "norm": lambda a, p=2, dim=None, keepdim=False: _norm(a, p, dim, keepdim),
    "stack": _put_together(torch.stack), "cat": _put_together(torch.cat), "split": _split, "sigmoid": lambda a: _each("sigmoid", a), "unbind": _unbound, "zeros_like": _filled(0.0), "ones_like": _filled(1.0),
    "full_like": lambda one, value, **_: _filled(value)(one),
    "logical_and": lambda a, b: _each("and", a, b), "logical_or": lambda a, b: _each("or", a, b),
    "logical_not": lambda a: _each("not", a), "eq": lambda a, b: _each("eq", a, b), "ne": lambda a, b: _each("ne", a, b),
    "lt": lambda a, b: _each("lt", a, b), "le": lambda a, b: _each("le", a, b), "gt": lambda a, b: _each("gt", a, b),
    "ge": lambda a, b: _each("ge", a, b), "detach": lambda a: a, "clone": lambda a: a, "to": lambda a, *_, **__: a,
    "double": lambda a: a, "contiguous": lambda a: a, "expand_as": lambda a, like: _spread(a, like.shape), "any": lambda a: _reduced("or", a), "all": lambda a: _reduced("and", a),
    **{
        name: _moved_about(getattr(Tensor, name))
        for name in ("reshape", "view", "expand", "unsqueeze", "squeeze", "select", "permute", "movedim", "flatten",
                     "transpose", "narrow", "unflatten")
    },
}  # fmt: skip


def _chosen(a: Any, condition: Any, b: Any) -> _Stand:
    """a.where(condition, b)"""
    return _each("where", condition, a, b)


def _reduced(operation: str, one: _Stand) -> _Stand:
    total = one.numbers[0]
    for number in one.numbers[1:]:
        total = one.notes.number(operation, total, number)
    return _Stand(one.notes, (), [total])


class _Asked(Oracle):
    """Answers for the one point that a step begins at."""

    def __init__(self, landscape: Surface, point: _Stand, loss: _Stand, grad: _Stand):
        super().__init__(landscape, known=(point, Evaluation(loss, grad)))  # type: ignore[arg-type]

    def __call__(self, params: Tensor) -> Evaluation:
        if self._look is None and params is not self._known[0]:  # type: ignore[index]
            raise Unfit("asks for the gradient at other points")
        return super().__call__(params)

    def loss(self, params: Tensor) -> Tensor:
        raise Unfit("asks for the loss at other points")

    def hvp(self, params: Tensor, vectors: Tensor) -> Tensor:
        raise Unfit("asks for products with the Hessian")

    def normal(self, like: Tensor) -> Tensor:
        raise Unfit("draws at random")

    signs = normal


# ------------------------------------------------------------------ a run


@dataclass(frozen=True)
class _Form:
    """How a state is made of numbers: its tree, and of each leaf the shape, or None where it is None."""

    tree: TreeSpec
    shapes: tuple[tuple[int, ...] | None, ...]

    def stands(self, notes: _Notes, values: Sequence[Any]) -> State:
        numbers = [_Number(f"s{at}", value) for at, value in enumerate(values)]
        leaves: list[Any] = []
        for shape in self.shapes:
            size = 0 if shape is None else math.prod(shape)
            leaves.append(None if shape is None else _Stand(notes, shape, numbers[:size]))
            numbers = numbers[size:]
        return tree_unflatten(leaves, self.tree)


def _taken_apart(state: State, notes: _Notes) -> tuple[_Form, list[_Number]]:
    leaves, tree = tree_flatten(state)
    stands = [None if leaf is None else _stand(leaf, notes) for leaf in leaves]
    numbers = [number for stand in stands if stand is not None for number in stand.numbers]
    return _Form(tree, tuple(None if one is None else tuple(one.shape) for one in stands)), numbers


@dataclass(frozen=True)
class _Step:
    """One way in which a step goes, as functions that take many: quickly, and for numbers that are special."""

    before: _Form
    after: _Form
    spent: Spent
    written: Callable[[bool], str]  # as Python, `careful` or not

    @cached_property
    def quick(self) -> Callable[..., Any]:
        return _made(self.written(False), careful=False)

    @cached_property
    def careful(self) -> Callable[..., Any]:
        return _made(self.written(True), careful=True)


@lru_cache(maxsize=64)
def _formula(surface: Surface) -> _Formula:
    return _Formula(surface)


class _Formula:
    """A surface's loss and gradient as lines of Python, from x and y to f, g and h."""

    def __init__(self, surface: Surface):
        self._order, self._outputs = ordered(surface.graph), surface.graph
        source = "def path(x, y):\n" + "".join(f"    {line}\n" for line in self.lines(True)) + "    return f, g, h\n"
        self.at: Callable[[float, float], tuple[float, float, float]] = _made(source, careful=True)

    def lines(self, careful: bool) -> list[str]:
        names: dict[Expr, str] = {}
        lines = []
        for number, one in enumerate(self._order):
            if one.op == "variable":
                names[one] = str(one.value)
            elif one.op == "const":
                names[one] = repr(float(one.value))
            else:
                names[one] = f"e{number}"
                operation, of = (
                    ("div", ("1.0", names[one.args[0]]))
                    if one.op == "reciprocal"
                    else (one.op, tuple(names[arg] for arg in one.args))
                )
                lines.append(_line(names[one], operation, of, careful))
        return [*lines, *(f"{name} = {names[one]}" for name, one in zip("fgh", self._outputs, strict=True))]


def _line(name: str, operation: str, of: tuple[str, ...], careful: bool) -> str:
    form = (_WRITTEN if careful else _QUICK_WRITTEN).get(operation)
    return f"{name} = " + (form.format(*of) if form else f"{operation}_({', '.join(of)})")


def _made(source: str, *, careful: bool) -> Any:
    """The function `path` that a program defines. It is made of our own names and of numbers, whatever a user has typed."""
    known: dict[str, Any] = {f"{name}_": function for name, function in _TERMS.items()}
    if not careful:
        known |= {f"{name}_": function for name, function in _QUICK.items()}
    known |= {"nan": math.nan, "inf": math.inf, "__builtins__": {"range": range}}
    exec(compile(source, "<a step>", "exec"), known)
    return known["path"]


def _noted(
    stepper: Stepper, landscape: Surface, formula: _Formula, here: Sequence[float], form: _Form, state: Sequence[Any]
) -> _Step:
    """The step that goes from here: x, y, the loss and its gradient."""
    notes = _Notes()
    x, y, loss, across, up = (_Number(name, value) for name, value in zip("xyfgh", here, strict=True))
    point = _Stand(notes, (2,), [x, y])
    oracle = _Asked(landscape, point, _Stand(notes, (), [loss]), _Stand(notes, (2,), [across, up]))
    try:
        new, then = stepper.step(point, form.stands(notes, state), oracle)  # type: ignore[arg-type]
    except (TypeError, AttributeError, RuntimeError, ValueError) as failure:
        raise Unfit(f"does what only tensors can ({failure})") from failure
    if stepper.point(new, then) is not new:
        raise Unfit("returns other points than those of its steps")
    if _stand(new, notes).shape != (2,):
        raise Unfit("is several runs at once")
    after, numbers = _taken_apart(then, notes)
    goal = [one.name for one in _stand(new, notes).numbers]
    real = _on_tensors(stepper, landscape, here, form, state)
    if real is not None and not _close([one.value for one in _stand(new, notes).numbers], real):
        raise Unfit("goes otherwise than on tensors")
    before = "".join(f"s{at}, " for at in range(len(state)))
    behind = "".join(f"s{at}, " for at in range(len(numbers)))

    def path(careful: bool) -> str:
        lines, decisions = [], list(notes.decisions)
        for at, line in enumerate([*notes.lines, None]):
            while decisions and decisions[0][0] == at:
                _, name, fell = decisions.pop(0)
                lines.append(f"if {'not ' if fell else ''}{name}: return k, {_OTHERWISE}, x, y, f, g, h, ({before})")
            if line is not None:
                lines.append(_line(*line, careful))
        lines += [
            f"a, b = {goal[0]}, {goal[1]}",
            # What is not finite is not 0 when it is taken from itself.
            f"if a - a != 0 or b - b != 0: return k + 1, {_LOST}, x, y, f, g, h, ({before})",
            *([f"{behind}= {''.join(f'{one.name}, ' for one in numbers)}"] if numbers else []),
            "x, y = a, b",
            *formula.lines(careful),
            "add((x, y, f, g, h))",
            f"if f - f != 0: return k + 1, {_LOST}, x, y, f, g, h, ({behind})",
        ]
        source = f"def path(n, add, x, y, f, g, h, {before}):\n    for k in range(n):\n"
        source += "".join(f"        {line}\n" for line in lines) + f"    return n, {_DONE}, x, y, f, g, h, ({behind})\n"
        return source

    return _Step(form, after, oracle.spent, path)


def _on_tensors(
    stepper: Stepper, landscape: Surface, here: Sequence[float], form: _Form, state: Sequence[Any]
) -> Tensor | None:
    """The point of the same step on tensors; None where the state cannot be put together again."""
    for single in (lambda value: value, lambda value: torch.tensor(value, dtype=torch.float64)):  # counters, or tensors
        leaves, rest = list[Any](), list(state)
        for shape in form.shapes:
            size = 0 if shape is None else math.prod(shape)
            own, rest = rest[:size], rest[size:]
            leaf = single(own[0]) if shape == () else torch.tensor(own, dtype=torch.float64).reshape(shape or 0)
            leaves.append(None if shape is None else leaf)
        point = torch.tensor(here[:2], dtype=torch.float64)
        with suppress(TypeError, AttributeError, RuntimeError, ValueError):
            return stepper.step(point, tree_unflatten(leaves, form.tree), Oracle(landscape))[0]
    return None


def _close(ours: Sequence[float], theirs: Tensor) -> bool:
    if not torch.isfinite(theirs).all():  # then neither is
        return not all(math.isfinite(one) for one in ours)
    scale = float(theirs.abs().max()) + 1
    return torch.allclose(torch.tensor(ours, dtype=torch.float64), theirs, rtol=_ROUNDING, atol=_ROUNDING * scale)


_DONE, _OTHERWISE, _LOST = range(3)  # how a stretch of steps ends


class Program:
    """The run of one rule, planned, from start (2,) in float64, each step recorded: as `run` gives it, but for rounding.

    Raises Unfit, here or along the way, for a rule that has no such program.
    """

    def __init__(self, landscape: Surface, stepper: Stepper, start: Tensor):
        if any(getattr(type(landscape), name) is not getattr(Surface, name) for name in _OF_THE_FORMULA):
            raise Unfit("runs on a loss that is more than its formula")
        self._landscape, self._stepper, self._formula = landscape, stepper, _formula(landscape)
        x, y = start.tolist()
        self._form, numbers = _taken_apart(stepper.init(start), _Notes())
        self._state = [one.value for one in numbers]
        self._here: list[float] = [x, y, *self._formula.at(x, y)]
        if not math.isfinite(self._here[2]):
            raise Unfit("starts where the loss is no number")
        self._rows = [tuple(self._here)]
        self._spent: list[tuple[Spent, int]] = []  # by each step of a stretch, and of how many
        self._known: list[_Step] = []
        self._died = -1
        self._compare(start)

    def _compare(self, start: Tensor) -> None:
        """Its first steps are those that the rule takes on tensors. Raises Unfit."""
        point, state = start, self._stepper.init(start)
        for step in range(1, _COMPARED + 1):
            self.advance(step)
            point, state = self._stepper.step(point, state, Oracle(self._landscape))
            if self._died >= 0:
                return
            if not _close(self._rows[step][:2], point):
                raise Unfit("goes otherwise than on tensors")

    def advance(self, steps: int) -> None:
        """Goes on until so many steps are recorded; a run that has left finite numbers stays where it was, and its costs go on."""
        while self._died < 0 and len(self._rows) <= steps:
            if not any(self._took(one, steps) for one in self._known if one.before == self._form):
                if len(self._known) == _VARIANTS:
                    raise Unfit("decides in too many ways")
                self._known.append(
                    _noted(self._stepper, self._landscape, self._formula, self._here, self._form, self._state)
                )
                self._took(self._known[-1], steps)
        if len(self._rows) <= steps:
            self._count(self._spent[-1][0], steps + 1 - len(self._rows))

    def _took(self, one: _Step, steps: int) -> int:
        """So many steps of one kind as there are, up to those asked for."""
        before = len(self._rows)
        most = steps + 1 - before if one.before == one.after else 1
        try:
            done, how, *self._here, self._state = one.quick(most, self._rows.append, *self._here, *self._state)
        except (ZeroDivisionError, OverflowError, ValueError):  # a number is special: inf, nan, less than 0 in a root
            del self._rows[before:]
            done, how, *self._here, self._state = one.careful(most, self._rows.append, *self._here, *self._state)
        if done:
            self._form = one.after
            self._count(one.spent, done, before)
            if how == _LOST:
                self._died = len(self._rows) - 1
        return int(done)

    def _count(self, each: Spent, steps: int, recorded: int | None = None) -> None:
        """So many more steps behind those `recorded`; of which a run that stays where it was has no rows."""
        self._spent.append((each, steps))
        recorded = len(self._rows) if recorded is None else recorded
        self._rows += [self._rows[-1]] * (recorded + steps - len(self._rows))

    def trajectory(self, steps: int) -> Trajectory:
        """What is recorded up to a step that it has advanced to."""
        numbers = torch.tensor(self._rows[: steps + 1], dtype=torch.float64)
        loss, norm = numbers[:, 2].clone(), torch.linalg.vector_norm(numbers[:, 3:], dim=-1)
        died = self._died if self._died <= steps else -1
        if died >= 0:
            loss[died:] = norm[died:] = torch.nan
        step = torch.arange(steps + 1)
        each, many = torch.tensor([one for one, _ in self._spent]), torch.tensor([k for _, k in self._spent])
        spent = torch.cat((torch.zeros(1, 3, dtype=torch.int64), each.repeat_interleave(many, 0).cumsum(0)))[
            : steps + 1
        ]
        return Trajectory(
            step=step,
            loss=loss,
            grad_norm=norm,
            probes={},
            params=numbers[:, :2].clone(),
            params_step=step,
            diverged_at=torch.tensor(died),
            evaluations=Counts(*spent.unbind(-1)),
        )


def side_by_side(paths: Sequence[Trajectory]) -> Trajectory:
    """Runs of the same steps as one record: they get a dimension of their own behind that of the steps."""
    one = paths[0]
    return Trajectory(
        step=one.step,
        loss=torch.stack([path.loss for path in paths], 1),
        grad_norm=torch.stack([path.grad_norm for path in paths], 1),
        probes={},
        params=torch.stack([path.params for path in paths], 1),
        params_step=one.params_step,
        diverged_at=torch.stack([path.diverged_at for path in paths]),
        evaluations=Counts(
            *(torch.stack(counts, 1) for counts in zip(*(path.evaluations for path in paths), strict=True))
        ),
    )
