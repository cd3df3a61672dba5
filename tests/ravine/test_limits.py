"""Limits that a server lowers: links of a larger server still open something, and what was not allowed is said."""

import dataclasses
import importlib.util
import sys

import pytest

import ravine.experiment
import ravine.limits
from ravine.experiment import VIEWS
from ravine.limits import Limits
from tests.ravine.strategies import GOLDEN


def test_limits_come_from_the_environment(monkeypatch):
    assert Limits.from_environment() == Limits()
    monkeypatch.setenv("RAVINE_MAX_STEPS", "2000")
    monkeypatch.setenv("RAVINE_MAX_WORK", "600000000000")
    assert Limits.from_environment() == Limits(steps=2000, work=600_000_000_000)


@pytest.mark.parametrize("text", ["", "0", "-5", "ten", "1.5", "1e3", "٣", "1_000", " 5", "9" * 5000, "10001"])
def test_a_limit_that_is_no_number_stops_the_start(monkeypatch, text):
    monkeypatch.setenv("RAVINE_MAX_STEPS", text)
    with pytest.raises(ValueError, match="RAVINE_MAX_STEPS = .* must be a whole number from 1 to 10000") as refusal:
        Limits.from_environment()
    assert len(str(refusal.value)) < 200


@pytest.fixture
def lowered(monkeypatch):
    """Loads ravine.experiment anew, as a server that was started with these environment variables would."""

    def load(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"RAVINE_MAX_{name.upper()}", str(value))
        monkeypatch.setattr(ravine.limits, "LIMITS", Limits.from_environment())
        spec = importlib.util.spec_from_file_location("lowered_experiment", ravine.experiment.__file__)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "lowered_experiment", module)
        spec.loader.exec_module(module)
        return module

    return load


LEAST = {
    "link": 2000,
    "optimizers": 1,
    "runs": 1,
    "steps": 1,
    "points": 5,
    "work": 500_000_000_000,
    "memory": 2**28,
    "axis": 2,
    "updates": 10_000,
    "sessions": 1,
}


@pytest.mark.parametrize("limits", [*({name: least} for name, least in LEAST.items()), LEAST], ids=str)
def test_views_open_under_any_limit(lowered, limits):
    assert set(LEAST) == {field.name for field in dataclasses.fields(Limits)}
    module = lowered(**limits)
    for view in VIEWS:  # one after the other: what takes its time is to lower the limits, and to read the links
        experiment = module.Experiment.default(view)
        assert module.Experiment.from_url(experiment.to_url()) == (experiment, []), view
    for link in GOLDEN:  # links of a larger server
        read, refusals = module.Experiment.from_url(link)
        assert len(refusals) <= 7
        assert module.Experiment.from_url(read.to_url()) == (read, [])


def test_lowered_limits_are_said(lowered):
    module = lowered(steps=100, points=21, optimizers=2)
    experiment, refusals = module.Experiment.from_url("/?steps=101")
    assert experiment.steps == 100
    assert refusals == ["steps = 101 is not allowed here: it must be at most 100. The default is used."]
    experiment, refusals = module.Experiment.from_url("/slice?points=31&steps=60")
    assert (experiment.points, experiment.steps) == (21, 60)
    assert refusals == ["points = 31 is not allowed here: it must be at most 21. The default is used."]
    experiment, refusals = module.Experiment.from_url("/slice?points=31&steps=600")
    assert (experiment.points, experiment.steps) == (21, 100)
    assert len(refusals) == 2
    assert "steps = 600" in refusals[0]
    assert "points = 31" in refusals[1]
    experiment, refusals = module.Experiment.from_url("/?opt1=gd&opt2=adam&opt3=sam")
    assert [rule.name for rule in experiment.optimizers] == ["gd", "adam"]
    assert refusals == ["opt3 was ignored: this view shows at most 2 optimizers."]


def test_a_lowered_limit_lets_through_what_is_below_it(lowered):
    module = lowered(steps=100)
    experiment, refusals = module.Experiment.from_url("/?steps=100")
    assert (experiment.steps, refusals) == (100, [])
