"""Fingerprints: equal for equal bits, otherwise a measure of the difference that we know by construction."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine import Experiment, compute
from ravine.fingerprint import Fingerprint

LOSS = np.array([[4.0, 2.0], [1.0, np.nan], [0.25, np.inf]])


def of(loss, **others):
    return Fingerprint.of({"loss": np.asarray(loss)} | others)


def test_order_byte_order_and_the_payload_of_nan_do_not_count():
    other = np.array([7, 8])
    payload = LOSS.copy()
    payload.view(np.uint64)[1, 1] |= 12345
    assert np.isnan(payload[1, 1])
    assert payload.tobytes() != LOSS.tobytes()
    wanted = of(LOSS, steps=other)
    assert wanted == of(payload, steps=other) == of(LOSS.astype(">f8"), steps=other.astype(">i8"))
    assert wanted == Fingerprint.of({"steps": other, "loss": LOSS})
    assert wanted.samples == (4.0, 2.0, 1.0, 0.25)


@pytest.mark.parametrize(
    "changed", [{"loss": LOSS.T}, {"loss": LOSS.astype(np.float32)}, {"Loss": LOSS}, {"loss": LOSS, "more": LOSS}]
)
def test_everything_else_counts(changed):
    assert Fingerprint.of(changed).digest != of(LOSS).digest


@given(st.floats(1e-12, 0.5))
def test_the_difference_is_the_largest_relative_one(share):
    loss = np.geomspace(1e-5, 1e5, 30)
    moved = loss * (1 + share)
    assert of(loss).difference(of(moved)) == pytest.approx(share / (1 + share), rel=1e-3)  # 1e-16 beside 1e-12
    assert of(loss).difference(of(loss)) == 0


def test_one_bit_is_seen_and_told():
    loss = np.linspace(1, 2, 1000)
    nudged = loss.copy()
    nudged[1] = np.nextafter(nudged[1], 2)  # none of the carried ones
    apart = of(loss).difference(of(nudged))
    assert apart == np.finfo(float).eps
    assert "not to the last bit" in of(loss).verdict(of(nudged))
    assert "to the last bit:" in of(loss).verdict(of(loss.copy()))
    assert of(loss).verdict(of(1.1 * loss)).startswith("Not reproduced: this machine's losses differ")
    assert of(loss).difference(of(loss[:3])) == math.inf
    assert of(loss).verdict(of(loss[:3])).startswith("Not reproduced")


def test_a_result_is_recognized_and_precision_told_apart():
    experiment = Experiment.default()
    fingerprint = compute(experiment).fingerprint
    assert Fingerprint.read(fingerprint.write()) == fingerprint == compute(experiment).fingerprint
    single = compute(dataclasses.replace(experiment, dtype="float32")).fingerprint
    assert 0 < fingerprint.difference(single) < 1e-2


@pytest.mark.parametrize("text", ["", "xyz", "0" * 15, "0" * 16 + "~", "0" * 16 + "~1.e.2", "0" * 16 + "~1" * 7])
def test_what_is_no_fingerprint_is_refused(text):
    with pytest.raises(ValueError, match="fingerprint"):
        Fingerprint.read(text)
