"""Gradient of a fully connected network, and products with its Hessian and Jacobian, written out.

Products are the R-operator of Pearlmutter 1994 (Neural Computation 6): the forward and backward pass at one point are kept,
and a product is their derivative along a vector. No nonlinearity is evaluated in it, since the slopes of one follow from its
value. Signals lie features x samples, which makes narrow layers cheap, in blocks of samples that stay in a core's cache.

Weights are (out, in) of one network, or (runs, out, in) of several; inputs (n, in), or (runs, n, in).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from landscapes.networks.slopes import Nonlinearity
from landscapes.supervised import Objective

_BLOCK_BYTES = 512 << 10  # of one layer's signals
_LEAST_BLOCK = 300  # samples; in smaller products the calls themselves would cost


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
    total = weights[0].new_zeros(weights[0].shape[:-2])
    forms: list[Nonlinearity] = []  # of each layer, as suits its first block
    for block, (*zs, outputs), backs in _blocks(inputs, weights, widths, widths[:-1]):
        signals = [inputs[..., block, :].mT]
        for layer, z in enumerate(zs):
            _affine(weights[layer], biases[layer], signals[-1], z)
            if block.start == 0:
                forms.append(nonlinearity.suited(z))
            signals.append(forms[layer].value(z))
        terms = objective.terms(_affine(weights[-1], biases[-1], signals[-1], outputs), targets[..., block, :].mT)
        total += terms.value
        delta = terms.grad
        for layer in range(len(weights) - 1, -1, -1):
            _sum_into(grads[2 * layer : 2 * layer + 2], delta, signals[layer], fresh=block.start == 0)
            if layer:
                delta = torch.matmul(weights[layer].mT, delta, out=backs[layer - 1])
                nonlinearity.pull(delta, zs[layer - 1], signals[layer])
    return total


class Products:
    """A network at one point; the outputs there, and products with vectors that are given by layer."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], inputs: Tensor, nonlinearity: Nonlinearity):
        self._weights, self._inputs = weights, inputs
        self._widths = [weight.shape[-2] for weight in weights]
        self._signals: list[list[Tensor]] = []  # of each block, what each layer is given (..., in, m)
        self._slopes: list[list[Tensor | None]] = []
        self._bends: list[list[Tensor | None]] = []
        _, slope, bend = nonlinearity
        outputs = []
        for block, *_ in _blocks(inputs, weights):
            signals, slopes, bends = [inputs[..., block, :].mT], [], []
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                z = _affine(weight, bias, signals[-1])
                signals.append(nonlinearity.suited(z).value(z))
                slopes.append(None if slope is None else slope(z, signals[-1]))
                bends.append(None if bend is None or slopes[-1] is None else bend(z, signals[-1], slopes[-1]))
            outputs.append(_affine(weights[-1], biases[-1], signals[-1]))
            self._signals.append(signals)
            self._slopes.append(slopes)
            self._bends.append(bends)
        self.outputs = torch.cat(outputs, -1).mT  # (..., n, c)

    def push(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
        """J v: how the outputs (..., n, c) change along v."""
        out = torch.empty_like(self.outputs.mT)
        for number, (block, moves, changes) in enumerate(self._blocks(self._widths, self._widths[:-1])):
            self._forward(number, weights, biases, [*moves[:-1], out[..., block]], changes)
        return out.mT

    def pull(self, deltas: Tensor, out: Sequence[Tensor]) -> None:
        """J' u for u (..., n, c), into `out`: W1, b1, W2, b2, ..."""
        for number, (block, backs) in enumerate(self._blocks(self._widths[:-1])):
            felt = self._backward(number, deltas[..., block, :].mT, backs)
            for layer, (delta, signal) in enumerate(zip(felt, self._signals[number], strict=True)):
                _sum_into(out[2 * layer : 2 * layer + 2], delta, signal, fresh=number == 0)

    def hessian(
        self, targets: Tensor, objective: Objective
    ) -> Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], None]:
        """The map (v's weights, v's biases, out) of the Hessian H of the samples' summed loss: writes H v into `out`."""
        felts: list[list[Tensor]] = []  # of each block, the gradient at each layer's pre-activations
        curved: list[Callable[[Tensor], Tensor]] = []
        turned: list[
            list[Tensor | None]
        ] = []  # the gradient at each activation, times the curvature of the nonlinearity
        for number, (block, *_) in enumerate(self._blocks()):
            terms = objective.terms(self.outputs.mT[..., block], targets[..., block, :].mT)
            curved.append(terms.curved)
            felt, turns = [terms.grad], []
            for layer in range(len(self._weights) - 1, 0, -1):
                back = self._weights[layer].mT @ felt[-1]
                slope, bend = self._slopes[number][layer - 1], self._bends[number][layer - 1]
                turns.append(None if bend is None else bend * back)
                felt.append(back if slope is None else back.mul_(slope))
            felts.append(felt[::-1])
            turned.append(turns[::-1])

        def product(weights: Sequence[Tensor], biases: Sequence[Tensor], out: Sequence[Tensor]) -> None:
            hidden = self._widths[:-1]
            for number, (_, moves, changes, backs) in enumerate(self._blocks(self._widths, hidden, hidden)):
                self._forward(number, weights, biases, moves, changes)
                turn, felt = curved[number](moves[-1]), felts[number]  # how `felt` changes
                for layer in range(len(self._weights) - 1, -1, -1):
                    own = out[2 * layer : 2 * layer + 2]
                    _sum_into(own, turn, self._signals[number][layer], fresh=number == 0)
                    if not layer:
                        break
                    _add_product(own[0], felt[layer], changes[layer - 1].mT)
                    turn = torch.matmul(self._weights[layer].mT, turn, out=backs[layer - 1])
                    _add_product(turn, weights[layer].mT, felt[layer])
                    slope, bend = self._slopes[number][layer - 1], turned[number][layer - 1]
                    if slope is not None:
                        turn.mul_(slope)
                    if bend is not None:
                        turn.addcmul_(bend, moves[layer - 1])

        return product

    def _blocks(self, *widths: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        return _blocks(self._inputs, self._weights, *widths)

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


def _blocks(inputs: Tensor, weights: Sequence[Tensor], *widths: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Slices of the samples; with each, for every list of widths, a list of tensors (..., width, m) to work in.

    All of them lie in one piece of memory that every block uses again: fresh ones would be given back to the system each
    time, and fetching their pages anew cost up to 40 %.
    """
    samples, runs = inputs.shape[-2], weights[0].shape[:-2]
    widest = max(*(max(weight.shape[-2:]) for weight in weights), 1)
    fits = _BLOCK_BYTES // (widest * inputs.element_size())
    pieces = 1 if inputs.device.type != "cpu" else -(-samples // max(_LEAST_BLOCK, fits))
    longest = -(-samples // pieces)
    memory = inputs.new_empty(math.prod(runs) * longest * sum(map(sum, widths)))
    for piece in range(pieces):
        block = slice(piece * samples // pieces, (piece + 1) * samples // pieces)
        shapes = [(*runs, width, block.stop - block.start) for one in widths for width in one]
        parts = iter(memory[: sum(map(math.prod, shapes))].split([math.prod(shape) for shape in shapes]))
        numbered = iter(shapes)
        yield block, *([next(parts).view(next(numbered)) for _ in one] for one in widths)


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


def _sum_into(out: Sequence[Tensor], delta: Tensor, signal: Tensor, *, fresh: bool) -> None:
    """Adds a block's gradient to that of a layer's weights and bias, given `delta` at its pre-activations (..., out, m)."""
    weight, bias = out
    _add_product(weight, delta, signal.mT, beta=0 if fresh else 1)
    if fresh:
        torch.sum(delta, -1, out=bias)
    else:
        bias.add_(delta.sum(-1))
