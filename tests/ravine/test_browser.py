"""Finding a Chromium, on systems that are nothing but a folder with the programs of a test."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from ravine import browser


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Puts a program onto an otherwise empty PATH, and gives its path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    monkeypatch.delenv(browser.VARIABLE, raising=False)

    def put(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return str(path)

    return put


@pytest.mark.parametrize(
    "name", ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
)
def test_every_name_is_known(name, system):
    path = system(name)
    assert browser.find() == browser.required("A picture") == path


def test_the_one_without_windows_comes_first(system):
    system("google-chrome")
    first = system("chromium-headless-shell")
    assert browser.find() == first


def test_the_chosen_one_and_no_other_is_taken(system, monkeypatch):
    system("chromium")
    monkeypatch.setenv(browser.VARIABLE, chosen := system("mine/chrome"))
    assert browser.find() == chosen
    monkeypatch.setenv(browser.VARIABLE, "/nowhere/chrome")
    assert browser.find() is None
    with pytest.raises(ValueError, match="CHROMIUM = /nowhere/chrome is no program"):
        browser.required("A picture")


def test_playwrights_own_is_the_last_resort(system, tmp_path):
    with ThreadPoolExecutor(1) as aside:  # browser tests in this process may have an event loop running
        expected = aside.submit(browser.playwrights).result()
    assert expected.startswith(str(tmp_path))
    assert browser.find() is None
    system(expected)
    assert browser.find() == expected

    async def in_a_notebook():
        return browser.find()

    with ThreadPoolExecutor(1) as aside:
        assert aside.submit(asyncio.run, in_a_notebook()).result() == expected


def test_playwright_need_not_be_installed(system, monkeypatch):
    monkeypatch.setattr(browser, "find_spec", lambda name: None)
    assert browser.find() is None
    with pytest.raises(ValueError, match="A picture needs a Chromium, and none was found. Install one"):
        browser.required("A picture")
