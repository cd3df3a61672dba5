"""Every data set by its name."""

from __future__ import annotations

from landscapes.data.algorithmic import ADDING, MODULAR_ADDITION, SPARSE_PARITY
from landscapes.data.functions import CHEBYSHEV, POLYNOMIAL, TEACHER_STUDENT
from landscapes.data.mnist1d import MNIST1D
from landscapes.data.points import BLOBS, CIRCLES, SPIRALS, TWO_MOONS
from landscapes.data.real import CIFAR10, DIGITS, FASHION_MNIST, MNIST
from landscapes.data.source import Source

DATA: dict[str, Source] = {
    source.name: source
    for source in (
        DIGITS,
        MNIST1D,
        TWO_MOONS,
        CIRCLES,
        SPIRALS,
        BLOBS,
        SPARSE_PARITY,
        MODULAR_ADDITION,
        CHEBYSHEV,
        POLYNOMIAL,
        TEACHER_STUDENT,
        ADDING,
        MNIST,
        FASHION_MNIST,
        CIFAR10,
    )
}
