"""What a page may ask before it shows what happened: one question for each view, and the answer in its numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ravine.experiment import Experiment, training
from ravine.outcome import MEANING, OUTCOMES, lost, outcome
from ravine.result import Result


@dataclass(frozen=True)
class Question:
    text: str
    answers: Mapping[str, str]  # word -> the answer as a sentence without its end
    meaning: str  # how the words are told apart


_OUTCOMES = {word: f"It {word}" for word in OUTCOMES}
_SHARES = {
    "few": "Fewer than a third diverge",
    "half": "Between a third and two thirds diverge",
    "most": "More than two thirds diverge",
}
_UPDATES = {"lowers": "It lowers the loss", "raises": "It raises the loss"}


def question(experiment: Experiment) -> Question:
    """What there is to predict."""
    rule = experiment.optimizers[0].title
    match experiment.view:
        case "sweep":
            return Question(
                "How many of these runs will diverge?",
                _SHARES,
                "A run *diverges* if it leaves finite numbers or ends at a higher loss than it began with.",
            )
        case "stepsize":
            return Question(
                f"What will the update of {rule} after step {experiment.looked_at} do to the loss?", _UPDATES,
                "The loss of all samples, after the update that the rule is about to make, against the loss before it.",
            )  # fmt: skip
        case "edge" if experiment.runs[0].label:
            rule = f"the run with {experiment.runs[0].label}"
    return Question(f"What will {rule} do?", _OUTCOMES, MEANING)


def answer(result: Result) -> str:
    """The word that a complete result says, or nothing where its numbers answer no such question."""
    if result.table is not None:
        share = float(lost(result.table, result.first_loss).double().mean())
        return "few" if share < 1 / 3 else "half" if share <= 2 / 3 else "most"
    if result.study is not None:
        here = result.study.here
        if not here or math.isnan(here["rise_lr"]):
            return ""
        return "raises" if here["slope"] > 0 or here["lr"] >= here["rise_lr"] else "lowers"
    path = result.trajectory
    if result.experiment.view == "descend":
        return outcome(path.params[:, 0], path.loss[:, 0], int(path.diverged_at[0]))
    return outcome(path.params, path.loss, int(path.diverged_at))


def unanswered(result: Result) -> Result:
    """What may be seen before the answer: where each run begins, the axes of a sweep, the step size of a study."""
    if result.table is not None:
        table = result.table
        nothing, nowhere = torch.zeros_like(table.known), torch.full_like(table.diverged_at, -1)
        blank = dataclasses.replace(table, known=nothing, diverged_at=nowhere)
        return dataclasses.replace(result, table=blank)
    if result.study is not None:
        study = result.study
        along = {name: one if name == "lr" else torch.full_like(one, torch.nan) for name, one in study.along.items()}
        return dataclasses.replace(result, study=dataclasses.replace(study, along=along, here={}, scan=None))
    experiment = training(result.experiment) if result.experiment.view == "slice" else result.experiment
    return Result(
        dataclasses.replace(experiment, at=-1),
        result.trajectory.begun,
        others=tuple(one.begun for one in result.others),
        done=result.done,
        total=result.total,
        phase=result.phase,
    )
