"""Whoever says whether a step size is too large says what the judge says: pages, logs, the study and the functions."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from landscapes import MLP
from optimizers import OPTIMIZERS, Outlook, Response, judge, response, study
from optimizers.stepsize import ALONG
from ravine import Experiment, compute
from ravine.log import FIELDS, Log
from ravine.log_sentences import judged as judged_of_log
from ravine.verdict import verdict
from tests.sampling import sampled

NET = MLP(data="chebyshev", objective="squared", hidden=(4,))
LOOKS, EVERY = 12, 4
RULES = {name: OPTIMIZERS[name](lr=0.01) for name in ("gd", "heavy_ball", "nag", "sgdw", "adam", "adamw", "rmsprop")}
HISTORIES = {
    "flat": [1.0] * LOOKS,
    "climbing": [0.3 + 0.7 * place / (LOOKS - 1) for place in range(LOOKS)],
    "falling": [4.0 - 3.0 * place / (LOOKS - 1) for place in range(LOOKS)],
    "swinging": [1.1 if place % 2 else 0.95 for place in range(LOOKS)],
    "one look": [math.nan] * (LOOKS - 1) + [1.0],
    "two looks": [1.0] + [math.nan] * (LOOKS - 2) + [1.0],
}
RATIOS = [0.05, 0.49, 0.51, 0.99, 1.0, 1.02, 1.09, 1.12, 1.6, 1.99, 2.01, 5.0, 203.0]
CASES = list(itertools.product(RULES, HISTORIES, RATIOS))


def result_of(rule):
    experiment = Experiment(
        landscape=NET, optimizers=(rule,), view="edge", steps=EVERY * (LOOKS - 1), every=EVERY, dtype="float64"
    )
    return compute(experiment)


RESULTS = {}


def spoken_on_the_edge_page(rule, ratios, limit):
    """The sentence about a run with sharpnesses put in place of those measured."""
    if rule not in RESULTS:
        RESULTS[rule] = result_of(RULES[rule])
    result = RESULTS[rule]
    name = "preconditioned_sharpness" if RULES[rule].preconditions else "sharpness"
    values = torch.full_like(result.trajectory.probes[name], math.nan)
    values[::EVERY] = torch.tensor(ratios, dtype=torch.float64) * limit
    path = dataclasses.replace(result.trajectory, probes={**result.trajectory.probes, name: values})
    (sentence,) = dataclasses.replace(result, trajectory=path).sentences()
    return sentence


def log_of(rule, ratios, limit):
    fields = {name: np.full(LOOKS, math.nan) for name in FIELDS}
    name = "preconditioned_sharpness" if RULES[rule].preconditions else "sharpness"
    fields |= {name: np.array(ratios) * limit, "threshold": np.full(LOOKS, limit), "lr": np.full(LOOKS, 0.01)}
    header = {"scaled": RULES[rule].preconditions, "responds": str(response(RULES[rule])), "notes": []}
    return Log(header, EVERY * np.arange(LOOKS), fields)


def study_of(rule, ratios, limit):
    """A study of the last step of such a run, of a loss whose sharpness changes."""
    look = study(NET, RULES[rule], steps=1, at=1)
    count = len(ratios)
    along = {name: torch.full((count,), math.nan, dtype=torch.float64) for name in ALONG}
    along |= {"sharpness": torch.tensor(ratios, dtype=torch.float64) * limit, "loss": torch.ones(count)}
    along["threshold"] = torch.full((count,), limit, dtype=torch.float64)
    here = look.here | {"sharpness": ratios[-1] * limit, "threshold": limit, "sharpness_slope": 1.0}
    here["stable_lr"] = 0.01 / ratios[-1]
    step = EVERY * torch.arange(count)
    return dataclasses.replace(look, step=step, along=along, at=int(step[-1]), here=here)


@pytest.mark.parametrize(("rule", "history", "ratio"), sampled(CASES, 50))
def test_all_that_judge_a_step_size_say_the_same(rule, history, ratio):
    kind = RULES[rule]
    limit = float(kind.preconditioned_threshold() if kind.preconditions else kind.stability_threshold())
    ratios = [ratio * one for one in HISTORIES[history]]
    if kind.preconditions:
        ratios[0] = math.nan  # there is no preconditioner before the first step
    truth = judge(ratios, EVERY * torch.arange(LOOKS), response(kind))
    edge, log, look = (make(rule, ratios, limit) for make in (spoken_on_the_edge_page, log_of, study_of))
    assert f"{truth.seen}; {truth.expected}." in edge
    logged, said = judged_of_log(log), " ".join(log.findings())
    assert (logged.course, logged.looks, logged.reached) == (truth.course, truth.looks, truth.reached)
    assert logged.late == pytest.approx(truth.late)
    if not logged.reason or truth.reason:  # the log may have reasons of its own to be silent
        assert logged.outlook == truth.outlook
        assert truth.expected in said
        assert truth.seen in said
    assert look.outlook == truth.outlook
    assert truth.expected in verdict(look, kind)[0]
    # No one claims that what reached the threshold stayed below it, nor the other way round.
    reached = max(one for one in ratios if not math.isnan(one)) >= 1
    for text in (edge, said):
        assert not (reached and "stayed below" in text)
        assert reached or "reached the threshold" not in text


def test_every_outlook_and_every_response_is_among_the_cases():
    found = set()
    for rule, history, ratio in CASES:
        kind = RULES[rule]
        found.add(
            judge([ratio * one for one in HISTORIES[history]], EVERY * torch.arange(LOOKS), response(kind)).outlook
        )
    assert found == set(Outlook)
    assert {response(rule) for rule in RULES.values()} == set(Response)
