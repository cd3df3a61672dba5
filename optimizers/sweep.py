"""Many runs at once: a rule on a grid of hyper-parameters, starts, seeds or batch sizes, cut into chunks of one batch each."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from landscapes import Landscape, settings, top_eigenpairs
from landscapes.pieces import Piece, Shelf, pieces
from landscapes.setting import Integer, Number, Setting
from optimizers.stepper import Stepper
from optimizers.trajectory import Iterate, iterate
from optimizers.wrappers import composed, layers

COORDINATES = ("start_x", "start_y")  # of the start, on a landscape of two parameters
_APART = {"seed": Integer(0, low=0), "batch_size": Integer(1, low=1)}  # values of these cannot share a batch
_SCHEDULE = "schedule."  # before the settings of a schedule, each value of which makes factors of its own
_SHARPNESS_TOLERANCE = 1e-3  # residual; the error of the eigenvalue is of the order of its square


@dataclass(frozen=True)
class Sweep:
    """How each run of a grid ended; the dimensions (n1, n2, ...) are those of `over`, in its order."""

    over: dict[str, Tensor]  # name: (n,), the values of each axis; (n, dim) for starts
    final_loss: Tensor  # (n1, n2, ...), on all samples; NaN where the run diverged
    best_loss: Tensor  # (n1, n2, ...): the least on the way, the start included; NaN where even the start has none
    diverged_at: Tensor  # (n1, n2, ...): the first step whose parameters or loss were not finite, -1 if none
    sharpness: Tensor | None  # (n1, n2, ...): at the end, NaN where the run diverged; None if it was not asked for
    known: Tensor  # (n1, n2, ...): has this cell been computed? Where not, the rest is NaN and -1


def sweep(
    landscape: Landscape,
    optimizer: Stepper,
    over: Mapping[str, Any],
    steps: int = 500,
    *,
    start: Tensor | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    sampling: str = "epochs",
    sharpness: bool = False,
    executor: Executor | None = None,
) -> Sweep:
    """Run `optimizer` for `steps` steps at every combination of the values in `over`.

    `over` maps names to values (n,): numeric hyper-parameters, as {"lr": lrs, "momentum": momenta}, which replace those
    of `optimizer`, those of its wrappers as {"clip_norm.c": ...}, of its schedule as {"schedule.warmup": ...};
    "seed" and "batch_size"; "start" with points (n, dim), or "start_x" and "start_y" on a surface. All runs begin at start (dim,), by default the landscape's own, and where seeds
    are swept at the landscape's start of each seed. Chunks of the grid go to `executor` where one is given; each keeps a
    few numbers per run, however many steps there are. Raises ValueError or TypeError for a name that cannot be swept,
    values that are not a list of allowed numbers, a start of another shape, and steps below 1.
    """
    *_, table = sweeping(
        landscape, optimizer, over, steps,
        start=start, seed=seed, batch_size=batch_size, sampling=sampling, sharpness=sharpness, executor=executor,
    )  # fmt: skip
    return table


def sweeping(
    landscape: Landscape,
    optimizer: Stepper,
    over: Mapping[str, Any],
    steps: int = 500,
    *,
    start: Tensor | Callable[[int], Tensor] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    sampling: str = "epochs",
    sharpness: bool = False,
    executor: Executor | None = None,
    shelf: Shelf | None = None,
) -> Iterator[Sweep]:
    """`sweep` as it grows: yields the table after each chunk. Stop pulling to cancel.

    `start` may be a function of the seed. Finished chunks are kept on `shelf` and not computed again.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps = {steps!r} is not allowed: it must be a whole number of at least 1.")
    begin = _starts(landscape, start, "seed" in over)
    first = begin(seed)
    axes = _axes(landscape, optimizer, over, first)
    shape = [len(values) for values in axes.values()]
    blank = torch.full(shape, torch.nan, dtype=first.dtype)
    table = Sweep(
        axes, blank, blank, torch.full(shape, -1), blank if sharpness else None, torch.zeros(shape, dtype=torch.bool)
    )
    work, cells = {}, {}
    for number, (own, values) in enumerate(_chunks(axes, landscape.chunk(first))):
        given: dict[str, Any] = {"seed": seed, "batch_size": batch_size} | values
        given |= {name: row[0].item() for name, row in values.items() if _is_apart(name)}
        rule, point = with_values(optimizer, given), _begun(begin(given["seed"]), values)
        work[number] = landscape, rule, point, steps, given["seed"], given["batch_size"], sampling, sharpness
        cells[number] = own
    for number, piece in pieces(_ended, work, executor=executor, shelf=shelf):
        table = _filled(table, cells[number], piece)
        yield table


