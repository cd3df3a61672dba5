"""A Recipe is a data set and what is done to it: part of it taken, part held out, labels spoilt, inputs standardized."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from landscapes.data.catalogue import DATA
from landscapes.data.source import Samples, arranged


class Split(NamedTuple):
    """What a network learns from, and what is held out to test it; no test samples where nothing is."""

    inputs: Tensor  # (n, ...)
    targets: Tensor  # (n, outputs)
    test_inputs: Tensor
    test_targets: Tensor


@dataclass(frozen=True)
class Recipe:
    """Every step is drawn by the seed; with all steps at zero a data set stays as it is and in its order."""

    name: str
    form: str = "vector"
    subset: int = 0  # training samples to take; zero, or more than there are: all
    test_share: float = 0.0  # of all samples, held out instead of the source's own test set
    label_noise: float = 0.0
    standardize: bool = False
    seed: int = 0

    @cached_property
    def samples(self) -> int:
        """Samples to learn from."""
        left = self._all - self._held_out
        return min(left, self.subset) if self.subset else left

    @cached_property
    def _all(self) -> int:
        return DATA[self.name].count()

    @property
    def _held_out(self) -> int:
        return math.floor(self.test_share * self._all)

    def make(self) -> Split:
        source = DATA[self.name]
        made = source.make(self.seed)
        (inputs, targets), test = self._divided(made)
        inputs, test_inputs = _numbers(inputs), _numbers(test[0])
        if source.classes:
            targets = one_hot(self._mislabelled(targets, source.outputs), source.outputs).double()
            test_targets = one_hot(test[1], source.outputs).double()
        else:
            targets, test_targets = self._perturbed(targets), test[1]
        if self.standardize:
            inputs, test_inputs = _standardized(inputs, test_inputs)
        return Split(arranged(inputs, self.form), targets, arranged(test_inputs, self.form), test_targets)

    def _divided(self, made: Samples) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Training and test samples, in the source's order."""
        inputs, targets, test = made
        if self.samples == self._all:
            return (inputs, targets), test or (inputs[:0], targets[:0])
        order = torch.randperm(len(inputs), generator=self._generator(1))
        kept = order[: self.samples].sort().values
        held = order[len(order) - self._held_out :].sort().values
        if self._held_out or test is None:
            test = inputs[held], targets[held]
        return (inputs[kept], targets[kept]), test

    def _mislabelled(self, classes: Tensor, count: int) -> Tensor:
        """Class numbers (n,) of which a share says another class, any of them equally likely (Zhang et al. 2017, arXiv:1611.03530)."""
        generator = self._generator(2)
        wrong = torch.randperm(len(classes), generator=generator)[: math.floor(self.label_noise * len(classes))]
        classes = classes.clone()
        classes[wrong] = (classes[wrong] + torch.randint(1, count, (len(wrong),), generator=generator)) % count
        return classes

    def _perturbed(self, values: Tensor) -> Tensor:
        """Values (n, outputs) with Gaussian noise, a share of their standard deviation."""
        if not self.label_noise:
            return values
        noise = torch.randn(values.shape, generator=self._generator(2), dtype=values.dtype)
        return values + self.label_noise * values.std(0, correction=0) * noise

    def _generator(self, stream: int) -> torch.Generator:
        # Streams of their own, so that more noise or a smaller part changes nothing else.
        return torch.Generator().manual_seed(self.seed + stream * 2**32)


def _numbers(inputs: Tensor) -> Tensor:
    return inputs.double() / 255 if inputs.dtype == torch.uint8 else inputs


def _standardized(inputs: Tensor, test_inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean 0 and variance 1 over the training samples: of each feature of a vector or a time step, of each channel of an image."""
    over = (0, 2, 3) if inputs.ndim == 4 else tuple(range(inputs.ndim - 1))
    mean, spread = inputs.mean(over, keepdim=True), inputs.std(over, correction=0, keepdim=True)
    spread = torch.where(spread == 0, 1, spread)  # a constant feature becomes zero
    return (inputs - mean) / spread, (test_inputs - mean) / spread


def tensors(recipe: Recipe, dtype: torch.dtype, device: torch.device) -> Split:
    """A data set on a device; shared, so never to be changed in place."""
    return (_few if DATA[recipe.name].large else _many)(recipe, dtype, device)


def _tensors(recipe: Recipe, dtype: torch.dtype, device: torch.device) -> Split:
    return Split(*(one.to(dtype=dtype, device=device) for one in recipe.make()))


_many = lru_cache(maxsize=32)(_tensors)
_few = lru_cache(maxsize=2)(_tensors)
