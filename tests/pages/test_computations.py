"""Pages whose computations take their time: waiting, cancelling, sharing, failing."""

import dataclasses
import json
import threading

import numpy as np
import pytest

import ravine.tasks
from landscapes import LANDSCAPES, settings
from pages import _services as services
from pages._text import plain
from ravine import Store, compute, computing
from ravine.job import CANCELLED, DONE
from ravine.jobs import Jobs
from tests.pages.visitor import (
    NETWORK_VIEWS,
    PATIENCE,
    TINY,
    component,
    packet,
    settled,
    shown,
    small,
    sound,
    visit_link,
)


def test_the_edge_page_draws_its_figure():
    experiment = small("edge", steps=30)
    app = visit_link(experiment)
    settled(app, "edge")
    sent = json.loads(component(app, "edge figure").bytes)
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
    assert second.task == small(view, steps=25)
    assert second.state == DONE
    app.number_input(key=f"{view}.steps").set_value(20).run()  # what is there already is shown at once
    assert settled(app, view).task == small(view)


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
    monkeypatch.setattr(ravine.tasks, "computing", gate)
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
        assert plain(partial.phase) in app.info[0].value
        assert app.get("bidi_component")
    (button,) = app.main.button
    button.click().run()
    assert settled(app, view).state == DONE


@pytest.mark.parametrize("view", NETWORK_VIEWS)
def test_a_failure_is_a_sentence(view, monkeypatch):
    def failing(experiment, **options):
        raise RuntimeError("the disk is on fire")
        yield

    monkeypatch.setattr(ravine.tasks, "computing", failing)
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
    sent = [component(app, "edge figure").bytes for app in (first, second)]
    assert sent[0] == sent[1]
    assert first.session_state["visitor"] != second.session_state["visitor"]
