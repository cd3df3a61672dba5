"""Data sets for small networks: real and synthetic, each a function that makes inputs and targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Data:
    """Inputs (n, features) in float64 and targets (n, outputs); for classes the targets are one-hot rows."""

    inputs: Tensor
    targets: Tensor
    classes: bool


def digits() -> Data:
    """The 1,797 handwritten digits, 8 x 8 pixels in 0..16, that ship with scikit-learn, scaled to [0, 1].

    Source: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI (test set).
    """
    from sklearn.datasets import load_digits  # imported here: it takes a second that most uses never need

    bunch = load_digits()
    labels = torch.from_numpy(bunch.target)
    return Data(torch.from_numpy(bunch.data) / 16, torch.nn.functional.one_hot(labels).double(), classes=True)


def chebyshev() -> Data:
    """20 equally spaced points of the Chebyshev polynomial 4x^3 - 3x on [-1, 1] (Cohen et al. 2021, arXiv:2103.00065)."""
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    return Data(x, 4 * x**3 - 3 * x, classes=False)


DATA: dict[str, Callable[[], Data]] = {make.__name__: make for make in (digits, chebyshev)}


class Split(NamedTuple):
    """What a network learns from, and what is held out to test it; no test samples where nothing is."""

    inputs: Tensor  # (n, features)
    targets: Tensor  # (n, outputs)
    test_inputs: Tensor
    test_targets: Tensor


@dataclass(frozen=True)
class Recipe:
    """A data set and what is done to it."""

    name: str
    test_share: float = 0.0  # of the samples held out
    seed: int = 0

    @cached_property
    def samples(self) -> int:
        """Samples to learn from."""
        return facts(self.name)[0] - self._held_out

    @property
    def _held_out(self) -> int:
        return math.floor(self.test_share * facts(self.name)[0])

    def make(self) -> Split:
        data = DATA[self.name]()
        if not self._held_out:  # every sample, in the order it comes in
            return Split(data.inputs, data.targets, data.inputs[:0], data.targets[:0])
        order = torch.randperm(len(data.inputs), generator=torch.Generator().manual_seed(self.seed))
        kept, held = order[: self.samples].sort().values, order[self.samples :].sort().values
        return Split(data.inputs[kept], data.targets[kept], data.inputs[held], data.targets[held])


@lru_cache(maxsize=16)
def tensors(recipe: Recipe, dtype: torch.dtype, device: torch.device) -> Split:
    """A data set on a device; shared, so never to be changed in place."""
    return Split(*(one.to(dtype=dtype, device=device) for one in recipe.make()))


@lru_cache(maxsize=16)
def facts(name: str) -> tuple[int, int, int, bool]:
    """Samples, features, outputs, and whether the outputs are classes."""
    data = DATA[name]()
    return *data.inputs.shape, data.targets.shape[1], data.classes
