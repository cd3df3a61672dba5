"""A mean over samples of an objective of a model's outputs: what networks and regressions have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from landscapes import data
from landscapes.data import Recipe
from landscapes.landscape import Differentiated
from landscapes.setting import setting


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean softmax cross-entropy: (..., n, c) and one-hot (..., n, c) -> (...)."""
    return -(torch.log_softmax(outputs, dim=-1) * targets).sum(-1).mean(-1)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error, summed over outputs and averaged over samples: (..., n, c), (..., n, c) -> (...)."""
    return (outputs - targets).square().sum(-1).mean(-1) / 2


OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": cross_entropy, "squared": squared}


@dataclass(frozen=True)
class Supervised(Differentiated):
    """L(w) = mean over samples of objective(outputs(w, x), y). A kind of it says what its outputs are."""

    data: str = setting("digits", choices=tuple(data.DATA), help="What the network learns.")
    objective: str = setting(
        "cross_entropy", choices=tuple(OBJECTIVES), aliases=("loss",), symbol=r"\ell", help="Loss of one sample."
    )

    test_share: float = setting(
        0.0, 0.0, 0.9, label="Share of test samples", help="Share of the samples held out, to test what was learned."
    )
    data_seed: int = setting(0, 0, 2**31 - 1, label="Seed of the data", help="Seed of all that is random in the data.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective == "cross_entropy" and not self.classes:
            raise ValueError(f"objective = cross_entropy needs classes, and {self.data} has none: use squared.")

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe(self.data, self.test_share, self.data_seed)

    @property
    def samples(self) -> int:
        return self.recipe.samples

    @property
    def features(self) -> int:
        """Numbers in one input."""
        return data.facts(self.data)[1]

    @property
    def targets(self) -> int:
        """Numbers in one target: classes, or values to regress on."""
        return data.facts(self.data)[2]

    @property
    def classes(self) -> bool:
        """Are the targets classes, so that there is an accuracy?"""
        return data.facts(self.data)[3]

    def training_set(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (n, ...) and targets (n, c) in the dtype and on the device of `like`; shared, never to be changed."""
        split = data.tensors(self.recipe, like.dtype, like.device)
        return split.inputs, split.targets

    def test_set(self, like: Tensor) -> tuple[Tensor, Tensor] | None:
        """As `training_set`, of the samples that are held out; None where there are none."""
        split = data.tensors(self.recipe, like.dtype, like.device)
        return (split.test_inputs, split.test_targets) if len(split.test_inputs) else None

    @staticmethod
    def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of samples whose largest output is that of their class: (..., n, c), one-hot (n, c) -> (...)."""
        return (outputs.argmax(-1) == targets.argmax(-1)).to(outputs.dtype).mean(-1)

    @abstractmethod
    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        """The model's outputs (..., n, c) for parameters (..., dim) and inputs (n, ...), shared or one set a run."""

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        inputs, targets = self.training_set(params)
        if batch is not None:
            inputs, targets = inputs[batch], targets[batch]
        objective = OBJECTIVES[self.objective]
        if params.numel() == self.dim and (batch is None or batch.ndim == 1):
            # One run: plain matrix products are the fastest.
            return objective(self.outputs(params.reshape(self.dim), inputs), targets).reshape(params.shape[:-1])
        return objective(self.outputs(params, inputs), targets)
