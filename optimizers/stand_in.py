"""Stand-ins for tensors of few numbers: code that is written for tensors notes what it does with each number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscapes import Surface
from optimizers.optimizer import Evaluation, Oracle
from optimizers.scalars import TERMS

_NUMBERS = (int, float)


class Unfit(Exception):
    """No such program: the reason, for whoever reads a list of them."""


class Notes:
    """The lines of a program, each an operation on numbers whose outcome has a name."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, tuple[str, ...]]] = []  # name, operation, arguments
        self.decisions: list[tuple[int, str, bool]] = []  # after how many lines, the name of what decides, how it fell
        self._names = count()

    def number(self, operation: str, *of: Number) -> Number:
        value = TERMS[operation](*(one.value for one in of))
        if all(one.fixed for one in of):
            return _fixed(value)
        name = f"v{next(self._names)}"
        self.lines.append((name, operation, tuple(one.name for one in of)))
        return Number(name, value)


@dataclass(frozen=True)
class Number:
    name: str  # in the program; how it is written, for a number that is the same at each step
    value: Any  # at the step that is noted
    fixed: bool = False


def _fixed(value: Any) -> Number:
    return Number(repr(value), value, fixed=True)


class Stand:
    """Stands in for a tensor of few numbers. Functions of torch that it does not know raise Unfit."""

    def __init__(self, notes: Notes, shape: tuple[int, ...], numbers: Sequence[Number]):
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
    def T(self) -> Stand:
        turned: Stand = _TORCH["permute"](self, tuple(reversed(range(self.ndim))))
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

    def __getitem__(self, index: Any) -> Stand:
        return self.at(self.places[index])

    @property
    def places(self) -> Tensor:
        """Which number is where."""
        return torch.arange(len(self.numbers)).reshape(self.shape)

    def at(self, places: Tensor) -> Stand:
        """Its numbers at other places."""
        return Stand(self.notes, tuple(places.shape), [self.numbers[at] for at in places.flatten().tolist()])

    def __hash__(self) -> int:
        return id(self)


def _binary(operation: str, *, swapped: bool = False) -> Callable[[Stand, Any], Any]:
    return lambda self, other: _each(operation, other, self) if swapped else _each(operation, self, other)


