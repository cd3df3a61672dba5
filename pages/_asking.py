"""What a page asks for: answered at once where that is short, else by a job with its progress and a button to cancel it.

A page that waits for jobs runs again as long as they go on: see `following`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, overload

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages import _connections as connections
from pages import _services as services
from pages._text import plain
from ravine import Experiment, Result
from ravine.crew import Failed
from ravine.desk import Late
from ravine.job import CANCELLED, DONE, FAILED, QUEUED, Job
from ravine.jobs import Busy
from ravine.tasks import Inquiry, T, Task

_EVERY = 0.5  # seconds between two looks at a running job
_SILENT = 5.0  # seconds without a sign of life that are worth a word
_BLINK = 0.3  # seconds that a page may wait for something to show
_SOON = 2.0  # seconds: what is predicted to be there by then is waited for as a whole ...
_WHOLE = 1.0  # ... for so long
Say = Callable[[DeltaGenerator], object]
_WAITS = "waits"  # does the fragment that runs now wait for a job?


@overload
def ask(task: Experiment, place: str, *, about: str = ..., narrow: bool = ..., begin: bool = ...) -> Result | None: ...
@overload
def ask(task: Inquiry[T], place: str, *, about: str = ..., narrow: bool = ..., begin: bool = ...) -> T | None: ...
def ask(task: Any, place: str, *, about: str = "This", narrow: bool = False, begin: bool = True) -> Any:
    """The answer: the whole, or of an experiment what there is so far; None while there is nothing.

    `place` names where on the page it is asked: another task there takes the place of the one before. What is not there
    at once is said on the spot, about what is named `about`; without `begin` a job waits for its button.
    """
    try:
        answer = services.desk().answer(task)
    except Late:
        answer = None
    except Failed as failure:
        st.error(f"{plain(about)} could not be computed. {plain(failure)}", icon=":material/error:")
        leave(place)
        return None
    if answer is not None:
        leave(place)
        return _value(answer)
    job = current(task, place)
    if job is None and begin:
        job = start(task, place)
        if job is not None:
            whole = task.seconds <= _SOON
            with st.spinner("Looking …") if whole else st.empty():
                services.jobs().first(job, _WHOLE if whole else _BLINK, whole=whole)
    if job is None or job.state != DONE:
        row(task, place, job, about, narrow=narrow)
    return _value(job.result) if job is not None and job.result is not None and job.result.visible else None


def brief(task: Inquiry[T]) -> T | None:
    """The answer of what is left out where it is not there at once."""
    with suppress(Late, Failed):
        answer: T = services.desk().answer(task).value
        return answer
    return None


def _value(answer: Any) -> Any:
    return answer if isinstance(answer, Result) else answer.value


def current(task: Task, place: str) -> Job | None:
    """The session's job at a place, if it is about this task; being asked for keeps it alive.

    It is kept in the session, so that its partial result outlives the queue.
    """
    job: Job | None = st.session_state.get(_key(place))
    if job is None or job.task.key != task.key:
        return None
    services.jobs().poll(task, services.visitor())
    return job


def start(task: Task, place: str) -> Job | None:
    """A job at a place, instead of the one that is there; says so where the queue is full."""
    job: Job | None = st.session_state.get(_key(place))
    if job is not None and job.task.key == task.key and job.state not in (CANCELLED, FAILED):
        return job
    leave(place)
    try:
        job = st.session_state[_key(place)] = services.jobs().submit(task, services.visitor())
    except Busy as full:
        st.error(plain(full), icon=":material/hourglass:")
        return None
    return job


def _begin(task: Task, place: str) -> None:
    start(task, place)


def leave(place: str) -> None:
    """Nobody waits at this place any more."""
    job: Job | None = st.session_state.pop(_key(place), None)
    if job is not None and job.active:
        services.jobs().cancel(job.task, services.visitor())


def _key(place: str) -> str:
    return f"{place} job"


def row(task: Task, place: str, job: Job | None, about: str, *, narrow: bool = False, say: Say | None = None) -> None:
    """How far a job is, or how it ended, and the button that fits, in a row of constant height; `narrow` one below the other.

    What else there is to say says `say`. A job that is waited for keeps the fragment running.
    """
    text, button = _columns(narrow)
    if job is not None and job.active:
        st.session_state[_WAITS] = True
        text.progress(job.share, text=plain(_progress(job)))
        button.button(
            "Cancel", icon=":material/stop:", key=f"cancel-{place}", width="stretch",
            on_click=services.jobs().cancel, args=(task, services.visitor()),
        )  # fmt: skip
        return
    if job is not None and job.state == FAILED:
        text.error(f"{plain(about)} could not be computed. {plain(job.error)}", icon=":material/error:")
    elif job is not None and job.state == CANCELLED:
        kept = (
            f" What it had computed stays ({plain(job.result.phase)})."
            if job.result is not None and job.result.visible
            else ""
        )
        text.info(f"Cancelled.{kept}", icon=":material/stop:")
    elif say is not None:
        say(text)
    over = job is not None and job.state not in (CANCELLED, FAILED)
    button.button(
        "Done" if over else "Run", icon=":material/check:" if over else ":material/play_arrow:", type="primary", width="stretch",
        disabled=over, on_click=_begin, args=(task, place), key=f"{'done' if over else 'run'}-{place}",
    )  # fmt: skip


def _columns(narrow: bool) -> tuple[DeltaGenerator, DeltaGenerator]:
    if narrow:
        return st.container(), st.container()
    text, button = st.columns([5, 1], gap="medium", vertical_alignment="center")
    return text, button


def _progress(job: Job) -> str:
    if job.state == QUEUED and services.jobs().doubles(job):
        said = "waiting for the training that it starts from"
        said += "" if job.result is None else f", {job.result.phase.removeprefix('training, ')}"
    elif job.state == QUEUED:
        said, wait = f"waiting; {services.jobs().ahead(job):d} before this one", services.jobs().wait(job)
        said += "" if wait is None else f" · about {max(1, math.ceil(wait)):d} s"
    elif job.result is None:
        said = "starting"
    else:
        left = services.jobs().left(job)
        said = job.result.phase + ("" if left is None else f" · about {max(1, round(left))} s left")
    if job.silent > _SILENT:
        said += f" · no sign of progress for {job.silent:.0f} s"
    return said


def waited(task: Inquiry[T], visitor: str) -> T:
    """The answer, for who waits outside a page's script, as a download does. Raises Failed, with a sentence."""
    with suppress(Late):
        answer: T = services.desk().answer(task).value
        return answer
    owner = f"{visitor} waits"
    job = services.jobs().submit(task, owner)
    while job.active:
        services.jobs().first(job, _EVERY, whole=True)
        services.jobs().poll(task, owner)
    if job.state != DONE:
        raise Failed(job.error)
    answer = job.result.value
    return answer


def following(name: str, body: Callable[[], object], *, waits: bool = False) -> None:
    """Draws a part of a page, and again as long as it waits for jobs; it does from the beginning where that is known."""
    polled, owner = waits or bool(st.session_state.get(f"{name} waits")), services.visitor()

    @st.fragment(run_every=_EVERY if polled else None)
    def part() -> None:
        drawing = connections.Begun(lambda: services.jobs().seen(owner))
        st.session_state[_WAITS] = False
        body()
        # By what was drawn, not by what is true by now: a job that ends meanwhile would leave its progress bar for good.
        waiting = st.session_state[f"{name} waits"] = bool(st.session_state[_WAITS])
        if waiting != polled:
            st.rerun()  # the page as a whole decides whether to poll
        drawing.drew()

    part()
