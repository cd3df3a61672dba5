"""Small networks as landscapes, written for batched parameters: every run has its own weights, all share the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from landscapes import data
from landscapes.landscape import Layout
from landscapes.setting import setting
from landscapes.supervised import Supervised

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": functional.gelu,
    "softplus": functional.softplus,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}

_CACHE_BYTES = 2 << 20  # what one evaluation may keep live on a CPU core before it falls out of the cache
_GPU_SHARE = 4  # on a GPU a chunk may take a quarter of the free memory


@dataclass(frozen=True)
class MLP(Supervised):
    """A fully connected network: parameters W1, b1, W2, b2, ... with W of shape (out, in).

    Weights start as gain * N(0, 1) / sqrt(fan_in) (LeCun et al. 1998, Efficient BackProp) and biases at zero.
    """

    name, label = "mlp", "Multilayer perceptron"
    reads = "A small network on real data: large enough for progressive sharpening, small enough to watch it live."
    reference = "Cohen et al. 2021, arXiv:2103.00065"
    equation = r"\frac{1}{n}\sum_i \ell\left(W_L\,\phi(\cdots \phi(W_1 x_i + b_1) \cdots) + b_L,\; y_i\right)"
    hidden: tuple[int, ...] = setting((128, 128), 1, 1024, count=6, help="Widths of the hidden layers.")
    activation: str = setting("tanh", choices=tuple(ACTIVATIONS), symbol=r"\phi", help="Nonlinearity between layers.")
    gain: float = setting(1.0, 0.01, 100.0, log=True, scale=(0.1, 10.0), help="Scale of the initial weights.")
    seed: int = setting(0, 0, 2**31 - 1, help="Seed of the initial weights.")

    @cached_property
    def layout(self) -> Layout:
        _, features, outputs, _ = data.shape(self.data)
        widths = (features, *self.hidden, outputs)
        return Layout.of(
            block
            for index, (fan_in, fan_out) in enumerate(pairwise(widths), start=1)
            for block in ((f"W{index}", (fan_out, fan_in)), (f"b{index}", (fan_out,)))
        )

    def start(
        self, runs: int = 1, seed: int = 0, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Initial weights (runs, dim). `seed` adds to the landscape's own; run r is the same however many runs there are."""
        self._check_start(runs, seed, dtype)
        generator = torch.Generator().manual_seed((self.seed + 1_000_003 * seed) % 2**63)
        rows = [torch.empty(0, self.dim, dtype=torch.float64)]
        for _ in range(runs):
            named = {
                block.name: self.gain
                * torch.randn(block.shape, generator=generator, dtype=torch.float64)
                / block.shape[1] ** 0.5
                if len(block.shape) == 2
                else torch.zeros(block.shape, dtype=torch.float64)
                for block in self.layout.blocks
            }
            rows.append(self.layout.pack(named)[None])
        return torch.cat(rows).to(dtype=dtype, device=device)

    def chunk(self, params: Tensor) -> int:
        samples, features, outputs, _ = data.shape(self.data)
        item = 3 * samples * max(features, outputs, *self.hidden) * params.element_size()
        if params.is_cuda:
            free, _ = torch.cuda.mem_get_info(params.device)
            return max(1, free // _GPU_SHARE // item)
        return max(1, _CACHE_BYTES // item)

    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        """The network's outputs (..., n, c) for parameters (..., dim) and inputs (n, features) or (..., n, features)."""
        named = self.layout.unpack(params)
        act = ACTIVATIONS[self.activation]
        signal = inputs
        depth = len(self.hidden) + 1
        for index in range(1, depth + 1):
            weight, bias = named[f"W{index}"], named[f"b{index}"]
            signal = _affine(signal, weight, bias)
            if index < depth:
                signal = act(signal)
        return signal


def _affine(signal: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """signal (..., n, in) times weight (..., out, in) plus bias (..., out)."""
    if weight.ndim == 2:
        return functional.linear(signal, weight, bias)
    return signal @ weight.mT + bias.unsqueeze(-2)
