"""Fingerprints: what they tell of another machine's numbers is held against all of these numbers."""

import base64
import dataclasses
import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, compute
from ravine.fingerprint import Fingerprint, Numbers, Sampled, Track, digest
from ravine.result import Result
from tests.other_processor import OTHER, ROOT
from tests.ravine.examples import EXAMPLES
from tests.rounding import AnotherOrder

LOSS = np.array([[4.0, 2.0], [1.0, np.nan], [0.25, np.inf]])
NET = MLP(data="chebyshev", objective="squared", hidden=(20, 20))
GD = OPTIMIZERS["gd"]


def edge(**changes):
    values = {"landscape": NET, "optimizers": (GD(lr=0.3),), "view": "edge", "steps": 250, "every": 20}
    return Experiment(**(values | changes))


# At the edge, in both precisions; below it; with minibatches.
RUNS = {
    "edge": edge(steps=450),
    "edge single": edge(dtype="float32"),
    "below": edge(optimizers=(GD(lr=0.05),), steps=120),
    "below single": edge(optimizers=(GD(lr=0.05),), steps=120, dtype="float32"),
    "minibatches": edge(optimizers=(GD(lr=0.05),), batch_size=5, steps=60),
}


def numbers(loss, **others):
    """Of one run with these losses and nothing else."""
    loss = np.asarray(loss, float)
    return Numbers(digest({"loss": loss}), (Track(np.arange(len(loss)), loss, **others),), np.zeros(0), loss)


def apart(one, other):
    """The largest and the mean relative difference of the losses, taken from all of them."""
    off = np.abs(one - other) / np.maximum(np.abs(one), np.abs(other))
    return float(off.max()), float(np.sqrt(np.mean(off**2)))


def stated(sentence):
    """The bound and the root mean square that a sentence states."""
    words = sentence.replace("(", "").replace("%", "e-2").split()
    return float(words[words.index("than") + 1]), float(words[words.index("root") - 3]) if "root" in words else 0.0


def test_order_byte_order_and_the_payload_of_nan_do_not_count():
    other = np.array([7, 8])
    payload = LOSS.copy()
    payload.view(np.uint64)[1, 1] |= 12345
    assert np.isnan(payload[1, 1])
    assert payload.tobytes() != LOSS.tobytes()
    wanted = digest({"loss": LOSS, "steps": other})
    assert wanted == digest({"loss": payload, "steps": other})
    assert wanted == digest({"steps": other.astype(">i8"), "loss": LOSS.astype(">f8")})


@pytest.mark.parametrize(
    "changed", [{"loss": LOSS.T}, {"loss": LOSS.astype(np.float32)}, {"Loss": LOSS}, {"loss": LOSS, "more": LOSS}]
)
def test_everything_else_counts(changed):
    assert digest(changed) != digest({"loss": LOSS})


@given(st.floats(-11, -5), st.integers(0, 5), st.sampled_from([1, 40, 500]))
def test_what_is_said_of_a_difference_is_true_of_all_losses(size, seed, where):
    """Whether all losses differ or few do; a tenth of each decade is rounding of the sentence."""
    chance = np.random.default_rng(seed)
    loss = np.geomspace(30, 1e-6, 500) * chance.uniform(0.5, 2, 500)
    off = np.zeros(500)
    off[chance.permutation(500)[:where]] = 10**size * chance.uniform(-1, 1, where)
    kind, sentence = numbers(loss).fingerprint.verdict(numbers(loss * (1 + off)))
    assert kind == "tolerance"
    worst, typical = apart(loss, loss * (1 + off))
    bound, mean = stated(sentence)
    assert worst < 1.5 * bound
    assert bound < 2 * 2.33 * math.sqrt(500) * typical + 1e-12
    assert typical / 3 < mean + 1e-14
    assert mean < 3 * typical + 1e-14


