"""What can be asked of a model that learns from samples beyond its loss, and how a landscape says what it does not have."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from landscapes.derivatives import Operator
from landscapes.landscape import Landscape, Trait

Score = Literal["test_loss", "accuracy", "test_accuracy"]
SCORES: dict[Score, tuple[Trait, ...]] = {  # what each needs
    "test_loss": ("test samples",),
    "accuracy": ("classes",),
    "test_accuracy": ("classes", "test samples"),
}


@dataclass(frozen=True)
class Learner(Landscape):
    """A landscape over the parameters of a model whose outputs are judged, sample by sample or all together.

    All of this is there for every one of them, but for what `lacks` gives a reason against.
    """

    @abstractmethod
    def score(self, name: Score, params: Tensor) -> Tensor:
        """One of SCORES (...) at params (..., dim): a loss without weight decay, or a share of samples."""

    def score_on_plane(self, name: Score, center: Tensor, directions: Tensor) -> Callable[[Tensor], Tensor]:
        """The score on a plane, as a function of points (k, 2) -> (k,)."""
        return self.on_plane_of(partial(self.score, name), center, directions)

    @abstractmethod
    def tangent_operator(self, params: Tensor) -> Operator:
        """v -> J' J v / n, (..., dim) -> (..., dim), with the Jacobian J of the outputs on all n training samples.

        Its eigenvalues are those of the neural tangent kernel over n, and zeros (Jacot et al. 2018, arXiv:1806.07572).
        """

    @abstractmethod
    def gauss_newton_operator(self, params: Tensor) -> Operator:
        """v -> J' H J v, (..., dim) -> (..., dim), with the Hessian H of the loss in the outputs (Schraudolph 2002)."""

    @abstractmethod
    def sparsity(self, params: Tensor, threshold: float) -> Tensor:
        """The share (...) of hidden activations on the training samples that are at most `threshold` in size."""

    @property
    def softmax(self) -> int | None:
        """How many classes a softmax in the loss tells apart; None where there is none, or none that can be seen."""
        return None
