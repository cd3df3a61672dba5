"""How close to instability a run is: what is measured against which threshold, and when it is first reached."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optimizers import PROBES, Judgement, Response, Trajectory, judge, response
from optimizers.flow import FlowError
from optimizers.judgement import over_threshold
from ravine.experiment import Experiment
from ravine.measures import BATCH, SCALED, SHARPNESS
from ravine.outcome import diverged, divergence
from ravine.overlay import Run

_ENDS = "gfs_sharpness"
GAUGED = (SHARPNESS, SCALED, BATCH)


@dataclass(frozen=True)
class Gauge:
    """One kind of sharpness at the steps at which it was measured, and the threshold there, where the rule has one."""

    name: str  # of the probe
    step: Tensor  # (m,)
    value: Tensor  # (m,), float64
    limit: Tensor | None  # (m,), float64
    text: str  # the threshold as people write it
    responds: Response  # how the rule responds to being above it
    error: Tensor | None = None  # (m,), the standard error of a mean over batches
    upper: Tensor | None = None  # (m,): where large batches come to hold it, if small ones do at the threshold
    upper_text: str = ""

    @property
    def crossing(self) -> int | None:
        """Where in `step` the threshold is first reached."""
        if self.limit is None or not bool((self.value >= self.limit).any()):
            return None
        return int((self.value >= self.limit).int().argmax())

    @property
    def level(self) -> str:
        """The threshold in numbers: one, or its ends where a schedule moves it."""
        assert self.limit is not None
        low, high = float(self.limit.min()), float(self.limit.max())
        return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"

    def judged(self, path: Trajectory, *, noisy: bool = False) -> Judgement:
        """What the measurements so far mean (see `judge`); `noisy` says that the run is one of batches, which this does not see."""
        if self.limit is None:
            return judge([], doubt="the rule has no fixed threshold for it")
        ratios = over_threshold(self.value, self.limit)
        below = bool(len(ratios)) and float(ratios[-1]) < 1
        doubt = "below it the noise of the batches may still make the run unstable" if noisy and below else ""
        if self.upper is not None and len(ratios) and not below and float(self.value[-1]) < float(self.upper[-1]):
            doubt = "between the two it is the size of the batches that decides where it comes to be held"
        return judge(
            ratios, self.step, self.responds, upto=int(path.step[-1]), diverged=int(path.diverged_at) > 0,
            doubt=doubt,
        )  # fmt: skip

    @property
    def called(self) -> str:
        return PROBES[self.name].label.lower()


def until_the_end(limits: list[float] | None) -> list[float] | None:
    """A threshold for the point where the run ends too, from which no step is taken: that of the last step."""
    return None if limits is None else [*limits, limits[-1]]


def gauges(experiment: Experiment, run: Run, path: Trajectory) -> dict[str, Gauge]:
    """Each kind of sharpness that was measured along a run, by the name of its probe."""
    rule = run.optimizer.rule
    steps = experiment.steps
    plain = until_the_end(run.optimizer.thresholds(steps)), rule.threshold_text
    small = until_the_end(run.optimizer.small_batch_thresholds(steps)), rule.small_batch_threshold_text
    limits = {
        SHARPNESS: plain,
        BATCH: small if run.batch_size else plain,
        SCALED: (until_the_end(run.optimizer.preconditioned_thresholds(steps)), rule.scaled_threshold_text),
    }
    for name in (SHARPNESS, SCALED):
        limits[name] = _of_the_whole(run, *limits[name])
    found = {}
    for name in GAUGED:
        if name not in path.probes:
            continue
        values = path.probes[name].cpu().double()
        values, errors = values.unbind(-1) if name == BATCH else (values, None)
        seen = ~torch.isnan(values)
        limit, text = limits[name]

        def there(levels: list[float] | None, seen: Tensor = seen) -> Tensor | None:
            return None if levels is None else torch.tensor(levels, dtype=torch.float64)[path.step[seen]]

        band = name == BATCH and bool(run.batch_size) and rule.has_momentum and limit is not None
        found[name] = Gauge(
            name, path.step[seen], values[seen], there(limit), text, Response.SCALED if name == SCALED else response(rule),
            None if errors is None or not run.batch_size else errors[seen],
            there(plain[0]) if band else None, plain[1] if band else "",
        )  # fmt: skip
    return found


def thresholds(run: Run, steps: int) -> list[float] | None:
    """The threshold of a run for the sharpness of the loss of all samples, at each step and where it ends."""
    return _of_the_whole(run, until_the_end(run.optimizer.thresholds(steps)), "")[0]


def _of_the_whole(run: Run, limit: list[float] | None, text: str) -> tuple[list[float] | None, str]:
    """A threshold as that of the curvature of the loss of all samples: of a sum, steps on minibatches feel their share alone."""
    samples = run.landscape.samples
    if limit is None or samples is None or not run.batch_size or run.landscape.reduction == "mean":
        return limit, text
    if run.landscape.reduction == "other":  # nobody knows what they feel of it
        return None, text
    return [samples / run.batch_size * one for one in limit], f"{text} · {samples}/{run.batch_size}"


def telling(found: dict[str, Gauge]) -> Gauge | None:
    """The gauge that says when a run is unstable: of its batches, or else of the full loss, as the rule feels it."""
    for name in (BATCH, SHARPNESS, SCALED):
        if name in found and found[name].limit is not None:
            return found[name]
    return None


def ending(experiment: Experiment, run: Run, path: Trajectory) -> tuple[int, float, float]:
    """What `divergence` asks of a run; the losses of one that has come to its end and sees all samples at every step."""
    whole = int(path.step[-1]) >= experiment.steps and not run.batch_size
    first, last = (float(path.loss[place]) if whole else math.nan for place in (0, -1))
    return int(path.diverged_at), first, last


def sentence(experiment: Experiment, run: Run, path: Trajectory) -> str:
    """One run in words."""
    gauge = telling(gauges(experiment, run, path))
    # Of what was never found the sentence itself says what is missing.
    unknown = "" if gauge is None or len(gauge.value) else gauge.name
    return f"{_told(experiment, run, path)}{_left_out(experiment, [path], besides=unknown)}"


def _told(experiment: Experiment, run: Run, path: Trajectory) -> str:
    lost = diverged(*ending(experiment, run, path))
    return lost if int(path.diverged_at) >= 0 else f"{lost} {_measured(experiment, run, path)}".lstrip()


def _measured(experiment: Experiment, run: Run, path: Trajectory) -> str:
    gauge = telling(gauges(experiment, run, path))
    if gauge is None or gauge.limit is None:
        return f"{run.optimizer.title} has no fixed threshold for the plain sharpness."
    if not len(gauge.value):
        failed = _missing(experiment, path, gauge.name)
        if not failed:
            return "Nothing has been measured yet."
        found = (
            f"found to its tolerance in none of {failed} measurements" if failed > 1 else "not found to its tolerance"
        )
        return f"The {gauge.called} is not known: its eigenvalue was {found}."
    judged = gauge.judged(path, noisy=bool(run.batch_size) and gauge.name != BATCH)
    meaning = f"{judged.seen}; {judged.expected}."
    if gauge.upper is not None:
        return f"{_in_the_band(gauge)} Held against the lower, {meaning}"
    if gauge.crossing is None:
        nearest = int((gauge.value / gauge.limit).argmax())
        near = f", nearest to it at step {int(gauge.step[nearest])}, at {float(gauge.value[nearest] / gauge.limit[nearest]):.2g} of it"
        moves = bool((gauge.limit != gauge.limit[0]).any())
        return (
            f"The {gauge.called} has reached {float(gauge.value.max()):.3g} so far, below {gauge.text} = {gauge.level}"
            f"{near if moves else ''}: {meaning}"
        )
    return f"The {gauge.called}, held against {gauge.text} = {gauge.level}: {meaning}"


def _in_the_band(gauge: Gauge) -> str:
    """The batch sharpness last measured, between where small and where large batches come to hold it with momentum."""
    assert gauge.limit is not None
    assert gauge.upper is not None
    assert gauge.error is not None
    low, high, value = float(gauge.limit[-1]), float(gauge.upper[-1]), float(gauge.value[-1])
    return (
        f"The {gauge.called} is {value:.3g} ± {float(gauge.error[-1]):.2g} at step {int(gauge.step[-1])}, {value / low:.2g} times "
        f"{gauge.text} = {low:.4g}, near which small batches are seen to hold it with momentum, and {value / high:.2g} times "
        f"{gauge.upper_text} = {high:.4g}, near which large ones do (Andreyev et al. 2026, arXiv:2604.14108)."
    )


def flow_sentence(path: Trajectory) -> str:
    """How truly gradient flow was followed."""
    if int(path.diverged_at) >= 0:
        return (
            f"Gradient flow could not be followed to step {int(path.diverged_at)}: it leaves every bound, or lies on creases "
            "of the loss that no step size resolves."
        )
    allowed = path.probes.get(FlowError.name, torch.empty(0))
    allowed = allowed[allowed.isfinite()]
    if not len(allowed):
        return "To what error gradient flow was followed is not on record."
    least, most = float(allowed.min()), float(allowed.max())
    said = f"Gradient flow was followed to an error of {least:.0e} of the parameters at each substep"
    if most > least:
        said += f"; on creases of the loss, which no step size resolves, to {most:.0e} only"
    return f"{said}."


def summary(experiment: Experiment, paths: Sequence[Trajectory]) -> str:
    """Many runs in a few words: which of them reach their threshold, and when; which diverged."""
    reached, others, without, unknown, died = (list[str]() for _ in range(5))
    for run, path in zip(experiment.runs, paths, strict=True):
        gauge = telling(gauges(experiment, run, path))
        if divergence(*ending(experiment, run, path)):
            at = int(path.diverged_at)
            died.append(f"{run.label} at step {at}" if at > 0 else run.label)
        elif gauge is None:
            without.append(run.label)
        elif not len(gauge.value):
            unknown.append(run.label)
        elif gauge.crossing is None:
            others.append(run.label)
        else:
            reached.append(f"{run.label} at step {int(gauge.step[gauge.crossing])}")
    beginning = _beginning([run.label for run in experiment.runs])
    told = f"{len(reached)} of {len(paths)} runs reach their threshold"
    parts = [("", reached), ("Not so far: ", others), ("Without a fixed threshold: ", without)]
    parts += [("Nothing measured so far: ", unknown), ("Diverged: ", died)]
    listed = [f"{said}{_listed(names, beginning)}." for said, names in parts if names]
    return f"{told}{': ' if reached else '. '}{' '.join(listed)}{_left_out(experiment, paths)}"


def _missing(experiment: Experiment, path: Trajectory, name: str) -> int:
    """How many measurements of a run that did not diverge are missing: no search or no flow came to its end."""
    if name not in (SHARPNESS, SCALED, _ENDS) or name not in path.probes or int(path.diverged_at) >= 0:
        return 0
    measured = (path.step % experiment.every == 0) | (path.step == experiment.steps)
    first = 1 if name == SCALED else 0  # scaled by the last step taken, so from step 1 on
    return int((path.probes[name].isnan().cpu() & measured & (path.step >= first)).sum())


def _left_out(experiment: Experiment, paths: Sequence[Trajectory], *, besides: str = "") -> str:
    """How many measurements are missing of all, besides those of one name."""
    names = [name for name in (SHARPNESS, SCALED) if name != besides]
    missing = sum(_missing(experiment, path, name) for path in paths for name in names)
    endless = sum(_missing(experiment, path, _ENDS) for path in paths)
    told = (
        (missing, "whose eigenvalue was not found to its tolerance"),
        (endless, "of GFS sharpness from where gradient flow was not seen to end at a minimum"),
    )
    return "".join(f" Left out: {many} measurement{'s' * (many > 1)} {why}." for many, why in told if many)


def _beginning(labels: Sequence[str]) -> str:
    """What all labels begin with, up to a sign of equality: it need not be said again for each."""
    common = os.path.commonprefix(labels)
    return common[: common.rfind("= ") + 2] if "= " in common else ""


def _listed(names: Sequence[str], beginning: str) -> str:
    return ", ".join([names[0], *(one.removeprefix(beginning) for one in names[1:])])
