"""Fully connected networks: the multilayer perceptron, and the same with skip connections and normalization."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from landscapes.derivatives import Linearized, Operator
from landscapes.landscape import Block, Layout
from landscapes.networks.layers import ACTIVATIONS, affine, normalized
from landscapes.networks.network import Network, nonlinearity, normalization
from landscapes.networks.plane_kernel import PlaneKernel
from landscapes.networks.products import Products, value_and_grad
from landscapes.networks.slopes import NONLINEARITIES
from landscapes.setting import setting
from landscapes.supervised import OBJECTIVES

_LOOSE = 8  # networks to a chunk above which a batch of them is faster than the kernel, one by one
PARAMETRIZATIONS = ("standard", "ntk")


@dataclass(frozen=True)
class MLP(Network):
    """A fully connected network: parameters W1, b1, W2, b2, ... with W of shape (out, in).

    With normalization, layer k has scale_k and shift_k too, and normalizes W_k h + b_k before the nonlinearity; the last
    layer does not. In the "ntk" parametrization (Jacot et al. 2018, arXiv:1806.07572) a weight acts as W / sqrt(fan_in) and
    starts larger by that factor: at the start the network is the same function, and gradients are scaled so that the
    tangent kernel has a limit as the widths grow. Biases act as they are, and start at zero.
    """

    name, label = "mlp", "Multilayer perceptron"
    reads = "A small network on real data: large enough for progressive sharpening, small enough to watch it live."
    reference = "Cohen et al. 2021, arXiv:2103.00065"
    hidden: tuple[int, ...] = setting((128, 128), 1, 1024, count=6, help="Widths of the hidden layers.")
    norm: str = normalization()
    activation: str = nonlinearity("tanh")
    parametrization: str = setting(
        "standard",
        choices=PARAMETRIZATIONS,
        help="With ntk, weights are divided by the root of a layer's inputs as they are used: the same network at the start, "
        "whose tangent kernel has a limit as it grows wider.",
    )

    @property
    def equation(self) -> str:
        weight = r"\tfrac{1}{\sqrt{n_{k-1}}} W_k" if self.parametrization == "ntk" else "W_k"
        inner = f"{weight} h^{{k-1}} + b_k"
        hidden = rf"\phi({inner})" if self.norm == "none" else rf"\phi(\mathrm{{norm}}({inner}))"
        last = inner.replace("k-1", "L-1").replace("_k", "_L")
        return rf"\frac{{1}}{{n}}\sum_i \ell({last},\; y_i),\quad h^k = {hidden},\quad h^0 = x_i"

    @cached_property
    def layout(self) -> Layout:
        *hidden, last = enumerate(pairwise(self._widths), start=1)
        shapes = [block for index, sizes in hidden for block in _shapes(index, *sizes, self.norm)]
        return Layout.of(shapes + _shapes(last[0], *last[1], "none"))

    @property
    def _widths(self) -> tuple[int, ...]:
        return (*self.input_shape, *self.hidden, self.targets)

    @cached_property
    def _multipliers(self) -> list[float]:
        """What the weights of each layer are multiplied by as they are used; empty where they are used as they are."""
        return [fan_in**-0.5 for fan_in in self._widths[:-1]] if self.parametrization == "ntk" else []

    def _initial(self, block: Block, generator: torch.Generator, is_last: bool) -> Tensor:
        value = super()._initial(block, generator, is_last)
        return value * math.sqrt(block.shape[1]) if self.parametrization == "ntk" and len(block.shape) > 1 else value

    @property
    def widest(self) -> int:
        return max(self._widths)

    def flow_escapes(self) -> bool:
        """Certain of cross-entropy without decay where there is no hidden layer and some weights give the samples any outputs:
        the loss is convex then, and its infimum of zero is not attained.
        """
        if self.hidden or self.no_rest_below() is None or self.samples > self.input_shape[0] + 1:
            return False
        inputs, _ = self.training_set(torch.zeros(0, dtype=torch.float64))
        return int(torch.linalg.matrix_rank(functional.pad(inputs, (0, 1), value=1.0))) == self.samples

    def outputs_on_plane(self, center: Tensor, directions: Tensor, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        if center.is_cuda or self.chunk(center) > _LOOSE or self.norm != "none":
            return super().outputs_on_plane(center, directions, inputs)
        return PlaneKernel(*self._by_layer(torch.cat([center[None], directions])), self.activation, inputs)

    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        named, signal = self.layout.unpack(params), inputs
        for index, multiplier in enumerate(self._multipliers, start=1):
            named[f"W{index}"] = named[f"W{index}"] * multiplier
        for index in range(1, len(self.hidden) + 1):
            signal = ACTIVATIONS[self.activation](_layer(named, index, signal, self.norm))
            yield signal
        yield _layer(named, len(self.hidden) + 1, signal, "none")

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self._written_out(params, batch):
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
        loss, grad = total / inputs.shape[-2], self._at_parameters(grad).div_(inputs.shape[-2])
        if self.weight_decay:
            loss = loss + self.weight_decay / 2 * point.square().sum(-1)
            grad.add_(point, alpha=self.weight_decay)
        return loss.reshape(params.shape[:-1]), grad.reshape(params.shape)

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Operator:
        if not self._written_out(params, batch):
            return super()._hessian_operator(params, batch)
        point, inputs, targets = self._laid_out(params, batch)
        at = Products(*self._by_layer(point), inputs, NONLINEARITIES[self.activation])
        product = at.hessian(targets, OBJECTIVES[self.objective])

        def hessian(vectors: Tensor) -> Tensor:
            out = torch.empty_like(point)
            product(*self._by_layer(vectors.reshape(point.shape)), self._tensors(out))
            out = self._at_parameters(out).div_(inputs.shape[-2]).reshape(vectors.shape)
            return out.add_(vectors, alpha=self.weight_decay) if self.weight_decay else out

        return hessian

    def jacobian(self, params: Tensor, batch: Tensor | None = None) -> Linearized:
        if not self._written_out(params, batch):
            return super().jacobian(params, batch)
        point, inputs, _ = self._laid_out(params, batch)
        at = Products(*self._by_layer(point), inputs, NONLINEARITIES[self.activation])
        shape = (*params.shape[:-1], *at.outputs.shape[-2:])

        def push(vectors: Tensor) -> Tensor:
            return at.push(*self._by_layer(vectors.reshape(point.shape))).reshape(shape)

        def pull(cotangents: Tensor) -> Tensor:
            out = torch.empty_like(point)
            at.pull(cotangents.reshape(at.outputs.shape), self._tensors(out))
            return self._at_parameters(out).reshape(params.shape)

        return Linearized(at.outputs.reshape(shape), push, pull)

    def _written_out(self, params: Tensor, batch: Tensor | None) -> bool:
        """Are derivatives written out? Only without normalization, and where each run has one batch: automatic
        differentiation knows what it means where one run has several."""
        lead = params.shape[:-1]
        return self.norm == "none" and (batch is None or torch.broadcast_shapes(lead, batch.shape[:-1]) == lead)

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
        """The weights as they are used, and the biases, of each layer."""
        tensors = self._tensors(params)
        weights, biases = tensors[::2], tensors[1::2]
        if self._multipliers:
            weights = [weight * one for weight, one in zip(weights, self._multipliers, strict=True)]
        return weights, biases

    def _at_parameters(self, grad: Tensor) -> Tensor:
        """From a gradient (..., dim) in the weights as they are used, that in the parameters; in place."""
        if self._multipliers:
            for weight, one in zip(self._tensors(grad)[::2], self._multipliers, strict=True):
                weight.mul_(one)
        return grad

    def _tensors(self, params: Tensor) -> list[Tensor]:
        """Views W1, b1, W2, b2, ... of a network without normalization."""
        return list(self.layout.unpack(params).values())


def _shapes(index: int, fan_in: int, fan_out: int, norm: str) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of one layer."""
    shapes: list[tuple[str, tuple[int, ...]]] = [(f"W{index}", (fan_out, fan_in)), (f"b{index}", (fan_out,))]
    if norm == "none":
        return shapes
    return [*shapes, (f"scale{index}", (fan_out,)), (f"shift{index}", (fan_out,))]


def _layer(named: dict[str, Tensor], index: int, signal: Tensor, norm: str) -> Tensor:
    """A signal (..., n, in) through the weights and the normalization of one layer: (..., n, out)."""
    signal = affine(signal, named[f"W{index}"], named[f"b{index}"])
    if norm == "none":
        return signal
    return normalized(signal, named[f"scale{index}"], named[f"shift{index}"], norm, spatial=False)


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
        shapes = [block for index, sizes in enumerate(layers, start=1) for block in _shapes(index, *sizes, self.norm)]
        return Layout.of(shapes + _shapes(self._hidden + 1, self.width, self.targets, "none"))

    @property
    def widest(self) -> int:
        return max(*self.input_shape, self.width, self.targets)

    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        named, act = self.layout.unpack(params), ACTIVATIONS[self.activation]
        signal = act(_layer(named, 1, inputs, self.norm))
        yield signal
        for index in range(2, self._hidden, 2):
            inner = act(_layer(named, index, signal, self.norm))
            yield inner
            inner = _layer(named, index + 1, inner, self.norm)
            signal = act(signal + inner if self.skip else inner)
            yield signal
        yield _layer(named, self._hidden + 1, signal, "none")
