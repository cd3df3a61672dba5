"""One declared, bounded hyper-parameter: the single place where a default, a range and a symbol are written.

Landscapes, optimizers and experiments are frozen dataclasses whose fields are made by `setting(...)`. Widgets, links, the
reference page and the parametrised tests all read the same declaration, through `settings(kind)`.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor


@dataclass(frozen=True)
class Setting(ABC):
    """What is allowed for one field. `check` takes a Python value, `read` the text of a link; both raise a clear sentence."""

    default: Any
    label: str = ""  # what people read, where the field's name does not say it
    symbol: str = ""  # LaTeX
    help: str = ""
    aliases: tuple[str, ...] = ()

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The end of the sentence "it must be ..."."""

    @abstractmethod
    def check(self, name: str, value: Any) -> Any:
        """The value in its canonical type. Raises TypeError for a wrong type and ValueError for a value out of range."""

    @abstractmethod
    def read(self, name: str, text: str) -> Any:
        """The value that `write` wrote, checked. Raises ValueError."""

    def write(self, value: Any) -> str:
        return repr(value)

    def refusal(self, name: str, value: Any) -> str:
        return f"{name} = {_shown(value)} is not allowed: it must be {self.allowed}."


def excerpt(text: str) -> str:
    """At most 60 printable characters of a text that may be hostile."""
    shown = text[:61] if text[:61].isprintable() else ascii(text[:61])[1:-1]
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _shown(value: Any) -> str:
    """The same of a value; a text that is not printable is in quotes."""
    if isinstance(value, str) and value[:61].isprintable():
        shown = value
    else:
        try:
            shown = repr(value[:61] if isinstance(value, str) else value)
        except ValueError:  # Python writes no whole number of more than 4300 digits
            shown = f"a {type(value).__name__} too long to write"
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _real(text: str) -> float:
    """A number as people and `repr` write it. Raises ValueError for what else float() takes: ٣, 1_000, spaces."""
    if len(text) > 100 or not text.isascii() or "_" in text or text.strip() != text:
        raise ValueError("not a number")
    return float(text)


@dataclass(frozen=True)
class Number(Setting):
    """A real number, or for batched hyper-parameters a tensor (..., 1) with one value per run."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    log: bool = False
    scale: tuple[float, float] | None = None  # the useful part of the range: sliders and sweeps span it

    @property
    def allowed(self) -> str:
        if math.isinf(self.high) and math.isinf(self.low):
            return "a finite number"
        lower = f"above {self.low:g}" if self.low_open else f"at least {self.low:g}"
        upper = f"below {self.high:g}" if self.high_open else f"at most {self.high:g}"
        return "a number " + (
            lower if math.isinf(self.high) else upper if math.isinf(self.low) else f"{lower} and {upper}"
        )

    def check(self, name: str, value: Any) -> float | Tensor:
        if isinstance(value, Tensor):
            return self._check_tensor(name, value)
        if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
            raise TypeError(self.refusal(name, value))
        try:
            number = float(value)
        except OverflowError:
            raise ValueError(self.refusal(name, value)) from None
        except TypeError:  # an array, a class
            raise TypeError(self.refusal(name, value)) from None
        if not (math.isfinite(number) and self._inside(number, number)):
            raise ValueError(self.refusal(name, value))
        return number

    def _check_tensor(self, name: str, value: Tensor) -> Tensor:
        if value.ndim and value.shape[-1] != 1:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}: one value per run is a tensor of shape (..., 1), "
                f"so that it broadcasts against params (..., dim)."
            )
        if not value.is_floating_point():
            raise TypeError(f"{name} is a tensor of {value.dtype}: it must be a floating-point tensor.")
        entries = value.detach()
        if value.numel() and not (
            bool(torch.isfinite(entries).all()) and self._inside(float(entries.min()), float(entries.max()))
        ):
            raise ValueError(f"{name} has an entry that is not allowed: each must be {self.allowed}.")
        return value

    def _inside(self, least: float, greatest: float) -> bool:
        above = least > self.low if self.low_open else least >= self.low
        below = greatest < self.high if self.high_open else greatest <= self.high
        return above and below

    def read(self, name: str, text: str) -> float:
        try:
            value = _real(text)
        except ValueError:
            raise ValueError(self.refusal(name, text)) from None
        checked = self.check(name, value)
        assert isinstance(checked, float)
        return checked


def _whole(value: Any) -> int | None:
    """The value as int if it is a whole number by type; None for a bool, a float, an array."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


@dataclass(frozen=True)
class Integer(Setting):
    low: int = 0
    high: int = 2**31 - 1

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def check(self, name: str, value: Any) -> int:
        whole = _whole(value)
        if whole is None:
            raise TypeError(self.refusal(name, value))
        if not self.low <= whole <= self.high:
            raise ValueError(self.refusal(name, value))
        return whole

    def read(self, name: str, text: str) -> int:
        # Bounding the length first keeps int() cheap on hostile text.
        if len(text) > 20 or not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
            raise ValueError(self.refusal(name, text))
        return self.check(name, int(text))


