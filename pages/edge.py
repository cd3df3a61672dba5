"""Sharpness along training, against the stability threshold of the rule."""

from __future__ import annotations

import dataclasses

import streamlit as st

from pages import _asking as asking
from pages import _components as components
from pages import _room as room
from pages._components import Part
from pages._controls import intro
from pages._drawn import drawn, shown
from pages._link import download, opened, share, show
from pages._live import live
from pages._network import network_controls
from pages._text import color, plain
from ravine import Experiment, Result, inquiries
from ravine.cut import said as told_of_cut
from ravine.experiment import ASPECTS, VIEWS
from ravine.figures.cut import line_cut
from ravine.figures.spectrum import density as figure_of_density
from ravine.outcome import divergence
from ravine.picture import number, run_colors
from ravine.pictures import Sent, sent
from ravine.spectrum import said as told_of_spectrum
from ravine.stability import ending, gauges, telling

VIEW = "edge"
_AT, _RUN, _ASPECT = f"{VIEW}.at", f"{VIEW}.run", f"{VIEW}.aspect"
_LOOK = f"{VIEW}.look"  # the step, the run and what of it is looked at: apart from their widgets, which come and go


def draw(result: Result) -> list[Part]:
    """The figure, a table of several runs, and the step looked at."""
    at, run, aspect = st.session_state[_LOOK]
    asked = dataclasses.replace(
        result.experiment,
        relative=experiment.relative,
        at=min(at, result.experiment.steps),
        run=run if run <= len(result.paths) else 1,
        aspect=aspect,
    )
    # What is looked at stands beside the figure, where the eyes are after a click, and stays there while one scrolls.
    along, *beside = st.columns([3, 2] if asked.at >= 0 else [1], gap="medium")
    with along:
        parts = [components.figure(f"{VIEW} figure", shown(result, asked)["figure"], on_click_change=_clicked)]
    with beside[0].container(key=f"{VIEW} beside") if beside else st.container():
        parts += look(result, asked)
    if len(result.paths) > 1:
        table(result)
    download(result)
    show(VIEW, dataclasses.replace(experiment, at=asked.at, run=asked.run, aspect=aspect))
    return parts


def table(result: Result) -> None:
    """One row for each run: its threshold, when it is reached, and how it goes on."""
    rows = []
    for code, run, path in zip(run_colors(result.experiment), result.experiment.runs, result.paths, strict=True):
        gauge = telling(gauges(result.experiment, run, path))
        first = None if gauge is None else gauge.crossing
        cells = ["–"] * 4
        if gauge is not None and gauge.limit is not None and len(gauge.value):
            cells = [
                gauge.called,
                f"{gauge.text} = {gauge.level}",
                "not so far" if first is None else f"step {int(gauge.step[first])}",
                number(gauge.judged(path).late),
            ]
        lost = divergence(*ending(result.experiment, run, path))
        at_the_end = lost or number(float(path.loss[-1]))
        swatch = f'<span style="color:{color(code)}">■</span>'
        rows.append(
            f"| {swatch} {plain(run.label)} | {' | '.join(plain(one) for one in cells)} | {plain(at_the_end)} |"
        )
    head = (
        "| run | measured | threshold | first reached | over threshold, last 30 % | loss at the end |\n"
        + "|---" * 6
        + "|\n"
    )
    st.markdown(head + "\n".join(rows), unsafe_allow_html=True)


def look(result: Result, asked: Experiment) -> list[Part]:
    """What is seen at the step that was clicked: the loss along the top eigenvector with the iterates on it, or the
    spectrum; nothing before a click."""
    step_column, open_column = st.columns(2, gap="small", vertical_alignment="bottom")
    st.session_state[_AT] = asked.at if asked.at >= 0 else None
    step_column.number_input(
        "Step to look at", 0, 10_000, key=_AT, on_change=_chosen, placeholder="none", help="Empty looks nowhere."
    )
    if len(asked.runs) > 1 and asked.at >= 0:
        st.session_state[_RUN] = asked.run
        st.selectbox(
            "Run to look at", range(1, len(asked.runs) + 1), key=_RUN, on_change=_chosen,
            format_func=lambda one: asked.runs[one - 1].label,
        )  # fmt: skip
    if asked.at < 0:
        st.caption(
            "**Click a step in the figure**, or type one, to see the loss along the top eigenvector there, or the spectrum."
        )
        return []
    run = asked.runs[asked.run - 1]
    there = Experiment(
        run.landscape, (run.optimizer,), view="slice", at=asked.at, seed=run.seed, batch_size=run.batch_size,
        **{name: getattr(asked, name) for name in ("steps", "dtype", "device", "every", "sampling")},
    )  # fmt: skip
    open_column.link_button("Slice at this step", there.to_url(_base()), icon=":material/grid_on:", width="stretch")
    st.session_state[_ASPECT] = asked.aspect
    st.radio(
        "Look at", tuple(ASPECTS), tuple(ASPECTS).index(asked.aspect), key=_ASPECT, on_change=_chosen, horizontal=True,
        label_visibility="collapsed", format_func=lambda one: plain(ASPECTS[one]),
    )  # fmt: skip
    seen = _seen(result, asked)
    if seen is None:
        return []
    figure, told = seen
    part = components.figure(f"{VIEW} cut", figure)
    st.caption(plain(told))
    return [part]


def _seen(result: Result, asked: Experiment) -> tuple[Sent, str] | None:
    """The figure of what is looked at, and what it says; None as long as there is nothing to see."""
    color, place, about = run_colors(asked)[asked.run - 1], f"{VIEW} look", "This look"
    if asked.aspect == "spectrum":
        density = asking.ask(inquiries.spectrum(result, asked.run - 1, asked.at), place, about=about, narrow=True)
        if density is None:
            return None
        return drawn(
            result,
            lambda: (sent(figure_of_density(density, color=color)), told_of_spectrum(density)),
            "look",
            asked.to_url(),
        )
    cut = asking.ask(inquiries.cut(result, asked.run - 1, asked.at), place, about=about, narrow=True)
    if cut is None:
        return None
    return drawn(result, lambda: (sent(line_cut(cut, color=color)), told_of_cut(cut)), "look", asked.to_url())


def _base() -> str:
    return (st.context.url or "").rstrip("/").removesuffix(f"/{VIEWS[VIEW].path}")


def _clicked() -> None:
    """A click on the figure chooses the run and the step to look at."""
    click = st.session_state[f"{VIEW} figure"]["click"]
    if click:
        at, run = round(float(click["step"])), int(click["run"]) + 1
        aspect = st.session_state[_LOOK][2]
        st.session_state[_LOOK] = max(0, min(10_000, at)), max(1, min(8, run)), aspect


def _chosen() -> None:
    at, (_, run, aspect) = st.session_state[_AT], st.session_state[_LOOK]
    there = st.session_state.get(_RUN, run), st.session_state.get(_ASPECT, aspect)
    st.session_state[_LOOK] = -1 if at is None else at, *there


opening = opened(VIEW)
at, run, aspect = st.session_state.setdefault(_LOOK, (opening.at, opening.run, opening.aspect))
experiment = network_controls(dataclasses.replace(opening, at=at, run=run, aspect=aspect))
show(VIEW, experiment)
with st.sidebar:
    share(experiment)
    room.controls(VIEW)
intro(
    "While gradient descent trains a network, the largest curvature of the loss, its *sharpness* $\\lambda$, climbs "
    "until the step size can only just cope with it, at $2/\\eta$, and stays there.",
)
live(experiment, draw)
