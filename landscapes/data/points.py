"""Points to classify: the plane's classics, and clusters of very unequal size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscapes.data.source import Samples, Source


def _two_moons(seed: int) -> Samples:
    from sklearn.datasets import make_moons  # imported here: it takes a second that most uses never need

    return _samples(*make_moons(500, noise=0.1, random_state=seed))


def _circles(seed: int) -> Samples:
    from sklearn.datasets import make_circles

    return _samples(*make_circles(500, noise=0.05, factor=0.5, random_state=seed))


def _samples(points: object, labels: object) -> Samples:
    return Samples(torch.as_tensor(points), torch.as_tensor(labels))


def _spirals(seed: int) -> Samples:
    """Radius grows with the angle, three half turns; the arms are a third of a turn apart."""
    generator = torch.Generator().manual_seed(seed)
    arms, each = 3, 200
    radius = torch.linspace(0.05, 1, each, dtype=torch.float64).repeat(arms)
    labels = torch.arange(arms).repeat_interleave(each)
    angle = 1.5 * math.pi * radius + 2 * math.pi * labels / arms
    angle = angle + 0.1 * torch.randn(len(angle), generator=generator, dtype=torch.float64)
    return Samples(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1), labels)


_BLOB_CLASSES, _BLOB_FEATURES, _BLOB_SAMPLES = 30, 20, 1000


def zipf_counts(classes: int, samples: int) -> Tensor:
    """Sizes of classes (classes,) in proportion to 1 / rank, by largest remainders, none of them empty."""
    shares = 1 / torch.arange(1, classes + 1, dtype=torch.float64)
    exact = (samples - classes) * shares / shares.sum()
    counts = exact.floor().long()
    rest = samples - classes - int(counts.sum())
    counts[(exact - exact.floor()).topk(rest).indices] += 1
    return counts + 1


def _blobs(seed: int) -> Samples:
    from sklearn.datasets import make_blobs

    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(_BLOB_CLASSES, _BLOB_FEATURES, generator=generator, dtype=torch.float64)
    counts = zipf_counts(_BLOB_CLASSES, _BLOB_SAMPLES)
    points, labels = make_blobs(counts.tolist(), centers=centers.numpy(), cluster_std=0.3, random_state=seed)
    return _samples(points, labels)


TWO_MOONS = Source(
    "two_moons", "Two interleaved half circles, with noise.", "scikit-learn, make_moons", (2,), 2, True,
    _two_moons, lambda: 500,
)  # fmt: skip
CIRCLES = Source(
    "circles", "A circle inside a circle, with noise.", "scikit-learn, make_circles", (2,), 2, True,
    _circles, lambda: 500,
)  # fmt: skip
SPIRALS = Source(
    "spirals", "Three spiral arms around each other.", "Lang and Witbrock 1988, Learning to tell two spirals apart",
    (2,), 3, True, _spirals, lambda: 600,
)  # fmt: skip
BLOBS = Source(
    "blobs", "Thirty Gaussian clusters of very unequal size: the k-th most frequent has a share in proportion to 1 / k.",
    "Kunstner et al. 2024, arXiv:2402.19449", (_BLOB_FEATURES,), _BLOB_CLASSES, True, _blobs, lambda: _BLOB_SAMPLES,
)  # fmt: skip
