"""Costly measurements are made beside the steps that follow: the run goes on, and no number is another."""

import threading
import time
from dataclasses import dataclass, field

import pytest
import torch

import optimizers.measuring
from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS, WRAPPERS, iterate, run, running
from optimizers.probes import Probe

QUADRATIC = LANDSCAPES["quadratic"](kappa=8.0)
GD = OPTIMIZERS["gd"]
PATIENCE = 30  # seconds after which a thread that ought to have been let go counts as stuck


@dataclass(frozen=True)
class Own(Probe):
    """A probe that does as a test bids."""

    name, label, symbol, reference, help = "own", "Own", "o", "none", "Does as a test bids."
    act: object = field(default=None)

    def measure(self, moment, memory):
        return self.act(moment), (memory or 0) + 1


@pytest.fixture
def always_long(monkeypatch):
    monkeypatch.setattr(optimizers.measuring, "_LONG", 0.0)


@pytest.fixture
def never_long(monkeypatch):
    monkeypatch.setattr(optimizers.measuring, "_LONG", float("inf"))


def test_the_run_goes_on_while_a_measurement_takes_its_time():
    ahead = threading.Event()

    @dataclass(frozen=True)
    class Told(type(QUADRATIC)):
        """Lets the first measurement end only once the run has moved on."""

        def _value_and_grad(self, params, batch):
            if not torch.equal(params[0], self.start()[0]):
                ahead.set()
            return super()._value_and_grad(params, batch)

    def waits(moment):
        assert ahead.wait(PATIENCE)
        return moment.loss

    found = run(Told(kappa=8.0), GD(lr=0.01), steps=3, probes=[Own(act=waits)])
    assert torch.equal(found.probes["own"], found.loss)


def test_short_measurements_are_soon_made_in_the_thread_of_the_run(never_long):
    where = []

    def notes(moment):
        where.append(threading.current_thread())
        return moment.loss

    run(QUADRATIC, GD(lr=0.01), steps=5, probes=[Own(act=notes)])
    assert set(where[1:]) == {threading.current_thread()}


def test_the_update_that_a_late_measurement_sees_is_that_of_its_own_step(always_long):
    rule = WRAPPERS["gradient_noise"](GD(lr=0.01))

    def update(moment):
        time.sleep(0.01)  # the run is steps ahead by now, and so are its random numbers
        return moment.update().norm(dim=-1)

    found = run(QUADRATIC, rule, steps=10, probes=[Own(act=update)], seed=3)
    torch.testing.assert_close(found.probes["own"][:-1], found.params.diff(dim=0).norm(dim=-1), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "names", [("sharpness",), ("top_eigenvalues", "update_ratio"), ("training_jacobian", "sharpness")]
)
def test_no_bit_depends_on_where_it_is_measured(names, monkeypatch):
    land = MLP(data="chebyshev", hidden=(5,), objective="squared")
    runs = []
    for long in (0.0, float("inf")):
        monkeypatch.setattr(optimizers.measuring, "_LONG", long)
        runs.append(run(land, OPTIMIZERS["heavy_ball"](lr=0.05), steps=12, probes=names, probe_every=3, batch_size=7))
    for name in names:
        assert torch.equal(runs[0].probes[name].nan_to_num(7), runs[1].probes[name].nan_to_num(7))
        assert runs[0].probes[name].isfinite().any()


def test_a_report_holds_every_measurement_up_to_its_step(always_long):
    def late(moment):
        time.sleep(0.01)
        return moment.loss

    for path in running(QUADRATIC, GD(lr=0.01), steps=6, probes=[Own(act=late)], report_every=2):
        assert torch.equal(path.probes["own"], path.loss)


def test_the_error_of_a_measurement_reaches_the_caller(always_long):
    def fails(moment):
        raise ValueError("It cannot be measured here.")

    with pytest.raises(ValueError, match="It cannot be measured here"):
        run(QUADRATIC, GD(lr=0.01), steps=5, probes=[Own(act=fails)])


def test_a_run_that_is_given_up_leaves_no_thread(always_long):
    before = threading.active_count()
    stream = running(QUADRATIC, GD(lr=0.01), steps=100, probes=["sharpness"], report_every=10)
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before


def test_where_a_run_left_finite_numbers_there_is_nothing_to_measure(always_long):
    found = run(QUADRATIC, GD(lr=1e4), steps=60, probes=[Own(act=lambda moment: torch.ones_like(moment.loss))])
    assert torch.equal(found.probes["own"].isnan(), found.loss.isnan())
    assert found.loss.isnan().any()
    steps = iterate(QUADRATIC, [GD(lr=1e4)], QUADRATIC.start()[0])
    alive = [bool(next(steps).alive) for _ in range(61)]
    assert found.probes["own"].isfinite().tolist() == alive


def test_a_run_among_others_measures_in_its_own_thread(always_long):
    where = []

    def notes(moment):
        where.append(threading.current_thread())
        return moment.loss

    list(running(QUADRATIC, GD(lr=0.01), steps=5, probes=[Own(act=notes)], beside=False))
    assert set(where) == {threading.current_thread()}
