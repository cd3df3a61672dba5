"""Automatic reruns that would draw what is there are dropped; all else reaches the page."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from pages import _connections
from pages._connections import Begun, Connections


def message(auto=False):
    back = BackMsg()
    back.rerun_script.is_auto_rerun = auto
    return {"type": "websocket.receive", "bytes": back.SerializeToString()}


POLL, CHANGE = message(auto=True), message()
CONNECT, END = {"type": "websocket.connect"}, {"type": "websocket.disconnect"}


def asks(kind):
    back = BackMsg()
    getattr(back, kind).SetInParent() if kind == "file_urls_request" else setattr(back, kind, True)
    return {"type": "websocket.receive", "bytes": back.SerializeToString()}


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=0.0, spent=0.0)
    times = SimpleNamespace(monotonic=lambda: now.time, thread_time=lambda: now.spent)
    monkeypatch.setattr(_connections, "time", times)
    return now


@pytest.fixture
def heard(monkeypatch):
    def hear(*acts):
        """What the page hears of `acts`: messages, and functions that are called with the drawings begun by then."""
        got, queue, drawings = [], list(acts), []

        async def receive():
            while callable(queue[0]):
                queue.pop(0)(drawings)
            return queue.pop(0)

        async def page(scope, receive, send):
            headers = {key.decode(): value.decode() for key, value in scope["headers"]}
            monkeypatch.setattr(_connections, "st", SimpleNamespace(context=SimpleNamespace(headers=headers)))
            while not got or got[-1]["type"] != "websocket.disconnect":
                got.append(await receive())

        before = dict(_connections._connections)
        scope = {"type": "websocket", "headers": [(b"x-ravine-connection", b"forged"), (b"host", b"here")]}
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, Connections(page)(scope, receive, None)).result()
        assert _connections._connections == before
        return got[:-1]

    return hear


NOTHING = {}


def begin(drawings, there=NOTHING):
    drawings.append(Begun(lambda: dict(there)))


def draw(drawings):
    drawings.pop().drew()


def job(there, ended="", results=0):
    return lambda _: there.update(job=(ended, results))


def passes(clock, seconds, of="time"):
    return lambda _: setattr(clock, of, getattr(clock, of) + seconds)


def test_polls_of_a_page_that_rests_are_dropped(heard, clock):
    there = {}
    acts = [POLL, partial(begin, there=there), draw, POLL, POLL, job(there), POLL, END]
    assert heard(*acts) == [POLL, POLL]


def test_now_and_then_a_poll_goes_through(heard, clock):
    assert heard(begin, draw, POLL, passes(clock, _connections._MOST - 0.1), POLL, END) == []
    assert heard(begin, draw, POLL, passes(clock, _connections._MOST + 0.1), POLL, END) == [POLL]


@pytest.mark.parametrize(
    ("before", "after", "waits"),
    [
        ({"results": 1}, {"results": 2}, True),
        ({"results": 0}, {"results": 1}, False),  # the first
        ({"results": 1}, {"results": 2, "ended": "done"}, False),  # the last
        ({"results": 1}, {"results": 1, "ended": "failed"}, False),
    ],
)
def test_what_is_dear_to_draw_is_drawn_seldom_but_for_the_first_and_the_last(before, after, waits, heard, clock):
    def acts(seconds):
        there = {}
        dear = [job(there, **before), partial(begin, there=there), passes(clock, 0.1, "spent"), draw]
        return [*dear, job(there, **after), passes(clock, seconds), POLL, END]

    assert heard(*acts(0.4)) == ([] if waits else [POLL])
    assert heard(*acts(0.6)) == [POLL]
    _connections._connections["other"] = _connections._Connection(until=1e9)
    try:  # of two tabs, each draws half as often
        assert heard(*acts(0.6)) == ([] if waits else [POLL])
        assert heard(*acts(1.1)) == [POLL]
    finally:
        del _connections._connections["other"]


def test_few_pages_are_redrawn_by_themselves_at_a_time(heard, clock):
    """Whoever moves something shares the interpreter with them."""

    def others(count, until):
        for number in range(count):
            _connections._connections[f"other {number}"] = _connections._Connection(redrawn=until)

    def acts(seconds):
        there = {}
        return [partial(begin, there=there), draw, job(there, results=1), passes(clock, seconds), POLL, END]

    try:
        others(_connections._AT_ONCE - 1, 1e9)
        assert heard(*acts(0.1)) == [POLL]
        others(_connections._AT_ONCE, 1e9)
        assert heard(*acts(0.1)) == []
        assert heard(*acts(2 * _connections._MOST)) == [POLL]  # however many they are, it is not forgotten
        others(_connections._AT_ONCE, clock.time)  # they have not said that they are drawn, but it is long ago
        assert heard(*acts(0.1)) == [POLL]
    finally:
        for key in [key for key in _connections._connections if key.startswith("other ")]:
            del _connections._connections[key]


def test_a_page_that_is_being_redrawn_counts_until_it_is_drawn(heard, clock):
    def counted(drawings):
        found.append(sum(one.redrawn > clock.time for one in _connections._connections.values()))

    found = []
    heard(POLL, begin, counted, draw, counted, CHANGE, counted, POLL, counted, passes(clock, 5.0), counted, END)
    assert found == [1, 0, 0, 1, 0]


def test_tabs_may_come_while_a_drawing_looks_how_many_there_are(heard, clock):
    class Crowded(_connections._Connection):
        """The moment that it is looked at, another comes."""

        until = property(lambda self: _connections._connections.setdefault(object(), _connections._Connection()).until)

    def crowd(_):
        _connections._connections["other"] = object.__new__(Crowded)

    def leave(_):
        for key in [key for key in _connections._connections if key == "other" or not isinstance(key, str)]:
            del _connections._connections[key]

    assert heard(begin, crowd, draw, leave, POLL, CHANGE, END) == [CHANGE]


def test_what_a_visitor_does_goes_through_and_so_do_the_polls_after_it(heard, clock):
    assert heard(begin, draw, CHANGE, POLL, CHANGE, POLL, END) == [CHANGE, POLL, CHANGE, POLL]
    # What began to draw before the visitor did something does not speak for what is shown after it.
    assert heard(begin, CHANGE, draw, POLL, END) == [CHANGE, POLL]
    assert heard(begin, CHANGE, begin, draw, POLL, END) == [CHANGE]


def test_other_messages_go_through(heard, clock):
    others = [CONNECT, asks("file_urls_request"), asks("stop_script")]
    assert heard(begin, draw, *others, END) == others


def test_what_is_for_developers_or_clears_what_is_shared_goes_nowhere(heard):
    kinds = ("clear_cache", "debug_shutdown_runtime", "debug_disconnect_websocket", "set_run_on_save")
    assert heard(*map(asks, kinds), {"type": "websocket.receive", "bytes": b""}, CHANGE, END) == [CHANGE]


@pytest.mark.parametrize(
    ("frame", "code"), [({"text": "words"}, 1003), ({"bytes": b"\xff\xff no message of ours"}, 1002), ({}, 1003)]
)
def test_who_says_what_no_page_says_is_shut_out(frame, code):
    sent, got = [], []
    coming = [CONNECT, {"type": "websocket.receive"} | frame, CHANGE]

    async def receive():
        return coming.pop(0)

    async def send(message):
        sent.append(message)

    async def page(scope, receive, send):
        for _ in range(2):
            got.append(await receive())
            await send({"type": "websocket.send", "bytes": b"drawn"})

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, Connections(page)({"type": "websocket", "headers": []}, receive, send)).result()
    assert got == [CONNECT, {"type": "websocket.disconnect", "code": code}]
    assert sent == [{"type": "websocket.send", "bytes": b"drawn"}, {"type": "websocket.close", "code": code}]
    assert coming == [CHANGE]


def test_without_a_connection_there_is_nothing_to_drop(monkeypatch):
    monkeypatch.setattr(_connections, "st", SimpleNamespace(context=SimpleNamespace(headers={})))
    Begun(dict).drew()
    assert not _connections._connections
