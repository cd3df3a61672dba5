"""A user's own model that hangs or fails while a page looks at it: a sentence, and all others are served meanwhile."""

import dataclasses
import signal
from functools import partial

import pytest
import safetensors.torch
import torch

import ravine.crew
from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS
from pages import _asking as asking
from pages import _services as services
from ravine import Experiment, Store, compute
from ravine.crew import Crew
from ravine.desk import Desk
from ravine.job import CANCELLED
from ravine.jobs import Jobs
from tests import awaiting
from tests.pages.visitor import PATIENCE, paths, sound, visit_link
from tests.ravine.own_file import registered

SOURCE = """
from pathlib import Path

import torch
from torch import nn

from dataclasses import dataclass

from landscapes import Surface, from_module

HERE = Path(__file__)

def hang():
    while HERE.with_name("hang").exists():
        pass

@dataclass(frozen=True)
class Bowl(Surface):
    name, label, reads, reference = "bowl", "Bowl", "A bowl.", "folklore"
    expression = "x^2 + y^2"
    window = ((-2.0, 2.0), (-2.0, 2.0))
    origin = (1.5, 1.0)

    def value_and_grad(self, params, batch=None):
        hang()
        return super().value_and_grad(params, batch)

class Moody(nn.Linear):
    def forward(self, inputs):
        hang()
        if HERE.with_name("fail").exists():
            raise RuntimeError("the cat sat on it")
        return super().forward(inputs).tanh()

def make():
    torch.manual_seed(0)
    inputs = torch.linspace(-1, 1, 12)[:, None]
    model = from_module(Moody(1, 1), nn.MSELoss(), (inputs, inputs**2))
    return {"make": model, "bowl": Bowl}
"""


class House:
    """The services of an app that was started with a model of one's own, short of patience."""

    def __init__(self, folder):
        self.folder, self.store = folder, Store(folder / "cache")
        self.crew = Crew(self.store, turn=0.2, obeys_within=0.5, warm=False)
        self.desk = Desk(self.store, self.crew.hire, patience=0.5)
        self.jobs = Jobs(self.store, workers=1, per_visitor=4, silence=1.0, crew=self.crew)

    def mood(self, name=""):
        for one in ("hang", "fail"):
            self.folder.joinpath(one).unlink(missing_ok=True)
        if name:
            self.folder.joinpath(name).touch()

    def close(self):
        self.mood()
        self.jobs.close(PATIENCE)
        if self.desk._place is not None:
            self.desk._place.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moody")
    with registered(folder / "moody.py", SOURCE), pytest.MonkeyPatch.context() as patch:
        # A second suite beside this one is no reason to wait longer for what hangs.
        patch.setattr(ravine.crew, "_PATIENT", 1.0)
        house = House(folder)
        yield house
        house.close()


@pytest.fixture
def house(opened, monkeypatch):
    monkeypatch.setattr(asking, "_SILENT", 0.0)
    for name in ("store", "crew", "desk", "jobs"):
        monkeypatch.setattr(services, name, partial(getattr, opened, name))
    yield opened
    opened.mood()


def run(seed, **changes):
    """A training of the model, there already, that is looked at."""
    rule = (OPTIMIZERS["gd"](lr=0.1),)
    values = {"landscape": LANDSCAPES["own:make"](), "optimizers": rule, "view": "edge", "steps": 4, "every": 2}
    return Experiment(**(values | {"seed": seed} | changes))


def looking(house, look, seed):
    """A visitor who looks at the model in the house's mood."""
    if look == "point":
        experiment = run(seed, view="stepsize", at=0)
        house.store.put(compute(experiment), keep=False)
        app = visit_link(experiment)
        app.toggle(key="stepsize from file").set_value(True).run()
        place = {"params": torch.full((experiment.landscape.dim,), 0.1 + seed)}
        given = lambda: app.file_uploader(key="stepsize file").set_value(("point.safetensors", safetensors.torch.save(place), "")).run()  # fmt: skip # noqa: E731
        return app, given
    experiment = run(seed, at=2, aspect=look)
    house.store.put(compute(experiment), keep=False)
    return None, lambda: visit_link(experiment)


def until(condition):
    awaiting.until(condition, PATIENCE)


@pytest.mark.prove
@pytest.mark.parametrize("look", ["line", "spectrum", "point"])
def test_a_model_that_hangs_while_it_is_looked_at_hangs_nobody(house, look):
    _, given = looking(house, look, 1)
    house.mood("hang")
    app = given()
    assert len(app.main.get("progress")) == 1
    place = "stepsize point job" if look == "point" else "edge look job"
    job = app.session_state[place]
    until(lambda: job.silent > 0)
    app.run()
    sound(app)
    assert " · no sign of progress for " in app.main.get("progress")[0].proto.text
    (slot,) = [one for one in house.jobs._slots if one.job is job]
    process = slot.place._process
    other = visit_link(paths(seed=len(look)))
    until(lambda: other.run() and any(one.key == "descend canvas" for one in other.get("bidi_component")))
    (button,) = [one for one in app.main.button if one.label == "Cancel"]
    button.click().run()
    sound(app)
    assert job.state == CANCELLED
    assert [one.value for one in app.info if one.value == "Cancelled."]
    until(lambda: process.poll() == -signal.SIGKILL)


@pytest.mark.parametrize(
    "look", [*(pytest.param(one, marks=pytest.mark.prove) for one in ("line", "spectrum")), "point"]
)
def test_a_model_that_fails_while_it_is_looked_at_says_where(house, look):
    _, given = looking(house, look, 2)
    house.mood("fail")
    app = given()
    until(lambda: app.run().error)
    (said,) = [one.value.replace("\\", "") for one in app.error]
    assert " could not be computed. " in said
    assert "RuntimeError: the cat sat on it" in said
    assert "(moody.py, line 32, in forward)" in said
    sound(app)


@pytest.mark.prove
@pytest.mark.parametrize("asked", ["basins", "tuning"])
def test_a_surface_that_hangs_in_what_is_asked_around_it_hangs_nobody(house, asked):
    surface, rules = LANDSCAPES["own:bowl"](), (OPTIMIZERS["gd"](lr=0.1),)
    experiment = Experiment(surface, rules, steps=10, start=(1.5, 1.0), seed=len(asked))
    app = visit_link(experiment)
    until(lambda: app.run() and any(one.key == "descend canvas" for one in app.get("bidi_component")))
    house.mood("hang")
    if asked == "basins":
        app = visit_link(dataclasses.replace(experiment, basins=1))
    else:
        app.button(key="descend tune").click().run()
    place = {"basins": "descend basins of attraction job", "tuning": "descend tuning job"}[asked]
    job = app.session_state[place]
    until(lambda: job.silent > 0)
    app.run()
    sound(app)
    assert any(" · no sign of progress for " in one.proto.text for one in app.get("progress"))
    (slot,) = [one for one in house.jobs._slots if one.job is job]
    process = slot.place._process
    (button,) = [one for one in app.button if one.label == "Cancel"]
    button.click().run()
    sound(app)
    assert job.state == CANCELLED
    until(lambda: process.poll() == -signal.SIGKILL)
    other = visit_link(paths(seed=20 + len(asked)))
    until(lambda: other.run() and any(one.key == "descend canvas" for one in other.get("bidi_component")))
