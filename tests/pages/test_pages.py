"""The pages as a visitor drives them, in Streamlit's own test harness: no browser, but every widget and every rerun."""

import dataclasses
import json
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import ravine.jobs
from landscapes import LANDSCAPES, MLP, Formula, settings
from optimizers import OPTIMIZERS
from pages import _services as services
from pages import _sharing as sharing
from ravine import Experiment, Store, compute, computing
from ravine.axis import Axis
from ravine.experiment import VIEWS, offered
from ravine.jobs import CANCELLED, DONE, Jobs
from ravine.picture import surface_field

PAGES = Path(__file__).parents[2] / "pages"
PATIENCE = 60.0  # seconds after which a page that does not finish fails its test
TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))
NETWORK_VIEWS = [view for view, one in VIEWS.items() if one.offers(MLP)]
SURFACE_VIEWS = [view for view, one in VIEWS.items() if not one.offers(MLP)]


def small(view, **changes):
    values = {"landscape": TINY, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": view, "steps": 20}
    axes = {"over_x": Axis("lr", 1e-4, 0.1, 66, log=True), "over_y": Axis("weight_decay", 0.0, 0.1, 40)}
    eigenvalues = {"probes": ("top_eigenvalues",), "eigenvalues": 2}
    own = {"slice": {"points": 5}, "sweep": axes, "edge": eigenvalues}
    return Experiment(**(values | own.get(view, {}) | changes))


def paths(**changes):
    rules = (OPTIMIZERS["nag"](lr=0.003, momentum=0.5), OPTIMIZERS["adam"](lr=0.05, beta1=0.8))
    values = {"landscape": LANDSCAPES["beale"](), "optimizers": rules, "start": (0.5, -1.25)}
    return Experiment(**(values | {"steps": 40, "seed": 3, "dtype": "float32", "mode": "surface"} | changes))


EXAMPLES = {view: paths() if view in SURFACE_VIEWS else small(view) for view in VIEWS}


@pytest.fixture(autouse=True)
def fresh_services(tmp_path, monkeypatch):
    """Every test has a store and a queue of its own."""
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path))
    store, jobs = services.store, services.jobs
    store.cache_clear()
    jobs.cache_clear()
    yield
    store.cache_clear()
    jobs.cache_clear()


def visit(view, query=None):
    """A new visitor who opens a page by a link."""
    app = AppTest.from_file(str(PAGES / "_main.py"), default_timeout=PATIENCE)
    if VIEWS[view].path:
        app.switch_page(str(PAGES / f"{VIEWS[view].path}.py"))
    for key, value in (query or {}).items():
        app.query_params[key] = value
    app.run()
    sound(app)
    return app


def visit_link(experiment):
    return visit(experiment.view, experiment.to_query())


def sound(app):
    assert [one.value for one in app.exception] == []


def shown(app, view):
    return app.session_state[f"{view} shown"].experiment


def settled(app, view):
    """Waits until the page's job has ended, and reruns the page, as its poll does."""
    job, until = app.session_state[f"{view} job"], time.monotonic() + PATIENCE
    while job.active and time.monotonic() < until:
        time.sleep(0.005)
    app.run()
    sound(app)
    return app.session_state[f"{view} job"]


def component(app, key):
    """What a page component was sent."""
    (found,) = [one.proto for one in app.get("bidi_component") if one.key == key]
    return found


def packet(data):
    """Header and floats of a canvas packet."""
    (length,) = struct.unpack_from("<I", data)
    return json.loads(data[4 : 4 + length]), np.frombuffer(data[4 + length :], "<f4")


# ------------------------------------------------------------------ opening


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
        assert compute(experiment).summary() in [one.value for one in app.success]
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


def open_settings(app, number, view="descend"):
    """Opens the popover of a run: a closed one draws no widgets."""
    app.session_state[f"{view}.opt{number} more"] = True
    app.run()


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


# ------------------------------------------------------------------ paths on surfaces


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


# ------------------------------------------------------------------ long computations


def test_the_edge_page_draws_its_figure():
    experiment = small("edge", steps=30)
    app = visit_link(experiment)
    settled(app, "edge")
    drawn = json.loads(component(app, "edge figure").json)
    sent = json.loads(drawn) if isinstance(drawn, str) else drawn
    assert sent["layout"].pop("meta") == {"answer": "edge-beside"}  # for the browser alone: where a click is answered
    assert sent == json.loads(compute(experiment).figure().to_json())


def test_a_network_is_offered_the_data_it_can_read_and_says_what_files_are_missing(monkeypatch):
    monkeypatch.delenv("RAVINE_DATA", raising=False)
    network = LANDSCAPES["cnn"](subset=4, channels=(1,), test_share=0.5)
    app = visit_link(small("edge", landscape=network, steps=1))
    menu = app.selectbox(key="edge.land.cnn.data")
    assert menu.value == "digits"
    assert len(menu.options) == len(settings(network)["data"].choices)
    assert "two moons" not in menu.options
    assert any(source.value.startswith("1,797 handwritten digits") for source in app.caption)
    menu.set_value("mnist").run()
    (error,) = app.error
    assert error.value.startswith("mnist is read from your own copy of its files")
    app.selectbox(key="edge.land.cnn.data").set_value("mnist1d").run()
    assert not app.error
    assert app.number_input(key="edge.land.cnn.subset").value == 4


