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


def test_small_batches_with_momentum_are_held_against_the_lower_end_of_a_band():
    """2(1 - mu)/lr = 5 to 2(1 + mu)/lr = 95 (Andreyev et al. 2026, arXiv:2604.14108); without momentum both are 2/lr."""
    land = MLP(data="chebyshev", hidden=(10,), objective="squared")
    given = {"view": "edge", "landscape": land, "steps": 40, "every": 8, "dtype": "float64", "batch_size": 4}
    result = compute(Experiment(optimizers=(OPTIMIZERS["heavy_ball"](lr=0.04, momentum=0.9),), **given))
    (said,) = result.sentences()
    value, error = result.trajectory.probes["batch_sharpness"][-1].tolist()
    assert 0 < error < value
    assert said.startswith(
        f"The batch sharpness is {value:.3g} ± {error:.2g} at step 40, {value / 5:.2g} times 2(1−μ)/"
    )
    assert "= 5, near which small batches are seen to hold it" in said
    assert "= 95, near which large ones do (Andreyev et al. 2026, arXiv:2604.14108)" in said
    assert ("the size of the batches that decides" in said) == (5 <= value < 95)
    levels = {float(one.y[0]) for one in result.figure().data if one.line.dash in ("dash", "dot")}
    assert sorted(levels) == pytest.approx([5, 95])
    plain = compute(Experiment(optimizers=(OPTIMIZERS["gd"](lr=0.04),), **given))
    assert "2/η = 50" in plain.sentences()[0]
    assert "Andreyev" not in plain.sentences()[0]
    nesterov = compute(Experiment(optimizers=(OPTIMIZERS["nag"](lr=0.04),), **given))
    assert nesterov.sentences()[0].startswith("The sharpness has reached")  # no plateau of its batches is known
    assert "the noise of the batches may still make the run unstable" in nesterov.sentences()[0]
