"""Gradient flow, dw/dt = -grad L(w), as a rule: one step follows it over a time of `lr`, as one step of descent would.

It is a reference for other rules rather than one of them: its steps cost as many gradients as the curvature asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from optimizers.optimizer import Optimizer, Oracle
from optimizers.stepper import State

_REACH = 2.0  # largest curvature times substep; the scheme is stable up to 2.78, and accurate below
_SAFETY = 1.15  # the largest curvature is estimated from below
_FIRST_PRODUCTS = 20  # of the power iteration before the first step; one more before each later one


@dataclass(frozen=True)
class GradientFlow(Optimizer):
    """The classical Runge-Kutta scheme, in as many equal substeps as keep it stable and accurate."""

    name, label = "gradient_flow", "Gradient flow"
    idea = "The path that infinitely small steps downhill would take."
    equation = r"\dot w = -\nabla L(w)"
    reference = "Kutta 1901, Z. Math. Phys. 46"

    def init(self, params: Tensor) -> State:
        return (None,)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (vector,) = state
        products = 1 if vector is not None else _FIRST_PRODUCTS
        vector = oracle.normal(params).expand_as(params) if vector is None else vector
        curvature = 0.0
        for _ in range(products):
            image = oracle.hvp(params, vector / vector.norm(dim=-1, keepdim=True))
            lengths = image.norm(dim=-1)
            usable = lengths.isfinite() & (lengths > 0)
            curvature = float(lengths.where(usable, 0).max())
            vector = image.where(usable.unsqueeze(-1), vector)
        substeps = max(1, math.ceil(float(self.lr) * _SAFETY * curvature / _REACH))
        time = self.lr / substeps
        for _ in range(substeps):
            first = oracle(params).grad
            second = oracle(params - time / 2 * first).grad
            third = oracle(params - time / 2 * second).grad
            fourth = oracle(params - time * third).grad
            params = params - time / 6 * (first + 2 * second + 2 * third + fourth)
        return params, (vector,)
