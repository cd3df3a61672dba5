"""What a visitor does on the page of paths on surfaces."""

import dataclasses

import numpy as np
import pytest

from landscapes import LANDSCAPES, Formula
from optimizers import OPTIMIZERS
from ravine.experiment import VIEWS, offered
from ravine.picture import surface_field
from tests.pages.visitor import (
    EXAMPLES,
    NETWORK_VIEWS,
    SURFACE_VIEWS,
    component,
    open_settings,
    packet,
    paths,
    shown,
    sound,
    visit_link,
)


def test_the_widgets_change_the_experiment():
    app = visit_link(paths())
    app.number_input(key="descend.steps").set_value(12).run()
    app.number_input(key="descend.x").set_value(0.75).run()
    app.selectbox(key="descend.mode").set_value("contour").run()
    open_settings(app, 2)
    app.number_input(key="descend.opt2.adam.beta1").set_value(0.25).run()
    app.select_slider(key="descend.opt1.nag.lr").set_value(0.01).run()
    sound(app)
    nag, adam = paths().optimizers
    rules = (dataclasses.replace(nag, lr=0.01), dataclasses.replace(adam, beta1=0.25))
    changed = paths(steps=12, start=(0.75, -1.25), mode="contour", optimizers=rules)
    assert shown(app, "descend") == changed
    assert app.query_params == changed.to_query()
    header, floats = packet(component(app, "descend canvas").bytes)
    assert header["rows"] == 13
    assert floats[0] == np.float32(0.75)


def test_an_exact_step_size_can_be_typed():
    app = visit_link(paths())
    open_settings(app, 1)
    app.text_input(key="descend.opt1.nag.lr exact").set_value("0.00123").run()
    sound(app)
    assert shown(app, "descend").optimizers[0].lr == 0.00123
    app.text_input(key="descend.opt1.nag.lr exact").set_value("fast").run()
    sound(app)
    assert shown(app, "descend").optimizers[0].lr == 0.00123
    assert "fast" in app.toast[0].value


@pytest.mark.parametrize("number", [1, 2])
def test_a_new_rule_keeps_the_step_size(number):
    app = visit_link(paths())
    app.selectbox(key=f"descend.opt{number}").set_value("rmsprop").run()
    sound(app)
    rules = list(paths().optimizers)
    rules[number - 1] = OPTIMIZERS["rmsprop"](lr=rules[number - 1].lr)
    assert shown(app, "descend") == paths(optimizers=tuple(rules))


def add_button(app):
    """The button that adds a run, while there is one."""
    return [one for one in app.main.button if one.key == "descend add"]


def test_runs_are_added_until_the_view_is_full():
    app = visit_link(paths())
    for count in range(len(paths().optimizers) + 1, VIEWS["descend"].optimizers + 1):
        (button,) = add_button(app)
        button.click().run()
        sound(app)
        first = paths().optimizers
        assert shown(app, "descend").optimizers == (*first, *[first[-1]] * (count - len(first)))
    assert add_button(app) == []


def test_a_removed_run_leaves_the_others_as_they_are():
    rules = (*paths().optimizers, OPTIMIZERS["sam"](lr=0.02, rho=0.5), OPTIMIZERS["adam"](lr=0.3, beta1=0.1))
    app = visit_link(paths(optimizers=rules))
    app.button(key="descend.opt2 remove").click().run()
    sound(app)
    assert shown(app, "descend").optimizers == (rules[0], *rules[2:])
    app.button(key="descend.opt1 remove").click().run()
    assert shown(app, "descend").optimizers == rules[2:]
    app.button(key="descend.opt3 remove").click().run()
    assert shown(app, "descend").optimizers == rules[3:]
    assert [one.key for one in app.button if (one.key or "").endswith("remove")] == []
    app.run()
    sound(app)
    assert shown(app, "descend") == paths(optimizers=rules[3:])


def test_a_bad_formula_is_a_sentence_and_keeps_the_last_surface():
    good = paths(landscape=Formula("x^2 + 3*y^2"))
    app = visit_link(good)
    field = component(app, "descend field").bytes
    for bad in ("__import__('os')", "x +", "", "1/0"):
        app.text_input(key="descend.land.formula.expression").set_value(bad).run()
        sound(app)
        with pytest.raises(ValueError) as refusal:  # noqa: PT011
            Formula(bad)
        assert [one.value.replace("\\", "") for one in app.error] == [str(refusal.value)]
        assert shown(app, "descend") == good
        assert component(app, "descend field").bytes == field
    app.text_input(key="descend.land.formula.expression").set_value("x^2 + 5*y^2").run()
    sound(app)
    assert len(app.error) == 0
    assert shown(app, "descend").landscape == Formula("x^2 + 5*y^2")
    assert component(app, "descend field").bytes == surface_field(Formula("x^2 + 5*y^2"))[1]


def test_every_surface_of_the_menu_can_be_shown():
    app = visit_link(paths())
    menu = app.selectbox(key="descend.land")
    assert len(menu.options) == len(offered("descend"))
    for name in offered("descend"):
        app.selectbox(key="descend.land").set_value(name).run()
        sound(app)
        assert len(app.error) == 0
        surface = LANDSCAPES[name]()
        assert shown(app, "descend").landscape == surface
        assert component(app, "descend field").bytes == surface_field(surface)[1]
        if name != "beale":  # where the link had put the start
            assert shown(app, "descend").start == surface.origin


@pytest.mark.parametrize("view", [SURFACE_VIEWS[0], NETWORK_VIEWS[0]])  # those of networks share their menu
def test_every_rule_of_the_menu_can_be_chosen(view):
    experiment = dataclasses.replace(EXAMPLES[view], steps=2)  # of each rule's run only that there is one
    app = visit_link(experiment)
    assert len(app.selectbox(key=f"{view}.opt1").options) == len(OPTIMIZERS)
    for name in OPTIMIZERS:
        app.selectbox(key=f"{view}.opt1").set_value(name).run()
        sound(app)
        assert len(app.error) == 0
        rule = shown(app, view).optimizers[0]
        assert type(rule) is OPTIMIZERS[name]
        assert rule.lr == experiment.optimizers[0].lr
