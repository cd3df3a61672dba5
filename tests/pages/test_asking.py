"""What a page asks for and does not have at once: jobs with their progress, on pages whose questions are short by default."""

import dataclasses
import time

import pytest

import ravine.tasks
from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS, tune
from pages import _services as services
from ravine import Experiment, compute, inquiries
from ravine.axis import Axis
from ravine.basins import basins
from ravine.job import CANCELLED
from tests.pages.test_computations import Gate
from tests.pages.visitor import PATIENCE, component, packet, paths, shown, sound, visit, visit_link

SWEEP = Experiment(
    LANDSCAPES["himmelblau"](), (OPTIMIZERS["gd"](lr=0.01),), view="sweep", steps=200, over_x=Axis("lr", 1e-4, 0.1, 128, log=True),
    over_y=Axis("weight_decay", 0.0, 0.1, 128),
)  # fmt: skip


@pytest.fixture
def all_is_long(monkeypatch):
    monkeypatch.setattr(ravine.tasks, "_SHORT", 0.0)
    monkeypatch.setattr("pages._asking._SOON", 0.0)


def answered(app):
    """Runs the page, as its polls do, until it waits for nothing."""
    until = time.monotonic() + PATIENCE
    while app.main.get("progress") and time.monotonic() < until:
        time.sleep(0.01)
        app.run()
    sound(app)
    assert not app.main.get("progress")
    return app


def compared(a, b):
    return visit("compare", {"a": a.to_url(), "b": b.to_url()})


@pytest.mark.usefixtures("all_is_long")
def test_long_runs_on_a_surface_grow_can_be_cancelled_and_go_on(monkeypatch):
    gate = Gate()
    monkeypatch.setattr(ravine.tasks, "computing", gate)
    app = visit_link(paths(steps=60))
    assert gate.first.wait(PATIENCE)
    app.run()
    sound(app)
    job = app.session_state["descend runs job"]
    header, _ = packet(component(app, "descend canvas").bytes)
    assert 1 < header["rows"] < 61
    assert len(app.main.get("progress")) == 1
    (button,) = [one for one in app.main.button if one.label == "Cancel"]
    button.click().run()
    sound(app)
    assert job.state == CANCELLED
    assert [one.value for one in app.info] == [f"Cancelled. What it had computed stays ({job.result.phase})."]
    assert packet(component(app, "descend canvas").bytes)[0]["rows"] == header["rows"]
    gate.open.set()
    assert gate.ended.wait(PATIENCE)
    (button,) = [one for one in app.main.button if one.label == "Run"]
    button.click().run()
    answered(app)
    assert packet(component(app, "descend canvas").bytes)[0]["rows"] == 61
    app.number_input(key="descend.steps").set_value(30).run()
    answered(app)
    assert packet(component(app, "descend canvas").bytes)[0]["rows"] == 31


@pytest.mark.usefixtures("all_is_long")
def test_tuning_and_basins_are_jobs_too():
    experiment = paths(steps=20)
    app = visit_link(dataclasses.replace(experiment, basins=1))
    answered(app)
    truth = basins(dataclasses.replace(experiment, basins=1))
    sent = packet(component(app, "descend canvas").bytes)[0]["basins"]
    assert [one["group"] for one in sent] == truth.group.tolist()
    app.button(key="descend tune").click().run()
    answered(app)
    found = tune(experiment.landscape, experiment.optimizers, steps=20, start=_start(experiment), seed=3)
    assert [one.rule.lr for one in shown(app, "descend").optimizers] == [float(f"{float(lr):.3g}") for lr in found.best]


def _start(experiment):
    return compute(experiment).trajectory.params[0, 0]


def test_compare_computes_at_once_only_what_is_short():
    short = paths(steps=5)
    app = compared(SWEEP, short)
    sound(app)
    assert services.store().get(short).complete
    assert services.store().get(SWEEP) is None
    assert "compare a job" not in app.session_state
    (button,) = [one for one in app.main.button if one.label == "Run"]
    button.click().run()
    answered(app)
    assert services.store().get(SWEEP).complete


def test_a_page_that_asks_for_something_else_gives_up_what_it_asked_for(monkeypatch):
    monkeypatch.setattr(ravine.tasks, "_SHORT", 0.0)
    gate = Gate()
    monkeypatch.setattr(ravine.tasks, "computing", gate)
    app = visit_link(paths(steps=60))
    first = app.session_state["descend runs job"]
    assert gate.first.wait(PATIENCE)
    app.number_input(key="descend.steps").set_value(50).run()
    assert first.state == CANCELLED
    gate.open.set()
    assert gate.ended.wait(PATIENCE)


def test_a_file_is_written_by_who_computes():
    result = compute(paths(steps=5))
    inquiry = inquiries.file("npz", result)
    assert services.desk().answer(inquiry).value[:2] == b"PK"
