"""Settings: what is written is read back exactly, what is not allowed is refused with a short sentence."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from landscapes.setting import Choice, Declared, Flag, Integer, Integers, Number, Numbers, Text, setting, settings

finite = st.floats(allow_nan=False, allow_infinity=False)
coordinate = st.floats(-1e6, 1e6)


@dataclass(frozen=True)
class Sample(Declared):
    name, label = "sample", "Sample"
    rate: float = setting(0.1, 0.0, 1.0, low_open=True, high_open=True, aliases=("lr",), symbol=r"\eta", help="Rate.")
    count: int = setting(3, 1, 9)
    flag: bool = setting(False)
    kind: str = setting("a", choices=("a", "b"))
    text: str = setting("hello", high=20)
    widths: tuple[int, ...] = setting((8, 8), low=1, high=64)
    window: tuple[tuple[float, float], ...] = setting(((-1.0, 1.0), (0.0, 2.0)), rows=2, ordered=True)


@dataclass(frozen=True)
class BatchedSample(Sample):
    name, batchable = "batched_sample", True


KINDS = {
    "number": Number(1.0),
    "bounded": Number(0.5, low=0.0, high=1.0),
    "integer": Integer(1, low=-5, high=2**31 - 1),
    "flag": Flag(True),
    "choice": Choice("adam", choices=("adam", "sgd")),
    "text": Text("x", high=500),
    "integers": Integers((1, 2)),
    "numbers": Numbers(((1.0, 2.0),), columns=2),
    "window": Numbers(((-1.0, 1.0),) * 2, rows=2, ordered=True),
}


def round_trip(kind, value):
    again = kind.read("field", kind.write(kind.check("field", value)))
    assert again == value
    assert repr(again) == repr(value)  # also tells -0.0 from 0.0, and 1 from 1.0


@given(finite)
@example(-0.0)
@example(5e-324)
@example(0.1 + 0.2)
@example(1.7976931348623157e308)
def test_numbers_survive_a_link_exactly(value):
    round_trip(Number(1.0), value)


@given(st.integers(-5, 2**31 - 1))
def test_integers_survive_a_link(value):
    round_trip(KINDS["integer"], value)


@given(st.lists(st.integers(1, 4096), max_size=8).map(tuple))
@example(())
def test_widths_survive_a_link(value):
    round_trip(Integers((1,)), value)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=5).map(tuple))
def test_rows_of_numbers_survive_a_link_exactly(value):
    round_trip(KINDS["numbers"], value)


@given(st.lists(st.tuples(coordinate, coordinate).map(sorted).map(tuple), min_size=2, max_size=2).map(tuple))
def test_windows_survive_a_link_if_each_interval_rises(value):
    if all(low < high for low, high in value):
        round_trip(KINDS["window"], value)
    else:
        with pytest.raises(ValueError, match="interval low:high"):
            KINDS["window"].check("window", value)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=500))
def test_texts_survive_a_link(value):
    round_trip(KINDS["text"], value)


@pytest.mark.parametrize("value", [True, False])
def test_flags_survive_a_link(value):
    round_trip(Flag(True), value)


@pytest.mark.parametrize("value", ["adam", "sgd"])
def test_choices_survive_a_link(value):
    round_trip(KINDS["choice"], value)


@pytest.mark.parametrize("low_open", [False, True])
@pytest.mark.parametrize("high_open", [False, True])
def test_the_ends_of_a_range_are_in_it_unless_open(low_open, high_open):
    kind = Number(1.0, low=0.5, high=2.0, low_open=low_open, high_open=high_open)
    for end, is_open, inward in ((0.5, low_open, 1), (2.0, high_open, -1)):
        assert kind.check("v", math.nextafter(end, end + inward)) != end
        values = [math.nextafter(end, end - inward)] + [end] * is_open
        for value in values:
            for refused in (
                lambda v: kind.check("v", v),
                lambda v: kind.read("v", repr(v)),
                lambda v: kind.check("v", torch.tensor([[1.0], [v]], dtype=torch.float64)),
            ):
                with pytest.raises(ValueError, match="v ") as refusal:
                    refused(value)
                assert ("above 0.5" if low_open else "at least 0.5") in str(refusal.value)
                assert ("below 2" if high_open else "at most 2") in str(refusal.value)
        if not is_open:
            assert kind.check("v", end) == end


@pytest.mark.parametrize(
    ("kind", "ends"), [(Integer(1, low=1, high=9), (1, 9)), (Integers((1,), low=1, high=9), (1, 9))]
)
def test_the_ends_of_whole_ranges(kind, ends):
    wrap = (lambda v: (v,)) if isinstance(kind, Integers) else (lambda v: v)
    for end, outside in zip(ends, (0, 10), strict=True):
        assert kind.check("n", wrap(end)) == wrap(end)
        with pytest.raises(ValueError, match="from 1 to 9"):
            kind.check("n", wrap(outside))
        with pytest.raises(ValueError, match="from 1 to 9"):
            kind.read("n", str(outside))


def test_lengths_are_bounded():
    assert Text("x", high=3).check("t", "abc") == "abc"
    for text in ("", "abcd"):
        with pytest.raises(ValueError, match="1 to 3 characters"):
            Text("x", high=3).check("t", text)
    assert len(Integers((1,), count=3).check("n", [1, 2, 3])) == 3
    with pytest.raises(ValueError, match="up to 3"):
        Integers((1,), count=3).check("n", [1, 2, 3, 4])
    for rows in ([], [[1, 2]], [[1, 2]] * 3, [[1, 2], [1, 2, 3]], [[1, 2], [2, 2]], [[1, 2], [-1e7, 2]]):
        with pytest.raises(ValueError, match="interval low:high"):
            KINDS["window"].check("w", rows)


class Opaque:
    pass


WRONG = {
    "number": ["1", True, None, 1j, [1.0], np.array([1.0, 2.0]), np.array([1.0]), float, Opaque(), torch.tensor([[1]])],
    "integer": ["1", True, None, 1.0, 1.5, [1], np.array([1, 2]), np.array([1]), int, Opaque(), torch.tensor(1.5)],
    "flag": ["true", 0, 1, None, Opaque(), np.True_],
    "choice": [1, None, True, b"adam", ("adam",)],
    "text": [1, None, b"x", ["x"]],
    "integers": [1, None, "8x8", [True], [1.0], ["1"], [None], {1: 2}, [torch.tensor(1.5)]],
    "numbers": [1, None, "12", ["12"], [1.0, 2.0], [[True, 1.0]], [["1", "2"]], [[None, 1.0]], [[1j, 2.0]], Opaque()],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in WRONG.items() for value in values])
def test_a_wrong_type_is_a_type_error(kind, value):
    with pytest.raises(TypeError, match=r"^field (= |is )") as refusal:
        KINDS[kind].check("field", value)
    assert str(refusal.value).endswith(".")
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("kind", ["number", "bounded", "numbers", "window"])
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 10**400, 10**5000, -(10**5000)],
    ids=["nan", "inf", "-inf", "1e400", "long", "-long"],
)
def test_nan_and_infinity_are_refused(kind, value):
    given_value = value if isinstance(KINDS[kind], Number) else [[0.0, value], [0.0, value]]
    with pytest.raises(ValueError, match="is not allowed: it must be") as refusal:
        KINDS[kind].check("field", given_value)
    assert len(str(refusal.value)) < 250


def test_whole_numbers_too_long_to_write_are_refused():
    for kind, value in (("integer", 10**5000), ("integers", [10**5000])):
        with pytest.raises(ValueError, match="is not allowed"):
            KINDS[kind].check("field", value)


@pytest.mark.parametrize(
    ("kind", "value", "canonical"),
    [
        ("number", 2, 2.0),
        ("number", Fraction(1, 4), 0.25),
        ("number", np.float32(0.5), 0.5),
        ("integer", np.int64(4), 4),
        ("integers", [np.int32(4), 5], (4, 5)),
        ("numbers", np.array([[1, 2]]), ((1.0, 2.0),)),
    ],
)
def test_values_become_their_canonical_type(kind, value, canonical):
    checked = KINDS[kind].check("field", value)
    assert repr(checked) == repr(canonical)


HOSTILE = [
    "", " ", "1 ", " 1", "\n1", "x" * 10_000, "9" * 10_000, "1:" * 5_000, "1x" * 5_000, "-" * 10_000, "1e999", "-1e999", "nan",
    "inf", "-Infinity", "٣", "١:٢", "１", "²", "1²", "½", "1_000", "1__0", "0x10", "1e", "1.5.2", "--1", "+-1", "1j", "True",
    "TRUE", "yes", "None", "__import__", "__import__('os')", "{}", "[1]", "%s", "{0}", "\0", "1\0", "\ud800", "\u202e1", "1,2,3",
    "1:2:3", "::", ",", "x", "8x", "x8", "-8x8", "8X8", "1:nan,1:2", "1:inf,1:2", "1: 2,1:2", "1:1_0,1:2", "1:٣,1:2",
]  # fmt: skip


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "text"])
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]) + f"-{len(text)}")
def test_hostile_texts_are_value_errors(kind, text):
    with pytest.raises(ValueError, match=r"^field = ") as refusal:
        KINDS[kind].read("field", text)
    assert type(refusal.value) is ValueError
    assert len(str(refusal.value)) < 250
    assert str(refusal.value).isprintable()
    assert KINDS[kind].allowed in str(refusal.value)


@pytest.mark.parametrize("text", ["", "x" * 501, "x" * 10_000, "\ud800", "a\udfffb"])
def test_texts_that_no_link_can_hold_are_value_errors(text):
    with pytest.raises(ValueError, match="1 to 500 characters") as refusal:
        KINDS["text"].read("field", text)
    assert len(str(refusal.value)) < 200


@given(st.text(max_size=30))
def test_any_text_is_read_or_a_value_error(text):
    for kind in KINDS.values():
        try:
            value = kind.read("field", text)
        except ValueError:
            continue
        assert kind.check("field", value) == value


@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (2, 3, 1), (0, 1)])
def test_one_value_a_run_is_a_tensor_where_batchable(shape):
    value = torch.full(shape, 0.5, requires_grad=True)
    assert BatchedSample(rate=value).rate is value
    with pytest.raises(TypeError, match="rate of sample is a tensor: it must be a number above 0 and below 1"):
        Sample(rate=value)


@pytest.mark.parametrize("bad", [0.0, 1.0, -1.0, math.nan, math.inf])
def test_every_entry_of_a_tensor_is_checked(bad):
    with pytest.raises(ValueError, match="rate has an entry that is not allowed: each must be a number above 0"):
        BatchedSample(rate=torch.tensor([[0.5], [bad]]))


def test_tensors_that_would_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"rate has shape \(3,\)"):
        BatchedSample(rate=torch.full((3,), 0.5))
    with pytest.raises(TypeError, match="floating-point"):
        BatchedSample(rate=torch.ones(3, 1, dtype=torch.int64))
    for name in ("count", "flag", "kind", "text", "widths", "window"):
        with pytest.raises(TypeError, match=f"{name} of batched_sample is a tensor"):
            BatchedSample(**{name: torch.ones(3, 1)})


def test_a_declared_class_checks_every_field():
    assert Sample(count=np.int64(4), widths=[4]).values() == {
        "rate": 0.1, "count": 4, "flag": False, "kind": "a", "text": "hello", "widths": (4,),
        "window": ((-1.0, 1.0), (0.0, 2.0)),
    }  # fmt: skip
    bad = {"rate": 1.0, "count": 0, "kind": "c", "text": "", "widths": (0,), "window": ((1.0, -1.0), (0.0, 1.0))}
    for name, value in bad.items():
        with pytest.raises(ValueError, match=f"^{name} "):
            Sample(**{name: value})
    for name in settings(Sample):
        with pytest.raises(TypeError, match=f"^{name} = "):
            Sample(**{name: Opaque()})


def test_aliases_are_other_names():
    assert Sample(lr=0.5) == Sample(rate=0.5) == Sample(0.5)
    assert settings(Sample)["rate"].aliases == ("lr",)
    with pytest.raises(TypeError, match="rate is given twice: lr is another name for it"):
        Sample(lr=0.5, rate=0.6)


def test_an_unknown_setting_is_named_with_those_there_are():
    with pytest.raises(TypeError) as refusal:
        Sample(speed=1)
    assert str(refusal.value) == (
        "sample has no setting 'speed'; its settings are: rate, count, flag, kind, text, widths, window."
    )
    with pytest.raises(TypeError, match="has no setting") as refusal:
        Sample(**{"x" * 10_000: 1})
    assert len(str(refusal.value)) < 200


def test_the_kind_of_setting_follows_from_the_default():
    kinds = [Number, Integer, Flag, Choice, Text, Integers, Numbers]
    assert [type(one) for one in settings(Sample).values()] == kinds
    assert list(settings(Sample())) == list(settings(Sample))
    assert [one.default for one in settings(Sample).values()] == list(Sample().values().values())


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        (Number(1.0), "a finite number"),
        (Number(1.0, low=0.0), "a number at least 0"),
        (Number(1.0, high=2.0, high_open=True), "a number below 2"),
        (Number(1.0, low=0.0, high=2.0, low_open=True), "a number above 0 and at most 2"),
        (Integer(1, low=1, high=5), "a whole number from 1 to 5"),
        (Flag(True), "true or false"),
        (Choice("a", choices=("a", "b")), "one of a, b"),
        (Text("a", high=7), "a text of 1 to 7 characters"),
        (Integers((1,), low=1, high=9, count=2), "up to 2 whole numbers from 1 to 9, as in 128x128"),
        (KINDS["window"], "2 times an interval low:high of size at most 1e+06, as in -2:2,-2:2"),
    ],
)
def test_what_is_allowed_is_said(kind, allowed):
    assert kind.allowed == allowed
