"""The loss, or another quantity, on a plane through the end of training, with the path projected onto it."""

from __future__ import annotations

import dataclasses

import streamlit as st

from landscapes import QUANTITIES
from landscapes.directions import NORMALIZATIONS
from landscapes.planes import PLANES
from landscapes.quantities import COARSE
from pages import _components as components
from pages import _room as room
from pages import _services as services
from pages._components import Part
from pages._controls import intro, own_controls, put, section
from pages._drawn import drawn, shown
from pages._link import download, opened, share, show
from pages._live import live
from pages._network import network_controls
from pages._text import Markdown, ours, plain
from ravine import Experiment, Result
from ravine.cuts import looked, looking
from ravine.experiment import training
from ravine.figures.planes import difference
from ravine.pictures import sent
from ravine.reading import note

VIEW = "slice"
_WHOLE = looked(1.0, 0.0, 0.0)
_CLOSER = "Drag a box to look closer; a double click shows the whole."
_MORE = (
    "ignore_biases", "others", "curve", "beside", "scale", "clip", "exact", "tolerance", "look_alpha", "look_beta",
)  # fmt: skip
_IDLE = {  # controls that change nothing, and where
    "mode": lambda experiment: experiment.drawing != "map" or experiment.beside != "nothing",
    "normalize": lambda experiment: experiment.plane != "random",
    "ignore_biases": lambda experiment: experiment.plane != "random",
    "plane_seed": lambda experiment: (
        experiment.plane != "random" and (experiment.plane, experiment.others) != ("solutions", 1)
    ),
    "others": lambda experiment: experiment.plane != "solutions",
    "curve": lambda experiment: experiment.plane != "solutions",
    "tolerance": lambda experiment: experiment.exact or QUANTITIES[experiment.quantity].costly,
    "exact": lambda experiment: QUANTITIES[experiment.quantity].costly,
}


def standing(experiment: Experiment) -> Experiment:
    """The experiment with what the controls that others depend on stand at by now."""
    names = ("drawing", "plane", "quantity", "beside", "others", "exact")
    values = {name: st.session_state.get(f"{VIEW}.{name}", getattr(experiment, name)) for name in names}
    try:
        return dataclasses.replace(experiment, **values)
    except ValueError:  # said where the control is
        return experiment


def wanted(names: tuple[str, ...], experiment: Experiment) -> tuple[str, ...]:
    """Those of the named controls that change something."""
    return tuple(name for name in names if name not in _IDLE or not _IDLE[name](experiment))


def about(experiment: Experiment) -> Markdown:
    """What is seen, around what, and on which plane."""
    quantity = QUANTITIES[experiment.quantity]
    center = "the end of training" if experiment.at < 0 else f"step {experiment.looked_at:d} of the training"
    plane = ours(PLANES[experiment.plane], "reads")
    if experiment.plane == "random" and experiment.beside not in ("normalizations", "rescaled"):
        plane += f" Normalization: {plain(NORMALIZATIONS[experiment.normalize])}."
    return f"**{ours(quantity, 'label')}** on a plane through {center}. {ours(quantity, 'reads')} {plane}"