for _name, _operation in {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "pow": "pow",
    "mod": "mod",
}.items():
    setattr(Stand, f"__{_name}__", _binary(_operation))
    setattr(Stand, f"__r{_name}__", _binary(_operation, swapped=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "and", "or"):
    setattr(Stand, f"__{_name}__", _binary(_name))
for _name, _operation in {"neg": "neg", "abs": "abs", "invert": "not"}.items():
    setattr(Stand, f"__{_name}__", lambda self, operation=_operation: _each(operation, self))


def standing_for(value: Any, notes: Notes) -> Stand:
    if isinstance(value, Stand):
        return value
    if isinstance(value, Tensor):
        return Stand(notes, tuple(value.shape), [_fixed(one) for one in value.flatten().tolist()])
    if isinstance(value, (bool, *_NUMBERS)):
        return Stand(notes, (), [_fixed(value)])
    raise Unfit(f"mixes tensors with {type(value).__name__}")


def _each(operation: str, *of: Any) -> Stand:
    """An operation on numbers, for each of those of several tensors, which broadcast."""
    notes = next(one.notes for one in of if isinstance(one, Stand))
    stands = [standing_for(one, notes) for one in of]
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
    return Stand(notes, tuple(shape), [notes.number(operation, *numbers) for numbers in zip(*rows, strict=True)])


def _spread(one: Stand, shape: Sequence[int]) -> Stand:
    return one.at(one.places.expand(tuple(shape)))


def _moved_about(change: Callable[..., Tensor]) -> Callable[..., Stand]:
    """A function of torch that only rearranges."""

    return lambda one, *given, **named: one.at(change(one.places, *given, **named))


def _scaled(value: Any, factor: Any) -> Any:
    """A product, where either may be a number that is known."""
    if isinstance(factor, Stand) or (isinstance(value, Stand) and factor != 1):
        return _each("mul", value, factor)
    return value if factor == 1 else value * factor


def _added(a: Any, b: Any, *, alpha: Any = 1) -> Stand:
    return _each("add", a, _scaled(b, alpha))


def _lowered(a: Any, b: Any, *, alpha: Any = 1) -> Stand:
    return _each("sub", a, _scaled(b, alpha))


def _lerped(start: Any, end: Any, weight: Any) -> Stand:
    """As torch takes it: from the nearer end."""
    if isinstance(weight, Stand):
        near = _each("lt", _each("abs", weight), 0.5)
        way = _each("sub", end, start)
        from_start = _each("add", start, _each("mul", weight, way))
        from_end = _each("sub", end, _each("mul", way, _each("sub", 1, weight)))
        return _each("where", near, from_start, from_end)
    if abs(weight) < 0.5:
        return _each("add", start, _each("mul", weight, _each("sub", end, start)))
    return _each("sub", end, _each("mul", _each("sub", end, start), 1 - weight))


def _with_product(base: Any, a: Any, b: Any, *, value: Any = 1) -> Stand:
    return _each("add", base, _each("mul", _scaled(a, value), b))


def _with_quotient(base: Any, a: Any, b: Any, *, value: Any = 1) -> Stand:
    return _each("add", base, _each("div", _scaled(a, value), b))


def _summed(one: Stand, dim: Any = None, keepdim: bool = False) -> Stand:
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
    return Stand(one.notes, tuple(shape), numbers)


def _norm(one: Stand, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Stand:
    if ord == 1:
        return _summed(_each("abs", one), dim, keepdim)
    if ord != 2:
        raise Unfit(f"takes a norm of order {ord}")
    return _each("sqrt", _summed(_each("mul", one, one), dim, keepdim))


def _meant(one: Stand, dim: Any = None, keepdim: bool = False) -> Stand:
    total = _summed(one, dim, keepdim)
    return _each("div", total, len(one.numbers) // len(total.numbers))


def _put_together(how: Callable[..., Tensor]) -> Callable[..., Stand]:
    """torch.stack or torch.cat."""

    def together(parts: Sequence[Any], dim: int = 0) -> Stand:
        notes = next(one.notes for one in parts if isinstance(one, Stand))
        stands = [standing_for(one, notes) for one in parts]
        numbers, places = list[Number](), []
        for one in stands:
            places.append(one.places + len(numbers))
            numbers += one.numbers
        return Stand(notes, (len(numbers),), numbers).at(how(places, dim))

    return together


def _split(one: Stand, sizes: Any, dim: int = 0) -> tuple[Stand, ...]:
    return tuple(one.at(part) for part in one.places.split(sizes, dim))


def _clamped(one: Stand, min: Any = None, max: Any = None) -> Stand:
    if min is not None:
        one = _each("max", one, min)
    return one if max is None else _each("min", one, max)


def _filled(value: float) -> Callable[..., Stand]:
    def filled(one: Stand, dtype: Any = None, **_: Any) -> Stand:
        number = _fixed(bool(value) if dtype is torch.bool else value)
        return Stand(one.notes, tuple(one.shape), [number] * len(one.numbers))

    return filled


def _unbound(one: Stand, dim: int = 0) -> tuple[Stand, ...]:
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


def _chosen(a: Any, condition: Any, b: Any) -> Stand:
    """a.where(condition, b)"""
    return _each("where", condition, a, b)


def _reduced(operation: str, one: Stand) -> Stand:
    total = one.numbers[0]
    for number in one.numbers[1:]:
        total = one.notes.number(operation, total, number)
    return Stand(one.notes, (), [total])


class Asked(Oracle):
    """Answers for the one point that a step begins at."""

    def __init__(self, landscape: Surface, point: Stand, loss: Stand, grad: Stand):
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
