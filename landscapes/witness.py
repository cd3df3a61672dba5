"""How likely it is that a larger eigenvalue than those found has gone unseen.

A small residual proves an eigenvalue, and not the largest. Of a symmetric matrix A let Q be the orthonormal vectors multiplied so
far, T = Q'AQ and F = AQ - QT. For a unit eigenvector w of eigenvalue l, (l - T) Q'w = F'w, so that its component along any
vector Qr is at most |F (l - T)^-1 r|; for one Lanczos run that is the root of the Christoffel function. Of a direction drawn
at random, whatever w is, the component is below t with a chance of at most t sqrt(2 dim / pi) (Kuczynski and Wozniakowski
1992, SIAM J. Matrix Anal. Appl. 13). So where a drawn direction is among the vectors multiplied, images tell what chance is left.

What it costs. The bound is the length of what is left of a linear system, (l - A) y = r, so that every eigenvalue near the largest
has to be resolved, whether or not it is a rival. Where the carried pairs are exact they resolve it. At the edge of stability they
are not: of the network 64-128-128-10 eight eigenvalues lie within 30 % of the largest, 3 % apart, and between two readings the
matrix moves their vectors by 15 to 25 %. In their span it is then as good as unknown, 36 numbers of which m products tell at
most 8 m - m (m - 1) / 2; and a rival from outside has a share of 1 / sqrt(dim) in what is drawn. Products a reading, first and
second half of the 120 of that run, or (*) of 40 to 50 in its middle; none of these was low by more than 0.5 %:

    pairs that have converged to 0.5 %, and one drawn direction, no bound asked for     6.4   6.5
    the same, to 1 %                                                                   5.7   5.9
    a chance below 1, which says next to nothing                                       8.3   8.3 *
    a chance of 0.5                                                                    8.8   9.3 *
    a chance of 0.1                                                                   10.9  12.9,  12.0  12.6 *
    a chance of 0.05, as here                                                         12.5  14.0
    the same, the direction drawn before the pairs have converged                     12.8  12.5 *
    the same, each next vector along F g, without the model of the old pairs          13.7  13.9 *
    one Krylov space from the drawn direction, with or without carried ones mixed in  16.0 to 18.4 *

Products of several vectors at once save nothing on a CPU (4.5 ms each, 4.9 ms of four at once). Without a bound 32 of 164
readings of heavy ball on small networks are too low, down to -36 %, and with it none: what is cheap at the edge is no proof.
Of 8,720 readings of 47 rules on six networks one was too low, by 7.6 %, with a chance of 0.1; with 0.05 that one is right.
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
