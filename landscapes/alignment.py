"""Two solutions compared: the barrier on the line between them, and what is left of it once hidden units are renumbered.

Renumbering the units of a hidden layer changes a network's parameters and not what it computes. Ainsworth, Hayase and
Srinivasa 2023 (arXiv:2209.04836) renumber those of one network so that its weights come close to the other's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes.landscape import Landscape, Layout
from landscapes.learner import Learner

_MOST_SWEEPS = 100
_SAME = 1e-4  # relative difference of a loss that float32 sums in another order stay below


@dataclass(frozen=True)
class Line:
    """The loss along the segment between two points, or along a curve between them."""

    share: Tensor  # (points,), from 0 to 1
    loss: Tensor  # (points,)
    accuracy: Tensor | None  # (points,), of the training samples, where there are classes

    @property
    def barrier(self) -> float:
        """The largest excess of the loss over the straight line between its two ends (Frankle et al. 2020, arXiv:1912.05671)."""
        chord = self.loss[0] + self.share * (self.loss[-1] - self.loss[0])
        return float((self.loss - chord).max())


def line(landscape: Landscape, first: Tensor, second: Tensor, points: int = 25) -> Line:
    """The loss at evenly spaced points of the segment from first (dim,) to second (dim,)."""
    for name, one in (("first", first), ("second", second)):
        if not isinstance(one, Tensor) or not one.is_floating_point() or one.shape != (landscape.dim,):
            raise ValueError(f"{name} must be a floating-point tensor of shape ({landscape.dim},).")
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise ValueError(f"points = {points!r} is not allowed: it must be a whole number of at least 2.")
    share = torch.linspace(0, 1, points, dtype=torch.float64).to(first)
    return along(landscape, share, torch.lerp(first, second.to(first), share[:, None]))


def along(landscape: Landscape, share: Tensor, params: Tensor) -> Line:
    """The loss, and where there are classes the accuracy, at params (points, dim)."""
    parts = params.split(landscape.chunk(params))
    loss = torch.cat([landscape.loss(part) for part in parts])
    if not isinstance(landscape, Learner) or landscape.lacks("classes"):
        return Line(share, loss, None)
    return Line(share, loss, landscape.score("accuracy", params))


def aligned(landscape: Landscape, params: Tensor, reference: Tensor, seed: int = 0) -> Tensor:
    """params (dim,) with its hidden units renumbered so that its weights come close to those of reference (dim,).

    Weight matching: for one hidden layer after the other, in random order, the permutation that brings the weights on both
    sides of it closest, by linear assignment, until no layer changes. For networks whose layers W1, b1, W2, ... follow one
    another, convolutions among them. Raises ValueError for any other, and where renumbering would change the loss.
    """
    from scipy.optimize import linear_sum_assignment  # a quarter of a second that most uses never need

    sides = list(_hidden(landscape.layout))
    if not sides:
        raise ValueError(f"{landscape.name} has no hidden layer whose units could be renumbered.")
    theirs, mine = landscape.layout.unpack(reference), dict(landscape.layout.unpack(params))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(_MOST_SWEEPS):
        changed = False
        for index in torch.randperm(len(sides), generator=generator).tolist():
            likeness = sum(
                _by_unit(theirs[name], axis, units).double() @ _by_unit(mine[name], axis, units).double().T
                for name, axis, units in sides[index]
            )
            assert isinstance(likeness, Tensor)
            _, order = linear_sum_assignment(likeness.cpu().numpy(), maximize=True)
            order = torch.from_numpy(order).to(params.device)
            gain = likeness.gather(1, order[:, None]).sum() - likeness.trace()
            if gain > 1e-9 * likeness.abs().max():
                changed = True
                for name, axis, units in sides[index]:
                    mine[name] = _renumbered(mine[name], axis, units, order)
        if not changed:
            break
    out = landscape.layout.pack(mine)
    before, after = landscape.loss(params), landscape.loss(out)
    if torch.isfinite(before) and not (before - after).abs() <= _SAME * before.abs().clamp_min(1e-6):
        raise ValueError(f"The hidden units of {landscape.name} cannot be renumbered one layer at a time.")
    return out


def _hidden(layout: Layout) -> Iterator[list[tuple[str, int, int]]]:
    """For each hidden layer, what its units touch: (name of the tensor, axis, units)."""
    shapes = {block.name: block.shape for block in layout.blocks}
    index = 1
    while f"W{index + 1}" in shapes:
        units = shapes[f"W{index}"][0]
        following = shapes[f"W{index + 1}"]
        if len(following) < 2 or following[1] % units:
            return
        own = [name for name in shapes if name.rstrip("0123456789") != name and name.endswith(f"{index}")]
        own = [name for name in own if name[: -len(str(index))].isalpha() and shapes[name][0] == units]
        yield [*((name, 0, units) for name in own), (f"W{index + 1}", 1, units)]
        index += 1


def _by_unit(tensor: Tensor, axis: int, units: int) -> Tensor:
    """(units, everything that belongs to one); a flattened image holds a block of columns for each channel."""
    return tensor.movedim(axis, 0).reshape(units, -1) if axis == 0 else _columns(tensor, units).reshape(units, -1)


def _columns(tensor: Tensor, units: int) -> Tensor:
    """(out, units * m, ...) -> (units, out, m, ...)."""
    return tensor.unflatten(1, (units, -1)).movedim(1, 0)


def _renumbered(tensor: Tensor, axis: int, units: int, order: Tensor) -> Tensor:
    if axis == 0:
        return tensor[order]
    return tensor.unflatten(1, (units, -1))[:, order].flatten(1, 2)
