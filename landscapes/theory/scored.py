"""Means over samples of a term of a score, where the score is linear in the input: their derivatives in closed form.

With scores s_i = x_i . p(w) of coefficients p that depend on the parameters w, and terms t(s_i, y_i), the chain rule gives
gradient J^T c with c = mean t' x, and Hessian J^T (mean t'' x x^T) J + sum of c_k times the Hessian of p_k; J = dp/dw.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from landscapes.theory.model import FiniteSum, scores


class Term(NamedTuple):
    """A term and its first two derivatives by the score, each (..., n)."""

    value: Tensor
    first: Tensor
    second: Tensor


def half_square(score: Tensor, target: Tensor) -> Term:
    residual = score - target
    return Term(residual.square() / 2, residual, torch.ones_like(residual))


@dataclass(frozen=True)
class Scored(FiniteSum):
    """A kind of it says what its coefficients, its term and their derivatives are; here they are the parameters themselves."""

    analytic = True

    @abstractmethod
    def _term(self, score: Tensor, *targets: Tensor) -> Term: ...

    def _coefficients(self, params: Tensor) -> Tensor:
        """p (..., d)."""
        return params

    def _push(self, params: Tensor, vectors: Tensor) -> Tensor:
        """J v (..., d) for v (..., dim)."""
        return vectors

    def _pull(self, params: Tensor, weights: Tensor) -> Tensor:
        """J^T c (..., dim) for c (..., d)."""
        return weights

    def _bend(self, params: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
        """The Hessian of c . p times v, (..., dim)."""
        return torch.zeros_like(vectors)

    def _terms(self, params: Tensor, *data: Tensor) -> Tensor:
        inputs, *targets = data
        return self._term(scores(self._coefficients(params), inputs), *targets).value

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        inputs, *targets = self._picked(params, batch)
        term = self._term(scores(self._coefficients(params), inputs), *targets)
        return term.value.mean(-1), self._pull(params, _mean(term.first, inputs))

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Callable[[Tensor], Tensor]:
        inputs, *targets = self._picked(params, batch)
        term = self._term(scores(self._coefficients(params), inputs), *targets)
        slope = _mean(term.first, inputs)

        def product(vectors: Tensor) -> Tensor:
            change = term.second * scores(self._push(params, vectors), inputs)
            return self._pull(params, _mean(change, inputs)) + self._bend(params, slope, vectors)

        return product


def _mean(factors: Tensor, inputs: Tensor) -> Tensor:
    """Mean over samples of factors (..., n) times inputs (n, d), or (..., n, d): (..., d)."""
    if inputs.ndim == 2:
        return factors @ inputs / inputs.shape[-2]
    return (factors.unsqueeze(-2) @ inputs).squeeze(-2) / inputs.shape[-2]
