"""Logs of watched runs: records with hostile values, damaged lines, and any bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st

import ravine.figures.watched  # before anything is thrown: a first import writes its byte code
import ravine.log_sentences  # noqa: F401
from ravine.log import FIELDS, FORMAT, Log, parsed
from tests.fuzz.door import Door
from tests.fuzz.hostile import JSON, NUMBERS, mangled

_WORDS = ["optimizer", "rule", "threshold", "model", "responds", "reason", "reduction", "scaled", "partial", "budget"] + [
    "clip", "every", "samples", "of", "parameters", "notes", "ravine", "other",
]  # fmt: skip
_VALUES = st.sampled_from([*JSON, "inf"])
_HEADER = {
    "ravine": FORMAT,
    "optimizer": "SGD",
    "rule": "gd",
    "threshold": "2 / lr",
    "model": "MLP",
    "every": 10,
    "notes": [],
}


def _steady(count: int) -> list[dict[str, Any]]:
    """The records of a run where nothing happens."""
    return [{"step": 10 * row} | {name: 1.0 + index / 10 for index, name in enumerate(FIELDS)} for row in range(count)]


@st.composite
def _logs(draw):
    """A log of which some values and some lines are others."""
    header = _HEADER | draw(st.dictionaries(st.sampled_from(_WORDS), _VALUES, max_size=4))
    records = _steady(draw(st.integers(0, 12)))
    for _ in range(draw(st.integers(0, 8))):
        if records:
            record = draw(st.sampled_from(records))
            record[draw(st.sampled_from([*FIELDS, "step", "note"]))] = draw(_VALUES)
    for name in draw(st.lists(st.sampled_from(list(FIELDS)), max_size=3)):  # a field of its own course
        scale = draw(st.sampled_from([*NUMBERS[:12], 1.2, 1e200]))
        for row, record in enumerate(records):
            record[name] = (
                scale * row if isinstance(scale, int) else float(scale) ** row if abs(scale) < 1e20 else scale
            )
    lines = [json.dumps(one).encode() for one in (header, *records)]
    for line in draw(
        st.lists(st.binary(max_size=40) | st.integers(1, 9000).map(lambda depth: b"[" * depth), max_size=2)
    ):
        lines.insert(draw(st.integers(0, len(lines))), line)
    return b"\n".join(lines) + draw(st.sampled_from([b"\n", b"", b"\r\n"]))


def _read(data: bytes) -> tuple[Log, list[str]]:
    log = parsed(data)
    log.figure()
    return log, log.sentences()


def _sound(read: tuple[Log, list[str]]) -> None:
    log, sentences = read
    for one in sentences:
        assert one.isprintable(), ascii(one)
        assert len(one) < 2000
    assert (np.diff(log.step) >= 0).all()
    assert {values.shape for values in log.fields.values()} == {log.step.shape}


LOGS = Door("logs", _logs() | mangled(_logs()) | st.binary(), _read, _sound, seconds=0.5, memory=256 << 20)