def test_one_bit_is_seen_and_told():
    loss = np.linspace(1, 2, 1000)
    nudged = loss.copy()
    nudged[1] = np.nextafter(nudged[1], 2)
    kind, sentence = numbers(loss).fingerprint.verdict(numbers(nudged))
    assert kind == "tolerance"
    assert stated(sentence)[0] < 1e-11
    assert numbers(loss).fingerprint.verdict(numbers(loss.copy())).kind == "bits"


def test_what_differs_is_called_different_and_says_why():
    loss = np.exp(-np.linspace(0, 3, 400))
    link = numbers(loss, crossing=100, late=1.05).fingerprint
    for other, why in (
        (numbers(loss[:-1], crossing=100, late=1.05), "400 losses in the link, 399 here"),
        (numbers(1.1 * loss, crossing=100, late=1.05), "already before step 39 by up to"),
        (numbers(np.where(np.arange(400) < 300, loss, 2 * loss), crossing=100, late=1.05), "median loss of quarter 4"),
        (numbers(np.where(np.arange(400) < 390, loss, 2 * loss), crossing=150, late=1.05), "at step 100 in the link, at 150 here"),
        (numbers(np.where(np.arange(400) < 390, loss, 2 * loss), crossing=100, late=1.3), "1.05 times its threshold in the link, 1.3 times here"),
        (numbers(np.where(np.arange(400) < 390, loss, 2 * loss), crossing=-1), "in one of them alone"),
        (numbers(np.where(np.arange(400) < 390, loss, np.nan), crossing=100, late=1.05), ""),
    ):  # fmt: skip
        kind, sentence = link.verdict(other)
        if why:
            assert kind == "different"
            assert why in sentence
        assert kind in ("different", "statistics")


@pytest.mark.parametrize("view", EXAMPLES)
def test_every_view_has_a_fingerprint_that_a_link_carries(view):
    result = compute(EXAMPLES[view])
    text = result.fingerprint.write()
    assert len(text) < 800
    assert Fingerprint.read(text).write() == text
    assert Fingerprint.read(text).verdict(result.numbers).kind == "bits"
    assert result.numbers.against(compute(EXAMPLES[view]).numbers).kind == "bits"
    assert len(result.numbers.losses) == sum(
        array.size
        for name, array in result.arrays().items()
        if name.rpartition(".")[2] in ("loss", "final_loss") and array.dtype.kind == "f"
    )


def truthful(link, here):
    """Does the verdict on these results say what their losses say?"""
    kind, sentence = Fingerprint.read(link.fingerprint.write()).verdict(here.numbers)
    one, other = link.numbers.losses, here.numbers.losses
    same = all(np.array_equal(array, here.arrays()[name], equal_nan=True) for name, array in link.arrays().items())
    assert (kind == "bits") == same
    if kind == "tolerance" and not np.array_equal(one, other):
        worst, typical = apart(one, other)
        bound, mean = stated(sentence)
        assert worst < 1.5 * bound
        assert bound < 200 * typical + 1e-12
        assert typical / 3 < mean + 1e-14
        assert mean < 3 * typical + 1e-14
    return kind


@pytest.fixture(scope="module")
def here():
    return {name: compute(one) for name, one in RUNS.items()}


@pytest.mark.parametrize("name", RUNS)
def test_errors_like_those_of_another_processor_are_told_truly(name, here):
    with AnotherOrder():
        elsewhere = compute(RUNS[name])
    kind = truthful(elsewhere, here[name])
    assert kind == ("statistics" if name.startswith("edge") else "tolerance")
    assert elsewhere.numbers.against(here[name].numbers).kind == kind


