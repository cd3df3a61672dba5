"""Each promise of SECURITY.md names tests that are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROMISES = [
    line.strip("| ").split(" | ")
    for line in (ROOT / "SECURITY.md").read_text().splitlines()
    if line.startswith("| ") and "held by" not in line
]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_there_are_promises():
    assert len(PROMISES) > 10


@pytest.mark.parametrize(("promise", "held"), PROMISES, ids=range(len(PROMISES)))
def test_the_tests_that_hold_a_promise_exist(promise, held):
    named = NAMED.findall(held)
    assert named, promise
    assert NAMED.sub("", held).strip(", ") == ""
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        assert name in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}, f"{file} has no {name}"
