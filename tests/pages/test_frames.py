"""What a link says of the page around its run: controls that it hides, predictions, promises."""

import dataclasses

import pytest

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS
from pages import _sharing as sharing
from pages._text import plain
from ravine import compute
from ravine.experiment import VIEWS
from tests.pages.visitor import (
    EXAMPLES,
    NETWORK_VIEWS,
    component,
    packet,
    paths,
    shown,
    small,
    sound,
    visit,
    visit_link,
)


def widgets(app):
    """Labels of everything that can be set."""
    kinds = ("selectbox", "select_slider", "number_input", "text_input", "toggle", "multiselect")
    return {one.label for kind in kinds for one in app.get(kind)}


@pytest.mark.parametrize("view", VIEWS)
def test_a_link_hides_controls_and_keeps_their_values(view):
    experiment = EXAMPLES[view]
    app = visit(view, experiment.to_query() | {"show": "lr,steps", "title": "Two *sliders*"})
    assert widgets(app) == {"Step size η", "Steps"}
    assert shown(app, view) == experiment
    assert app.query_params == experiment.to_query() | {"show": "lr,steps", "title": "Two *sliders*"}
    assert "Two \\*sliders\\*" in app.markdown[0].value
    app.number_input(key=f"{view}.steps").set_value(30).run()
    assert shown(app, view) == dataclasses.replace(experiment, steps=30)


def test_present_mode_keeps_the_step_sizes_alone():
    app = visit("descend", EXAMPLES["descend"].to_query() | {"present": "true"})
    assert widgets(app) == {"Step size η"}
    app.button(key="descend leave").click().run()
    app.run()
    assert app.query_params == EXAMPLES["descend"].to_query()
    assert {"Surface", "Steps", "Start x"} <= widgets(app)


def test_predict_first_hides_the_outcome():
    experiment = paths(optimizers=(OPTIMIZERS["gd"](lr=1.0),), landscape=LANDSCAPES["quadratic"]())
    app = visit("descend", experiment.to_query() | {"predict": "true"})
    header, floats = packet(component(app, "descend canvas").bytes)
    assert header["rows"] == 1
    assert header["runs"][0]["ended"] == ""
    assert header["runs"][0]["diverged"] is None
    assert len(floats) == 4  # the start, its loss and its gradient
    app.button(key="descend predict converges").click().run()
    header, _ = packet(component(app, "descend canvas").bytes)
    assert header["rows"] == 41
    assert [one.value for one in app.info] == ["It diverges; you said that it converges."]
    # Another experiment, another question.
    app.number_input(key="descend.steps").set_value(30).run()
    app.button(key="descend predict diverges").click().run()
    assert [one.value for one in app.success] == ["Right: it diverges."]


def test_a_page_says_whether_its_link_is_reproduced():
    experiment = EXAMPLES["descend"]
    fp = compute(experiment).fingerprint.write()
    app = visit("descend", experiment.to_query() | {"fp": fp})
    assert [one.value for one in app.success] == [
        plain("Same to the bit: this machine got exactly the numbers of the link.")
    ]
    app.number_input(key="descend.steps").set_value(30).run()
    assert [one.value for one in (*app.info, *app.success, *app.warning)] == []
    other = compute(dataclasses.replace(experiment, steps=39)).fingerprint.write()
    app = visit("descend", experiment.to_query() | {"fp": other})
    assert app.warning[0].value == plain("Different: 80 losses in the link, 82 here.")


def test_surroundings_and_basins_are_sent_when_asked_for():
    experiment = EXAMPLES["descend"]
    app = visit_link(experiment)
    header, floats = packet(component(app, "descend canvas").bytes)
    assert header["overlays"] == []
    assert "basins" not in header
    plain = len(floats)
    app.button_group(key="descend.around").set_value(["curvature", "stability"]).run()
    app.selectbox(key="descend.basins").set_value(2).run()
    sound(app)
    header, floats = packet(component(app, "descend canvas").bytes)
    assert header["overlays"] == ["curvature", "stability"]
    assert len(floats) == plain + 2 * (3 + 1) * header["rows"] + header["sharpness"] ** 2
    assert len(header["basins"]) == 100
    # They are part of the link, and of no number.
    link = app.query_params
    assert (link["around"], link["basins"]) == ("curvature,stability", "2")
    again = visit("descend", link)
    assert packet(component(again, "descend canvas").bytes)[0]["overlays"] == header["overlays"]
    assert shown(again, "descend").key == experiment.key


@pytest.mark.parametrize("view", NETWORK_VIEWS)
def test_controls_that_stay_are_called_by_words_of_their_own(view):
    names = sharing.called(small(view))
    assert list(names) == sharing.controls(small(view))
    assert len(set(names.values())) == len(names)
    assert (names["lr"], names["hidden"], names["land"]) == ("Step size η", "Hidden", "Landscape")
