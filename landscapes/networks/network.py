"""A Network is a supervised loss whose outputs come layer by layer from seeded random weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from landscapes.landscape import Block
from landscapes.setting import setting
from landscapes.supervised import Supervised

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": functional.gelu,
    "elu": functional.elu,
    "softplus": functional.softplus,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}

_CACHE_BYTES = 2 << 20  # what one evaluation may keep live on a CPU core before it falls out of the cache
_GPU_SHARE = 4  # on a GPU a chunk may take a quarter of the free memory


@dataclass(frozen=True)
class Network(Supervised):
    """Named weights, of shape (out, in, ...), and biases; a kind of network says what its layers compute.

    Weights start as gain * N(0, 1) / sqrt(fan_in) (LeCun et al. 1998, Efficient BackProp) and biases at zero.
    """

    gain: float = setting(1.0, 0.01, 100.0, log=True, scale=(0.1, 10.0), help="Scale of the initial weights.")
    seed: int = setting(0, 0, 2**31 - 1, help="Seed of the initial weights.")

    @property
    @abstractmethod
    def widest(self) -> int:
        """Numbers per sample in the largest layer."""

    @abstractmethod
    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        """The hidden activations (..., n, ...) layer by layer, and at last the outputs (..., n, c)."""

    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        for signal in self._signals(params, inputs):
            last = signal  # one layer is live at a time, unless a graph is kept
        return last

    def activations(self, params: Tensor, inputs: Tensor) -> list[Tensor]:
        """What each hidden layer passes on, (..., n, width) or (..., n, channels, height, width), in order."""
        return list(self._signals(params, inputs))[:-1]

    def start(
        self, runs: int = 1, seed: int = 0, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Initial weights (runs, dim). `seed` adds to the landscape's own; run r is the same however many runs there are."""
        self._check_start(runs, seed, dtype)
        generator = torch.Generator().manual_seed((self.seed + 1_000_003 * seed) % 2**63)
        rows = [torch.empty(0, self.dim, dtype=torch.float64)]
        for _ in range(runs):
            named = {block.name: self._initial(block, generator) for block in self.layout.blocks}
            rows.append(self.layout.pack(named)[None])
        return torch.cat(rows).to(dtype=dtype, device=device)

    def _initial(self, block: Block, generator: torch.Generator) -> Tensor:
        if len(block.shape) < 2:
            return torch.zeros(block.shape, dtype=torch.float64)
        noise = torch.randn(block.shape, generator=generator, dtype=torch.float64)
        return self.gain * noise / block.shape[1] ** 0.5

    def chunk(self, params: Tensor) -> int:
        item = 3 * self.samples * self.widest * params.element_size()
        if params.is_cuda:
            free, _ = torch.cuda.mem_get_info(params.device)
            return max(1, free // _GPU_SHARE // item)
        return max(1, _CACHE_BYTES // item)


def affine(signal: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """signal (..., n, in) times weight (..., out, in) plus bias (..., out)."""
    if weight.ndim == 2:
        return functional.linear(signal, weight, bias)
    return signal @ weight.mT + bias.unsqueeze(-2)
