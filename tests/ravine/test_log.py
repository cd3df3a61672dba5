"""Reading logs, which may be anything, and what they say."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import ravine
from optimizers import judge
from ravine.log import FIELDS, parsed, written

HEADER = written(
    {"ravine": 1, "optimizer": "SGD", "threshold": "2/η", "scaled": False, "samples": 12, "notes": ["one"]}
)


def test_a_cut_line_and_a_damaged_one_do_not_hide_the_rest():
    lines = (
        HEADER
        + written({"step": 1, "loss": 2.0})
        + "{nonsense}\n"
        + written({"step": 2, "loss": float("nan")})
        + '{"step": 3, "lo'
    )
    log = parsed(lines.encode())
    assert log.step.tolist() == [1, 2]
    assert log.damaged == 1
    assert log.fields["loss"].tolist() == [2.0, float("inf")]
    assert np.isnan(log.fields["sharpness"]).all()
    assert set(log.fields) == set(FIELDS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"PK\x03\x04",
        b"\x80\x04\x95",
        b"[]\n",
        b"{}\n",
        b'{"ravine": 2}\n',
        b"\xff\xfe\n",
        b"[" * 5000,
        b'{"ravine": true}',
    ],
)
def test_what_is_no_log_gets_a_sentence(data):
    with pytest.raises(ValueError, match="not a log of ravine.watch"):
        parsed(data)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": -1}', '{"step": 1e5}', '{"step": true}', '{"step": "1"}', "[1]", '{"step": 99999999999999999999}', '"x"',
        '{"step": 1, "x": "' + "y" * 20_000 + '"}', '{"step": 1' + "0" * 9_000 + "}",
    ],
)  # fmt: skip
def test_hostile_records_are_counted_and_left_out(line):
    log = parsed((HEADER + line + "\n").encode())
    assert (len(log.step), log.damaged) == (0, 1)
    assert log.findings() == ["Nothing has been measured yet."]


def test_hostile_values_become_gaps():
    record = {
        "step": 1,
        "loss": [1],
        "sharpness": {"a": 1},
        "lr": True,
        "time": "soon",
        "unknown": 1,
        "threshold": 10**400,
    }
    log = parsed((HEADER + json.dumps(record) + "\n").encode())
    assert log.step.tolist() == [1]
    assert np.isinf(log.fields["threshold"][0])
    assert all(np.isnan(log.fields[name][0]) for name in ("loss", "sharpness", "lr", "time"))
    noisy = parsed(b'{"ravine": 1, "notes": 3, "model": 4, "every": -1, "samples": "x"}\n')
    assert noisy.header == {"notes": []}


def log_of(sharpness, threshold=10.0):
    return parsed((HEADER + "".join(
        written({"step": step, "sharpness": float(value), "threshold": threshold, "loss": 1.0, "update_norm": 0.1, "cost": 0.05})
        for step, value in enumerate(sharpness, start=1)
    )).encode())  # fmt: skip


@pytest.mark.parametrize(
    ("sharpness", "said"),
    [
        ([1, 2, 3, 4, 4], "it stayed below the threshold at all 5 measurements"),
        ([5, 9, 10.8, 10.4, 10.2, 10.1, 9.9], "it reached the threshold at step 3 and hovers there"),
        ([5, 20, 40, 60], "expect divergence"),
    ],
)
def test_sentences_and_figure(sharpness, said):
    log = log_of(sharpness)
    assert said in " ".join(log.sentences())
    names = [trace.name for trace in log.figure().data]
    assert "sharpness λ" in names
    assert any("2/η" in name for name in names)
    drawn = next(trace for trace in log.figure().data if trace.name == "sharpness λ")
    np.testing.assert_allclose(drawn.y, sharpness)


def test_an_empty_log_can_be_drawn():
    assert len(parsed(HEADER.encode()).figure().data) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_of([]).figure()


def test_missing_files(tmp_path):
    with pytest.raises(OSError, match="nothing.ravine"):
        ravine.read_log(Path(tmp_path / "nothing.ravine"))


def log_with(header=(), **fields):
    """A log of records at steps 0, 1, ...: each field has one value for each, None where there is none."""
    count = max(map(len, fields.values()))
    records = [
        {"step": step} | {name: values[step] for name, values in fields.items() if values[step] is not None}
        for step in range(count)
    ]
    head = json.loads(HEADER) | dict(header)
    return parsed((json.dumps(head) + "\n" + "".join(map(written, records))).encode())


def test_judgement_is_in_the_words_of_the_one_judge():
    ratios = [0.5, 0.9, 1.08, 1.04, 1.02, 1.01, 0.99]
    found = judge(ratios, range(1, 8))
    first, second = log_of([10 * one for one in ratios]).findings()[:2]
    assert found.expected in first
    assert found.seen in second


@pytest.mark.parametrize(
    ("cosine", "share", "ratio", "said"),
    [
        (1.0, 1.0, 0.3, ""),
        (0.3, 1.0, 0.3, "noise"),
        (0.3, 1.0, 1.5, ""),  # above the threshold whatever the noise
        (0.99, 0.25, 1.5, "given 0.25 times the gradient of the watched data, with which the ratio would be 0.38"),
        (0.7, 0.1, 1.5, "given 0.1 times"),
        (0.1, 0.1, 0.3, "noise"),  # the noise drowns how long it is
    ],
)
def test_gradients_that_are_not_the_watched_ones_forbid_a_verdict(cosine, share, ratio, said):
    log = log_with(
        sharpness=[10 * ratio] * 6, threshold=[10.0] * 6, gradient_cosine=[cosine] * 6, gradient_share=[share] * 6
    )
    assert ("no verdict" in log.findings()[0]) == bool(said)
    assert said in log.findings()[0]


def test_gradients_of_one_length_are_clipped_unless_they_are_the_watched_ones():
    settings = {"sharpness": [5.0] * 6, "threshold": [10.0] * 6, "given_norm": [0.7, 1.0, 1.0, 1.0, 0.9, 1.0]}
    assert "their norm is 1 at 4 of 6 logged steps" in log_with(**settings).findings()[0]
    alike = log_with(**settings, gradient_cosine=[1.0] * 6, gradient_share=[1.0] * 6)
    assert "clipped" not in alike.findings()[0]
    other = log_with(**settings | {"given_norm": [0.7, 1.0, 0.95, 1.01, 0.9, 0.8]})
    assert "clipped" not in other.findings()[0]


def test_how_long_updates_could_be_is_the_ratio_of_means():
    # Slopes -1 and -2 along updates of length 1, curvatures 2 and 1: -2 (-1 - 2) / (2 + 1) = 2 times; leaving out one
    # after the other 2 * 2 / 1 = 4 and 2 * 1 / 2 = 1, with a standard error of (4 - 1) / 2 = 1.5.
    log = log_with(
        sharpness=[1.0] * 4, update_norm=[1.0] * 4, update_slope=[-9.0, -9.0, -1.0, -2.0], directional_sharpness=[1.0, 1.0, 2.0, 1.0],
        loss=[1.0, 2.0, 1.0, 1.0], loss_before=[1.5] * 4,
    )  # fmt: skip
    words = " ".join(log.findings())
    assert "Up to 2 ± 1.5 times as long, the last 2 updates looked at" in words
    assert "That loss rose at 1 of 4 updates looked at." in words


@pytest.mark.parametrize("slopes", [[-1.0, -2.0, -1.0, -90.0], [-1e300, -1e300, -1e300, -1e300]])
def test_updates_that_differ_too_much_have_no_one_number(slopes):
    log = log_with(sharpness=[1.0] * 4, update_norm=[1.0, 1.0, 1e-3, 1e200], update_slope=slopes,
                   directional_sharpness=[1.0, 1.0, 1e9, 1e200], loss=[1.0] * 4, loss_before=[1.5] * 4)  # fmt: skip
    assert "differs too much to say it in one number" in " ".join(log.findings())


def test_losses_that_rise_or_end():
    assert (
        "rose from 1 at step 0 to 15 at step 2; it was least at step 1, 0.5"
        in log_with(loss=[1.0, 0.5, 15.0]).findings()[-1]
    )
    assert "not finite from step 1 on: the run diverged" in log_with(loss=[1.0, "inf", "inf"]).findings()[-1]
    assert "not finite at step 1, and finite again later" in log_with(loss=[1.0, "inf", 1.0]).findings()[-1]
    assert log_with(train_loss=[None, None]).findings() == [
        "2 steps logged, up to step 1; the sharpness was not measured so far."
    ]


def test_where_the_loss_rises_nothing_converges():
    settings = {"sharpness": [1.0] * 6, "threshold": [10.0] * 6}
    said = log_with(**settings, loss=[1.0, 1.0, 1.0, 1.0, 1.5, 2.0]).findings()[0]
    assert "no verdict: the loss on the watched data rose from 1 at step 3 to 2 at step 5 all the same" in said
    assert "no verdict" not in log_with(**settings, loss=[2.0, 1.5, 1.0, 1.0, 1.05, 1.04]).findings()[0]


def test_a_low_ratio_among_high_ones_is_no_verdict():
    said = log_of([20, 9, 30, 0.1, 25, 1, 40, 0.1]).findings()[0]
    assert "no verdict: the ratio jumps, and was 1 or more at 2 of the last 4 looks" in said


def test_what_rounding_takes_is_told_of_rules_that_move_everything():
    settings = {"lr": [1.0] * 2, "unmoved": [0.9, 0.5]}
    assert "left 50% of the parameters" in log_with({"rule": "Adam"}, **settings).findings()[-1]
    assert "rounded" not in log_with(**settings).findings()[-1]


def test_a_log_of_an_earlier_version_is_read():
    log = log_with({"scaled": True, "threshold": "2/η"}, preconditioned_sharpness=[5.0] * 5, threshold=[10.0] * 5)
    assert "At step 4 the preconditioned sharpness is 5, 0.5 times the threshold 2/η = 10" in log.findings()[0]


def test_remarks_of_the_run_follow_the_notes():
    log = parsed((HEADER + written({"step": 7, "note": "Something changed."})).encode())
    assert log.sentences()[-2:] == ["one", "Step 7: Something changed."]


def test_no_text_of_a_log_commands_a_terminal():
    """What is printed of it is one line, and no control character is in it."""
    told = {"optimizer": "S\x1b[2JGD", "threshold": "2 /\r\n lr\x00", "notes": ["one\ntwo\u202e"]}
    header = json.dumps({"ravine": 1} | told).encode()
    records = [
        json.dumps({"step": step, "sharpness": 1.5, "threshold": 2.6, "note": "\x07"}).encode() for step in range(4)
    ]
    log = parsed(b"\n".join([header, *records, b""]))
    assert log.header["optimizer"] == "S\N{REPLACEMENT CHARACTER}[2JGD"
    assert log.header["threshold"] == "2 / lr\N{REPLACEMENT CHARACTER}"
    assert log.header["notes"] == ["one two\N{REPLACEMENT CHARACTER}"]
    assert all(one.isprintable() for one in log.sentences())
