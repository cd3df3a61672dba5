"""Minima, saddles and basins of a picture: the merge tree of its sublevel sets.

As a level rises from below, a component of {loss <= level} is born at each minimum, and two merge at a saddle, where the one
with the higher minimum ends. How far it rose, its persistence, says how much of a minimum it is (Edelsbrunner and Harer 2010,
Computational Topology, ch. VII).

Libraries give one half each, so it is written out here: cubical persistence (gudhi, cripser) pairs minima with saddles and
knows no basins, a watershed (scikit-image) knows basins and no saddles; topopy, which has both, needs numpy below 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

Pixel = tuple[int, int]
_AROUND = [step for step in product((-1, 0, 1), repeat=2) if step != (0, 0)]


@dataclass(frozen=True)
class Minimum:
    """A minimum, and the saddle at which its basin joins one that is deeper; the deepest of all joins none."""

    at: Pixel
    value: float
    saddle: Pixel | None
    persistence: float  # height of the saddle above the minimum; of the deepest, of the whole picture
    at_edge: bool  # of the window, beyond which it may go on falling


@dataclass(frozen=True)
class Topology:
    """The minima whose persistence exceeds a threshold, the deepest first, and which of their basins each pixel is in."""

    minima: tuple[Minimum, ...]
    basins: Tensor  # (p, q), index into minima; -1 where the value is not finite

    @property
    def saddles(self) -> list[Pixel]:
        return [one.saddle for one in self.minima if one.saddle is not None]


def topology(values: Tensor, threshold: float = 0.0) -> Topology:
    """The merge tree of values (p, q), pixels touching along edges and at corners. Raises ValueError for a negative threshold."""
    if values.ndim != 2:
        raise ValueError(f"values has shape {tuple(values.shape)}: it must be (p, q).")
    if not threshold >= 0:
        raise ValueError(f"threshold = {threshold} is not allowed: it must be at least 0.")
    flat = values.detach().double().cpu().flatten()
    rows, columns = values.shape
    height, order = flat.tolist(), [one for one in flat.argsort(stable=True).tolist() if flat[one].isfinite()]
    parent: dict[int, int] = {}  # of each basin, named by its minimum: the one that it became part of
    joined: dict[int, tuple[int, int]] = {}  # minimum -> the saddle at which it ended, and the basin that it joined
    label: dict[int, int] = {}

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for pixel in order:
        row, column = divmod(pixel, columns)
        below = [
            other
            for down, right in _AROUND
            if 0 <= row + down < rows
            and 0 <= column + right < columns
            and (other := (row + down) * columns + column + right) in label
        ]
        if not below:
            parent[pixel] = label[pixel] = pixel
            continue
        label[pixel] = label[min(below, key=height.__getitem__)]  # the way that water takes
        # In the order of their births, which ties in height do not upset.
        meeting = sorted({root(label[other]) for other in below}, key=lambda one: (height[one], one))
        for later in meeting[1:]:
            parent[later] = meeting[0]
            joined[later] = pixel, meeting[0]
    return _pruned(values, height, order, label, joined, threshold)


def _pruned(
    values: Tensor,
    height: list[float],
    order: list[int],
    label: dict[int, int],
    joined: dict[int, tuple[int, int]],
    threshold: float,
) -> Topology:
    """Without the minima that hardly rise: their basins belong to the one that they joined."""
    columns = values.shape[1]
    births = [one for one in order if label[one] == one]
    top = height[order[-1]] if order else 0.0
    lasting = {one: (height[joined[one][0]] if one in joined else top) - height[one] for one in births}
    kept = {
        one: index for index, one in enumerate(one for one in births if one not in joined or lasting[one] > threshold)
    }
    home = dict(kept)
    for one in births:  # whoever it joined is older, and so has a home by now
        home.setdefault(one, home[joined[one][1]] if one in joined else 0)
    basins = torch.full((values.numel(),), -1, dtype=torch.long)
    if order:
        basins[torch.tensor(order)] = torch.tensor([home[label[one]] for one in order])
    minima = []
    for one in kept:
        row, column = divmod(one, columns)
        minima.append(
            Minimum(
                at=(row, column),
                value=height[one],
                saddle=divmod(joined[one][0], columns) if one in joined else None,
                persistence=lasting[one],
                at_edge=row in (0, values.shape[0] - 1) or column in (0, columns - 1),
            )
        )
    return Topology(tuple(minima), basins.view(values.shape))
