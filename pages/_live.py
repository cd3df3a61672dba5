"""A long computation on a page: its progress while it runs, a button to cancel it, and whatever it has given so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages import _asking as asking
from pages import _components as components
from pages import _file as reopen
from pages import _predict as predict
from pages import _room as room
from pages import _services as services
from pages._components import Part
from pages._drawn import drawn
from pages._link import reproduced
from pages._text import plain
from ravine import Experiment, Result
from ravine.job import Job
from ravine.pictures import NOTHING, sent
from ravine.question import unanswered

_BLINK = 0.3  # seconds that a page may wait for something to show


def live(experiment: Experiment, draw: Callable[[Result], Sequence[Part]], *, eager: bool = False) -> None:
    """Starts the experiment when the page opens or the visitor asks, then follows it and draws its results.

    `draw` returns the parts of its picture that a live room is shown. With `eager` it starts after every change of a setting, for what shows something within a blink.
    """
    view = experiment.view
    filed = reopen.held(experiment)
    if filed is not None:

        def reopened() -> None:
            room.show(experiment, draw(filed), says=filed.summary())

        asking.following(view, reopened)
        reproduced(filed)
        return
    anew = f"{view} job" not in st.session_state or (eager and asking.current(experiment, view) is None)
    if anew or services.store().get(experiment) is not None:
        # A link opens on its run, not on a button; and what is there already is shown at once.
        job = asking.start(experiment, view)
        if eager and job is not None:
            services.jobs().first(job, _BLINK)

    def follow() -> None:
        job = asking.current(experiment, view)
        hidden = predict.asks(experiment)
        _status(experiment, job, hidden=hidden)
        above = st.container()  # one element, whatever it holds: a figure that moves down a place would lose its zoom
        cluster = services.cluster()
        if cluster is not None and cluster.absent:
            above.caption(plain(cluster.absent))
        if hidden:
            with above:
                predict.ask(experiment, beside=True)
        result: Result | None = (
            job.result if job is not None and job.result is not None and job.result.visible else None
        )
        if result is None and not hidden:
            result = st.session_state.get(f"{view} last")
            if result is not None:
                above.caption("Below: the last run, until this one has something to show.")
        if result is not None and hidden:
            given = result
            axes = drawn(given, lambda: sent(unanswered(given).figure()), "asked")
            begun = components.figure(f"{view} asked", axes)
            room.show(experiment, [begun], asking=True)
        elif result is not None:
            st.session_state[f"{view} last"] = result
            with above:
                said = predict.told(result)
            room.show(experiment, draw(result), says=result.summary() if result.complete else "", answer=said)
            reproduced(result)
        else:
            components.figure(f"{view} waiting", NOTHING)

    job = asking.current(experiment, view)
    asking.following(view, follow, waits=job is not None and job.active)


def _status(experiment: Experiment, job: Job | None, *, hidden: bool) -> None:
    """What is going on, and the button that fits."""

    def say(text: DeltaGenerator) -> None:
        if job is None:
            text.info("The settings have changed. Run to see what they do.", icon=":material/tune:")
        elif hidden:
            text.info("Computed. Say first what you expect.", icon=":material/psychology_alt:")
        elif job.result is not None:
            text.success(plain(job.result.summary()), icon=":material/check:")

    asking.row(experiment, experiment.view, job, "This run", say=say)
