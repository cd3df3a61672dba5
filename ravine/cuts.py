"""The slice view: which planes an experiment asks for, and their values as they come."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from urllib.parse import urlencode

import torch
from torch import Tensor

from landscapes import QUANTITIES, Landscape, Plane, slicing
from landscapes.alignment import Line
from landscapes.interpolation import Interpolant, Window
from landscapes.pieces import Piece, Shelf
from landscapes.planes import PLANES, Cut, Place
from landscapes.quantities import COARSE
from optimizers import Trajectory
from ravine.experiment import Experiment, training

_SEEDS = 4  # small multiples
_FACTOR = 8.0  # of the rescaled twin; a power of two rounds nothing
_NARROWEST, _WIDEST = 1e-4, 100.0  # half-widths of a picture; a narrower one would show the rounding of float32
_WINDOW = (
    "span",
    "look_alpha",
    "look_beta",
    "points",
    "tolerance",
    "exact",
)  # what only says which part is seen, and how well


@dataclass(frozen=True)
class Caption:
    """What is written on a plane: its title, its axes, and named points."""

    title: str = ""
    names: tuple[str, str] = ("α", "β")
    marks: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class Panel:
    """One plane to compute."""

    center: Tensor
    cut: Cut
    title: str = ""

    @property
    def caption(self) -> Caption:
        return Caption(self.title, self.cut.names, self.cut.marks)


class Known:
    """Models of planes that were looked at lately, so that pan and zoom compute only what is new. Safe in several threads."""

    def __init__(self, planes: int = 32, windows: int = 8):
        self._models: OrderedDict[str, list[Interpolant]] = OrderedDict()
        self._curves: OrderedDict[str, Line] = OrderedDict()
        self._planes, self._windows, self._lock = planes, windows, threading.Lock()

    def of(self, experiment: Experiment, index: int) -> list[Interpolant]:
        with self._lock:
            return list(self._models.get(_plane_key(experiment, index), ()))

    def add(self, experiment: Experiment, index: int, model: Interpolant) -> None:
        key = _plane_key(experiment, index)
        with self._lock:
            self._models[key] = [*self._models.pop(key, [])[1 - self._windows :], model]
            while len(self._models) > self._planes:
                self._models.popitem(last=False)

    def curve(self, experiment: Experiment) -> Line | None:
        """The trained curve between the solutions of a plane, whatever part of it is looked at."""
        with self._lock:
            return self._curves.get(_plane_key(experiment, 0))

    def add_curve(self, experiment: Experiment, curve: Line) -> None:
        with self._lock:
            self._curves[_plane_key(experiment, 0)] = curve
            while len(self._curves) > self._planes:
                self._curves.popitem(last=False)


class _Section:
    """The part of a shelf that belongs to one of several planes."""

    _SIZE = 1 << 20  # more pieces than a plane has

    def __init__(self, shelf: Shelf, index: int):
        self._shelf, self._first = shelf, index * self._SIZE

    def get(self, number: int) -> Piece | None:
        return self._shelf.get(self._first + number)

    def put(self, number: int, piece: Piece) -> None:
        self._shelf.put(self._first + number, piece)


def _plane_key(experiment: Experiment, index: int) -> str:
    kept = [(name, text) for name, text in experiment.to_query().items() if name not in _WINDOW]
    return f"{index} {urlencode(kept)}"


def rivals(experiment: Experiment) -> list[Experiment]:
    """The trainings, from the seeds after the experiment's own, that a plane through solutions needs beside the first."""
    if experiment.plane != "solutions":
        return []
    first = training(experiment)
    return [dataclasses.replace(first, seed=first.seed + one) for one in range(1, experiment.others + 1)]


def trainings(experiment: Experiment) -> list[Experiment]:
    """The trainings that an experiment begins with, whose results are kept and shared: those of a slice."""
    return [training(experiment), *rivals(experiment)] if experiment.view == "slice" else []


