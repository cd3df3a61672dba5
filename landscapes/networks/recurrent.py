"""Recurrent networks: one cell over the steps of a sequence, the last state read out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from landscapes.landscape import Layout
from landscapes.networks.layers import ACTIVATIONS, affine
from landscapes.networks.network import Network, nonlinearity
from landscapes.setting import setting
from landscapes.supervised import judged, learns, taken


@dataclass(frozen=True)
class Recurrent(Network):
    """Wx reads the input, Wh the state before, b is the bias of both; V and c read out the last state."""

    form: ClassVar[str] = "sequence"
    gates: ClassVar[int] = 1  # rows of weights for each unit of the state

    data: str = learns("adding", "sequence")
    objective: str = judged("squared")
    subset: int = taken(200)
    width: int = setting(24, 1, 256, label="Units", help="Size of the state.")

    @cached_property
    def layout(self) -> Layout:
        rows = self.gates * self.width
        return Layout.of(
            [
                ("Wx", (rows, self.input_shape[1])),
                ("Wh", (rows, self.width)),
                ("b", (rows,)),
                ("V", (self.targets, self.width)),
                ("c", (self.targets,)),
            ]
        )

    def uses(self, name: str) -> int:
        return self.input_shape[0] if name in ("Wx", "Wh", "b") else 1

    @property
    def widest(self) -> int:
        # A gradient keeps every step, and the whole sequence is read at once.
        return self.input_shape[0] * max(self.input_shape[1], self.gates * self.width)

    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        named = self.layout.unpack(params)
        samples, steps = inputs.shape[-3:-1]
        read = affine(inputs.flatten(-3, -2), named["Wx"], named["b"]).unflatten(-2, (samples, steps))
        state = read.new_zeros(*read.shape[:-2], self.width)
        memory = state
        for now in read.unbind(-2):
            state, memory = self._cell(now + affine(state, named["Wh"]), memory)
            yield state
        yield affine(state, named["V"], named["c"])

    @abstractmethod
    def _cell(self, drive: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The next state and memory (..., n, width) from what drives the gates (..., n, gates * width)."""


@dataclass(frozen=True)
class RNN(Recurrent):
    """h_t = phi(Wx x_t + Wh h_{t-1} + b)."""

    name, label = "rnn", "Recurrent network"
    reads = "Gradients through many steps vanish or explode: the longer the sequence, the harder it is to learn."
    reference = "Elman 1990, Cognitive Science 14; Bengio et al. 1994, IEEE Trans. Neural Netw. 5"
    equation = r"\frac{1}{n}\sum_i \ell(V h_T + c,\; y_i),\quad h_t = \phi(W_x x_t + W_h h_{t-1} + b)"
    activation: str = nonlinearity("tanh")

    def _cell(self, drive: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return ACTIVATIONS[self.activation](drive), memory


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory, gates in the order input, forget, cell, output, as in torch.nn.

    The bias of the forget gate is counted from one, so that the cell remembers at the start (Gers et al. 2000, Neural Comput. 12).
    """

    name, label = "lstm", "Long short-term memory"
    reads = "Gates decide what is kept over many steps: the remedy for gradients that vanish."
    reference = "Hochreiter and Schmidhuber 1997, Neural Comput. 9"
    gates: ClassVar[int] = 4
    equation = (
        r"\frac{1}{n}\sum_i \ell(V h_T + c,\; y_i),\quad h_t = o \tanh m_t,\quad m_t = f\,m_{t-1} + i\,g,\quad "
        r"(i, f, g, o) = W_x x_t + W_h h_{t-1} + b \text{ through } \sigma, \sigma, \tanh, \sigma"
    )

    def _cell(self, drive: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        enter, forget, new, out = drive.chunk(4, dim=-1)
        memory = torch.sigmoid(forget + 1) * memory + torch.sigmoid(enter) * torch.tanh(new)
        return torch.sigmoid(out) * torch.tanh(memory), memory
