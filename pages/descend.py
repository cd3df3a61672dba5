"""Paths of optimizers on a surface."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import streamlit as st

from landscapes import Surface
from pages import _components as components
from pages import _file as reopen
from pages import _predict as predict
from pages import _room as room
from pages import _services as services
from pages._cards import rule_cards
from pages._components import Part
from pages._controls import begin, known_facts, landscape_choice, machine_controls, own_controls, settings_of, visible
from pages._link import download, opened, reproduced, share, show
from pages._sharing import plain
from ravine import Experiment
from ravine.around import AROUND
from ravine.basins import NAMED, Basins, asked
from ravine.crew import Failed
from ravine.picture import BASIN_COLORS, colors_of, descend_view, number, surface_field

VIEW = "descend"
_OFF = "Off"


def surface_controls(experiment: Experiment) -> Surface:
    """The sidebar: which surface, and its settings."""
    kind = landscape_choice(experiment, "Surface", on_change=_new_surface)
    same = isinstance(experiment.landscape, kind)
    base = experiment.landscape if same else kind()
    try:
        surface = kind(**settings_of(base, f"{VIEW}.land.{kind.name}"))
    except ValueError as refusal:
        st.error(str(refusal))
        surface = base
    st.caption(surface.reads)
    st.markdown(f"$$f(x, y) = {surface.equation}$$")
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
    """Sets every run's step size to its best over a log grid."""
    slots = st.session_state[f"{VIEW}.slots"]
    try:
        tuned = services.tuned(experiment)
    except ValueError as refusal:
        st.toast(str(refusal), icon=":material/error:")
        return
    found = st.session_state[f"{VIEW} tuned"] = [
        (stepper.title, best, low, high)
        for stepper, best, low, high in zip(
            experiment.optimizers, tuned.best.tolist(), tuned.low.tolist(), tuned.high.tolist(), strict=True
        )
    ]
    for slot, stepper, (_, best, _, _) in zip(slots, experiment.optimizers, found, strict=True):
        if math.isfinite(best):
            st.session_state[f"{VIEW}.opt{slot}.{stepper.rule.name}.lr"] = float(f"{best:.3g}")


def _tuned(experiment: Experiment) -> None:
    """What the last tuning found, as long as it is about the rules shown."""
    found = st.session_state.get(f"{VIEW} tuned", [])
    if [title for title, *_ in found] != [stepper.title for stepper in experiment.optimizers]:
        return
    rows = "".join(
        f"| {title} | {number(best)} | {number(low)} – {number(high)} | {math.log10(high / low):.1f} |\n"
        if math.isfinite(best)
        else f"| {title} | – | every run diverged | – |\n"
        for title, best, low, high in found
    )
    st.markdown(f"| rule | best η | good range | decades |\n|---|---|---|---|\n{rows}")
    st.caption("Good: at least 90 % of the best decrease of the loss.")


@st.fragment
def laboratory(surface: Surface, field: str, heavy: Part, machine: dict[str, Any]) -> None:
    """Everything that changes the runs but not the surface: only this reruns when a slider moves."""
    before: Experiment = st.session_state[f"{VIEW} shown"].experiment
    picture, side = st.columns([3.1, 1], gap="medium")
    with side:
        actions, question = st.container(), st.container()  # filled once there is a result
        start = before.start if before.landscape.name == surface.name else surface.origin
        assert start is not None
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
        st.error(str(refusal))
        experiment = before
    st.html(f"<style>{card_colors(experiment)}</style>")
    with side:
        known_facts(experiment)
    with picture:
        filed = reopen.held(experiment)
    try:
        result = services.result(experiment) if filed is None else dataclasses.replace(filed, experiment=experiment)
    except Failed as failure:
        picture.error(f"These runs could not be computed. {plain(str(failure))}", icon=":material/error:")
        show(VIEW, experiment)
        return
    hidden = predict.asks(experiment)
    with question:
        if hidden:
            predict.ask(experiment)
        said = predict.told(result)
    with picture:
        canvas = st.container()  # drawn last, above what says how
        found = None
        if not hidden:
            experiment, found = extras(experiment)
            result = dataclasses.replace(result, experiment=experiment)
        packet = descend_view(result, field, only_start=hidden, wanted=experiment.around, basins=found)
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
    with side:
        if visible("tune"):
            st.button(
                "Tune all", icon=":material/target:", key=f"{VIEW} tune", on_click=_tune, args=(experiment,), width="stretch",
                help="Runs every rule at 64 step sizes and takes the best of each.",
            )  # fmt: skip
            _tuned(experiment)
    show(VIEW, experiment)


def extras(experiment: Experiment) -> tuple[Experiment, Basins | None]:
    """The experiment with what to draw around the present step, and the basins of one of its runs."""
    if not visible("around"):
        return experiment, asked(experiment)
    left, right = st.columns([2.4, 1], gap="medium")
    key, names = f"{VIEW}.basins", [one.title for one in experiment.optimizers]
    meanings = "; ".join(f"**{name}**: {text}" for name, text in AROUND.items())
    around = left.pills(
        "Around the present step", list(AROUND), selection_mode="multi", default=begin(f"{VIEW}.around", list(experiment.around)),
        key=f"{VIEW}.around", format_func=str.capitalize,
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
    found = asked(experiment)
    if found is None:
        return experiment, None
    said = [
        f'<span style="color:{BASIN_COLORS[group]}">■</span> {count} end '
        + (f"near ({number(float(x))}, {number(float(y))})" if group < NAMED else "at further places")
        for group, count, (x, y) in found.places()
    ]
    died = int((found.group < 0).sum())
    right.markdown("<br>".join(said + ([f"× {died} diverge"] if died else [])), unsafe_allow_html=True)
    return experiment, found


def card_colors(experiment: Experiment) -> str:
    """The color of its path for each run's card, as styles."""
    colors = enumerate(colors_of(experiment.optimizers))
    return "".join(f".st-key-run-{place} {{ border-left-color: {color}; }}" for place, color in colors)


def start_controls(start: tuple[float, float]) -> None:
    """Two fields for the start; a click on the picture fills them."""
    now = [begin(f"{VIEW}.{axis}", value) for axis, value in zip("xy", start, strict=True)]
    if not visible("start"):
        return
    for axis, column, value in zip("xy", st.columns(2), now, strict=True):
        column.number_input(
            f"Start {axis}",
            -1e6,
            1e6,
            value,
            step=0.1,
            format="%.4g",
            key=f"{VIEW}.{axis}",
            help="Or click on the picture.",
        )


opening = opened(VIEW)
with st.sidebar:
    landscape = surface_controls(opening)
    machine = machine_controls(opening)
identity, packet = surface_field(landscape)
laboratory(landscape, identity, components.field(f"{VIEW} field", packet), machine)
