"""Tests of the package watch computations that last milliseconds: every tenth step is reported."""

import pytest

from ravine import engine


@pytest.fixture(autouse=True)
def _every_report(monkeypatch):
    monkeypatch.setattr(engine, "_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(engine, "_REPORT_STEPS", 10)
