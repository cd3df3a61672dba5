"""Paths of optimizers on a surface."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import streamlit as st

from landscapes import Surface
from pages import _asking as asking
from pages import _components as components
from pages import _file as reopen
from pages import _predict as predict
from pages import _room as room
from pages._cards import rule_cards
from pages._components import Part
from pages._controls import begin, known_facts, landscape_choice, machine_controls, own_controls, settings_of, visible
from pages._link import download, opened, reproduced, share, show
from pages._text import Markdown, color, ours, plain
from ravine import Experiment, Result, inquiries
from ravine.around import AROUND
from ravine.basins import NAMED, Basins, asked
from ravine.picture import BASIN_COLORS, colors_of, descend_view, number

VIEW = "descend"
_OFF = "Off"
_WISH = f"{VIEW} tunes"  # in the session: the experiment whose rules are to be tuned


def surface_controls(experiment: Experiment) -> Surface:
    """The sidebar: which surface, and its settings."""
    kind = landscape_choice(experiment, "Surface", on_change=_new_surface)
    same = isinstance(experiment.landscape, kind)
    base = experiment.landscape if same else kind()
    try:
        surface = kind(**settings_of(base, f"{VIEW}.land.{kind.name}"))
    except ValueError as refusal:
        st.error(plain(refusal))
        surface = base
    st.caption(ours(surface, "reads"))
    st.markdown(f"$$f(x, y) = {ours(surface, 'equation')}$$")
    assert isinstance(surface, Surface)
    return surface


def _new_surface() -> None:
    """Another surface starts from its own place."""
    for axis in "xy":
        st.session_state.pop(f"{VIEW}.{axis}", None)


def _clicked() -> None:
    """A click on the canvas moves the start."""
    point = st.session_state[f"{VIEW} canvas"]["start"]
    if point:
        st.session_state[f"{VIEW}.x"], st.session_state[f"{VIEW}.y"] = float(point["x"]), float(point["y"])


def _tune(experiment: Experiment) -> None:
    """Asks for the best step size of every run of this experiment."""
    st.session_state[_WISH] = experiment


def _tuning() -> None:
    """Sets every run's step size to its best over a log grid, once that is known, before its slider is drawn."""
    experiment: Experiment | None = st.session_state.get(_WISH)
    if experiment is None or experiment.key != st.session_state[f"{VIEW} shown"].experiment.key:
        asking.leave(f"{VIEW} tuning")  # what is shown has changed since
        st.session_state.pop(_WISH, None)
        return
    tuned = asking.ask(inquiries.tuning(experiment), f"{VIEW} tuning", about="The best step sizes", narrow=True)
    if tuned is None:
        return
    del st.session_state[_WISH]
    found = st.session_state[f"{VIEW} tuned"] = [
        (stepper.title, best, low, high)
        for stepper, best, low, high in zip(
            experiment.optimizers, tuned.best.tolist(), tuned.low.tolist(), tuned.high.tolist(), strict=True
        )
    ]
    slots = st.session_state[f"{VIEW}.slots"]
    for slot, stepper, (_, best, _, _) in zip(slots, experiment.optimizers, found, strict=True):
        if math.isfinite(best):
            st.session_state[f"{VIEW}.opt{slot}.{stepper.rule.name}.lr"] = float(f"{best:.3g}")


def _tuned(experiment: Experiment) -> None:
    """What the last tuning found, as long as it is about the rules shown."""
    found = st.session_state.get(f"{VIEW} tuned", [])
    if [title for title, *_ in found] != [stepper.title for stepper in experiment.optimizers]:
        return
    rows = "".join(
        f"| {plain(title)} | {number(best)} | {number(low)} – {number(high)} | {math.log10(high / low):.1f} |\n"
        if math.isfinite(best)
        else f"| {plain(title)} | – | every run diverged | – |\n"
        for title, best, low, high in found
    )
    st.markdown(f"| rule | best η | good range | decades |\n|---|---|---|---|\n{rows}")
    st.caption("Good: at least 90 % of the best decrease of the loss.")