def panels(experiment: Experiment, center: Tensor, path: Trajectory, solutions: Sequence[Tensor]) -> list[Panel]:
    """The planes of an experiment, the first of them the one that it is about. Raises ValueError where there is no such plane."""
    land = experiment.landscape
    place = Place(
        land,
        center,
        path.params.to(center),
        torch.stack([center, *solutions])[1:].to(center),
        experiment.plane_seed,
        experiment.normalize,
        experiment.ignore_biases,
    )

    def panel(title: str, **changes: object) -> Panel:
        changed = dataclasses.replace(place, **changes)  # type: ignore[arg-type]
        return Panel(changed.center, PLANES[experiment.plane](changed), title)

    match experiment.beside:
        case "seeds":
            seeds = [experiment.plane_seed + one for one in range(_SEEDS)]
            return [panel(f"seed {seed}", seed=seed) for seed in seeds]
        case "normalizations":
            others = [how for how in ("filter", "layer", "vector", "none") if how != experiment.normalize]
            return [panel(how, normalize=how) for how in (experiment.normalize, *others)]
        case "rescaled":
            twin = rescaled(land, center)
            return [
                panel(f"{name}, normalization: {how}", normalize=how, center=where)
                for how in ("filter", "none")
                for name, where in (("network", center), ("rescaled twin", twin))
            ]
    return [panel("")]


def rescaled(landscape: Landscape, params: Tensor) -> Tensor:
    """The first layer times 8, the second layer's weights divided by 8: the same function, where units are rectified.

    Dinh et al. 2017 (arXiv:1703.04933): such twins compute the same and look as sharp or flat as one likes.
    Raises ValueError where it is another function.
    """
    named = {name: tensor.clone() for name, tensor in landscape.layout.unpack(params).items()}
    if not {"W1", "b1", "W2"} <= set(named):
        raise ValueError("Rescaling needs a network with a hidden layer.")
    named["W1"] *= _FACTOR
    named["b1"] *= _FACTOR
    named["W2"] /= _FACTOR
    twin = landscape.layout.pack(named)
    if not torch.isclose(landscape.loss(twin), landscape.loss(params), rtol=1e-5):
        raise ValueError(
            "Rescaling a layer changes what this network computes: choose rectified units (relu), and no normalization."
        )
    return twin


def window(experiment: Experiment, base: Window) -> Window:
    """The part of a plane that is looked at: `span` times what it shows by itself, moved by `look` half-widths of that."""
    out = []
    for (low, high), look in zip(base, (experiment.look_alpha, experiment.look_beta), strict=True):
        middle, half = (low + high) / 2, (high - low) / 2
        out.append((middle + (look - experiment.span) * half, middle + (look + experiment.span) * half))
    return out[0], out[1]


def looking(experiment: Experiment, shown: Window, box: Window) -> dict[str, float]:
    """`span` and `look` of a box on a picture of the experiment that covers `shown`: a square in half-widths, as they are."""
    spans, looks = [], []
    for (low, high), (first, last), look in zip(shown, box, (experiment.look_alpha, experiment.look_beta), strict=True):
        half = (high - low) / 2 / experiment.span
        middle = (low + high) / 2 - look * half
        spans.append(abs(last - first) / 2 / half)
        looks.append(((first + last) / 2 - middle) / half)
    return looked(max(spans), *looks)


def looked(span: float, alpha: float, beta: float) -> dict[str, float]:
    """The `span` and `look` nearest to what is asked for that an experiment may have, to six digits."""
    values = min(_WIDEST, max(_NARROWEST, span)), *(min(_WIDEST, max(-_WIDEST, one)) for one in (alpha, beta))
    return {name: float(f"{one:.6g}") for name, one in zip(("span", "look_alpha", "look_beta"), values, strict=True)}


def growing(
    experiment: Experiment,
    wanted: Sequence[Panel],
    executor: Executor | None,
    shelf: Shelf | None,
    known: Known | None,
) -> Iterator[tuple[list[Plane], float, bool]]:
    """The planes so far, the share of the work that is done, and whether a model of another window was believed."""
    costly = QUANTITIES[experiment.quantity].costly
    points = min(experiment.points, COARSE) if costly else experiment.points
    every = experiment.exact or costly
    expected = points**2 if every else min(points**2, 1113)
    done: list[Plane] = []
    believed = False
    for index, panel in enumerate(wanted):
        models = known.of(experiment, index) if known is not None and not every else []
        believed |= bool(models)
        for plane in slicing(
            experiment.landscape,
            panel.center,
            panel.cut.directions,
            "none",
            points=points,
            quantity=experiment.quantity,
            window=window(experiment, panel.cut.window),
            tolerance=None if every else experiment.tolerance,
            log=experiment.scale == "log",
            known=models,
            executor=executor,
            # Pieces that lean on a model are others than those that the shelf is for.
            shelf=_Section(shelf, index) if shelf is not None and not models else None,
        ):
            share = (index + min(0.99, plane.evaluations / expected)) / len(wanted)
            yield [*done, plane], share, believed
        done.append(plane)
        if known is not None and plane.model is not None:
            known.add(experiment, index, plane.model)
    yield done, 1.0, believed
