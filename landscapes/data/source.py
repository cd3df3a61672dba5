"""A Source is a data set with its declared facts: what one sample looks like is known before any is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

# What a network reads: numbers in a row, an image of channels x height x width, or one row of features a time step.
FORMS = ("vector", "image", "sequence")


class Samples(NamedTuple):
    """Inputs (n, *shape), floating-point or bytes, and targets: class numbers (n,), or values (n, outputs)."""

    inputs: Tensor
    targets: Tensor
    test: tuple[Tensor, Tensor] | None = None  # where the source has a test set of its own


@dataclass(frozen=True)
class Source:
    """Where samples come from. `make` draws them by a seed; data that are not drawn ignore it."""

    name: str
    about: str  # one sentence
    reference: str  # Author Year, where
    shape: tuple[int, ...]  # of one input: (features,), (time, features) or (channels, height, width)
    outputs: int  # classes, or values to regress on
    classes: bool
    make: Callable[[int], Samples]
    count: Callable[[], int]  # training samples, as a function since a user's files may hold any number
    large: bool = False  # too large to keep many prepared versions in memory

    def fits(self, form: str) -> bool:
        """Can a network that reads this form learn it?"""
        return form == "vector" or len(self.shape) == 3 or (form == "sequence" and len(self.shape) == 2)

    def form(self, form: str) -> tuple[int, ...]:
        """The shape of one input in this form."""
        if form == "vector":
            return (math.prod(self.shape),)
        if form == "sequence" and len(self.shape) == 3:
            channels, height, width = self.shape
            return (width, channels) if height == 1 else (height, channels * width)
        return self.shape


def arranged(inputs: Tensor, form: str) -> Tensor:
    """Inputs (n, *shape) in a form that fits: images become sequences of rows, signals of points."""
    if form == "vector":
        return inputs.flatten(1)
    if form == "sequence" and inputs.ndim == 4:
        signal = inputs.shape[2] == 1
        return inputs[:, :, 0].mT if signal else inputs.transpose(1, 2).flatten(2)
    return inputs
