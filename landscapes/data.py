"""Data sets for small networks: real and synthetic, each a function that makes inputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

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


@lru_cache(maxsize=16)
def tensors(name: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a data set, on a device; shared, so never to be changed in place."""
    data = DATA[name]()
    return data.inputs.to(dtype=dtype, device=device), data.targets.to(dtype=dtype, device=device)


@lru_cache(maxsize=16)
def shape(name: str) -> tuple[int, int, int, bool]:
    """Samples, features, outputs, and whether the outputs are classes."""
    data = DATA[name]()
    return *data.inputs.shape, data.targets.shape[1], data.classes
