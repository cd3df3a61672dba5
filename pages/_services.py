"""What all visitors share: the store of results and the queue of jobs."""

from __future__ import annotations

import importlib
import os
import sys
import uuid
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import streamlit as st
import torch

from ravine import Experiment, Store
from ravine.cluster import Cluster, from_environment
from ravine.crew import Crew
from ravine.desk import Desk, Late, Memory
from ravine.jobs import Jobs
from ravine.limits import LIMITS
from ravine.memory import machine
from ravine.own import register_from_environment
from ravine.place import Here
from ravine.rooms import Rooms
from ravine.seats import Seats

# Streamlit adds the folder of its script to sys.path for each rerun and takes it out again, unless it is there already. A
# job that imports something meanwhile, on its own thread, can then be told that an installed package does not exist.
_SCRIPTS = str(Path(__file__).resolve().parent)
if _SCRIPTS not in sys.path:
    sys.path.append(_SCRIPTS)


_SHARE = 0.6  # of the machine's memory that what has begun may take together, by a prediction that is a bound
_SEATS = 40  # people at work for each processor: beyond that all would wait, instead of those who came last
_DESKS = 2  # a second one lets the others pass by whoever's short computation is longer than most


# What pages come to need, and what they would otherwise wait for, once: data that a link may ask for are drawn by one, tables
# sent by the others. What they take of memory counts from the start.
_LATE = ("sklearn.datasets", "pandas", "pyarrow")


@cache
def store() -> Store:
    return Store()


@cache
def jobs() -> Jobs:
    return Jobs(store(), workers=os.cpu_count() or 1, per_visitor=4, memory=_SHARE * machine(), crew=crew())


@cache
def crew() -> Crew | None:
    """Who computes: processes that can be killed, and that leave this one to drawing pages."""
    return Crew(store())


@cache
def cluster() -> Cluster | None:
    """The cluster that pieces of work go to, which knows whether it is there; None where none was asked for."""
    return from_environment()


@cache
def rooms() -> Rooms:
    return Rooms()


@cache
def seats() -> Seats:
    return Seats(min(LIMITS.sessions, _SEATS * (os.cpu_count() or 1)))


def desk() -> Desk:
    """That with the fewest people, of those whose process has started."""
    first, *others = desks()
    best = min((one for one in desks() if one.ready), default=first, key=lambda one: one.people)
    if best.people:
        for one in others:
            one.open()
    return best


@cache
def desks() -> tuple[Desk, ...]:
    """All but the first start when somebody has to wait, and serve once they have started."""
    hands = crew()
    if hands is None:
        return (Desk(store(), lambda: Here(store())),)
    late = Memory()
    return tuple(Desk(store(), partial(hands.hire, 0.25), late=late) for _ in range(_DESKS))


def visitor() -> str:
    """An unguessable name for this session."""
    return str(st.session_state.setdefault("visitor", uuid.uuid4().hex))


def warm_up() -> None:
    """Import and run everything once: the first visitor waits for nothing."""
    from ravine import figures, picture

    jobs()
    cluster()
    desk().open()  # their processes start while this one goes on
    register_from_environment()
    torch.set_num_threads(1)  # small operations: more threads only get into each other's way
    with suppress(Late):  # on a machine that has no time, pages say what they wait for
        first = desk().answer(Experiment.default())
        picture.descend_view(first, "")
        figures.draw(first).to_json()
    for name in _LATE:
        importlib.import_module(name)
