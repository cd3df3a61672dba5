"""Rules that take the gradient at a worse point nearby, so as to prefer flat regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscapes import setting
from optimizers.optimizer import Optimizer, Oracle, State, Value, ema, moved

_TINY = 1e-12  # as in the authors' code: a zero gradient perturbs nothing


def _length(vector: Tensor) -> Tensor:
    return vector.norm(dim=-1, keepdim=True)


def _unit(vector: Tensor) -> Tensor:
    return vector / (_length(vector) + _TINY)


def _radius(default: float, symbol: str, help: str) -> Any:
    return setting(default, 0.0, 1e3, low_open=True, log=True, scale=(1e-3, 10.0), symbol=symbol, help=help)


def _share(default: float, symbol: str, help: str) -> Any:
    return setting(default, -100.0, 100.0, scale=(-1.0, 1.0), symbol=symbol, help=help)


@dataclass(frozen=True)
class SAM(Optimizer):
    """Sharpness-aware minimisation over gradient descent; `adaptive` is ASAM (Kwon et al. 2021, arXiv:2102.11600)."""

    name, label = "sam", "SAM"
    idea = "Descend with the gradient from the worst point of a small ball around you."
    equation = r"w \leftarrow w - \eta\, \nabla L\!\left(w + \rho\, \frac{g}{\|g\|}\right)"
    reference = "Foret et al. 2020, arXiv:2010.01412"
    verified = "pytorch_optimizer.SAM, its norm taken in float64"
    rho: Value = setting(0.05, 0.0, 1e3, log=True, scale=(1e-3, 10.0), symbol=r"\rho", help="Radius of the ball.")
    adaptive: bool = setting(False, help="Measure the ball relative to the size of each parameter (ASAM).")

    def init(self, params: Tensor) -> State:
        return ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad = oracle(params).grad
        length = (params.abs() * grad if self.adaptive else grad).norm(dim=-1, keepdim=True)
        ascent = params * params * grad if self.adaptive else grad
        worst = torch.add(params, ascent * (self.rho / (length + _TINY)))
        return moved(params, oracle(worst).grad, self.lr), ()


@dataclass(frozen=True)
class GAM(Optimizer):
    """The penalty is alpha * rho * max |grad| over a ball of radius rho; both Hessian products are exact."""

    name, label = "gam", "GAM"
    idea = "Descend the loss plus the largest gradient norm of a small ball around you."
    equation = (
        r"w \leftarrow w - \eta \left( g + \alpha \rho\, N(w + \rho\, \tfrac{N(w)}{\|N(w)\|}) \right), \quad "
        r"N = \nabla \|\nabla L\| = \frac{H g}{\|g\|}"
    )
    reference = "Zhang et al. 2023, arXiv:2303.03108"
    verified = "the paper's equations, written out in the tests"
    rho: Value = _radius(0.1, r"\rho", "Radius of the ball.")
    alpha: Value = setting(0.1, 0.0, 1e3, log=True, scale=(1e-3, 10.0), symbol=r"\alpha", help="Weight of the penalty.")

    def init(self, params: Tensor) -> State:
        return ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad = oracle(params).grad
        steepest = oracle.hvp(params, _unit(grad))  # the gradient of |grad|
        worst = torch.add(params, _unit(steepest) * self.rho)
        penalty = oracle.hvp(worst, _unit(oracle(worst).grad))
        return moved(params, torch.add(grad, penalty * (self.alpha * self.rho)), self.lr), ()


@dataclass(frozen=True)
class AcceleratedGAM(Optimizer):
    """As in the authors' code, which differs from the paper's algorithm; |.| is put on be2 alone."""

    name, label = "gam_accelerated", "GAM, accelerated"
    idea = "GAM without Hessian products: four gradients, the last two taken where the gradient grew fastest."
    equation = (
        r"g_1 = \nabla L(w + \rho \hat g_0),\ a = w + \rho_n \widehat{g_1 - g_0},\ g_2 = \nabla L(a),\ "
        r"g_3 = \nabla L(a + \rho \hat g_2), \quad n = \beta_1 g_1 + \beta_3 g_3,\ q = g_0 + |\beta_2| g_2, \quad "
        r"w \leftarrow w - \eta\,(n - \gamma\, q_{\perp n})"
    )
    reference = "Zhang et al. 2023, arXiv:2303.03108"
    verified = "the authors' code, restated in the tests"
    rho: Value = _radius(0.1, r"\rho", "Radius of the ball in which the loss is worst.")
    rho_n: Value = _radius(0.02, r"\rho_n", "Radius of the ball in which the gradient is longest.")
    be1: Value = _share(1.0, r"\beta_1", "Weight of the gradient at the worst point near w.")
    be2: Value = _share(-1.0, r"\beta_2", "Weight, without its sign, of the gradient where the gradient is longest.")
    be3: Value = _share(1.0, r"\beta_3", "Weight of the gradient at the worst point near there.")
    gamma: Value = _share(0.3, r"\gamma", "How much of q, as far as it is at right angles to n, is taken away.")

    def init(self, params: Tensor) -> State:
        return ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad0 = oracle(params).grad
        grad1 = oracle(torch.add(params, _unit(grad0) * self.rho)).grad
        steepest = torch.add(params, _unit(grad1 - grad0) * self.rho_n)
        grad2 = oracle(steepest).grad
        grad3 = oracle(torch.add(steepest, _unit(grad2) * self.rho)).grad
        low, high = torch.add(grad0, grad2 * abs(self.be2)), torch.add(grad1 * self.be1, grad3 * self.be3)
        cosine = (low * high).sum(-1, keepdim=True) / (_length(low) * _length(high) + _TINY)
        across = low - cosine * _length(low) * _unit(high)
        return moved(params, moved(high, across, self.gamma), self.lr), ()


@dataclass(frozen=True)
class GradientRegularization(Optimizer):
    """The penalty is gamma / 2 * |g|^2, and a * r * |g| in the form "norm"."""

    name, label = "grad_reg", "Gradient regularization"
    idea = "Descend the loss plus a penalty on the gradient's norm, by one more gradient a short way off."
    equation = (
        r"w \leftarrow w - \eta\,(g + \gamma H g), \quad "
        r"H g \approx \frac{\nabla L(w + \epsilon g) - g}{\epsilon}"
    )
    reference = "Karakida et al. 2022, arXiv:2210.02720; norm: Zhao, Zhang and Hu 2022, arXiv:2202.03599"
    verified = "the papers' equations, written out in the tests"
    form: str = setting(
        "forward",
        choices=("forward", "backward", "exact", "norm"),
        help="Difference of gradients ahead or behind, exact product, or a penalty on |g| itself.",
    )
    gamma: Value = setting(0.1, 0.0, 1e3, log=True, scale=(1e-3, 10.0), symbol=r"\gamma", help="Weight of the penalty.")
    # Below the open end a difference of gradients is nothing but rounding.
    eps: Value = setting(
        0.01, 1e-12, 1e3, low_open=True, log=True, scale=(1e-4, 1.0), symbol=r"\epsilon",
        help="Distance of the second gradient, in units of g (forward, backward).",
    )  # fmt: skip
    a: Value = setting(0.5, 0.0, 1.0, symbol="a", help="Share of the second gradient (norm).")
    r: Value = _radius(0.05, "r", "Distance of the second gradient (norm).")

    def init(self, params: Tensor) -> State:
        return ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        grad = oracle(params).grad
        if self.form == "norm":
            ahead = oracle(torch.add(params, _unit(grad) * self.r)).grad
            return moved(params, ema(ahead, grad, self.a), self.lr), ()
        if self.form == "exact":
            product = oracle.hvp(params, grad)
        else:
            eps = self.eps if self.form == "forward" else -self.eps
            product = (oracle(torch.add(params, grad * eps)).grad - grad) / eps
        return moved(params, torch.add(grad, product * self.gamma), self.lr), ()
