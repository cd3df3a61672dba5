"""A page's own files: answered from memory, for good, as they lie on the disk."""

import asyncio
import gzip
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import plotly
import pytest
from streamlit import config, file_util

from pages._assets import ASSETS, VERSION
from pages._held import ASK, FOREVER, Files

STREAMLIT = Path(file_util.get_static_dir())
FIRST = re.findall(r'(?:src|href)="\./(static/[^"]+)"', (STREAMLIT / "index.html").read_text("utf-8"))
WHERE = {f"/{name}": STREAMLIT / name for name in FIRST} | {
    f"/scripts/{VERSION}/figure.js": ASSETS / "figure.js",
    f"/scripts/{VERSION}/icon.png": ASSETS / "icon.png",
    f"/scripts/{VERSION}/plotly.min.js": Path(plotly.__file__).parent / "package_data" / "plotly.min.js",
}


async def behind(scope, receive, send):
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"behind"})


def asked(*requests, app=None):
    """Status, headers and body for each of (address, headers, method), asked all at once."""
    app = app or Files(behind)

    async def one(address, headers=None, method="GET"):
        sent = []

        async def send(message):
            sent.append(message)

        given = [
            (name.encode(), value.encode()) for name, value in (headers or {"accept-encoding": "gzip, br"}).items()
        ]
        await app({"type": "http", "path": address, "method": method, "headers": given}, None, send)
        head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], head, b"".join(message["body"] for message in sent[1:])

    async def every():
        return await asyncio.gather(*(one(*request) for request in requests))

    with ThreadPoolExecutor(1) as thread:  # a browser test before this one leaves a loop running in ours
        return thread.submit(asyncio.run, every()).result()


def test_files_are_immutable_compressed_once_and_equal_to_those_on_disk(monkeypatch):
    assert len(WHERE) > 50
    packed, compress = [], gzip.compress
    monkeypatch.setattr(gzip, "compress", lambda *args, **options: packed.append(1) or compress(*args, **options))
    answers = asked(*((address,) for address in [*WHERE, *WHERE]))
    for (address, path), (status, head, body) in zip([*WHERE.items()] * 2, answers, strict=True):
        assert (status, head["cache-control"].encode()) == (200, FOREVER), address
        assert int(head["content-length"]) == len(body)
        plain = gzip.decompress(body) if head.get("content-encoding") == "gzip" else body
        assert plain == path.read_bytes()
        if address.endswith(".js"):
            assert head["content-type"].startswith("text/javascript")
            assert (head.get("content-encoding") == "gzip") == (len(compress(plain, 9)) < 0.95 * len(plain))
    assert len(packed) == len(WHERE)
    assert sum(len(body) for _, _, body in answers) < 0.5 * sum(2 * path.stat().st_size for path in WHERE.values())


def test_who_takes_no_gzip_or_has_it_already_is_answered_so():
    address, path = f"/scripts/{VERSION}/figure.js", ASSETS / "figure.js"
    app = Files(behind)
    status, head, body = asked((address, {"accept": "*/*"}), app=app)[0]
    assert (status, body, "content-encoding" in head) == (200, path.read_bytes(), False)
    again, late, head_only = asked(
        (address, {"if-none-match": head["etag"]}),
        (address, {"if-none-match": 'W/"another"', "accept-encoding": "gzip"}),
        (address, {"accept-encoding": "gzip"}, "HEAD"),
        app=Files(behind),  # another server, the same file: the same tag
    )
    assert (again[0], again[2], again[1]["cache-control"].encode()) == (304, b"", FOREVER)
    assert (late[0], gzip.decompress(late[2])) == (200, path.read_bytes())
    assert (head_only[0], head_only[2], int(head_only[1]["content-length"])) == (200, b"", len(late[2]))


def test_a_page_of_before_an_upgrade_asks_again():
    status, head, body = asked(("/scripts/0/figure.js",))[0]
    assert (status, head["cache-control"].encode()) == (200, ASK)
    assert gzip.decompress(body) == (ASSETS / "figure.js").read_bytes()


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/edge",
        "/static/js/../../../etc/passwd",
        "/static//js/index.html",
        "/static",
        "/scripts/0/../../app.py",
        "/scripts/",
        "/scripts/0/%2e%2e/app.py",
        "/room/abc",
    ],
)
def test_everything_else_is_handed_on(address):
    assert asked((address,))[0][::2] == (418, b"behind")
    assert asked((f"/scripts/{VERSION}/figure.js", None, "POST"))[0][0] == 418


def test_below_a_path_of_the_server(monkeypatch):
    monkeypatch.setattr(config, "get_option", {"server.baseUrlPath": "lab/"}.get)
    address = f"/scripts/{VERSION}/figure.js"
    assert asked((f"/lab{address}",))[0][0] == 200
