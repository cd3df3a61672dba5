"""A transformer of one layer that reads a short sequence and answers at an added last place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from landscapes.landscape import Layout
from landscapes.networks.layers import ACTIVATIONS, affine, normalized
from landscapes.networks.network import Network, nonlinearity, normalization
from landscapes.setting import setting
from landscapes.supervised import learns


@dataclass(frozen=True)
class Transformer(Network):
    """Inputs through E plus positions P, attention by Q, K, V and O, a layer of hidden units, and the answer through U.

    The answer is read at a place of its own, whose input is its position alone: the "=" of a + b =. Every other place would
    be read by nothing after one layer, so only that place asks. With layer norm, each part reads a normalized signal.
    """

    form: ClassVar[str] = "sequence"

    name, label = "transformer", "One-layer transformer"
    reads = "On modular addition with most pairs held out, it knows the others by heart long before it has the rule, if ever."
    reference = "Vaswani et al. 2017, arXiv:1706.03762; Nanda et al. 2023, arXiv:2301.05217"
    equation = (
        r"\frac{1}{n}\sum_i \ell\left(U\left(h_i + W_2\,\phi(W_1 h_i + b_1) + b_2\right) + c,\; y_i\right),\quad "
        r"h = s_T + O\,\mathrm{softmax}\left(\tfrac{1}{\sqrt{k}}\,Q s_T\,(K s)^\top\right) V s,\quad s = E x + P"
    )
    data: str = learns("modular_addition", "sequence")
    heads: int = setting(4, 1, 16, help="Attention heads.")
    head: int = setting(
        8, 1, 64, label="Size of a head", help="Numbers in a head; all heads together are as wide as a token."
    )
    hidden: int = setting(64, 1, 1024, label="Hidden units", help="Hidden units after the attention.")
    norm: str = normalization(("none", "layer"))
    activation: str = nonlinearity("relu")

    @property
    def width(self) -> int:
        """Numbers in a token."""
        return self.heads * self.head

    @cached_property
    def layout(self) -> Layout:
        length, features = self.input_shape
        d = self.width
        shapes: list[tuple[str, tuple[int, ...]]] = [("E", (d, features)), ("P", (length + 1, d))]
        shapes += [(name, (d, d)) for name in "QKVO"]
        shapes += [("W1", (self.hidden, d)), ("b1", (self.hidden,)), ("W2", (d, self.hidden)), ("b2", (d,))]
        if self.norm != "none":
            shapes += [(f"{what}{index}", (d,)) for index in (1, 2, 3) for what in ("scale", "shift")]
        return Layout.of([*shapes, ("U", (self.targets, d)), ("c", (self.targets,))])

    def uses(self, name: str) -> int:
        return {"E": self.input_shape[0], "K": self.input_shape[0] + 1, "V": self.input_shape[0] + 1}.get(name, 1)

    @property
    def widest(self) -> int:
        length, features = self.input_shape
        return max(length * features, 3 * (length + 1) * self.width, self.hidden, self.targets)

    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        named, act = self.layout.unpack(params), ACTIVATIONS[self.activation]
        tokens = self._tokens(named, inputs)  # (..., n, length + 1, d)
        signal = tokens[..., -1, :] + affine(self._attended(named, self._normed(named, 1, tokens)), named["O"])
        yield signal
        hidden = act(affine(self._normed(named, 2, signal), named["W1"], named["b1"]))
        yield hidden
        signal = signal + affine(hidden, named["W2"], named["b2"])
        yield signal
        yield affine(self._normed(named, 3, signal), named["U"], named["c"])

    def _tokens(self, named: dict[str, Tensor], inputs: Tensor) -> Tensor:
        samples, length = inputs.shape[-3:-1]
        read = affine(inputs.flatten(-3, -2), named["E"]).unflatten(-2, (samples, length))
        place = named["P"].unsqueeze(-3)  # (..., 1, length + 1, d)
        answer = place[..., -1:, :].expand(*read.shape[:-2], 1, self.width)
        return torch.cat([read + place[..., :-1, :], answer], dim=-2)

    def _attended(self, named: dict[str, Tensor], tokens: Tensor) -> Tensor:
        """What the last place gathers from all places: (..., n, length, d) -> (..., n, d)."""
        places = tokens.shape[-3:-1]
        query = affine(tokens[..., -1, :], named["Q"]).unflatten(-1, (self.heads, -1))  # (..., n, heads, k)
        key, value = (
            affine(tokens.flatten(-3, -2), named[name]).unflatten(-1, (self.heads, -1)).unflatten(-3, places)
            for name in "KV"
        )  # (..., n, length, heads, k)
        scores = torch.einsum("...nhk,...nlhk->...nhl", query, key) / query.shape[-1] ** 0.5
        return torch.einsum("...nhl,...nlhk->...nhk", scores.softmax(-1), value).flatten(-2)

    def _normed(self, named: dict[str, Tensor], index: int, signal: Tensor) -> Tensor:
        """signal (..., n, d) or, the first time, (..., n, length, d)."""
        if self.norm == "none":
            return signal
        scale, shift = named[f"scale{index}"], named[f"shift{index}"]
        if index > 1:
            return normalized(signal, scale, shift, self.norm, spatial=False)
        flat = normalized(signal.flatten(-3, -2), scale, shift, self.norm, spatial=False)
        return flat.unflatten(-2, signal.shape[-3:-1])