def swept(landscape: Landscape, optimizer: Stepper) -> dict[str, Setting]:
    """What a sweep of this rule on this landscape can go over with one number a run: its name and its declaration."""
    rule, schedule, wrappers = layers(optimizer)
    known: dict[str, Setting] = {name: one for name, one in settings(rule).items() if isinstance(one, Number)}
    for wrapper in wrappers:
        own = settings(wrapper).items()
        known |= {f"{wrapper.name}.{name}": one for name, one in own if isinstance(one, Number)}
    if schedule is not None:
        own = settings(schedule).items()
        known |= {f"{_SCHEDULE}{name}": one for name, one in own if isinstance(one, (Number, Integer))}
    if landscape.dim == 2:
        known |= {name: Number(0.0, low=-1e6, high=1e6) for name in COORDINATES}
    known["seed"] = _APART["seed"]
    if landscape.samples is not None:
        known["batch_size"] = dataclasses.replace(_APART["batch_size"], high=landscape.samples)
    return known


def with_values(optimizer: Stepper, values: Mapping[str, Any]) -> Stepper:
    """The rule with its layers, some of their hyper-parameters replaced: names as in `sweep`, starts passed over."""
    rule, schedule, wrappers = layers(optimizer)

    def own(prefix: str, one: Any) -> dict[str, Any]:
        return {name: values[prefix + name] for name in settings(one) if prefix + name in values}

    around = [partial(type(one), **{**one.values(), **own(f"{one.name}.", one)}) for one in wrappers]
    planned = None if schedule is None else dataclasses.replace(schedule, **own(_SCHEDULE, schedule))
    return composed(dataclasses.replace(rule, **own("", rule)), planned, around)


def _is_apart(name: str) -> bool:
    return name in _APART or name.startswith(_SCHEDULE)


def _starts(
    landscape: Landscape, start: Tensor | Callable[[int], Tensor] | None, seeded: bool
) -> Callable[[int], Tensor]:
    """The start (dim,) of each seed."""

    def begin(seed: int) -> Tensor:
        if start is None:
            point = landscape.start(seed=seed if seeded else 0)[0]
        else:
            point = start(seed) if callable(start) else start
        if not isinstance(point, Tensor) or not point.is_floating_point() or point.shape != (landscape.dim,):
            raise ValueError(
                f"start must be a floating-point tensor of shape ({landscape.dim},), one point to start from."
            )
        return point

    return begin


def _axes(landscape: Landscape, optimizer: Stepper, over: Mapping[str, Any], start: Tensor) -> dict[str, Tensor]:
    """The values of each axis as a tensor (n,), or (n, dim) for starts, checked."""
    known = swept(landscape, optimizer)
    names = ", ".join([*known, "start"])
    if not over:
        raise ValueError(f"There is nothing to sweep over: give values for one or more of {names}.")
    if "start" in over and any(name in over for name in COORDINATES):
        raise ValueError("start and its coordinates start_x and start_y cannot be swept together: choose one of them.")
    axes = {}
    for name, values in over.items():
        if name not in known and name != "start":
            raise ValueError(f"{name!r} cannot be swept with {optimizer.title}: it must be one of {names}.")
        one = known.get(name)
        to: dict[str, Any] = {} if isinstance(one, Integer) else {"dtype": start.dtype, "device": start.device}
        if not isinstance(one, Integer) and _is_apart(name):
            to = {"dtype": torch.float64}  # a number of each run's own, which a single run has in full
        try:
            axis = torch.as_tensor(values, **to)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{name} must be a list or a one-dimensional tensor of numbers.") from None
        if one is None:
            if axis.ndim != 2 or axis.shape[-1] != landscape.dim or not len(axis):
                raise ValueError(f"start has shape {tuple(axis.shape)}: it must be points (n, {landscape.dim}).")
        elif axis.ndim != 1 or not len(axis):
            raise ValueError(
                f"{name} has shape {tuple(axis.shape)}: its values must be one-dimensional and at least one."
            )
        elif isinstance(one, Integer):
            axis = torch.tensor([one.check(name, value) for value in axis.tolist()])
        else:
            one.check(name, axis[:, None])
        axes[name] = axis
    return axes


