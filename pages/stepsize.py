"""Which step size a point of a run allows, and why."""

from __future__ import annotations

import dataclasses

import streamlit as st

from landscapes import Landscape, Surface, settings
from landscapes.setting import Integer
from pages import _asking as asking
from pages import _components as components
from pages import _room as room
from pages._components import Part
from pages._controls import (
    begin,
    control,
    intro,
    landscape_choice,
    machine_controls,
    own_controls,
    renew,
    renewed,
    section,
    settings_of,
    visible,
)
from pages._drawn import shown
from pages._link import download, opened, share, show
from pages._live import live
from pages._network import batch_controls
from pages._rules import built, further, rule_choice, step_size
from pages._text import Markdown, ours, plain
from ravine import Experiment, Result, inquiries
from ravine.points import points
from ravine.verdict import Origin, origins

VIEW = "stepsize"


def controls(experiment: Experiment) -> Experiment:
    """The sidebar: where on which landscape, and which rule."""
    before, slot = experiment.optimizers[0], f"{VIEW}.opt1"
    kind = landscape_choice(experiment, on_change=_moved)
    same = isinstance(experiment.landscape, kind)
    base = experiment.landscape if same else kind()
    rule = rule_choice(slot, before, "Rule")
    values = {"lr": step_size(slot, rule)}
    own = own_controls(experiment, ("steps",))
    own["at"] = _step_to_look_at(experiment, own["steps"])
    with section("Landscape", ":material/landscape:", settings(kind)):
        chosen = settings_of(base, f"{VIEW}.land.{kind.name}")
        start = _start(experiment.start if same else None, kind)
    rest, extras = further(slot, before, rule)
    values |= rest
    try:
        landscape = kind(**chosen)
        own |= batch_controls(experiment, landscape)
        own |= machine_controls(experiment)
        optimizers = (built(rule, values, extras, before),)
        return dataclasses.replace(experiment, landscape=landscape, start=start, optimizers=optimizers, **own)
    except ValueError as refusal:
        st.error(plain(refusal))
        return experiment


def _step_to_look_at(experiment: Experiment, steps: int) -> int:
    """The step to look at, of those that the run has: a shorter run is looked at where it ends."""
    one, key = settings(Experiment)["at"], f"{VIEW}.at"
    assert isinstance(one, Integer)
    if st.session_state.get(renewed(key), experiment.at) > steps:
        renew(key, steps)
    at = control("at", dataclasses.replace(one, high=steps), renewed(key), min(experiment.at, steps))
    assert isinstance(at, int)
    return at


def _moved() -> None:
    """Another surface starts from its own place."""
    for axis in "xy":
        st.session_state.pop(f"{VIEW}.{axis}", None)


def _start(before: tuple[float, float] | None, kind: type[Landscape]) -> tuple[float, float] | None:
    """Where the run starts, on a surface; a network starts from its own weights."""
    if not issubclass(kind, Surface) or not visible("start"):
        return before
    place = []
    origin = before or kind().origin
    for axis, column, value in zip("xy", st.columns(2), origin, strict=True):
        at = begin(f"{VIEW}.{axis}", value)
        place.append(
            column.number_input(f"Start {plain(axis)}", -1e6, 1e6, at, step=0.1, format="%.4g", key=f"{VIEW}.{axis}")
        )
    return place[0], place[1]


def draw(result: Result) -> list[Part]:
    """The rest of the verdict, the picture, and every number with its origin."""
    assert result.study is not None
    rest = result.sentences()[1:]
    if rest:
        st.markdown("\n".join(f"- {plain(sentence)}" for sentence in rest))
    part = components.figure(f"{VIEW} figure", shown(result, result.experiment)["figure"])
    with st.expander("Every number, and where it comes from", icon=":material/functions:"):
        rows = "".join(
            f"| {ours(one, 'label')} | {ours(one, 'value')} | ${_in_table(one)}$ | {ours(one, 'how')} | {ours(one, 'reference')} |\n"
            for one in origins(result.study, result.experiment.optimizers[0])
        )
        if rows:
            st.markdown(f"| number | value | formula | how | reference |\n|---|---|---|---|---|\n{rows}")
        st.caption(
            "The update u is the rule's next one, from the batch of that step where there are batches; the loss along it, its "
            "models and the sharpness are those of all samples. Polyak, DoG, local smoothness and Armijo are "
            "step sizes of plain gradient descent: for a rule that divides by something they are in other units."
        )
    download(result)
    return [part]


def _in_table(origin: Origin) -> Markdown:
    """The formula of a number without the bars that would end a table's cell."""
    return ours(origin, "formula").replace(r"\|", r"\Vert ").replace("|", r"\vert ")


def dropped(experiment: Experiment) -> None:
    """A look at a point that a file holds, instead of at one of the run."""
    file = st.file_uploader(
        "A model or trajectory of your own",
        key=f"{VIEW} file",
        help="A safetensors file with the parameters of the landscape chosen at the left, or a tensor named params.",
    )
    if file is None:
        return
    try:
        found = points(file.getvalue(), experiment.landscape.layout)
    except ValueError as refusal:
        st.error(plain(refusal), icon=":material/error:")
        return
    index = len(found) - 1
    if len(found) > 1:
        index = int(st.slider("Point of the trajectory", 0, len(found) - 1, index))
    look = asking.ask(inquiries.at_point(experiment, found[index]), f"{VIEW} point", about="This point")
    if look is None:
        return
    result = Result.of_study(experiment, look)
    st.caption("At the point of the file, as if the run began there. A link cannot hold it: it names the run only.")
    st.info(plain(result.summary()), icon=":material/straighten:")
    draw(result)


opening = opened(VIEW)
with st.sidebar:
    experiment = controls(opening)
    show(VIEW, experiment)
    share(experiment)
    room.controls(VIEW)
intro(
    "How large may the next step be? The loss along the update that the rule is about to make, what the curvature says about it, and "
    "how the answer changes along the run."
)
if visible("file") and st.toggle(
    "Look at a point from a file", key=f"{VIEW} from file", help="Instead of at a step of the run."
):
    asking.following(f"{VIEW} dropped", lambda: dropped(experiment))
else:
    live(experiment, draw)
