"""Oracles of the rules that estimate the Hessian's diagonal: both are given the same random vectors."""

from __future__ import annotations

import pytorch_optimizer
import torch

from tests.optimizers.comparison import Case


def normal(generator, dim):
    return torch.randn(dim, generator=generator, dtype=torch.float64)


def signs(generator, dim):
    return 2 * torch.randint(0, 2, (dim,), generator=generator, dtype=torch.float64) - 1


class Estimated:
    """A rule of pytorch_optimizer, handed z (H z) with the dense Hessian H and z from the seed that `run` starts from.

    `draw` makes one z, None stands for the true diagonal; a mean is taken over `n` draws, every `every` steps.
    """

    def __init__(self, params, rule, draw, n=1, every=1):
        self.params, self.rule, self.draw, self.n, self.every = params, rule, draw, n, every
        self.generator, self.steps = torch.Generator().manual_seed(0), 0

    def step(self, closure):
        estimate = None
        if self.steps % self.every == 0:
            hessian = closure.hessian()
            if self.draw is None:
                flat = hessian.diagonal()
            else:
                draws = [self.draw(self.generator, len(hessian)) for _ in range(self.n)]
                flat = sum(z * (hessian @ z) for z in draws) / self.n
            parts = flat.split([p.numel() for p in self.params])
            estimate = [part.view_as(p) for part, p in zip(parts, self.params, strict=True)]
        self.rule.step(hessian=estimate)
        self.steps += 1


def adahessian(draw=signs, n=1, **values):
    return lambda params: Estimated(params, pytorch_optimizer.AdaHessian(params, **values), draw, n)


def sophia_h(lr, gamma, draw, k, eps=1e-12, weight_decay=0.0, **values):
    """pytorch_optimizer clips m / max(h, eps) at p where the paper clips m / max(gamma h, eps) at 1."""

    def build(params):
        scaled = {"lr": lr / gamma, "p": gamma, "eps": eps / gamma, "weight_decay": weight_decay * gamma}
        rule = pytorch_optimizer.SophiaH(params, **scaled, update_period=k, **values)
        return Estimated(params, rule, draw, every=k)

    return build


CASES = [
    Case("adahessian", {"lr": 0.01}, adahessian(lr=0.01, eps=1e-4)),
    Case(
        "adahessian",
        {"lr": 0.02, "beta1": 0.8, "beta2": 0.95, "eps": 0.1, "k": 0.7, "n": 3, "weight_decay": 0.3},
        adahessian(n=3, lr=0.02, betas=(0.8, 0.95), eps=0.1, hessian_power=0.7, weight_decay=0.3),
    ),
    Case("adahessian", {"lr": 0.01, "exact": True}, adahessian(draw=None, lr=0.01, eps=1e-4)),
    Case("sophia_h", {}, sophia_h(6e-4, 0.01, normal, 10, betas=(0.96, 0.99))),
    Case(
        "sophia_h",
        {
            "lr": 0.002,
            "beta1": 0.9,
            "beta2": 0.8,
            "gamma": 2.0,
            "eps": 1e-3,
            "k": 3,
            "noise": "signs",
            "weight_decay": 0.5,
        },
        sophia_h(0.002, 2.0, signs, 3, eps=1e-3, weight_decay=0.5, betas=(0.9, 0.8)),
    ),
]
