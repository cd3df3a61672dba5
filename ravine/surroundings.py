"""What surrounds each iterate of a run on a surface: computed only when somebody asks to see it.

The slope and curvature are the surface's own derivatives. How a rule responds is measured, the same way for every rule
and whatever is around it: how its next step changes with the gradient it is given, everything it remembers held fixed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

import torch
from torch import Tensor

from landscapes import Landscape, Surface
from optimizers import Evaluation, Oracle, Stepper, iterate, planned
from optimizers.stepper import State
from ravine.around import AROUND
from ravine.experiment import DTYPES, Experiment
from ravine.result import Result
from ravine.stability import until_the_end
from ravine.telling import Tell, silent
from ravine.threads import one_thread

WIDTHS = {"gradient": 2, "step": 2, "response": 3, "curvature": 3, "stability": 1}  # numbers a step
LARGEST = "largest curvature"
GRID = 61  # points per axis of the largest curvature
_RESPONSES = 250  # steps at which the response is measured, at most
_NUDGE = 1e-4  # of the gradient's length, for the response


def surroundings(result: Result, wanted: Collection[str], tell: Tell = silent) -> dict[str, Tensor]:
    """The wanted aspects, each (R, N, width), for N runs at R recorded steps; and with "stability" the largest curvature over
    the window, (GRID, GRID), as LARGEST. Raises ValueError for an unknown one."""
    unknown = [name for name in wanted if name not in AROUND]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is unknown: it must be one of {', '.join(AROUND)}.")
    experiment, path = result.experiment, result.trajectory
    surface, points = experiment.landscape, path.params
    found: dict[str, Tensor] = {}
    if "gradient" in wanted:
        found["gradient"] = surface.grad(points)
    if "step" in wanted:
        found["step"] = torch.cat([torch.zeros_like(points[:1]), points.diff(dim=0)])
    if "response" in wanted:
        found["response"] = _responses(experiment, tell)
    if "curvature" in wanted:
        found["curvature"] = hessian(surface, points)
    if "stability" in wanted:
        limits = [until_the_end(stepper.thresholds(experiment.steps)) for stepper in experiment.optimizers]
        rows = [
            torch.full_like(points[:, 0, 0], torch.nan) if one is None else torch.tensor(one).to(points)
            for one in limits
        ]
        found["stability"] = torch.stack(rows, dim=1).unsqueeze(-1)
        assert isinstance(surface, Surface)
        found[LARGEST] = largest_curvature(surface)
    return {name: found[name] for name in (*AROUND, LARGEST) if name in found}


def hessian(landscape: Landscape, points: Tensor) -> Tensor:
    """xx, xy and yy of the Hessian (..., 3) at points (..., 2)."""
    along_x, along_y = (landscape.hvp(points, axis.expand_as(points)) for axis in torch.eye(2).to(points))
    return torch.stack([along_x[..., 0], along_x[..., 1], along_y[..., 1]], dim=-1)


def largest_curvature(surface: Surface) -> Tensor:
    """The largest eigenvalue of the Hessian on a grid (GRID, GRID) over the window; row j belongs to y[j]."""
    x, y = (torch.linspace(low, high, GRID, dtype=torch.float64) for low, high in surface.window)
    xx, xy, yy = hessian(surface, torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)).unbind(-1)
    return (xx + yy) / 2 + torch.hypot((xx - yy) / 2, xy)


def _responses(experiment: Experiment, tell: Tell) -> Tensor:
    """xx, xy, yy of P P^T (R, N, 3), where P is how the next step of a run changes with its gradient.

    P maps the unit circle of gradients to an ellipse, and P P^T is what that ellipse is drawn from.
    """
    landscape, steppers = experiment.landscape, experiment.optimizers
    start = torch.tensor(experiment.start, dtype=DTYPES[experiment.dtype], device=experiment.device)
    rules = planned(landscape, steppers, start, experiment.steps, experiment.seed)
    stride = 1 + experiment.steps // _RESPONSES  # in between, the last measured one stands
    rows: list[Tensor] = []
    with one_thread():
        for now in islice(iterate(landscape, rules, start, seed=experiment.seed), experiment.steps + 1):
            tell(now.step / experiment.steps, f"step {now.step} of {experiment.steps}")
            if now.step % stride:
                rows.append(rows[-1])
                continue
            each = zip(rules, now.params, now.loss, now.grad, now.states, strict=True)
            rows.append(torch.stack([_response(landscape, *one) for one in each]))
    return torch.stack(rows)


def _response(landscape: Landscape, rule: Stepper, point: Tensor, loss: Tensor, grad: Tensor, state: State) -> Tensor:
    """P P^T (3,) of one rule at point (2,), by central differences."""
    size = _NUDGE * grad.norm() + torch.finfo(grad.dtype).tiny
    columns = []
    for axis in torch.eye(2).to(point):
        after = [
            rule.point(
                *rule.step(
                    point, state, Oracle(landscape, generator=torch.Generator(), known=(point, Evaluation(loss, moved)))
                )
            )
            for moved in _either_side(grad, size * axis)
        ]
        columns.append((after[0] - after[1]) / (2 * size))
    p = torch.stack(columns, dim=-1)
    square = p @ p.mT
    return torch.stack([square[0, 0], square[0, 1], square[1, 1]])


def _either_side(grad: Tensor, nudge: Tensor) -> Iterator[Tensor]:
    yield grad + nudge
    yield grad - nudge
