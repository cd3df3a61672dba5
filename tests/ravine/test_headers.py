"""Every answer of the server carries what browsers must know, and foreign pages reach nothing."""

import pytest

from ravine import headers
from tests.awaiting import awaited

PAGE = b"<html><script>\n  a = 1\n</script><script src='b.js'></script></html>"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "index.html"
    path.write_bytes(PAGE)
    return path


async def _inside(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        given = [(b"content-type", b"text/html"), (b"Referrer-Policy", b"no-referrer")]
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": b"inside"})


def answered(app, path, *given, kind="http"):
    """What the app sends for a request with these headers."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": f"{kind}.connect" if kind == "websocket" else "http.request"}

    scope = {"type": kind, "path": path, "headers": [(name.encode(), value.encode()) for name, value in given]}
    awaited(app(scope, receive, send))
    return sent


def said(message):
    return {name.decode().lower(): value.decode() for name, value in message["headers"]}


def policy(message):
    parts = said(message)["content-security-policy"].split("; ")
    return {part.split(" ")[0]: part.split(" ")[1:] for part in parts}


@pytest.mark.parametrize(
    "path", ["/", "/edge", "/static/js/index.js", "/_stcore/health", "/media/a.svg", "/room/ABC/vote"]
)
def test_every_answer_says_what_it_is_and_who_may_frame_it(page, path):
    start, body = answered(headers.Headers(_inside, page), path, ("host", "a.b"))
    given = said(start)
    assert given["x-content-type-options"] == "nosniff"
    assert given["referrer-policy"] == "no-referrer"  # what the app says itself stays
    assert [name for name, _ in start["headers"]].count(b"Referrer-Policy") == 1
    assert policy(start)["frame-ancestors"] == ["'self'"]
    assert policy(start)["object-src"] == ["'none'"]
    assert body["body"] == b"inside"


def test_pages_run_this_servers_scripts_and_ask_this_server_alone(page):
    found = policy(answered(headers.Headers(_inside, page), "/edge", ("host", "a.b:8501"))[0])
    # printf '\n  a = 1\n' | openssl dgst -sha256 -binary | base64
    assert found["script-src"] == ["'self'", "blob:", "'sha256-nHiJsB1GRX6Ku2XBkWKVt2F3CJiowPuMwhcJv+CWmC0='"]
    assert found["connect-src"] == ["'self'", "data:", "blob:", "ws://a.b:8501", "wss://a.b:8501"]
    assert "*" not in str(found)
    assert "http" not in str(found)


@pytest.mark.parametrize("host", ["a.b; script-src *", "* x", "", "a b"])
def test_a_hostile_host_gets_into_no_policy(page, host):
    found = policy(answered(headers.Headers(_inside, page), "/edge", ("host", host))[0])
    assert found["connect-src"] == ["'self'", "data:", "blob:"]


@pytest.mark.parametrize("path", ["/room/ABC", "/teach"])
def test_the_pages_of_students_load_nothing_but_their_scripts(page, path):
    found = policy(answered(headers.Headers(_inside, page), path)[0])
    assert found["default-src"] == ["'none'"]
    assert found["script-src"] == found["connect-src"] == ["'self'"]
    assert found["form-action"] == found["base-uri"] == ["'none'"]


def test_others_frame_the_pages_where_the_operator_says_so(page, monkeypatch):
    monkeypatch.setenv(headers.EMBED_IN, "moodle.example.org https://*.b.c:8443")
    for path in ("/edge", "/room/ABC"):
        found = policy(answered(headers.Headers(_inside, page), path)[0])
        assert found["frame-ancestors"] == ["'self'", "moodle.example.org", "https://*.b.c:8443"]


@pytest.mark.parametrize("host", ["*", "a.b; script-src *", "https://", "'none'", "a b", "javascript:a", "", "a/b"])
def test_what_is_no_host_frames_nothing(host):
    with pytest.raises(ValueError, match="is no host"):
        headers.host(host)


def test_metrics_and_the_ways_in_for_programs_are_closed(page, monkeypatch):
    for path in ("/_stcore/metrics", "/_stcore/metrics/", "/base/_stcore/metrics", "/_stcore/agent/interact"):
        start, body = answered(headers.Headers(_inside, page), path)
        assert (start["status"], body["body"]) == (404, b"Not Found")
        assert said(start)["x-content-type-options"] == "nosniff"
    monkeypatch.setenv(headers.METRICS, "1")
    app = headers.Headers(_inside, page)
    assert answered(app, "/_stcore/metrics")[0]["status"] == 200
    assert answered(app, "/_stcore/agent/mcp")[0]["status"] == 404


@pytest.mark.parametrize(
    ("origin", "enters"),
    [
        (None, True),
        ("http://a.b:8501", True),
        ("http://localhost:3000", True),
        ("https://campus.example", True),
        ("http://a.b", False),
        ("http://evil.example", False),
        ("null", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_foreign_pages_open_no_websocket(page, origin, enters):
    app = headers.Headers(_inside, page, lambda: ["campus.example"])
    given = [("host", "a.b:8501")] + ([] if origin is None else [("origin", origin)])
    (message, *_) = answered(app, "/_stcore/stream", *given, kind="websocket")
    assert message["type"] == ("websocket.accept" if enters else "websocket.close")
    if enters:
        assert said(message)["x-content-type-options"] == "nosniff"


def test_proxies_are_addresses_and_networks():
    assert headers.proxies("127.0.0.1, 10.1.2.3/8,::1") == "127.0.0.1/32,10.0.0.0/8,::1/128"
    for wrong in ("*", "proxy.example", "", "10.0.0.0/33"):
        with pytest.raises(ValueError, match="must be addresses or networks"):
            headers.proxies(wrong)
