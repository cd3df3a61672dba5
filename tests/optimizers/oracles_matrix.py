"""Oracles of the rules that treat each tensor as a matrix or as a layer."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytorch_optimizer
import torch

from tests.optimizers.comparison import Case, written


class Rows:
    """A torch optimizer that sees vectors as matrices of one row, stepped under a patch of what it is built on."""

    def __init__(self, params, make, patch):
        self.params, self.patch = params, patch
        self.rows = [p if p.ndim > 1 else p.view(1, -1) for p in params]
        self.optimizer = make(self.rows)

    def step(self, closure):
        for param, row in zip(self.params, self.rows, strict=True):
            row.grad = param.grad.view_as(row)
        with self.patch():
            self.optimizer.step()


def muon(**values):
    """torch iterates in bfloat16 whatever the parameters are: here what it takes for bfloat16 is a copy in float64."""
    return lambda params: Rows(
        params,
        lambda rows: torch.optim.Muon(rows, **values),
        lambda: mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone),
    )


def muon_exact(lr, mu, wd, nesterov, scale):
    def rule(w, blocks):
        m = np.zeros_like(w)
        while True:
            g = yield w
            m = mu * m + (1 - mu) * g
            d = (1 - mu) * g + mu * m if nesterov else m
            step = np.zeros_like(w)
            for part, shape in blocks:
                rows = d[part].reshape(shape if len(shape) > 1 else (1, -1))
                u, _, vt = np.linalg.svd(rows, full_matrices=False)
                step[part] = scale(*rows.shape) * (u @ vt).ravel()
            w = w - lr * wd * w - lr * step

    return written(rule)


def shampoo(eps, **values):
    return lambda params: pytorch_optimizer.Shampoo(params, matrix_eps=eps, **values)


def lars(**values):
    return lambda params: Rows(params, lambda rows: pytorch_optimizer.LARS(rows, **values), mock.MagicMock)


def lamb(lr, b1, b2, eps, wd, limit=np.inf):
    """Algorithm 2 of You et al. 2019, with phi(z) = min(z, limit)."""

    def rule(w, blocks):
        m, v, t = np.zeros_like(w), np.zeros_like(w), 0
        while True:
            g = yield w
            t += 1
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * w
            ratio = np.ones_like(w)
            for part, _ in blocks:
                size, length = np.linalg.norm(w[part]), np.linalg.norm(u[part])
                ratio[part] = min(size, limit) / length if size > 0 and length > 0 else 1.0
            w = w - lr * ratio * u

    return written(rule)


def lamb_library(**values):
    """pytorch_optimizer's corrects neither average for its start: a common factor, which the ratio of the norms takes out
    again where eps is too small to count; `adam_debias` is its word for leaving the step size alone too. It keeps the decay
    out of the ratio and cuts |w| at 10."""
    return lambda params: pytorch_optimizer.Lamb(params, adam_debias=True, **values)


def settled(matrices):
    """Eigenvectors by falling eigenvalue, where those of eigenvalue zero are the ones that a full QR adds to the others."""
    bases = []
    for matrix in matrices:
        if len(matrix) == 0:
            bases.append([])
            continue
        values, vectors = np.linalg.eigh(matrix.numpy())
        span = vectors[:, values > 1e-13 * values[-1]][:, ::-1]
        rest = np.linalg.qr(span, mode="complete")[0][:, span.shape[1] :]
        bases.append(torch.from_numpy(np.hstack([span, rest])))
    return bases


class SOAP:
    """pytorch_optimizer's, with the QR that it takes in float32 in float64, and one choice where eigenvectors are open."""

    def __init__(self, params, **values):
        self.optimizer = pytorch_optimizer.SOAP(params, **values)
        self.optimizer.get_orthogonal_matrix = settled

    def step(self, closure):
        with mock.patch.object(torch, "float32", torch.float64):
            self.optimizer.step()


def soap(**values):
    return lambda params: SOAP(params, **values)


CASES = [
    Case("muon", {"lr": 2e-3}, muon(lr=2e-3, weight_decay=0.0)),
    Case(
        "muon",
        {"lr": 5e-3, "momentum": 0.8, "nesterov": False, "steps": 3, "k": "match_rms_adamw", "weight_decay": 0.5},
        muon(lr=5e-3, momentum=0.8, nesterov=False, ns_steps=3, adjust_lr_fn="match_rms_adamw", weight_decay=0.5),
    ),
    Case(
        "muon",
        {"lr": 3e-3, "exact": True, "momentum": 0.9, "weight_decay": 0.2, "k": "none"},
        muon_exact(3e-3, 0.9, 0.2, True, lambda m, n: 1.0),
    ),
    Case(
        "muon",
        {"lr": 3e-3, "exact": True, "momentum": 0.6, "nesterov": False},
        muon_exact(3e-3, 0.6, 0.0, False, lambda m, n: max(1.0, m / n) ** 0.5),
    ),
    # A small eps magnifies rounding errors: eps^(-1/2) times in Shampoo, 1/eps times in SOAP, whose second gradient has
    # no part but rounding along the axes that the first had none along.
    Case("shampoo", {"eps": 1e-2}, shampoo(1e-2, lr=0.1)),
    Case("shampoo", {"lr": 0.03, "eps": 0.1, "weight_decay": 0.2}, shampoo(0.1, lr=0.03, weight_decay=0.2)),
    Case("soap", {"eps": 1e-4}, soap(eps=1e-4)),
    Case(
        "soap",
        {"lr": 0.01, "beta1": 0.8, "beta2": 0.9, "s": 0.7, "eps": 1e-3, "freq": 3, "weight_decay": 0.5},
        soap(lr=0.01, betas=(0.8, 0.9), shampoo_beta=0.7, eps=1e-3, precondition_frequency=3, weight_decay=0.5),
    ),
    # A vector's gradients leave all axes but one open, and the next ones, nearly along the first, settle them no better than
    # rounding: with a smaller eps a path is another one on every processor.
    Case(
        "soap",
        {"eps": 1.0, "precondition_1d": True, "freq": 2},
        soap(eps=1.0, precondition_1d=True, precondition_frequency=2),
    ),
    Case("lars", {}, lars(lr=1.0)),
    Case(
        "lars",
        {"lr": 0.5, "momentum": 0.6, "nesterov": True, "trust": 4e-3, "weight_decay": 0.3},
        lars(lr=0.5, momentum=0.6, nesterov=True, trust_coefficient=4e-3, weight_decay=0.3),
    ),
    Case("lamb", {"lr": 2e-3, "eps": 1e-30}, lamb_library(lr=2e-3, eps=1e-30)),
    Case(
        "lamb",
        {"lr": 1e-3, "beta1": 0.95, "beta2": 0.99, "eps": 1e-30},
        lamb_library(lr=1e-3, betas=(0.95, 0.99), eps=1e-30),
    ),
    Case("lamb", {"lr": 3e-3, "eps": 1e-2}, lamb(3e-3, 0.9, 0.999, 1e-2, 0.0)),
    Case(
        "lamb",
        {"lr": 5e-3, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "clip": 0.5, "weight_decay": 0.3},
        lamb(5e-3, 0.8, 0.95, 1e-3, 0.3, 0.5),
    ),
]
