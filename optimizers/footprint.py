"""How many numbers a rule keeps from one step to the next, found out on tensors of a few numbers.

What it keeps of a tensor (m, n) is a mixture of m n, m^2, n^2, m, n and 1: vectors like the parameters, factors of rows and
columns, means over either. So a few tiny tensors tell it of any.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from landscapes import Landscape, Layout
from optimizers.optimizer import Evaluation, Oracle
from optimizers.stepper import State, Stepper
from optimizers.wrappers import layers

_MATRICES = ((2, 3), (3, 2), (3, 5), (5, 2), (4, 4), (2, 7), (6, 3))  # on no conic: they settle all six
_VECTORS = (2, 3, 5, 7)
_STEADY = 4  # steps without growth: it has what it will have
_STEPS = 120  # at most
_REMEMBERED = 512
_known: OrderedDict[Hashable, tuple[Tensor, Tensor]] = OrderedDict()  # of a matrix and of a vector


def state_numbers(stepper: Stepper, layout: Layout) -> int:
    """Numbers in the state of one run on parameters of this layout, once it has grown to its size."""
    key = _kind(stepper)
    if key not in _known:
        _known[key] = _fitted(stepper)
        while len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    matrix, vector = _known[key]
    total = 0.0
    for block in layout.blocks:
        if len(block.shape) > 1:
            total += float(_terms(block.shape[0], math.prod(block.shape[1:])) @ matrix)
        else:
            total += float(_terms(1, block.stop - block.start)[[0, 2, 5]] @ vector)
    return max(0, round(total))


def _kind(stepper: Stepper) -> Hashable:
    """What the shape of a state may depend on: its layers and their settings, of numbers only whether they are zero."""
    rule, schedule, wrappers = layers(stepper)
    return tuple(
        (type(one), tuple(value == 0 if isinstance(value, float) else value for value in one.values().values()))
        for one in (rule, schedule, *wrappers)
        if one is not None
    )


def _fitted(stepper: Stepper) -> tuple[Tensor, Tensor]:
    rows = torch.stack([_terms(*shape) for shape in _MATRICES])
    matrix = _solved(rows, [_counted(stepper, shape) for shape in _MATRICES])
    lines = torch.stack([_terms(1, size)[[0, 2, 5]] for size in _VECTORS])
    return matrix, _solved(lines, [_counted(stepper, (size,)) for size in _VECTORS])


def _solved(rows: Tensor, counts: Sequence[int]) -> Tensor:
    found: Tensor = torch.linalg.lstsq(rows, torch.tensor(counts, dtype=torch.float64)[:, None]).solution[:, 0]
    return found


def _terms(m: int, n: int) -> Tensor:
    return torch.tensor([m * n, m * m, n * n, m, n, 1.0], dtype=torch.float64)


def _counted(stepper: Stepper, shape: tuple[int, ...]) -> int:
    """Numbers in the state for one tensor of this shape."""
    bowl = _Bowl(shape)
    params = torch.linspace(0.5, 1.5, bowl.layout.dim, dtype=torch.float64)
    rule = stepper.planned(_STEPS, lambda one: torch.ones(_STEPS, dtype=torch.float64))
    state, most, steady = rule.init(params), 0, 0
    for _ in range(_STEPS):
        noise = torch.Generator().manual_seed(0)
        oracle = Oracle(
            cast(Landscape, bowl), generator=noise, known=(params, Evaluation(*bowl.value_and_grad(params)))
        )
        params, state = rule.step(params, state, oracle)
        count = _numbers(state)
        steady = steady + 1 if count <= most else 0
        most = max(most, count)
        if steady == _STEADY:
            break
    return most


def _numbers(state: State | Any) -> int:
    if isinstance(state, Tensor):
        return state.numel()
    if isinstance(state, Mapping):
        return sum(map(_numbers, state.values()))
    return sum(map(_numbers, state)) if isinstance(state, (tuple, list)) else 0


class _Bowl:
    """|w|^2 / 2 of one tensor: as much of a landscape as an oracle asks for."""

    def __init__(self, shape: tuple[int, ...]):
        self.layout = Layout.of([("w", shape)])

    def value_and_grad(self, params: Tensor, batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.loss(params), params

    def loss(self, params: Tensor, batch: Tensor | None = None) -> Tensor:
        return params.square().sum(-1) / 2

    def hvp(self, params: Tensor, vectors: Tensor, batch: Tensor | None = None) -> Tensor:
        return vectors
