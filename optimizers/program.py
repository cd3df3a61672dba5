"""A rule on a surface, as a program of scalar operations: tensors of two numbers take ten times as long.

Rules stay written once, for tensors. One of their steps is taken with stand-ins for tensors, which note each operation on
numbers. Python is generated from these notes and from the graph of the surface's formula, and run step after step. Where a
rule decides by a number, the decision is noted too; where it falls otherwise later on, that step is noted as well. A rule
whose steps cannot be noted raises Unfit and runs on tensors: it asks for other points than its own, draws at random, or
factors matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from landscapes import Surface
from landscapes.expression import Expr, ordered
from landscapes.surfaces import Quadratic
from optimizers.optimizer import Optimizer, Oracle, Spent
from optimizers.scalars import made, written
from optimizers.stand_in import Asked, Notes, Number, Stand, Unfit, standing_for
from optimizers.stepper import State, Stepper
from optimizers.trajectory import Counts, Trajectory
from optimizers.wrappers import Wrapper, composed, layers

_VARIANTS = 12  # ways in which the decisions of a rule may fall, at most
_OF_THE_FORMULA = ("loss", "value_and_grad", "_loss", "_value_and_grad", "graph", "_numbers", "_compiled")
_COMPARED = 3  # steps that are also taken on tensors, before the program is believed
_ROUNDING = 1e-9  # that the two may differ by: many times what rounding does, in three steps


@dataclass(frozen=True)
class _Form:
    """How a state is made of numbers: its tree, and of each leaf the shape, or None where it is None."""

    tree: TreeSpec
    shapes: tuple[tuple[int, ...] | None, ...]

    def stands(self, notes: Notes, values: Sequence[Any]) -> State:
        numbers = [Number(f"s{at}", value) for at, value in enumerate(values)]
        leaves: list[Any] = []
        for shape in self.shapes:
            size = 0 if shape is None else math.prod(shape)
            leaves.append(None if shape is None else Stand(notes, shape, numbers[:size]))
            numbers = numbers[size:]
        return tree_unflatten(leaves, self.tree)


def _taken_apart(state: State, notes: Notes) -> tuple[_Form, list[Number]]:
    leaves, tree = tree_flatten(state)
    stands = [None if leaf is None else standing_for(leaf, notes) for leaf in leaves]
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
        return made(self.written(False), careful=False)

    @cached_property
    def careful(self) -> Callable[..., Any]:
        return made(self.written(True), careful=True)


@lru_cache(maxsize=64)
def _formula(surface: Surface) -> _Formula:
    return _Formula(surface)


class _Formula:
    """A surface's loss and gradient as lines of Python, from x and y to f, g and h."""

    def __init__(self, surface: Surface):
        self._order, self._outputs = ordered(surface.graph), surface.graph
        source = "def path(x, y):\n" + "".join(f"    {line}\n" for line in self.lines(True)) + "    return f, g, h\n"
        self.at: Callable[[float, float], tuple[float, float, float]] = made(source, careful=True)

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
                lines.append(written(names[one], operation, of, careful))
        return [*lines, *(f"{name} = {names[one]}" for name, one in zip("fgh", self._outputs, strict=True))]


def _noted(
    stepper: Stepper, landscape: Surface, formula: _Formula, here: Sequence[float], form: _Form, state: Sequence[Any]
) -> _Step:
    """The step that goes from here: x, y, the loss and its gradient."""
    notes = Notes()
    x, y, loss, across, up = (Number(name, value) for name, value in zip("xyfgh", here, strict=True))
    point = Stand(notes, (2,), [x, y])
    oracle = Asked(landscape, point, Stand(notes, (), [loss]), Stand(notes, (2,), [across, up]))
    try:
        new, then = stepper.step(point, form.stands(notes, state), oracle)  # type: ignore[arg-type]
    except (TypeError, AttributeError, RuntimeError, ValueError) as failure:
        raise Unfit(f"does what only tensors can ({failure})") from failure
    if stepper.point(new, then) is not new:
        raise Unfit("returns other points than those of its steps")
    if standing_for(new, notes).shape != (2,):
        raise Unfit("is several runs at once")
    after, numbers = _taken_apart(then, notes)
    goal = [one.name for one in standing_for(new, notes).numbers]
    real = _on_tensors(stepper, landscape, here, form, state)
    if real is not None and not _close([one.value for one in standing_for(new, notes).numbers], real):
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
                lines.append(written(*line, careful))
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


def _is_its_formula(landscape: Surface) -> bool:
    return all(getattr(type(landscape), name) is getattr(Surface, name) for name in _OF_THE_FORMULA)


_DONE, _OTHERWISE, _LOST = range(3)  # how a stretch of steps ends


class Program:
    """The run of one rule, planned, from start (2,) in float64, each step recorded: as `run` gives it, but for rounding.

    Raises Unfit, here or along the way, for a rule that has no such program.
    """

    def __init__(self, landscape: Surface, stepper: Stepper, start: Tensor):
        if not _is_its_formula(landscape):
            raise Unfit("runs on a loss that is more than its formula")
        self._landscape, self._stepper, self._formula = landscape, stepper, _formula(landscape)
        x, y = start.tolist()
        self._form, numbers = _taken_apart(stepper.init(start), Notes())
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


def likely(landscape: Surface, stepper: Stepper) -> bool:
    """Is there a program for it, as far as the kinds of rule and wrappers can tell?"""
    rule, schedule, wrappers = layers(stepper)
    return schedule is None and _is_its_formula(landscape) and _fits(type(rule), *map(type, wrappers))


@cache
def _fits(rule: type[Optimizer], *wrappers: type[Wrapper]) -> bool:
    """With its defaults, on a quadratic: found out once, for it takes milliseconds."""
    try:
        Program(Quadratic(), composed(rule(), None, wrappers), torch.ones(2, dtype=torch.float64))
    except Unfit:
        return False
    return True


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
