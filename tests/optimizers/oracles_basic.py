"""Oracles of the plain, accelerated, adaptive, sign and sharpness-aware rules that torch.optim or pytorch_optimizer has."""

from __future__ import annotations

import pytorch_optimizer
import torch

from tests.optimizers.comparison import Case


def sgd(**values):
    return lambda params: torch.optim.SGD(params, **values)


def adam(**values):
    return lambda params: torch.optim.Adam(params, **values)


def adamw(**values):
    return lambda params: torch.optim.AdamW(params, **values)


def adagrad(**values):
    return lambda params: torch.optim.Adagrad(params, **values)


def rmsprop(**values):
    return lambda params: torch.optim.RMSprop(params, **values)


def signsgd(**values):
    return lambda params: pytorch_optimizer.SignSGD(params, **values)


def sam(**values):
    return lambda params: pytorch_optimizer.SAM(params, torch.optim.SGD, **values)


# Step sizes are such that no path becomes unstable or starts to zigzag about the minimum: there rounding errors grow by
# orders of magnitude and nothing can be compared.
CASES = [
    Case("gd", {"lr": 2e-4}, sgd(lr=2e-4)),
    Case("gd", {"lr": 4e-4, "weight_decay": 0.3}, sgd(lr=4e-4, weight_decay=0.3)),
    Case("heavy_ball", {"lr": 1e-4}, sgd(lr=1e-4, momentum=0.9)),
    Case(
        "heavy_ball",
        {"lr": 2e-4, "momentum": 0.7, "dampening": 0.4, "weight_decay": 0.2},
        sgd(lr=2e-4, momentum=0.7, dampening=0.4, weight_decay=0.2),
    ),
    Case("nag", {"lr": 1e-4}, sgd(lr=1e-4, momentum=0.9, nesterov=True)),
    Case(
        "nag",
        {"lr": 2e-4, "momentum": 0.6, "weight_decay": 0.2},
        sgd(lr=2e-4, momentum=0.6, weight_decay=0.2, nesterov=True),
    ),
    Case("adagrad", {"lr": 0.1}, adagrad(lr=0.1)),
    Case(
        "adagrad",
        {"lr": 0.3, "eps": 1e-3, "acc0": 0.5, "decay": 0.05, "weight_decay": 0.2},
        adagrad(lr=0.3, eps=1e-3, initial_accumulator_value=0.5, lr_decay=0.05, weight_decay=0.2),
    ),
    Case("rmsprop", {}, rmsprop()),
    Case(
        "rmsprop",
        {"lr": 1e-3, "a": 0.9, "eps": 1e-4, "momentum": 0.8, "centered": True, "weight_decay": 0.1},
        rmsprop(lr=1e-3, alpha=0.9, eps=1e-4, momentum=0.8, centered=True, weight_decay=0.1),
    ),
    Case("rmsprop", {"lr": 2e-3, "a": 0.95, "momentum": 0.5}, rmsprop(lr=2e-3, alpha=0.95, momentum=0.5)),
    Case("adam", {}, adam()),
    Case(
        "adam",
        {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.2},
        adam(lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2),
    ),
    Case("adamw", {}, adamw()),
    Case(
        "adamw",
        {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.5},
        adamw(lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.5),
    ),
    Case("amsgrad", {"lr": 0.01}, adam(lr=0.01, amsgrad=True)),
    Case(
        "amsgrad",
        {"lr": 0.05, "beta1": 0.7, "beta2": 0.6, "eps": 1e-3, "weight_decay": 0.2},
        adam(lr=0.05, betas=(0.7, 0.6), eps=1e-3, weight_decay=0.2, amsgrad=True),
    ),
    Case("signsgd", {"lr": 0.01}, signsgd(lr=0.01)),
    Case(
        "signsgd",
        {"lr": 0.003, "momentum": 0.0, "weight_decay": 0.5},
        signsgd(lr=0.003, momentum=0.0, weight_decay=0.5),
    ),
    Case("sam", {"lr": 2e-4}, sam(lr=2e-4, rho=0.05)),
    Case("sam", {"lr": 1e-4, "rho": 0.3, "adaptive": True}, sam(lr=1e-4, rho=0.3, adaptive=True)),
]
