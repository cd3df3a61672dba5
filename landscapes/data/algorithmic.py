"""Tasks with a rule behind them: parity of few bits, addition modulo a prime, addition over a long time."""

from __future__ import annotations

import torch
from torch.nn.functional import one_hot

from landscapes.data.source import Samples, Source

PRIME = 31
_BITS, RELEVANT = 30, 3
_STEPS = 20


def _sparse_parity(seed: int) -> Samples:
    """Random signs; the class is the parity of the first three, so that which matter is known."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(2, (1000, _BITS), generator=generator)
    return Samples(1.0 - 2.0 * bits.double(), bits[:, :RELEVANT].sum(-1) % 2)


def _modular_addition(seed: int) -> Samples:
    """Every pair (a, b), each number a one-hot token; the class is (a + b) modulo the prime."""
    pairs = torch.cartesian_prod(torch.arange(PRIME), torch.arange(PRIME))
    return Samples(one_hot(pairs, PRIME).double(), pairs.sum(-1) % PRIME)


def _adding(seed: int) -> Samples:
    """Two channels over time: numbers from [0, 1], and marks at one step of each half; the target is the marked sum."""
    generator = torch.Generator().manual_seed(seed)
    samples, half = 500, _STEPS // 2
    numbers = torch.rand(samples, _STEPS, generator=generator, dtype=torch.float64)
    first = torch.randint(half, (samples,), generator=generator)
    second = half + torch.randint(half, (samples,), generator=generator)
    marks = (one_hot(first, _STEPS) + one_hot(second, _STEPS)).double()
    return Samples(torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(-1, keepdim=True))


SPARSE_PARITY = Source(
    "sparse_parity", "The parity of 3 of 30 random bits.", "Barak et al. 2022, arXiv:2207.08799", (_BITS,), 2, True,
    _sparse_parity, lambda: 1000,
)  # fmt: skip
MODULAR_ADDITION = Source(
    "modular_addition", f"All pairs of numbers below {PRIME}, added modulo {PRIME}; hold most out to look for grokking.",
    "Power et al. 2022, arXiv:2201.02177", (2, PRIME), PRIME, True, _modular_addition, lambda: PRIME**2,
)  # fmt: skip
ADDING = Source(
    "adding", f"The sum of two marked numbers in a sequence of {_STEPS}.",
    "Hochreiter and Schmidhuber 1997, Neural Comput. 9", (_STEPS, 2), 1, False, _adding, lambda: 500,
)  # fmt: skip