def test_only_batch_norm_says_what_a_minibatch_means_to_it():
    network = dataclasses.replace(TINY, norm="batch", parametrization="ntk")
    app = visit_link(small("edge", landscape=network, batch_size=5, steps=1))
    assert any("statistics from the minibatch" in one.value for one in app.caption)
    app.selectbox(key="edge.land.mlp.norm").set_value("layer").run()
    sound(app)
    assert not any("statistics from the minibatch" in one.value for one in app.caption)


def test_the_slice_page_draws_its_plane():
    experiment = small("slice", mode="surface")
    app = visit_link(experiment)
    settled(app, "slice")
    truth = compute(experiment)
    header, floats = packet(component(app, "slice field").bytes)
    assert (header["nx"], header["ny"]) == (5, 5)
    np.testing.assert_array_equal(floats.reshape(5, 5), truth.plane.loss.T.numpy().astype(np.float32))
    view, _ = packet(component(app, "slice canvas").bytes)
    assert view["field"] == header["id"]
    assert view["mode"] == "surface"
    app.selectbox(key="slice.mode").set_value("contour").run()
    sound(app)
    assert packet(component(app, "slice canvas").bytes)[0]["mode"] == "contour"  # the looks need no new run
    assert app.session_state["slice job"].state == DONE


@pytest.mark.parametrize("view", NETWORK_VIEWS)
def test_changed_settings_wait_for_the_button(view):
    app = visit_link(small(view))
    first = settled(app, view)
    app.number_input(key=f"{view}.steps").set_value(25).run()
    sound(app)
    assert shown(app, view) == small(view, steps=25)
    assert app.session_state[f"{view} job"] is first
    assert app.get("bidi_component")  # the last run stays in sight
    (button,) = [one for one in app.main.button if one.label == "Run"]
    button.click().run()
    second = settled(app, view)
    assert second.experiment == small(view, steps=25)
    assert second.state == DONE
    app.number_input(key=f"{view}.steps").set_value(20).run()  # what is there already is shown at once
    assert settled(app, view).experiment == small(view)


class Gate:
    """Stands in for `computing`: real results, but after the first it waits until the gate opens."""

    def __init__(self):
        self.first, self.open, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, experiment, **options):
        try:
            for result in computing(experiment, **options):
                yield result
                self.first.set()
                assert self.open.wait(PATIENCE)
        finally:
            self.ended.set()


@pytest.mark.parametrize("view", NETWORK_VIEWS)
def test_cancel_keeps_what_was_computed(view, monkeypatch):
    gate = Gate()
    monkeypatch.setattr(ravine.jobs, "computing", gate)
    app = visit_link(small(view, steps=40))
    assert gate.first.wait(PATIENCE)
    app.run()
    sound(app)
    job = app.session_state[f"{view} job"]
    assert job.active
    partial = job.result
    assert not partial.complete
    assert app.get("bidi_component")
    (button,) = app.main.button
    button.click().run()
    sound(app)
    assert job.state == CANCELLED
    gate.open.set()
    assert gate.ended.wait(PATIENCE)
    for _ in range(2):
        app.run()
        sound(app)
        assert app.session_state[f"{view} job"] is job  # nothing started it again
        assert job.result is partial
        assert len(app.info) == 1
        assert partial.phase in app.info[0].value
        assert app.get("bidi_component")
    (button,) = app.main.button
    button.click().run()
    assert settled(app, view).state == DONE


@pytest.mark.parametrize("view", NETWORK_VIEWS)
def test_a_failure_is_a_sentence(view, monkeypatch):
    def failing(experiment, **options):
        raise RuntimeError("the disk is on fire")
        yield

    monkeypatch.setattr(ravine.jobs, "computing", failing)
    app = visit_link(small(view))
    settled(app, view)
    (error,) = app.error
    assert "the disk is on fire" in error.value
    monkeypatch.undo()
    (button,) = app.main.button
    button.click().run()
    assert settled(app, view).state == DONE


@pytest.mark.parametrize("view", NETWORK_VIEWS)
def test_a_full_queue_is_a_sentence(view, monkeypatch, tmp_path):
    full = Jobs(Store(tmp_path), queue=0)
    monkeypatch.setattr(services, "jobs", lambda: full)
    app = visit_link(small(view))
    (error,) = app.error
    assert "Please try again" in error.value


def test_two_visitors_share_one_computation():
    first, second = visit_link(small("edge")), visit_link(small("edge"))
    assert settled(first, "edge").state == settled(second, "edge").state == DONE
    sent = [component(app, "edge figure").json for app in (first, second)]
    assert sent[0] == sent[1]
    assert first.session_state["visitor"] != second.session_state["visitor"]


# ------------------------------------------------------------------ frames


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
    assert [one.value for one in app.info] == [
        "Reproduced to the last bit: this machine got exactly the numbers that the link promises."
    ]
    app.number_input(key="descend.steps").set_value(30).run()
    assert [one.value for one in app.info] == []
    other = compute(dataclasses.replace(experiment, steps=39)).fingerprint.write()
    app = visit("descend", experiment.to_query() | {"fp": other})
    assert app.info[0].value.startswith("Not reproduced")


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