def draw(result: Result) -> list[Part]:
    """The plane, or as long as the network still trains, the training."""
    plane = result.plane
    looks_closer = {"on_range_change": lambda: _zoomed(result), "on_whole_change": _whole}
    if plane is None:
        return [components.figure(f"{VIEW} figure", shown(result, result.experiment)["figure"])]
    looks = {name: getattr(experiment, name) for name in ("mode", "drawing", "clip")}
    given, result = result, result.asked_as(dataclasses.replace(result.experiment, **looks))
    pictures = shown(given, result.experiment)
    if "field" in pictures:
        parts = [
            components.field(f"{VIEW} field", pictures["field"]),
            components.canvas(f"{VIEW} canvas", pictures["view"], **looks_closer),
        ]
        flat = result.experiment.mode == "contour"
        moves = f" {_CLOSER} With Shift, drag the picture." if flat else ""
        st.caption(f"{plain(note(plane).capitalize())}.{moves}")  # the other figures say how exact they are themselves
    else:
        parts = [components.chart(f"{VIEW} chart", pictures["figure"], **looks_closer)]
        st.caption(_CLOSER)
    if QUANTITIES[result.experiment.quantity].costly and result.experiment.points > COARSE:
        st.caption(f"Each point costs eigenvalues, so that {COARSE:d} of them an axis must do.")
    if "barriers" in pictures:
        parts.append(components.figure(f"{VIEW} barrier", pictures["barriers"]))
    if not result.complete:
        return parts
    _navigate()
    kept = st.session_state.get(f"{VIEW} kept")
    keep_column, data_column, whole_column = st.columns([2, 1, 3])
    if any(getattr(result.experiment, name) != value for name, value in _WHOLE.items()):
        whole_column.button(
            "Whole plane", icon=":material/zoom_out_map:", key=f"{VIEW} whole", on_click=_look, args=(_WHOLE,)
        )
    with data_column:
        download(result)
    keep_column.button(
        "Keep for comparison", icon=":material/compare:", key=f"{VIEW} keep", on_click=_keep, args=(result,),
        help="The next plane is then drawn beside this one, on the same scale, with the difference of the two.",
    )  # fmt: skip
    if kept is not None and kept.experiment.key != result.experiment.key:
        figure = drawn(
            given, lambda: sent(difference(kept, result)), "difference", result.experiment.to_url(),
            kept.experiment.to_url(), kept.digest,
        )  # fmt: skip
        components.figure(f"{VIEW} difference", figure)
    return parts


def _keep(result: Result) -> None:
    st.session_state[f"{VIEW} kept"] = result


def _navigate() -> None:
    """Buttons that zoom and pan: what the last picture knows of the new one is not computed again."""
    moves = {
        "Zoom in": (":material/zoom_in:", 0.5, 0, 0),
        "Zoom out": (":material/zoom_out:", 2.0, 0, 0),
        "Left": (":material/arrow_back:", 1.0, -1, 0),
        "Right": (":material/arrow_forward:", 1.0, 1, 0),
        "Up": (":material/arrow_upward:", 1.0, 0, 1),
        "Down": (":material/arrow_downward:", 1.0, 0, -1),
    }
    for column, (name, (icon, factor, right, up)) in zip(st.columns(len(moves)), moves.items(), strict=True):
        column.button(name, icon=icon, key=f"{VIEW} {name}", on_click=_move, args=(factor, right, up), width="stretch")


def _move(factor: float, right: int, up: int) -> None:
    """Half a picture to a side, or half or twice the width."""
    shown: Experiment = st.session_state[f"{VIEW} shown"].experiment
    _look(looked(shown.span * factor, shown.look_alpha + right * shown.span, shown.look_beta + up * shown.span))


def _zoomed(result: Result) -> None:
    """A box drawn on the picture is the next picture."""
    on_canvas = result.experiment.drawing == "map" and not result.beside
    box = st.session_state[f"{VIEW} canvas" if on_canvas else f"{VIEW} chart"]["range"]
    if not box or result.plane is None:
        return
    across, up = ((float(box[side][0]), float(box[side][1])) for side in "xy")
    if result.experiment.drawing == "cuts":  # what goes up is a value, and the other coordinate stays where it is
        alpha, beta = (((low + high) / 2, (low + high) / 2) for low, high in result.plane.window)
        box_of_plane = (across, beta) if box["axis"] == "xaxis" else (alpha, across)
    else:
        box_of_plane = (across, up)
    _look(looking(result.experiment, result.plane.window, box_of_plane))


def _whole() -> None:
    """A double click on the picture."""
    _look(_WHOLE)


def _look(values: dict[str, float]) -> None:
    shown = st.session_state[f"{VIEW} shown"]
    shown.experiment = dataclasses.replace(shown.experiment, **values)  # for where the link hides the controls
    put({f"{VIEW}.{name}": value for name, value in values.items()})


opening = opened(VIEW)
now = standing(opening)
experiment = network_controls(
    opening, wanted(("drawing", "mode", "at", "plane", "quantity", "normalize", "plane_seed", "span", "points"), now)
)
with st.sidebar:
    with section("More about the plane", ":material/layers:", _MORE):
        more = own_controls(opening, wanted(_MORE, now))
    try:
        experiment = dataclasses.replace(experiment, **more)
    except ValueError as refusal:
        st.error(plain(refusal))
    share(experiment)
    room.controls(VIEW)
show(VIEW, experiment)
intro(about(experiment))
live(experiment, draw, eager=services.store().get(training(experiment)) is not None)
