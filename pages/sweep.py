"""Many runs at once: how they end over one hyper-parameter or two, and where converging turns into diverging."""

from __future__ import annotations

import dataclasses

import streamlit as st

from landscapes import Landscape, Surface, settings
from landscapes.setting import Number, Setting
from optimizers import swept
from pages import _components as components
from pages import _room as room
from pages._components import Part
from pages._controls import (
    begin,
    intro,
    landscape_choice,
    machine_controls,
    own_controls,
    put,
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
from pages._text import plain
from ravine import Experiment, Result
from ravine.axis import Axis, check_axis, fitted
from ravine.experiment import OUTCOMES
from ravine.limits import LIMITS
from ravine.picture import number
from ravine.sweeps import SIZES, cell, closer, finer, natural, nearest, refitted
from ravine.words import plain as symbol_in_words

VIEW = "sweep"
NONE = "nothing"
SIDES = {"over_x": "Left to right", "over_y": "Bottom to top"}
HISTORY = f"{VIEW}.history"  # of ranges, for the way back out
POINT = f"{VIEW}.point"  # clicked last: name -> value


def sidebar(experiment: Experiment) -> Experiment:
    """What is run at every point of the sweep."""
    kind = landscape_choice(experiment, on_change=_forget, args=tuple(SIDES))
    base = experiment.landscape if isinstance(experiment.landscape, kind) else kind()
    landscape = _landscape(base, kind.name)
    before, slot = experiment.optimizers[0], f"{VIEW}.opt1"
    rule = rule_choice(slot, before, "Rule")
    lr = step_size(slot, rule)
    values, extras = further(slot, before, rule)
    stepper = built(rule, values | {"lr": lr}, extras, before)
    own = own_controls(experiment, ("steps", "measure")) | batch_controls(experiment, landscape)
    own |= machine_controls(experiment)
    if not own["measure"] and experiment.outcome == "sharpness":
        own["outcome"] = OUTCOMES[0]
    try:
        return dataclasses.replace(refitted(experiment, landscape, stepper), **own)
    except ValueError as refusal:
        st.error(plain(refusal))
        return experiment


def _landscape(base: Landscape, name: str) -> Landscape:
    with section("Settings of the landscape", ":material/landscape:", settings(base)):
        try:
            return type(base)(**settings_of(base, f"{VIEW}.land.{name}"))
        except ValueError as refusal:
            st.error(plain(refusal))
            return base


def axis_controls(slot: str, axis: Axis | None, experiment: Experiment) -> Axis | None:
    """What the axis sweeps, from where to where, and at how many points."""
    if not visible(slot):
        return axis
    known = swept(experiment.landscape, experiment.optimizers[0])
    options = [*known] if slot == "over_x" else [NONE, *known]
    key = f"{VIEW}.{slot}"
    if st.session_state.get(key) not in options:
        _forget(slot)
    place = options.index(begin(key, axis.name if axis is not None else NONE))
    name = st.selectbox(
        SIDES[slot],
        options,
        place,
        key=key,
        format_func=lambda one: _words(one, known),
        on_change=_forget_range,
        args=(slot,),
    )
    if name == NONE:
        return None
    if axis is None or axis.name != name:
        axis = natural(name, experiment.landscape, experiment.optimizers[0], experiment.over_x.points)
    ends = []
    columns = [*st.columns(2, gap="small"), *st.columns(2, gap="small", vertical_alignment="bottom")]
    for column, what, end in ((columns[0], "from", axis.low), (columns[1], "to", axis.high)):
        at = renewed(f"{key} {what}")
        ends.append(column.text_input(plain(what.capitalize()), begin(at, repr(end)), key=at))
    sizes = sorted({one for one in SIZES if one <= LIMITS.axis} | {axis.points})
    at = renewed(f"{key} points")
    points = columns[2].selectbox("Points", sizes, sizes.index(begin(at, axis.points)), key=at)
    log = columns[3].toggle(
        "Log", begin(f"{key} log", axis.log), key=f"{key} log", help="Even ratios in place of even distances."
    )
    try:
        low, high = (Number(0.0).read(what, text.strip()) for what, text in zip(("from", "to"), ends, strict=True))
        return fitted(check_axis(Axis(name, low, high, points, log)), known)
    except ValueError as refusal:
        st.error(plain(refusal))
        return axis


def _words(name: str, known: dict[str, Setting]) -> str:
    if name not in known:
        return name
    label = known[name].label or name.replace("_", " ").replace(".", ": ").capitalize()
    symbol = symbol_in_words(known[name].symbol) if known[name].symbol else ""
    return label if not symbol or symbol == name else f"{label} {symbol}"


def _forget(*slots: str) -> None:
    """These axes start again from the experiment."""
    for slot in slots:
        st.session_state.pop(f"{VIEW}.{slot}", None)
        _forget_range(slot)


def _forget_range(slot: str) -> None:
    for part in ("from", "to", "points", "log"):
        st.session_state.pop(renewed(f"{VIEW}.{slot} {part}"), None)
    st.session_state.pop(HISTORY, None)
    st.session_state.pop(POINT, None)


def _set(axes: dict[str, Axis]) -> None:
    put(
        {
            f"{VIEW}.{slot} {part}": value
            for slot, axis in axes.items()
            for part, value in (("from", repr(axis.low)), ("to", repr(axis.high)), ("points", axis.points))
        }
    )


def _zoomed(experiment: Experiment) -> None:
    """A box drawn on the map becomes the range of the sweep."""
    box = st.session_state[f"{VIEW} figure"]["range"]
    if not box:
        return
    sides = list(zip(SIDES, "xy", experiment.axes, strict=False))
    old = {slot: axis for slot, _, axis in sides}
    new = {slot: closer(axis, *map(float, box[side])) for slot, side, axis in sides}
    if new == old:
        return
    try:
        for axis in new.values():
            check_axis(axis)
        if isinstance(experiment.landscape, Surface):  # fast enough for each look to show more; see Experiment.coarser
            new = _by_slot(finer(_over(experiment, new))) or new
    except ValueError as refusal:
        st.toast(plain(refusal), icon=":material/error:")
        return
    st.session_state.setdefault(HISTORY, []).append(old)
    _set(new)


def _over(experiment: Experiment, axes: dict[str, Axis]) -> Experiment:
    return dataclasses.replace(experiment, over_x=axes["over_x"], over_y=axes.get("over_y"))


def _by_slot(experiment: Experiment | None) -> dict[str, Axis]:
    return {} if experiment is None else dict(zip(SIDES, experiment.axes, strict=False))


def _back() -> None:
    _set(st.session_state[HISTORY].pop())


def _out() -> None:
    """A double click goes back to the range that the first box was drawn in."""
    history = st.session_state.pop(HISTORY, [])
    if history:
        _set(history[0])


def _clicked(experiment: Experiment) -> None:
    point = st.session_state[f"{VIEW} figure"]["point"]
    if point:
        known = swept(experiment.landscape, experiment.optimizers[0])
        st.session_state[POINT] = {
            axis.name: nearest(axis, known[axis.name], float(point[side]))
            for axis, side in zip(experiment.axes, "xy", strict=False)
        }


def draw(result: Result) -> list[Part]:
    """The picture, and below it what a click or a box on it leads to."""
    asked = dataclasses.replace(result.experiment, outcome=experiment.outcome)
    part = components.chart(
        f"{VIEW} figure",
        shown(result, asked)["figure"],
        on_range_change=lambda: _zoomed(result.experiment),
        on_point_change=lambda: _clicked(result.experiment),
        on_whole_change=_out,
    )
    point = st.session_state.get(POINT)
    columns = st.columns([2.2, 1.7, 1.4, 1.2], vertical_alignment="center")
    with columns[0]:
        if point and set(point) == {axis.name for axis in result.experiment.axes}:
            _open(result.experiment, point)
        else:
            st.caption(
                "Drag a box to look closer: each look is computed afresh, and a double click goes back. Click a point to open its run."
            )
    more = finer(result.experiment) if result.complete else None
    if more is not None:
        sizes = " × ".join(str(axis.points) for axis in more.axes)
        columns[1].button(
            f"Finer: {plain(sizes)}", icon=":material/grid_on:", key=f"{VIEW} finer", on_click=_set, args=(_by_slot(more),),
            width="stretch",
        )  # fmt: skip
    if st.session_state.get(HISTORY):
        columns[2].button("Zoom out", icon=":material/zoom_out:", key=f"{VIEW} back", on_click=_back, width="stretch")
    with columns[3]:
        download(result)
    return [part]


def _open(swept_experiment: Experiment, point: dict[str, float]) -> None:
    where = ", ".join(f"{name} = {number(value)}" for name, value in point.items())
    single = cell(swept_experiment, point)
    if single is None:
        st.caption(f"{plain(where)}. No page shows a single run of this kind.")
        return
    page = "pages/descend.py" if single.view == "descend" else "pages/edge.py"
    st.page_link(
        page.removeprefix("pages/"),
        label=f"Open the run at {plain(where)}",
        icon=":material/open_in_new:",
        query_params=single.to_query(),
    )


opening = opened(VIEW)
with st.sidebar:
    base = sidebar(opening)
intro(
    "Every point is a run of its own. Between the hyper-parameters that train and those that blow up there is no clean "
    "line: look closer, and the boundary shows as much detail again."
)
if any(visible(one) for one in (*SIDES, "outcome")):
    picture, side = st.columns([3.1, 1], gap="medium")
else:
    picture = side = st.container()
with side:
    x = axis_controls("over_x", base.over_x, base)
    y = axis_controls("over_y", base.over_y, base)
    drawing = own_controls(base, ("outcome",))
assert x is not None
try:
    experiment = dataclasses.replace(base, over_x=x, over_y=y, **drawing)
except ValueError as refusal:
    side.error(plain(refusal))
    experiment = base
show(VIEW, experiment)
with st.sidebar:
    share(experiment)
    room.controls(VIEW)
with picture:
    live(experiment, draw, eager=isinstance(experiment.landscape, Surface))
