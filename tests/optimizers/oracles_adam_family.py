"""Oracles of Adam's relatives: what pytorch_optimizer has, its deviations taken out; the rest by hand, from the equations."""

from __future__ import annotations

import itertools

import numpy as np
import pytorch_optimizer
import torch

from tests.optimizers.comparison import Case, written


def _bare(kind):
    """`kind` without the 1e-15 that pytorch_optimizer adds inside the root."""

    class Bare(kind):
        @staticmethod
        def apply_ams_bound_foreach(ams_bound, squares, peaks, eps, _=0.0):
            return kind.apply_ams_bound_foreach(ams_bound, squares, peaks, eps, 0.0)

        @staticmethod
        def apply_ams_bound(ams_bound, exp_avg_sq, max_exp_avg_sq, eps, _=0.0):
            return kind.apply_ams_bound(ams_bound, exp_avg_sq, max_exp_avg_sq, eps, 0.0)

    return Bare


class Flat:
    """A torch optimizer on one flat vector, shown as the tensors of the layout: for rules that work on the whole run."""

    def __init__(self, params, build):
        self.params = params
        self.flat = torch.cat([p.reshape(-1) for p in params])
        self.optimizer = build([self.flat])

    def step(self, evaluate):
        evaluate()
        self.flat.grad = torch.cat([p.grad.reshape(-1) for p in self.params])
        self.optimizer.step()
        for p, part in zip(self.params, self.flat.split([p.numel() for p in self.params]), strict=True):
            p.copy_(part.view_as(p))


def ademamix(**values):
    return lambda params: pytorch_optimizer.AdEMAMix(params, weight_decouple=True, **values)


def diffgrad(**values):
    return lambda params: _bare(pytorch_optimizer.DiffGrad)(params, weight_decouple=False, **values)


