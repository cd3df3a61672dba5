"""What the models here share: data and starts that are drawn from a seed, once, and kept where they are used."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from landscapes.landscape import Landscape
from landscapes.setting import setting

_CACHE_BYTES = 8 << 20  # what the intermediates of one evaluation may take


def seeded() -> Any:
    """The setting that ends every model's list."""
    return setting(0, 0, 2**31 - 1, help="Seed of the data, where there are any, and of the start.")


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def falling(top: float, ratio: float, count: int) -> Tensor:
    """top, top * ratio, top * ratio^2, ...: the spectrum (count,) of a target."""
    return top * ratio ** torch.arange(count, dtype=torch.float64)


def top_eigenvalue(matrix: Tensor) -> Tensor:
    """The largest eigenvalue (...) of symmetric matrices (..., n, n)."""
    return torch.linalg.eigvalsh(matrix)[..., -1]


@dataclass(frozen=True)
class Model(Landscape):
    """A loss with data that follow from the settings. Starts and data come from separate streams of the seed."""

    @property
    @abstractmethod
    def seed(self) -> int: ...

    @property
    def width(self) -> int:
        """About how many numbers one evaluation keeps for one parameter vector."""
        return self.dim * (self.samples or 1)

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The model's data, in float64."""
        return ()

    @abstractmethod
    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        """Start number `row`, (dim,)."""

    def tensors(self, like: Tensor) -> tuple[Tensor, ...]:
        """The model's data in the dtype and on the device of `like`; shared, never to be changed."""
        return _placed(self, like.dtype, like.device)

    def start(
        self, runs: int = 1, seed: int = 0, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Starting points (runs, dim). `seed` adds to the model's own; run r is the same however many runs there are."""
        self._check_start(runs, seed, dtype)
        generator = torch.Generator().manual_seed((self.seed + 1_000_003 * (seed + 1)) % 2**63)
        rows = [torch.empty(0, self.dim, dtype=torch.float64)]
        rows += [self._begin(generator, row)[None] for row in range(runs)]
        return torch.cat(rows).to(dtype=dtype, device=device)

    @property
    def live(self) -> int:
        return 8 * self.width

    def chunk(self, params: Tensor) -> int:
        return max(1, _CACHE_BYTES // (self.width * params.element_size()))


@dataclass(frozen=True)
class FiniteSum(Model):
    """L(w) = mean over samples of a term of w; every tensor of the data has one row a sample."""

    @property
    @abstractmethod
    def samples(self) -> int: ...

    @abstractmethod
    def _terms(self, params: Tensor, *data: Tensor) -> Tensor:
        """The terms (..., n) at params (..., dim) on rows of the data, (n, ...) or one set a run, (..., n, ...)."""

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        return self._terms(params, *self._picked(params, batch)).mean(-1)

    def _picked(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, ...]:
        """The data of all samples, or of those in the batch."""
        data = self.tensors(params)
        return data if batch is None else tuple(one[batch] for one in data)


def scores(params: Tensor, inputs: Tensor) -> Tensor:
    """Inner products (..., n) of params (..., d) with inputs (n, d), or with a set of them a run, (..., n, d)."""
    return params @ inputs.mT if inputs.ndim == 2 else (inputs @ params.unsqueeze(-1)).squeeze(-1)


@lru_cache(maxsize=64)
def _placed(model: Model, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    with torch.inference_mode(False):  # kept for those who differentiate, whoever asks first
        if (dtype, device.type) == (torch.float64, "cpu"):
            return model._draw(torch.Generator().manual_seed(model.seed))
        drawn = _placed(model, torch.float64, torch.device("cpu"))
        return tuple(one.to(device, dtype if one.is_floating_point() else None) for one in drawn)
