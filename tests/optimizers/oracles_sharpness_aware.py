"""Oracles of the sharpness-aware rules that no library has, written out from their papers' equations."""

from __future__ import annotations

import math

from tests.optimizers.comparison import Case, looking


def gam(lr, rho, alpha):
    """Zhang et al. 2023, Algorithm 1 over gradient descent, with dense Hessians."""

    def rule(w, gradient, hessian):
        def slope(point):  # of |grad|
            g = gradient(point)
            return hessian(point) @ g / math.sqrt(g @ g)

        f = slope(w)
        return w - lr * (gradient(w) + alpha * rho * slope(w + rho * f / math.sqrt(f @ f)))

    return looking(rule)


def gam_accelerated(lr, rho, rho_n, be1, be2, be3, gamma):
    """The authors' train step (github.com/xxgege/GAM, gam/gam.py), restated."""

    def rule(w, gradient, hessian):
        g0 = gradient(w)
        g1 = gradient(w + rho / math.sqrt(g0 @ g0) * g0)
        rise = g1 - g0
        at = w + rho_n / math.sqrt(rise @ rise) * rise
        g2 = gradient(at)
        g3 = gradient(at + rho / math.sqrt(g2 @ g2) * g2)
        old, new = g0 + abs(be2) * g2, be1 * g1 + be3 * g3
        vertical = old - (old @ new) / (new @ new) * new
        return w - lr * (new - gamma * vertical)

    return looking(rule)


def grad_reg(lr, form, gamma=0.1, eps=0.01, a=0.5, r=0.05):
    """Karakida et al. 2022, equations 4 and 5; `exact` with the dense Hessian; `norm`: Zhao, Zhang and Hu 2022, Algorithm 1."""

    def rule(w, gradient, hessian):
        g = gradient(w)
        if form == "forward":
            d = g + gamma * (gradient(w + eps * g) - g) / eps
        elif form == "backward":
            d = g + gamma * (g - gradient(w - eps * g)) / eps
        elif form == "exact":
            d = g + gamma * hessian(w) @ g
        else:
            d = (1 - a) * g + a * gradient(w + r * g / math.sqrt(g @ g))
        return w - lr * d

    return looking(rule)


# On Rosenbrock the gradient is in the hundreds: eps and gamma are such that w + eps g stays near w.
CASES = [
    Case("gam", {"lr": 2e-4}, gam(2e-4, 0.1, 0.1)),
    Case("gam", {"lr": 1e-4, "rho": 0.3, "alpha": 2.0}, gam(1e-4, 0.3, 2.0)),
    Case("gam_accelerated", {"lr": 1e-4}, gam_accelerated(1e-4, 0.1, 0.02, 1.0, -1.0, 1.0, 0.3)),
    Case(
        "gam_accelerated",
        {"lr": 2e-4, "rho": 0.02, "rho_n": 0.2, "be1": 0.6, "be2": 0.5, "be3": 0.4, "gamma": 0.03},
        gam_accelerated(2e-4, 0.02, 0.2, 0.6, 0.5, 0.4, 0.03),
    ),
    Case("grad_reg", {"lr": 2e-4, "gamma": 1e-3, "eps": 1e-4}, grad_reg(2e-4, "forward", gamma=1e-3, eps=1e-4)),
    Case(
        "grad_reg",
        {"form": "backward", "lr": 1e-4, "gamma": 2e-3, "eps": 2e-4},
        grad_reg(1e-4, "backward", gamma=2e-3, eps=2e-4),
    ),
    Case("grad_reg", {"form": "exact", "lr": 3e-4, "gamma": 5e-4}, grad_reg(3e-4, "exact", gamma=5e-4)),
    Case("grad_reg", {"form": "norm", "lr": 2e-4}, grad_reg(2e-4, "norm")),
    Case("grad_reg", {"form": "norm", "lr": 1e-4, "a": 0.3, "r": 0.1}, grad_reg(1e-4, "norm", a=0.3, r=0.1)),
]
