"""Tests of the package watch computations that last milliseconds: every tenth step is reported."""

import pytest

from ravine import engine
from ravine.jobs import Jobs
from tests.ravine.queueing import PATIENCE, Clock


@pytest.fixture(autouse=True)
def _every_report(monkeypatch):
    monkeypatch.setattr(engine, "_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(engine, "_REPORT_STEPS", 10)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def closed_queues():
    """Every queue ends with its test: what still waits in one would be computed by what the next test puts for `computing`."""
    made, begin = [], Jobs.__init__

    def noted(self, *args, **options):
        begin(self, *args, **options)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jobs, "__init__", noted)
        yield
    for jobs in made:
        jobs.close(PATIENCE)
