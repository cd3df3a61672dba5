"""Fully connected networks: the multilayer perceptron, and the same with skip connections and normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from landscapes import derivatives
from landscapes.derivatives import Linearized, Operator
from landscapes.landscape import Layout
from landscapes.networks.layers import ACTIVATIONS, affine, normalized
from landscapes.networks.network import Network, nonlinearity, normalization
from landscapes.networks.plane_kernel import PlaneKernel
from landscapes.networks.products import SLOPES, Products
from landscapes.setting import setting
from landscapes.supervised import OBJECTIVES

_LOOSE = 8  # networks to a chunk above which a batch of them is faster than the kernel, one by one


@dataclass(frozen=True)
class MLP(Network):
    """A fully connected network: parameters W1, b1, W2, b2, ... with W of shape (out, in)."""

    name, label = "mlp", "Multilayer perceptron"
    reads = "A small network on real data: large enough for progressive sharpening, small enough to watch it live."
    reference = "Cohen et al. 2021, arXiv:2103.00065"
    equation = r"\frac{1}{n}\sum_i \ell\left(W_L\,\phi(\cdots \phi(W_1 x_i + b_1) \cdots) + b_L,\; y_i\right)"
    hidden: tuple[int, ...] = setting((128, 128), 1, 1024, count=6, help="Widths of the hidden layers.")
    activation: str = nonlinearity("tanh")

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

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Operator:
        at, point, targets = self._products(params, batch)
        objective = OBJECTIVES[self.objective]
        _, deltas = derivatives.value_and_grad(lambda outputs: objective(outputs, targets), at.outputs)
        curved = derivatives.hessian_operator(lambda outputs: objective(outputs, targets), at.outputs)
        product = at.hessian(deltas, curved)

        def hessian(vectors: Tensor) -> Tensor:
            out = self._packed(product(*self._by_layer(vectors.reshape(point.shape)))).reshape(vectors.shape)
            return torch.add(out, vectors, alpha=self.weight_decay) if self.weight_decay else out

        return hessian

    def jacobian(self, params: Tensor, batch: Tensor | None = None) -> Linearized:
        at, point, _ = self._products(params, batch)

        def push(vectors: Tensor) -> Tensor:
            return at.push(*self._by_layer(vectors.reshape(point.shape))).reshape(
                *params.shape[:-1], *at.outputs.shape[-2:]
            )

        def pull(cotangents: Tensor) -> Tensor:
            return self._packed(at.pull(cotangents.reshape(at.outputs.shape))).reshape(params.shape)

        return Linearized(at.outputs.reshape(*params.shape[:-1], *at.outputs.shape[-2:]), push, pull)

    def _products(self, params: Tensor, batch: Tensor | None) -> tuple[Products, Tensor, Tensor]:
        """The network at a point; the point as it is used; the targets."""
        inputs, targets = self.training_set(params)
        if batch is not None:
            inputs, targets = inputs[batch], targets[batch]
        # One run: plain matrix products are the fastest.
        alone = params.numel() == self.dim and (batch is None or batch.ndim == 1)
        point = params.detach().reshape(self.dim) if alone else params.detach()
        weights, biases = self._by_layer(point)
        at = Products(weights, biases, inputs, ACTIVATIONS[self.activation], SLOPES[self.activation])
        return at, point, targets

    def _by_layer(self, params: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        tensors = list(self.layout.unpack(params).values())
        return tensors[::2], tensors[1::2]

    @staticmethod
    def _packed(tensors: list[Tensor]) -> Tensor:
        """W1, b1, W2, b2, ... -> (..., dim)."""
        return torch.cat([one.flatten(-2 if index % 2 == 0 else -1) for index, one in enumerate(tensors)], -1)


@dataclass(frozen=True)
class ResidualMLP(Network):
    """A first layer, blocks of two layers with a skip connection around each, and a last layer.

    Layer k has W_k, b_k and, with normalization, scale_k and shift_k; block j is layers 2j and 2j + 1. Without skip
    connections it is a plain deep network of the same weights: the contrast of Li et al. 2018.
    """

    name, label = "residual_mlp", "Residual perceptron"
    reads = "Take the skip connections away and compare: at twelve blocks, nothing is learned any longer."
    reference = "He et al. 2016, arXiv:1512.03385; Li et al. 2018, arXiv:1712.09913"
    equation = (
        r"\frac{1}{n}\sum_i \ell(W_L h_i + b_L,\; y_i),\quad "
        r"h \leftarrow \phi\left(h + W_{2j+1}\,\phi(W_{2j} h + b_{2j}) + b_{2j+1}\right)"
    )
    width: int = setting(32, 1, 512, help="Width of every hidden layer.")
    blocks: int = setting(4, 1, 12, help="Residual blocks, of two layers each.")
    skip: bool = setting(True, label="Skip connections", help="Does each block add to what it is given?")
    norm: str = normalization()
    activation: str = nonlinearity("relu")

    @property
    def _hidden(self) -> int:
        """Layers before the last."""
        return 1 + 2 * self.blocks

    @cached_property
    def layout(self) -> Layout:
        layers = [(self.input_shape[0], self.width), *[(self.width, self.width)] * (self._hidden - 1)]
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for index, (fan_in, fan_out) in enumerate(layers, start=1):
            shapes += [(f"W{index}", (fan_out, fan_in)), (f"b{index}", (fan_out,))]
            if self.norm != "none":
                shapes += [(f"scale{index}", (fan_out,)), (f"shift{index}", (fan_out,))]
        last = self._hidden + 1
        return Layout.of([*shapes, (f"W{last}", (self.targets, self.width)), (f"b{last}", (self.targets,))])

    @property
    def widest(self) -> int:
        return max(*self.input_shape, self.width, self.targets)

    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        named, act = self.layout.unpack(params), ACTIVATIONS[self.activation]
        signal = act(self._layer(named, 1, inputs))
        yield signal
        for index in range(2, self._hidden, 2):
            inner = act(self._layer(named, index, signal))
            yield inner
            inner = self._layer(named, index + 1, inner)
            signal = act(signal + inner if self.skip else inner)
            yield signal
        last = self._hidden + 1
        yield affine(signal, named[f"W{last}"], named[f"b{last}"])

    def _layer(self, named: dict[str, Tensor], index: int, signal: Tensor) -> Tensor:
        signal = affine(signal, named[f"W{index}"], named[f"b{index}"])
        if self.norm == "none":
            return signal
        return normalized(signal, named[f"scale{index}"], named[f"shift{index}"], self.norm, spatial=False)
