"""Oracles of the accelerated rules that torch.optim lacks."""

from __future__ import annotations

import pytorch_optimizer

from tests.optimizers.comparison import Case, written


def sgdw(**values):
    return lambda params: pytorch_optimizer.SGDW(params, **values)


def nesterov_convex(lr, wd=0.0):
    """Su, Boyd and Candes 2014, arXiv:1503.01243: x_k = y_{k-1} - s grad(y_{k-1}), y_k = x_k + (k-1)/(k+2) (x_k - x_{k-1})."""

    def rule(y, blocks):
        x, k = y, 0
        while True:
            g = yield y
            k, before = k + 1, x
            x = y - lr * (g + wd * y)
            y = x + (k - 1) / (k + 2) * (x - before)

    return written(rule)


CASES = [
    Case("nag", {"lr": 1e-4, "convex": True}, nesterov_convex(1e-4)),
    Case("nag", {"lr": 2e-4, "convex": True, "weight_decay": 0.2}, nesterov_convex(2e-4, 0.2)),
    Case("sgdw", {"lr": 1e-4}, sgdw(lr=1e-4, momentum=0.9, weight_decay=1e-2)),
    Case(
        "sgdw",
        {"lr": 2e-4, "momentum": 0.7, "dampening": 0.4, "weight_decay": 20.0},
        sgdw(lr=2e-4, momentum=0.7, dampening=0.4, weight_decay=20.0),
    ),
    Case(
        "sgdw",
        {"lr": 2e-4, "momentum": 0.6, "nesterov": True, "weight_decay": 10.0},
        sgdw(lr=2e-4, momentum=0.6, nesterov=True, weight_decay=10.0),
    ),
]
