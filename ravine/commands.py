"""What the command line computes: a link, a sweep, the sharpness of a landscape of one's own (see ravine.cli)."""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

from landscapes import Landscape, top_eigenpairs
from ravine import export
from ravine.axis import read_axis
from ravine.browser import required
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
    with _workers(chosen.scheduler) as executor:
        *_, result = _followed(computing(experiment, store=Store(), executor=executor))
    path = Path(chosen.to)
    path.write_bytes(WRITERS[path.suffix](result))
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
    for value, residual in zip(pairs.values.tolist(), pairs.residuals.tolist(), strict=True):
        threshold = f"; gradient descent is stable for step sizes below {2 / value:.4g}" if value > 0 else ""
        print(f"{value:.6g} with residual {residual:.1e}{threshold}")
    return 0


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


def _png(result: Result) -> bytes:
    """A Chromium takes the picture of the page: no second renderer. Raises ValueError where there is none."""
    browser = required("A .png")
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder) / "page.html", Path(folder) / "picture.png"
        page.write_text(export.html(result), "utf-8")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000")
        size = ("--window-size=1200,700", "--force-device-scale-factor=2", f"--user-data-dir={folder}/profile")
        ran = subprocess.run(
            [browser, *options, *size, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=120
        )
        if not picture.is_file():
            raise ValueError(f"{browser} took no picture (status {ran.returncode}): write .html instead.")
        return picture.read_bytes()


WRITERS: dict[str, Callable[[Result], bytes]] = {
    ".zip": Result.packed,
    ".npz": export.npz,
    ".csv": lambda result: export.table(result).encode(),
    ".html": lambda result: export.html(result).encode(),
    ".png": _png,
}
COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"run": _run, "sweep": _sweep, "sharpness": _sharpness}
