"""Regressions whose model is quadratic in its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from landscapes.landscape import Layout
from landscapes.setting import setting
from landscapes.theory.model import Model, normal, seeded, top_eigenvalue
from landscapes.theory.scored import Scored, Term, half_square

_NEWTON_STEPS = 100
_BISECTIONS = 100  # first doubling the bracket, then halving it


@dataclass(frozen=True)
class DiagonalNetwork(Scored):
    """L = mean of ((u * v).x_i - y_i)^2 / 2, with fewer samples than features and a sparse truth of +1, -1, +1, ...

    Gradient flow keeps u^2 - v^2: with a = (u + v) / 2 and b = (u - v) / 2 it multiplies a by exp(s) and b by exp(-s), s in
    the span of the inputs. So it ends where the product a^2 exp(2s) - b^2 exp(-2s) fits (Woodworth et al. 2020).
    """

    name, label = "diagonal_network", "Diagonal linear network"
    reads = (
        "There are many exact fits: small steps from this start find a dense one, large noisy steps the sparse truth."
    )
    reference = "Andriushchenko et al. 2023, arXiv:2210.05337; Woodworth et al. 2020, arXiv:2002.09277"
    equation = r"\frac{1}{2n}\sum_i \left((u \odot v) \cdot x_i - y_i\right)^2"
    features: int = setting(100, 1, 400, symbol="d", help="Number of inputs.")
    samples: int = setting(40, 1, 400, symbol="n", help="Number of samples.")
    nonzero: int = setting(4, 1, 400, help="Entries of the truth that are not zero.")
    scale: float = setting(0.3, 1e-4, 10.0, log=True, help="Size of the start: u = scale and v = 0.")
    seed: int = seeded()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonzero > self.features:
            raise ValueError(f"nonzero = {self.nonzero} is not allowed: it must be at most features, {self.features}.")

    @property
    def layout(self) -> Layout:
        return Layout.of([("u", (self.features,)), ("v", (self.features,))])

    @property
    def truth(self) -> Tensor:
        """The coefficients (features,) that made the targets."""
        signs = 1 - 2 * (torch.arange(self.features) % 2)
        return torch.where(torch.arange(self.features) < self.nonzero, signs, 0).double()

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        inputs = normal(generator, self.samples, self.features)
        return inputs, inputs @ self.truth

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        """Row 0 is u = scale, v = 0; further rows are scale * N(0, 1)."""
        drawn = self.scale * normal(generator, self.dim)
        return drawn if row else self.scale * (torch.arange(self.dim) < self.features).double()

    def _term(self, score: Tensor, *targets: Tensor) -> Term:
        return half_square(score, targets[0])

    def _coefficients(self, params: Tensor) -> Tensor:
        return params[..., : self.features] * params[..., self.features :]

    def _push(self, params: Tensor, vectors: Tensor) -> Tensor:
        crossed = params.roll(self.features, -1) * vectors  # v du and u dv
        return crossed[..., : self.features] + crossed[..., self.features :]

    def _pull(self, params: Tensor, weights: Tensor) -> Tensor:
        return params.roll(self.features, -1) * torch.cat([weights, weights], dim=-1)

    def _bend(self, params: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
        return self._pull(vectors, weights)

    def predictor(self, params: Tensor) -> Tensor:
        return self._coefficients(params)

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        """The balanced factors of the truth."""
        root = self.truth.abs().sqrt()
        return torch.cat([root, self.truth.sign() * root])[None]

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        inputs, _ = self.tensors(torch.zeros(0, dtype=torch.float64))
        weighted = inputs * (2 * self.truth.abs())
        return self.minimizers(), top_eigenvalue(weighted @ inputs.T / self.samples)[None]

    def conserved(self, params: Tensor) -> Tensor:
        u, v = params[..., : self.features], params[..., self.features :]
        return (u - v) * (u + v)

    def gfs_sharpness(self, params: Tensor) -> Tensor:
        flat = params.double().reshape(-1, self.dim)
        finite = torch.isfinite(flat).all(-1)
        start, grown, shrunk = self._flow_end(torch.where(finite[:, None], flat, 1.0))
        inputs, _ = self.tensors(start)
        squares = 2 * (grown + shrunk)  # u^2 + v^2
        sharpness = top_eigenvalue((inputs * squares[:, None]) @ inputs.mT / self.samples)
        return sharpness.where(finite, torch.nan).reshape(params.shape[:-1]).to(params)

    def bias_target(self) -> Tensor:
        _, grown, shrunk = self._flow_end(self.start())
        return (grown - shrunk)[0]

    def _flow_end(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """params (r, dim), and a^2 and b^2 (r, features) where gradient flow from there ends.

        Newton's method on the convex function sum (a^2 exp(2s) + b^2 exp(-2s)) / 2 - z.y of z, s = X^T z, whose gradient is
        the residual of the fit; a step is halved until the function falls.
        """
        inputs, targets = self.tensors(params)
        u, v = params[:, : self.features], params[:, self.features :]
        a, b = ((u + v) / 2).square(), ((u - v) / 2).square()
        z = params.new_zeros(len(params), self.samples)

        def ends(z: Tensor) -> tuple[Tensor, Tensor]:
            return a * torch.exp(2 * (z @ inputs)), b * torch.exp(-2 * (z @ inputs))

        def potential(z: Tensor) -> Tensor:
            grown, shrunk = ends(z)
            return (grown + shrunk).sum(-1) / 2 - z @ targets

        for _ in range(_NEWTON_STEPS):
            grown, shrunk = ends(z)
            residual = (grown - shrunk) @ inputs.T - targets
            curvature = (inputs * (2 * (grown + shrunk))[:, None]) @ inputs.mT
            move = torch.linalg.lstsq(curvature, residual[..., None], driver="gelsd").solution[..., 0]
            slope, before, step = (move * residual).sum(-1), potential(z), torch.ones_like(z[:, :1])
            for _ in range(40):
                worse = ~(potential(z - step * move) <= before - 1e-4 * step[:, 0] * slope)
                if not bool(worse.any()):
                    break
                step = torch.where(worse[:, None], step / 2, step)
            z = torch.where(worse[:, None], z, z - step * move)
            if float(residual.abs().max()) <= 1e-12 * float(targets.abs().max()):
                break
        return params, *ends(z)


@dataclass(frozen=True)
class QuadraticRegression(Model):
    """L = |z|^2 / 2 with z = z_0 + J_0 w + w.Q.w / 2, a second-order Taylor model of a network around its start, w = 0.

    z_0 ~ N(0, 1), J_0 ~ N(0, 1/P), and Q is curvature / P times a symmetrised N(0, 1).
    """

    name, label = "quadratic_regression", "Second-order regression"
    reads = (
        "The simplest model with a curved feature map: its curvature grows during training until 2/η, and stays there."
    )
    reference = "Agarwala, Pedregosa and Pennington 2023, arXiv:2210.04860"
    equation = r"\frac{1}{2}\left\|z_0 + J_0 w + \tfrac{1}{2}\, w^\top Q\, w\right\|^2"
    analytic = True
    outputs: int = setting(20, 1, 60, symbol="D", help="Number of residuals.")
    parameters: int = setting(40, 1, 120, symbol="P", help="Number of parameters.")
    curvature: float = setting(5.0, 0.0, 30.0, help="Size of Q: how fast the Jacobian turns.")
    slope: float = setting(1.0, 0.01, 10.0, log=True, help="Size of the Jacobian at the start.")
    seed: int = seeded()

    @property
    def layout(self) -> Layout:
        return Layout.of([("w", (self.parameters,))])

    @property
    def width(self) -> int:
        return 2 * self.outputs * self.parameters

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        residual = normal(generator, self.outputs)
        jacobian = self.slope * normal(generator, self.outputs, self.parameters) / self.parameters**0.5
        square = normal(generator, self.outputs, self.parameters, self.parameters)
        return residual, jacobian, self.curvature / (2 * self.parameters) * (square + square.mT)

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        """Row 0 is w = 0; further rows lie about it, N(0, 1/P)."""
        drawn = normal(generator, self.parameters) / self.parameters**0.5
        return drawn if row else torch.zeros_like(drawn)

    def expansion(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals z (..., D) and their Jacobian (..., D, P)."""
        residual, jacobian, hessians = self.tensors(params)
        turned = (params @ hessians.flatten(0, 1).T).unflatten(-1, jacobian.shape)  # Q w
        bent = jacobian + turned / 2
        return residual + (bent @ params.unsqueeze(-1)).squeeze(-1), jacobian + turned

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        return self.expansion(params)[0].square().sum(-1) / 2

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        residual, jacobian = self.expansion(params)
        return residual.square().sum(-1) / 2, (residual.unsqueeze(-2) @ jacobian).squeeze(-2)

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Callable[[Tensor], Tensor]:
        hessian = self._hessian(params)
        return lambda vectors: (hessian @ vectors.unsqueeze(-1)).squeeze(-1)

    def _hessian(self, params: Tensor) -> Tensor:
        residual, jacobian = self.expansion(params)
        hessians = self.tensors(params)[2]
        return jacobian.mT @ jacobian + (residual @ hessians.flatten(1)).unflatten(-1, hessians.shape[1:])

    def infimum(self) -> None:
        """Zero where the residuals can vanish together, which is not known beforehand."""
        return None

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        residual, jacobian, hessians = self.tensors(torch.zeros(0, dtype=torch.float64))
        hessian = jacobian.T @ jacobian + (residual[:, None, None] * hessians).sum(0)
        return torch.zeros(1, self.parameters, dtype=torch.float64), top_eigenvalue(hessian)[None]

    def gfs_sharpness(self, params: Tensor) -> Tensor | None:
        """Of a single residual, whose slope J turns by itself in the time s with ds = z dt: J(s) = exp(-Q s) J, and
        z(s) = z - sum J_i^2 (1 - exp(-2 q_i s)) / (2 q_i) over the eigenvectors of Q, which falls with s. Where it passes zero
        the sharpness is |J(s)|^2; where it never does, NaN.
        """
        if self.outputs > 1:
            return None
        flat = params.double().reshape(-1, self.dim)
        finite = torch.isfinite(flat).all(-1)
        residual, slope = self.expansion(flat.where(finite[:, None], 0.0))
        z, (rates, axes) = residual[:, 0], torch.linalg.eigh(self.tensors(flat)[2][0])
        squares = (slope[:, 0] @ axes).square()  # (runs, P)
        sign = torch.where(z < 0, -1.0, 1.0).to(z)

        def left(s: Tensor) -> Tensor:
            """The residual after s, times its first sign: positive until the end."""
            halves = rates * (sign * s)[:, None]
            passed = -torch.expm1(-2 * halves) / (2 * rates).where(rates != 0, 1.0)
            passed = passed.where(rates != 0, (sign * s)[:, None])
            return sign * (z - (squares * passed).sum(-1))

        low, high, open_ended = torch.zeros_like(z), torch.full_like(z, 1e-3), torch.ones_like(z, dtype=torch.bool)
        for _ in range(_BISECTIONS):
            open_ended = open_ended & (left(high) > 0) & (high < 1e3)
            low, high = high.where(open_ended, low), (2 * high).where(open_ended, high)
        ends = left(high) <= 0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            before = left(middle) > 0
            low, high = middle.where(before, low), high.where(before, middle)
        sharpness = (squares * torch.exp(-2 * rates * (sign * high)[:, None])).sum(-1)
        return sharpness.where(finite & ends, torch.nan).reshape(params.shape[:-1]).to(params)

    def largest_step(self, params: Tensor) -> Tensor | None:
        """Of least squares, where the Jacobian does not turn."""
        if self.curvature > 0:
            return None
        _, jacobian, _ = self.tensors(params)
        return (2 / torch.linalg.matrix_norm(jacobian, 2).square()).expand(params.shape[:-1])


