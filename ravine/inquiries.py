"""What a page asks beside experiments: each question with what it is about, and what it is predicted to take."""

from __future__ import annotations

import dataclasses
import hashlib

import torch
from torch import Tensor

from landscapes import Surface
from optimizers import OPTIMIZERS, Study, Tuned, study, tune
from ravine import export, work
from ravine.basins import Basins
from ravine.basins import basins as basins_of
from ravine.cut import POINTS, Cut
from ravine.cut import cut as look_along
from ravine.experiment import DTYPES, Experiment
from ravine.files import KINDS
from ravine.known import known
from ravine.picture import surface_field
from ravine.reference import Entry
from ravine.reference import entries as reference_entries
from ravine.result import Result
from ravine.spectrum import Density
from ravine.spectrum import spectrum as look_through
from ravine.surroundings import surroundings
from ravine.tasks import Inquiry
from ravine.telling import Tell, silent

# Times a run that step sizes side by side take, or starts, or the answers of each step:
_TUNED, _BASINS, _RESPONSE = 6, 3, 4
_REFERENCE = 2.0  # seconds
_FILE, _MOVIE = 0.2, 3.0


def cut(result: Result, run: int, step: int) -> Inquiry[Cut]:
    """The loss along the top eigenvector at the kept step nearest to `step`."""
    landscape = result.experiment.runs[run].landscape
    return Inquiry(look_along, (result, run, step), _at(result, run, step), work.of_cut(landscape, POINTS).seconds)


def spectrum(result: Result, run: int, step: int) -> Inquiry[Density]:
    """The Hessian's spectrum at the kept step nearest to `step`."""
    landscape = result.experiment.runs[run].landscape
    return Inquiry(look_through, (result, run, step), _at(result, run, step), work.of_spectrum(landscape).seconds)


def tuning(experiment: Experiment) -> Inquiry[Tuned]:
    """Each rule of an experiment on a surface at 64 step sizes."""
    return Inquiry(tuned, (experiment,), experiment.key, work.of_paths(experiment, _TUNED).seconds)


def tuned(experiment: Experiment, tell: Tell = silent) -> Tuned:
    """Raises ValueError for a schedule that rehearses."""
    start = torch.tensor(experiment.start, dtype=DTYPES[experiment.dtype], device=experiment.device)
    steps = experiment.steps
    return tune(
        experiment.landscape, experiment.optimizers, steps=steps, start=start, seed=experiment.seed,
        tell=lambda step: tell(step / steps, f"step {step} of {steps}"),
    )  # fmt: skip


def basins(experiment: Experiment) -> Inquiry[Basins]:
    """The basins that an experiment asks for."""
    rule = experiment.optimizers[experiment.basins - 1]
    alone = dataclasses.replace(experiment, optimizers=(rule,), basins=1)
    return Inquiry(basins_of, (alone,), alone.key, work.of_paths(alone, _BASINS).seconds)


def around(result: Result) -> Inquiry[dict[str, Tensor]]:
    """What an experiment wants drawn around each step of its runs."""
    wanted = result.experiment.around
    seconds = work.of_paths(result.experiment, _RESPONSE).seconds if "response" in wanted else 0.0
    return Inquiry(surroundings, (result, wanted), f"{_of(result)} {','.join(wanted)}", seconds)


def field(surface: Surface) -> Inquiry[tuple[str, bytes]]:
    """The id and packet of a surface's values."""
    alone = Experiment(surface, (OPTIMIZERS["gd"](),))
    return Inquiry(drawn, (alone,), alone.key)


def drawn(experiment: Experiment) -> tuple[str, bytes]:
    assert isinstance(experiment.landscape, Surface)
    return surface_field(experiment.landscape)


def facts(experiment: Experiment) -> Inquiry[tuple[str, ...]]:
    """What is known before a run begins."""
    start = experiment.start if isinstance(experiment.landscape, Surface) else None
    alone = Experiment(experiment.landscape, (OPTIMIZERS["gd"](),), start, "stepsize", seed=experiment.seed, steps=1)
    return Inquiry(known, (alone,), alone.key)


def at_point(experiment: Experiment, point: Tensor) -> Inquiry[Study]:
    """What step size a point (dim,) allows, which is none of the run's."""
    place = hashlib.sha256(point.double().cpu().numpy().tobytes()).hexdigest()
    return Inquiry(
        looked_at, (experiment, point), f"{experiment.key} {place}", work.of_look(experiment.landscape).seconds
    )


def looked_at(experiment: Experiment, point: Tensor) -> Study:
    start = point.to(dtype=DTYPES[experiment.dtype], device=experiment.device)
    return study(
        experiment.landscape, experiment.optimizers[0], start, steps=1, at=0, seed=experiment.seed,
        batch_size=experiment.batch_size or None, sampling=experiment.sampling,
    )  # fmt: skip


def reference() -> Inquiry[tuple[Entry, ...]]:
    """Every rule with what it costs."""
    return Inquiry(reference_entries, (), "", _REFERENCE)


def file(ending: str, result: Result) -> Inquiry[bytes]:
    """A file of the result, of one of the kinds in `ravine.files`."""
    about = f"{ending} {result.experiment.to_url()} {result.digest}"
    return Inquiry(export.written, (ending, result), about, _MOVIE if KINDS[ending].moves else _FILE)


def _at(result: Result, run: int, step: int) -> str:
    path = result.paths[run]
    return f"{_of(result)} {run} {int(path.params_step[path.kept(step)])}"


def _of(result: Result) -> str:
    """The numbers are a part of it: a visitor's file may hold others under the same experiment."""
    return f"{result.experiment.key} {result.digest}"
