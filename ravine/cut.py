"""A cut through the loss along the top eigenvector of the Hessian at one step of a run, with the iterates projected on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Landscape
from landscapes.curvature import eigenpairs
from ravine.result import Result
from ravine.telling import Tell, counted, silent
from ravine.threads import one_thread

POINTS = 61
WINDOW = 12  # kept iterates to each side of the step
_TOLERANCE = 1e-3  # residual of the eigenvector
_PRODUCTS = 20  # with the Hessian, that it usually takes
_WORK = 1_000_000_000  # samples times parameters that are looked along while somebody waits


@dataclass(frozen=True)
class Cut:
    """All numbers in float64 on the CPU."""

    run: int  # from 0
    step: int  # the one whose parameters were kept nearest to the step asked for
    value: float  # the top eigenvalue of the Hessian there
    residual: float  # |H v - value v|
    height: float  # the loss there
    slope: float  # of the loss along v there
    along: Tensor  # (POINTS,): distance from the iterate along v, across the window
    loss: Tensor  # (POINTS,)
    steps: Tensor  # (P,): of all kept iterates
    position: Tensor  # (P,): their projections on v
    distance: Tensor  # (P,): how far from the line they are
    window: slice  # of the kept iterates: those around the step

    @property
    def parabola(self) -> Tensor:
        """(POINTS,): the loss to second order at the iterate."""
        return self.height + self.slope * self.along + self.value / 2 * self.along**2


def cut(result: Result, run: int, step: int, tell: Tell = silent) -> Cut:
    """The cut at the kept step nearest to `step` of run number `run`, from 0. Raises ValueError where it would take too long."""
    landscape, place = looked_at(result, run, step)
    path = result.paths[run]
    center = path.params[place]
    with one_thread():
        operator = counted(landscape.hessian_operator(center), tell, _PRODUCTS, "the top eigenvector")
        pairs = eigenpairs(operator, center, tol=_TOLERANCE)
        vector = pairs.vectors[0]
        offset = path.params - center
        position = offset @ vector
        around = slice(max(0, place - WINDOW), place + WINDOW + 1)
        low, high = float(position[around].min()), float(position[around].max())
        # Where the iterates hardly move, the loss is shown beyond its rounding errors.
        margin = max(0.4 * (high - low), 1e-3 * float(center.norm())) or 1.0
        along = torch.linspace(low - margin, high + margin, POINTS, dtype=center.dtype, device=center.device)
        points = center + along[:, None] * vector
        parts = []
        for part in points.split(landscape.chunk(center)):
            tell(0.99, "the loss along it")
            parts.append(landscape.loss(part))
        loss = torch.cat(parts)
        height, grad = landscape.value_and_grad(center)
    across = (offset - position[:, None] * vector).norm(dim=-1)
    return Cut(
        run=run, step=int(path.params_step[place]), value=float(pairs.values[0]), residual=float(pairs.residuals[0]),
        height=float(height), slope=float(grad @ vector), along=along.cpu().double(), loss=loss.cpu().double(), steps=path.params_step,
        position=position.cpu().double(), distance=across.cpu().double(), window=around,
    )  # fmt: skip


def looked_at(result: Result, run: int, step: int) -> tuple[Landscape, int]:
    """The landscape of a run, and the place of the kept step nearest to `step`. Raises ValueError where it would take too
    long to look around there, and where the run has diverged."""
    path, landscape = result.paths[run], result.experiment.runs[run].landscape
    if landscape.dim * (landscape.samples or 1) > _WORK:
        raise ValueError("This network is too large to look into on the spot; the slice page takes its time.")
    place = path.kept(step)
    at, died = int(path.params_step[place]), int(path.diverged_at)
    if 0 <= died <= at or not bool(torch.isfinite(landscape.loss(path.params[place]))):
        raise ValueError(f"The run has diverged by step {at}: there is nothing to look at.")
    return landscape, place


def said(cut: Cut) -> str:
    """The cut in a sentence."""
    near = cut.position[cut.window]
    turns = int((near.diff()[1:] * near.diff()[:-1] < 0).sum())
    swings = f"they turn around {turns} times" if turns else "they do not turn around"
    return (
        f"At step {cut.step} the top eigenvalue is {cut.value:.4g}, with a residual of {cut.residual:.1g}. Over the "
        f"{len(near)} kept iterates around it, the projections on its eigenvector span "
        f"{float(near.max() - near.min()):.3g}, and {swings}."
    )
