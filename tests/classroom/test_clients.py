"""The clients of the benchmark of a class, against servers that behave in a known way: what they report is true.

One is the app in this folder, with delays, refusals and faults by design; the other is Ravine, with students of every kind.
"""

import asyncio
import dataclasses
import random
import sys
from pathlib import Path

import pytest

from benchmarks.crowd import report
from benchmarks.crowd.asked import Asked, place_and_time
from benchmarks.crowd.front_end import Visitor
from benchmarks.crowd.proxy import COOKIE, configuration, stand_in
from benchmarks.crowd.report import Times
from benchmarks.crowd.servers import ROOT, Watch, tracebacks
from benchmarks.crowd.students import LONG, RAVINE, Lesson, Page
from tests.awaiting import awaited
from tests.browser.server import RAVINE as APP
from tests.browser.server import Server
from tests.classroom.behaviour import DELAY, EACH, PLACES, SAID

STREAMLIT = (
    sys.executable, "-m", "streamlit", "run", str(Path(__file__).with_name("pages.py")), "--server.headless", "true",
    "--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false", "--server.port",
)  # fmt: skip
LONG_ENOUGH = 300.0  # seconds: an upper bound for a busy machine, never a pause
TINY = "v=1&land=mlp&land.data=chebyshev&land.objective=squared&land.hidden=4&opt1=gd&opt1.lr=0.1&steps=20"


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The address of the app whose behaviour is known; its log tells the fault that its pages have, and no other."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(ROOT))
        server = Server(tmp_path_factory.mktemp("known"), STREAMLIT, ready="/_stcore/health")
    yield server.address
    server.stop()
    assert set(tracebacks(server.log)) <= {"ValueError: as the test wants it"}


def test_a_proxy_keeps_each_visitor_on_one_server(known):
    """The stand-in for haproxy: pages and websockets pass, and a cookie leads back to the same server."""
    with stand_in([known, known]) as address:
        visitors = [Visitor(address) for _ in range(3)]

        async def act():
            for one in visitors:
                await one.fetch("/_stcore/health")
                first = one.cookies[COOKIE]
                await one.fetch("/_stcore/health")
                assert one.cookies[COOKIE] == first

        awaited(act())
        assert [one.cookies[COOKIE] for one in visitors] == ["0", "1", "0"]
        _, asked = changed(address, "answer")
    assert asked.end == "complete"


def test_the_documented_proxy_is_the_one_that_is_measured():
    lines = configuration(8080, ["http://127.0.0.1:1234", "http://127.0.0.1:5678"]).splitlines()
    assert "    bind 127.0.0.1:8080" in lines
    assert [line.split()[2] for line in lines if line.strip().startswith("server ")] == [
        "127.0.0.1:1234",
        "127.0.0.1:5678",
    ]
    assert any(COOKIE in line for line in lines)


def changed(address, does):
    """A lesson of one student who changed something on a page that then does so; and the request."""
    page = Page("", ("number_input", "seed"), (), live=does == "queue", plain=f"does={does.replace(' ', '%20')}")
    lesson = Lesson(address, {"page": dataclasses.replace(page, live=False), "changed": page}, LONG_ENOUGH)

    async def act():
        tab = await lesson.open("student", "page", "shared", page.plain)
        asked = await lesson.change("student", "changed", tab, 7)
        await tab.close()
        return asked

    asked = awaited(act())
    assert lesson.faults == []
    assert lesson.asked[0].end == "complete"
    return lesson, asked


def test_a_known_delay_is_reported(known):
    lesson, asked = changed(known, "wait")
    assert asked.picture > DELAY
    assert asked.begun < asked.picture - 0.9 * DELAY  # the run began before: the delay lies in between
    assert report.times(lesson)["own change: to first picture"].p50 == asked.picture
    assert report.times(lesson)["shared link: open to first picture"].p50 == lesson.asked[0].picture


@pytest.mark.parametrize(
    ("does", "end", "word"),
    [
        ("answer", "complete", True),
        ("refuse", "refused", True),
        ("fail", "failed", True),
        ("cancel", "cancelled", True),
        ("raise", "exception", False),
        ("be silent", "nothing", False),
    ],
)
def test_each_end_is_told_from_the_others(known, does, end, word):
    lesson, asked = changed(known, does)
    assert asked.end == end
    assert (asked.picture is not None) == (end == "complete")
    assert (asked.word is not None) == word
    counts = report.counts(lesson)
    assert {name for name in report.ENDS if counts[name]} == {"complete", end}
    if end == "nothing":
        assert asked in report.speechless(lesson)


