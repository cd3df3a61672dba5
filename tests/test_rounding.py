"""The errors that stand for another processor's: as large as rounding makes them, and of what they should be."""

import pytest
import torch

from tests.rounding import AnotherOrder, amplified

EPS = torch.finfo(torch.float64).eps
A = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    "compute",
    [lambda: A @ A, lambda: A.sum(0), A.tanh, lambda: torch.linalg.eigvalsh(A @ A.mT), lambda: A.clone().sigmoid_()],
)
def test_sums_and_functions_move_by_a_few_roundings(compute):
    assert 0 < float(amplified(compute).max()) < 30 * EPS * float(A.abs().sum()) ** 2


def test_single_roundings_are_the_same_everywhere():
    with AnotherOrder():
        other = (A + A.mT) * A / 3 - A.abs().sqrt()
    assert torch.equal(other, (A + A.mT) * A / 3 - A.abs().sqrt())


def test_a_condition_shows():
    """The inverse of a matrix of condition 1e6, by eigenvectors, is off by about 1e6 roundings."""
    q = torch.linalg.qr(A).Q
    bad = (q * torch.logspace(0, -6, 5, dtype=torch.float64)) @ q.mT

    def inverse():
        values, vectors = torch.linalg.eigh(bad)
        return (vectors / values) @ vectors.mT

    off = float(amplified(inverse).max()) / 1e6
    assert 1e4 * EPS < off < 1e7 * EPS
