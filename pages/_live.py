"""A long computation on a page: its progress while it runs, a button to cancel it, and whatever it has given so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from pages import _components as components
from pages import _file as reopen
from pages import _predict as predict
from pages import _room as room
from pages import _services as services
from pages._components import Part
from pages._drawn import drawn
from pages._link import reproduced
from ravine import Experiment, Result
from ravine.jobs import CANCELLED, FAILED, QUEUED, Busy, Job
from ravine.question import unanswered

_EVERY = 0.5  # seconds between two looks at a running computation
_SELDOM = 2.0  # and at one that has not begun while others come before it
_SILENT = 5.0  # seconds without a sign of life that are worth a word
_BLINK = 0.3  # seconds that a page may wait for something to show


def live(experiment: Experiment, draw: Callable[[Result], Sequence[Part]], *, eager: bool = False) -> None:
    """Starts the experiment when the page opens or the visitor asks, then follows it and draws its results.

    `draw` returns the parts of its picture that a live room is shown. With `eager` it starts after every change of a setting, for what shows something within a blink.
    """
    view = experiment.view
    if services.scheduler()[1]:
        st.caption(services.scheduler()[1])
    filed = reopen.held(experiment)
    if filed is not None:
        room.show(experiment, draw(filed), says=filed.summary())
        reproduced(filed)
        return
    anew = f"{view} job" not in st.session_state or (eager and _job(experiment) is None)
    if anew or services.store().get(experiment) is not None:
        _start(experiment)  # a link opens on its run, not on a button; and what is there already is shown at once
        job = _job(experiment)
        if eager and job is not None:
            services.jobs().first(job, _BLINK)
    pace = _pace(_job(experiment))

    @st.fragment(run_every=pace)
    def follow() -> None:
        services.jobs().poll(experiment, services.visitor())  # being asked for keeps a computation alive
        job = _job(experiment)
        active = _active(experiment)
        hidden = predict.asks(experiment)
        _status(experiment, job, active, hidden=hidden)
        above = st.container()  # one element, whatever it holds: a figure that moves down a place would lose its zoom
        if hidden:
            with above:
                predict.ask(experiment, beside=True)
        result = job.result if job is not None and job.result is not None and job.result.visible else None
        if result is None and not hidden:
            result = st.session_state.get(f"{view} last")
            if result is not None:
                above.caption("Below: the last run, until this one has something to show.")
        if result is not None and hidden:
            axes = drawn(result, lambda: unanswered(result).figure().to_json(), "asked")
            begun = components.figure(f"{view} asked", axes)
            room.show(experiment, [begun], asking=True)
        elif result is not None:
            st.session_state[f"{view} last"] = result
            with above:
                said = predict.told(result)
            room.show(experiment, draw(result), says=result.summary() if result.complete else "", answer=said)
            reproduced(result)
        else:
            components.figure(f"{view} waiting", "")
        # By what was drawn, not by what is true by now: a job that ends meanwhile would leave its progress bar for good.
        if active != (pace is not None) or (pace == _SELDOM and _pace(job) == _EVERY):
            st.rerun()  # the page as a whole decides how often to poll

    follow()


def _job(experiment: Experiment) -> Job | None:
    """The session's job, if it is about this experiment. Kept here, so that its partial result outlives the queue."""
    job: Job | None = st.session_state.get(f"{experiment.view} job")
    return job if job is not None and job.experiment.key == experiment.key else None


def _pace(job: Job | None) -> float | None:
    """Seconds between two looks at a job, or None where there is nothing to wait for."""
    if job is None or not job.active:
        return None
    return _SELDOM if job.result is None and services.jobs().ahead(job) else _EVERY


def _active(experiment: Experiment) -> bool:
    job = _job(experiment)
    return job is not None and job.active


def _start(experiment: Experiment) -> None:
    job = _job(experiment)
    if job is not None and job.state not in (CANCELLED, FAILED):
        return
    old: Job | None = st.session_state.get(f"{experiment.view} job")
    if old is not None and old is not job:
        services.jobs().cancel(old.experiment, services.visitor())  # a page shows one computation at a time
    try:
        st.session_state[f"{experiment.view} job"] = services.jobs().submit(experiment, services.visitor())
    except Busy as full:
        st.error(str(full), icon=":material/hourglass:")


def _status(experiment: Experiment, job: Job | None, active: bool, *, hidden: bool) -> None:
    """One row of constant height: what is going on, and the button that fits."""
    text, button = st.columns([5, 1], gap="medium", vertical_alignment="center")
    if job is not None and active:
        result = job.result
        if job.state == QUEUED:
            said = f"waiting; {services.jobs().ahead(job)} before this one"
        elif result is None:
            said = "starting"
        else:
            left = job.seconds_left
            said = result.phase + ("" if left is None else f" · about {max(1, round(left))} s left")
        if job.silent > _SILENT:
            said += f" · no sign of progress for {job.silent:.0f} s"
        text.progress(job.share, text=said)
        button.button(
            "Cancel",
            icon=":material/stop:",
            width="stretch",
            on_click=services.jobs().cancel,
            args=(experiment, services.visitor()),
        )
        return
    if job is None:
        text.info("The settings have changed. Run to see what they do.", icon=":material/tune:")
    elif job.state == FAILED:
        text.error(f"This run could not be computed. {job.error}", icon=":material/error:")
    elif job.state == CANCELLED:
        kept = f" What it had computed stays ({job.result.phase})." if job.result is not None else ""
        text.info(f"Cancelled.{kept}", icon=":material/stop:")
    elif hidden:
        text.info("Computed. Say first what you expect.", icon=":material/psychology_alt:")
    elif job.result is not None:
        text.success(job.result.summary(), icon=":material/check:")
    label = "Run" if job is None or job.state in (CANCELLED, FAILED) else "Done"
    button.button(
        label, icon=":material/play_arrow:" if label == "Run" else ":material/check:", type="primary", width="stretch",
        disabled=label == "Done", on_click=_start, args=(experiment,), key=f"{label.lower()}-{experiment.view}",
    )  # fmt: skip
