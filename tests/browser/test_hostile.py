"""Links and files of somebody who means ill, on every page: their text is shown as it is and does nothing."""

from __future__ import annotations

import io
import json
import socket
import zipfile
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ravine.experiment import VIEWS
from tests.browser.screen import _QUIET

TEXTS = (
    "![](http://evil.example/a)",
    ":material/lock: :material_lock: locked",
    "$\\href{http://evil.example}{x}$ $$y$$",
    "<img src=http://evil.example/b onerror=alert(1)>",
    "<script>alert(2)</script>",
    "[a](javascript:alert(3)) [b](http://evil.example)",
    ":red[x] :smile: :100: :streamlit:",
    "www.evil.example http://evil.example/c d@evil.example",
    "a\u202eb\x1bc\x00d\u2066e",
    "`x` **b** ~~c~~\n# h\n\n    code\n- list\n1. one",
    '"><svg onload=alert(4)> {{7*7}} ${7*7} %{x} &lt;b&gt;',
    "javascript:alert(5)",
)
# What foreign text must never become, wherever it is: all is inside what tells of the link or file.
MADE = """() => {
  const foreign = '[data-testid=stAlert], h2' + (location.pathname === '/watch' ? ', [data-testid=stCaptionContainer]' : '');
  const told = [...document.querySelectorAll(foreign)];
  const inside = (what) => told.flatMap((one) => [...one.querySelectorAll(what)])
    .filter((one) => !one.closest('[aria-label="Link to heading"]')).map((one) => one.outerHTML.slice(0, 200));
  const away = [...document.querySelectorAll('a')].filter((one) => new URL(one.href, location).hostname !== location.hostname
    && /evil|alert/.test(one.href)).map((one) => one.outerHTML.slice(0, 200));
  return {
    away,
    markup: inside('[data-testid=stMarkdownContainer] :is(img, svg, script, code, strong, del, a, h1, .katex, .stMarkdownColoredText)'),
    icons: told.flatMap((one) => [...one.querySelectorAll('[data-testid=stMarkdownContainer] [role=img]')]).map((one) => one.outerHTML.slice(0, 200)),
    emoji: /😄|💯/.test(document.body.innerText),
    failed: /Something went wrong/.test(document.body.innerText),
  };
}"""
NOTHING = {"away": [], "markup": [], "icons": [], "emoji": False, "failed": False}


def hostile(view: str) -> dict[str, str]:
    """A query in which as many places as a reader tells of hold a text of these."""
    title = "".join(char for char in " ".join(TEXTS[1:8:2]) if char.isprintable())[:80]
    keys = dict(zip(("land", "opt1", "opt2", "mode", "vary", "start"), TEXTS, strict=False))
    return {"title": title} | keys | {TEXTS[7]: "1", f"opt1.{TEXTS[6]}": "2", "v": TEXTS[1], "fp": TEXTS[0]}


@pytest.fixture
def page(visit):
    screen = visit()
    dialogs = []
    screen.page.on("dialog", lambda one: (dialogs.append(one.message), one.dismiss()))
    yield screen
    assert dialogs == []


def test_hostile_links_are_text_on_every_page(page):
    for view in VIEWS:
        page.page.goto(f"{page.address}/{VIEWS[view].path}?{urlencode(hostile(view))}")
        page.page.locator("[data-testid=stAlert]").first.wait_for()
        page.wait(_QUIET)
        assert page.page.evaluate(MADE) == NOTHING, view
        assert ":material" in page.page.locator("h2").first.inner_text().replace("\u2060", "")
    links = {"a": "/?" + urlencode(hostile("descend")), "b": TEXTS[0], "title": hostile("edge")["title"]}
    page.page.goto(f"{page.address}/compare?{urlencode(links)}")
    page.page.locator("[data-testid=stAlert]").nth(1).wait_for()
    page.wait(_QUIET)
    assert page.page.evaluate(MADE) == NOTHING


