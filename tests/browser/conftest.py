"""One server and one browser for all tests; a context of its own for each. Every test also proves that the page asked
no other machine for anything, and that neither the page nor the server raised an error."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from ravine.browser import required
from tests.browser.screen import ARGUMENTS, VISITOR, Screen
from tests.browser.server import Server

# Before it finds the root of a deep link, Streamlit's client looks for the server below the page's own path.
HARMLESS = re.compile(r"/(edge|slice|sweep|stepsize|watch|reference|compare|gallery)/_stcore/(health|host-config)$")
# When a visitor leaves while something is being sent to them, Streamlit's endpoint closes the connection once more.
LEFT = re.compile(
    r"Exception in ASGI application\nTraceback (?:(?!Exception in ASGI).)*?starlette_websocket\.py(?:(?!Exception in ASGI).)*?"
    r'WebSocketDisconnected: Cannot call "send" once a close message has been sent\.\n',
    re.DOTALL,
)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("server"))
    yield one
    one.stop()


@pytest.fixture(scope="session")
def browser():
    try:
        path = required("Every test of a page in a browser")
    except ValueError as refusal:
        pytest.fail(f"{refusal} `make browser` installs one.", pytrace=False)
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield one
        one.close()


@pytest.fixture
def visit(server, browser):
    """Opens a page in a fresh context: `visit("/edge?...")`, or `visit()` for a blank one. Options are the context's.

    Where nothing else is asked for, visitors prefer still pages.
    """
    contexts, asked, errors = [], [], []
    logged = len(server.log)

    def heard(message):
        if message.type == "error" and not HARMLESS.search(urlsplit(message.location.get("url", "")).path):
            errors.append(f"console: {message.text} ({message.location.get('url')})")

    def new(path: str | None = None, **options) -> Screen:
        context = browser.new_context(**(VISITOR | options))
        contexts.append(context)
        context.on("request", lambda request: asked.append(request.url))
        context.on("console", heard)
        context.on("weberror", lambda failure: errors.append(f"page: {failure.error}"))
        context.on("page", lambda page: page.on("websocket", lambda socket: asked.append(socket.url)))
        screen = Screen(context.new_page(), server.address)
        return screen if path is None else screen.open(path)

    yield new
    for context in contexts:
        context.close()
    abroad = [url for url in asked if urlsplit(url).hostname not in ("127.0.0.1", None)]
    assert any(url.startswith("ws://") for url in asked), "The test opened no page."
    assert abroad == [], "The page asked other machines for something."
    assert errors == [], "The page raised errors."
    said = LEFT.sub("", server.log[logged:])
    assert "Traceback" not in said, said
