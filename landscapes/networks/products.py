"""Gradient of a fully connected network, and products with its Hessian and Jacobian, written out.

Products are the R-operator of Pearlmutter 1994 (Neural Computation 6): the forward and backward pass at one point are kept,
and a product is their derivative along a vector. No nonlinearity is evaluated in it, since the slopes of one follow from its
value. Signals lie features x samples, which makes narrow layers cheap, in blocks of samples that stay in a core's cache.
Blocks that follow each other make up a lane; lanes go to the cores, and their sums are added in order.

Weights are (out, in) of one network, or (runs, out, in) of several; inputs (n, in), or (runs, n, in).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from landscapes.lanes import side_by_side
from landscapes.networks.slopes import Nonlinearity
from landscapes.supervised import Objective

T = TypeVar("T")

_BLOCK_BYTES = 512 << 10  # of one layer's signals
_LEAST_BLOCK = 300  # samples; in smaller products the calls themselves would cost
_ALIGNED = 16  # blocks of a multiple of so many samples: rows that begin within a cache line cost an eighth more
_LANES = 8  # at most: as many sums of the size of a gradient are held at once


def value_and_grad(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    inputs: Tensor,
    targets: Tensor,
    nonlinearity: Nonlinearity,
    objective: Objective,
    grads: Sequence[Tensor],
) -> Tensor:
    """The samples' summed loss, () or (runs,); its gradient is written into `grads`: W1, b1, W2, b2, ..."""
    widths = [weight.shape[-2] for weight in weights]
    lanes = _lanes(inputs, weights)
    sums = _sums(grads, len(lanes))

    def walk(lane: int) -> Tensor:
        total = weights[0].new_zeros(weights[0].shape[:-2])
        forms: list[Nonlinearity] = []  # of each layer, as suits the lane's first block
        for number, block, (*zs, outputs), backs in _walk(lanes[lane], inputs, weights, widths, widths[:-1]):
            first = number == lanes[lane][0].number
            signals = [inputs[..., block, :].mT]
            for layer, z in enumerate(zs):
                _affine(weights[layer], biases[layer], signals[-1], z)
                if first:
                    forms.append(nonlinearity.suited(z))
                signals.append(forms[layer].value(z))
            terms = objective.terms(_affine(weights[-1], biases[-1], signals[-1], outputs), targets[..., block, :].mT)
            total += terms.value
            delta = terms.grad
            for layer in range(len(weights) - 1, -1, -1):
                _sum_into(sums[lane], layer, delta, signals[layer], fresh=first)
                if layer:
                    delta = torch.matmul(weights[layer].mT, delta, out=backs[layer - 1])
                    nonlinearity.pull(delta, zs[layer - 1], signals[layer])
        return total

    totals = side_by_side(walk, len(lanes))
    _gather(sums)
    return torch.stack(totals).sum(0)


