"""Oracles of the relatives of AdaGrad and Adam that oracles_basic.py does not hold."""

from __future__ import annotations

import numpy as np
import pytorch_optimizer
import torch

from tests.optimizers.comparison import Case, written


def adadelta(**values):
    return lambda params: torch.optim.Adadelta(params, **values)


def madgrad(lr, eps=1e-6, **values):
    """pytorch_optimizer adds eps to the step size."""
    return lambda params: pytorch_optimizer.MADGRAD(params, lr=lr - eps, eps=eps, **values)


def adamax(**values):
    return lambda params: torch.optim.Adamax(params, **values)


def nadam(**values):
    """torch keeps the product of its momenta in the default dtype: in float64 only if that is."""

    def factory(params):
        optimizer = torch.optim.NAdam(params, **values)
        step = optimizer.step

        def wide(closure):
            default = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)
            try:
                step(closure)
            finally:
                torch.set_default_dtype(default)

        optimizer.step = wide
        return optimizer

    return factory


def adagrad_norm(lr, b0):
    """Ward, Wu and Bottou 2018, algorithm 1: b_j^2 = b_{j-1}^2 + |G_{j-1}|^2, x_j = x_{j-1} - eta / b_j G_{j-1}."""

    def rule(x, blocks):
        b = b0
        while True:
            g = yield x
            b = np.hypot(b, np.linalg.norm(g))
            x = x - lr / b * g

    return written(rule)


CASES = [
    Case("adagrad_norm", {"lr": 0.3}, adagrad_norm(0.3, 0.1)),
    Case("adagrad_norm", {"lr": 1.0, "b0": 5.0}, adagrad_norm(1.0, 5.0)),
    Case("adadelta", {}, adadelta()),
    Case("adadelta", {"lr": 0.5, "r": 0.95, "eps": 1e-4}, adadelta(lr=0.5, rho=0.95, eps=1e-4)),
    Case("madgrad", {}, madgrad(1e-2)),
    Case(
        "madgrad",
        {"lr": 0.05, "momentum": 0.7, "eps": 1e-3, "weight_decay": 0.2},
        madgrad(0.05, eps=1e-3, momentum=0.7, weight_decay=0.2),
    ),
    Case("madgrad", {"lr": 3e-3, "momentum": 0.0, "eps": 0.0}, madgrad(3e-3, eps=0.0, momentum=0.0)),
    Case("adamax", {}, adamax()),
    Case(
        "adamax",
        {"lr": 0.01, "beta1": 0.7, "beta2": 0.9, "eps": 1e-2},
        adamax(lr=0.01, betas=(0.7, 0.9), eps=1e-2),
    ),
    Case("nadam", {}, nadam()),
    Case(
        "nadam",
        {"lr": 0.005, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "psi": 0.3},
        nadam(lr=0.005, betas=(0.8, 0.95), eps=1e-3, momentum_decay=0.3),
    ),
]