@dataclass(frozen=True)
class Flag(Setting):
    @property
    def allowed(self) -> str:
        return "true or false"

    def check(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError(self.refusal(name, value))
        return value

    def read(self, name: str, text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError(self.refusal(name, text))
        return text == "true"

    def write(self, value: bool) -> str:
        return "true" if value else "false"


@dataclass(frozen=True)
class Choice(Setting):
    choices: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # what people read in their place; empty where the names say it

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.choices)

    def check(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(self.refusal(name, value))
        if value not in self.choices:
            raise ValueError(self.refusal(name, value))
        return value

    def read(self, name: str, text: str) -> str:
        return self.check(name, text)

    def write(self, value: str) -> str:
        return value


@dataclass(frozen=True)
class Names(Setting):
    """Some of the names of a registry, each once; written a,b."""

    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        return "none or some of " + ", ".join(self.choices)

    def check(self, name: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, (tuple, list)) or not all(isinstance(one, str) for one in value):
            raise TypeError(self.refusal(name, value))
        if len(set(value)) < len(value) or not set(value) <= set(self.choices):
            raise ValueError(self.refusal(name, ",".join(value)))
        return tuple(value)

    def read(self, name: str, text: str) -> tuple[str, ...]:
        return self.check(name, [] if text == "none" else text.split(","))

    def write(self, value: tuple[str, ...]) -> str:
        return ",".join(value) or "none"


@dataclass(frozen=True)
class Text(Setting):
    """Free text. What it means is checked by the class that owns it (a formula by its parser)."""

    high: int = 500

    @property
    def allowed(self) -> str:
        return f"a text of 1 to {self.high} characters"

    def check(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(self.refusal(name, value))
        if not 1 <= len(value) <= self.high:
            raise ValueError(f"{name} has {len(value)} characters: it must be {self.allowed}.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"{name} has a lone surrogate, which no file or link can hold: it must be {self.allowed}.")
        return value

    def read(self, name: str, text: str) -> str:
        return self.check(name, text)

    def write(self, value: str) -> str:
        return value


@dataclass(frozen=True)
class Integers(Setting):
    """A tuple of whole numbers, such as the widths of hidden layers; written 128x128."""

    low: int = 1
    high: int = 4096
    count: int = 8

    @property
    def allowed(self) -> str:
        return f"up to {self.count} whole numbers from {self.low} to {self.high}, as in 128x128"

    def check(self, name: str, value: Any) -> tuple[int, ...]:
        if not isinstance(value, (tuple, list)):
            raise TypeError(self.refusal(name, value))
        if len(value) > self.count:
            raise ValueError(self.refusal(name, tuple(value)))
        wholes = []
        for item in value:
            whole = _whole(item)
            if whole is None:
                raise TypeError(self.refusal(name, tuple(value)))
            if not self.low <= whole <= self.high:
                raise ValueError(self.refusal(name, tuple(value)))
            wholes.append(whole)
        return tuple(wholes)

    def read(self, name: str, text: str) -> tuple[int, ...]:
        parts = [] if text == "none" else text.split("x")
        if len(parts) > self.count or any(len(part) > 10 or not part.isascii() or not part.isdigit() for part in parts):
            raise ValueError(self.refusal(name, text))
        return self.check(name, tuple(int(part) for part in parts))

    def write(self, value: tuple[int, ...]) -> str:
        return "x".join(map(str, value)) or "none"


def _number(value: Any) -> float:
    """The value as float, inf where it is too large. Raises TypeError for a bool, a text, an array."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError("not a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class Numbers(Setting):
    """Rows of finite numbers of one length; written -2:2,-1:3 (rows by commas, numbers by colons)."""

    high: float = 1e6
    rows: int | None = None
    columns: int = 2
    ordered: bool = False  # each row must rise: an interval

    @property
    def allowed(self) -> str:
        example = ",".join([":".join(["-2", "2", "1", "0"][: self.columns])] * (self.rows or 1))
        one = "an interval low:high" if self.ordered else f"{self.columns} numbers"
        what = one if self.rows == 1 else f"{self.rows or 'some'} times {one}"
        return f"{what} of size at most {self.high:g}, as in {example}"

    def check(self, name: str, value: Any) -> tuple[tuple[float, ...], ...]:
        try:
            rows = tuple(tuple(_number(number) for number in row) for row in value)
        except TypeError:
            raise TypeError(self.refusal(name, value)) from None
        shape_fits = all(len(row) == self.columns for row in rows) and (self.rows is None or len(rows) == self.rows)
        finite = all(math.isfinite(number) and abs(number) <= self.high for row in rows for number in row)
        rising = not self.ordered or all(a < b for row in rows for a, b in pairwise(row))
        if not (rows and shape_fits and finite and rising):
            raise ValueError(self.refusal(name, value))
        return rows

    def read(self, name: str, text: str) -> tuple[tuple[float, ...], ...]:
        try:
            return self.check(name, [[_real(number) for number in row.split(":")] for row in text.split(",")])
        except ValueError:
            raise ValueError(self.refusal(name, text)) from None

    def write(self, value: tuple[tuple[float, ...], ...]) -> str:
        return ",".join(":".join(map(repr, row)) for row in value)


def setting(default: Any, low: Any = None, high: Any = None, *, choices: tuple[str, ...] = (), **facts: Any) -> Any:
    """A dataclass field with its range, symbol and help. The kind of setting follows from the type of the default.

    `low_open` / `high_open` exclude an end; `log` and `scale` say how a slider spans the range; `aliases` are other
    names that the constructor and links accept.
    """
    bounds = {key: bound for key, bound in (("low", low), ("high", high)) if bound is not None}
    kind: Setting
    if choices and isinstance(default, tuple):
        kind = Names(default, choices=choices, **facts)
    elif choices:
        kind = Choice(default, choices=choices, **facts)
    elif isinstance(default, bool):
        kind = Flag(default, **facts)
    elif isinstance(default, int):
        kind = Integer(default, **bounds, **facts)
    elif isinstance(default, float):
        kind = Number(default, **bounds, **facts)
    elif isinstance(default, str):
        kind = Text(default, **bounds, **facts)
    elif isinstance(default, tuple) and default and isinstance(default[0], tuple):
        kind = Numbers(default, **bounds, **facts)
    else:
        kind = Integers(default, **bounds, **facts)
    return dataclasses.field(default=default, metadata={"setting": kind})


def settings(kind: Any) -> dict[str, Setting]:
    """The settings of a declared class or instance, by field name, in the order of declaration."""
    return dict(_declared(kind if isinstance(kind, type) else type(kind)).settings)


class _Facts(NamedTuple):
    """What a declared class says of itself."""

    fields: Mapping[str, Any]  # as dataclasses keeps them
    names: frozenset[str]
    settings: Mapping[str, Setting]
    aliases: Mapping[str, str]


_known: WeakKeyDictionary[type, _Facts] = WeakKeyDictionary()


def _declared(cls: type) -> _Facts:
    """Kept, since a page asks it of each of its controls; made anew for a class that has become a dataclass meanwhile."""
    facts = _known.get(cls)
    if facts is None or facts.fields is not cls.__dataclass_fields__:  # type: ignore[attr-defined]
        of = {one.name: one.metadata["setting"] for one in dataclasses.fields(cls) if "setting" in one.metadata}
        aliases = {alias: name for name, one in of.items() for alias in one.aliases}
        names = frozenset(one.name for one in dataclasses.fields(cls))
        facts = _known[cls] = _Facts(cls.__dataclass_fields__, names, of, aliases)  # type: ignore[attr-defined]
    return facts


class DeclaredMeta(ABCMeta):
    """Lets a setting be passed under an alias, and turns an unknown name into a sentence."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        _, fields, known, aliases = _declared(cls)
        twice = [key for key in values if aliases.get(key, key) != key and aliases[key] in values]
        if twice:
            raise TypeError(f"{aliases[twice[0]]} is given twice: {twice[0]} is another name for it.")
        values = {aliases.get(key, key): value for key, value in values.items()}
        unknown = [key for key in values if key not in fields]
        if unknown:
            listed = ", ".join(known) or "none"
            raise TypeError(
                f"{getattr(cls, 'name', cls.__name__)} has no setting {_shown(unknown[0])!r}; its settings are: {listed}."
            )
        return super().__call__(*args, **values)


@dataclass(frozen=True)
class Declared(metaclass=DeclaredMeta):
    """Base of everything that is its own specification: a frozen dataclass whose fields are checked settings."""

    name: ClassVar[str]  # public id: registries and links contain it
    label: ClassVar[str]  # what people read
    batchable: ClassVar[bool] = False  # may a number be a tensor with one value per run?

    def __post_init__(self) -> None:
        for name, one in settings(self).items():
            value = getattr(self, name)
            if isinstance(value, Tensor) and not (self.batchable and isinstance(one, Number)):
                raise TypeError(f"{name} of {self.name} is a tensor: it must be {one.allowed}.")
            object.__setattr__(self, name, one.check(name, value))

    def values(self) -> Mapping[str, Any]:
        """Every setting's value, by field name."""
        return {name: getattr(self, name) for name in settings(self)}
