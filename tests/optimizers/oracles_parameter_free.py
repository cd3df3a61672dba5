"""Oracles of the schedule-free rules, whose parameters in training are y, and of Prodigy."""

from __future__ import annotations

import pytorch_optimizer
import torch

from tests.optimizers.comparison import Case


def schedule_free_sgd(**values):
    return lambda params: pytorch_optimizer.ScheduleFreeSGD(params, **values)


def schedule_free_adamw(**values):
    return lambda params: pytorch_optimizer.ScheduleFreeAdamW(params, **values)


class Wide:
    """A rule of pytorch_optimizer whose scalars are float64, as the parameters are: it makes them in torch's default dtype."""

    def __init__(self, rule):
        self.rule = rule

    def step(self, closure):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            self.rule.step()
        finally:
            torch.set_default_dtype(before)


def prodigy(**values):
    return lambda params: Wide(pytorch_optimizer.Prodigy(params, **values))


CASES = [
    Case("schedule_free_sgd", {"lr": 2e-4}, schedule_free_sgd(lr=2e-4)),
    Case(
        "schedule_free_sgd",
        {"lr": 1e-3, "b": 0.6, "weight_decay": 0.3, "warmup": 30, "r": 1.5, "power": 1.0},
        schedule_free_sgd(lr=1e-3, momentum=0.6, weight_decay=0.3, warmup_steps=30, r=1.5, weight_lr_power=1.0),
    ),
    Case("schedule_free_adamw", {}, schedule_free_adamw()),
    Case(
        "schedule_free_adamw",
        {"lr": 0.005, "b": 0.7, "beta2": 0.9, "eps": 1e-2, "weight_decay": 0.3, "warmup": 20, "r": 2.0, "power": 3.0},
        schedule_free_adamw(
            lr=0.005, betas=(0.7, 0.9), eps=1e-2, weight_decay=0.3, warmup_steps=20, r=2.0, weight_lr_power=3.0
        ),
    ),
    Case("prodigy", {}, prodigy()),
    Case(
        "prodigy",
        {
            "lr": 0.5,
            "beta1": 0.8,
            "beta2": 0.95,
            "d0": 1e-2,
            "coef": 0.7,
            "growth": 1.02,
            "eps": 1e-3,
            "debias": True,
            "weight_decay": 0.3,
        },
        prodigy(
            lr=0.5,
            betas=(0.8, 0.95),
            d0=1e-2,
            d_coef=0.7,
            growth_rate=1.02,
            eps=1e-3,
            bias_correction=True,
            weight_decay=0.3,
        ),
    ),
    Case(
        "prodigy",
        {"lr": 0.3, "d0": 1e-3, "safeguard_warmup": True},
        prodigy(lr=0.3, d0=1e-3, safeguard_warmup=True),
    ),
]
