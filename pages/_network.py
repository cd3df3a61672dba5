"""The sidebar of the pages about networks: the network, its data, the rules that train it, and how long."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from landscapes import Landscape, Network, Supervised, settings
from landscapes.data import DATA
from landscapes.setting import Choice, Flag, Integer, Number, Setting
from landscapes.supervised import DATA_SETTINGS
from optimizers import PROBES, Stepper
from pages._cards import rule_cards
from pages._controls import (
    begin,
    control,
    known_facts,
    landscape_choice,
    machine_controls,
    own_controls,
    renew,
    renewed,
    section,
    visible,
)
from pages._text import ours, plain
from ravine import Experiment
from ravine.experiment import VIEWS
from ravine.limits import LIMITS
from ravine.measures import TOP, probe
from ravine.overlay import NOTHING, variable
from ravine.words import spoken


def network_controls(experiment: Experiment, extra: tuple[str, ...] = ()) -> Experiment:
    """Widgets in the sidebar for the training of `experiment`, and for its settings named in `extra`."""
    view = experiment.view
    with st.sidebar:
        kind, values = _landscape_controls(experiment)
        facts = st.container()
        own = own_controls(experiment, extra)
        varied = st.session_state.get(f"{view}.vary", experiment.vary)
        optimizers = rule_cards(view, experiment.optimizers, varied=varied)
        own |= own_controls(experiment, ("steps",))
        try:
            landscape = kind(**values)
        except ValueError as refusal:
            st.error(plain(refusal))
            return experiment
        own |= batch_controls(experiment, landscape)
        if "vary" in VIEWS[view].keys:
            own |= _overlay_controls(experiment, landscape, optimizers)
        own |= _measure_controls(experiment, landscape, optimizers)
        own |= machine_controls(experiment)
    try:
        asked = dataclasses.replace(experiment, landscape=landscape, optimizers=optimizers, **own)
    except ValueError as refusal:
        st.error(plain(refusal))
        return experiment
    with facts:
        known_facts(asked)
    return asked


def _landscape_controls(experiment: Experiment) -> tuple[type[Landscape], dict[str, Any]]:
    """The menu of landscapes, and the settings of one: of the model itself, and of the data."""
    view = experiment.view
    kind = landscape_choice(experiment)
    base = experiment.landscape if isinstance(experiment.landscape, kind) else kind()
    return kind, _landscape_settings(base, f"{view}.land.{kind.name}")


def _landscape_settings(landscape: Landscape, prefix: str) -> dict[str, Any]:
    """Sections for what is learned and for what learns it, or for the one landscape where nothing is learned from data."""
    every = settings(landscape)
    of_data = [one for one in DATA_SETTINGS if one in every] if isinstance(landscape, Supervised) else []
    shared = settings(Network) if isinstance(landscape, Network) else {}
    # What is a kind's own comes first: its sizes say more than the scale of its weights.
    rest = sorted((one for one in every if one not in of_data), key=lambda one: one in shared)
    values: dict[str, Any] = {}
    learned = isinstance(landscape, Supervised)
    model, of_model = ("Network", ":material/hub:") if learned else ("Model", ":material/function:")
    for title, icon, names in (("Data", ":material/database:", of_data), (model, of_model, rest)):
        if names:
            with section(title, icon, names):
                values |= {one: control(one, every[one], f"{prefix}.{one}", getattr(landscape, one)) for one in names}
                if "data" in names and visible("data"):
                    source = DATA[values["data"]]
                    st.caption(f"{ours(source, 'about')} ({ours(source, 'reference')})")
    return values


def batch_controls(experiment: Experiment, landscape: Landscape) -> dict[str, Any]:
    """How many samples a step sees, and how they are drawn; for what is not a mean over samples, a sentence."""
    if landscape.samples is None:
        if visible("batch_size"):
            st.caption(f"{plain(landscape.lacks('samples'))}, so there are no minibatches to draw.")
        return {"batch_size": 0}
    with section("Minibatches", ":material/shuffle:", ("batch_size", "sampling")):
        own = own_controls(experiment, ("batch_size", "sampling"))
        if not 0 < own["batch_size"] < landscape.samples:
            return own
        if landscape.reduction == "sum":
            st.caption(
                f"The loss is a sum over samples: that of a minibatch is on average {own['batch_size']:d}/{landscape.samples:d} of "
                "the whole, and so is the curvature that steps feel. Thresholds for the sharpness, which is that of the whole, "
                "are so much higher."
            )
        elif landscape.coupled:
            st.caption(
                "A minibatch's loss is not the mean of its samples' losses here, as with batch norm, which takes its "
                "statistics from the minibatch: steps follow another loss than that of all samples, of which the sharpness "
                "is measured."
            )
        return own


def _overlay_controls(experiment: Experiment, landscape: Landscape, optimizers: tuple[Stepper, ...]) -> dict[str, Any]:
    """Which setting takes several values, and which."""
    view = experiment.view
    plainly = dataclasses.replace(
        experiment, landscape=landscape, optimizers=optimizers, vary=NOTHING, batch_size=0, run=1
    )
    known = variable(plainly)
    vary, across = f"{view}.vary", f"{view}.across"
    options = (NOTHING, *known)
    at = renewed(across)
    begin(at, experiment.across)
    if begin(vary, experiment.vary) not in options:
        st.session_state[vary] = NOTHING
    if not visible("vary"):
        return {}
    with st.expander("Compare values", icon=":material/stacked_line_chart:", expanded=experiment.vary != NOTHING):
        chosen = st.selectbox(
            "Vary", options, options.index(st.session_state[vary]), key=vary, on_change=_suggest, args=(view, plainly), help=ours(settings(experiment)["vary"], "help"),
            format_func=lambda place: "Nothing" if place == NOTHING else _place(place, known[place], optimizers),
        )  # fmt: skip
        if chosen == NOTHING:
            return {"vary": NOTHING}
        texts = st.text_input(
            "Values",
            st.session_state[at],
            key=at,
            max_chars=300,
            help=f"Up to {LIMITS.runs:d} runs, separated by commas.",
        )
        try:
            dataclasses.replace(plainly, vary=chosen, across=texts)
        except ValueError as refusal:
            st.error(plain(refusal))
            return {}
    return {"vary": chosen, "across": texts}


def _place(place: str, one: Setting, optimizers: tuple[Stepper, ...]) -> str:
    """A setting as the menu of `vary` names it."""
    owner, _, name = place.rpartition(".")
    of = "" if not owner.startswith("opt") or len(optimizers) == 1 else f" of {optimizers[int(owner[3:]) - 1].title}"
    return spoken(name, one) + of


def _suggest(view: str, experiment: Experiment) -> None:
    """Values to begin with for a setting that was just chosen."""
    place = st.session_state[f"{view}.vary"]
    if place == NOTHING:
        return
    one = variable(experiment)[place]
    owner, _, name = place.rpartition(".")
    declared: Any = experiment
    if owner:
        declared = experiment.landscape if owner == "land" else experiment.optimizers[int(owner[3:]) - 1].rule
    now = getattr(declared, name)
    values: list[Any] = [now]
    match one:
        case Number():
            values = [value for value in (now / 2, now, now * 2) if one.low <= value <= one.high]
        case Integer():
            values = [value for value in (now, now + 1, now + 2) if value <= one.high]
        case Choice():
            values = list(one.choices[: LIMITS.runs])
        case Flag():
            values = [False, True]
    renew(f"{view}.across", ",".join(one.write(value) for value in dict.fromkeys(values)))


def _measure_controls(experiment: Experiment, landscape: Landscape, optimizers: tuple[Stepper, ...]) -> dict[str, Any]:
    """How often to measure, and what besides the sharpness."""
    keys = (*VIEWS[experiment.view].keys, *VIEWS[experiment.view].shown)
    names = tuple(name for name in ("every", "probes", "flow", "relative") if name in keys)
    with section("Measure", ":material/monitoring:", names):
        own = own_controls(experiment, tuple(name for name in names if name != "probes"))
        if "probes" in names and visible("probes"):
            own |= _probe_controls(experiment, landscape, optimizers)
    return own


def _probe_controls(experiment: Experiment, landscape: Landscape, optimizers: tuple[Stepper, ...]) -> dict[str, Any]:
    """A menu of the probes that some run can measure; below it, why the others are not there."""
    probes = [probe(experiment, name, landscape) for name in PROBES]
    refused = {
        one.name: [said for said in (one.refusal(landscape, rule) for rule in optimizers) if said] for one in probes
    }
    fitting = [name for name in PROBES if len(refused[name]) < len(optimizers)]
    key = f"{experiment.view}.probes"
    # Set only where something no longer fits: what the script sets takes the place of what the visitor is choosing.
    if not set(begin(key, [name for name in experiment.probes if name in fitting])) <= set(fitting):
        st.session_state[key] = [name for name in st.session_state[key] if name in fitting]
    chosen = st.multiselect(
        "Measure as well",
        fitting,
        st.session_state[key],
        key=key,
        format_func=_probe_label,
        help="What else to measure along the runs.",
    )
    own = own_controls(experiment, ("eigenvalues",)) if TOP in chosen else {}
    for name in chosen:
        st.caption(f"**{ours(PROBES[name], 'label')}**, ${ours(PROBES[name], 'symbol')}$: {ours(PROBES[name], 'help')}")
    left_out = [f"- {ours(PROBES[name], 'label')}: {plain(refused[name][0])}" for name in PROBES if name not in fitting]
    if left_out:
        st.caption("Not offered here:\n" + "\n".join(left_out))
    return {"probes": tuple(chosen)} | own


def _probe_label(name: str) -> str:
    return PROBES[name].label
