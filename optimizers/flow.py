"""Gradient flow, dw/dt = -grad L(w), as a rule: one step follows it over a time of `lr`, as one step of descent would.

It is a reference for other rules rather than one of them: its steps cost as many gradients as its error and the curvature
ask for. Where the loss is smooth in pieces alone, as that of a ReLU network, the flow may slide along a crease between two
of them, which no step size resolves: the error is then allowed to grow, tenfold at a time, and is on record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes.explicit import followed
from optimizers.optimizer import Optimizer, Oracle
from optimizers.probes.probe import Memory, Moment, Probe, by_rule
from optimizers.stepper import State, Stepper
from optimizers.wrappers import Wrapper

TOLERANCE = 1e-8  # largest error of a substep, relative to the parameters, in float64
_ROUNDING = 10  # times the spacing of numbers: what float32 can do
_LOOSEST = 0.1  # a flow that cannot be followed to this error is given up
_FIRST_PRODUCTS = 20  # of the power iteration before the first step; one more before each later one
# Substeps that may be tried in one step, besides one for each 1 / curvature of time, of which stability takes a third: enough
# for a fast direction to come to rest; and once creases have made the error grow, less.
_TRIES, _TRIES_ON_CREASES = 150, 50


@dataclass(frozen=True)
class GradientFlow(Optimizer):
    """Explicit steps with a control of their error (see landscapes.explicit); NaN where a flow is given up.

    The state holds the vector of the power iteration, the next substep, and the errors allowed next and at most so far.
    """

    name, label = "gradient_flow", "Gradient flow"
    idea = "The path that infinitely small steps downhill would take."
    equation = r"\dot w = -\nabla L(w)"
    reference = "Dormand and Prince 1980, J. Comput. Appl. Math. 6"

    def init(self, params: Tensor) -> State:
        tol = torch.full_like(params[..., :1], tightest(params.dtype))
        return None, torch.zeros_like(tol), tol, tol

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        vector, *numbers = state
        vector, curvature = _steepest(params, vector, oracle)
        point = params.reshape(-1, params.shape[-1])
        substep, tol, worst = (one.reshape(-1) for one in numbers)
        lr, least = float(self.lr), tightest(params.dtype)
        substep = substep.where(substep > 0, min(lr, 0.1 / curvature) if curvature else lr)
        left = torch.full_like(tol, lr).where(worst <= _LOOSEST, 0)  # given up once, it is given up
        while bool((left > 0).any()):
            going = left > 0
            worst = torch.maximum(worst, tol).where(going, worst)
            tries = (_TRIES if bool((tol == least).all()) else _TRIES_ON_CREASES) + math.ceil(lr * curvature)
            point, left, substep, tried = followed(lambda at: oracle(at).grad, point, left, substep, tol, tries)
            # On a crease substeps are as long as the error allowed: ten times less takes ten times as many.
            easily = going & (left <= 0) & (10 * tried <= tries)
            tol = torch.where(left > 0, 10 * tol, torch.where(easily, (tol / 10).clamp_min(least), tol))
            lost = (left > 0) & (tol > _LOOSEST)
            worst, left = worst.where(~lost, math.inf), left.where(~lost, 0)
        point = point.where((worst <= _LOOSEST)[:, None], math.nan)
        kept = (one.reshape(params[..., :1].shape) for one in (substep, tol.clamp_max(_LOOSEST), worst))
        return point.reshape(params.shape), (vector, *kept)


def tightest(dtype: torch.dtype) -> float:
    """The error that a substep is held to where nothing forbids it, relative to the parameters."""
    return max(TOLERANCE, _ROUNDING * torch.finfo(dtype).eps)


def _steepest(params: Tensor, vector: Tensor | None, oracle: Oracle) -> tuple[Tensor, float]:
    """The vector of the power iteration after one more product, and the largest curvature (of all runs) as it sees it."""
    products = 1 if vector is not None else _FIRST_PRODUCTS
    vector = oracle.normal(params).expand_as(params) if vector is None else vector
    curvature = 0.0
    for _ in range(products):
        image = oracle.hvp(params, vector / vector.norm(dim=-1, keepdim=True))
        lengths = image.norm(dim=-1)
        usable = lengths.isfinite() & (lengths > 0)
        curvature = float(lengths.where(usable, 0).max())
        vector = image.where(usable.unsqueeze(-1), vector)
    return vector, curvature


@dataclass(frozen=True)
class FlowError(Probe):
    """Of gradient flow alone, and so in no list of probes."""

    name, label = "flow_error", "Error allowed to gradient flow"
    symbol = r"\varepsilon"
    reference = GradientFlow.reference
    help = "The largest error that a substep of gradient flow was allowed so far, relative to the parameters."

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        return by_rule(moment, _allowed)[..., 0], None


def _allowed(rule: Stepper, state: State) -> Tensor:
    while isinstance(rule, Wrapper):
        state, rule = rule.inner_state(state), rule.inner
    worst: Tensor = state[-1]
    return worst
