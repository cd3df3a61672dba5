"""Tests of the pages watch computations that last milliseconds: every report is made."""

import pytest

from ravine import engine


@pytest.fixture(autouse=True)
def _every_report(monkeypatch):
    monkeypatch.setattr(engine, "_REPORT_SECONDS", 0.0)
