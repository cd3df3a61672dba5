"""How likely it is that a larger eigenvalue than those found has gone unseen.

A small residual proves an eigenvalue, and not the largest. Of a symmetric matrix A let Q be the orthonormal vectors multiplied so
far, T = Q'AQ and F = AQ - QT. For a unit eigenvector w of eigenvalue l, (l - T) Q'w = F'w, so that its component along any
vector Qr is at most |F (l - T)^-1 r|; for one Lanczos run that is the root of the Christoffel function. Of a direction drawn
at random, whatever w is, the component is below t with a chance of at most t sqrt(2 dim / pi) (Kuczynski and Wozniakowski
1992, SIAM J. Matrix Anal. Appl. 13). So where a drawn direction is among the vectors multiplied, images tell what chance is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

CLEAR = 5e-3  # of the largest size: an eigenvalue that is less than so much larger is not looked for
_BEYOND = (0.0, 0.02, 0.1, 0.5, 2.0)  # of the largest size, past the bar: where one is looked for


class Doubt(NamedTuple):
    chance: Tensor  # (runs,): at most so likely has an eigenvalue above the bar gone unseen
    toward: Tensor  # (runs, m, 1): coefficients g; the unseen eigenvector would have to lie along F g


def doubt(
    values: Tensor, small: Tensor, k: int, bar: Tensor, scale: Tensor, missing: Callable[[Tensor], Tensor],
    drawn: Tensor, dim: int,
) -> Doubt:  # fmt: skip
    """The doubt about more than k eigenvalues above `bar` (runs, 1) where k were found, T having eigenvalues (runs, m) in rising
    order and eigenvectors (runs, m, m).

    `missing` maps coefficients (runs, m, 1) to |F g| (runs,). Columns of `drawn` (runs, m, j) hold unit vectors, each drawn by
    itself. `scale` (runs, 1) is the largest size of an eigenvalue.
    """
    m = values.shape[-1]
    # An unseen eigenvector is orthogonal to the others above it, which are found.
    others = (torch.arange(m, device=values.device) <= m - k).to(values)
    parts = small.mT @ drawn * others[:, None]  # (runs, m, j)
    chance = toward = None
    for beyond in _BEYOND:
        apart = (bar - values) / scale + beyond
        apart = torch.where(others > 0, apart, 1).clamp_min(CLEAR / 2)
        along = small @ (parts / apart[:, :, None])  # (runs, m, j), in units of 1 / scale
        unseen = torch.stack([missing(one) for one in along.split(1, -1)], -1) / scale
        odds = (math.sqrt(2 * dim / math.pi) * unseen).clamp_max(1).prod(-1)
        worst = along.take_along_dim(unseen.argmin(-1)[:, None, None], 2)
        if chance is None or toward is None:
            chance, toward = odds, worst
        toward = torch.where((odds > chance)[:, None, None], worst, toward)
        chance = torch.maximum(chance, odds)
    assert chance is not None and toward is not None  # noqa: PT018
    return Doubt(chance, toward)
