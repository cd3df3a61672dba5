"""Settings -> widgets, and back. A setting's declaration says which widget it gets; no page lists a setting by hand.

A widget's key is the setting's place in the link with the page's name in front; its value in the session state is the
exact value, or its text. A text that does not read leaves the last good value in force and a sentence below the field.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import streamlit as st
import torch

from landscapes import LANDSCAPES, Landscape
from landscapes.setting import (
    Choice,
    Declared,
    Flag,
    Integer,
    Integers,
    Names,
    Number,
    Numbers,
    Setting,
    Text,
    settings,
)
from pages import _asking as asking
from pages._text import Markdown, ours, plain
from ravine import Experiment, inquiries
from ravine.experiment import DEVICES, offered
from ravine.frame import PLAIN, Frame
from ravine.own import PREFIX
from ravine.picture import number
from ravine.words import chosen, spoken

_PREFERRED = ("1", "1.3", "1.6", "2", "2.5", "3.2", "4", "5", "6.3", "8")  # the R10 series: ten even steps a decade


def visible(name: str) -> bool:
    """Does the link leave the control of this name on the page?"""
    framed: Frame = st.session_state.get("frame", PLAIN)
    return framed.shows(name)


def intro(text: Markdown) -> None:
    """What a page is about; in present mode there is somebody who says it."""
    if not st.session_state.get("frame", PLAIN).present:
        st.markdown(text)


def section(title: Markdown, icon: Markdown, names: Iterable[str]) -> Any:
    """An expander for the named controls; where none of them stays, a container that shows nothing."""
    return st.expander(title, icon=icon) if any(visible(name) for name in names) else st.container()


def control(name: str, one: Setting, key: str, value: Any) -> Any:
    """Draws the widget of one setting, starting from `value`, and returns the value it stands at.

    What the link hides keeps its value.
    """
    if not visible(name):
        return value
    title = spoken(name, one)
    told = ours(one, "help") or None
    match one:
        case Choice():
            place = one.choices.index(begin(key, value))
            return st.selectbox(
                title, one.choices, place, format_func=lambda choice: chosen(one, choice), key=key, help=told
            )
        case Names():
            return tuple(st.multiselect(title, one.choices, begin(key, list(value)), key=key, help=told))
        case Flag():
            return st.toggle(title, begin(key, value), key=key, help=told)
        case Integer():
            return st.number_input(title, one.low, one.high, begin(key, value), step=_stride(value), key=key, help=told)
        case Number(log=True) if one.scale or math.isfinite(one.high):
            return _logarithmic(name, one, key, value)
        case Number():
            low = None if math.isinf(one.low) else one.low
            high = None if math.isinf(one.high) else one.high
            return st.number_input(title, low, high, begin(key, value), step=0.05, format="%g", key=key, help=told)
        case Text() | Integers() | Numbers():
            text = st.text_input(
                title,
                begin(key, one.write(value)),
                max_chars=one.high if isinstance(one, Text) else 100,
                key=key,
                help=told,
            )
            try:
                return one.read(name, text.strip())
            except ValueError as refusal:
                st.error(plain(refusal))
                return value
    raise AssertionError(f"{name} is a kind of setting that has no widget")


def settings_of(declared: Declared | type[Declared], prefix: str, *, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """Widgets for every setting of a landscape, a rule or a layer, or of a kind at its defaults; the values they stand at."""
    return {
        name: control(name, one, f"{prefix}.{name}", getattr(declared, name))
        for name, one in settings(declared).items()
        if name not in leave_out
    }


def landscape_choice(experiment: Experiment, title: Markdown = "Landscape", **changed: Any) -> type[Landscape]:
    """The menu of the landscapes that the experiment's view can show; `changed` are its on_change and args."""
    names, key = offered(experiment.view), f"{experiment.view}.land"
    place = names.index(begin(key, experiment.landscape.name))
    if not visible("land"):
        return type(experiment.landscape)
    name = st.selectbox(
        title, names, place, key=key, format_func=lambda one: LANDSCAPES[one].label,
        on_change=changed.get("on_change"), args=changed.get("args"),
    )  # fmt: skip
    if name.startswith(PREFIX):
        for note in LANDSCAPES[name]().notes:
            st.caption(plain(note))
    return LANDSCAPES[name]


