"""A short throw at every door, and proof that the fuzzers find what they look for."""

import os
import socket
import subprocess

import pytest
from hypothesis import strategies as st

from tests.fuzz import hostile
from tests.fuzz.__main__ import main
from tests.fuzz.door import Door, hunt, plain
from tests.fuzz.doors import DOORS

SHORT = {"links": 60, "formulas": 150, "results": 20, "points": 60, "logs": 15}


@pytest.mark.parametrize("name", DOORS)
def test_hostile_inputs_are_read_or_refused(name):
    """Processor time is left out: how long a neighbour makes it take is no property of the code. `make fuzz` counts it."""
    done = hunt(DOORS[name], inputs=SHORT[name], timed=False)
    assert done.failure is None, f"{ascii(done.found)[:500]}: {done.failure!r}"
    assert done.read + done.refused == SHORT[name]
    assert done.read > 0
    assert (
        done.refused > 0 or name == "links"
    )  # a link is read in any case, and its refusals stand beside the experiment


@pytest.mark.prove
@pytest.mark.parametrize("name", DOORS)
def test_more_hostile_inputs_are_read_or_refused(name):
    done = hunt(DOORS[name], start=1000, inputs=20 * SHORT[name], timed=False)
    assert done.failure is None, f"{ascii(done.found)[:500]}: {done.failure!r}"


NUMBERS = st.integers(0, 10_000).map(lambda number: b"%d" % number)


def door(read, sound=lambda given: None, inputs=NUMBERS, **options):
    return Door("mock", inputs, read, sound, **{"seconds": 5.0, "memory": 64 << 20} | options)


def fails(data):
    raise KeyError(data)


def refuses(text):
    def read(data):
        raise ValueError(text)

    return read


BAD = {
    "an exception that is no refusal": (fails, "KeyError"),
    "code": (lambda data: exec("x = 1"), "compile"),
    "a file that is none of ours": (lambda data: open("/etc/hostname").close(), "/etc/hostname"),
    "a file that is written": (lambda data: open(__file__, "a").close(), "test_doors.py"),
    "a file that is taken away": (lambda data: os.remove("/nowhere/at/all"), "os.remove"),
    "an address": (lambda data: socket.getaddrinfo("127.0.0.1", 9), "socket.getaddrinfo"),
    "a program": (lambda data: subprocess.run(["true"], check=True), "subprocess.Popen"),
    "memory": (lambda data: len(b"x" * (256 << 20)), "MiB"),
    "a line break in a refusal": (refuses("One.\nTwo."), "One."),
    "a refusal of many sentences": (refuses("No. " * 9 + "No."), "No."),
    "a refusal that says nothing": (refuses(""), "''"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_input_may_do_is_found(name):
    read, said = BAD[name]
    done = hunt(door(read, inputs=st.just(b"1")), inputs=1, timed=False)
    assert said in f"{type(done.failure).__name__}: {done.failure}"


def test_what_runs_an_input_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(hostile, "CANARY", tmp_path / "canary")
    done = hunt(door(len, lambda given: None), inputs=1)
    assert done.failure is None
    (tmp_path / "canary").touch()
    assert "It was run" in str(hunt(door(len), inputs=1).failure)


def test_time_is_found():
    done = hunt(door(lambda data: sum(range(200_000)), inputs=st.just(b"1"), seconds=0.0), inputs=1)
    assert "s of processor time" in str(done.failure)


def test_the_smallest_input_is_found_kept_and_thrown_again(tmp_path, monkeypatch, capsys):
    def unsound(data):
        assert len(data) < 3, "too long"

    bad = door(bytes, unsound)
    done = hunt(bad, inputs=200)
    assert done.found == b"100"  # the least of those with three digits
    same = hunt(bad, inputs=200)
    assert same.found == done.found
    assert same.read == done.read
    monkeypatch.setitem(DOORS, "mock", bad)
    monkeypatch.setattr("tests.fuzz.__main__.KEPT", tmp_path)
    assert main(["mock", "--seconds", "20"]) == 1
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"100"
    assert f"--again {path}" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="too long"):
        main(["--again", str(path)])


@pytest.mark.parametrize("name", DOORS)
def test_an_input_survives_being_kept(name):
    one = DOORS[name]
    odd = "\ud800 é \x00" if name in ("links", "formulas") else b"\x00\xff"
    assert one.again(one.kept(odd)) == odd


def test_plain_refusals_pass():
    plain([])
    plain(["start = é is not allowed: it must be a number, as in 0.5.", "The default is used."])


def test_unknown_doors_are_refused():
    with pytest.raises(SystemExit):
        main(["window"])
