"""What a torch.optim optimizer is stable against: its threshold, and the diagonal that it divides by.

To add an optimizer of your own, put its class into KNOWN: the rule of this project that it follows, at a group's settings,
and, where it preconditions, the diagonal P (the shape of the parameter) of the step w - lr * P^-1 m from its state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from landscapes import Layout
from optimizers import OPTIMIZERS, Optimizer

Group = Mapping[str, Any]  # one of optimizer.param_groups
State = Mapping[str, Any]  # optimizer.state of one parameter


class Known(NamedTuple):
    rule: Callable[[Group], Optimizer]
    divisor: Callable[[Group, State], Tensor] | None = None


@dataclass(frozen=True)
class Reading:
    """How an optimizer stands now. `scale` is P^-1/2 (dim,): its sharpness is that of scale * H * scale, which `threshold` bounds."""

    lr: float
    threshold: float | None
    text: str  # the threshold as a formula
    scale: Tensor | None  # None: the plain Hessian


def read(optimizer: torch.optim.Optimizer, named: Mapping[str, Tensor], layout: Layout) -> Reading:
    """The optimizer's threshold and scaling for the parameters `named`, in the order of `layout`.

    Groups with different step sizes count as scaled: the threshold is that of the first group.
    """
    groups = optimizer.param_groups
    lr = float(groups[0]["lr"])
    known = _known(optimizer)
    threshold, text = (None, "") if known is None or groups[0].get("maximize") else _threshold(known, groups[0])
    owner = {id(one): group for group in groups for one in group["params"]}
    divides = known is not None and known.divisor is not None
    alike = len(owner.keys() & {id(one) for one in named.values()}) == len(named)
    if not divides and alike and all(float(group["lr"]) == lr for group in groups):
        return Reading(lr, threshold, text, None)
    parts = []
    for block in layout.blocks:
        one = named[block.name]
        group, state = owner.get(id(one)), optimizer.state.get(one, {})
        divisor: Tensor | float | None = 1.0
        if group is None:  # nobody moves it
            divisor = math.inf
        elif known is not None and known.divisor is not None:
            begun = bool(state) and float(state.get("step", 1)) > 0  # some keep a state from the beginning
            divisor = known.divisor(group, state) if begun else None
        if divisor is None:  # before the first step
            return Reading(lr, threshold, text, None)
        share = 1.0 if group is None or lr == 0 else float(group["lr"]) / lr
        parts.append((share / (divisor + torch.zeros_like(one, dtype=torch.float32))).sqrt().flatten())
    return Reading(lr, threshold, text, torch.cat(parts))


def follows(optimizer: torch.optim.Optimizer) -> Optimizer | None:
    """The rule of this project that the optimizer follows; None if it is not known or its settings are out of range."""
    known = _known(optimizer)
    try:
        return None if known is None else known.rule(optimizer.param_groups[0])
    except (ValueError, TypeError):
        return None


def divides(optimizer: torch.optim.Optimizer) -> bool:
    """Does it divide by a diagonal, so that its sharpness is a preconditioned one?"""
    known = _known(optimizer)
    return known is not None and known.divisor is not None


def _known(optimizer: torch.optim.Optimizer) -> Known | None:
    return next((KNOWN[kind] for kind in type(optimizer).__mro__ if kind in KNOWN), None)


def _threshold(known: Known, group: Group) -> tuple[float | None, str]:
    try:
        rule = known.rule(group)
    except (ValueError, TypeError):  # settings that our rule does not allow
        return None, ""
    scaled = known.divisor is not None
    value = rule.preconditioned_threshold() if scaled else rule.stability_threshold()
    return (None if value is None else float(value)), rule.scaled_threshold if scaled else rule.threshold_text


def _made(name: str, **values: float) -> Optimizer:
    return OPTIMIZERS[name](**values)


def _sgd(group: Group) -> Optimizer:
    momentum, decay = float(group["momentum"]), float(group["weight_decay"])
    common = {"lr": float(group["lr"]), "weight_decay": decay}
    if momentum == 0:
        return _made("gd", **common)
    if group["nesterov"]:
        return _made("nag", momentum=momentum, **common)
    return _made("heavy_ball", momentum=momentum, dampening=float(group["dampening"]), **common)


# Weight decay is left out where a rule divides: its share of the threshold would differ from coordinate to coordinate.


def _adam(group: Group) -> Optimizer:
    beta1, beta2 = map(float, group["betas"])
    return _made("adam", lr=float(group["lr"]), beta1=beta1, beta2=beta2)


def _adam_divisor(group: Group, state: State) -> Tensor:
    square = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
    steps = float(state["step"])
    beta2: float = group["betas"][1]
    return (square / (1 - beta2**steps)).sqrt() + group["eps"]


def _adamax_divisor(group: Group, state: State) -> Tensor:
    return state["exp_inf"] + 0.0


def _rmsprop(group: Group) -> Optimizer:
    return _made("rmsprop", lr=float(group["lr"]), momentum=float(group["momentum"]))


def _rmsprop_divisor(group: Group, state: State) -> Tensor:
    square = state["square_avg"]
    if group["centered"]:
        square = (square - state["grad_avg"].square()).clamp_min(0)
    return square.sqrt() + group["eps"]


def _adagrad(group: Group) -> Optimizer:
    return _made("adagrad", lr=float(group["lr"]))


def _adagrad_divisor(group: Group, state: State) -> Tensor:
    slower = 1 + (float(state["step"]) - 1) * group["lr_decay"]
    return (state["sum"].sqrt() + group["eps"]) * slower


def _adadelta(group: Group) -> Optimizer:
    return _made("adadelta", lr=float(group["lr"]))


def _adadelta_divisor(group: Group, state: State) -> Tensor:
    return ((state["square_avg"] + group["eps"]) / (state["acc_delta"] + group["eps"])).sqrt()


KNOWN: dict[type[torch.optim.Optimizer], Known] = {
    torch.optim.SGD: Known(_sgd),
    torch.optim.Adam: Known(_adam, _adam_divisor),
    torch.optim.AdamW: Known(_adam, _adam_divisor),
    torch.optim.Adamax: Known(_adam, _adamax_divisor),
    torch.optim.RMSprop: Known(_rmsprop, _rmsprop_divisor),
    torch.optim.Adagrad: Known(_adagrad, _adagrad_divisor),
    torch.optim.Adadelta: Known(_adadelta, _adadelta_divisor),
}
