"""Models of two parameters, declared by their formula and drawn as surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes.facts import largest_bilinear_step
from landscapes.setting import setting
from landscapes.surfaces import Surface


@dataclass(frozen=True)
class Catapult(Surface):
    """Gradient descent acts on f = xy and the curvature l = x^2 + y^2 alone: f <- f (1 - h l + h^2 f^2) and
    l <- l + h f^2 (h l - 4). So l falls as long as h l < 4, and bounds f by l >= 2 |f|; beyond, it grows without end.
    """

    name, label = "catapult", "Catapult"
    reads = "With η between 2 and 4 over the curvature x² + y² the loss first explodes, and the jump lands where it is flatter."
    reference = "Lewkowycz et al. 2020, arXiv:2003.02218"
    expression = "(x*y)^2/2"
    window = ((-2.2, 2.2), (-2.2, 2.2))
    origin = (0.1, 2.0)
    log_color = True

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        return torch.tensor([(0.0, 1.0), (0.0, 2.0), (-1.5, 0.0), (0.0, 0.0)], dtype=torch.float64)

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        points = self.minimizers()
        return points, points.square().sum(-1)

    def conserved(self, params: Tensor) -> Tensor:
        return _difference_of_squares(params)

    def gfs_sharpness(self, params: Tensor) -> Tensor:
        return _finite(params, self.conserved(params)[..., 0].abs())

    def largest_step(self, params: Tensor) -> Tensor:
        return largest_bilinear_step(params.square().sum(-1), params.prod(-1))


@dataclass(frozen=True)
class LogCoshValley(Surface):
    """log cosh(xy), written with softplus so that it neither overflows nor loses its digits far out."""

    name, label = "log_cosh_valley", "Log-cosh valley"
    reads = "Steep walls of constant slope around the axes: a large step bounces between them, and comes to rest where x² + y² ≤ 2/η."
    reference = "Ahn et al. 2023, arXiv:2212.07469"
    expression = "softplus(2*x*y) - x*y - log(2)"
    window = ((-1.5, 1.5), (-0.5, 4.0))
    origin = (0.3, 3.6)

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        return torch.tensor([(0.0, 1.0), (0.0, 3.0), (0.5, 0.0)], dtype=torch.float64)

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        points = self.minimizers()
        return points, points.square().sum(-1)

    def conserved(self, params: Tensor) -> Tensor:
        return _difference_of_squares(params)

    def gfs_sharpness(self, params: Tensor) -> Tensor:
        return _finite(params, self.conserved(params)[..., 0].abs())


@dataclass(frozen=True)
class AssociativeMemory(Surface):
    """A memory of two associations whose keys e1 = (1, 0) and e2 overlap; (x, y) is its matrix applied to the
    difference of the two outputs: L = s log(1 + exp(-w.e1)) + (1 - s) log(1 + exp(w.e2)). More tokens: `token_memory`.
    """

    name, label = "associative_memory", "Associative memory"
    reads = "A frequent and a rare fact that look alike compete: large steps overshoot and spike, yet learn the rare one long before small steps do."
    reference = "Cabannes, Simsek and Bietti 2024, arXiv:2402.18724"
    expression = "share*softplus(-x) + (1 - share)*softplus(overlap*x + sqrt(1 - overlap^2)*y)"
    window = ((-15.0, 25.0), (-100.0, 20.0))
    origin = (0.0, 0.0)
    log_color = True
    share: float = setting(0.9, 0.01, 0.99, symbol="s", help="How often the first fact is seen.")
    overlap: float = setting(0.99, -0.999, 0.999, symbol="c", help="Cosine of the angle between the two keys.")

    def infimum(self) -> float:
        """Not attained: the loss falls along x to infinity while the second key's score goes to minus infinity."""
        return 0.0

    def flow_escapes(self) -> bool:
        return True


def _difference_of_squares(params: Tensor) -> Tensor:
    """x^2 - y^2, (..., 1): kept by gradient flow on every function of xy."""
    return (params[..., :1] - params[..., 1:]) * (params[..., :1] + params[..., 1:])


def _finite(params: Tensor, value: Tensor) -> Tensor:
    return value.where(torch.isfinite(params).all(-1), torch.nan)
