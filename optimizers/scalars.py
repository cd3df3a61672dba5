"""The operations on numbers that programs are made of: what each gives, as torch has it, and how Python writes it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any


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
TERMS: dict[str, Callable[..., Any]] = {
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
QUICK = {
    "pow": math.pow, "sqrt": math.sqrt, "sin": math.sin, "cos": math.cos, "tan": math.tan, "exp": math.exp,
    "log": math.log, "sinh": math.sinh, "cosh": math.cosh,
}  # fmt: skip


def written(name: str, operation: str, of: tuple[str, ...], careful: bool) -> str:
    """One operation as a line of a program; `careful` for numbers that may be special."""
    form = (_WRITTEN if careful else _QUICK_WRITTEN).get(operation)
    return f"{name} = " + (form.format(*of) if form else f"{operation}_({', '.join(of)})")


def made(source: str, *, careful: bool) -> Any:
    """The function `path` that a program defines. It is made of our own names and of numbers, whatever a user has typed."""
    known: dict[str, Any] = {f"{name}_": function for name, function in TERMS.items()}
    if not careful:
        known |= {f"{name}_": function for name, function in QUICK.items()}
    known |= {"nan": math.nan, "inf": math.inf, "__builtins__": {"range": range}}
    exec(compile(source, "<a step>", "exec"), known)
    return known["path"]
