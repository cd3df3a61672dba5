"""What a torch.optim optimizer is stable against: its threshold, and the diagonal that it divides by.

To add an optimizer of your own, put its class into KNOWN: the rule of this project that it follows, at a group's settings,
and, where it preconditions, the diagonal P (the shape of the parameter) of the step w - lr * P^-1 m from its state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    """How an optimizer stands now.

    `scale` is P^-1/2 (dim,) and `decay` the weight decay (dim,): its sharpness is that of scale * (H + decay) * scale, which
    `threshold` bounds. None is one and zero; where both are None, the sharpness is that of the plain Hessian.
    """

    lr: float
    threshold: float | None
    text: str  # the threshold as a formula
    scale: Tensor | None
    decay: Tensor | None = None
    note: str = ""  # why there is no threshold, if there is none


def read(optimizer: torch.optim.Optimizer, named: Mapping[str, Tensor], layout: Layout) -> Reading:
    """The optimizer's threshold and scaling for the parameters `named`, in the order of `layout`.

    Groups that differ in step size eta_g, or in the weight decay that SGD adds to the gradient, count as scaled. Where D holds
    eta_g / eta, w <- w - eta D m is the rule of one step size eta in the coordinates D^-1/2 w, momentum included: the
    threshold is exact, and that of the first group that moves. Groups that differ in momentum have no one threshold.
    """
    owner = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    moving = [owner[id(one)] for one in named.values() if id(one) in owner] or optimizer.param_groups
    first = next((group for group in moving if float(group["lr"]) > 0), moving[0])
    lr, known = float(first["lr"]), _known(optimizer)
    divides = known is not None and known.divisor is not None
    decays = known is not None and not divides and any(float(group["weight_decay"]) > 0 for group in moving)
    same = len(moving) == len(named) and all(
        float(group["lr"]) == lr and (not decays or group["weight_decay"] == first["weight_decay"]) for group in moving
    )
    threshold, text, note = _common(optimizer, known, moving, first if same else {**first, "weight_decay": 0.0})
    if not divides and same:
        return Reading(lr, threshold, text, None, note=note)
    parts, added = [], []
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
            return Reading(lr, threshold, text, None, note=note)
        share = 1.0 if group is None or lr == 0 else float(group["lr"]) / lr
        like = torch.zeros_like(one, dtype=torch.float32)
        parts.append((share / (divisor + like)).sqrt().flatten())
        added.append((like + (float(group["weight_decay"]) if decays and group is not None else 0.0)).flatten())
    return Reading(lr, threshold, text, torch.cat(parts), torch.cat(added) if decays else None, note)


def _common(
    optimizer: torch.optim.Optimizer, known: Known | None, moving: Sequence[Group], like: Group
) -> tuple[float | None, str, str]:
    """The threshold of all groups at the step size and decay of `like`, as a formula, and why there is none."""
    name = type(optimizer).__name__
    unknown = f"No stability threshold is known for {name} with these settings."
    if known is None or any(group.get("maximize") for group in moving):
        return None, "", unknown
    shared = {key: like[key] for key in ("lr", "weight_decay") if key in like}
    thresholds = {_threshold(known, {**group, **shared}) for group in moving}
    rules = {_rule(known, {**group, **shared}) for group in moving}
    # Where a rule divides, what its threshold does not depend on is in its divisor, each group's own.
    if len(thresholds) > 1 or (known.divisor is None and len(rules) > 1):
        return (
            None,
            "",
            f"The groups of {name} differ in momentum or damping: no one stability threshold holds for them.",
        )
    threshold, text = thresholds.pop()
    return threshold, text, unknown if threshold is None else ""


def follows(optimizer: torch.optim.Optimizer) -> Optimizer | None:
    """The rule of this project that the optimizer follows; None if it is not known or its settings are out of range."""
    known = _known(optimizer)
    return None if known is None else _rule(known, optimizer.param_groups[0])


def divides(optimizer: torch.optim.Optimizer) -> bool:
    """Does it divide by a diagonal, so that its sharpness is a preconditioned one?"""
    known = _known(optimizer)
    return known is not None and known.divisor is not None


def _known(optimizer: torch.optim.Optimizer) -> Known | None:
    return next((KNOWN[kind] for kind in type(optimizer).__mro__ if kind in KNOWN), None)


def _rule(known: Known, group: Group) -> Optimizer | None:
    try:
        return known.rule(group)
    except (ValueError, TypeError):  # settings that our rule does not allow
        return None


def _threshold(known: Known, group: Group) -> tuple[float | None, str]:
    rule = _rule(known, group)
    if rule is None:
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
