"""Each test of a page has a store and a queue of its own, and sees every tenth step of computations that last milliseconds."""

import functools

import pytest
from streamlit.components.v2 import manifest_scanner

from pages import _services as services
from ravine import engine


@pytest.fixture(autouse=True)
def _every_report(monkeypatch):
    monkeypatch.setattr(engine, "_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(engine, "_REPORT_STEPS", 10)


@pytest.fixture(autouse=True, scope="package")
def _packages_looked_at_once():
    """Every `AppTest` looks for components in all packages installed, as a server does once in its life."""
    with pytest.MonkeyPatch.context() as patched:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patched.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(autouse=True)
def fresh_services(tmp_path, monkeypatch):
    """Every test has a store and a queue of its own."""
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path))
    monkeypatch.setattr(services, "crew", lambda: None)  # computations of milliseconds need no processes
    shared = services.store, services.jobs, services.desks
    for one in shared:
        one.cache_clear()
    yield
    for one in shared:
        one.cache_clear()
