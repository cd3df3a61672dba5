"""What a load balancer and a visitor beyond capacity are told."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.testing.v1 import AppTest

from pages import _connections, _health, _waiting
from pages import _services as services
from ravine.seats import Seats
from tests.pages.visitor import PAGES, sound


def answered(address):
    """Status and JSON of a request."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": address, "method": "GET", "headers": [], "query_string": b"", "root_path": ""}
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, Starlette(routes=_health.routes)(scope, None, send)).result()
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.fixture
def seats(monkeypatch):
    found = Seats(2)
    monkeypatch.setattr(services, "seats", lambda: found)
    return found


def test_ready_tells_load_and_alive_does_not_care(seats):
    end = time.monotonic() + 60
    while not services.jobs().started and time.monotonic() < end:
        time.sleep(0.01)
    status, said = answered("/readyz")
    assert (status, said["ready"], said["load"]) == (200, True, 0.0)
    assert said["sessions"] == {"open": 0, "most": 2, "waiting": 0}
    assert said["queue"] == {"waiting": 0, "most": 60, "running": 0}
    seats.come("a")
    assert answered("/readyz")[1]["load"] == 0.5
    seats.come("b")
    seats.come("c")
    status, said = answered("/readyz")
    assert (status, said["ready"], said["load"], said["sessions"]["waiting"]) == (503, False, 1.0, 1)
    assert answered("/livez") == (200, {"alive": True})
    seats.leave("c")
    seats.leave("b")
    assert answered("/readyz")[0] == 200


def test_a_server_that_cannot_compute_yet_is_not_ready(seats, monkeypatch):
    begun, line = threading.Event(), {"waiting": 0, "most": 60, "running": 0}
    monkeypatch.setattr(services, "jobs", lambda: SimpleNamespace(started=begun.is_set(), line=line))
    status, said = answered("/readyz")
    assert (status, said["ready"], said["starting"]) == (503, False, True)
    begun.set()
    status, said = answered("/readyz")
    assert (status, said["ready"], said["starting"]) == (200, True, False)


def test_a_full_queue_is_load_but_no_reason_to_go_elsewhere(seats, monkeypatch):
    monkeypatch.setattr(
        services, "jobs", lambda: SimpleNamespace(started=True, line={"waiting": 60, "most": 60, "running": 2})
    )
    status, said = answered("/readyz")
    assert (status, said["ready"], said["load"], said["queue"]["running"]) == (200, True, 1.0, 2)


def test_who_comes_when_all_seats_are_taken_reads_a_sentence_and_then_the_page(seats, monkeypatch):
    for who in "abc":
        seats.come(who)
    monkeypatch.setattr(_connections, "place", lambda: seats.place("c"))
    app = AppTest.from_file(str(PAGES / "_main.py"), default_timeout=60).run()
    sound(app)
    (said,) = app.info
    assert "full: its seats are all taken (2)" in said.value
    assert "You are next" in said.value
    assert not app.get("bidi_component")
    seats.leave("a")
    app.run()
    sound(app)
    assert not app.info
    assert app.get("bidi_component")


def test_a_seat_goes_with_its_tab_once_it_asks_for_a_page(seats, monkeypatch):
    back, beat = BackMsg(), BackMsg(app_heartbeat=True)
    back.rerun_script.page_name = "edge"
    messages = {
        "connect": {"type": "websocket.connect"},
        "noise": {"type": "websocket.receive", "bytes": beat.SerializeToString()},
        "asks": {"type": "websocket.receive", "bytes": back.SerializeToString()},
    }

    async def page(scope, receive, send):
        for _ in range(2):  # nobody's seat is taken by who says nothing of use
            await receive()
            assert seats.place(scope["headers"][-1][1].decode()) == 0
            silent.append(seats.taken)
        await receive()
        await receive()  # a second time is no second seat
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        monkeypatch.setattr(_connections, "st", SimpleNamespace(context=SimpleNamespace(headers=headers)))
        seen.append((seats.taken, seats.waiting, _connections.place()))
        raise ConnectionError

    async def browser():
        return messages[said.pop(0)]

    seen, silent = [], []
    for others in ("", "ab"):
        said = ["connect", "noise", "asks", "asks"]
        for who in others:
            seats.come(who)
        with ThreadPoolExecutor(1) as thread:
            tab = _connections.Connections(page)({"type": "websocket", "headers": []}, browser, None)
            failure = thread.submit(asyncio.run, tab).exception()
        assert isinstance(failure, ConnectionError)
    assert (seats.taken, seats.waiting) == (2, 0)
    assert silent == [0, 0, 2, 2]
    assert seen == [(1, 0, 0), (2, 1, 1)]


@pytest.mark.parametrize(
    ("place", "seconds", "words"),
    [
        (
            1,
            None,
            "You are next.** This page opens by itself when a seat becomes free: how long that takes nobody can say",
        ),
        (3, 0.2, "You are number 3 in line.** This page opens by itself when a seat becomes free: in about 1 s"),
        (2, 89.0, "in about 89 s"),
        (2, 150.0, "in about 2 minutes"),
    ],
)
def test_sentences(place, seconds, words):
    assert words in _waiting.sentence(place, 80, seconds)
