"""What minibatches add to a step: how far their gradients scatter, and how curved the loss of one is along its own gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from landscapes import Landscape
from optimizers.probes.batches import curvatures_until, mean_and_error
from optimizers.trajectory import SAMPLINGS

_ROUGH = 8, 64  # batches that the scatter is estimated from, and samples in each at most
_FINE = 32, 16  # the same number of samples in smaller batches: half the error, at more calls
_TURNS = 16  # batches at a time that the batch sharpness is a mean over,
ERROR = 0.05  # until its standard error is this share of it,
MOST_TURNS = 128  # or there are so many


class Estimate(NamedTuple):
    """A mean over random batches and its standard error; NaN where there is nothing to draw from."""

    value: float
    error: float

    @classmethod
    def of(cls, values: Tensor) -> Estimate:
        """Of values (m,), those that are not a number left out."""
        mean, error = mean_and_error(values)
        return cls(float(mean), float(error))


UNKNOWN = Estimate(math.nan, math.nan)


@dataclass(frozen=True)
class Scatter:
    """How the gradients g_B of batches, drawn with replacement, scatter about the mean gradient G."""

    landscape: Landscape
    params: Tensor  # (dim,)
    mean: Tensor  # (dim,), G
    rows: Tensor  # (m, dim), each sqrt(B) (g_B - G): their mean square is tr(Sigma), Sigma that of one sample

    @classmethod
    def at(cls, landscape: Landscape, params: Tensor, mean: Tensor, seed: int, *, fine: bool) -> Scatter | None:
        """None where there are no batches to draw, whose gradients are G on average, or no gradient to compare with."""
        samples = landscape.samples
        if samples is None or samples < 2 or landscape.reduction == "other" or not bool(mean.any()):
            return None
        draws, most = _FINE if fine else _ROUGH
        size = min(most, samples)
        batches = torch.randint(samples, (draws, size), generator=torch.Generator().manual_seed(seed))
        grads = [
            landscape.grad(params.expand(len(one), -1), one)
            for one in batches.to(params.device).split(max(1, landscape.chunk(params)))
        ]
        share = size / samples if landscape.reduction == "sum" else 1.0  # of G, that a batch has on average
        return cls(landscape, params, mean, math.sqrt(size) * (torch.cat(grads) / share - mean))

    @property
    def scale(self) -> Estimate:
        """The simple noise scale tr(Sigma) / |G|^2 (McCandlish et al. 2018, arXiv:1812.06162, eq. 2.9)."""
        return Estimate.of(self.rows.square().sum(-1).double() / self.mean.square().sum().double())

    @property
    def curved(self) -> Estimate:
        """The noise scale tr(H Sigma) / G'HG, exact on a quadratic (same, eq. 2.8); NaN where the loss is not convex along G."""
        along = float(self.mean @ self.landscape.hvp(self.params, self.mean))
        if along <= 0:
            return UNKNOWN
        products = [
            self.landscape.hvp(self.params.expand(len(rows), -1), rows)
            for rows in self.rows.split(max(1, self.landscape.chunk(self.params)))
        ]
        return Estimate.of((self.rows * torch.cat(products)).sum(-1).double() / along)


def check_judged(landscape: Landscape) -> None:
    """Raises ValueError where nothing is known of what steps on minibatches do to the loss of all samples."""
    if landscape.reduction == "sum":
        raise ValueError(
            "The loss is a sum over samples, of which a minibatch has a share alone: what minibatches allow is judged of a mean. "
            "Take reduction='mean', or all samples (batch_size = 0)."
        )
    if landscape.reduction == "other":
        raise ValueError(
            "The loss of a minibatch is no estimate of that of all samples here, so that nothing is known of what its steps do "
            "to it: take all samples (batch_size = 0)."
        )


def variance_left(samples: int, size: int, sampling: str) -> float:
    """The variance of the mean over `size` samples, in those of one sample: 1/b, and less without repetition."""
    return (samples - size) / ((samples - 1) * size) if sampling == "epochs" and samples > 1 else 1 / size


def batch_curvatures(
    landscape: Landscape, params: Tensor, size: int, sampling: str, seed: int, scale: Tensor | float = 1.0
) -> Tensor:
    """g'Hg / |g|^2 (m,) for gradient g and Hessian H of the loss on each of m batches, in coordinates w / scale.

    As many batches as bring the standard error of their mean to a share of 0.05, at most 128.
    Their mean is the batch sharpness of Andreyev and Beneventano 2024, arXiv:2412.20553. The loss of a batch rises along a
    step of gradient descent made from it exactly where, on a quadratic, this is above 2 / lr.
    """
    assert landscape.samples is not None
    draws = SAMPLINGS[sampling](landscape.samples, size, torch.Generator().manual_seed(seed))
    return curvatures_until(landscape, params, islice(draws, MOST_TURNS), ERROR, _TURNS, scale).double()
