"""Fully connected networks: the multilayer perceptron, and the same with skip connections and normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from landscapes.derivatives import Linearized, Operator
from landscapes.landscape import Layout
from landscapes.networks.layers import ACTIVATIONS, affine, normalized
from landscapes.networks.network import Network, nonlinearity, normalization
from landscapes.networks.plane_kernel import PlaneKernel
from landscapes.networks.products import Products, value_and_grad
from landscapes.networks.slopes import NONLINEARITIES
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

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self._spreads(params, batch):
            return super()._value_and_grad(params, batch)
        point, inputs, targets = self._laid_out(params, batch)
        grad = torch.empty_like(point)
        total = value_and_grad(
            *self._by_layer(point),
            inputs,
            targets,
            NONLINEARITIES[self.activation],
            OBJECTIVES[self.objective],
            self._tensors(grad),
        )
        loss, grad = total / inputs.shape[-2], grad.div_(inputs.shape[-2])
        if self.weight_decay:
            loss = loss + self.weight_decay / 2 * point.square().sum(-1)
            grad.add_(point, alpha=self.weight_decay)
        return loss.reshape(params.shape[:-1]), grad.reshape(params.shape)

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Operator:
        if not self._spreads(params, batch):
            return super()._hessian_operator(params, batch)
        point, inputs, targets = self._laid_out(params, batch)
        at = Products(*self._by_layer(point), inputs, NONLINEARITIES[self.activation])
        product = at.hessian(targets, OBJECTIVES[self.objective])

        def hessian(vectors: Tensor) -> Tensor:
            out = torch.empty_like(point)
            product(*self._by_layer(vectors.reshape(point.shape)), self._tensors(out))
            out = out.div_(inputs.shape[-2]).reshape(vectors.shape)
            return out.add_(vectors, alpha=self.weight_decay) if self.weight_decay else out

        return hessian

    def jacobian(self, params: Tensor, batch: Tensor | None = None) -> Linearized:
        if not self._spreads(params, batch):
            return super().jacobian(params, batch)
        point, inputs, _ = self._laid_out(params, batch)
        at = Products(*self._by_layer(point), inputs, NONLINEARITIES[self.activation])
        shape = (*params.shape[:-1], *at.outputs.shape[-2:])

        def push(vectors: Tensor) -> Tensor:
            return at.push(*self._by_layer(vectors.reshape(point.shape))).reshape(shape)

        def pull(cotangents: Tensor) -> Tensor:
            out = torch.empty_like(point)
            at.pull(cotangents.reshape(at.outputs.shape), self._tensors(out))
            return out.reshape(params.shape)

        return Linearized(at.outputs.reshape(shape), push, pull)

    @staticmethod
    def _spreads(params: Tensor, batch: Tensor | None) -> bool:
        """Does each run have one batch? Automatic differentiation knows what it means where one run has several."""
        lead = params.shape[:-1]
        return batch is None or torch.broadcast_shapes(lead, batch.shape[:-1]) == lead

    def _laid_out(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters (dim,) of one run or (runs, dim) of several; inputs and targets (n, ...), or one set a run."""
        inputs, targets = self.training_set(params)
        point = params.detach().reshape(self.dim if params.numel() == self.dim else (-1, self.dim))
        if batch is None:
            return point, inputs, targets
        if batch.ndim > 1:
            batch = batch.expand(*params.shape[:-1], -1).reshape(*point.shape[:-1], -1)
        return point, inputs[batch], targets[batch]

    def _by_layer(self, params: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        tensors = self._tensors(params)
        return tensors[::2], tensors[1::2]

    def _tensors(self, params: Tensor) -> list[Tensor]:
        """Views W1, b1, W2, b2, ..."""
        return list(self.layout.unpack(params).values())


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
