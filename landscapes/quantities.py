"""What can be seen on a plane: the loss, and other numbers that every point of parameter space has.

To add one, write a Quantity and add its name to the tuple below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes.extremes import extreme_eigenvalues
from landscapes.landscape import Landscape
from landscapes.learner import SCORES, Learner, Score
from landscapes.pieces import Piece

COARSE = 21  # points per axis at most for a quantity that costs an eigenvalue at each
OnPlane = Callable[[Tensor], Tensor]  # points (k, 2) of a plane -> values (k,), or with their errors (k, 2)


@dataclass(frozen=True)
class Quantity:
    """A number at each point of a plane."""

    name: str
    label: str
    reads: str  # one sentence: what it says
    on_plane: Callable[[Landscape, Tensor, Tensor], OnPlane]  # of a landscape, a centre (dim,) and directions (2, dim)
    offers: Callable[[Landscape], str | None] = lambda landscape: None  # why a landscape has no such number, or None
    products: int = 0  # Hessian products at each point, about
    undecided: str = ""  # what is to be said of points whose value is no more than its error

    @property
    def costly(self) -> bool:
        """Is it so that a coarse grid must do?"""
        return self.products > 0


def _score(name: Score, label: str, reads: str) -> Quantity:
    def on_plane(landscape: Landscape, center: Tensor, directions: Tensor) -> OnPlane:
        assert isinstance(landscape, Learner)
        return landscape.score_on_plane(name, center, directions)

    def offers(landscape: Landscape) -> str | None:
        return next((why for one in SCORES[name] if (why := landscape.lacks(one))), None)

    return Quantity(name, label, reads, on_plane, offers)


def _grad_norm(landscape: Landscape, center: Tensor, directions: Tensor) -> OnPlane:
    return landscape.on_plane_of(lambda params: landscape.grad(params).norm(dim=-1), center, directions)


def _sharpness(landscape: Landscape, center: Tensor, directions: Tensor) -> OnPlane:
    def highest(params: Tensor) -> Tensor:
        found = extreme_eigenvalues(landscape.hessian_operator(params), params, lower=False)
        return torch.stack([found.highest, found.highest_error], dim=-1)

    return landscape.on_plane_of(highest, center, directions)


def _nonconvexity(landscape: Landscape, center: Tensor, directions: Tensor) -> OnPlane:
    """Each end of the spectrum to a tolerance of its own: the lower one is near a minimum a thousandth of the upper."""

    def ratio(params: Tensor) -> Tensor:
        found = extreme_eigenvalues(landscape.hessian_operator(params), params)
        low, high = found.lowest.abs(), found.highest.abs()
        least = high - found.highest_error
        most = (low + found.lowest_error) / least
        # Less than its error, the ratio would be one of roundings; to what may be zero, there is none.
        value = (low / high).where(found.sign != 0, most).where(least > 0, torch.nan)
        return torch.stack([value, torch.where(found.sign != 0, most - value, value)], dim=-1)

    return landscape.on_plane_of(ratio, center, directions)


QUANTITIES: dict[str, Quantity] = {
    one.name: one
    for one in (
        Quantity("loss", "Training loss", "The loss that training lowers.", lambda land, c, d: land.on_plane(c, d)),
        _score("test_loss", "Test loss", "The loss on samples that training never saw."),
        _score("accuracy", "Training accuracy", "The share of training samples classified right."),
        _score(
            "test_accuracy",
            "Test accuracy",
            "The share of samples classified right among those that training never saw.",
        ),
        Quantity("grad_norm", "Gradient norm", "How steep the loss is: zero at minima and saddles.", _grad_norm),
        Quantity(
            "sharpness",
            "Sharpness",
            "The largest eigenvalue of the Hessian at each point.",
            _sharpness,
            products=30,
            undecided="the sign of λ_max cannot be told",
        ),
        Quantity(
            "nonconvexity",
            "Non-convexity",
            "|λ_min / λ_max| of the Hessian at each point: near zero, the loss is close to convex there (Li et al. 2018, "
            "arXiv:1712.09913).",
            _nonconvexity,
            products=60,
            undecided="the sign of λ_min cannot be told: what is shown there is the most that the ratio can be",
        ),
    )
}


def quantity(name: str, landscape: Landscape) -> Quantity:
    """The named quantity. Raises ValueError for a name that is not registered, or that the landscape does not have."""
    if name not in QUANTITIES:
        raise ValueError(f"quantity = {name!r} is not allowed: it must be one of {', '.join(QUANTITIES)}.")
    refusal = QUANTITIES[name].offers(landscape)
    if refusal is not None:
        raise ValueError(f"{landscape.name} has no {name} here: {refusal}.")
    return QUANTITIES[name]


class OnPlaneOf:
    """A quantity on a plane as a piece of work: what it prepares once is shared by threads and left behind by pickling."""

    def __init__(self, name: str, landscape: Landscape, center: Tensor, directions: Tensor):
        self._from = (name, landscape, center, directions)
        self._values = quantity(name, landscape).on_plane(landscape, center, directions)

    def __call__(self, points: Tensor) -> Piece:
        found = self._values(points)
        return found.unbind(-1) if found.ndim > 1 else (found,)

    def __reduce__(self) -> tuple[type[OnPlaneOf], tuple[str, Landscape, Tensor, Tensor]]:
        return type(self), self._from
