"""What a rule is compared with: problems, and the path of an implementation that is not ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from landscapes import LANDSCAPES, Landscape, Layout
from tests.rounding import amplified

STEPS = 100  # as the Reference page and the README say
_NOISE = torch.Generator().manual_seed(7)
INPUTS, TARGETS = (torch.randn(9, width, generator=_NOISE, dtype=torch.float64) for width in (4, 3))
_LINEAR = Layout.of([("W", (3, 4)), ("b", (3,))])


@dataclass(frozen=True)
class LeastSquares(Landscape):
    """|X W' + b - Y|^2 / 18 on fixed random data: a problem with a matrix and a vector, whose axes are not the Hessian's.

    Its derivatives are written out, at a third of the cost of automatic differentiation.
    """

    name, label = "least_squares", "Least squares"
    reads, reference, equation, analytic = "A test.", "none", "none", True

    @property
    def layout(self):
        return _LINEAR

    def start(self, runs=1, seed=0, *, dtype=torch.float64, device="cpu"):
        noise = torch.randn(runs, self.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return noise.to(dtype=dtype, device=device)

    def _outputs(self, params):
        named = self.layout.unpack(params)
        return INPUTS @ named["W"].mT + named["b"].unsqueeze(-2)  # (..., 9, 3)

    def _pull(self, outputs):
        """The transpose of the linear map of `_outputs`, over 9: (..., 9, 3) -> (..., dim)."""
        return torch.cat([(outputs.mT @ INPUTS).flatten(-2), outputs.sum(-2)], -1) / 9

    def _loss(self, params, batch):
        return (self._outputs(params) - TARGETS).square().sum((-1, -2)) / 18

    def _value_and_grad(self, params, batch):
        off = self._outputs(params) - TARGETS
        return off.square().sum((-1, -2)) / 18, self._pull(off)

    def _hessian_operator(self, params, batch):
        return lambda vectors: self._pull(self._outputs(vectors))


PROBLEMS = {
    "quadratic": LANDSCAPES["quadratic"](kappa=20.0, angle=0.5),
    "rosenbrock": LANDSCAPES["rosenbrock"](),
    "least_squares": LeastSquares(),
}


class Case(NamedTuple):
    """A rule at some settings, and a factory of the optimizer that must visit the same points."""

    rule: str
    ours: dict[str, Any]
    oracle: Callable[[list[torch.Tensor]], Any]


class Written:
    """An optimizer written out from a paper's equations, for rules that no library has.

    `rule(w, blocks)` is a generator in NumPy: it yields the next w (dim,) and is sent the gradient there; `blocks` are the
    (slice, shape) of the tensors in w.
    """

    def __init__(self, params, rule):
        self.params, ends = params, list(itertools.accumulate(p.numel() for p in params))
        blocks = [(slice(end - p.numel(), end), tuple(p.shape)) for p, end in zip(params, ends, strict=True)]
        self.rule = rule(torch.cat([p.flatten() for p in params]).numpy(), blocks)
        next(self.rule)

    def step(self, closure):
        points = torch.from_numpy(self.rule.send(torch.cat([p.grad.flatten() for p in self.params]).numpy()))
        for param, part in zip(self.params, points.split([p.numel() for p in self.params]), strict=True):
            param.copy_(part.view_as(param))


def written(rule):
    return lambda params: Written(params, rule)


class Looking:
    """An optimizer written out from a paper's equations, for rules that look at several points of one step.

    `rule(w, gradient, hessian)` returns the next w (dim,); the others give the gradient (dim,) and, by automatic
    differentiation of the loss alone, the Hessian (dim, dim) at any point.
    """

    def __init__(self, params, rule):
        self.params, self.rule = params, rule

    def step(self, closure):
        def gradient(point):
            self.place(point)
            closure()
            return torch.cat([p.grad.flatten() for p in self.params])

        def hessian(point):
            self.place(point)
            return closure.hessian()

        self.place(self.rule(torch.cat([p.flatten() for p in self.params]), gradient, hessian))

    def place(self, point):
        for param, part in zip(self.params, point.split([p.numel() for p in self.params]), strict=True):
            param.copy_(part.view_as(param))


def looking(rule):
    return lambda params: Looking(params, rule)


def followed(land, start, oracle):
    """The points (STEPS + 1, dim) that a torch optimizer returns, its parameters being the tensors of the layout.

    One that averages its iterates swaps the average in by `eval()`, and out again by `train()`.
    """
    params = [tensor.clone() for tensor in land.layout.unpack(start).values()]
    names = [block.name for block in land.layout.blocks]

    def point():
        return land.layout.pack(dict(zip(names, params, strict=True)))

    known = ()  # the last point and its gradient: many an optimizer asks first for what it has already

    def evaluate():
        nonlocal known
        at = point()
        if not (known and torch.equal(known[0], at)):
            known = at, land.grad(at)
        grads = land.layout.unpack(known[1])
        for name, tensor in zip(names, params, strict=True):
            tensor.grad = grads[name].clone()

    evaluate.hessian = lambda: torch.autograd.functional.hessian(
        land.loss, point(), vectorize=True
    )  # for rules that know curvature

    optimizer, points = oracle(params), [point()]
    for _ in range(STEPS):
        evaluate()
        optimizer.step(evaluate)  # the closure is for rules that look elsewhere before they move
        if hasattr(optimizer, "eval"):
            optimizer.eval()
        points.append(point())
        if hasattr(optimizer, "train"):
            optimizer.train()
    return torch.stack(points)


def assert_same_path(ours, theirs, tolerance, again):
    """Our points (STEPS + 1, dim) are theirs to a tolerance; later, on a path that magnifies rounding errors, as near as
    such errors let two implementations be. Only where this processor's have shown does `again()` compute ours anew, for
    how much that is.
    """
    off = (ours - theirs).abs()
    allowed = tolerance * (1 + theirs.abs())
    if bool((off <= allowed).all()):
        return
    rounding = 30 * amplified(again)
    assert bool((rounding[: STEPS // 4] <= 1e-10).all()), "a path that rounding soon moves compares nothing"
    assert bool((off <= allowed + rounding).all()), f"{float((off - allowed - rounding).max()):.1e} beyond rounding"
