"""Which plane to cut: random, along a trajectory, along the Hessian's eigenvectors or the gradient, or through solutions.

A random plane is normalized against the parameters; the others have lengths that mean something and are taken as they are.
To add a kind of plane, write a function of a Place and add it, with what it reads, to the tuple below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from landscapes.curvature import top_eigenpairs
from landscapes.directions import normalize, random_directions
from landscapes.interpolation import Window
from landscapes.landscape import Landscape

UNIT: Window = ((-1.0, 1.0), (-1.0, 1.0))
_MARGIN = 0.2  # of the extent of what must be in the picture, on each side


@dataclass(frozen=True)
class Place:
    """What a plane may be laid through."""

    landscape: Landscape
    center: Tensor  # (dim,)
    path: Tensor  # (T, dim): points of a trajectory, in order
    solutions: Tensor  # (k, dim): other solutions
    seed: int = 0
    normalize: str = "filter"
    ignore_biases: bool = True


@dataclass(frozen=True)
class Cut:
    """A plane to look at: center + alpha * directions[0] + beta * directions[1], over a window of (alpha, beta)."""

    directions: Tensor  # (2, dim)
    names: tuple[str, str]  # of its axes
    window: Window = UNIT
    marks: tuple[tuple[str, float, float], ...] = field(default=())  # named points on it


def random(place: Place) -> Cut:
    """Two Gaussian directions, normalized (Li et al. 2018, arXiv:1712.09913)."""
    pair = random_directions(place.landscape.layout, place.center, 2, place.seed)
    pair = normalize(pair, place.center, place.landscape.layout, place.normalize, ignore_biases=place.ignore_biases)
    return Cut(pair, ("α", "β"))


def pca(place: Place) -> Cut:
    """The first two principal components of the trajectory (Li et al. 2018, sect. 7); the axes say how much each explains.

    Two components of a path explain much of it even where it is a random walk (Antognini and Sohl-Dickstein 2018,
    arXiv:1806.08805): the out-of-plane distance says what they leave out.
    """
    if len(place.path) < 3:
        raise ValueError("The principal components of a path need at least three of its points: train for more steps.")
    path = place.path.double()
    offset = path - path.mean(0)
    values, vectors = torch.linalg.eigh(offset @ offset.T)
    if not values[-2] > 1e-12 * values[-1]:
        raise ValueError("The path is a straight line: it spans no plane of principal components.")
    pair = (vectors[:, -2:].flip(1).T @ offset) / values[-2:].flip(0).sqrt()[:, None]
    share = (values / values.clamp_min(0).sum()).flip(0)[:2].tolist()
    coordinates = (path - place.center.double()) @ pair.T
    names = (f"first component ({share[0]:.1%})", f"second component ({share[1]:.1%})")
    return Cut(pair.to(place.center), names, _around(coordinates))


def hessian(place: Place) -> Cut:
    """The two sharpest directions: the Hessian's top eigenvectors, of unit length."""
    pairs = top_eigenpairs(place.landscape, place.center, k=2, tol=1e-3)
    if not torch.isfinite(pairs.vectors).all():
        raise ValueError("The Hessian is not finite at the center: it has no eigenvectors there.")
    names = tuple(
        f"eigenvector of λ = {value:.4g} (±{residual:.1g})"
        for value, residual in zip(pairs.values.tolist(), pairs.residuals.tolist(), strict=True)
    )
    return Cut(pairs.vectors, (names[0], names[1]))


def gradient(place: Place) -> Cut:
    """Down the gradient, and along the latest update less its part in the gradient; both of unit length."""
    if len(place.path) < 2:
        raise ValueError("There is no update: the path has a single point.")
    down = -place.landscape.grad(place.center)
    update = place.path[-1] - place.path[-2]
    return Cut(
        _orthonormal(down, update, "The gradient and the latest update"), ("down the gradient", "latest update, rest")
    )


def solutions(place: Place) -> Cut:
    """Through the centre and one or two other solutions (Garipov et al. 2018, arXiv:1802.10026).

    The first axis runs from the centre to the first other, at (1, 0). The second lies at right angles, in equal units, towards
    the second other or, without one, along a random direction.
    """
    if not len(place.solutions):
        raise ValueError("A plane through solutions needs at least one other solution.")
    first = place.solutions[0] - place.center
    if len(place.solutions) > 1:
        second = place.solutions[1] - place.center
    else:
        second = random_directions(place.landscape.layout, place.center, 1, place.seed)[0]
    pair = _orthonormal(first, second, "The solutions") * first.norm()
    marks = [("A", 0.0, 0.0), ("B", 1.0, 0.0)]
    if len(place.solutions) > 1:
        a, b = ((pair @ second) / first.square().sum()).tolist()
        marks.append(("C", a, b))
        names = ("from A to B", "towards C")
    else:
        names = ("from A to B", "a random direction")
    coordinates = torch.tensor([mark[1:] for mark in marks], dtype=torch.float64)
    return Cut(pair, names, _around(coordinates), tuple(marks))


@dataclass(frozen=True)
class Kind:
    """A kind of plane."""

    make: Callable[[Place], Cut]
    label: str
    reads: str  # one sentence: what is seen on it

    def __call__(self, place: Place) -> Cut:
        return self.make(place)


PLANES: dict[str, Kind] = {
    kind.make.__name__: kind
    for kind in (
        Kind(
            random,
            "Random directions",
            "Both directions are random: they show how the loss looks from there on average.",
        ),
        Kind(
            pca,
            "Principal components",
            "Both directions are principal components of the path: no plane shows more of it.",
        ),
        Kind(
            hessian,
            "Hessian eigenvectors",
            "Both directions are eigenvectors of the Hessian: there the loss curves the most.",
        ),
        Kind(
            gradient,
            "Gradient and update",
            "One direction is down the gradient, the other along the latest update: what the rule adds to it.",
        ),
        Kind(
            solutions,
            "Several solutions",
            "The plane holds several solutions, A being the one that this training found.",
        ),
    )
}


def _orthonormal(first: Tensor, second: Tensor, what: str) -> Tensor:
    """Two unit vectors (2, dim): along the first, and along what the second has beside it."""
    first_length, second_length = first.norm(), second.norm()
    if first_length > 0 and second_length > 0:
        along = first / first_length
        rest = second / second_length
        for _ in range(2):  # once more, for what rounding left
            rest = rest - (rest @ along) * along
        if rest.norm() > 1e-5:
            return torch.stack([along, rest / rest.norm()])
    raise ValueError(f"{what} lie on one line: they span no plane.")


def _around(coordinates: Tensor) -> Window:
    """A square window that shows points (k, 2) with a margin; square, so that lengths compare."""
    low, high = coordinates.amin(0), coordinates.amax(0)
    half = float((high - low).max()) * (0.5 + _MARGIN)
    (a, b) = ((low + high) / 2).tolist()
    return (a - half, a + half), (b - half, b + half)
