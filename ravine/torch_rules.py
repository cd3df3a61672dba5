"""What a torch.optim optimizer is stable against: its threshold, and the diagonal that it divides by.

To add an optimizer of your own, put its class into KNOWN: the rule of this project that it follows, at a group's settings,
and, where it preconditions, the diagonal P (the shape of the parameter) of the step w - lr * P^-1 m from its state.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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

    `scale` is P^-1/2 (dim,) and `decay` the weight decay (dim,) that is added to the gradient: its sharpness is that of
    scale * (H + decay) * scale, which `threshold` bounds. None is one and zero; where both are None, the sharpness is that of
    the plain Hessian.
    """

    lr: float | None  # None where it has none
    threshold: float | None
    text: str  # the threshold as a formula
    scale: Tensor | None
    decay: Tensor | None = None
    note: str = ""  # why there is no threshold, if there is none


def read(
    optimizer: torch.optim.Optimizer,
    named: Mapping[str, Tensor],
    layout: Layout,
    groups: Sequence[Group] | None = None,
) -> Reading:
    """The optimizer's threshold and scaling for the parameters `named`, in the order of `layout`.

    `groups` are its parameter groups with the settings to go by, by default those of now: a schedule may have changed them
    since the last step. Groups that differ in step size eta_g, or in the weight decay that is added to the gradient, count as
    scaled. Where D holds eta_g / eta, w <- w - eta D m is the rule of one step size eta in the coordinates D^-1/2 w, momentum
    included: the threshold is exact, and that of the first group that moves. Groups that differ in momentum have no one
    threshold.
    """
    groups = optimizer.param_groups if groups is None else groups
    owner = {id(one): group for group in groups for one in group["params"]}
    moving = [owner[id(one)] for one in named.values() if id(one) in owner] or list(groups)
    first = next((group for group in moving if _step_size(group)), moving[0])
    lr, known = _step_size(first), _known(optimizer)
    divides = known is not None and known.divisor is not None
    decays = known is not None and any(_coupled_decay(group) > 0 for group in moving)
    same = len(moving) == len(named) and all(
        _step_size(group) == lr and (not decays or _coupled_decay(group) == _coupled_decay(first)) for group in moving
    )
    # SGD's threshold has the part of a decay that all parameters share; any other decay is added to the Hessian.
    inside = same and not divides
    threshold, text, note = _common(optimizer, known, moving, first, inside)
    if inside or known is None:
        return Reading(lr, threshold, text, None, note=note)
    parts, added = [], []
    for block in layout.blocks:
        one = named[block.name]
        group, state = owner.get(id(one)), optimizer.state.get(one, {})
        divisor: Tensor | float | None = 1.0
        if group is None:  # nobody moves it
            divisor = math.inf
        elif known.divisor is not None:
            begun = bool(state) and float(state.get("step", 1)) > 0  # some keep a state from the beginning
            divisor = known.divisor(group, state) if begun else None
        if divisor is None:  # before the first step
            return Reading(lr, threshold, text, None, note=note)
        share = (_step_size(group) or 0.0) / lr if group is not None and lr else 1.0
        like = torch.zeros_like(one, dtype=torch.float32)
        parts.append((share / (divisor + like)).sqrt().flatten())
        added.append((like + (0.0 if group is None else _coupled_decay(group))).flatten())
    return Reading(lr, threshold, text, torch.cat(parts), torch.cat(added) if decays else None, note)


