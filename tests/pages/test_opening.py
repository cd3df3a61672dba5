"""Pages opened by links, whole and mangled, again and by turns."""

import sys

import numpy as np
import pytest

from landscapes import LANDSCAPES, settings
from optimizers import OPTIMIZERS
from pages._text import plain
from ravine import Experiment, compute
from ravine.axis import Axis
from ravine.experiment import VIEWS
from ravine.job import DONE
from ravine.picture import surface_field
from tests.pages.visitor import (
    EXAMPLES,
    NETWORK_VIEWS,
    PAGES,
    component,
    open_settings,
    packet,
    paths,
    settled,
    shown,
    small,
    sound,
    visit,
    visit_link,
)


@pytest.mark.parametrize("view", VIEWS)
def test_a_link_opens_on_its_run(view):
    experiment = EXAMPLES[view]
    app = visit_link(experiment)
    assert shown(app, view) == experiment
    assert len(app.warning) == 0
    assert len(app.error) == 0
    assert app.query_params == experiment.to_query()
    if view in NETWORK_VIEWS:
        job = settled(app, view)
        assert (job.state, job.error) == (DONE, "")
        assert job.result.complete
        assert len(app.error) == 0
        assert plain(compute(experiment).summary()) in [one.value for one in app.success]
    assert app.get("bidi_component")


def test_a_rerun_leaves_the_search_for_modules_alone(monkeypatch):
    """Jobs import on threads of their own: a path that changes meanwhile hides packages from them."""
    changes = []

    class Watched(list):
        def insert(self, place, entry):
            changes.append(entry)
            super().insert(place, entry)

        def remove(self, entry):
            changes.append(entry)
            super().remove(entry)

    monkeypatch.setattr(sys, "path", Watched(sys.path))
    visit("edge", small("edge").to_query())
    assert changes == []


def test_the_app_opens_on_a_finished_run():
    app = visit("descend")
    experiment = Experiment.default()
    assert shown(app, "descend") == experiment
    header, floats = packet(component(app, "descend canvas").bytes)
    identity, field = surface_field(experiment.landscape)
    assert header["field"] == identity
    assert component(app, "descend field").bytes == field
    truth = compute(experiment).trajectory
    assert [run["label"] for run in header["runs"]] == [rule.label for rule in experiment.optimizers]
    blocks = floats.reshape(len(experiment.optimizers), 4, -1)
    for index in range(len(experiment.optimizers)):
        np.testing.assert_array_equal(blocks[index, 0], truth.params[:, index, 0].numpy().astype(np.float32))
        np.testing.assert_array_equal(blocks[index, 2], truth.loss[:, index].numpy().astype(np.float32))
        np.testing.assert_array_equal(blocks[index, 3], truth.grad_norm[:, index].numpy().astype(np.float32))


@pytest.mark.parametrize("view", VIEWS)
def test_a_link_is_restored_into_the_widgets(view):
    experiment = EXAMPLES[view]
    app = visit_link(experiment)
    for number in range(1, len(experiment.optimizers) + 1):
        open_settings(app, number, view)
    own = {name: getattr(experiment, name) for name in (*VIEWS[view].keys, *VIEWS[view].shown)}
    if view == "edge":  # one value for three widgets, which are there only with something to look at
        assert app.session_state["edge.look"] == (own.pop("at"), own.pop("run"), own.pop("aspect"))
    if view == "slice":  # a random plane goes through no other solutions
        for name in ("others", "curve"):
            assert f"slice.{name}" not in app.session_state
            own.pop(name)
    axes = {name: own.pop(name) for name in list(own) if isinstance(own[name], Axis)}
    for name, axis in axes.items():
        assert app.session_state[f"{view}.{name}"] == axis.name
        for part, value in (
            ("from", repr(axis.low)),
            ("to", repr(axis.high)),
            ("points", axis.points),
            ("log", axis.log),
        ):
            assert app.session_state[f"{view}.{name} {part}"] == value
    expected = {f"{view}.{name}": (settings(Experiment)[name], value) for name, value in own.items()}
    declared = [(f"opt{number}", rule) for number, rule in enumerate(experiment.optimizers, start=1)]
    for prefix, one in [("land", experiment.landscape), *declared]:
        assert app.session_state[f"{view}.{prefix}"] == one.name
        for name, kind in settings(one).items():
            expected[f"{view}.{prefix}.{one.name}.{name}"] = kind, getattr(one, name)
    for key, (kind, value) in expected.items():
        written = kind.write(value)
        held = app.session_state[key]
        assert held in (value, written) or kind.write(held) == written, key
    if experiment.start is not None:
        assert (app.session_state[f"{view}.x"], app.session_state[f"{view}.y"]) == experiment.start


@pytest.mark.parametrize("view", VIEWS)
def test_a_mangled_link_is_one_warning_with_every_sentence(view):
    query = EXAMPLES[view].to_query() | {"steps": "-3", "seed": "<b>*1*</b>", "opt1": "sgdd", "colour": "[red](x)"}
    _, refusals = Experiment.from_query(query, view)
    assert len(refusals) >= 4
    app = visit(view, query)
    (warning,) = app.warning
    for sentence in refusals:
        assert sentence in warning.value.replace("\\", "")
    for markup in ("<b>", "*1*", "[red]"):
        assert markup not in warning.value
    read = shown(app, view)
    assert app.query_params == read.to_query()
    assert Experiment.from_url(read.to_url()) == (read, [])


@pytest.mark.parametrize("view", NETWORK_VIEWS)
def test_a_network_page_refuses_surfaces_in_a_sentence(view):
    query = small(view).to_query() | {"land.hidden": "x", "start": "1:2"}
    app = visit(view, query)
    (warning,) = app.warning
    assert "as in 128x128" in warning.value.replace("\\", "")
    assert "start" in warning.value


def test_another_link_in_the_same_session_replaces_the_widgets():
    app = visit_link(paths())
    other = paths(landscape=LANDSCAPES["booth"](), optimizers=(OPTIMIZERS["gd"](lr=0.02),), start=(1.0, 2.0), steps=10)
    app.query_params.clear()
    for key, value in other.to_query().items():
        app.query_params[key] = value
    app.run()
    sound(app)
    assert shown(app, "descend") == other
    assert app.selectbox(key="descend.opt1").value == "gd"
    assert app.number_input(key="descend.x").value == 1.0


def test_coming_back_to_a_page_finds_it_as_it_was():
    app = visit_link(paths())
    app.number_input(key="descend.steps").set_value(55).run()
    before = shown(app, "descend")
    assert before == paths(steps=55)
    app.query_params.clear()
    for key, value in small("edge").to_query().items():
        app.query_params[key] = value
    app.switch_page(str(PAGES / "edge.py")).run()
    sound(app)
    assert shown(app, "edge") == small("edge")
    app.query_params.clear()
    app.switch_page(str(PAGES / "descend.py")).run()
    sound(app)
    assert shown(app, "descend") == before
    assert app.query_params == before.to_query()