class Products:
    """A network at one point; the outputs there, and products with vectors that are given by layer."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], inputs: Tensor, nonlinearity: Nonlinearity):
        self._weights, self._inputs = weights, inputs
        self._widths = [weight.shape[-2] for weight in weights]
        self._lanes = _lanes(inputs, weights)
        count = sum(map(len, self._lanes))
        self._signals: list[list[Tensor]] = [
            [] for _ in range(count)
        ]  # of each block, what a layer is given (..., in, m)
        self._slopes: list[list[Tensor | None]] = [[] for _ in range(count)]
        self._bends: list[list[Tensor | None]] = [[] for _ in range(count)]
        _, slope, bend = nonlinearity

        def walk(lane: int) -> list[Tensor]:
            outputs = []
            for number, block in self._lanes[lane]:
                signals, slopes, bends = self._signals[number], self._slopes[number], self._bends[number]
                signals.append(inputs[..., block, :].mT)
                for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                    z = _affine(weight, bias, signals[-1])
                    signals.append(nonlinearity.suited(z).value(z))
                    slopes.append(None if slope is None else slope(z, signals[-1]))
                    bends.append(None if bend is None or slopes[-1] is None else bend(z, signals[-1], slopes[-1]))
                outputs.append(_affine(weights[-1], biases[-1], signals[-1]))
            return outputs

        self.outputs = torch.cat([one for lane in self._each(walk) for one in lane], -1).mT  # (..., n, c)

    def push(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
        """J v: how the outputs (..., n, c) change along v."""
        out = torch.empty_like(self.outputs.mT)

        def walk(lane: int) -> None:
            for number, block, moves, changes in self._walk(lane, self._widths, self._widths[:-1]):
                self._forward(number, weights, biases, [*moves[:-1], out[..., block]], changes)

        self._each(walk)
        return out.mT

    def pull(self, deltas: Tensor, out: Sequence[Tensor]) -> None:
        """J' u for u (..., n, c), into `out`: W1, b1, W2, b2, ..."""
        sums = _sums(out, len(self._lanes))

        def walk(lane: int) -> None:
            for number, block, backs in self._walk(lane, self._widths[:-1]):
                felt = self._backward(number, deltas[..., block, :].mT, backs)
                for layer, (delta, signal) in enumerate(zip(felt, self._signals[number], strict=True)):
                    _sum_into(sums[lane], layer, delta, signal, fresh=number == self._lanes[lane][0].number)

        self._each(walk)
        _gather(sums)

    def hessian(
        self, targets: Tensor, objective: Objective
    ) -> Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], None]:
        """The map (v's weights, v's biases, out) of the Hessian H of the samples' summed loss: writes H v into `out`."""
        felts: list[list[Tensor]] = [[] for _ in self._signals]  # of each block, the gradient at the pre-activations
        turned: list[list[Tensor | None]] = [
            [] for _ in self._signals
        ]  # that at the activations, times their curvature
        curved: dict[int, Callable[[Tensor], Tensor]] = {}

        def prepare(lane: int) -> None:
            for number, block in self._lanes[lane]:
                terms = objective.terms(self.outputs.mT[..., block], targets[..., block, :].mT)
                curved[number] = terms.curved
                felt, turns = [terms.grad], []
                for layer in range(len(self._weights) - 1, 0, -1):
                    back = self._weights[layer].mT @ felt[-1]
                    slope, bend = self._slopes[number][layer - 1], self._bends[number][layer - 1]
                    turns.append(None if bend is None else bend * back)
                    felt.append(back if slope is None else back.mul_(slope))
                felts[number] = felt[::-1]
                turned[number] = turns[::-1]

        def product(weights: Sequence[Tensor], biases: Sequence[Tensor], out: Sequence[Tensor]) -> None:
            hidden, sums = self._widths[:-1], _sums(out, len(self._lanes))

            def walk(lane: int) -> None:
                for number, _, moves, changes, backs in self._walk(lane, self._widths, hidden, hidden):
                    self._forward(number, weights, biases, moves, changes)
                    turn, felt = curved[number](moves[-1]), felts[number]  # how `felt` changes
                    for layer in range(len(self._weights) - 1, -1, -1):
                        fresh = number == self._lanes[lane][0].number
                        _sum_into(sums[lane], layer, turn, self._signals[number][layer], fresh=fresh)
                        if not layer:
                            break
                        _add_product(sums[lane][2 * layer], felt[layer], changes[layer - 1].mT)
                        turn = torch.matmul(self._weights[layer].mT, turn, out=backs[layer - 1])
                        _add_product(turn, weights[layer].mT, felt[layer])
                        slope, bend = self._slopes[number][layer - 1], turned[number][layer - 1]
                        if slope is not None:
                            turn.mul_(slope)
                        if bend is not None:
                            turn.addcmul_(bend, moves[layer - 1])

            self._each(walk)
            _gather(sums)

        self._each(prepare)
        return product

    def _each(self, work: Callable[[int], T]) -> list[T]:
        return side_by_side(work, len(self._lanes))

    def _walk(self, lane: int, *widths: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        return _walk(self._lanes[lane], self._inputs, self._weights, *widths)

    def _forward(
        self,
        number: int,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        moves: Sequence[Tensor],
        changes: Sequence[Tensor],
    ) -> None:
        """Along a vector, the changes of the pre-activations into `moves`, those of the activations into `changes`."""
        for layer, (signal, move) in enumerate(zip(self._signals[number], moves, strict=True)):
            _affine(weights[layer], biases[layer], signal, move)
            if layer:
                _add_product(move, self._weights[layer], changes[layer - 1])
            if layer < len(changes):
                slope = self._slopes[number][layer]
                changes[layer].copy_(move) if slope is None else torch.mul(move, slope, out=changes[layer])

    def _backward(self, number: int, delta: Tensor, backs: Sequence[Tensor]) -> list[Tensor]:
        """From the gradient at the outputs, that at each layer's pre-activations, in the memory of `backs`."""
        felt = [delta]
        for layer in range(len(self._weights) - 1, 0, -1):
            back = torch.matmul(self._weights[layer].mT, felt[-1], out=backs[layer - 1])
            slope = self._slopes[number][layer - 1]
            felt.append(back if slope is None else back.mul_(slope))
        return felt[::-1]


class Numbered(NamedTuple):
    """A block: its place among all, and its samples."""

    number: int
    samples: slice


def _lanes(inputs: Tensor, weights: Sequence[Tensor]) -> list[list[Numbered]]:
    """The samples in blocks, and these in lanes: by shapes alone, so that sums round alike wherever they are made."""
    samples, shapes = inputs.shape[-2], [weight.shape[-2:] for weight in weights]
    if inputs.device.type != "cpu":
        return [[Numbered(0, slice(0, samples))]]
    widest = max(*map(max, shapes), 1)
    fits = _BLOCK_BYTES // (widest * inputs.element_size())
    count = -(-samples // max(_LEAST_BLOCK, fits))
    lanes = min(_LANES, 1 << count.bit_length() - 1)  # a power of two, which cores share evenly
    count = -(-count // lanes) * lanes
    ends = [number * samples // count // _ALIGNED * _ALIGNED for number in range(count)] + [samples]
    blocks = [Numbered(number, slice(*pair)) for number, pair in enumerate(pairwise(ends))]
    return [blocks[lane * count // lanes : (lane + 1) * count // lanes] for lane in range(lanes)]


def _walk(
    lane: Sequence[Numbered], inputs: Tensor, weights: Sequence[Tensor], *widths: Sequence[int]
) -> Iterator[tuple[Any, ...]]:
    """The blocks of a lane; with each, for every list of widths, a list of tensors (..., width, m) to work in.

    All of them lie in one piece of memory that every block uses again: fresh ones would be given back to the system each
    time, and fetching their pages anew cost up to 40 %.
    """
    runs = weights[0].shape[:-2]
    longest = max(block.samples.stop - block.samples.start for block in lane)
    memory = inputs.new_empty(math.prod(runs) * longest * sum(map(sum, widths)))
    for number, block in lane:
        shapes = [(*runs, width, block.stop - block.start) for one in widths for width in one]
        parts = iter(memory[: sum(map(math.prod, shapes))].split([math.prod(shape) for shape in shapes]))
        numbered = iter(shapes)
        yield number, block, *([next(parts).view(next(numbered)) for _ in one] for one in widths)


def _sums(out: Sequence[Tensor], lanes: int) -> list[Sequence[Tensor]]:
    """Where each lane adds up its own: W1, b1, W2, b2, ...; the first one's are `out`."""
    return [out, *([torch.empty_like(one) for one in out] for _ in range(lanes - 1))]


def _gather(sums: Sequence[Sequence[Tensor]]) -> None:
    """Adds the sums of the others to the first lane's."""
    for other in sums[1:]:
        for one, more in zip(sums[0], other, strict=True):
            one.add_(more)


def _affine(weight: Tensor, bias: Tensor, signal: Tensor, out: Tensor | None = None) -> Tensor:
    """weight (..., out, in) @ signal (..., in, m) + bias (..., out); the runs may share a signal (in, m)."""
    if weight.ndim == 2:
        return torch.addmm(bias[:, None], weight, signal, out=out)
    return torch.baddbmm(bias[:, :, None], weight, signal.expand(len(weight), *signal.shape[-2:]), out=out)


def _add_product(base: Tensor, left: Tensor, right: Tensor, beta: int = 1) -> None:
    """base = beta * base + left @ right."""
    if base.ndim == 2:
        base.addmm_(left, right, beta=beta)
    else:
        base.baddbmm_(left, right.expand(len(left), *right.shape[-2:]), beta=beta)


def _sum_into(out: Sequence[Tensor], layer: int, delta: Tensor, signal: Tensor, *, fresh: bool) -> None:
    """Adds a block's gradient to that of a layer's weights and bias, given `delta` at its pre-activations (..., out, m)."""
    weight, bias = out[2 * layer : 2 * layer + 2]
    _add_product(weight, delta, signal.mT, beta=0 if fresh else 1)
    if fresh:
        torch.sum(delta, -1, out=bias)
    else:
        bias.add_(delta.sum(-1))
