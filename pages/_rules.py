"""Widgets for a rule with everything around it: its settings, a schedule, wrappers."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from landscapes import settings
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, Optimizer, Schedule, Stepper, Wrapper, composed, layers
from pages._controls import begin, control, settings_of, visible
from pages._text import Markdown, ours, plain

_NO_SCHEDULE = "none"


def rule_choice(prefix: str, before: Stepper, label: Markdown, *, hide_label: bool = False) -> Optimizer:
    """The menu of rules. A rule chosen anew keeps the step size of the one before it."""
    if not visible("rule"):
        st.markdown(f"**{plain(before.title)}**")
        return before.rule
    names = tuple(OPTIMIZERS)
    name = st.selectbox(
        label,
        names,
        names.index(begin(prefix, before.rule.name)),
        key=prefix,
        format_func=lambda one: OPTIMIZERS[one].label,
        label_visibility="collapsed" if hide_label else "visible",
    )
    kind = OPTIMIZERS[name]
    return before.rule if isinstance(before.rule, kind) else kind(lr=before.rule.lr)


def step_size(prefix: str, rule: Optimizer) -> float:
    """The slider of the step size."""
    return control("lr", settings(rule)["lr"], f"{prefix}.{rule.name}.lr", rule.lr)


def rule_settings(prefix: str, rule: Optimizer, *, on_surface: bool = False, exact: bool = True) -> dict[str, Any]:
    """What the rule is, its hyper-parameters but the step size, and a field for the step size's exact value, if it has one."""
    st.caption(ours(rule, "idea"))
    if on_surface and rule.on_points:
        st.caption(f"On a surface: {ours(rule, 'on_points')}")
    st.markdown(f"$${ours(rule, 'equation')}$$")
    place = f"{prefix}.{rule.name}"
    if exact:
        key = f"{place}.lr exact"
        st.session_state[key] = repr(st.session_state.get(f"{place}.lr", rule.lr))
        args = rule.name, f"{place}.lr", key
        st.text_input("Exact step size η", st.session_state[key], key=key, on_change=_exact, args=args)
    return settings_of(rule, place, leave_out=("lr",))


def _exact(rule: str, key: str, exact: str) -> None:
    try:
        st.session_state[key] = settings(OPTIMIZERS[rule])["lr"].read("η", st.session_state[exact].strip())
    except ValueError as refusal:
        st.toast(plain(refusal), icon=":material/error:")


def around(prefix: str, before: Stepper) -> tuple[Schedule | None, list[partial[Wrapper]]]:
    """Widgets for the layers around a rule: the schedule, and the wrappers from the innermost outwards."""
    _, schedule_before, wrappers_before = layers(before)
    chosen = f"{prefix}.schedule"
    schedules = (_NO_SCHEDULE, *SCHEDULES)
    place = schedules.index(begin(chosen, _NO_SCHEDULE if schedule_before is None else schedule_before.name))
    name = st.selectbox("Schedule", schedules, place, key=chosen, format_func=_schedule_label)
    schedule = None
    if name != _NO_SCHEDULE:
        kind = SCHEDULES[name]
        base = schedule_before if isinstance(schedule_before, kind) else kind()
        st.caption(ours(kind, "idea"))
        schedule = kind(**settings_of(base, f"{chosen}.{name}"))
    known = {one.name: one for one in wrappers_before}
    names = st.multiselect(
        "Around the gradient or the step",
        tuple(WRAPPERS),
        begin(f"{prefix}.wrap", list(known)),
        key=f"{prefix}.wrap",
        format_func=lambda one: WRAPPERS[one].label,
    )
    wrappers = []
    for name in names:
        wrapper = WRAPPERS[name]
        st.caption(ours(wrapper, "idea"))
        wrappers.append(partial(wrapper, **settings_of(known.get(name, wrapper), f"{prefix}.{name}")))
    return schedule, wrappers


def _schedule_label(name: str) -> str:
    return "Constant step size" if name == _NO_SCHEDULE else SCHEDULES[name].label


def unopened(before: Stepper, rule: Optimizer) -> tuple[dict[str, Any], tuple[Schedule | None, list[Any]]]:
    """What `rule_settings` and `around` would return where their widgets are not drawn: all as it was."""
    values = {name: value for name, value in rule.values().items() if name != "lr"}
    _, schedule, wrappers = layers(before)
    return values, (schedule, [partial(type(one), **one.values()) for one in wrappers])


def further(
    prefix: str, before: Stepper, rule: Optimizer
) -> tuple[dict[str, Any], tuple[Schedule | None, list[partial[Wrapper]]]]:
    """`rule_settings` and `around` in an expander; nothing where the link hides all settings of the rule but its step size."""
    if not any(visible(one) for one in settings(rule) if one != "lr"):
        return unopened(before, rule)
    with st.expander("Settings of the rule", icon=":material/tune:"):
        return rule_settings(prefix, rule), around(prefix, before)


def built(
    rule: Optimizer,
    values: dict[str, Any],
    layers_around: tuple[Schedule | None, list[partial[Wrapper]]],
    before: Stepper,
) -> Stepper:
    """The rule with its layers; where they do not fit together, a sentence and what stood before."""
    try:
        return composed(type(rule)(**values), *layers_around)
    except ValueError as refusal:
        st.error(plain(refusal))
        return before
