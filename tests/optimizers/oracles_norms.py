"""Oracles of the rules that step by a norm: Lion's is a library's, the others' are their papers' equations."""

from __future__ import annotations

import numpy as np
import pytorch_optimizer

from tests.optimizers.comparison import Case, written


def lion(**values):
    return lambda params: pytorch_optimizer.Lion(params, **values)


def _polar(matrix):
    """U V' and the sum of the singular values, by the square root of a Gram matrix instead of an SVD."""
    short = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    values, vectors = np.linalg.eigh(short)
    inverse = vectors / np.sqrt(values) @ vectors.T
    polar = inverse @ matrix if matrix.shape[0] <= matrix.shape[1] else matrix @ inverse
    return polar, np.sqrt(values).sum()


def _per_block(x, blocks, scaled=False):
    """The direction, and the dual norm of each coordinate's block."""
    direction, size = np.zeros_like(x), np.zeros_like(x)
    for part, shape in blocks:
        matrix = x[part].reshape(shape if len(shape) == 2 else (1, -1))
        scale = np.sqrt(matrix.shape[0] / matrix.shape[1]) if scaled else 1.0
        # A row has one singular value: its length.
        polar, total = _polar(matrix) if len(matrix) > 1 else (matrix / np.linalg.norm(matrix), np.linalg.norm(matrix))
        direction[part], size[part] = scale * polar.ravel(), scale * total
    return direction, size


NORMS = {
    "l2": lambda x, blocks: (x / np.sqrt((x**2).sum()), np.sqrt((x**2).sum())),
    "linf": lambda x, blocks: (np.sign(x), np.abs(x).sum()),
    "l1": lambda x, blocks: (np.sign(x) * (np.arange(len(x)) == np.abs(x).argmax()), np.abs(x).max()),
    "spectral": _per_block,
    "rms_to_rms": lambda x, blocks: _per_block(x, blocks, scaled=True),
}


def steepest(lr, norm, mu=0.0, dual=False):
    """Bernstein and Newhouse 2024, proposition 1: the step of the norm's unit ball, times the dual norm or not."""

    def rule(w, blocks):
        m = np.zeros_like(w)
        while True:
            g = yield w
            m = mu * m + (1 - mu) * g
            direction, size = NORMS[norm](m, blocks)
            w = w - lr * direction * (size if dual else 1.0)

    return written(rule)


GRADIENTS = {
    "l1": lambda c, blocks: np.sign(c),
    "l2": lambda c, blocks: c / np.linalg.norm(c),
    "lp": lambda c, blocks, p: np.sign(c) * np.abs(c) ** (p - 1) / np.linalg.norm(c, p) ** (p - 1),
    "huber": lambda c, blocks, e: np.clip(c / e, -1, 1),
    "spectral": lambda c, blocks: _per_block(c, blocks)[0],
}


def lion_k(lr, K, b1=0.9, b2=0.99, wd=0.0, **shape):
    """Chen et al. 2023, arXiv:2310.05898, equation (3) with epsilon and gamma as b1 and b2."""

    def rule(w, blocks):
        m = np.zeros_like(w)
        while True:
            g = yield w
            w = w - lr * (GRADIENTS[K](b1 * m + (1 - b1) * g, blocks, **shape) + wd * w)
            m = b2 * m + (1 - b2) * g

    return written(rule)


def _steepest(lr, norm, mu=0.0, dual=False):
    ours = {"lr": lr, "norm": norm, "momentum": mu, "dual": dual}
    return Case("steepest", ours, steepest(lr, norm, mu, dual))


def _lion_k(lr, K, b1, b2, wd, **shape):
    ours = {"lr": lr, "K": K, "beta1": b1, "beta2": b2, "weight_decay": wd, **shape}
    return Case("lion_k", ours, lion_k(lr, K, b1, b2, wd, **shape))


CASES = [
    _steepest(1e-3, "l2"),
    _steepest(3e-4, "l2", 0.8, dual=True),
    _steepest(1e-3, "linf", 0.5),
    _steepest(1e-4, "linf", 0.5, dual=True),
    _steepest(1e-3, "l1"),
    _steepest(3e-4, "l1", 0.7, dual=True),
    _steepest(1e-3, "spectral", 0.5),
    _steepest(1e-4, "spectral", dual=True),
    _steepest(2e-3, "rms_to_rms"),
    _steepest(2e-4, "rms_to_rms", 0.3, dual=True),
    Case("lion", {"lr": 1e-3}, lion(lr=1e-3)),
    Case(
        "lion",
        {"lr": 2e-3, "beta1": 0.7, "beta2": 0.8, "weight_decay": 0.5},
        lion(lr=2e-3, betas=(0.7, 0.8), weight_decay=0.5),
    ),
    Case("lion_k", {"lr": 2e-3, "K": "l1", "beta2": 0.95}, lion(lr=2e-3, betas=(0.9, 0.95))),
    _lion_k(1e-3, "l2", 0.9, 0.99, 0.0),
    _lion_k(2e-3, "lp", 0.7, 0.9, 0.5, p=1.5),
    _lion_k(2e-3, "lp", 0.8, 0.9, 0.0, p=4.0),
    _lion_k(1e-3, "huber", 0.8, 0.9, 0.2, e=0.5),
    _lion_k(2e-3, "spectral", 0.8, 0.9, 0.3),
]