@dataclass(frozen=True)
class OpposingSignals(Scored):
    """f(x) = c b.x with squared loss. Four inputs of falling variance carry the signal; in a few outliers a fifth, large
    input comes with a target that is half the time too high, half the time too low.

    Gradient flow keeps |b|^2 - c^2 and ends at c b = the least-squares fit. (The data are an adaptation, made tiny.)
    """

    name, label = "opposing_signals", "Opposing signals"
    reads = "Two groups of outliers pull one large feature in opposite directions: where that valley gets too steep, the loss spikes."
    reference = "Rosenfeld and Risteski 2023, arXiv:2311.04163"
    equation = r"\frac{1}{2n}\sum_i \left(c\, b \cdot x_i - y_i\right)^2"
    regular: int = setting(360, 1, 2000, help="Samples without the fifth input.")
    pairs: int = setting(20, 1, 1000, help="Pairs of outliers, one pulling up and one pulling down.")
    strength: float = setting(8.0, 0.0, 100.0, help="The fifth input of the outliers.")
    offset: float = setting(3.0, 0.0, 100.0, help="How far the outliers' targets are off.")
    scale: float = setting(0.1, 1e-4, 10.0, log=True, help="Size of the start.")
    seed: int = seeded()

    @property
    def samples(self) -> int:
        return self.regular + 2 * self.pairs

    @property
    def layout(self) -> Layout:
        return Layout.of([("b", (5,)), ("c", (1,))])

    def groups(self) -> Mapping[str, Tensor]:
        outlier = self.regular + torch.arange(2 * self.pairs)
        return {"up": outlier[: self.pairs], "down": outlier[self.pairs :], "rest": torch.arange(self.regular)}

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        deviations = torch.tensor([1.0, 0.3, 0.1, 0.03], dtype=torch.float64).sqrt()
        signal = deviations * normal(generator, self.samples, 4)
        targets = signal @ torch.tensor([1.0, 1.5, 2.0, 3.0], dtype=torch.float64)
        opposed = torch.zeros(self.samples, dtype=torch.float64)
        groups = self.groups()
        opposed[groups["up"]], opposed[groups["down"]] = self.offset, -self.offset
        fifth = self.strength * (torch.arange(self.samples) >= self.regular).double()
        return torch.cat([signal, fifth[:, None]], dim=1), targets + opposed

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        drawn = normal(generator, 5) / 5**0.5
        return self.scale * torch.cat([drawn, torch.ones(1, dtype=torch.float64)])

    def _term(self, score: Tensor, *targets: Tensor) -> Term:
        return half_square(score, targets[0])

    def _coefficients(self, params: Tensor) -> Tensor:
        return params[..., 5:] * params[..., :5]

    def _push(self, params: Tensor, vectors: Tensor) -> Tensor:
        return params[..., 5:] * vectors[..., :5] + params[..., :5] * vectors[..., 5:]

    def _pull(self, params: Tensor, weights: Tensor) -> Tensor:
        return torch.cat([params[..., 5:] * weights, (params[..., :5] * weights).sum(-1, keepdim=True)], dim=-1)

    def _bend(self, params: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
        return self._pull(vectors, weights)

    def predictor(self, params: Tensor) -> Tensor:
        return self._coefficients(params)

    @cached_property
    def _least_squares(self) -> Tensor:
        inputs, targets = self.tensors(torch.zeros(0, dtype=torch.float64))
        return torch.linalg.pinv(inputs) @ targets

    def infimum(self) -> float:
        inputs, targets = self.tensors(torch.zeros(0, dtype=torch.float64))
        return float((inputs @ self._least_squares - targets).square().mean()) / 2

    def minimizers(self) -> Tensor:
        """The balanced one, and one with c = 1."""
        root = self._least_squares.norm().sqrt()
        return torch.stack([self._split(root), self._split(torch.ones_like(root))])

    def _split(self, c: Tensor) -> Tensor:
        """The minimizers (..., 6) with the last weight c (...)."""
        return torch.cat([self._least_squares / c[..., None], c[..., None]], dim=-1)

    def _sharpness_at(self, minimizers: Tensor) -> Tensor:
        """Least squares leave residuals orthogonal to the inputs, so that only squares of slopes are left."""
        inputs, _ = self.tensors(minimizers)
        b, c = minimizers[..., :5], minimizers[..., 5:, None]
        slopes = torch.cat([c * inputs, (inputs @ b.unsqueeze(-1))], dim=-1)  # (..., n, 6)
        return top_eigenvalue(slopes.mT @ slopes / self.samples)

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        points = self.minimizers()
        return points, self._sharpness_at(points)

    def conserved(self, params: Tensor) -> Tensor:
        squares = params.square()
        return squares[..., :5].sum(-1, keepdim=True) - squares[..., 5:]

    def gfs_sharpness(self, params: Tensor) -> Tensor:
        """|b|^2 - c^2 = k and c b = the fit f give c^4 + k c^2 = |f|^2."""
        dead = ~torch.isfinite(params).all(-1) | (params == 0).all(
            -1
        )  # the origin is a saddle that the flow never leaves
        half = self.conserved(params.double())[..., 0].masked_fill(dead, 0.0) / 2
        fit = self._least_squares.norm()
        root = torch.hypot(half, fit)
        square = torch.where(half > 0, fit.square() / (half + root), root - half)  # no digits cancel
        return self._sharpness_at(self._split(square.sqrt())).masked_fill(dead, torch.nan).to(params)

    def bias_target(self) -> Tensor:
        return self._least_squares


@dataclass(frozen=True)
class PhaseRetrieval(Scored):
    """L = mean of ((a_i.w)^2 - y_i)^2 / 4 with y_i = (a_i.w*)^2, Gaussian a_i and w* = e_1: the sign of w* is lost.

    At +-w* the Hessian is twice the mean of y_i a_i a_i^T, whose top eigenvalue tends to 6 with many samples.
    """

    name, label = "phase_retrieval", "Phase retrieval"
    reads = (
        "Two mirror-image solutions with a saddle between them: a small start waits near the saddle, then picks a sign."
    )
    reference = "Chen, Chi, Fan and Ma 2019, arXiv:1803.07726"
    equation = r"\frac{1}{4n}\sum_i \left((a_i \cdot w)^2 - (a_i \cdot w^\ast)^2\right)^2"
    features: int = setting(10, 1, 100, symbol="d", help="Number of weights.")
    samples: int = setting(100, 1, 2000, symbol="n", help="Number of measurements.")
    scale: float = setting(0.1, 1e-6, 10.0, log=True, help="Size of the start: scale * N(0, 1/d).")
    seed: int = seeded()

    @property
    def layout(self) -> Layout:
        return Layout.of([("w", (self.features,))])

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        inputs = normal(generator, self.samples, self.features)
        return inputs, inputs[:, 0].square()

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        return self.scale * normal(generator, self.features) / self.features**0.5

    def _term(self, score: Tensor, *targets: Tensor) -> Term:
        excess = score.square() - targets[0]
        return Term(excess.square() / 4, excess * score, 3 * excess + 2 * targets[0])

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        solution = torch.eye(self.features, dtype=torch.float64)[0]
        return torch.stack([solution, -solution])

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        inputs, targets = self.tensors(torch.zeros(0, dtype=torch.float64))
        value = top_eigenvalue(2 * (inputs * targets[:, None]).T @ inputs / self.samples)
        return self.minimizers(), value.expand(2)

    def gfs_sharpness(self, params: Tensor) -> Tensor | None:
        """Of a single weight: at both minima the same. Of more, other local minima are excluded for many samples only (Sun, Qu
        and Wright 2018, Found. Comput. Math. 18), and how many is not known."""
        if self.features > 1:
            return None
        moves = torch.isfinite(params).all(-1) & (params != 0).all(-1)
        return self.known_sharpness()[1][0].to(params).expand(moves.shape).where(moves, torch.nan)

    def largest_step(self, params: Tensor) -> Tensor | None:
        """Of a single weight, where L = m (w^2 - 1)^2 / 4 with m the mean of a^4: eta m may be up to 2, past stable minima,
        cycles and chaos (Chen, Balasubramanian, Ghosal and Agrawalla 2023, arXiv:2310.01687), and no more than 2 / (w^2 - 1),
        beyond which the first step leads farther out."""
        if self.features > 1:
            return None
        inputs, _ = self.tensors(params)
        outside = (params[..., 0].square() - 1).clamp_min(1.0)
        return 2 / (outside * inputs.pow(4).mean())