def laboratory(surface: Surface, field: str, heavy: Part, machine: dict[str, Any]) -> None:
    """Everything that changes the runs but not the surface: only this reruns when a slider moves."""
    before: Experiment = st.session_state[f"{VIEW} shown"].experiment
    picture, side = st.columns([3.1, 1], gap="medium")
    with side:
        # Filled once there is a result; and a step size is tuned before its slider is drawn.
        actions, question, controls, below, tuning = (st.container() for _ in range(5))
        start = before.start if before.landscape.name == surface.name else surface.origin
        assert start is not None
        with tuning:
            _tuning()
    with controls:
        mode_column, steps_column = st.columns(2)
        with mode_column:
            own = own_controls(before, ("mode",))
        with steps_column:
            own |= own_controls(before, ("steps",))
        start_controls(start)
        optimizers = rule_cards(VIEW, before.optimizers, on_surface=True)
        own |= own_controls(before, ("axis",))
    try:
        experiment = dataclasses.replace(
            before,
            landscape=surface,
            optimizers=optimizers,
            start=(st.session_state[f"{VIEW}.x"], st.session_state[f"{VIEW}.y"]),
            **own,
            **machine,
        )
    except ValueError as refusal:
        st.error(plain(refusal))
        experiment = before
    st.html(f"<style>{card_colors(experiment)}</style>")
    with below:
        known_facts(experiment)
    with picture:
        filed = reopen.held(experiment)
        result = _runs(experiment) if filed is None else filed.asked_as(experiment)
    if result is None:
        show(VIEW, experiment)
        return
    hidden = predict.asks(experiment)
    with question:
        if hidden:
            predict.ask(experiment)
        said = predict.told(result)
    with picture:
        canvas = st.container()  # drawn last, above what says how
        found, around = None, None
        if not hidden:
            experiment, found = extras(experiment)
            result = result.asked_as(experiment)
            if experiment.around and result.complete:
                about = "What surrounds each step"
                around = asking.ask(inquiries.around(result), f"{VIEW} around", about=about)
        packet = descend_view(result, field, only_start=hidden, around=around or {}, basins=found)
        with canvas:
            drawn = components.canvas(f"{VIEW} canvas", packet, on_start_change=_clicked)
        reproduced(result)
        room.show(experiment, (heavy, drawn), asking=hidden, answer=said)
    with actions:
        link_column, data_column = st.columns(2, gap="small")
        with link_column:
            share(experiment)
        if visible("data") and not hidden:
            with data_column:
                download(result)
        room.controls(VIEW)
    with below:
        if visible("tune"):
            st.button(
                "Tune all", icon=":material/target:", key=f"{VIEW} tune", on_click=_tune, args=(experiment,), width="stretch",
                help="Runs every rule at 64 step sizes and takes the best of each.",
            )  # fmt: skip
            _tuned(experiment)
    show(VIEW, experiment)


def _runs(experiment: Experiment) -> Result | None:
    """The runs, as far as there is something of them."""
    with (
        st.container()
    ):  # one element, whether it says something or not: a picture that moves down a place is drawn anew
        return asking.ask(experiment, f"{VIEW} runs", about="These runs")


def extras(experiment: Experiment) -> tuple[Experiment, Basins | None]:
    """The experiment with what to draw around the present step, and the basins of one of its runs."""
    if not visible("around"):
        return experiment, _basins(experiment)
    left, right = st.columns([2.4, 1], gap="medium")
    key, names = f"{VIEW}.basins", [one.title for one in experiment.optimizers]
    meanings = "; ".join(f"**{plain(name)}**: {plain(text)}" for name, text in AROUND.items())
    around = left.pills(
        "Around the present step", list(AROUND), selection_mode="multi", default=begin(f"{VIEW}.around", list(experiment.around)),
        key=f"{VIEW}.around", format_func=lambda one: plain(one.capitalize()),
        help=f"{meanings}; seen from above only. Arrows of the gradient and ellipses show a direction or a shape, not a size.",
    )  # fmt: skip
    if begin(key, experiment.basins) > len(names):
        st.session_state[key] = 0  # the run that it was about is gone
    chosen = right.selectbox(
        "Basins of attraction", range(len(names) + 1), st.session_state[key], key=key,
        format_func=lambda place: f"{place}. {names[place - 1]}" if place else _OFF,
        help="Runs one rule from a hundred starts; color and shape say where each ends, a cross that it diverges.",
    )  # fmt: skip
    experiment = dataclasses.replace(experiment, around=tuple(around), basins=chosen)
    with right:
        found = _basins(experiment)
    if found is None:
        return experiment, None
    said = [
        f'<span style="color:{color(BASIN_COLORS[group])}">■</span> {count:d} end '
        + (f"near ({number(float(x))}, {number(float(y))})" if group < NAMED else "at further places")
        for group, count, (x, y) in found.places()
    ]
    died = int((found.group < 0).sum())
    right.markdown("<br>".join(said + ([f"× {died:d} diverge"] if died else [])), unsafe_allow_html=True)
    return experiment, found


def _basins(experiment: Experiment) -> Basins | None:
    """The basins that the experiment asks for, once they are there."""
    place = f"{VIEW} basins of attraction"
    if not asked(experiment):
        asking.leave(place)
        return None
    return asking.ask(inquiries.basins(experiment), place, about="These basins", narrow=True)


def card_colors(experiment: Experiment) -> Markdown:
    """The color of its path for each run's card, as styles."""
    colors = enumerate(colors_of(experiment.optimizers))
    return "".join(f".st-key-run-{place:d} {{ border-left-color: {color(one)}; }}" for place, one in colors)


def start_controls(start: tuple[float, float]) -> None:
    """Two fields for the start; a click on the picture fills them."""
    now = [begin(f"{VIEW}.{axis}", value) for axis, value in zip("xy", start, strict=True)]
    if not visible("start"):
        return
    for axis, column, value in zip("xy", st.columns(2), now, strict=True):
        column.number_input(
            f"Start {plain(axis)}",
            -1e6,
            1e6,
            value,
            step=0.1,
            format="%.4g",
            key=f"{VIEW}.{axis}",
            help="Or click on the picture.",
        )


def _wait() -> None:
    """For the values of a surface that are not there at once: a user's own may take its time."""
    if asking.ask(inquiries.field(landscape), f"{VIEW} values", about="The values of this surface") is not None:
        st.rerun()


opening = opened(VIEW)
with st.sidebar:
    landscape = surface_controls(opening)
    machine = machine_controls(opening)
drawn = asking.brief(inquiries.field(landscape))
if drawn is None:
    asking.following(f"{VIEW} values", _wait)
else:
    identity, packet = drawn
    heavy = components.field(f"{VIEW} field", packet)
    asking.following(VIEW, lambda: laboratory(landscape, identity, heavy, machine))
