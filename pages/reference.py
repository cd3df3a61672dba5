"""The reference of rules: what each does, costs and was checked against, drawn from the registry."""

from __future__ import annotations

import streamlit as st

from pages import _asking as asking
from pages._text import code, image, linked, ours, plain
from ravine import inquiries
from ravine.picture import number
from ravine.reference import Entry, hyper_parameters


def card(entry: Entry) -> None:
    """One rule."""
    kind = entry.kind
    picture, text, facts = st.columns([1, 3.2, 3], gap="medium")
    with picture:
        drawing = image(f"Path of {ours(kind, 'label')} on a quadratic bowl", entry.thumbnail.encode(), "image/svg+xml")
        st.markdown(linked(drawing, entry.experiment.to_url()))
        st.caption(f"η = {number(float(entry.experiment.optimizers[0].rule.lr))} · open")
    with text:
        st.markdown(
            f"#### {ours(kind, 'label')} &nbsp; `{ours(kind, 'name')}`\n{ours(kind, 'idea')}\n\n$${ours(kind, 'equation')}$$"
        )
        st.caption(ours(kind, "reference"))
        if kind.on_points:
            st.caption(f"On a surface: {ours(kind, 'on_points')}")
    with facts:
        rows = "".join(
            f"| {plain(label)} | {code(name)} | {plain(default)} | {plain(allowed)} |\n"
            for name, label, default, allowed in hyper_parameters(kind)
        )
        st.markdown(f"| setting | in Python | default | range |\n|---|---|---|---|\n{rows}")
        calls = [
            f"{number(count)} {plain(what)}{'' if count == 1 else 's'}"
            for count, what in zip(entry.spent[1:], ("gradient", "Hessian-vector product"), strict=True)
            if count
        ]
        threshold = (
            f"stable up to a curvature of {ours(kind, 'threshold')}"
            if kind.threshold
            else "no fixed stability threshold"
        )
        st.caption(
            f"A step costs {' and '.join(calls)}; keeps {number(entry.memory)} numbers per parameter; {threshold}. "
            f"Verified against {ours(kind, 'verified')} over 100 steps to {kind.tolerance:g}."
        )


def listed() -> None:
    """The rules that say what is searched for."""
    entries = asking.ask(inquiries.reference(), "reference", about="The reference")
    if entries is None:
        return
    shown = [entry for entry in entries if entry.matches(words)]
    st.caption(
        f"{len(shown):d} of {len(entries):d} rules. Costs and memory are measured on a small network; each thumbnail is a run of "
        "60 steps on a quadratic bowl at the step size that ends lowest, and opens in Descend."
    )
    if not shown:
        st.info("No rule says all of these words. Try fewer, or a family such as “Adam” or “sharpness”.")
    for entry in shown:
        with st.container(border=True):
            card(entry)


words = st.text_input("Search", placeholder="Adam, sign, 2018, Hessian …", key="reference words")
asking.following("reference", listed)
