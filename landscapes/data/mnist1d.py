"""MNIST-1D: ten shapes of twelve points, each stretched, moved, sheared and made noisy (Greydanus and Kobak 2024, arXiv:2011.14439).

The random numbers are ours, so samples agree with the authors' in distribution and not one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from landscapes.data.source import Samples, Source

_EACH, _TRAIN = 500, 4000  # samples of each class, and how many of all are for training
_LENGTH, _LONG, _POINTS = 40, 72, 12  # of a sample, before it is sampled down, of a shape
_PADDING = (36, 60)
_MOVES = 48
_RADIUS, _SIGMA = 8, 2.0  # of the filter that makes noise correlated

# Heights of the shapes 0 to 9, from the authors' table.
_SHAPES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


class Draws(NamedTuple):
    """What is random about n samples."""

    padding: Tensor  # (n,), whole numbers
    scale: Tensor  # (n,), within 0.2 of one
    move: Tensor  # (n,), whole numbers
    correlated: Tensor  # (n, 72), normal
    independent: Tensor  # (n, 72), normal
    shear: Tensor  # (n,)


def draws(count: int, generator: torch.Generator) -> Draws:
    uniform = torch.rand(2, count, generator=generator, dtype=torch.float64) - 0.5
    normal = torch.randn(2, count, _LONG, generator=generator, dtype=torch.float64)
    padding = torch.randint(_PADDING[0], _PADDING[1] + 1, (count,), generator=generator)
    move = torch.randint(_MOVES, (count,), generator=generator)
    return Draws(padding, 1 + 0.4 * uniform[0], move, normal[0], normal[1], 0.75 * uniform[1])


def shapes() -> Tensor:
    """The ten shapes (10, 12), of unit variance before they are moved to start at zero and divided by six."""
    x = torch.tensor(_SHAPES, dtype=torch.float64)
    x = (x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True)
    return (x - x[:, :1]) / 6


def signals(shape: Tensor, drawn: Draws) -> Tensor:
    """Signals (n, 40) of the shapes (n, 12)."""
    # Zeros are appended and the whole is stretched to 72 points; past the shape there is nothing but noise.
    padded = torch.nn.functional.pad(shape, (0, _PADDING[1]))
    last = (_POINTS + drawn.padding - 1)[:, None].double()
    place = torch.linspace(0, 1, _LONG, dtype=torch.float64) * last
    x, inside = _at(padded, place) * drawn.scale[:, None], place < _POINTS
    turned = (torch.arange(_LONG) - drawn.move[:, None]) % _LONG
    x, inside = x.gather(1, turned), inside.gather(1, turned)
    x = torch.where(inside, x, 0.25 * _smoothed(drawn.correlated)) + 0.02 * drawn.independent
    x = x - drawn.shear[:, None] * torch.linspace(-0.5, 0.5, _LONG, dtype=torch.float64)
    return _at(x, torch.linspace(0, _LONG - 1, _LENGTH, dtype=torch.float64).expand(len(x), -1))


def _at(values: Tensor, place: Tensor) -> Tensor:
    """Rows of values (n, m) at places (n, k) between their points, on straight lines."""
    left = place.floor().long().clamp(0, values.shape[1] - 2)
    share = place - left
    return values.gather(1, left) * (1 - share) + values.gather(1, left + 1) * share


def _smoothed(noise: Tensor) -> Tensor:
    """Rows through a Gaussian filter, mirrored at the ends."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / _SIGMA) ** 2)
    index = torch.arange(-_RADIUS, _LONG + _RADIUS)
    index = torch.where(index < 0, -1 - index, torch.where(index >= _LONG, 2 * _LONG - 1 - index, index))
    return noise[:, index].unfold(1, len(offsets), 1) @ (kernel / kernel.sum())


def _mnist1d(seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(_SHAPES)).repeat_interleave(_EACH)
    x = signals(shapes()[labels], draws(len(labels), generator))
    x = ((x - x.mean()) / x.std(correction=0))[:, None, None]  # a picture of one channel and one row
    order = torch.randperm(len(labels), generator=generator)
    train, test = order[:_TRAIN], order[_TRAIN:]
    return Samples(x[train], labels[train], (x[test], labels[test]))


MNIST1D = Source(
    "mnist1d", "Ten shapes on a line, stretched, moved and noisy: 4,000 to learn and 1,000 to test.",
    "Greydanus and Kobak 2024, arXiv:2011.14439", (1, 1, _LENGTH), len(_SHAPES), True, _mnist1d, lambda: _TRAIN,
)  # fmt: skip