def results_file(text: str) -> bytes:
    """A results file whose link and whose maker's words are this text."""
    file = io.BytesIO()
    specification = {
        "link": f"/?{urlencode({'land': text, 'opt1': text})}",
        "provenance": {"date": text[:40], "torch": text},
    }
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("specification.json", json.dumps(specification))
        held = io.BytesIO()
        np.save(held, np.zeros(3))
        archive.writestr("paths.npy", held.getvalue())
    return file.getvalue()


def log(text: str) -> bytes:
    head = {"ravine": 1, "notes": [text], "parameters": 3} | dict.fromkeys(
        ("optimizer", "rule", "threshold", "model", "responds", "reason", "reduction"), text
    )
    lines = [
        {"step": step, "loss": 1.0 / (step + 1), "sharpness": 2.0, "threshold": 3.0, "note": text} for step in range(9)
    ]
    return "".join(json.dumps(one) + "\n" for one in [head, *lines]).encode()


def test_hostile_files_are_text_and_leave_the_page_usable(page):
    page.page.goto(f"{page.address}/compare")
    field = page.page.locator("[data-testid=stFileUploaderDropzoneInput]")
    # Of the two sides one is empty and says so all the while: only the refusal tells that a file is there, and that it is gone.
    refusal = page.page.locator("[data-testid=stAlertContentError]")
    for text in TEXTS[:4]:
        page.wait(_QUIET)
        field.first.set_input_files(
            {"name": f"{text[:20].replace('/', ' ')}.zip", "mimeType": "", "buffer": results_file(text)}
        )
        refusal.wait_for()
        page.wait(_QUIET)
        assert page.page.evaluate(MADE) == NOTHING, text
        page.page.get_by_role("button", name="Remove").first.click()
        refusal.wait_for(state="detached")
        page.wait(_QUIET)
    page.page.goto(f"{page.address}/watch")
    for text in (" ".join(TEXTS[:4]), " ".join(TEXTS[5:8])):
        field.first.set_input_files({"name": "run.ravine", "mimeType": "", "buffer": log(text)})
        page.wait("() => Number(document.querySelector('.rv-figure')?.dataset.v) > 0")
        page.wait(_QUIET)
        assert page.page.evaluate(MADE) == NOTHING, text
        assert page.page.locator(".rv-figure a").count() == 0
        page.page.reload()


def listen(socket):
    while True:
        socket.recv(timeout=30)


def test_frames_that_are_no_messages_close_their_connection_and_disturb_nobody(server, visit):
    page = visit("/?land=quadratic&opt1=gd&steps=5")
    stops = BackMsg(debug_shutdown_runtime=True).SerializeToString()
    where = f"ws{server.address.removeprefix('http')}/_stcore/stream"
    before = len(server.log)
    for frame, code in (("words", 1003), (b"\xff\xff", 1002), (stops + b"\xff", 1002), (b"\x0a" * 100_000, 1002)):
        with connect(where, origin=server.address, subprotocols=["streamlit"], max_size=None) as socket:
            for said in (stops, frame):
                socket.send(said)
            with pytest.raises(ConnectionClosed):
                listen(socket)
            assert socket.close_code == code
    page.page.reload()
    page.page.locator("[data-testid=stSlider]").first.wait_for()
    assert server.log[before:] == ""


def test_a_foreign_page_enters_nothing_and_the_server_asks_nobody(server, visit):
    visit("/?land=quadratic&opt1=gd&steps=5")
    at = urlsplit(server.address)
    for origin, status in (("http://evil.example", b" 403 "), (server.address, b" 101 ")):
        with socket.create_connection((at.hostname, at.port), timeout=30) as asking:
            asking.sendall(
                f"GET /_stcore/stream HTTP/1.1\r\nHost: {at.netloc}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            answer = asking.recv(4096)
        assert status in answer[:20]
        assert b"nosniff" in answer
    assert server.asked == []