def _chunks(axes: Mapping[str, Tensor], size: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """The flat numbers (runs,) of cells whose runs go together, and their values (runs, 1), or (runs, dim) for starts."""
    shape = [len(values) for values in axes.values()]
    cells = torch.arange(math.prod(shape)).reshape(shape)
    kept: list[list[int | slice]] = [
        [*range(n)] if _is_apart(name) else [slice(None)] for name, n in zip(axes, shape, strict=True)
    ]
    for apart in itertools.product(*kept):
        runs = cells[apart].flatten()
        for own in runs.split(-(-len(runs) // max(1, round(len(runs) / size)))):  # even parts, of about `size`
            places = torch.unravel_index(own, shape)
            rows = {
                name: values[place.to(values.device)]
                for (name, values), place in zip(axes.items(), places, strict=True)
            }
            yield own, {name: row if row.ndim > 1 else row[:, None] for name, row in rows.items()}


def _begun(start: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """The start of each run of a chunk, (runs, dim) where starts are swept, else (dim,)."""
    if "start" in values:
        return values["start"]
    columns = [values.get(name, start[place, None, None]) for place, name in enumerate(COORDINATES) if len(start) == 2]
    given = any(name in values for name in COORDINATES)
    return torch.cat(torch.broadcast_tensors(*columns), dim=-1) if given else start


def _ended(
    landscape: Landscape,
    rule: Stepper,
    start: Tensor,
    steps: int,
    seed: int,
    batch_size: int | None,
    sampling: str,
    sharp: bool,
) -> Piece:
    """Final loss, best loss, step of divergence and, if asked for, sharpness of the runs of a chunk, each (runs,)."""
    last, final, best, diverged_at = ends(
        landscape, [rule.planned(steps, no_rehearsal)], start, steps, seed, batch_size, sampling
    )
    found = [final[0], best[0], diverged_at[0]]
    if sharp:
        top = top_eigenpairs(landscape, last.returned.params[0], tol=_SHARPNESS_TOLERANCE).values[..., 0]
        found.append(top.where(last.alive[0], torch.nan))
    return tuple(one.cpu() for one in found)


def ends(
    landscape: Landscape,
    rules: Sequence[Stepper],
    start: Tensor,
    steps: int,
    seed: int,
    batch_size: int | None = None,
    sampling: str = "epochs",
    tell: Callable[[int], object] = lambda step: None,
) -> tuple[Iterate, Tensor, Tensor, Tensor]:
    """Where N rules stand after the last step; final loss, best loss and step of divergence, each (N, runs). Each step is
    told."""
    best = torch.tensor(math.inf).to(start)
    lived = torch.tensor(-1.0, device=start.device)  # the last step at which each run was alive
    states = iterate(landscape, rules, start, seed=seed, batch_size=batch_size, sampling=sampling)
    for now in itertools.islice(states, steps + 1):
        # A run that has died holds NaN in `poison`. Replacing NaN is vectorized; masks would take three times as long.
        best = torch.minimum(best, (now.returned.loss + now.poison).nan_to_num_(math.inf, math.inf, -math.inf))
        lived = torch.maximum(lived, (now.poison.float() + now.step).nan_to_num_(-1.0))
        tell(now.step)
    alive = now.alive
    final = now.returned.loss if batch_size is None else landscape.loss(now.returned.params)
    diverged_at = (lived.to(torch.int64) + 1).where(~alive, -1)
    return now, final.where(alive, torch.nan), best.where(best < math.inf, torch.nan), diverged_at


def no_rehearsal(stepper: Stepper) -> Tensor:
    raise ValueError("A schedule refined from a rehearsal cannot be swept in one batch: take another schedule.")


def _filled(table: Sweep, cells: Tensor, piece: Piece) -> Sweep:
    """The table with one more chunk."""

    def put(old: Tensor, new: Tensor) -> Tensor:
        flat = old.flatten()
        flat = flat.clone() if flat.data_ptr() == old.data_ptr() else flat
        flat[cells] = new
        return flat.reshape(old.shape)

    final, best, diverged_at, *sharp = piece
    return dataclasses.replace(
        table,
        final_loss=put(table.final_loss, final),
        best_loss=put(table.best_loss, best),
        diverged_at=put(table.diverged_at, diverged_at),
        sharpness=put(table.sharpness, sharp[0]) if table.sharpness is not None else None,
        known=put(table.known, torch.ones(len(cells), dtype=torch.bool)),
    )
