"""Closed-form surfaces over the plane: a formula, the window worth looking at, and facts that the tests check.

To add one, write a class with these attributes and add its name to the tuple in `landscapes/__init__.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from landscapes.expression import Expr, Program, constant, gradient, variable
from landscapes.facts import largest_bilinear_step
from landscapes.formula import MAX_LENGTH, parse, typeset
from landscapes.landscape import Landscape, Layout
from landscapes.setting import setting, settings

Window = tuple[tuple[float, float], ...]  # ((x low, x high), (y low, y high))
_PLANE = Layout.of([("point", (2,))])


@lru_cache(maxsize=512)
def _graph(expression: str, values: tuple[tuple[str, float], ...]) -> tuple[Expr, Expr, Expr]:
    """Loss and gradient, over the variables x and y."""
    x, y = variable("x"), variable("y")
    loss = parse(expression, {"x": x, "y": y} | {name: constant(value) for name, value in values})
    dx, dy = gradient(loss, [x, y])
    return loss, dx, dy


@lru_cache(maxsize=512)
def _programs(expression: str, values: tuple[tuple[str, float], ...]) -> tuple[Program, Program, Program]:
    """Loss; loss with gradient; Hessian entries xx, xy, yy."""
    x, y = variable("x"), variable("y")
    loss, dx, dy = _graph(expression, values)
    (dxx, dxy), (_, dyy) = gradient(dx, [x, y]), gradient(dy, [x, y])
    return Program([loss], [x, y]), Program([loss, dx, dy], [x, y]), Program([dxx, dxy, dyy], [x, y])


@dataclass(frozen=True)
class Surface(Landscape):
    """A loss of two parameters with analytic derivatives, from one formula over x, y and the settings' names."""

    analytic = True
    log_color: ClassVar[bool] = False  # does a logarithmic colour scale show the structure better?

    @property
    @abstractmethod
    def expression(self) -> str:
        """The formula."""

    @property
    @abstractmethod
    def window(self) -> Window:
        """The part of the plane to show."""

    @property
    @abstractmethod
    def origin(self) -> tuple[float, float]:
        """The default starting point."""

    @property
    def layout(self) -> Layout:
        return _PLANE

    @property
    def equation(self) -> str:
        """The formula as LaTeX."""
        symbols = {name: one.symbol for name, one in settings(self).items() if one.symbol}
        return typeset(self.expression, symbols | {"x": "x", "y": "y"})

    def start(
        self, runs: int = 1, seed: int = 0, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Row 0 is the surface's own starting point; further rows are drawn uniformly from the window."""
        self._check_start(runs, seed, dtype)
        generator = torch.Generator().manual_seed(seed)
        low, high = torch.tensor(self.window, dtype=torch.float64).T
        rows = low + (high - low) * torch.rand(runs, 2, generator=generator, dtype=torch.float64)
        rows[:1] = torch.tensor(self.origin, dtype=torch.float64)
        return rows.to(dtype=dtype, device=device)

    def infimum(self) -> float | None:
        """The loss at its minimizers, which are global ones."""
        points = self.minimizers()
        return None if points is None else float(self.loss(points).min())

    @property
    def operations(self) -> int:
        return len(self._compiled[0])

    @property
    def graph(self) -> tuple[Expr, Expr, Expr]:
        """Its loss and both derivatives, as expressions of the variables x and y."""
        return _graph(self.expression, self._numbers)

    @property
    def _numbers(self) -> tuple[tuple[str, float], ...]:
        return tuple((name, value) for name, value in self.values().items() if isinstance(value, float))

    @cached_property
    def _compiled(self) -> tuple[Program, Program, Program]:
        return _programs(self.expression, self._numbers)

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        return self._compiled[0](*params.unbind(-1))[0]

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        loss, dx, dy = self._compiled[1](*params.unbind(-1))
        return loss, torch.stack((dx, dy)).movedim(0, -1)  # one plane a coordinate: long batches stay contiguous

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Callable[[Tensor], Tensor]:
        dxx, dxy, dyy = self._compiled[2](*params.unbind(-1))

        def product(vectors: Tensor) -> Tensor:
            x, y = vectors.unbind(-1)
            return torch.stack((dxx * x + dxy * y, dxy * x + dyy * y), dim=-1)

        return product


def _points(*points: tuple[float, float]) -> Tensor:
    return torch.tensor(points, dtype=torch.float64)


@dataclass(frozen=True)
class Quadratic(Surface):
    name, label = "quadratic", "Quadratic bowl"
    reads = "The one surface where every rule can be solved by hand: gradient descent is stable while η times the curvature is below 2."
    reference = "Goh 2017, Why Momentum Really Works, Distill"
    expression = "((x*cos(angle) + y*sin(angle))^2 + kappa*(y*cos(angle) - x*sin(angle))^2)/2"
    window = ((-2.0, 2.0), (-2.0, 2.0))
    origin = (-1.6, 1.2)
    kappa: float = setting(
        10.0, 1.0, 1e4, log=True, symbol=r"\kappa", help="Condition number: the steep curvature; the gentle one is 1."
    )
    angle: float = setting(0.0, -3.2, 3.2, symbol=r"\varphi", help="Turns the valley away from the axes, in radians.")

    def minimizers(self) -> Tensor:
        return _points((0.0, 0.0))

    def largest_step(self, params: Tensor) -> Tensor:
        """But for starts that lie exactly on the gentle axis."""
        return torch.full_like(params[..., 0], 2 / self.kappa)


@dataclass(frozen=True)
class Rosenbrock(Surface):
    name, label = "rosenbrock", "Rosenbrock valley"
    reads = "Easy to reach, slow to follow: a curved valley whose floor hardly falls."
    reference = "Rosenbrock 1960, The Computer Journal 3(3)"
    expression = "(a - x)^2 + b*(y - x^2)^2"
    window = ((-2.0, 2.0), (-1.0, 3.0))
    origin = (-1.5, 2.0)
    log_color = True
    a: float = setting(1.0, -2.0, 2.0, symbol="a", help="The minimum lies at (a, a²).")
    b: float = setting(100.0, 0.1, 1e4, log=True, symbol="b", help="Steepness of the valley's walls.")

    def minimizers(self) -> Tensor:
        return _points((self.a, self.a**2))


@dataclass(frozen=True)
class Beale(Surface):
    name, label = "beale", "Beale"
    reads = "Flat plains and sharp corner peaks: one step size cannot suit both."
    reference = "Beale 1958, On an iterative method for finding a local minimum"
    expression = "(1.5 - x + x*y)^2 + (2.25 - x + x*y^2)^2 + (2.625 - x + x*y^3)^2"
    window = ((-4.5, 4.5), (-4.5, 4.5))
    origin = (1.0, 1.5)
    log_color = True

    def minimizers(self) -> Tensor:
        return _points((3.0, 0.5))


@dataclass(frozen=True)
class Himmelblau(Surface):
    name, label = "himmelblau", "Himmelblau"
    reads = "Four equal minima: the start, and the step size, decide which one a run finds."
    reference = "Himmelblau 1972, Applied Nonlinear Programming"
    expression = "(x^2 + y - 11)^2 + (x + y^2 - 7)^2"
    window = ((-5.0, 5.0), (-5.0, 5.0))
    origin = (-0.5, -0.5)
    log_color = True

    def minimizers(self) -> Tensor:
        return _points(
            (3.0, 2.0),
            (-2.805118086952745, 3.131312518250573),
            (-3.779310253377747, -3.283185991286170),
            (3.584428340330492, -1.848126526964404),
        )


@dataclass(frozen=True)
class Rastrigin(Surface):
    name, label = "rastrigin", "Rastrigin"
    reads = "A bowl covered with regular dimples: descent stops in the first one unless its steps are large."
    reference = "Rastrigin 1974, Systems of Extremal Control"
    expression = "2*A + x^2 - A*cos(2*pi*x) + y^2 - A*cos(2*pi*y)"
    window = ((-5.12, 5.12), (-5.12, 5.12))
    origin = (-3.4, 2.6)
    A: float = setting(10.0, 0.0, 100.0, symbol="A", help="Depth of the dimples.")

    def minimizers(self) -> Tensor:
        return _points((0.0, 0.0))


@dataclass(frozen=True)
class Ackley(Surface):
    name, label = "ackley", "Ackley"
    reads = "A nearly flat, rippled plain around one narrow hole; at its bottom the loss has a kink."
    reference = "Ackley 1987, A Connectionist Machine for Genetic Hillclimbing"
    expression = "-20*exp(-0.2*sqrt((x^2 + y^2)/2)) - exp((cos(2*pi*x) + cos(2*pi*y))/2) + e + 20"
    window = ((-5.0, 5.0), (-5.0, 5.0))
    origin = (-3.3, 2.7)

    def minimizers(self) -> Tensor:
        return _points((0.0, 0.0))


@dataclass(frozen=True)
class StyblinskiTang(Surface):
    name, label = "styblinski_tang", "Styblinski-Tang"
    reads = "Four wells of different depth, one in each quadrant."
    reference = "Styblinski and Tang 1990, Neural Networks 3(4)"
    expression = "(x^4 - 16*x^2 + 5*x + y^4 - 16*y^2 + 5*y)/2"
    window = ((-5.0, 5.0), (-5.0, 5.0))
    origin = (0.6, 4.4)

    def minimizers(self) -> Tensor:
        return _points((-2.9035340277711770, -2.9035340277711770))


@dataclass(frozen=True)
class Saddle(Surface):
    name, label = "saddle", "Saddle"
    reads = "Downhill without end along y: started near the ridge, who leaves the saddle first?"
    reference = "Dauphin et al. 2014, arXiv:1406.2572"
    expression = "x^2 - y^2"
    window = ((-2.0, 2.0), (-2.0, 2.0))
    origin = (-1.5, 0.01)

    def flow_escapes(self) -> bool:
        return True


@dataclass(frozen=True)
class MonkeySaddle(Surface):
    name, label = "monkey_saddle", "Monkey saddle"
    reads = "Three valleys meet at a point where gradient and Hessian both vanish."
    reference = "Hilbert and Cohn-Vossen 1952, Geometry and the Imagination"
    expression = "x^3 - 3*x*y^2"
    window = ((-1.5, 1.5), (-1.5, 1.5))
    origin = (1.2, 0.02)

    def flow_escapes(self) -> bool:
        return True


@dataclass(frozen=True)
class ThreeHumpCamel(Surface):
    name, label = "three_hump_camel", "Three-hump camel"
    reads = "Two local minima beside the global one: momentum may carry a run over the ridge."
    reference = "Dixon and Szegö 1978, Towards Global Optimisation 2"
    expression = "2*x^2 - 1.05*x^4 + x^6/6 + x*y + y^2"
    window = ((-2.5, 2.5), (-2.5, 2.5))
    origin = (-2.0, 2.0)

    def minimizers(self) -> Tensor:
        return _points((0.0, 0.0))


@dataclass(frozen=True)
class Booth(Surface):
    name, label = "booth", "Booth"
    reads = "A tilted quadratic with curvatures 2 and 18: gradient descent is stable below η = 1/9."
    reference = "Jamil and Yang 2013, arXiv:1308.4008"
    expression = "(x + 2*y - 7)^2 + (2*x + y - 5)^2"
    window = ((-10.0, 10.0), (-10.0, 10.0))
    origin = (-8.0, 8.0)
    log_color = True

    def minimizers(self) -> Tensor:
        return _points((1.0, 3.0))

    def largest_step(self, params: Tensor) -> Tensor:
        """But for starts that lie exactly on the gentle axis, x - y = -2."""
        return torch.full_like(params[..., 0], 2 / 18)


@dataclass(frozen=True)
class StabilityValley(Surface):
    name, label = "stability_valley", "Edge-of-stability valley"
    reads = "Every point of the hyperbola xy = 1 is a minimum, of sharpness x² + y²: a large step slides along it to where 2/η allows."
    reference = "Zhu et al. 2022, arXiv:2210.03294"
    expression = "(1 - x*y)^2/2"
    window = ((-0.5, 4.0), (-0.5, 4.0))
    origin = (0.2, 3.6)
    log_color = True

    def minimizers(self) -> Tensor:
        return _points((1.0, 1.0), (2.0, 0.5), (0.5, 2.0))

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        points = self.minimizers()
        return points, points.square().sum(-1)

    def conserved(self, params: Tensor) -> Tensor:
        return (params[..., :1] - params[..., 1:]) * (params[..., :1] + params[..., 1:])

    def gfs_sharpness(self, params: Tensor) -> Tensor:
        """xy = 1 and x² - y² = k give x² + y² = sqrt(k² + 4). From x = -y the flow ends at the saddle 0."""
        value = (self.conserved(params)[..., 0].square() + 4).sqrt()
        return value.where(torch.isfinite(params).all(-1) & (params.sum(-1) != 0), torch.nan)

    def largest_step(self, params: Tensor) -> Tensor:
        return largest_bilinear_step(params.square().sum(-1), params.prod(-1), 1.0)


@dataclass(frozen=True)
class Formula(Surface):
    """A surface from a user's formula in x and y. Raises FormulaError, a ValueError, if the formula is not admitted."""

    name, label = "formula", "Your formula"
    reads = "Whatever you type: + - * / ^, the usual functions, x and y."
    reference = "yours"
    expression: str = setting(
        "sin(3*x)*cos(3*y) + x^2 + y^2", high=MAX_LENGTH, symbol="f", help="A formula in x and y."
    )
    window: Window = setting(
        ((-2.0, 2.0), (-2.0, 2.0)), rows=2, ordered=True, help="Ranges shown: x low:high, y low:high."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self._compiled  # compiles now, so that a formula that is not admitted is refused here

    @property
    def origin(self) -> tuple[float, float]:
        """Three quarters to the left and up: rarely a point of symmetry."""
        (left, right), (low, high) = self.window
        return left + 0.22 * (right - left), low + 0.81 * (high - low)
