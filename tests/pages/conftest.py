"""Tests of the pages watch computations that last milliseconds: every report is made. Packages are looked at once."""

import functools

import pytest
from streamlit.components.v2 import manifest_scanner

from ravine import engine


@pytest.fixture(autouse=True)
def _every_report(monkeypatch):
    monkeypatch.setattr(engine, "_REPORT_SECONDS", 0.0)


@pytest.fixture(autouse=True, scope="package")
def _packages_looked_at_once():
    """Every `AppTest` looks for components in all packages installed, as a server does once in its life."""
    with pytest.MonkeyPatch.context() as patched:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patched.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield
