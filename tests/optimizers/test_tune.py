"""Tuning every rule at once: against single runs, and against step sizes known in closed form."""

import math

import pytest
import torch

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS, SCHEDULES, Scheduled, run, tune

BOWL = LANDSCAPES["quadratic"](kappa=10.0, angle=0.4)


def test_every_cell_is_the_run_it_stands_for():
    rules = [OPTIMIZERS["gd"](), OPTIMIZERS["adam"](beta1=0.5)]
    lrs = torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64)
    tuned = tune(BOWL, rules, lrs, steps=20)
    for row, rule in enumerate(rules):
        for column, lr in enumerate(lrs.tolist()):
            alone = run(BOWL, rule.at(lr), steps=20).loss[-1]
            torch.testing.assert_close(tuned.final_loss[row, column], alone, equal_nan=True)


def test_gradient_descent_is_tuned_to_the_textbook_step():
    """After many steps the best fixed step size for curvatures 1 and 10 is 2 / (1 + 10) (Polyak 1964)."""
    lrs = torch.linspace(0.01, 0.3, 291, dtype=torch.float64)
    tuned = tune(BOWL, [OPTIMIZERS["gd"]()], lrs, steps=200)
    assert tuned.best[0] == pytest.approx(2 / 11, abs=2e-3)
    assert tuned.low[0] < tuned.best[0] < tuned.high[0] < 2 / 10 + 1e-3  # beyond 2 / 10 it diverges
    assert tuned.decades[0] == pytest.approx(math.log10(tuned.high[0] / tuned.low[0]))


def test_the_good_range_holds_just_the_good_step_sizes_around_the_best():
    lrs = torch.logspace(-4, 0.5, 40, dtype=torch.float64)
    tuned = tune(BOWL, [OPTIMIZERS["gd"](), OPTIMIZERS["signsgd"]()], lrs, steps=30)
    began = BOWL.loss(BOWL.start()[0])
    for row in range(2):
        losses = tuned.final_loss[row].nan_to_num(nan=math.inf)
        good = losses <= began - 0.9 * (began - losses.min())
        inside = (lrs >= tuned.low[row]) & (lrs <= tuned.high[row])
        assert good[inside].all()
        assert tuned.best[row] == lrs[losses.argmin()]
        beyond = [i for i in (inside.nonzero()[0].item() - 1, inside.nonzero()[-1].item() + 1) if 0 <= i < len(lrs)]
        assert beyond
        assert not good[beyond].any()


def test_a_rule_that_always_diverges_has_no_best():
    saddle = LANDSCAPES["monkey_saddle"]()
    start = torch.tensor([-50.0, 1.0], dtype=torch.float64)
    tuned = tune(saddle, [OPTIMIZERS["gd"]()], torch.tensor([5.0, 10.0]), steps=60, start=start)
    assert tuned.final_loss.isnan().all()
    assert tuned.best.isnan().all()
    assert tuned.low.isnan().all()
    assert tuned.high.isnan().all()


def test_schedules_are_tuned_along_and_rehearsals_refused():
    lrs = torch.tensor([0.01, 0.1], dtype=torch.float64)
    decayed = Scheduled(inner=OPTIMIZERS["gd"](), schedule=SCHEDULES["linear"]())
    tuned = tune(BOWL, [decayed], lrs, steps=15)
    torch.testing.assert_close(tuned.final_loss[0, 1], run(BOWL, decayed.at(0.1), steps=15).loss[-1])
    with pytest.raises(ValueError, match="rehearsal"):
        tune(BOWL, [Scheduled(inner=OPTIMIZERS["gd"](), schedule=SCHEDULES["refined"]())], lrs)


@pytest.mark.parametrize("lrs", [[0.1, 0.1], [0.2, 0.1], [0.0, 1.0], [[0.1]], []])
def test_step_sizes_must_be_positive_and_rising(lrs):
    with pytest.raises(ValueError, match="positive step sizes in rising order"):
        tune(BOWL, [OPTIMIZERS["gd"]()], torch.tensor(lrs))
