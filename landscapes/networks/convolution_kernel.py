"""Outputs of a convolutional network on a plane of its parameters: exact, and several times faster than one by one.

As in `plane_kernel`, weights and the first layer's pre-activations are affine in the coordinates of the plane. Signals are
stored (samples, height, width, channels), which convolutions are fastest with; samples go in blocks that stay in the cache;
two views of a signal are pooled at once, which costs a fraction of a pooling of windows; and where the nonlinearity rises,
the maximum is taken first, so that bias and nonlinearity are for a quarter of the places.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from landscapes.networks.layers import ACTIVATIONS

_BLOCK_BYTES = 2 << 20  # of one layer's activations: in smaller convolutions the calls themselves would cost
_LEAST_BLOCK = 32  # samples
_RISING = ("tanh", "relu", "elu", "softplus", "sigmoid", "linear")  # commute with a maximum
_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
    "relu": torch.relu_,
    "elu": functional.elu_,
    "linear": lambda z: z,
}


class ConvolutionKernel:
    """Points (k, 2) of a plane -> the outputs (k, n, c) there. Safe to call from several threads."""

    def __init__(
        self,
        filters: list[Tensor],  # of each stage (3, out, in, h, w): for the center and the two directions
        last: Tensor,  # (3, classes, features), features in the order (channels, height, width)
        biases: list[Tensor],  # (3, out), of the stages and of the last layer
        activation: str,  # of ACTIVATIONS
        pool: str,
        inputs: Tensor,  # (n, channels, height, width)
    ):
        self._act = _IN_PLACE.get(activation, ACTIVATIONS[activation])
        self._pool_first = pool == "max" and activation in _RISING
        self._pair = torch.maximum if pool == "max" else torch.add
        self._padding = [_padding(one) for one in filters[1:]]
        sizes = [inputs.shape[-2:]]  # of the input and after each stage
        for _ in filters:
            sizes.append(torch.Size(max(1, size // 2) for size in sizes[-1]))
        # A sum of places takes the place of their mean; the weights behind it make up for it, to the last bit.
        shares = [1 / _places(size) if pool == "average" else 1.0 for size in sizes[:-1]]
        self._filters = [_channels_last(one * share) for one, share in zip(filters[1:], shares, strict=False)]
        corners = last.unflatten(-1, (filters[-1].shape[1], *sizes[-1])) * shares[-1]
        self._last = corners.permute(0, 1, 3, 4, 2).flatten(2).contiguous()
        self._biases = biases[1:]
        # The plane's three convolutions of the inputs as one, (3, q, n, height, width, channels): the q places that are
        # pooled into one lie apart, so that pooling them is an operation on long runs of memory.
        made = functional.conv2d(inputs, filters[0].flatten(0, 1), biases[0].flatten(), padding=_padding(filters[0]))
        self._first = _apart(made.unflatten(1, (3, -1)).permute(1, 0, 3, 4, 2)).contiguous()
        block = max(_LEAST_BLOCK, _BLOCK_BYTES * len(inputs) // self._first[0].nbytes)
        self._blocks = [slice(start, start + block) for start in range(0, len(inputs), block)]

    def __call__(self, points: Tensor) -> Tensor:
        samples, classes = self._first.shape[2], self._last.shape[1]
        out = self._first.new_empty(len(points), samples, classes)
        row = torch.empty_like(self._first[0])  # the first layer at (a, 0): points of one row share it
        work = torch.empty_like(row[:, self._blocks[0]])  # fresh memory costs more than what is done in it
        before = None
        for index, (a, b) in enumerate(points.tolist()):
            if a != before:
                torch.add(self._first[0], self._first[1], alpha=a, out=row)
                before = a
            filters = [_at(one, a, b) for one in self._filters]
            *biases, bias = (_at(one, a, b) for one in self._biases)
            last = _at(self._last, a, b)
            for block in self._blocks:
                signal = work[:, : len(out[index, block])]
                torch.add(row[:, block], self._first[2, :, block], alpha=b, out=signal)
                signal = self._pooled(signal, self._together, None)
                for weight, own, padding in zip(filters, biases, self._padding, strict=True):
                    signal = self._stage(signal, weight, own, padding)
                torch.addmm(bias, signal.flatten(1), last.T, out=out[index, block])
        return out

    def _stage(self, signal: Tensor, weight: Tensor, bias: Tensor, padding: list[int]) -> Tensor:
        """One convolution of (n, h, w, in), then nonlinearity and pooling."""
        own, later = (None, bias) if self._pool_first else (bias, None)
        made = functional.conv2d(signal.permute(0, 3, 1, 2), weight, own, padding=padding).permute(0, 2, 3, 1)
        return self._pooled(made, self._halved, later)

    def _pooled(self, signal: Tensor, pool: Callable[[Tensor], Tensor], bias: Tensor | None) -> Tensor:
        if not self._pool_first:
            return pool(self._act(signal))
        signal = pool(signal)
        return self._act(signal if bias is None else signal.add_(bias))

    def _together(self, signal: Tensor) -> Tensor:
        """Of places that lie apart: (q, n, h, w, c) -> (n, h, w, c), in their own memory."""
        while len(signal) > 1:
            first, second = signal.chunk(2)
            signal = self._pair(first, second, out=first)
        return signal[0]

    def _halved(self, signal: Tensor) -> Tensor:
        """Of neighbors: (n, h, w, c) -> (n, h / 2, w / 2, c). Rows first: they are the longer runs."""
        for axis in (1, 2):
            if signal.shape[axis] > 1:
                signal = self._pair(*_pairs(signal, axis).unbind(axis + 1))
        return signal


def _at(stack: Tensor, a: float, b: float) -> Tensor:
    """The point (a, b) of an affine family (3, ...), in the layout of the stack."""
    return torch.add(stack[0], stack[1], alpha=a).add_(stack[2], alpha=b)


def _padding(filters: Tensor) -> list[int]:
    return [size // 2 for size in filters.shape[-2:]]


def _channels_last(filters: Tensor) -> Tensor:
    """The same numbers (3, out, in, h, w), with the incoming channels next to each other in memory."""
    return filters.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def _places(size: torch.Size) -> int:
    """How many are pooled into one: 2 x 2, or pairs where there is one row or column."""
    return math.prod(min(2, one) for one in size)


def _pairs(signal: Tensor, axis: int) -> Tensor:
    """(..., s, ...) -> (..., s / 2, 2, ...), without an odd one at the end."""
    half = signal.shape[axis] // 2
    return signal.narrow(axis, 0, 2 * half).unflatten(axis, (half, 2))


def _apart(signal: Tensor) -> Tensor:
    """(3, n, h, w, c) -> (3, q, n, h / 2, w / 2, c): the q places that are pooled into one."""
    signal = signal.unsqueeze(1)
    for axis in (3, 4):
        if signal.shape[axis] > 1:
            signal = _pairs(signal, axis).movedim(axis + 1, 2).flatten(1, 2)
    return signal
