"""What continuous integration runs, with a `make` that does nothing but say what was asked of it."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.other_processor import OTHER, TESTS, compared, main, products, tanhs

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("failing", ["none", "test", "prove", "other-processor"])
def test_every_goal_runs_and_one_that_fails_is_enough(failing, tmp_path):
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\necho "begin $1"\necho "12 passed in 3.45s ($1)"\n[ "$1" != {failing} ]\n')
    make.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run([ROOT / ".ci/run"], env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert ran.returncode == (failing != "none")
    summary = ran.stdout.rpartition("\n\n")[2]
    for goal in ("test", "prove", "other-processor"):
        assert f"begin {goal}\n" in ran.stdout
        assert f"make {goal}: {'FAILED' if goal == failing else 'passed'}, " in summary
        assert f"    12 passed in 3.45s ({goal})\n" in summary


def seen(capability, product=(1.0, 2.0), tanh=(0.5,)):
    return {"capability": np.array(capability), "product": np.array(product), "tanh": np.array(tanh)}


@pytest.mark.parametrize(
    ("other", "differs", "words"),
    [
        (seen("AVX512"), False, "those of AVX512 either way; a fixed product in none; a fixed tanh in none"),
        (seen("DEFAULT"), False, "those of DEFAULT, not AVX512; a fixed product in none; a fixed tanh in none"),
        (seen("DEFAULT", (1.0, 2.5)), True, "a fixed product differs in 1 of 2 numbers; a fixed tanh in none"),
        (seen("AVX512", tanh=(0.25,)), True, "a fixed product in none; a fixed tanh differs in 1 of 1 numbers"),
    ],
)
def test_another_processor_is_one_whose_numbers_differ(other, differs, words):
    found, said = compared(seen("AVX512"), other)
    assert found == differs
    assert words in said


def test_a_machine_that_cannot_stand_in_says_so_and_runs_nothing(monkeypatch, capfd):
    monkeypatch.setattr("tests.other_processor.seen", lambda environment: seen("DEFAULT"))
    monkeypatch.setattr("tests.other_processor.TESTS", ["/nowhere"])
    assert main([]) == 0
    assert capfd.readouterr().out.startswith("NOT RUN: this machine cannot stand in for another processor (")


def test_what_is_looked_at_first_is_computed_rightly():
    table = np.reshape(np.arange(4096) * 7919 % 1009 / 1009 - 0.5, (64, 64))
    np.testing.assert_allclose(products()[:4096], (table @ table).ravel(), rtol=0, atol=64 * np.finfo(float).eps)
    points = np.arange(4096) / 512 - 4
    np.testing.assert_allclose(tanhs()[:4096], np.tanh(points), rtol=0, atol=4 * np.finfo(float).eps)
    assert all((ROOT / one).is_dir() for one in TESTS)
    assert OTHER["ATEN_CPU_CAPABILITY"] == "default"
