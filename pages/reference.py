"""The reference of rules: what each does, costs and was checked against, drawn from the registry."""

from __future__ import annotations

import base64

import streamlit as st

from pages import _services as services
from ravine.picture import number
from ravine.reference import Entry, hyper_parameters


def card(entry: Entry) -> None:
    """One rule."""
    kind = entry.kind
    picture, text, facts = st.columns([1, 3.2, 3], gap="medium")
    with picture:
        image = base64.b64encode(entry.thumbnail.encode()).decode()
        address = entry.experiment.to_url()
        st.markdown(f"[![Path of {kind.label} on a quadratic bowl](data:image/svg+xml;base64,{image})]({address})")
        st.caption(f"η = {number(float(entry.experiment.optimizers[0].rule.lr))} · open")
    with text:
        st.markdown(f"#### {kind.label} &nbsp; `{kind.name}`\n{kind.idea}\n\n$${kind.equation}$$")
        st.caption(kind.reference)
        if kind.on_points:
            st.caption(f"On a surface: {kind.on_points}")
    with facts:
        rows = "".join(
            f"| {label} | `{name}` | {default} | {allowed} |\n"
            for name, label, default, allowed in hyper_parameters(kind)
        )
        st.markdown(f"| setting | in Python | default | range |\n|---|---|---|---|\n{rows}")
        calls = [
            f"{number(count)} {what}{'' if count == 1 else 's'}"
            for count, what in zip(entry.spent[1:], ("gradient", "Hessian-vector product"), strict=True)
            if count
        ]
        threshold = (
            f"stable up to a curvature of {kind.threshold}" if kind.threshold else "no fixed stability threshold"
        )
        st.caption(
            f"A step costs {' and '.join(calls)}; keeps {number(entry.memory)} numbers per parameter; {threshold}. "
            f"Verified against {kind.verified} over 100 steps to {kind.tolerance:g}."
        )


words = st.text_input("Search", placeholder="Adam, sign, 2018, Hessian …", key="reference words")
shown = [entry for entry in services.entries() if entry.matches(words)]
st.caption(
    f"{len(shown)} of {len(services.entries())} rules. Costs and memory are measured on a small network; each thumbnail is a run of "
    "60 steps on a quadratic bowl at the step size that ends lowest, and opens in Descend."
)
if not shown:
    st.info("No rule says all of these words. Try fewer, or a family such as “Adam” or “sharpness”.")
for entry in shown:
    with st.container(border=True):
        card(entry)
