"""Two-dimensional slices: the loss on a plane through a point of parameter space."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from landscapes.directions import normalize, random_directions
from landscapes.interpolation import LEVELS, Interpolant, Window, held_out, interpolant, levels, recalled
from landscapes.landscape import Landscape
from landscapes.pieces import Piece, Shelf, pieces
from landscapes.quantities import OnPlaneOf

_PIECE = 8  # points that a worker takes at once, at least


@dataclass(frozen=True)
class Plane:
    """The loss at center + alpha[i] * directions[0] + beta[j] * directions[1]; NaN where not computed yet."""

    loss: Tensor  # (points, points), first index alpha
    alpha: Tensor  # (points,)
    beta: Tensor  # (points,)
    center: Tensor  # (dim,)
    directions: Tensor  # (2, dim)
    error: float = 0.0  # |loss - exact loss| as estimated from points held out; 0 where every value was computed
    log: bool = False  # is `error` that of the natural logarithm of the loss?
    evaluations: int = 0  # of the loss, spent
    uncertainty: Tensor | None = (
        None  # (points, points): how far from each value the truth may lie; None where they are exact
    )
    model: Interpolant | None = field(
        default=None, compare=False, repr=False
    )  # of `loss`, or with `log` of its logarithm

    @property
    def window(self) -> Window:
        """What the plane covers: the ends of alpha and of beta."""
        return (float(self.alpha[0]), float(self.alpha[-1])), (float(self.beta[0]), float(self.beta[-1]))

    def project(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Plane coordinates (..., 2) of the nearest points of the plane to params (..., dim), and the distances (...)."""
        offset = params.to(self.center) - self.center
        # Random directions are not orthogonal: solve the 2 x 2 normal equations rather than take inner products.
        gram = self.directions @ self.directions.T
        coordinates = (
            torch.linalg.solve(gram, (offset @ self.directions.T).mT).mT
            if offset.ndim > 1
            else (torch.linalg.solve(gram, self.directions @ offset))
        )
        return coordinates, (offset - coordinates @ self.directions).norm(dim=-1)


def slice_2d(
    landscape: Landscape,
    center: Tensor,
    directions: str | Tensor = "random",
    normalize: str = "filter",
    span: float = 1.0,
    points: int = 51,
    seed: int = 0,
    *,
    ignore_biases: bool = True,
    quantity: str = "loss",
    window: Window | None = None,
    tolerance: float | None = None,
    log: bool = False,
    executor: Executor | None = None,
) -> Plane:
    """The loss on a plane of points x points around center (dim,), reaching `span` to each side along both directions.

    `directions` is "random" (two Gaussian directions of that seed) or a tensor (2, dim); `normalize` rescales either
    (see `directions.normalize`); a tensor that is to be taken as it is needs normalize="none". The middle of an odd grid
    is the centre itself. `window` ((low, high), (low, high)) in place of `span` need not be symmetric.

    Batch normalization is as in training at every point: it takes the statistics of the samples that the loss is over, those
    of the test set for a test loss. A module in eval mode keeps its stored averages, which no direction moves. Scales and
    shifts of normalization stay where they are, with the biases, unless `ignore_biases` is False.

    `quantity` is one of QUANTITIES; its values stand in `Plane.loss`. Without a `tolerance` every point is computed. With
    one, a polynomial through far fewer points gives the others as soon as its error, estimated from points held out, is at
    most `tolerance` times the range of the values (with `log`, of their logarithms); where that is not reached, every point
    is computed after all. `Plane.error` says which, and `Plane.uncertainty` how exact computed eigenvalues are.
    Raises ValueError or TypeError for what does not fit.
    """
    stream = slicing(
        landscape, center, directions, normalize, span, points, seed,
        ignore_biases=ignore_biases, quantity=quantity, window=window, tolerance=tolerance, log=log, executor=executor,
    )  # fmt: skip
    *_, plane = stream
    return plane


def slicing(
    landscape: Landscape,
    center: Tensor,
    directions: str | Tensor = "random",
    normalize: str = "filter",
    span: float = 1.0,
    points: int = 51,
    seed: int = 0,
    *,
    ignore_biases: bool = True,
    quantity: str = "loss",
    window: Window | None = None,
    tolerance: float | None = None,
    log: bool = False,
    known: Sequence[Interpolant] = (),
    executor: Executor | None = None,
    shelf: Shelf | None = None,
) -> Iterator[Plane]:
    """`slice_2d` as it grows: yields the plane after each row, from the centre outwards. Stop pulling to cancel.

    With a tolerance it yields the whole plane, more and more exact. The work is spread over `executor` where one is given;
    values do not depend on it. What is finished is kept on `shelf` and not computed again. `known` are the models of other
    windows of the same plane: where they reach, they are believed and not evaluated, but for the points held out.
    """
    if tolerance is not None and not tolerance > 0:
        raise ValueError(
            f"tolerance = {tolerance} is not allowed: it must be positive, or None to compute every point."
        )
    _check_center(landscape, center)
    pair = _pair(landscape, center, directions, normalize, seed, ignore_biases)
    plane = _blank(center, pair, _window(span, window), points)
    survey = _Survey(OnPlaneOf(quantity, landscape, plane.center, plane.directions), executor, shelf)
    if tolerance is not None:
        size = max(_PIECE, landscape.chunk(plane.center))
        for believed in [known, ()] if known else [()]:
            plane, settled = yield from _interpolating(survey, replace(plane, log=log), tolerance, size, believed)
            if settled:
                return
    yield from _row_by_row(survey, plane)


