"""One card for each rule of a page: its name and step size, and the rest behind a button."""

from __future__ import annotations

import streamlit as st

from landscapes import settings
from optimizers import Stepper
from pages._controls import visible
from pages._rules import around, built, rule_choice, rule_settings, step_size, unopened
from ravine.experiment import VIEWS
from ravine.overlay import NOTHING


def rule_cards(
    view: str, optimizers: tuple[Stepper, ...], *, on_surface: bool = False, varied: str = NOTHING
) -> tuple[Stepper, ...]:
    """The rules that the cards stand at. Each carries the color of its run, unless a setting is `varied`: then runs are more.

    A step size that is varied has no slider.
    """
    slots: dict[int, Stepper] = st.session_state.setdefault(f"{view}.slots", dict(enumerate(optimizers, start=1)))
    for place, slot in enumerate(slots):
        with st.container(border=True, gap="small", key=f"run-{place}" if varied == NOTHING else f"rule-{place}"):
            several = varied == f"opt{place + 1}.lr"
            removable = len(slots) > 1 and visible("rule")
            slots[slot] = _card(view, slot, slots[slot], on_surface=on_surface, several=several, removable=removable)
    if len(slots) < VIEWS[view].optimizers and visible("rule"):
        st.button("Add a run", icon=":material/add:", key=f"{view} add", on_click=_add, args=(view,), width="stretch")
    return tuple(slots.values())


def _card(view: str, slot: int, before: Stepper, *, on_surface: bool, several: bool, removable: bool) -> Stepper:
    prefix = f"{view}.opt{slot:d}"
    rule_column, more_column = st.columns([6, 1], gap="small", vertical_alignment="center")
    with rule_column:
        rule = rule_choice(prefix, before, f"Rule of run {slot:d}", hide_label=True)
    extended = any(visible(one) for one in settings(rule) if one != "lr")
    more = None
    if extended:
        more = more_column.popover(
            f"Settings of run {slot:d}",
            icon=":material/tune:",
            type="tertiary",
            key=f"{prefix} more",
            on_change="rerun",
        )
    if more is not None and more.open:  # a closed one draws nothing: with four runs that halves the widgets on the page
        with more:
            values = rule_settings(prefix, rule, on_surface=on_surface, exact=not several)
            extras = around(prefix, before)
    else:
        values, extras = unopened(before, rule)
    if removable:
        st.button(
            f"Remove run {slot:d}",
            icon=":material/close:",
            key=f"{prefix} remove",
            type="tertiary",
            on_click=_remove,
            args=(view, slot),
        )
    if several:
        st.caption("Step size η: each of the values compared below.")
    lr = rule.lr if several else step_size(prefix, rule)
    return built(rule, {"lr": lr} | values, extras, before)


def _add(view: str) -> None:
    """Another run like the last one: whoever compares changes one thing at a time."""
    slots = st.session_state[f"{view}.slots"]
    slots[max(slots) + 1] = slots[max(slots)]


def _remove(view: str, slot: int) -> None:
    del st.session_state[f"{view}.slots"][slot]