def test_a_queue_is_followed_by_itself_and_its_promises_are_weighed(known):
    _, asked = changed(known, "queue")
    assert asked.end == "complete"
    assert asked.word < asked.picture < asked.done
    places = [place_and_time(text) for _, text in asked.said if "waiting" in text]
    assert places[0] == (PLACES, PLACES * EACH)
    assert set(places) <= {
        (left, left * EACH) for left in range(1, PLACES + 1)
    }  # a rerun may overtake the one before it
    running = next(at for at, text in asked.said if "left" in text)
    assert asked.promise == (asked.word, PLACES * EACH, running - asked.word)
    assert asked.forecasts == [(SAID, asked.done - running)]
    lesson = Lesson("", {}, 60.0)
    lesson.asked = [asked]
    (queue,) = [goal for goal in report.judged(lesson, Watch([], [])) if "times in the queue" in goal.name]
    assert (queue.met, queue.found) == (False, "0 of 1")  # it took a second, not thirty


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("waiting; 3 before this one", (3, None)),
        ("waiting; 0 before this one, about 1 s", (0, 1.0)),
        ("waiting; 12 before this one · about 1.5 min until it begins", (12, 90.0)),
        (
            "60 people are at work. **You are number 4 in line.** It opens by itself: in about 3 minutes, at the",
            (4, 180.0),
        ),
        ("60 people are at work. **You are next.** It opens by itself: in about 40 s, at the", (1, 40.0)),
        ("step 4 of 500 · about 20 s left", None),
        ("starting", None),
    ],
)
def test_places_and_times_are_read(text, meant):
    assert place_and_time(text) == meant


def test_who_still_waits_counts_with_the_time_that_was_waited():
    found = Times.of([(0.1, 0.1), (0.2, 0.2), (None, 30.0)])
    assert (found.asked, found.answered) == (3, 2)
    assert (found.p50, found.p95, found.worst) == (0.2, 30.0, 30.0)


def test_who_had_no_word_for_long_is_counted():
    lesson = Lesson("", {}, 60.0)
    lesson.asked = [
        Asked("soon", "edge", "own", 0.0, word=report.WORD - 1, picture=50.0, end="complete"),
        Asked("late", "edge", "own", 0.0, word=report.WORD + 1, end="refused"),
        Asked("never", "edge", "own", 0.0, waited=report.WORD + 1),
        Asked("just asked", "edge", "own", 0.0, waited=1.0),
        Asked("an empty page", "edge", "own", 0.0, end="nothing", waited=1.0),
    ]
    assert [one.who for one in report.speechless(lesson)] == ["late", "never", "an empty page"]
    assert report.counts(lesson)["without picture or sentence"] == 3


@pytest.mark.prove  # half a minute
def test_students_of_every_kind_find_what_they_use_in_the_app(tmp_path):
    """Each opens a page, changes what its kind changes, and has a whole answer; the watch sees what the server takes."""
    surface = "v=1&land=booth&opt1=heavy_ball&steps=20&over_x=lr:0.001:0.1:8&over_y=momentum:0:0.9:8"
    links = {"descend": "v=1&land=booth&opt1=gd&steps=20", "slice": f"{TINY}&points=5", "sweep": surface}
    pages = {kind: dataclasses.replace(page, plain=links.get(kind, TINY)) for kind, page in RAVINE.items()}
    server = Server(tmp_path, APP, ready="/readyz")  # its patience is for pages, not for what starts
    lesson = Lesson(server.address, pages, LONG_ENOUGH)
    watch = Watch([server.address], [server.pid], tmp_path / "cache")

    async def one(kind):
        tab = await lesson.open(kind, kind, "shared" if kind in LONG else "open", pages[kind].plain)
        if kind == "descend":
            await lesson.move(kind, tab, pages[kind], random.Random(0))
        else:
            await lesson.change(kind, kind, tab, 30)
        await tab.close()

    async def all_kinds():
        watching = asyncio.create_task(watch.run())
        await asyncio.gather(*(one(kind) for kind in pages))
        await asyncio.sleep(0)
        watching.cancel()

    try:
        awaited(all_kinds())
    finally:
        server.stop()
    assert (lesson.faults, lesson.traffic.failures) == ([], [])
    assert {(one.kind, one.what, one.end) for one in lesson.asked} == {
        *((kind, what, "complete") for kind in LONG for what in ("shared", "own")),
        *(("descend", what, "complete") for what in ("open", "move")),
    }
    assert all(0 < one.word <= one.picture <= one.done for one in lesson.asked)
    assert len(lesson.files) == len(pages)
    found = report.summary("short", lesson, watch)
    assert found["counts"]["complete"] == found["counts"]["requests"] == 2 * len(pages)
    assert len(report.table(found).splitlines()) > len(found["times"])
    if watch.samples:
        assert watch.samples[0].web > 50
        assert watch.samples[0].status == 200


def test_requests_are_left_out_while_the_clients_stood_still():
    lesson = Lesson("", {}, 60.0)
    lesson.stalls = [(lesson.begun + 20.0, lesson.begun + 30.0)]
    lesson.asked = [
        Asked(str(at), "edge", "own", at, word=at, waited=9.0, end="complete") for at in (5.0, 15.0, 25.0, 35.0)
    ]
    assert [one.who for one in lesson.fair] == ["5.0", "35.0"]
    assert report.counts(lesson)["left out, the clients stood still"] == 2
    assert report.times(lesson)["own change: to a word"].asked == 2


def test_what_a_server_raised_is_read_from_its_log():
    one = "Traceback (most recent call last):\n  File x, line 1\n    boom\nValueError: of {}\n"
    log = (
        "2026 Error\n"
        + one.format("a")
        + "well\n"
        + one.format("b")
        + one.format("a")
        + "Traceback (most recent call last):\n  File"
    )
    assert tracebacks(log) == {"ValueError: of a": 2, "ValueError: of b": 1, "cut off": 1}
