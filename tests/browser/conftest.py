"""One server, one browser and one visitor's page for all tests, emptied before each. Every test also proves that the page
asked no other machine for anything, and that neither the page nor the server raised an error."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.chromium import find
from tests.browser.screen import ARGUMENTS, VISITOR, Screen
from tests.browser.server import Server

# Before it finds the root of a deep link, Streamlit's client looks for the server below the page's own path.
HARMLESS = re.compile(r"/(edge|slice|sweep|stepsize|watch|reference|compare|gallery)/_stcore/(health|host-config)$")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("server"))
    yield one
    one.stop()


@pytest.fixture(scope="session")
def browser():
    path = find()
    if path is None:
        pytest.fail(
            "The browser tests need a Chromium and found none. Run `make browser` to install one, or set CHROMIUM to "
            "the path of yours.",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield one
        one.close()


class Kept:
    """The page that tests take by turns: one whose process has run the app's scripts opens it with half the work."""

    def __init__(self, browser, address):
        self.browser, self.parking, self.context, self.taken = browser, f"{address}/readyz", None, False

    def take(self):
        """The context with its page, as new."""
        if self.context is None:
            self.context = self.browser.new_context(**VISITOR)
            self.context.new_page()
        self.taken = True
        return self.context

    def give_back(self):
        """Leaves the app for a bare page of its origin, and forgets there whatever a visitor's browser remembers."""
        context, self.context, self.taken = self.context, None, False  # one that cannot be emptied is used no more
        first, *others = context.pages
        for page in others:
            page.close()
        context.set_offline(False)
        context.clear_cookies()
        first.goto(self.parking)
        first.evaluate("localStorage.clear(), sessionStorage.clear()")
        first.set_viewport_size(VISITOR["viewport"])
        first.emulate_media(color_scheme="light", reduced_motion=VISITOR["reduced_motion"])
        first.mouse.move(0, 0)
        self.context = context


@pytest.fixture(scope="session")
def kept(server, browser):
    return Kept(browser, server.address)


@pytest.fixture
def visit(server, browser, kept):
    """Opens a page of a new visitor: `visit("/edge?...")`, or `visit()` for a blank one.

    The first without options is on the page that is kept, any other in a context of its own with these options. Where nothing
    else is asked for, visitors prefer still pages.
    """
    contexts, asked, errors, heeded = [], [], [], []
    logged = len(server.log)

    def heed(emitter, event, listener):
        emitter.on(event, listener)
        heeded.append((emitter, event, listener))

    def request(one):
        asked.append(one.url)

    def heard(message):
        if message.type == "error" and not HARMLESS.search(urlsplit(message.location.get("url", "")).path):
            errors.append(f"console: {message.text} ({message.location.get('url')})")

    def failed(failure):
        errors.append(f"page: {failure.error}")

    def followed(page):
        heed(page, "websocket", lambda socket: asked.append(socket.url))

    def new(path: str | None = None, **options) -> Screen:
        if options or kept.taken:
            context = browser.new_context(**(VISITOR | options))
            contexts.append(context)
            context.new_page()
        else:
            context = kept.take()
        for event, listener in (("request", request), ("console", heard), ("weberror", failed), ("page", followed)):
            heed(context, event, listener)
        (page,) = context.pages
        followed(page)
        screen = Screen(page, server.address)
        return screen if path is None else screen.open(path)

    yield new
    for emitter, event, listener in heeded:
        emitter.remove_listener(event, listener)
    for context in contexts:
        context.close()
    if kept.taken:
        kept.give_back()
    abroad = [url for url in asked if urlsplit(url).hostname not in ("127.0.0.1", None)]
    assert any(url.startswith("ws://") for url in asked), "The test opened no page."
    assert abroad == [], "The page asked other machines for something."
    assert errors == [], "The page raised errors."
    assert "Traceback" not in server.log[logged:], server.log[logged:]
