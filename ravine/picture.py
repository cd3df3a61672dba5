"""Results -> packets for the canvas component: a heavy one for the field of losses, a light one for the runs on it.

A packet is a header in JSON and float32 blocks behind it (see assets/surface.js). They travel apart, so that a changed
step size sends a few kilobytes and not the field again.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from landscapes import QUANTITIES, Plane, Surface
from optimizers import OPTIMIZERS, Stepper, Trajectory
from ravine.experiment import Experiment
from ravine.outcome import divergence
from ravine.overlay import NOTHING
from ravine.reading import on_log_scale
from ravine.surroundings import LARGEST

if TYPE_CHECKING:  # figures, which Result calls, shares the palette and the grid with this module
    from ravine.basins import Basins
    from ravine.result import Result

# Okabe and Ito 2008, Color Universal Design: told apart with any colour vision, in the order of contrast on Cividis. The
# last two are not theirs, for yellow and black would vanish on one of the themes.
COLORS = ("#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#E69F00", "#8F5AD9", "#8A8A8A")
DASHES = ("solid", "dash", "dot", "dashdot")  # of the first, second, ... line of one color
# Rules that are often compared come first, each with a color that no other of them has; further ones share theirs.
_FIRST = ("gd", "heavy_ball", "adam", "signsgd", "nag", "rmsprop", "muon", "adagrad")
# Basins of attraction, largest first: none is a color of a run on the default page.
BASIN_COLORS = ("#0072B2", "#E69F00", "#F0E442", "#9A6FB0", "#6B8E23", "#A0522D", "#888888")
_NOTHING: Mapping[str, Any] = {}
GRID = 151  # points per axis at which a closed-form surface is drawn
Floats = NDArray[np.floating[Any]]


def number(value: float) -> str:
    """A number as people read it: 0.001, 12.5, 3.2e-07."""
    return f"{value:.4g}"


@lru_cache(maxsize=64)
def surface_grid(surface: Surface) -> tuple[Floats, Floats, Floats]:
    """x (GRID,), y (GRID,) and the loss (GRID, GRID) of a surface over its window; row j belongs to y[j]. Read only."""
    x, y = (torch.linspace(low, high, GRID, dtype=torch.float64) for low, high in surface.window)
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    arrays = x.numpy(), y.numpy(), surface.loss(points).numpy()
    for array in arrays:
        array.setflags(write=False)
    return arrays


def surface_field(surface: Surface) -> tuple[str, bytes]:
    """The id and packet of a closed-form surface."""
    x, y, z = surface_grid(surface)
    minimizers = surface.minimizers()
    return _field(
        x, y, z, log=surface.log_color, names=("x", "y"), minimizers=() if minimizers is None else minimizers.tolist()
    )


def plane_field(
    plane: Plane, scale: str = "auto", names: tuple[str, str] = ("α", "β"), label: str = "loss", clip: float = 0.0
) -> tuple[str, bytes]:
    """The id and packet of a slice, alpha to the right; what is not computed yet, or not finite, is drawn as such."""
    z = plane.loss.T.cpu().numpy()
    finite = z[np.isfinite(z)]
    if clip and finite.size:
        z = np.where(np.isfinite(z), np.minimum(z, np.percentile(finite, 100 - clip)), z)
    alpha, beta = plane.alpha.cpu().numpy(), plane.beta.cpu().numpy()
    return _field(alpha, beta, z, log=on_log_scale(scale, plane), names=names, minimizers=(), label=label)


def map_field(result: Result) -> tuple[str, bytes]:
    """The id and packet of the first plane of a result, drawn as the experiment asks."""
    asked = result.experiment
    assert result.plane is not None
    names = result.captions[0].names if result.captions else ("α", "β")
    return plane_field(result.plane, asked.scale, names, QUANTITIES[asked.quantity].label.lower(), asked.clip)


def _field(
    x: Floats,
    y: Floats,
    z: Floats,
    *,
    log: bool,
    names: tuple[str, str],
    minimizers: Sequence[Any],
    label: str = "loss",
) -> tuple[str, bytes]:
    header = {
        "nx": len(x),
        "ny": len(y),
        "x": [float(x[0]), float(x[-1])],
        "y": [float(y[0]), float(y[-1])],
        "log": log,
        "names": list(names),
        "minimizers": list(minimizers),
        "label": label,
    }
    identity = hashlib.sha256(_pack(header, [z])).hexdigest()[:16]
    return identity, _pack({"id": identity} | header, [z])


def descend_view(
    result: Result,
    field: str,
    *,
    only_start: bool = False,
    around: Mapping[str, torch.Tensor] = _NOTHING,
    basins: Basins | None = None,
) -> bytes:
    """The packet of the paths on a surface, side by side at equal steps or at equal evaluations of the oracle.

    With `only_start` it tells nothing of what happens after the start. `around` is what `surroundings` gives.
    """
    experiment, path = result.experiment, result.trajectory
    axis, rows = _compared(path, by_cost=experiment.axis == "evaluations")
    if only_start:
        axis, rows, around, basins = axis[:1], rows[:1], {}, None
    drawn = {name: values for name, values in around.items() if name != LARGEST}
    runs, blocks = [], []
    twins = twins_of(experiment.optimizers)
    for index, (rule, color) in enumerate(zip(experiment.optimizers, colors_of(experiment.optimizers), strict=True)):
        own = rows[:, index]
        died, first, last = (float(one[index]) for one in (path.diverged_at, path.loss[0], path.loss[-1]))
        lost = divergence(int(died), first, last if result.complete else math.nan)
        runs.append(_run(rule, color, int(died), path.params[-1, index], lost))
        runs[-1]["twin"] = twins[index]
        if only_start:
            runs[-1] |= {"diverged": None, "ended": ""}
        else:  # on the axis that is drawn, and where a number leaves what can be drawn
            losses = path.loss[own, index]
            gone = (losses.isnan() if died >= 0 else ~torch.isfinite(losses.float())).nonzero()
            runs[-1]["diverged"] = int(axis[gone[0]]) if len(gone) else None
        blocks += [path.params[own, index, 0], path.params[own, index, 1], path.loss[own, index]]
        blocks += [path.grad_norm[own, index]]
        blocks += [column for values in drawn.values() for column in values[own, index].unbind(-1)]
    more: dict[str, Any] = {"overlays": list(drawn)}
    if LARGEST in around:
        more["sharpness"] = len(around[LARGEST])
        blocks.append(around[LARGEST].flatten())
    if basins is not None:
        more["basins"] = [
            {"at": at, "group": group, "color": BASIN_COLORS[max(group, 0)]}
            for at, group in zip(basins.starts.tolist(), basins.group.tolist(), strict=True)
        ]
    if not only_start:  # a video of the playback holds it, as every file does
        more["specification"] = json.dumps(result.specification())
    unit = experiment.axis.removesuffix("s")
    return _view(experiment, field, axis, runs, blocks, start=experiment.start, unit=unit, more=more)


def _compared(path: Trajectory, *, by_cost: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The axis (K,) along which N runs are compared, and the recorded row (K, N) at which each run is by then.

    An evaluation is a loss, with or without its gradient, or a Hessian-vector product.
    """
    count = path.loss.shape[1]
    if not by_cost:
        return path.step, torch.arange(len(path.step))[:, None].expand(-1, count)
    cost = path.evaluations.loss + path.evaluations.hvp  # (R, N)
    most = int(cost.max())
    axis = torch.arange(0, most + 1, max(1, most // (2 * len(path.step))))
    return axis, torch.searchsorted(cost.T.contiguous(), axis.expand(count, -1).contiguous(), right=True).T - 1


def slice_view(result: Result, field: str) -> bytes:
    """The packet of a training path projected onto a slice; it fades with its distance from the plane. Named points stay."""
    path, plane = result.trajectory, result.plane
    assert plane is not None
    coordinates, distance = plane.project(path.params)
    kept = torch.searchsorted(path.step, path.params_step)
    loss = path.loss[kept]
    furthest = float(distance.max()) or 1.0
    rule = result.experiment.optimizers[0]
    died = int(path.diverged_at)
    run = _run(rule, COLORS[0], died, coordinates[-1], divergence(died))
    blocks = [coordinates[:, 0], coordinates[:, 1], loss, distance / furthest, path.grad_norm[kept]]
    marks = result.captions[0].marks if result.captions else ()
    more: dict[str, Any] = {"specification": json.dumps(result.specification())}
    more |= {"zoomable": True, "furthest": furthest, "marks": [{"name": name, "at": at} for name, *at in marks]}
    return _view(result.experiment, field, path.params_step, [run], blocks, fade=True, more=more)


def colors_of(steppers: Sequence[Stepper]) -> tuple[str, ...]:
    """The color of each rule: its own on every page, whatever stands beside it."""
    order = [*_FIRST, *(name for name in OPTIMIZERS if name not in _FIRST)]
    return tuple(COLORS[order.index(stepper.rule.name) % len(COLORS)] for stepper in steppers)


def twins_of(steppers: Sequence[Stepper]) -> tuple[int, ...]:
    """How many runs before each one have its color: what tells those of one color apart is how they are drawn."""
    colors = colors_of(steppers)
    return tuple(colors[:place].count(color) for place, color in enumerate(colors))


def run_colors(experiment: Experiment) -> tuple[str, ...]:
    """The color of each run of a training: its rule's where rules are compared, else one for each value.

    Curves that cross need colors of their own, so that the second run of one color takes one that no run has.
    """
    if experiment.vary != NOTHING or len(experiment.optimizers) == 1:
        return COLORS[: len(experiment.runs)]
    own, twins = colors_of(experiment.optimizers), twins_of(experiment.optimizers)
    free = (color for color in COLORS if color not in own)
    return tuple(next(free) if twin else color for color, twin in zip(own, twins, strict=True))


def _run(rule: Stepper, color: str, died: int, place: torch.Tensor, lost: str) -> dict[str, Any]:
    """What the table says of a run; `place` (2,) is where it ended, `lost` how it diverged, if it did."""
    ended = lost or f"at ({number(float(place[0]))}, {number(float(place[1]))})"
    detail = f"η = {number(float(rule.rule.lr))}"
    return {
        "label": rule.title,
        "detail": detail,
        "color": color,
        "diverged": died if died >= 0 else None,
        "ended": ended,
    }


def _view(
    experiment: Experiment,
    field: str,
    axis: torch.Tensor,
    runs: list[dict[str, Any]],
    blocks: Sequence[torch.Tensor],
    *,
    start: tuple[float, float] | None = None,
    fade: bool = False,
    unit: str = "step",
    more: Mapping[str, Any] = _NOTHING,
) -> bytes:
    header = {
        "field": field,
        "mode": experiment.mode,
        "start": start,
        "clickable": start is not None,
        "steps": axis.tolist(),
        "unit": unit,
        "rows": len(axis),
        "runs": runs,
        "curve": "Loss",
        "fade": fade,
        "overlays": [],
    } | dict(more)
    return _pack(header, [block.cpu().numpy() for block in blocks])


def _pack(header: dict[str, Any], blocks: Sequence[Floats]) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    # Beyond float32 a number is drawn as not finite, which at 1e38 is what it looks like.
    with np.errstate(over="ignore"):
        data = b"".join(np.ascontiguousarray(block, dtype="<f4").tobytes() for block in blocks)
    return struct.pack("<I", len(text)) + text + data
