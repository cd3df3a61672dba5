"""What the command line computes: a link, a sweep, the sharpness of a landscape of one's own (see ravine.cli)."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

from landscapes import Landscape, top_eigenpairs
from optimizers import OPTIMIZERS, stable_step
from ravine import export, files, movie
from ravine.axis import read_axis
from ravine.cluster import connect
from ravine.engine import computing
from ravine.experiment import VIEWS, Experiment
from ravine.own import made, told, where
from ravine.result import Result
from ravine.store import Store

_BAR = 30  # characters
_OFTEN = 0.1  # seconds between two looks of the progress bar


def _run(chosen: argparse.Namespace) -> int:
    return _computed(_experiment(chosen.link), chosen)


def _sweep(chosen: argparse.Namespace) -> int:
    base = _experiment(chosen.link)
    axes = [read_axis(text) for text in chosen.over]
    if len(axes) > 2:
        raise ValueError(
            f"--over is given {len(axes)} times: a picture has one axis or two. Python's sweep takes more."
        )
    swept = dataclasses.replace(
        base, view="sweep", optimizers=base.optimizers[:1], over_x=axes[0], over_y=axes[1] if axes[1:] else None,
        measure=chosen.sharpness, outcome="final_loss",
    )  # fmt: skip
    return _computed(swept, chosen)


def _experiment(link: str) -> Experiment:
    """Raises ValueError for a link that cannot be used as it is: a script must not mistake a default for what it asked for."""
    page = link.partition("?")[0].rstrip("/").rpartition("/")[2]
    if "=" not in link and "://" not in link and page not in {view.path for view in VIEWS.values()}:
        raise ValueError(
            f"{link[:80]!r} is not a share link: the app shows one under Share, as in '/?land=beale&opt1=gd'."
        )
    experiment, refusals = Experiment.from_url(link)
    if refusals:
        raise ValueError("\n".join(refusals))
    return experiment


def _computed(experiment: Experiment, chosen: argparse.Namespace) -> int:
    path = Path(chosen.to)
    kind = files.ending(path.name)
    assert kind is not None  # ravine.cli has seen to it
    if files.KINDS[kind].moves and not movie.moves(experiment):
        raise ValueError(f"--to {path} is not allowed: {movie.STILL}")
    with _workers(chosen.scheduler) as executor:
        *_, result = _followed(computing(experiment, store=Store(), executor=executor))
    path.write_bytes(export.WRITERS[kind](result))
    print("\n".join(result.sentences()))
    return 0


@contextmanager
def _workers(scheduler: str | None) -> Iterator[Executor]:
    """The cluster if one is named, else a thread for each core. Raises ValueError for a cluster that does not answer."""
    executor: Executor
    if scheduler:
        executor = connect(scheduler)
    else:
        executor = ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))
    with executor:
        yield executor


def _followed(results: Iterator[Result]) -> Iterator[Result]:
    """A progress bar on a terminal, and nothing in a pipe."""
    if not sys.stderr.isatty():
        yield from results
        return
    shown, began = 0.0, time.monotonic()
    for result in results:
        now = time.monotonic()
        if result.complete or now - shown > _OFTEN:
            share = result.done / result.total
            filled = round(_BAR * share)
            left = f"{(now - began) * (1 - share) / share:.0f} s left" if share > 0.02 and not result.complete else ""
            print(f"\r[{'#' * filled:<{_BAR}}] {result.phase:<36} {left:<12}", end="", file=sys.stderr, flush=True)
            shown = now
        yield result
    print(file=sys.stderr)


def _sharpness(chosen: argparse.Namespace) -> int:
    landscape, params = _placed(chosen.factory)
    try:
        loss, pairs = float(landscape.loss(params)), top_eigenpairs(landscape, params, chosen.count, chosen.tol)
    except Exception as failure:  # whatever the user's code raises
        if not where(failure):
            raise
        raise ValueError(f"{chosen.factory} cannot be computed: {told(failure)}") from failure
    print(f"{landscape.dim:,} parameters, loss {loss:.6g}")
    found = list(zip(pairs.values.tolist(), pairs.residuals.tolist(), strict=True))
    for place, (value, residual) in enumerate(found):
        print(f"{value:.6g} with residual {residual:.1e}{'' if place else _limit(value)}")
    return 0


def _limit(sharpness: float) -> str:
    """Up to which step size gradient descent is stable: the largest eigenvalue alone decides."""
    if math.isnan(sharpness):
        return ""
    stable = stable_step(OPTIMIZERS["gd"](), sharpness)
    if math.isinf(stable):
        return "; no direction curves upward, so the curvature sets no limit to the step size"
    return f"; gradient descent is stable for step sizes below {stable:.4g}"


def _placed(place: str) -> tuple[Landscape, torch.Tensor]:
    """The landscape and the point that a factory in a file returns. Raises ValueError."""
    given = made(place)
    landscape, params = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if isinstance(landscape, type) and issubclass(landscape, Landscape):
        landscape = landscape()  # a kind, at its defaults
    if not isinstance(landscape, Landscape):
        raise ValueError(f"{place} must be a function that returns a Landscape, or a pair (landscape, parameters).")
    point = landscape.start()[0] if params is None else params
    if not isinstance(point, torch.Tensor) or point.shape != (landscape.dim,):
        raise ValueError(f"The parameters that {place} returns must be a tensor of shape ({landscape.dim},).")
    return landscape, point


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"run": _run, "sweep": _sweep, "sharpness": _sharpness}
