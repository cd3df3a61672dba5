"""What all visitors share: the store of results and the queue of jobs."""

from __future__ import annotations

import os
import sys
import uuid
from collections import OrderedDict
from collections.abc import Callable
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st
import torch

from optimizers import Tuned, tune
from ravine import Experiment, Result, Store
from ravine.cluster import Cluster, from_environment
from ravine.crew import Crew
from ravine.cut import Cut
from ravine.cut import cut as look_along
from ravine.desk import Desk
from ravine.experiment import DTYPES
from ravine.jobs import Here, Jobs
from ravine.known import known as known_of
from ravine.own import register_from_environment
from ravine.reference import Entry
from ravine.reference import entries as reference_entries
from ravine.rooms import Rooms
from ravine.spectrum import Density
from ravine.spectrum import spectrum as look_through

# Streamlit adds the folder of its script to sys.path for each rerun and takes it out again, unless it is there already. A
# job that imports something meanwhile, on its own thread, can then be told that an installed package does not exist.
_SCRIPTS = str(Path(__file__).resolve().parent)
if _SCRIPTS not in sys.path:
    sys.path.append(_SCRIPTS)


@cache
def store() -> Store:
    return Store()


@cache
def jobs() -> Jobs:
    return Jobs(store(), workers=os.cpu_count() or 1, per_visitor=3, crew=crew())


@cache
def crew() -> Crew | None:
    """Who computes jobs: processes that can be killed, and that leave this one to drawing pages."""
    return Crew(store())


@cache
def scheduler() -> tuple[Cluster | None, str]:
    """The cluster that pieces of work go to, and what there is to say if it was asked for and is not there."""
    return from_environment()


@cache
def rooms() -> Rooms:
    return Rooms()


def result(experiment: Experiment) -> Result:
    """The result of an experiment that takes no longer than a blink, computed now or by an earlier visitor.

    Raises Failed, with a sentence, for one that fails or never ends.
    """
    return desk().result(experiment)


@cache
def desk() -> Desk:
    hands = crew()
    return Desk(store(), partial(hands.hire, 0.25) if hands is not None else lambda: Here(store()))


@cache
def entries() -> tuple[Entry, ...]:
    return reference_entries()


known = lru_cache(maxsize=64)(known_of)


@lru_cache(maxsize=64)
def tuned(experiment: Experiment) -> Tuned:
    """Each rule of an experiment on a surface at 64 step sizes. Raises ValueError for a schedule that rehearses."""
    start = torch.tensor(experiment.start, dtype=DTYPES[experiment.dtype], device=experiment.device)
    return tune(experiment.landscape, experiment.optimizers, steps=experiment.steps, start=start, seed=experiment.seed)


def cut(result: Result, run: int, step: int) -> Cut:
    """The loss along the top eigenvector at a step."""
    return _looked(look_along, result, run, step)


def spectrum(result: Result, run: int, step: int) -> Density:
    """The Hessian's spectrum at a step."""
    return _looked(look_through, result, run, step)


Look = TypeVar("Look")


def _looked(look: Callable[[Result, int, int], Look], result: Result, run: int, step: int) -> Look:
    """What is seen at a step, kept for whoever looks again at the same numbers."""
    known = _looks(look)
    step = int(result.paths[run].params_step[result.paths[run].kept(step)])
    # The numbers are a part of the key: a visitor's file may hold others under the same experiment.
    key = (result.experiment.key, result.digest, run, step)
    if key not in known:
        known[key] = look(result, run, step)
        while len(known) > 64:
            known.popitem(last=False)
    return known[key]


@cache
def _looks(look: Callable[[Result, int, int], Any]) -> OrderedDict[tuple[str, str, int, int], Any]:
    return OrderedDict()


def visitor() -> str:
    """An unguessable name for this session."""
    return str(st.session_state.setdefault("visitor", uuid.uuid4().hex))


def warm_up() -> None:
    """Import and run everything once: the first visitor waits for nothing."""
    from ravine import figures, picture

    jobs()
    desk().open()  # their processes start while this one goes on
    register_from_environment()
    torch.set_num_threads(1)  # small operations: more threads only get into each other's way
    first = result(Experiment.default())
    picture.descend_view(first, "")
    figures.draw(first).to_json()
