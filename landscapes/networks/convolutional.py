"""Convolutional networks, plain and residual. Signals, images of one row, are convolved along the row alone."""

from __future__ import annotations

import math
import string
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from landscapes.landscape import Layout
from landscapes.networks.convolution_kernel import ConvolutionKernel
from landscapes.networks.layers import ACTIVATIONS, affine, convolution, normalized, pooled
from landscapes.networks.network import Network, nonlinearity, normalization
from landscapes.setting import setting
from landscapes.supervised import learns, taken

_MOST_HELD = 256 << 20  # bytes of the first layer's pre-activations that a slice may keep


@dataclass(frozen=True)
class Convolutional(Network):
    """What both kinds share: layer k has filters W_k (out, in, h, w), b_k and, with normalization, scale_k and shift_k."""

    form: ClassVar[str] = "image"

    data: str = learns("digits", "image")
    subset: int = taken(500)
    channels: tuple[int, ...] = setting(
        (8, 16), 1, 128, count=4, help="Channels of each stage; the stages halve the image."
    )
    reach: int = setting(1, 0, 3, label="Reach of a filter", help="Pixels to each side: with 1, filters are 3 x 3.")
    norm: str = normalization()
    activation: str = nonlinearity("relu")

    def _filters(self, index: int, channels_in: int, channels_out: int) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of one layer."""
        across = 2 * self.reach + 1
        window = (across if self.input_shape[1] > 1 else 1, across)
        shapes: list[tuple[str, tuple[int, ...]]] = [
            (f"W{index}", (channels_out, channels_in, *window)),
            (f"b{index}", (channels_out,)),
        ]
        if self.norm != "none":
            shapes += [(f"scale{index}", (channels_out,)), (f"shift{index}", (channels_out,))]
        return shapes

    def _layer(self, named: dict[str, Tensor], index: int, signal: Tensor, stride: int = 1) -> Tensor:
        signal = convolution(signal, named[f"W{index}"], named[f"b{index}"], stride)
        if self.norm == "none":
            return signal
        return normalized(signal, named[f"scale{index}"], named[f"shift{index}"], self.norm, spatial=True)

    @abstractmethod
    def _stage(self, layer: int) -> int | None:
        """How often the image was halved before a layer, counted from 1; None for the last layer, which reads no image."""

    def uses(self, name: str) -> int:
        stage = self._stage(int(name.lstrip(string.ascii_letters)))
        return 1 if stage is None else math.prod(math.ceil(size / 2**stage) for size in self.input_shape[1:])

    @property
    def live(self) -> int:
        return 6 * super().live  # windows are laid out side by side where they are multiplied

    @property
    def widest(self) -> int:
        places = math.prod(self.input_shape[1:])
        return max(
            math.prod(self.input_shape),
            self.targets,
            *(channels * math.ceil(places / 2**stage) for stage, channels in enumerate(self.channels)),
        )


@dataclass(frozen=True)
class CNN(Convolutional):
    """Stages of one convolution and pooling each, and a last layer on all places of the last stage."""

    name, label = "cnn", "Convolutional network"
    reads = "Filters shared over the image: far fewer weights than a perceptron has."
    reference = "LeCun et al. 1998, Proc. IEEE 86"
    equation = r"\frac{1}{n}\sum_i \ell(W_L h_i + b_L,\; y_i),\quad h \leftarrow \mathrm{pool}\;\phi(W_k \ast h + b_k)"
    pool: str = setting("average", choices=("average", "max"), label="Pooling", help="What is kept of 2 x 2 places.")

    @property
    def _places(self) -> list[tuple[int, int]]:
        """Height and width of the input and after each stage."""
        _, height, width = self.input_shape
        sizes = [(height, width)]
        for _ in self.channels:
            height, width = max(1, height // 2), max(1, width // 2)
            sizes.append((height, width))
        return sizes

    def _stage(self, layer: int) -> int | None:
        return layer - 1 if layer <= len(self.channels) else None

    @cached_property
    def layout(self) -> Layout:
        shapes, before = [], self.input_shape[0]
        for index, channels in enumerate(self.channels, start=1):
            shapes += self._filters(index, before, channels)
            before = channels
        last, flat = len(self.channels) + 1, before * math.prod(self._places[-1])
        return Layout.of([*shapes, (f"W{last}", (self.targets, flat)), (f"b{last}", (self.targets,))])

    def outputs_on_plane(self, center: Tensor, directions: Tensor, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        held = 3 * len(inputs) * math.prod((*inputs.shape[-2:], *self.channels[:1])) * inputs.element_size()
        small = self.chunk(center) > 1  # then a batch of them is faster than the kernel, one by one
        if center.is_cuda or self.norm != "none" or small or not self.channels or held > _MOST_HELD:
            return super().outputs_on_plane(center, directions, inputs)
        named = self.layout.unpack(torch.cat([center[None], directions]))
        stages, last = range(1, len(self.channels) + 1), len(self.channels) + 1
        return ConvolutionKernel(
            [named[f"W{index}"] for index in stages],
            named[f"W{last}"],
            [named[f"b{index}"] for index in (*stages, last)],
            self.activation,
            self.pool,
            inputs,
        )

    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        named, signal = self.layout.unpack(params), inputs
        for index in range(1, len(self.channels) + 1):
            signal = ACTIVATIONS[self.activation](self._layer(named, index, signal))
            yield signal
            signal = pooled(signal, self.pool)
        last = len(self.channels) + 1
        yield affine(signal.flatten(-3), named[f"W{last}"], named[f"b{last}"])


@dataclass(frozen=True)
class ResidualCNN(Convolutional):
    """A first convolution, stages of residual blocks of two convolutions each, the mean over all places, and a last layer.

    From one stage to the next the image is halved; the skip connection then takes every second place and fills new channels with
    zeros (He et al. 2016, sect. 3.3, option A), or drops what has none, so that it has no weights and switching it off leaves
    them as they are.
    """

    name, label = "residual_cnn", "Residual convolutional network"
    reads = "The contrast of Li et al. 2018: the slice of a deep network with its skip connections, and without."
    reference = "He et al. 2016, arXiv:1512.03385; Li et al. 2018, arXiv:1712.09913"
    equation = (
        r"\frac{1}{n}\sum_i \ell(W_L \bar h_i + b_L,\; y_i),\quad "
        r"h \leftarrow \phi\left(h + W_{2j+1} \ast \phi(W_{2j} \ast h + b_{2j}) + b_{2j+1}\right)"
    )
    blocks: int = setting(1, 1, 9, label="Blocks in a stage", help="Residual blocks of two convolutions in each stage.")
    skip: bool = setting(True, label="Skip connections", help="Does each block add to what it is given?")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.channels:
            raise ValueError("channels is empty: a residual network needs at least one stage.")

    def _stage(self, layer: int) -> int | None:
        stage = max(0, layer - 2) // (2 * self.blocks)
        return stage if stage < len(self.channels) else None

    @cached_property
    def layout(self) -> Layout:
        before, index = self.channels[0], 2
        shapes = self._filters(1, self.input_shape[0], before)
        for channels in self.channels:
            for _ in range(self.blocks):
                shapes += [*self._filters(index, before, channels), *self._filters(index + 1, channels, channels)]
                before, index = channels, index + 2
        return Layout.of([*shapes, (f"W{index}", (self.targets, before)), (f"b{index}", (self.targets,))])

    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        named, act = self.layout.unpack(params), ACTIVATIONS[self.activation]
        signal = act(self._layer(named, 1, inputs))
        yield signal
        index = 2
        for stage, channels in enumerate(self.channels):
            for block in range(self.blocks):
                stride = 2 if stage and not block else 1
                inner = act(self._layer(named, index, signal, stride))
                yield inner
                inner = self._layer(named, index + 1, inner)
                signal = act(inner + _shortcut(signal, channels, stride) if self.skip else inner)
                yield signal
                index += 2
        yield affine(signal.mean((-2, -1)), named[f"W{index}"], named[f"b{index}"])


def _shortcut(signal: Tensor, channels: int, stride: int) -> Tensor:
    """Every `stride`-th place of a signal (..., c, h, w), with zeros in the channels beyond its own, or its first channels."""
    return functional.pad(signal[..., ::stride, ::stride], (0, 0, 0, 0, 0, channels - signal.shape[-3]))
