"""The Hessian's spectrum at one step of a run: its density, and the eigenvalues that stand apart from the bulk."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import extreme_eigenvalues
from landscapes.curvature import eigenpairs
from landscapes.learner import Learner
from landscapes.spectrum import quadrature, smoothed
from ravine.cut import looked_at
from ravine.result import Result
from ravine.stability import thresholds
from ravine.telling import Tell, counted, silent
from ravine.threads import one_thread

_TOLERANCE = 1e-2  # residual of the top eigenvalues, over the largest
_LEAST, _MOST = 8, 20  # top eigenvalues
_BEYOND = 4  # of them past the number of classes: to see where the bulk begins
_FLOOR = 0.01  # of the largest eigenvalue: what is below belongs to the bulk
_APART = 1.5  # times the next: then an eigenvalue stands apart
_STEPS, _DRAWS = 40, 2  # nodes for each random vector
_PRODUCTS = 150  # with the Hessian, that it usually takes in all


@dataclass(frozen=True)
class Density:
    """All numbers in float64 on the CPU."""

    run: int  # from 0
    step: int  # the one whose parameters were kept nearest to the step asked for
    dim: int  # eigenvalues in all
    grid: Tensor  # (points,)
    density: Tensor  # (points,), of integral 1
    top: Tensor  # (k,): the largest eigenvalues, in falling order
    residual: float  # |H v - lambda v|, the worst of them
    lowest: float  # the smallest eigenvalue: it lies at most lowest_error away
    lowest_error: float
    classes: int | None  # that a softmax tells apart
    limit: float | None  # the rule's stability threshold there

    @property
    def ratios(self) -> Tensor:
        """(k - 1,): each of the top eigenvalues over the next, or over the floor of the bulk."""
        return self.top[:-1] / self.top[1:].clamp_min(_FLOOR * float(self.top[0]))

    @property
    def outliers(self) -> int:
        """How many eigenvalues lie above the widest gap among the top ones; 0 where no gap is wide."""
        if self.top[0] <= 0 or len(self.top) < 2 or float(self.ratios.max()) < _APART:
            return 0
        return 1 + int(self.ratios.argmax())

    @property
    def alone(self) -> float:
        """The density that a single eigenvalue makes: a bell of the smoothing's width over the number of all."""
        width = (float(self.grid[-1]) - float(self.grid[0])) / 108  # the grid: 100 widths of range, and 4 to each side
        return 1 / (self.dim * width * (2 * torch.pi) ** 0.5)


def spectrum(result: Result, run: int, step: int, tell: Tell = silent) -> Density:
    """The spectrum at the kept step nearest to `step` of run number `run`, from 0. Raises ValueError as `cut`."""
    landscape, place = looked_at(result, run, step)
    path = result.paths[run]
    center, at = path.params[place], int(path.params_step[place])
    classes = landscape.softmax if isinstance(landscape, Learner) else None
    count = min(landscape.dim, _MOST, max(_LEAST, (classes or 0) + _BEYOND))
    with one_thread():
        operator = counted(landscape.hessian_operator(center), tell, _PRODUCTS, "the spectrum")
        pairs = eigenpairs(operator, center, count, tol=_TOLERANCE)
        found = smoothed(*quadrature(operator, center, steps=_STEPS, draws=_DRAWS))
        ends = extreme_eigenvalues(operator, center)
    limits = thresholds(result.experiment.runs[run], result.experiment.steps)
    return Density(
        run=run, step=at, dim=landscape.dim, grid=found.grid.cpu().double(), density=found.density.cpu().double(),
        top=pairs.values.cpu().double(), residual=float(pairs.residuals.max()), classes=classes,
        lowest=float(ends.lowest), lowest_error=float(ends.lowest_error),
        limit=None if limits is None else limits[at],
    )  # fmt: skip


def said(found: Density) -> str:
    """The spectrum in sentences."""
    top, count = found.top, found.outliers
    exact = f"with residuals of at most {found.residual:.1g}"
    if count == 0:
        among = f"among the {len(top)} largest eigenvalues, {exact}, no gap is wider than a factor of {_APART}"
        told = f"At step {found.step}, nothing stands apart from the bulk: {among}."
    else:
        many = "one eigenvalue stands" if count == 1 else f"{count} eigenvalues stand"
        rest = max(float(top[count]), _FLOOR * float(top[0])) if count < len(top) else 0.0
        told = (
            f"At step {found.step}, {many} apart from the bulk, from {float(top[0]):.4g} down to {float(top[count - 1]):.4g}, "
            f"{exact}: the widest gap is a factor of {float(top[count - 1]) / rest:.2g}."
        )
    told += f" The smallest eigenvalue is {found.lowest:.4g} ± {found.lowest_error:.1g}"
    told += "." if abs(found.lowest) > found.lowest_error else ", and may be zero or of either sign."
    if found.classes is None:
        return told
    usual = found.classes - 1
    agrees = "as many as there are here" if usual == count else f"here there are {count}"
    return f"{told} With {found.classes} classes, {usual} are usual, one less than the classes (Sagun et al. 2017): {agrees}."
