"""The multilayer perceptron: affine layers with a nonlinearity between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from landscapes.landscape import Layout
from landscapes.networks.network import ACTIVATIONS, Network, affine
from landscapes.networks.plane_kernel import PlaneKernel
from landscapes.setting import setting

_LOOSE = 8  # networks to a chunk above which a batch of them is faster than the kernel, one by one


@dataclass(frozen=True)
class MLP(Network):
    """A fully connected network: parameters W1, b1, W2, b2, ... with W of shape (out, in)."""

    name, label = "mlp", "Multilayer perceptron"
    reads = "A small network on real data: large enough for progressive sharpening, small enough to watch it live."
    reference = "Cohen et al. 2021, arXiv:2103.00065"
    equation = r"\frac{1}{n}\sum_i \ell\left(W_L\,\phi(\cdots \phi(W_1 x_i + b_1) \cdots) + b_L,\; y_i\right)"
    hidden: tuple[int, ...] = setting((128, 128), 1, 1024, count=6, help="Widths of the hidden layers.")
    activation: str = setting("tanh", choices=tuple(ACTIVATIONS), symbol=r"\phi", help="Nonlinearity between layers.")

    @cached_property
    def layout(self) -> Layout:
        return Layout.of(
            block
            for index, (fan_in, fan_out) in enumerate(pairwise(self._widths), start=1)
            for block in ((f"W{index}", (fan_out, fan_in)), (f"b{index}", (fan_out,)))
        )

    @property
    def _widths(self) -> tuple[int, ...]:
        return (*self.input_shape, *self.hidden, self.targets)

    @property
    def widest(self) -> int:
        return max(self._widths)

    def outputs_on_plane(self, center: Tensor, directions: Tensor, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        if center.is_cuda or self.chunk(center) > _LOOSE:
            return super().outputs_on_plane(center, directions, inputs)
        named = self.layout.unpack(torch.cat([center[None], directions]))
        layers = range(1, len(self.hidden) + 2)
        return PlaneKernel(
            [named[f"W{index}"] for index in layers],
            [named[f"b{index}"] for index in layers],
            self.activation,
            inputs,
        )

    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        named = self.layout.unpack(params)
        signal = inputs
        for index in range(1, len(self.hidden) + 1):
            signal = ACTIVATIONS[self.activation](affine(signal, named[f"W{index}"], named[f"b{index}"]))
            yield signal
        last = len(self.hidden) + 1
        yield affine(signal, named[f"W{last}"], named[f"b{last}"])
