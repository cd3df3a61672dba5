"""Requests of any kind at every address of the server: answered by a sentence or not at all, never by an error of its own."""

import json
import random
import socket
import time
from urllib.parse import quote, urlsplit

import pytest

from tests.fuzz.hostile import TEXTS

PATHS = (
    "/", "/edge", "/livez", "/readyz", "/teach", "/room/{}", "/room/{}/events", "/room/{}/packet/{}", "/room/{}/vote",
    "/room/{}/play", "/room/{}/tally", "/scripts/{}/{}", "/static/{}", "/component/{}/{}", "/media/{}", "/_stcore/health",
    "/_stcore/host-config", "/_stcore/metrics", "/_stcore/script-health-check", "/_stcore/stream", "/_stcore/upload_file/{}/{}",
    "/_stcore/bidi-components/{}/{}", "/{}", "/app/static/{}",
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW", "get")
WORDS = (
    *TEXTS,
    "../../etc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%5c..",
    "%00",
    "%ff%fe",
    "a" * 3000,
    "ABCD",
    "plotly.min.js",
    "",
    ".",
)
SAID = ("seat", "word", "key", "position", "playing", "speed", "loop", "camera", "code")
VALUES = ("", "1", "-1", "1e400", "nan", "true", "1,2,3", "1,2", "\ud800", 7, None, [], {}, "x" * 5000)
HEADERS = (
    "Content-Type: application/json", "Content-Type: multipart/form-data; boundary=x", "Content-Type: text/plain; charset=utf-77",
    "Cookie: _streamlit_xsrf=2|x|y|z; a=\xff", "Origin: http://evil.example", "Origin: null", "Accept-Encoding: gzip, br;q=nan",
    "Range: bytes=5-1,-0,99999999999999999999-", "If-None-Match: W/\"x\", *", "Upgrade: websocket", "Transfer-Encoding: chunked",
    "X-Forwarded-For: ::1, 999.1.1.1, <script>", "Expect: 100-continue", "Last-Event-ID: -1", "X-Ravine-Connection: forged",
)  # fmt: skip


def quoted(text):
    return quote(text.encode("utf-8", "surrogatepass"))


def request(draw, host):
    """The bytes of one, most of it as it should be."""
    path = draw.choice(PATHS)
    while "{}" in path:
        word = draw.choice(WORDS)
        path = path.replace(
            "{}", word if word.isascii() and word.isprintable() and " " not in word else quoted(word), 1
        )
    if draw.random() < 0.4:
        path += "?" + "&".join(
            f"{draw.choice(SAID)}={quoted(draw.choice(TEXTS)[:200])}" for _ in range(draw.randrange(1, 4))
        )
    body = draw.choice(
        (
            b"",
            draw.randbytes(draw.randrange(300)),
            json.dumps({one: draw.choice(VALUES) for one in SAID}).encode(),
            json.dumps({one: str(draw.choice(VALUES)) for one in SAID}).encode(),
            json.dumps(draw.choice(VALUES)).encode(),
            b"[" * 20_000,
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nz\r\n--x--\r\n',
        )
    )
    headers = [
        f"Host: {host}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *draw.sample(HEADERS, draw.randrange(4)),
    ]
    head = f"{draw.choice(METHODS)} {path} HTTP/1.1\r\n" + "\r\n".join(headers) + "\r\n\r\n"
    return head.encode("latin-1", "replace") + body


def answer(address, sent):
    """The status, or None where the connection is closed without one; a stream or a wait for more is an answer."""
    at = urlsplit(address)
    with socket.create_connection((at.hostname, at.port), timeout=30) as asking:
        asking.sendall(sent)
        asking.shutdown(socket.SHUT_WR)
        try:
            said = asking.recv(4096)
        except ConnectionError:
            return None
    return int(said.split(b" ", 2)[1]) if said.startswith(b"HTTP/1.1 ") else None


@pytest.fixture
def started(server):
    """The server, which no longer says that it is starting: that is a 503 at /readyz, as it should be."""
    host = urlsplit(server.address).netloc
    for _ in range(600):
        if answer(server.address, f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()) == 200:
            return server
        time.sleep(0.1)
    raise AssertionError("The server has not started in a minute.")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.prove) for seed in range(1, 21))])
def test_no_request_makes_the_server_fail(started, seed):
    draw, host = random.Random(seed), urlsplit(started.address).netloc
    before = len(started.log)
    statuses = set()
    for _ in range(200):
        sent = request(draw, host)
        status = answer(started.address, sent)
        assert status is None or status < 500 or status == 501, sent[:500]
        statuses.add(status)
    assert {200, 404, 405} <= statuses
    assert "Traceback" not in started.log[before:]