def moves(optimizer: torch.optim.Optimizer, named: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many of the parameters `named` the optimizer moves, in tensors and in numbers."""
    held = _held(optimizer)
    own = [one for one in named.values() if id(one) in held]
    return len(own), sum(one.numel() for one in own)


def besides(optimizer: torch.optim.Optimizer, known: Iterable[Tensor]) -> int:
    """How many tensors the optimizer moves that are none of these."""
    return len(_held(optimizer) - {id(one) for one in known})


def _held(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(one) for group in optimizer.param_groups for one in group["params"]}


def _step_size(group: Group) -> float | None:
    """Of a group; None where it has none, as in optimizers that find it themselves."""
    lr = group.get("lr")
    return float(lr) if isinstance(lr, (int, float, Tensor)) else None


def _decay(group: Group) -> float:
    return float(group.get("weight_decay") or 0.0)


def _coupled_decay(group: Group) -> float:
    """The weight decay that the optimizer adds to the gradient."""
    return 0.0 if group.get("decoupled_weight_decay") else _decay(group)


def _common(
    optimizer: torch.optim.Optimizer, known: Known | None, moving: Sequence[Group], first: Group, inside: bool
) -> tuple[float | None, str, str]:
    """The threshold of all groups at the step size of the first, as a formula, and why there is none.

    `inside`: is the decay that is added to the gradient in the threshold?
    """
    name = type(optimizer).__name__
    if known is None:
        kind = next((kind.__name__ for kind in type(optimizer).__mro__[1:] if kind in KNOWN), None)
        own = f": its step is not that of {kind}" if kind else ""
        return None, "", f"No stability threshold is known for {name}{own}."
    if any(group.get("maximize") for group in moving):
        return None, "", f"{name} is to maximize: no stability threshold is known for that."
    shared = {"lr": first.get("lr")}
    settings = [
        {**group, **shared} | ({} if inside or group.get("decoupled_weight_decay") else {"weight_decay": 0.0})
        for group in moving
    ]
    found = {_threshold(known, group) for group in settings}
    rules = {_rule(known, {**group, "weight_decay": 0.0}) for group in settings}
    # Where a rule divides, what its threshold does not depend on is in its divisor, each group's own.
    differ = len({_threshold(known, {**group, "weight_decay": 0.0}) for group in settings}) > 1
    if differ or (known.divisor is None and len(rules) > 1):
        why = f"The groups of {name} differ in momentum or damping: no one stability threshold holds for them."
        return None, "", why
    # Groups that differ in a decay that shrinks the weights: the least threshold is safe, and all are close.
    threshold, text = min(found, key=lambda one: math.inf if one[0] is None else one[0])
    if threshold is None:
        return None, "", f"No stability threshold is known for {name} with these settings."
    return threshold, text, ""


def follows(optimizer: torch.optim.Optimizer) -> Optimizer | None:
    """The rule of this project that the optimizer follows; None if it is not known or its settings are out of range."""
    known = _known(optimizer)
    return None if known is None else _rule(known, optimizer.param_groups[0])


def divides(optimizer: torch.optim.Optimizer) -> bool:
    """Does it divide by a diagonal, so that its sharpness is a preconditioned one?"""
    known = _known(optimizer)
    return known is not None and known.divisor is not None


def _known(optimizer: torch.optim.Optimizer) -> Known | None:
    """What is known of its class, or of the one whose `step` it takes over as it is: another step is another rule."""
    own = _bare(optimizer.step)
    for kind in type(optimizer).__mro__:
        if kind in KNOWN:
            return KNOWN[kind] if _bare(kind.step) is own else None
    return None


def _bare(step: Any) -> Any:
    """The function as it was written, without what torch, a schedule or a profiler has wrapped around it."""
    bare = inspect.unwrap(step)
    return getattr(bare, "__func__", bare)


def _rule(known: Known, group: Group) -> Optimizer | None:
    try:
        return known.rule(group)
    except (ValueError, TypeError, KeyError):  # settings that our rule does not allow
        return None


def _threshold(known: Known, group: Group) -> tuple[float | None, str]:
    rule = _rule(known, group)
    if rule is None:
        return None, ""
    scaled = known.divisor is not None
    value = rule.preconditioned_threshold() if scaled else rule.stability_threshold()
    return (None if value is None else float(value)), rule.scaled_threshold_text if scaled else rule.threshold_text


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


# Where a rule divides, weight decay that is added to the gradient is left out: P^-1/2 (H + decay) P^-1/2 has it.


def _adam(group: Group) -> Optimizer:
    beta1, beta2 = map(float, group["betas"])
    common = {"lr": float(group["lr"]), "beta1": beta1, "beta2": beta2}
    if group.get("decoupled_weight_decay"):
        return _made("adamw", weight_decay=_decay(group), **common)
    return _made("adam", **common)


def _nadam(group: Group) -> Optimizer:
    if group.get("decoupled_weight_decay") and _decay(group) > 0:
        raise ValueError("NAdam whose decay bypasses the division is no rule of ours.")
    beta1, beta2 = map(float, group["betas"])
    return _made("nadam", lr=float(group["lr"]), beta1=beta1, beta2=beta2, psi=float(group["momentum_decay"]))


def _adamax(group: Group) -> Optimizer:
    beta1, beta2 = map(float, group["betas"])
    return _made("adamax", lr=float(group["lr"]), beta1=beta1, beta2=beta2)


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
    torch.optim.Adamax: Known(_adamax, _adamax_divisor),
    torch.optim.NAdam: Known(_nadam, _adam_divisor),
    torch.optim.RMSprop: Known(_rmsprop, _rmsprop_divisor),
    torch.optim.Adagrad: Known(_adagrad, _adagrad_divisor),
    torch.optim.Adadelta: Known(_adadelta, _adadelta_divisor),
}
