"""Products with the Hessian and the Jacobian of a fully connected network, written out.

The R-operator of Pearlmutter 1994 (Neural Computation 6): the forward and backward pass at one point are kept, and a product
is their derivative along a vector. No nonlinearity is evaluated in it, since the slopes of one follow from its value.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from landscapes.networks.layers import affine

Slopes = tuple[Tensor | None, Tensor | None]  # first and second derivative; None for the constants 1 and 0


def _softplus(z: Tensor, a: Tensor) -> Slopes:
    linear = z > 20  # as torch has it
    slope = torch.sigmoid(z).masked_fill(linear, 1)
    return slope, slope * (1 - slope)


def _gelu(z: Tensor, a: Tensor) -> Slopes:
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return torch.special.ndtr(z) + z * density, density * (2 - z * z)


def _elu(z: Tensor, a: Tensor) -> Slopes:
    falling = (a + 1).masked_fill(z > 0, 0)
    return falling.masked_fill(z > 0, 1), falling


def _tanh(z: Tensor, a: Tensor) -> Slopes:
    slope = 1 - a * a
    return slope, -2 * a * slope


def _sigmoid(z: Tensor, a: Tensor) -> Slopes:
    slope = a * (1 - a)
    return slope, slope * (1 - 2 * a)


# From pre-activations z and activations a.
SLOPES: dict[str, Callable[[Tensor, Tensor], Slopes]] = {
    "tanh": _tanh,
    "relu": lambda z, a: ((z > 0).to(z), None),
    "gelu": _gelu,
    "elu": _elu,
    "softplus": _softplus,
    "sigmoid": _sigmoid,
    "linear": lambda z, a: (None, None),
}


class Products:
    """A network at one point: weights (..., out, in) and biases (..., out) by layer, inputs (n, in) or (..., n, in)."""

    def __init__(
        self,
        weights: list[Tensor],
        biases: list[Tensor],
        inputs: Tensor,
        activation: Callable[[Tensor], Tensor],
        slopes: Callable[[Tensor, Tensor], Slopes],
    ):
        self._weights = weights
        self._signals = [inputs]  # what each layer is given
        self._slopes: list[Slopes] = []
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            z = affine(self._signals[-1], weight, bias)
            self._signals.append(activation(z))
            self._slopes.append(slopes(z, self._signals[-1]))
        self.outputs = affine(self._signals[-1], weights[-1], biases[-1])  # (..., n, c)

    def push(self, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
        """J v: how the outputs (..., n, c) change along v, given by layer."""
        return self._forward(weights, biases)[0][-1]

    def pull(self, deltas: Tensor) -> list[Tensor]:
        """J' u for u (..., n, c): W1, b1, W2, b2, ..."""
        return self._collected(self._backward(deltas), None, None)

    def hessian(
        self, deltas: Tensor, curved: Callable[[Tensor], Tensor]
    ) -> Callable[[list[Tensor], list[Tensor]], list[Tensor]]:
        """v -> H v by layer, of an objective with gradient `deltas` (..., n, c) and Hessian `curved` in the outputs."""
        felt = self._backward(deltas)  # the gradient at each layer's pre-activations
        bends: list[Tensor | None] = []  # the gradient at each activation, times the curvature of the nonlinearity
        for delta, weight, (_, bend) in zip(felt[1:], self._weights[1:], self._slopes, strict=True):
            bends.append(None if bend is None else (delta @ weight).mul_(bend))

        def product(weights: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
            moves, changes = self._forward(weights, biases)
            turns = [curved(moves[-1])]  # how `felt` changes
            for index in range(len(self._weights) - 1, 0, -1):
                turn = _plus(turns[-1] @ self._weights[index], felt[index], weights[index])
                slope, bend = self._slopes[index - 1][0], bends[index - 1]
                if slope is not None:
                    turn.mul_(slope)
                if bend is not None:
                    turn.addcmul_(bend, moves[index - 1])
                turns.append(turn)
            return self._collected(turns[::-1], felt, changes)

        return product

    def _forward(self, weights: list[Tensor], biases: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Changes of the pre-activations, and of what each layer after the first is given, along a vector."""
        moves, changes = [affine(self._signals[0], weights[0], biases[0])], []
        for index, (slope, _) in enumerate(self._slopes, start=1):
            changes.append(moves[-1] if slope is None else moves[-1] * slope)
            move = affine(self._signals[index], weights[index], biases[index])
            moves.append(_plus(move, changes[-1], self._weights[index].mT))
        return moves, changes

    def _backward(self, deltas: Tensor) -> list[Tensor]:
        """From the gradient at the outputs, that at each layer's pre-activations."""
        felt = [deltas]
        for weight, (slope, _) in zip(self._weights[:0:-1], self._slopes[::-1], strict=True):
            back = felt[-1] @ weight
            felt.append(back if slope is None else back.mul_(slope))
        return felt[::-1]

    def _collected(self, deltas: list[Tensor], held: list[Tensor] | None, changes: list[Tensor] | None) -> list[Tensor]:
        """deltas' signals and sums of deltas, for weights and biases; with `held` also held' changes of the signals."""
        out = []
        for index, (delta, signal) in enumerate(zip(deltas, self._signals, strict=True)):
            part = delta.mT @ signal
            if index and held is not None and changes is not None:
                part = _plus(part, held[index].mT, changes[index - 1])
            out += [part, delta.sum(-2)]
        return out


def _plus(base: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """base + left @ right; base is given up."""
    if base.ndim == 2:
        return base.addmm_(left, right)
    return base.add_(left @ right)
