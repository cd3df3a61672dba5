"""The sidebar of the pages about networks: the network, the rule that trains it, and how long."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from landscapes import LANDSCAPES, Landscape, Network, Supervised, settings
from landscapes.data import DATA
from landscapes.supervised import DATA_SETTINGS
from pages._controls import control, machine_controls, own_controls, section, visible
from pages._rules import around, built, rule_choice, rule_settings, step_size, unopened
from ravine import Experiment
from ravine.experiment import offered


def network_controls(experiment: Experiment, extra: tuple[str, ...] = ()) -> Experiment:
    """Widgets in the sidebar for the training of `experiment`, and for its settings named in `extra`."""
    view = experiment.view
    with st.sidebar:
        names = offered(view)
        st.session_state.setdefault(f"{view}.land", experiment.landscape.name)
        name = experiment.landscape.name
        if visible("land"):
            name = st.selectbox("Landscape", names, key=f"{view}.land", format_func=lambda one: LANDSCAPES[one].label)
        kind = LANDSCAPES[name]
        base = experiment.landscape if isinstance(experiment.landscape, kind) else kind()
        own = own_controls(experiment, extra)
        network = _landscape_settings(base, f"{view}.land.{name}")
        before, slot = experiment.optimizers[0], f"{view}.opt1"
        rule = rule_choice(slot, before, "Rule")
        lr = step_size(slot, rule)
        if any(visible(one) for one in settings(rule) if one != "lr"):
            with st.expander("Settings of the rule", icon=":material/tune:"):
                values = {"lr": lr} | rule_settings(slot, rule)
                extras = around(slot, before)
        else:
            values, extras = unopened(before, rule)
            values["lr"] = lr
        own |= own_controls(experiment, ("steps", "every"))
        own |= machine_controls(experiment)
    try:
        optimizers = (built(rule, values, extras, before),)
        return dataclasses.replace(experiment, landscape=kind(**network), optimizers=optimizers, **own)
    except ValueError as refusal:
        st.error(str(refusal))
        return experiment


def _landscape_settings(landscape: Landscape, prefix: str) -> dict[str, Any]:
    """Sections for what is learned and for what learns it, or for the one landscape where nothing is learned from data."""
    every = settings(landscape)
    of_data = [one for one in DATA_SETTINGS if one in every] if isinstance(landscape, Supervised) else []
    shared = settings(Network) if isinstance(landscape, Network) else {}
    # What is a kind's own comes first: its sizes say more than the scale of its weights.
    rest = sorted((one for one in every if one not in of_data), key=lambda one: one in shared)
    values: dict[str, Any] = {}
    for title, icon, names in (("Data", ":material/database:", of_data), ("Network", ":material/hub:", rest)):
        if names:
            with section(title, icon, names):
                values |= {one: control(one, every[one], f"{prefix}.{one}", getattr(landscape, one)) for one in names}
                if "data" in names and visible("data"):
                    source = DATA[values["data"]]
                    st.caption(f"{source.about} ({source.reference})")
    return values
