"""Oracles of the rules that project out the radial part of a step."""

from __future__ import annotations

import pytorch_optimizer

from tests.optimizers.comparison import Case


def sgdp(**values):
    return lambda params: pytorch_optimizer.SGDP(params, **values)


def adamp(**values):
    return lambda params: pytorch_optimizer.AdamP(params, **values)


# On the matrix problem, delta = 2 takes all rows for scale-invariant; 1.7 for AdamP now the rows, now the whole, now nothing.
CASES = [
    Case("sgdp", {"lr": 1e-4}, sgdp(lr=1e-4, momentum=0.9)),
    Case(
        "sgdp",
        {"lr": 2e-4, "momentum": 0.7, "dampening": 0.4, "delta": 2.0, "wd_ratio": 0.3, "weight_decay": 5.0},
        sgdp(lr=2e-4, momentum=0.7, dampening=0.4, delta=2.0, wd_ratio=0.3, weight_decay=5.0),
    ),
    Case(
        "sgdp",
        {"lr": 2e-4, "momentum": 0.6, "nesterov": True, "delta": 1.9, "eps": 1e-2, "weight_decay": 2.0},
        sgdp(lr=2e-4, momentum=0.6, nesterov=True, delta=1.9, eps=1e-2, weight_decay=2.0),
    ),
    Case("adamp", {}, adamp()),
    Case(
        "adamp",
        {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "delta": 2.0, "wd_ratio": 0.3, "weight_decay": 0.5},
        adamp(lr=0.01, betas=(0.8, 0.95), delta=2.0, wd_ratio=0.3, weight_decay=0.5),
    ),
    Case(
        "adamp",
        {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "nesterov": True, "delta": 1.7, "eps": 1e-3, "weight_decay": 0.2},
        adamp(lr=0.01, betas=(0.8, 0.95), nesterov=True, delta=1.7, eps=1e-3, weight_decay=0.2),
    ),
]