def known_facts(experiment: Experiment) -> None:
    """What is known before the run begins, where anything is."""
    facts = asking.brief(inquiries.facts(experiment))
    if facts:
        st.caption("**Known beforehand.** " + plain(" ".join(facts)))


def own_controls(experiment: Experiment, names: Iterable[str]) -> dict[str, Any]:
    """Widgets for the named settings of the experiment itself; the values they stand at."""
    own = settings(Experiment)
    return {
        name: control(name, own[name], renewed(f"{experiment.view}.{name}"), getattr(experiment, name))
        for name in names
    }


def machine_controls(experiment: Experiment) -> dict[str, Any]:
    """Seed, precision and device. Offers CUDA where torch has it, and says what is in use."""
    with section("Precision and device", ":material/memory:", ("seed", "dtype", "device")):
        values = own_controls(experiment, ("seed", "dtype"))
        if not visible("device"):
            return values
        cuda = torch.cuda.is_available()
        key = f"{experiment.view}.device"
        offered = DEVICES if cuda else ("cpu",)
        place = offered.index(begin(key, experiment.device))
        values["device"] = st.selectbox(ours(settings(Experiment)["device"], "label"), offered, place, key=key)
        used = torch.cuda.get_device_name() if values["device"] == "cuda" else "this machine's processor"
        st.caption(f"Computing on {plain(used)}." + ("" if cuda else " Torch sees no CUDA device here."))
    return values


def begin(key: str, value: Any) -> Any:
    """A widget's value: `value` at first, and from then on the user's.

    To be handed to the widget as its default too. The session's value reaches the browser once; where a second run of the
    script overtakes the first, before the browser has drawn it, the widget starts from its default and sends that back.
    """
    return st.session_state.setdefault(key, value)


def renewed(key: str) -> str:
    """The key of a widget that the script sets anew while it is on the page: see `renew`."""
    turn = st.session_state.get(f"{key} turn", 0)
    return f"{key} {turn}" if turn else key


def renew(key: str, value: Any) -> None:
    """Puts a widget with a `renewed` key at a value, as a new widget.

    A value set on a widget that the browser has reaches it in one message, which a further run of the script drops if it
    comes at once; the widget then stands at the old value, and sends that back with the next change of anything.
    """
    st.session_state[f"{key} turn"] = st.session_state.get(f"{key} turn", 0) + 1
    st.session_state[renewed(key)] = value


def put(values: dict[str, Any]) -> None:
    """Puts several widgets with `renewed` keys at values, for a callback of a picture: it is redrawn by itself, and the
    widgets stand beside it, so that the page as a whole runs."""
    for key, value in values.items():
        renew(key, value)
    st.rerun()


def _stride(value: int) -> int:
    """Step of the + and - buttons: about a tenth of the value, a round number."""
    return int(10 ** max(0, math.floor(math.log10(max(1, value))) - 1)) * (5 if value >= 100 else 1)


@lru_cache(maxsize=64)
def _grid(low: float, high: float) -> tuple[float, ...]:
    """Preferred numbers from low to high, both above 0."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    grid = (float(f"{mantissa}e{decade}") for decade in decades for mantissa in _PREFERRED)
    return tuple(point for point in grid if low <= point <= high)


_spelled = lru_cache(maxsize=4096)(number)  # of the hundreds of positive numbers that sliders offer on each run


def _logarithmic(name: str, one: Number, key: str, value: float) -> float:
    """A slider over preferred numbers, with the exact value among them where it is none of them."""
    current = begin(key, value)
    kept = [point for point in _grid(*(one.scale or (one.low, one.high))) if _spelled(point) != number(current)]
    return st.select_slider(
        spoken(name, one),
        sorted([*kept, current]),
        current,
        format_func=_spelled,
        key=key,
        help=ours(one, "help") or None,
    )