def gravity(lr, alpha, beta, seed=0):
    """V0 is drawn by the runner's generator and set by hand; pytorch_optimizer would draw its own."""

    def build(params):
        optimizer = pytorch_optimizer.Gravity(params, lr=lr, alpha=0.0, beta=beta)
        noise = torch.randn(
            sum(p.numel() for p in params), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        for p, part in zip(params, noise.split([p.numel() for p in params]), strict=True):
            optimizer.state[p]["v"] = part.view_as(p) * alpha / lr
        return optimizer

    return build


def adabound(**values):
    return lambda params: _bare(pytorch_optimizer.AdaBound)(params, **values)


def grams(**values):
    return lambda params: pytorch_optimizer.Grams(params, **values)


def fadam(**values):
    double = {"momentum_dtype": torch.float64, "fim_dtype": torch.float64}
    return lambda params: pytorch_optimizer.FAdam(params, **double, **values)


def adafactor(**values):
    plain = {"betas": (None, 1 - 1e-12), "momentum_dtype": torch.float64}
    return lambda params: pytorch_optimizer.AdaFactor(params, **plain, **values)


def adan(**values):
    return lambda params: pytorch_optimizer.Adan(params, **values)


class LateDecay(pytorch_optimizer.ADOPT):
    """ADOPT as in the paper: its bound counts from 1, and the first call moves nothing, not even by decay."""

    def __init__(self, params, clip=True, **values):
        bound = (lambda step: (step - 1) ** 0.25) if clip else None
        super().__init__(params, clip_lambda=bound, weight_decouple=True, **values)

    def step(self, closure=None):
        (group,) = self.param_groups
        decay, group["weight_decay"] = group["weight_decay"], group["weight_decay"] if group.get("step") else 0.0
        super().step(closure)
        group["weight_decay"] = decay


def adopt(**values):
    return lambda params: LateDecay(params, **values)


def swats(**values):
    return lambda params: Flat(params, lambda flat: _bare(pytorch_optimizer.SWATS)(flat, **values))


def optimistic(lr, beta1, beta2, eps, r=None, ridge=0.0):
    """The algorithm of Wang et al. 2019; with r, its guess by regularised minimal polynomial extrapolation."""

    def extrapolated(grads):
        changes = np.diff(grads, axis=0)
        weights = np.linalg.inv(changes @ changes.T + ridge * np.eye(r)) @ np.ones(r)
        return sum(w * g for w, g in zip(weights / weights.sum(), grads[1:], strict=True))

    def rule(w, blocks):
        half, theta, guess, square, peak, seen = w, 0.0, 0.0, 0.0, 0.0, []
        while True:
            seen.append((yield w))
            last, theta = theta, beta1 * theta + (1 - beta1) * seen[-1]
            square = beta2 * square + (1 - beta2) * (seen[-1] - guess) ** 2
            peak = np.maximum(peak, square)
            guess = extrapolated(np.stack(seen[-r - 1 :])) if r and len(seen) > r else seen[-1]
            half = half - lr * theta / (np.sqrt(peak) + eps)
            w = half - lr * (beta1 * last + (1 - beta1) * guess) / (np.sqrt(peak) + eps)

    return written(rule)


def inertial(lr, alpha, beta, s, eps, wd=None):
    """INNAprop as Bolte et al. 2024 write it, in w and psi; with decay the authors' second form, in a momentum."""

    def rule(w, blocks):
        square, momentum, psi = 0.0, 0.0, (1 - alpha * beta) * w
        for step in itertools.count(1):
            g = yield w
            square = s * square + (1 - s) * g**2
            d = g / (np.sqrt(square / (1 - s**step)) + eps)
            if wd is None:
                psi = (1 - lr / beta) * psi + lr * (1 / beta - alpha) * w
                w = (1 + lr * (1 - alpha * beta) / (beta - lr)) * w - lr / (beta - lr) * psi - lr * beta * d
            else:
                rest = 1 - alpha * lr
                momentum = rest * momentum + lr**2 * (1 - alpha * beta) / rest * d
                w = (1 - lr * wd) * w - momentum - lr * (beta - lr) / rest * d

    return written(rule)


CASES = [
    Case("ademamix", {}, ademamix()),
    Case(
        "ademamix",
        {
            "lr": 0.01,
            "beta1": 0.8,
            "beta2": 0.95,
            "beta3": 0.99,
            "alpha": 2.0,
            "T": 60,
            "eps": 1e-3,
            "weight_decay": 0.3,
        },
        ademamix(lr=0.01, betas=(0.8, 0.95, 0.99), alpha=2.0, t_alpha_beta3=60, eps=1e-3, weight_decay=0.3),
    ),
    Case("diffgrad", {}, diffgrad()),
    Case(
        "diffgrad",
        {"lr": 0.02, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.3},
        diffgrad(lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3),
    ),
    Case("gravity", {"lr": 0.3, "alpha": 0.02}, gravity(0.3, 0.02, 0.9)),
    Case("gravity", {"lr": 0.01, "alpha": 0.05, "beta": 0.6}, gravity(0.01, 0.05, 0.6)),
    Case("adabound", {"final_lr": 2e-4}, adabound(final_lr=2e-4)),
    Case(
        "adabound",
        {"lr": 0.02, "final_lr": 1e-4, "gamma": 0.2, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3},
        adabound(lr=0.02, final_lr=1e-4, gamma=0.2, betas=(0.8, 0.95), eps=1e-3),
    ),
    Case("amsbound", {"final_lr": 2e-4}, adabound(final_lr=2e-4, ams_bound=True)),
    Case(
        "amsbound",
        {"lr": 0.02, "final_lr": 1e-4, "gamma": 0.1, "beta1": 0.7, "beta2": 0.6, "eps": 1e-3},
        adabound(lr=0.02, final_lr=1e-4, gamma=0.1, betas=(0.7, 0.6), eps=1e-3, ams_bound=True),
    ),
    Case("grams", {}, grams()),
    Case(
        "grams",
        {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.3},
        grams(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3),
    ),
    Case("fadam", {}, fadam()),
    Case(
        "fadam",
        {"lr": 0.005, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.3, "c": 0.5, "p": 0.4, "eps": 1e-2, "eps2": 1e-3},
        fadam(lr=0.005, betas=(0.8, 0.95), weight_decay=0.3, clip=0.5, p=0.4, eps=1e-2, eps_2=1e-3),
    ),
    Case("adafactor", {}, adafactor()),
    Case(
        "adafactor",
        {"decay": 0.5, "eps1": 1e-3, "eps2": 0.5, "d": 0.3, "weight_decay": 0.4},
        adafactor(decay_rate=-0.5, eps1=1e-3, eps2=0.5, clip_threshold=0.3, weight_decay=0.4),
    ),
    Case(
        "adafactor",
        {"lr": 5e-3, "relative_step": False, "weight_decay": 0.2},
        adafactor(lr=5e-3, relative_step=False, weight_decay=0.2),
    ),
    Case(
        "adafactor",
        {"lr": 2e-3, "relative_step": False, "scale_parameter": False},
        adafactor(lr=2e-3, relative_step=False, scale_parameter=False),
    ),
    Case("adan", {}, adan()),
    Case(
        "adan",
        {"lr": 0.01, "beta1": 0.9, "beta2": 0.7, "beta3": 0.95, "eps": 1e-3, "weight_decay": 0.5},
        adan(lr=0.01, betas=(0.9, 0.7, 0.95), eps=1e-3, weight_decay=0.5),
    ),
    Case(
        "adan",
        {"lr": 0.01, "weight_decay": 0.5, "no_prox": True},
        adan(lr=0.01, weight_decay=0.5, weight_decouple=True),
    ),
    Case("adopt", {}, adopt()),
    Case(
        "adopt",
        {"lr": 0.003, "beta1": 0.8, "beta2": 0.2, "eps": 1e-3, "weight_decay": 0.3},
        adopt(lr=0.003, betas=(0.8, 0.2), eps=1e-3, weight_decay=0.3),
    ),
    Case("adopt", {"lr": 0.003, "clip": False}, adopt(lr=0.003, clip=False)),
    Case("swats", {"atol": 1e-8, "rtol": 1e-6, "eps": 1e-6}, swats(eps=1e-6)),
    # The next two change over at the steps 2, 57, 2 and 2, never, 41 of the three problems; the one above never.
    Case(
        "swats",
        {"lr": 5e-3, "beta1": 0.5, "beta2": 0.8, "eps": 5e-3, "atol": 1e-8, "rtol": 5e-3},
        swats(lr=5e-3, betas=(0.5, 0.8), eps=5e-3),
    ),
    Case("swats", {"beta2": 0.99, "eps": 5e-3, "atol": 1e-8, "rtol": 5e-3}, swats(betas=(0.9, 0.99), eps=5e-3)),
    Case("opt_amsgrad", {}, optimistic(1e-3, 0.9, 0.99, 1e-8)),
    Case(
        "opt_amsgrad",
        {"lr": 0.01, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3},
        optimistic(0.01, 0.8, 0.9, 1e-3),
    ),
    Case(
        "opt_amsgrad",
        {"lr": 0.003, "eps": 1e-3, "guess": "rmpe", "r": 3, "ridge": 1.0},
        optimistic(0.003, 0.9, 0.99, 1e-3, r=3, ridge=1.0),
    ),
    Case("innaprop", {}, inertial(1e-3, 0.1, 0.9, 0.999, 1e-8)),
    Case("innaprop", {"lr": 0.003, "alpha": 2.0, "beta": 2.0}, inertial(0.003, 2.0, 2.0, 0.999, 1e-8)),
    Case(
        "innaprop",
        {"lr": 5e-3, "alpha": 0.5, "beta": 0.7, "s": 0.95, "eps": 1e-3, "weight_decay": 0.3},
        inertial(5e-3, 0.5, 0.7, 0.95, 1e-3, wd=0.3),
    ),
]
