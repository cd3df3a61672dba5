"""Losses of a product of parameters: the simplest networks with depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from landscapes.facts import largest_bilinear_step
from landscapes.landscape import Differentiated, Layout
from landscapes.setting import setting
from landscapes.theory.model import Model, falling, normal, seeded

_BISECTIONS = 110  # from the largest square down to the last bit of a float64


@dataclass(frozen=True)
class ScalarNetwork(Differentiated, Model):
    """L = (w_1 w_2 ... w_D - t)^2 / 2. At a minimum the Hessian is q q^T with q_i = t / w_i.

    Gradient flow keeps every w_i^2 - w_j^2, so it ends at |w_i| = sqrt(w_i^2 + s) with s from the product t. The start lies
    beside a random minimum.
    """

    name, label = "scalar_network", "Scalar network"
    reads = "The loss bounces, yet the sharpness at which gradient flow from here would end never rises, and stops just under 2/η."
    reference = "Kreisler et al. 2023, arXiv:2305.13064"
    equation = r"\frac{1}{2}\left(w_1 w_2 \cdots w_D - t\right)^2"
    depth: int = setting(4, 2, 16, symbol="D", help="Number of factors.")
    target: float = setting(1.0, 0.01, 100.0, log=True, symbol="t", help="The product to learn.")
    spread: float = setting(
        0.6, 0.0, 3.0, help="How unequal the factors start: standard deviation of their logarithms."
    )
    jitter: float = setting(0.2, 0.0, 0.9, help="How far, relative to each factor, the start lies from the minimum.")
    seed: int = seeded()

    @property
    def layout(self) -> Layout:
        return Layout.of([("w", (self.depth,))])

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        logs = self.spread * normal(generator, self.depth)
        minimum = self.target ** (1 / self.depth) * torch.exp(logs - logs.mean())
        return minimum * (1 + self.jitter * (2 * torch.rand(self.depth, generator=generator, dtype=torch.float64) - 1))

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        return (params.prod(-1) - self.target).square() / 2

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        """The flattest one, and one with its first factor doubled and its last halved."""
        flattest = torch.full((2, self.depth), self.target ** (1 / self.depth), dtype=torch.float64)
        flattest[1, 0] *= 2
        flattest[1, -1] /= 2
        return flattest

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        points = self.minimizers()
        return points, self.target**2 * points.pow(-2).sum(-1)

    def conserved(self, params: Tensor) -> Tensor:
        return params[..., 1:].square() - params[..., :-1].square()

    def gfs_sharpness(self, params: Tensor) -> Tensor:
        """Bisection on s. From a product of the wrong sign the smallest factor turns around on the way; where the two
        smallest are equal the flow ends at a saddle instead, and the answer is NaN.
        """
        squares = params.double().square()
        least = squares.amin(-1, keepdim=True)
        gaps = squares - least  # at the end the squares are gaps + e, e > 0 with sum log(gaps + e) = 2 log t
        goal = 2 * math.log(self.target)
        # The least square is at most the geometric mean t^(2/D), and the product is at most e (max gap + e)^(D-1).
        high = torch.full_like(least, self.target ** (2 / self.depth))
        low = torch.zeros_like(high)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            above = torch.log(gaps + middle).sum(-1, keepdim=True) > goal
            low, high = low.where(above, middle), high.where(~above, middle)
        sharpness = self.target**2 * (1 / (gaps + high)).sum(-1)
        two = squares.topk(2, largest=False).values
        saddle = (params.prod(-1) <= 0) & (two[..., 0] == two[..., 1])
        return sharpness.where(torch.isfinite(params).all(-1) & ~saddle, torch.nan).to(params)

    def largest_step(self, params: Tensor) -> Tensor | None:
        """Of two factors; of more no formula is known."""
        if self.depth > 2:
            return None
        return largest_bilinear_step(params.square().sum(-1), params.prod(-1), self.target)


@dataclass(frozen=True)
class DeepLinear(Differentiated, Model):
    """L = |W_N ... W_1 - S|^2 / 2 with S = diag(s_1, s_2, ..., 0) and square layers.

    Gradient flow keeps W_{l+1}^T W_{l+1} - W_l W_l^T. The flattest minimum, W_l = S^(1/N), has sharpness N s_1^(2 - 2/N)
    (Mulayoff and Michaeli 2020, arXiv:2002.04710).
    """

    name, label = "deep_linear", "Deep linear network"
    reads = "From a small start the network learns one singular value after the other, the strongest first, waiting in between."
    reference = "Saxe, McClelland and Ganguli 2014, arXiv:1312.6120"
    equation = r"\frac{1}{2}\left\|W_N \cdots W_1 - \operatorname{diag}(s_1, s_2, \dots)\right\|_F^2"
    depth: int = setting(3, 2, 8, symbol="N", help="Number of layers.")
    width: int = setting(5, 1, 32, help="Rows and columns of each layer.")
    rank: int = setting(3, 1, 32, symbol="r", help="How many singular values of the target are not zero.")
    top: float = setting(2.0, 0.01, 100.0, log=True, symbol="s_1", help="The largest singular value of the target.")
    ratio: float = setting(0.5, 0.01, 1.0, help="Each further singular value over the one before.")
    scale: float = setting(0.05, 1e-6, 10.0, log=True, help="Standard deviation of the initial weights.")
    seed: int = seeded()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank > self.width:
            raise ValueError(f"rank = {self.rank} is not allowed: it must be at most the width, {self.width}.")

    @cached_property
    def layout(self) -> Layout:
        return Layout.of((f"W{index}", (self.width, self.width)) for index in range(1, self.depth + 1))

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        spectrum = torch.zeros(self.width, dtype=torch.float64)
        spectrum[: self.rank] = falling(self.top, self.ratio, self.rank)
        return (torch.diag(spectrum),)

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        return self.scale * normal(generator, self.dim)

    def product(self, params: Tensor) -> Tensor:
        """The matrix W_N ... W_1 (..., width, width) that the network computes."""
        layers = list(self.layout.unpack(params).values())
        product = layers[0]
        for layer in layers[1:]:
            product = layer @ product
        return product

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        (target,) = self.tensors(params)
        return (self.product(params) - target).square().sum((-2, -1)) / 2

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        """By the products of the layers below each and of those above: (W_N .. W_(l+1))^T (W_N .. W_1 - S) (W_(l-1) .. W_1)^T."""
        (target,) = self.tensors(params)
        layers = params.detach().unflatten(-1, (self.depth, self.width, self.width)).unbind(-3)
        below = [layers[0]]
        for layer in layers[1:]:
            below.append(layer @ below[-1])
        above = below[-1] - target  # times the layers above, as the loop goes down
        loss, grads = above.square().sum((-2, -1)) / 2, []
        for layer, product in zip(layers[:0:-1], below[-2::-1], strict=True):
            grads.append(above @ product.mT)
            above = layer.mT @ above
        return loss, torch.stack([above, *reversed(grads)], dim=-3).flatten(-3)

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        (target,) = self._draw(torch.Generator())
        return target.diagonal().pow(1 / self.depth).diag().flatten().repeat(1, self.depth)

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        value = self.depth * self.top ** (2 - 2 / self.depth)
        return self.minimizers(), torch.tensor([value], dtype=torch.float64)

    def conserved(self, params: Tensor) -> Tensor:
        layers = list(self.layout.unpack(params).values())
        kept = [outer.mT @ outer - inner @ inner.mT for inner, outer in zip(layers[:-1], layers[1:], strict=True)]
        return torch.stack(kept, dim=-3).flatten(-3)

    def gfs_sharpness(self, params: Tensor) -> Tensor | None:
        """Of layers of one unit: those of a scalar network. Of wider ones the kept matrices leave the end open."""
        return self._scalar.gfs_sharpness(params) if self.width == 1 else None

    def largest_step(self, params: Tensor) -> Tensor | None:
        return self._scalar.largest_step(params) if self.width == 1 else None

    @property
    def _scalar(self) -> ScalarNetwork:
        """What this is where its layers are of one unit."""
        return ScalarNetwork(depth=self.depth, target=self.top)

    def predictor(self, params: Tensor) -> Tensor:
        return self.product(params).flatten(-2)

    def bias_target(self) -> Tensor:
        return self._draw(torch.Generator())[0].flatten()


@dataclass(frozen=True)
class CatapultNetwork(Model):
    """f = u.v / sqrt(n) on the one sample x = 1, y = 0: L = f^2 / 2, with curvature l = (|u|^2 + |v|^2) / n where f = 0.

    Gradient descent acts on f and l alone: f <- f (1 - h l + h^2 f^2 / n), l <- l + h f^2 (h l - 4) / n. Gradient flow
    shrinks u + v and grows u - v by one factor, or the reverse, until f = 0: there l = |u + v| |u - v| / n.
    """

    name, label = "catapult_network", "Catapult, wide network"
    reads = (
        "Above 2 over the curvature the loss of a wide network first explodes, and the jump lands where it is flatter."
    )
    reference = "Lewkowycz et al. 2020, arXiv:2003.02218"
    equation = r"\frac{1}{2}\left(\frac{u \cdot v}{\sqrt{n}}\right)^2"
    analytic = True
    units: int = setting(256, 1, 4096, symbol="n", help="Hidden units.")
    gain: float = setting(2.5, 0.01, 100.0, log=True, help="Standard deviation of the initial weights.")
    seed: int = seeded()

    @property
    def layout(self) -> Layout:
        return Layout.of([("u", (self.units,)), ("v", (self.units,))])

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        return self.gain * normal(generator, self.dim)

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        return self._output(params).square() / 2

    def _output(self, params: Tensor) -> Tensor:
        """f (...)."""
        u, v = params[..., : self.units], params[..., self.units :]
        return (u * v).sum(-1) / self.units**0.5

    def _slope(self, vectors: Tensor) -> Tensor:
        """The gradient (..., dim) of f at a point: its two halves change places. So f has this constant Hessian, too."""
        return vectors.roll(self.units, -1) / self.units**0.5

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        output = self._output(params)
        return output.square() / 2, output.unsqueeze(-1) * self._slope(params)

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Callable[[Tensor], Tensor]:
        output, slope = self._output(params).unsqueeze(-1), self._slope(params)

        def product(vectors: Tensor) -> Tensor:
            return slope * (slope * vectors).sum(-1, keepdim=True) + output * self._slope(vectors)

        return product

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        """One layer at zero, and orthogonal layers."""
        points = torch.zeros(2, self.dim, dtype=torch.float64)
        points[:, : self.units] = 1.0
        points[1, self.units :] = torch.linspace(-1, 1, self.units, dtype=torch.float64) if self.units > 1 else 0.0
        return points

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        points = self.minimizers()
        return points, points.square().sum(-1) / self.units

    def conserved(self, params: Tensor) -> Tensor:
        u, v = params[..., : self.units], params[..., self.units :]
        return (u - v) * (u + v)

    def gfs_sharpness(self, params: Tensor) -> Tensor:
        u, v = params[..., : self.units], params[..., self.units :]
        value = (u + v).norm(dim=-1) * (u - v).norm(dim=-1) / self.units
        return value.where(torch.isfinite(params).all(-1), torch.nan)

    def largest_step(self, params: Tensor) -> Tensor:
        u, v = params[..., : self.units], params[..., self.units :]
        return self.units * largest_bilinear_step(params.square().sum(-1), (u * v).sum(-1))