def test_another_processor_is_told_truly(here, tmp_path):
    """As far as this machine can stand in for one."""
    source = (
        "import sys, torch; torch.set_num_threads(1)\nfrom ravine import compute\nfrom ravine import Experiment\n"
        "for link, path in zip(sys.argv[1::2], sys.argv[2::2]): compute(Experiment.from_url(link)[0]).save(path)"
    )
    files = {name: str(tmp_path / f"{name}.zip") for name in ("edge single", "below")}
    arguments = [one for name, path in files.items() for one in (RUNS[name].to_url(), path)]
    subprocess.run([sys.executable, "-c", source, *arguments], env=os.environ | OTHER, cwd=ROOT, check=True)
    for name, path in files.items():
        with np.load(path) as file:
            arrays = {one: file[one] for one in file.files if one != "specification.json"}
        kind = truthful(Result.from_arrays(RUNS[name], arrays), here[name])
        assert kind in ("bits", "tolerance", *(["statistics"] if name.startswith("edge") else []))


def test_another_run_at_the_edge_is_not_the_same(here):
    for changes in ({"seed": 1}, {"optimizers": (GD(lr=0.301),)}):
        assert here["edge"].fingerprint.verdict(compute(edge(steps=450, **changes)).numbers).kind == "different"


def test_a_digest_is_what_the_file_format_says():
    """The SHA-256 of name, type, shape and little-endian bytes of each array by name, every NaN as the same."""
    rng = np.random.default_rng(0)
    arrays = {
        "b": rng.normal(size=(7, 5)).astype(np.float32).T,
        "a": rng.integers(9, size=(3, 0)),
        "c": np.array([1.0, np.nan, -np.inf, -np.nan]),
        "d": np.array(3.0),
        "e": np.array([True, False]),
        "f": np.zeros((0, 2)),
    }
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.atleast_1d(arrays[name])
        plain = np.array([np.nan if math.isnan(one) else one for one in array.ravel().tolist()], array.dtype)
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode() + plain.tobytes())
    assert digest(arrays) == found.hexdigest()


def test_precision_is_told_apart():
    experiment = Experiment.default()
    single = compute(dataclasses.replace(experiment, dtype="float32"))
    assert compute(experiment).fingerprint.verdict(single.numbers).kind in ("tolerance", "different")


OLD = "9bf265d8a9846608~8.48~0.5824626275181363~0.04586315439668811~0.003654536969006107~0.0002914852132016714~2.3250584677467848e-05"


def test_the_first_versions_fingerprints_say_how_little_they_carry():
    loss = np.geomspace(1e-5, 1e5, 30)
    places = np.linspace(0, 29, 6).round().astype(int)
    old = Sampled(numbers(loss).digest[:16], tuple(loss[places].tolist()))
    assert Fingerprint.read(old.write()) == old
    assert Fingerprint.read(OLD).write() == OLD
    assert old.verdict(numbers(loss)).kind == "bits"
    others = loss.copy()
    others[1] *= 2  # none of the six
    kind, sentence = old.verdict(numbers(others))
    assert kind == "unknown"
    assert "carries 6 of the losses" in sentence
    assert "of the others it tells nothing" in sentence
    assert old.verdict(numbers(1.1 * loss)).kind == old.verdict(numbers(loss[:3])).kind == "different"


@pytest.mark.parametrize(
    "text",
    ["", "xyz", "0" * 15, "0" * 16 + "~", "0" * 16 + "~1.e.2", "0" * 16 + "~1" * 7, "2." + "0" * 16 + ".", "2." + "0" * 16 + ".AAAA"],
)  # fmt: skip
def test_what_is_no_fingerprint_is_refused(text):
    with pytest.raises(ValueError, match="fingerprint"):
        Fingerprint.read(text)


@given(st.binary(min_size=199, max_size=320))
def test_any_bytes_are_refused_or_give_a_verdict(data):
    text = f"2.{'0' * 16}.{base64.urlsafe_b64encode(data).decode().rstrip('=')}"
    try:
        link = Fingerprint.read(text)
    except ValueError:
        return
    assert Fingerprint.read(link.write()).write() == link.write()
    sentence = link.verdict(numbers(np.ones(5))).sentence
    assert sentence.endswith(".")
    assert len(sentence) < 700
