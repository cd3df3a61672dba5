"""What is said of a run at the edge: no eigenvalue counts whose search did not come within its tolerance."""

import re
from dataclasses import replace

import pytest

from landscapes import MLP, solvers
from optimizers import OPTIMIZERS
from ravine import Experiment, compute

NET = MLP(data="chebyshev", hidden=(10, 10), objective="squared")


def experiment(rule="gd", **changes):
    given = {"view": "edge", "landscape": NET, "steps": 12, "every": 4, "dtype": "float64"}
    return Experiment(optimizers=(OPTIMIZERS[rule](lr=0.01),), **given, **changes)


def test_nothing_is_left_out_where_every_search_succeeds():
    result = compute(experiment())
    assert "Left out" not in result.summary()
    assert result.trajectory.probes["sharpness"][::4].isfinite().all()


@pytest.mark.parametrize("values", ["", "0.01,0.02", "0.01,0.012,0.014,0.016,0.018"])
def test_measurements_that_failed_are_gaps_and_are_counted(values, monkeypatch):
    monkeypatch.setattr(solvers, "_most", lambda k: 2)
    changes = {"vary": "opt1.lr", "across": values} if values else {}
    with pytest.warns(RuntimeWarning, match="stopped after 2 products"):
        result = compute(experiment(**changes))
    missing = sum(int(path.probes["sharpness"][::4].isnan().sum()) for path in result.paths)
    assert missing > 1
    said = result.summary()
    told = re.findall(r"Left out: (\d+) measurements whose eigenvalue was not found to its tolerance\.", said)
    told += re.findall(
        r"The sharpness is not known: its eigenvalue was found to its tolerance in none of (\d+) m", said
    )
    assert sum(map(int, told)) == missing
    assert "measured yet" not in said  # which would be at odds with what was tried
    if len(result.paths) > 2:
        assert "Nothing measured so far: η = 0.01, 0.012, 0.014, 0.016, 0.018." in said


def test_a_rule_with_a_scaling_misses_none_at_its_start():
    result = compute(experiment("adam"))
    assert result.trajectory.probes["preconditioned_sharpness"][0].isnan()
    assert "Left out" not in result.summary()


def test_flows_without_an_end_are_counted():
    land = MLP(data="two_moons", hidden=(4,), subset=6)
    result = compute(replace(experiment(probes=("gfs_sharpness",)), landscape=land))
    missing = int(result.trajectory.probes["gfs_sharpness"][::4].isnan().sum())
    assert missing == 4
    sentence = "Left out: 4 measurements of GFS sharpness from where gradient flow was not seen to end at a minimum."
    assert sentence in result.summary()