class _Survey:
    """Where values on a plane come from; every piece that is asked for has a number of its own on the shelf."""

    def __init__(self, evaluate: OnPlaneOf, executor: Executor | None, shelf: Shelf | None):
        self._evaluate, self._executor, self._shelf = evaluate, executor, shelf
        self._asked = 0

    def __call__(self, parts: Sequence[Tensor]) -> Iterator[tuple[int, Piece]]:
        """The index and the values (k,) of each part (k, 2), as they come; with their errors (k,) where they have any."""
        first, self._asked = self._asked, self._asked + len(parts)
        work = {first + index: (part,) for index, part in enumerate(parts)}
        for number, piece in pieces(self._evaluate, work, executor=self._executor, shelf=self._shelf):
            yield number - first, piece


def _interpolating(
    survey: _Survey, plane: Plane, tolerance: float, size: int, known: Sequence[Interpolant]
) -> Generator[Plane, None, tuple[Plane, bool]]:
    """Yields the plane as it stands after every piece of work; returns it, and whether its error is within the tolerance."""
    checks = held_out(plane.window)
    exact = torch.empty(0, dtype=torch.float64)
    grid = torch.full((LEVELS[-1], LEVELS[-1]), torch.nan, dtype=torch.float64)
    for per_axis, points, places in levels(plane.window, plane.loss.numel()):
        values = recalled(known, points)
        asked = values.isnan().nonzero().flatten()
        wanted = points[asked] if len(exact) else torch.cat([checks, points[asked]])
        found = torch.empty(len(wanted), dtype=torch.float64)
        for part, (some, *_) in survey(wanted.split(size)):
            found[part * size : part * size + len(some)] = some
            plane = replace(plane, evaluations=plane.evaluations + len(some))
            yield plane
        if plane.log:
            found = found.log()
        if not torch.isfinite(found).all():  # no polynomial: every pixel must be seen
            return plane, False
        if not len(exact):
            exact, found = found.split([len(checks), len(asked)])
        values[asked] = found
        grid[places[:, 0], places[:, 1]] = values
        model = interpolant(plane.window, grid, per_axis, checks, exact)
        drawn = model(plane.alpha.double().cpu(), plane.beta.double().cpu())
        plane = replace(
            plane, loss=(drawn.exp() if plane.log else drawn).to(plane.loss), error=model.error, model=model
        )
        yield plane
        if model.error <= tolerance * model.spread:
            return plane, True
    return plane, False


def _row_by_row(survey: _Survey, plane: Plane) -> Iterator[Plane]:
    """Every point, over what an interpolation has drawn."""
    rows, columns = plane.loss.shape
    order = sorted(range(rows), key=lambda row: abs(row - (rows - 1) / 2))
    loss = plane.loss.clone()
    parts = [torch.stack(torch.broadcast_tensors(plane.alpha[row], plane.beta), -1) for row in order]
    uncertainty: Tensor | None = None
    for done, (index, (values, *errors)) in enumerate(survey(parts), start=1):
        loss[order[index]] = values.to(loss)
        if errors:
            uncertainty = torch.full_like(loss, torch.nan) if uncertainty is None else uncertainty.clone()
            uncertainty[order[index]] = errors[0].to(loss)
        plane = replace(plane, loss=loss.clone(), evaluations=plane.evaluations + columns, uncertainty=uncertainty)
        yield replace(plane, error=0.0, model=None) if done == rows else plane


def _window(span: float, window: Window | None) -> Window:
    if window is None:
        if not 0 < span < float("inf"):
            raise ValueError(f"span = {span} is not allowed: it must be positive.")
        return (-span, span), (-span, span)
    for low, high in window:
        if not float("-inf") < low < high < float("inf"):
            raise ValueError(f"window = {window} is not allowed: each axis needs finite ends, the lower one first.")
    return window


def _check_center(landscape: Landscape, center: Tensor) -> None:
    if not isinstance(center, Tensor) or not center.is_floating_point() or center.shape != (landscape.dim,):
        raise ValueError(
            f"center must be a floating-point tensor of shape ({landscape.dim},), one point of this landscape."
        )
    if not torch.isfinite(center).all():
        raise ValueError("center has an entry that is not finite: there is no loss around it.")


def _pair(
    landscape: Landscape, center: Tensor, directions: str | Tensor, how: str, seed: int, ignore_biases: bool
) -> Tensor:
    if isinstance(directions, str):
        if directions != "random":
            raise ValueError(f"directions = {directions!r} is not allowed: it must be 'random' or a tensor (2, dim).")
        pair = random_directions(landscape.layout, center, 2, seed)
    else:
        if not isinstance(directions, Tensor):
            raise TypeError(f"directions = {directions!r} is not allowed: it must be 'random' or a tensor (2, dim).")
        if directions.shape != (2, landscape.dim):
            raise ValueError(f"directions must have shape (2, {landscape.dim}), not {tuple(directions.shape)}.")
        pair = directions.to(center)
    if not torch.isfinite(pair).all():
        raise ValueError("directions has an entry that is not finite.")
    pair = normalize(pair, center, landscape.layout, how, ignore_biases=ignore_biases)
    if torch.linalg.matrix_rank(pair.double()) < 2:
        raise ValueError("The two directions are parallel or zero: they span no plane.")
    return pair


def _blank(center: Tensor, pair: Tensor, window: Window, points: int) -> Plane:
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise ValueError(f"points = {points!r} is not allowed: it must be a whole number of at least 2.")
    alpha, beta = (_axis(low, high, points).to(center) for low, high in window)
    return Plane(
        torch.full((points, points), torch.nan, dtype=center.dtype, device=center.device), alpha, beta, center, pair
    )


def _axis(low: float, high: float, points: int) -> Tensor:
    """Evenly spaced (points,); exact in the middle, and symmetric where the ends are."""
    half = (points - 1) / 2
    return (low + high) / 2 + (high - low) / 2 * (torch.arange(points, dtype=torch.float64) - half) / half
