"""A Network is a supervised loss whose outputs come layer by layer from seeded random weights."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscapes.landscape import Block, Trait
from landscapes.networks.layers import ACTIVATIONS, NORMS
from landscapes.setting import setting
from landscapes.supervised import Supervised

INITIALIZATIONS = ("lecun", "he", "xavier", "orthogonal", "mean_field")

_CACHE_BYTES = 2 << 20  # what one evaluation may keep live on a CPU core before it falls out of the cache
_GRAPH = 3  # numbers for each of a layer that a graph for second derivatives keeps, the layer's own among them
_GPU_SHARE = 4  # on a GPU a chunk may take a quarter of the free memory


def nonlinearity(default: str) -> Any:
    """The setting of what stands between layers."""
    return setting(default, choices=tuple(ACTIVATIONS), symbol=r"\phi", help="Nonlinearity between layers.")


def normalization(choices: tuple[str, ...] = NORMS) -> Any:
    """The setting of normalization layers."""
    return setting(
        "none", choices=choices, label="Normalization layers",
        help="Layers that normalize each sample over its features, or each feature over all the samples that are evaluated "
        "together: the training set, a minibatch, the test set.",
    )  # fmt: skip


@dataclass(frozen=True)
class Network(Supervised):
    """Named weights, of shape (out, in, ...), biases, and scales and shifts of normalization; a kind says what its layers compute.

    Weights start as gain * N(0, 1) times a scale. "lecun" is 1 / sqrt(fan_in) (LeCun et al. 1998, Efficient BackProp), "he"
    sqrt(2 / fan_in) (He et al. 2015, arXiv:1502.01852), "xavier" sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010,
    AISTATS). "mean_field" is as "lecun" but 1 / fan_in in the last layer, so that wide networks learn features (Mei et al. 2018, arXiv:1804.06561).
    "orthogonal" draws orthonormal rows or columns (Saxe et al. 2014, arXiv:1312.6120). Biases and shifts start at zero, scales at one.
    """

    init: str = setting(
        "lecun",
        choices=INITIALIZATIONS,
        label="Initial weights",
        help="How the scale of the weights follows from the widths.",
    )
    gain: float = setting(1.0, 0.01, 100.0, log=True, scale=(0.1, 10.0), help="Scale of the initial weights.")
    seed: int = setting(0, 0, 2**31 - 1, help="Seed of the initial weights.")

    @property
    @abstractmethod
    def widest(self) -> int:
        """Numbers per sample in the largest layer."""

    def uses(self, name: str) -> int:
        """At how many places of a sample each weight of a tensor is used: several where weights are shared."""
        return 1

    @property
    def multiplications(self) -> int:
        return self.samples * sum((block.stop - block.start) * self.uses(block.name) for block in self.layout.blocks)

    @property
    def live(self) -> int:
        layers = sum(len(block.shape) > 1 for block in self.layout.blocks)
        return _GRAPH * self.samples * self.widest * layers + 4 * self.samples * math.prod(self.input_shape)

    @property
    def coupled(self) -> bool:
        return self.values().get("norm") == "batch"

    @abstractmethod
    def _signals(self, params: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        """The hidden activations (..., n, ...) layer by layer, and at last the outputs (..., n, c)."""

    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        for signal in self._signals(params, inputs):
            last = signal  # one layer is live at a time, unless a graph is kept
        return last

    def no_rest_below(self) -> float | None:
        """With cross-entropy and no decay, log 2 / n. There each sample's loss is below log 2, so that its class has the largest
        output; and as the last layer is affine, making it larger makes all outputs larger, and the loss smaller.
        """
        return math.log(2) / self.samples if self.objective == "cross_entropy" and not self.weight_decay else None

    def activations(self, params: Tensor, inputs: Tensor) -> list[Tensor]:
        """What each hidden layer passes on, (..., n, width) or (..., n, channels, height, width), in order."""
        return list(self._signals(params, inputs))[:-1]

    def lacks(self, trait: Trait) -> str:
        if trait != "activations":
            return super().lacks(trait)
        inputs, _ = self.training_set(torch.empty(0, dtype=torch.float64))
        return "" if self.activations(self.start()[0], inputs[:1]) else super().lacks(trait)

    def sparsity(self, params: Tensor, threshold: float) -> Tensor:
        inputs, _ = self.training_set(params)
        flat = params.reshape(-1, self.dim)
        shares = []
        for rows in flat.split(self.chunk(params)):
            hidden = [signal.reshape(len(rows), -1) for signal in self.activations(rows, inputs)]
            shares.append(torch.cat([(one.abs() <= threshold).to(rows) for one in hidden], dim=-1).mean(-1))
        return torch.cat(shares).reshape(params.shape[:-1])

    def start(
        self, runs: int = 1, seed: int = 0, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Initial weights (runs, dim). `seed` adds to the landscape's own; run r is the same however many runs there are."""
        self._check_start(runs, seed, dtype)
        generator = torch.Generator().manual_seed((self.seed + 1_000_003 * seed) % 2**63)
        rows = [torch.empty(0, self.dim, dtype=torch.float64)]
        last = [block for block in self.layout.blocks if len(block.shape) > 1][-1]
        for _ in range(runs):
            named = {block.name: self._initial(block, generator, block is last) for block in self.layout.blocks}
            rows.append(self.layout.pack(named)[None])
        return torch.cat(rows).to(dtype=dtype, device=device)

    def _initial(self, block: Block, generator: torch.Generator, is_last: bool) -> Tensor:
        if len(block.shape) < 2:
            value = 1.0 if block.name.startswith("scale") else 0.0
            return torch.full(block.shape, value, dtype=torch.float64)
        noise = torch.randn(block.shape, generator=generator, dtype=torch.float64)
        places = math.prod(block.shape[2:])
        fan_in, fan_out = block.shape[1] * places, block.shape[0] * places
        match self.init:
            case "orthogonal":
                return self.gain * _orthonormal(noise.flatten(1)).view(block.shape)
            case "he":
                return self.gain * noise * (2 / fan_in) ** 0.5
            case "xavier":
                return self.gain * noise * (2 / (fan_in + fan_out)) ** 0.5
            case "mean_field" if is_last:
                return self.gain * noise / fan_in
        return self.gain * noise / fan_in**0.5

    def chunk(self, params: Tensor) -> int:
        item = 3 * self.samples * self.widest * params.element_size()
        if params.is_cuda:
            free, _ = torch.cuda.mem_get_info(params.device)
            return max(1, free // _GPU_SHARE // item)
        return max(1, _CACHE_BYTES // item)


def _orthonormal(noise: Tensor) -> Tensor:
    """A matrix with orthonormal rows, or columns if there are fewer of them, uniform over all such matrices."""
    tall = noise if len(noise) >= noise.shape[1] else noise.T
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # makes the decomposition unique, so that q is uniform (Mezzadri 2007, Notices AMS 54)
    return q if len(noise) >= noise.shape[1] else q.T
