"""A mean over samples of an objective of a model's outputs: what networks and regressions have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from landscapes import data as datasets
from landscapes import derivatives
from landscapes.data import DATA, Recipe
from landscapes.derivatives import Linearized, Operator
from landscapes.landscape import Differentiated, Trait
from landscapes.learner import Learner, Score
from landscapes.setting import setting


class Terms(NamedTuple):
    """An objective summed over samples, at outputs that lie (..., c, n), with its derivatives in them."""

    value: Tensor  # (...)
    grad: Tensor  # (..., c, n)
    curved: Operator  # u -> H u, (..., c, n) -> (..., c, n)


@dataclass(frozen=True)
class Objective:
    """The mean over samples of a loss: of outputs (..., n, c) and targets (..., n, c), one-hot where they are classes."""

    mean: Callable[[Tensor, Tensor], Tensor]  # (...)
    terms: Callable[[Tensor, Tensor], Terms]  # of outputs and targets that lie (..., c, n)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.mean(outputs, targets)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean softmax cross-entropy: (..., n, c) and one-hot (..., n, c) -> (...)."""
    return -(torch.log_softmax(outputs, dim=-1) * targets).sum(-1).mean(-1)


def _cross_entropy_terms(outputs: Tensor, targets: Tensor) -> Terms:
    logs = torch.log_softmax(outputs, dim=-2)
    share = logs.exp()
    return Terms(
        -(logs * targets).sum((-2, -1)),
        share - targets,  # targets sum to one
        lambda moves: share * (moves - (share * moves).sum(-2, keepdim=True)),
    )


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error, summed over outputs and averaged over samples: (..., n, c), (..., n, c) -> (...)."""
    return (outputs - targets).square().sum(-1).mean(-1) / 2


def _squared_terms(outputs: Tensor, targets: Tensor) -> Terms:
    off = outputs - targets
    return Terms(off.square().sum((-2, -1)) / 2, off, lambda moves: moves)


OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": Objective(cross_entropy, _cross_entropy_terms),
    "squared": Objective(squared, _squared_terms),
}


_SCORED = 8  # points of a plane whose outputs are scored together


def learns(default: str, form: str) -> Any:
    """The setting of what is learned, among the data sets that fit what a model reads."""
    return setting(default, choices=datasets.fitting(form), help="What the network learns.")


def taken(default: int) -> Any:
    """The setting of how many training samples are taken."""
    return setting(
        default,
        0,
        100_000,
        label="Training samples (0: all)",
        help="How many samples to learn from, drawn at random.",
    )


def judged(default: str) -> Any:
    """The setting of the loss of one sample."""
    return setting(default, choices=tuple(OBJECTIVES), aliases=("loss",), symbol=r"\ell", help="Loss of one sample.")


DATA_SETTINGS = ("data", "subset", "test_share", "label_noise", "standardize", "data_seed")


@dataclass(frozen=True)
class Supervised(Learner, Differentiated):
    """L(w) = mean over samples of objective(outputs(w, x), y) + weight_decay / 2 |w|^2. A kind of it says what its outputs are."""

    form: ClassVar[str] = "vector"  # one of FORMS: how the inputs lie

    data: str = learns("digits", "vector")
    objective: str = judged("cross_entropy")
    weight_decay: float = setting(
        0.0, 0.0, 10.0, label="Weight decay in the loss", help="Adds this times |w|²/2 to the loss."
    )
    subset: int = taken(0)
    test_share: float = setting(
        0.0, 0.0, 0.9, label="Share of test samples",
        help="Share of the samples held out, to test what was learned; at 0 the data's own test set, where there is one.",
    )  # fmt: skip
    label_noise: float = setting(
        0.0, 0.0, 1.0, label="Label noise",
        help="Share of the training labels replaced by wrong ones; of values, noise as a share of their standard deviation.",
    )  # fmt: skip
    standardize: bool = setting(
        False, label="Standardize inputs", help="Shift and scale the inputs to mean 0 and variance 1."
    )
    data_seed: int = setting(0, 0, 2**31 - 1, label="Seed of the data", help="Seed of all that is random in the data.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective == "cross_entropy" and not self.classes:
            raise ValueError(f"objective = cross_entropy needs classes, and {self.data} has none: use squared.")
        if not self.samples:  # also finds out whether a user's files are there
            raise ValueError(f"{self.data} has no training samples.")

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe(
            self.data, self.form, self.subset, self.test_share, self.label_noise, self.standardize, self.data_seed
        )

    @property
    def samples(self) -> int:
        return self.recipe.samples

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return DATA[self.data].form(self.form)

    @property
    def targets(self) -> int:
        """Numbers in one target: classes, or values to regress on."""
        return DATA[self.data].outputs

    @property
    def classes(self) -> bool:
        """Are the targets classes, so that there is an accuracy?"""
        return DATA[self.data].classes

    def training_set(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (n, ...) and targets (n, c) in the dtype and on the device of `like`; shared, never to be changed."""
        split = datasets.tensors(self.recipe, like.dtype, like.device)
        return split.inputs, split.targets

    def test_set(self, like: Tensor) -> tuple[Tensor, Tensor] | None:
        """As `training_set`, of the samples that are held out; None where there are none."""
        split = datasets.tensors(self.recipe, like.dtype, like.device)
        return (split.test_inputs, split.test_targets) if len(split.test_inputs) else None

    @staticmethod
    def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of samples whose largest output is that of their class: (..., n, c), one-hot (n, c) -> (...)."""
        return (outputs.argmax(-1) == targets.argmax(-1)).to(outputs.dtype).mean(-1)

    @abstractmethod
    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        """The model's outputs (..., n, c) for parameters (..., dim) and inputs (n, ...), shared or one set a run."""

    def lacks(self, trait: Trait) -> str:
        if trait == "test samples" and self.test_set(torch.empty(0, dtype=torch.float64)) is None:
            return "there are no test samples (choose a share of samples to hold out)"
        if trait == "classes" and not self.classes:
            return f"{self.data} has no classes"
        return super().lacks(trait) if trait in ("samples", "activations") else ""

    @property
    def softmax(self) -> int | None:
        return self.targets if self.objective == "cross_entropy" else None

    def score(self, name: Score, params: Tensor) -> Tensor:
        (inputs, targets), judge = self._scoring(name, params)
        flat = params.reshape(-1, self.dim)
        parts = [
            judge(self.outputs(rows[0] if len(rows) == 1 else rows, inputs), targets).reshape(-1)
            for rows in flat.split(self.chunk(params))
        ]
        return torch.cat(parts).reshape(params.shape[:-1])

    def score_on_plane(self, name: Score, center: Tensor, directions: Tensor) -> Callable[[Tensor], Tensor]:
        samples, judge = self._scoring(name, center)
        return self.scored_on_plane(judge, center, directions, samples)

    def _scoring(self, name: Score, like: Tensor) -> tuple[tuple[Tensor, Tensor], Callable[[Tensor, Tensor], Tensor]]:
        """The samples of a score, and how outputs are judged against targets."""
        samples = self.training_set(like) if name == "accuracy" else self.test_set(like)
        if samples is None:
            raise ValueError(f"{self.name} has no {name}: {self.lacks('test samples')}.")
        return samples, OBJECTIVES[self.objective] if name == "test_loss" else self.accuracy

    def tangent_operator(self, params: Tensor) -> Operator:
        _, push, pull = self.jacobian(params)
        return lambda vectors: pull(push(vectors)) / self.samples

    def sparsity(self, params: Tensor, threshold: float) -> Tensor:
        raise ValueError(f"{self.lacks('activations')}.")

    def jacobian(self, params: Tensor, batch: Tensor | None = None) -> Linearized:
        """The outputs on the training set or a batch of it, and products with their Jacobian in params (..., dim)."""
        inputs, _ = self.training_set(params)
        inputs = inputs if batch is None else inputs[batch]
        return derivatives.linearized(lambda point: self.outputs(point, inputs), params)

    def gauss_newton_operator(self, params: Tensor, batch: Tensor | None = None) -> Operator:
        """v -> J' H J v + weight_decay v with the Hessian H of the objective in the outputs: the Hessian's convex part.

        For cross-entropy it is the Fisher information of the labels that the model predicts, for the squared error that of
        a normal law of variance 1 (Martens 2014, arXiv:1412.1193).
        """
        self._check(params, batch)
        outputs, push, pull = self.jacobian(params, batch)
        _, targets = self.training_set(params)
        targets = targets if batch is None else targets[batch]
        curved = derivatives.hessian_operator(lambda z: OBJECTIVES[self.objective](z, targets), outputs)
        return lambda vectors: torch.add(pull(curved(push(vectors))), vectors, alpha=self.weight_decay)

    def outputs_on_plane(self, center: Tensor, directions: Tensor, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        """The outputs on a plane, as a function of points (k, 2) -> (k, n, c)."""
        size = self.chunk(center)

        def outputs(points: Tensor) -> Tensor:
            where = center + points.to(center) @ directions
            if len(where) == 1:  # plain matrix products are the fastest
                return self.outputs(where[0], inputs)[None]
            return self.outputs(where, inputs)

        return lambda points: torch.cat([outputs(part) for part in points.split(size)])

    def scored_on_plane(
        self,
        score: Callable[[Tensor, Tensor], Tensor],
        center: Tensor,
        directions: Tensor,
        samples: tuple[Tensor, Tensor],
    ) -> Callable[[Tensor], Tensor]:
        """A score of outputs (k, n, c) against targets (n, c) on a plane: points (k, 2) -> (k,), a chunk at once."""
        inputs, targets = samples
        outputs = self.outputs_on_plane(center, directions, inputs)
        size = max(_SCORED, self.chunk(center))
        return lambda points: torch.cat([score(outputs(part), targets) for part in points.split(size)])

    def on_plane(self, center: Tensor, directions: Tensor) -> Callable[[Tensor], Tensor]:
        objective = self.scored_on_plane(OBJECTIVES[self.objective], center, directions, self.training_set(center))
        if not self.weight_decay:
            return objective
        rows = torch.cat([center[None], directions])
        gram = self.weight_decay / 2 * (rows @ rows.mT)  # |c + a u + b v|^2 is a form in (1, a, b)

        def loss(points: Tensor) -> Tensor:
            place = functional.pad(points.to(gram), (1, 0), value=1.0)
            return objective(points) + torch.einsum("ki,ij,kj->k", place, gram, place)

        return loss

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        inputs, targets = self.training_set(params)
        if batch is not None:
            inputs, targets = inputs[batch], targets[batch]
        objective = OBJECTIVES[self.objective]
        if params.numel() == self.dim and (batch is None or batch.ndim == 1):
            # One run: plain matrix products are the fastest.
            loss = objective(self.outputs(params.reshape(self.dim), inputs), targets).reshape(params.shape[:-1])
        else:
            loss = objective(self.outputs(params, inputs), targets)
        if not self.weight_decay:
            return loss
        return loss + self.weight_decay / 2 * params.square().sum(-1)
