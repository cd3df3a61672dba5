"""A loss that does not see the length of its weights, as behind a normalization layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes.landscape import Layout
from landscapes.setting import setting
from landscapes.theory.model import normal, seeded
from landscapes.theory.scored import Scored, Term


@dataclass(frozen=True)
class ScaleInvariant(Scored):
    """L = mean of 1 - a_i.w / |w|, a_i = e_1 + noise whose mean is zero, so that L = 1 - cos(w, e_1).

    Every gradient, of a batch too, is orthogonal to w: a step of gradient descent adds eta^2 |g|^2 to |w|^2, and gradient
    flow keeps |w|. At the minimum of length r the sharpness is 1 / r^2.
    """

    name, label = "scale_invariant", "Scale-invariant loss"
    reads = "Steps can only lengthen the weights, which flattens the loss: the sharpness falls as the square of their norm rises."
    reference = "Heo et al. 2021, arXiv:2006.08217"
    equation = r"\frac{1}{n}\sum_i \left(1 - \frac{a_i \cdot w}{\|w\|}\right) = 1 - \cos\angle(w, e_1)"
    features: int = setting(20, 2, 200, symbol="d", help="Number of weights.")
    samples: int = setting(256, 1, 2000, symbol="n", help="Number of samples.")
    noise: float = setting(0.3, 0.0, 10.0, symbol=r"\sigma", help="How far the samples disagree.")
    length: float = setting(0.5, 0.01, 100.0, log=True, help="Norm of the initial weights.")
    seed: int = seeded()

    @property
    def layout(self) -> Layout:
        return Layout.of([("w", (1, self.features))])  # one neuron: rules for matrices see its weights as a row

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        noise = self.noise * normal(generator, self.samples, self.features)
        return (self._direction + noise - noise.mean(0),)

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        drawn = normal(generator, self.features)
        return self.length * drawn / drawn.norm()

    @property
    def _direction(self) -> Tensor:
        return torch.eye(self.features, dtype=torch.float64)[0]

    def _term(self, score: Tensor, *targets: Tensor) -> Term:
        return Term(1 - score, -torch.ones_like(score), torch.zeros_like(score))

    def _coefficients(self, params: Tensor) -> Tensor:
        return params / params.norm(dim=-1, keepdim=True)

    def _push(self, params: Tensor, vectors: Tensor) -> Tensor:
        unit = self._coefficients(params)
        tangent = vectors - (unit * vectors).sum(-1, keepdim=True) * unit
        return tangent / params.norm(dim=-1, keepdim=True)

    def _pull(self, params: Tensor, weights: Tensor) -> Tensor:
        return self._push(params, weights)  # the projection is symmetric

    def _bend(self, params: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
        unit = self._coefficients(params)
        along, across = (weights * unit).sum(-1, keepdim=True), (vectors * unit).sum(-1, keepdim=True)
        crossed = (weights * vectors).sum(-1, keepdim=True)
        bent = weights * across + unit * (crossed - 3 * along * across) + along * vectors
        return -bent / params.square().sum(-1, keepdim=True)

    def predictor(self, params: Tensor) -> Tensor:
        return self._coefficients(params)

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        return torch.tensor([[1.0], [2.0]], dtype=torch.float64) * self._direction

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        return self.minimizers(), torch.tensor([1.0, 0.25], dtype=torch.float64)

    def conserved(self, params: Tensor) -> Tensor:
        return params.square().sum(-1, keepdim=True)

    def gfs_sharpness(self, params: Tensor) -> Tensor:
        return (1 / params.square().sum(-1)).where(torch.isfinite(params).all(-1), torch.nan)

    def largest_step(self, params: Tensor) -> Tensor:
        """None is too large: a long step lengthens the weights, so that the next ones turn them less (Arora, Li and Lyu 2019,
        arXiv:1812.03981)."""
        return torch.full_like(params[..., 0], torch.inf)

    def bias_target(self) -> Tensor:
        return self._direction
