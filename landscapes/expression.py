"""Closed-form expressions as a graph: build, differentiate, and run on tensors.

A surface is written once, as a formula; its gradient and Hessian follow here by reverse-mode differentiation of the graph.
Equal sub-expressions are one node and constants fold as the graph is built, so that a derivative costs a few tensor
operations: a path of some hundred steps on a surface is bounded by their number alone. Unlike symbolic expansion the
derivative of n nodes has O(n) nodes, whatever the formula; that bound is what lets us take formulas from links.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

_SAFE = 6e4  # below the largest number of every floating-point type of torch
_TINY = 1e-30  # keeps the derivative of sqrt finite at 0: there 0.5 / _TINY * 0 = 0 is a subgradient of a cone


class Expr:
    """A node of the graph. Nodes are interned: structurally equal expressions are the same object."""

    __slots__ = ("op", "args", "value", "__weakref__")

    def __init__(self, op: str, args: tuple[Expr, ...] = (), value: float | str = 0.0):
        self.op, self.args, self.value = op, args, value

    def __add__(self, other: Expr) -> Expr:
        if other.op == "neg":
            return self - other.args[0]
        if self.op == "neg":
            return other - self.args[0]
        if is_constant(self, 0.0):
            return other
        if is_constant(other, 0.0):
            return self
        if self is other:
            return constant(2.0) * self
        return _node("add", other, self) if self.op == "const" else _node("add", self, other)

    def __sub__(self, other: Expr) -> Expr:
        if other.op == "neg":
            return self + other.args[0]
        if is_constant(other, 0.0):
            return self
        if is_constant(self, 0.0):
            return -other
        return _node("sub", self, other)

    def __mul__(self, other: Expr) -> Expr:
        if other.op == "const":
            self, other = other, self
        if self.op == "const":
            if is_constant(self, 0.0) or is_constant(self, 1.0):
                return self if is_constant(self, 0.0) else other
            if is_constant(self, -1.0):
                return -other
            if other.op == "neg":
                return -self * other.args[0]
            if other.op == "mul" and other.args[0].op == "const":
                return self * other.args[0] * other.args[1]
            return _node("mul", self, other)
        if self.op == "abs" and self is other:  # so that its square is as smooth as it is
            return self.args[0] * self.args[0]
        if {self.op, other.op} == {"abs", "sign"} and self.args[0] is other.args[0]:
            return self.args[0]
        if self.op == "neg" or other.op == "neg":
            left, right = (one.args[0] if one.op == "neg" else one for one in (self, other))
            return left * right if self.op == other.op else -(left * right)
        for one, rest in ((self, other), (other, self)):  # pull constants to the front: (c a) b = c (a b)
            if one.op == "mul" and one.args[0].op == "const":
                return one.args[0] * (one.args[1] * rest)
        return _node("mul", self, other)

    def __truediv__(self, other: Expr) -> Expr:
        if other.op == "const":
            return self * (constant(1.0) / other) if self.op != "const" else _node("div", self, other)
        return self * _node("reciprocal", other)

    def __neg__(self) -> Expr:
        return self.args[0] if self.op == "neg" else _node("neg", self)

    def __pow__(self, other: Expr) -> Expr:
        if other.op == "const":
            exponent = other.value
            if exponent == 0.5:
                return call("sqrt", self)
            if exponent == -1.0:
                return constant(1.0) / self
            if exponent in (0.0, 1.0, 2.0, 3.0, 4.0):  # products are faster than pow, and exact
                power = constant(1.0)
                for _ in range(int(exponent) % 2):
                    power = self
                square = self * self if exponent >= 2 else constant(1.0)
                return square * square if exponent == 4.0 else power * square
        return _node("pow", self, other)


_interned: WeakValueDictionary[Any, Expr] = WeakValueDictionary()


def _intern(op: str, args: tuple[Expr, ...] = (), value: float | str = 0.0) -> Expr:
    key = (op, *map(id, args), repr(value))
    found = _interned.get(key)  # ids stay valid: a node keeps its arguments alive
    if found is None:
        found = _interned[key] = Expr(op, args, value)
    return found


def _node(op: str, *args: Expr) -> Expr:
    if all(arg.op == "const" for arg in args):  # fold in IEEE arithmetic: overflow gives inf, never an exception
        return constant(float(OPERATIONS[op].run(*(torch.tensor(arg.value, dtype=torch.float64) for arg in args))))
    return _intern(op, args)


def constant(value: float) -> Expr:
    return _intern("const", (), float(value))


def variable(name: str) -> Expr:
    return _intern("variable", (), name)


def call(name: str, *args: Expr) -> Expr:
    """The expression name(*args) for a name in OPERATIONS."""
    return _node(name, *args)


def is_constant(expr: Expr, value: float) -> bool:
    return expr.op == "const" and expr.value == value


@dataclass(frozen=True)
class Operation:
    """How an operation runs on tensors, and its partial derivatives given (arguments, the result)."""

    run: Callable[..., Tensor]
    partials: Callable[..., tuple[Expr, ...]]
    latex: str = ""  # for functions a formula may call


def _half() -> Expr:
    return constant(0.5)


def _one() -> Expr:
    return constant(1.0)


OPERATIONS: dict[str, Operation] = {
    "add": Operation(torch.add, lambda a, b, out: (_one(), _one())),
    "sub": Operation(torch.sub, lambda a, b, out: (_one(), -_one())),
    "mul": Operation(torch.mul, lambda a, b, out: (b, a)),
    "div": Operation(torch.div, lambda a, b, out: (_one() / b, -out / b)),
    "neg": Operation(torch.neg, lambda a, out: (-_one(),)),
    "reciprocal": Operation(torch.reciprocal, lambda a, out: (-(out * out),)),
    "pow": Operation(torch.pow, lambda a, b, out: (b * a ** (b - _one()), out * call("log", a))),
    "sin": Operation(torch.sin, lambda a, out: (call("cos", a),), r"\sin"),
    "cos": Operation(torch.cos, lambda a, out: (-call("sin", a),), r"\cos"),
    "tan": Operation(torch.tan, lambda a, out: (_one() + out * out,), r"\tan"),
    "asin": Operation(torch.asin, lambda a, out: (_one() / call("sqrt", _one() - a * a),), r"\arcsin"),
    "acos": Operation(torch.acos, lambda a, out: (-(_one() / call("sqrt", _one() - a * a)),), r"\arccos"),
    "atan": Operation(torch.atan, lambda a, out: (_one() / (_one() + a * a),), r"\arctan"),
    "sinh": Operation(torch.sinh, lambda a, out: (call("cosh", a),), r"\sinh"),
    "cosh": Operation(torch.cosh, lambda a, out: (call("sinh", a),), r"\cosh"),
    "tanh": Operation(torch.tanh, lambda a, out: (_one() - out * out,), r"\tanh"),
    "exp": Operation(torch.exp, lambda a, out: (out,), r"\exp"),
    "log": Operation(torch.log, lambda a, out: (_one() / a,), r"\log"),
    "sqrt": Operation(torch.sqrt, lambda a, out: (_half() / call("max", out, constant(_TINY)),), r"\sqrt"),
    "abs": Operation(torch.abs, lambda a, out: (call("sign", a),), r"\operatorname{abs}"),
    "sign": Operation(torch.sign, lambda a, out: (constant(0.0),), r"\operatorname{sign}"),
    "sigmoid": Operation(torch.sigmoid, lambda a, out: (out * (_one() - out),), r"\sigma"),
    "softplus": Operation(  # above the threshold torch returns a itself: 50 keeps that exact in float64
        partial(torch.nn.functional.softplus, threshold=50.0),
        lambda a, out: (call("sigmoid", a),),
        r"\operatorname{softplus}",
    ),
    # At a tie each argument gets half, as in torch.maximum and torch.minimum.
    "max": Operation(torch.maximum, lambda a, b, out: _picked(a - b), r"\max"),
    "min": Operation(torch.minimum, lambda a, b, out: _picked(b - a), r"\min"),
}
FUNCTIONS = {name: operation for name, operation in OPERATIONS.items() if operation.latex}
ARITY = {name: 2 if name in ("max", "min") else 1 for name in FUNCTIONS}


def _picked(lead: Expr) -> tuple[Expr, Expr]:
    first = _half() + _half() * call("sign", lead)
    return first, _one() - first


def ordered(outputs: Iterable[Expr]) -> list[Expr]:
    """Every node below the outputs, arguments before their users. Iterative: depth is no danger."""
    order: list[Expr] = []
    seen: set[Expr] = set()
    stack = [(expr, False) for expr in outputs]
    while stack:
        expr, expanded = stack.pop()
        if expanded:
            order.append(expr)
        elif expr not in seen:
            seen.add(expr)
            stack.append((expr, True))
            stack.extend((arg, False) for arg in reversed(expr.args))
    return order


def gradient(output: Expr, variables: Sequence[Expr]) -> list[Expr]:
    """Partial derivatives of the output, as expressions of the same graph (reverse mode)."""
    adjoint: dict[Expr, Expr] = {output: constant(1.0)}
    for expr in reversed(ordered([output])):
        if not expr.args or expr not in adjoint:
            continue
        for arg, partial_derivative in zip(expr.args, OPERATIONS[expr.op].partials(*expr.args, expr), strict=True):
            if arg.op != "const":
                term = adjoint[expr] * partial_derivative
                adjoint[arg] = adjoint[arg] + term if arg in adjoint else term
    return [adjoint.get(one, constant(0.0)) for one in variables]


class Program:
    """Expressions compiled to a list of torch calls over numbered slots; equal parts are computed once."""

    def __init__(self, outputs: Sequence[Expr], variables: Sequence[Expr]):
        order = ordered(outputs)
        uses: dict[Expr, int] = {}
        for expr in [arg for one in order for arg in one.args] + list(outputs):
            uses[expr] = uses.get(expr, 0) + 1
        self._slot = {one: index for index, one in enumerate(variables)}
        self._blank: list[Any] = [None] * len(variables)
        self._calls: list[tuple[Callable[..., Tensor], tuple[int, ...]]] = []
        fused: dict[Expr, tuple[Callable[..., Tensor], tuple[Expr, ...]]] = {}
        absorbed: set[Expr] = set()
        for expr in order:
            fusion = _fuse(expr, lambda one: uses[one] == 1 and one not in fused)
            if fusion is not None:
                function, args, swallowed = fusion
                fused[expr] = (function, args)
                absorbed.update(swallowed)
        for expr in order:
            if expr in self._slot or expr in absorbed:
                continue
            self._slot[expr] = len(self._blank)
            self._blank.append(expr.value if expr.op == "const" else None)
            if expr.args:
                function, args = fused.get(expr) or _plain(expr)
                self._calls.append((function, tuple(self._slot[arg] for arg in args)))
        targets = [self._slot[expr] for expr in order if expr.args and expr not in absorbed]
        self._steps = [(target, function, args) for target, (function, args) in zip(targets, self._calls, strict=True)]
        self._outputs = [self._slot[expr] for expr in outputs]
        sizes = [abs(float(expr.value)) for expr in order if expr.op == "const"]
        self._largest = max((size for size in sizes if size < math.inf), default=0.0)
        # Outputs that need care: constants, which have no shape yet, and variables, whose memory is the caller's.
        self._odd = any(index < len(variables) or self._blank[index] is not None for index in self._outputs)

    def __len__(self) -> int:
        """Number of tensor operations of one run."""
        return len(self._steps)

    def __call__(self, *variables: Tensor) -> list[Tensor]:
        """The outputs at the variables' values, each of the variables' shape."""
        first = variables[0]
        if (
            self._largest > _SAFE and self._largest > torch.finfo(first.dtype).max
        ):  # torch refuses such a constant where it meets float32
            return [one.to(first.dtype) for one in self(*[one.double() for one in variables])]
        slots = self._blank.copy()
        slots[: len(variables)] = variables
        for target, function, args in self._steps:
            slots[target] = function(*[slots[arg] for arg in args])
        results = [slots[index] for index in self._outputs]
        if not self._odd:
            return results
        results = [one if isinstance(one, Tensor) else torch.full_like(first, one) for one in results]
        return [
            one.clone() if index < len(variables) else one for index, one in zip(self._outputs, results, strict=True)
        ]


def _plain(expr: Expr) -> tuple[Callable[..., Tensor], tuple[Expr, ...]]:
    """The torch call of one node, with the forms that torch has for a constant argument."""
    first, *rest = expr.args
    if expr.op == "mul" and first.op == "const":
        return torch.mul, (rest[0], first)
    if expr.op == "sub" and first.op == "const":
        return torch.rsub, (rest[0], first)
    if expr.op in ("max", "min") and any(arg.op == "const" for arg in expr.args):
        tensor, bound = (first, rest[0]) if rest[0].op == "const" else (rest[0], first)
        return partial(torch.clamp, **{"min" if expr.op == "max" else "max": bound.value}), (tensor,)
    if expr.op == "pow":
        return operator.pow if first.op != "const" else torch.pow, expr.args
    return OPERATIONS[expr.op].run, expr.args


def _fuse(
    expr: Expr, single: Callable[[Expr], bool]
) -> tuple[Callable[..., Tensor], tuple[Expr, ...], list[Expr]] | None:
    """a + c*b, a + b*d and a + c*b*d as one torch call, where the product has no other use."""
    if expr.op not in ("add", "sub"):
        return None
    sign = 1.0 if expr.op == "add" else -1.0
    base, product = expr.args
    if expr.op == "add" and not (product.op == "mul" and single(product)):
        base, product = product, base
    if product.op != "mul" or not single(product) or base.op == "const":
        return None
    left, right = product.args
    if left.op != "const":
        return partial(torch.addcmul, value=sign), (base, left, right), [product]
    scale = sign * float(left.value)
    if right.op == "mul" and single(right) and right.args[0].op != "const":
        return partial(torch.addcmul, value=scale), (base, *right.args), [product, right]
    return partial(torch.add, alpha=scale), (base, right), [product]
