"""Functions to regress on."""

from __future__ import annotations

import torch

from landscapes.data.source import Samples, Source


def _chebyshev(seed: int) -> Samples:
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    return Samples(x, 4 * x**3 - 3 * x)


def _polynomial(seed: int) -> Samples:
    """Coefficients in the Legendre basis, which is orthogonal, so that each degree weighs the same; unit variance."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(100, 1, generator=generator, dtype=torch.float64) - 1
    coefficients = torch.randn(_DEGREE, generator=generator, dtype=torch.float64)
    before, current, y = torch.ones_like(x), x, torch.zeros_like(x)
    for degree in range(1, _DEGREE + 1):
        y = y + coefficients[degree - 1] * (2 * degree + 1) ** 0.5 * current
        before, current = current, ((2 * degree + 1) * x * current - degree * before) / (degree + 1)
    return Samples(x, y / coefficients.norm())


_DEGREE = 5


def _teacher_student(seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    x, weight, out = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((500, 20), (5, 20), (1, 5))
    )
    return Samples(x, torch.tanh(x @ weight.T / 20**0.5) @ out.T / 5**0.5)


CHEBYSHEV = Source(
    "chebyshev", "20 equally spaced points of the Chebyshev polynomial 4x^3 - 3x on [-1, 1].",
    "Cohen et al. 2021, arXiv:2103.00065", (1,), 1, False, _chebyshev, lambda: 20,
)  # fmt: skip
POLYNOMIAL = Source(
    "polynomial", "100 points of a random polynomial of degree 5 on [-1, 1].", "folklore", (1,), 1, False,
    _polynomial, lambda: 100,
)  # fmt: skip
TEACHER_STUDENT = Source(
    "teacher_student", "What a random tanh network with 5 hidden units says about Gaussian inputs in 20 dimensions.",
    "Saad and Solla 1995, Phys. Rev. E 52", (20,), 1, False, _teacher_student, lambda: 500,
)  # fmt: skip
