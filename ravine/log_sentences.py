"""What the log of a watched run says, in sentences that claim no more than was measured.

Whether the step size is too large is judged in one place for all of this project (optimizers/judgement.py). Here are the
numbers around it, and the reasons why a log may not tell: steps that were made from other gradients than those whose
curvature was measured.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimizers import Course, Judgement, Outlook, Response, judge
from ravine.log import FIELDS, Log

Numbers = NDArray[np.float64]

_FEWEST = 3  # looks that it takes to say that a run is below the threshold
_ROOM = 0.5  # times the threshold: from there on there is little room for larger steps
_LATE = 0.5  # the share of the looks, the last ones, at which gradients are compared
_CLEAR = 0.5  # cosine from which on a gradient's part along another one is more than noise
_ALIKE = 0.9  # cosine of two gradients beyond which one stands for the other
_AS_LONG = (0.8, 1.25)  # times the watched data's gradient: what counts as the same length
_NOISY = (0.4, 2.5)  # the same for gradients with noise
_FAR = 4  # standard errors beyond which a mean is not 1 by chance
_REPEATED = 3  # gradients of the same length that make it one that they are clipped to
_SAME = 1e-4  # relative: torch's clipping gives the same norm to about 1e-6
_AWAY = 0.1  # relative: how far off the ends of a run its least or largest loss is worth a word
_LOST = 0.1  # of the parameters, left as they were by an update: worth a word


def findings(log: Log) -> list[str]:
    """The log in plain words, the most important first."""
    if not len(log.step):
        return ["Nothing has been measured yet."]
    return [*_stability(log), *_updates(log), *_losses(log), *_rounding(log), *_ending(log)]


# ---------------------------------------------------------------- sharpness against threshold


class _Ratios(NamedTuple):
    """Sharpness over threshold at the looks (n,) at which both are known."""

    step: NDArray[np.int64]
    felt: Numbers
    limit: Numbers

    @property
    def values(self) -> Numbers:
        return self.felt / self.limit


def _ratios(log: Log) -> _Ratios:
    known = np.isfinite(log.felt) & np.isfinite(log.fields["threshold"]) & (log.fields["threshold"] > 0)
    return _Ratios(log.step[known], log.felt[known], log.fields["threshold"][known])


def judged(log: Log) -> Judgement | None:
    """The judgement of the step size; None where no look has a threshold."""
    ratios = _ratios(log)
    if not len(ratios.step):
        return None
    named = log.header.get("responds") or ("scaled" if log.scaled else "plain")
    responds = Response(named) if named in list(Response) else Response.PLAIN
    taken = ratios.values.tolist(), ratios.step.tolist(), responds
    upto, doubt = int(log.step[-1]), _doubt(log, float(ratios.values[-1]))
    found = judge(*taken, upto=upto, doubt=doubt)
    if found.outlook in (Outlook.SMOOTH, Outlook.DAMPED) and (doubt := _jumps(ratios.values, found) or _rose(log)):
        return judge(*taken, upto=upto, doubt=doubt)
    return found


def _stability(log: Log) -> list[str]:
    name = "preconditioned sharpness" if log.scaled else "sharpness"
    ratios, found = _ratios(log), judged(log)
    if found is None:
        return _without_threshold(log)
    text = log.header.get("threshold", "")
    felt, limit, values = ratios.felt[-1], ratios.limit[-1], ratios.values
    said = [
        f"At step {ratios.step[-1]:,} the {name} is {felt:.3g}, {values[-1]:.3g} times the threshold {text} = {limit:.3g}: "
        f"{found.expected}."
    ]
    seen = f"{_where(log, ratios.step)}: {found.seen}"
    if len(values) > 1:
        seen += f"; the ratio went from {values[0]:.3g} to {values[-1]:.3g}, between {values.min():.3g} and {values.max():.3g}"
    if found.course is Course.FEW and "budget" in log.header:
        seen += f". That is as often as {100 * log.header['budget']:.3g} % of the time allow; budget=None looks at every logged step"
    said.append(f"{seen}.")
    if found.course is Course.BELOW and found.outlook is Outlook.SMOOTH and values.max() < _ROOM:
        said.append(
            f"At all these points {_short(1 / values.max())} times the step size would still have been stable on the watched data's loss."
        )
    zero = log.fields["lr"][-1] == 0
    return [*said, *(["The step size is 0 at the last step: nothing moves any more."] if zero else [])]


def _where(log: Log, steps: NDArray[np.int64]) -> str:
    """How often was looked, where, and of how many steps; and if it was at few samples the first time."""
    where = f"at step {steps[0]:,}" if len(steps) == 1 else f"from step {steps[0]:,} to step {steps[-1]:,}"
    taken, samples = log.fields["curvature_samples"][log.step == steps[0]][0], log.header.get("samples", 0)
    few = (
        f" ({'' if len(steps) == 1 else 'the first time '}on {taken:.0f} of {samples:,} samples)"
        if taken < samples
        else ""
    )
    return f"Measured {_times(len(steps), 'time')}, {where} of {log.step[-1]:,}{few}"


def _without_threshold(log: Log) -> list[str]:
    said, limits = [], log.fields["threshold"]
    seen, known = np.isfinite(log.fields["sharpness"]), limits[np.isfinite(limits)]
    if len(known) and (known <= 0).all():
        said.append("The weight decay alone is unstable at this step size: step size times decay is beyond 2.")
    elif reason := log.header.get("reason"):
        said.append(reason)
    elif seen.any() and (log.fields["lr"][seen] == 0).all():
        said.append("At all looks the step size is 0: nothing moves.")
    elif seen.any():
        said.append("At no look are both a stability threshold and the sharpness that it bounds known.")
    if seen.any():
        values, steps = log.fields["sharpness"][seen], log.step[seen]
        went = f", between {values.min():.3g} and {values.max():.3g} before" if len(values) > 1 else ""
        said.append(f"{_where(log, steps)}: the sharpness is {values[-1]:.3g} at step {steps[-1]:,}{went}.")
    else:
        said.append(
            f"{_times(len(log.step), 'step')} logged, up to step {log.step[-1]:,}; the sharpness was not measured so far."
        )
    return said


# ---------------------------------------------------------------- why the ratio may not tell


def _doubt(log: Log, ratio: float) -> str:
    """Why the ratio does not tell what the steps do, as a clause; empty where nothing is known against it."""
    cosine = _cosine(log)
    if clipped := _clipped(log):
        return f"the gradients are clipped ({clipped}), so that steps are shorter than the threshold takes them to be"
    share, reduction = _factor(log), log.header.get("reduction")
    if share is not None and share != 1:
        return (
            f"the optimizer is given {_short(share)} times the gradient of the watched data, with which the ratio would be "
            f"{_short(share * ratio)}: look for a sum in place of a mean, gradients that add up, clipping, or other data"
        )
    if share is None and reduction == "sum":
        return (
            "the loss is a sum over samples, whose curvature grows with their number, and a step may be made from fewer than are "
            'watched: use reduction="mean"'
        )
    if share is None and reduction == "other":
        return "the loss of a batch is neither the mean nor the sum of its samples', so that another batch has another curvature"
    if ratio >= 1:  # then the loss of the watched data is unstable, whatever noise there is
        return ""
    looks = len(_ratios(log).step)
    if looks < _FEWEST:
        return f"it was looked at only {'once' if looks == 1 else 'twice'}"
    if cosine < _ALIKE:
        return (
            f"the steps are made from other gradients than the watched data's (mean cosine {_short(cosine)}), and the threshold does "
            "not tell how long steps may be with such noise, of small batches, dropout or other data"
        )
    if log.header.get("partial"):
        return "the optimizer also moves parameters that the model does not have, whose curvature is not in it"
    return ""


def _jumps(ratios: Numbers, found: Judgement) -> str:
    """That a low ratio is one among high ones, as a clause."""
    late = ratios[_late(np.isfinite(ratios))]
    if found.course is not Course.REACHED or found.outlook is not Outlook.SMOOTH or late.max() < 1:
        return ""
    return f"the ratio jumps, and was 1 or more at {int((late >= 1).sum())} of the last {len(late)} looks"


def _rose(log: Log) -> str:
    """That the loss went up over the late looks, as a clause: then nothing converges, whatever the latest ratio is."""
    loss = log.fields["loss"]
    late = _late(np.isfinite(loss))
    if len(late) < 2 or loss[late[-1]] <= loss[late[0]] + _AWAY * abs(loss[late[0]]):
        return ""
    return (
        f"the loss on the watched data rose from {loss[late[0]]:.3g} at step {log.step[late[0]]:,} to {loss[late[-1]]:.3g} at step "
        f"{log.step[late[-1]]:,} all the same"
    )


def _cosine(log: Log) -> float:
    """Between the gradients given to the optimizer and the watched data's, in the mean of the late looks; 1 if not known."""
    cosine = log.fields["gradient_cosine"]
    late = _late(np.isfinite(cosine))
    return float(cosine[late].mean()) if len(late) else 1.0


def _factor(log: Log) -> float | None:
    """How many times the watched data's gradient the optimizer is given: 1 where they are as long, None if not known.

    It is taken from the looks at which noise drowns it least: with noise, batches have the whole gradient in the mean only,
    and near a minimum of other data even less of the watched data's.
    """
    share, cosine = log.fields["gradient_share"], log.fields["gradient_cosine"]
    alike = np.isfinite(share) & (cosine >= _ALIKE)
    if alike.any():
        mean = float(share[alike].mean())
        return 1.0 if _AS_LONG[0] <= mean <= _AS_LONG[1] else mean
    clear = share[np.isfinite(share) & (cosine >= _CLEAR)]
    if len(clear) < 2:
        return None
    mean, error = float(clear.mean()), float(clear.std(ddof=1)) / len(clear) ** 0.5
    return mean if abs(mean - 1) > _FAR * error and not _NOISY[0] <= mean <= _NOISY[1] else None


def _late(known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The later ones of what is known, at least one."""
    seen = np.flatnonzero(known)
    return seen[int(len(seen) * (1 - _LATE)) :]


def _clipped(log: Log) -> str:
    """What gradients are clipped to, in words; empty where nothing points to clipping that matters."""
    share, cosine = log.fields["gradient_share"], log.fields["gradient_cosine"]
    late = _late(np.isfinite(share) & (cosine >= _ALIKE))
    if len(late) and share[late].mean() >= _AS_LONG[0]:  # they are as long as the watched data's
        return ""
    told = log.header.get("clip")
    if told is not None:
        norms = log.fields["given_norm"]
        norms = norms[np.isfinite(norms)]
        if not len(norms):
            return f"to a norm of {_short(told)}, as was told"
        at = float((norms >= told * (1 - 1e-3)).mean())
        return f"to a norm of {_short(told)}, at {at:.0%} of the logged steps" if at else ""
    for name, kind in (("given_norm", "norm"), ("given_largest", "largest entry")):
        values = log.fields[name]
        values = values[np.isfinite(values) & (values > 0)]
        if len(values) and (alike := int((values >= values.max() * (1 - _SAME)).sum())) >= _REPEATED:
            return f"their {kind} is {_short(values.max())} at {alike} of {len(values)} logged steps"
    return ""


# ---------------------------------------------------------------- what was measured of any rule


def _updates(log: Log) -> list[str]:
    """How long the updates are for the curvature along them: of every rule, so this is what there is without a verdict.

    In the mean over updates u of one length, the loss on the watched data stays as it is at -2 E[g·u] / E[u·Hu] times it.
    """
    slope, bend, size = (log.fields[name] for name in ("update_slope", "directional_sharpness", "update_norm"))
    seen = np.flatnonzero(np.isfinite(slope) & np.isfinite(bend) & np.isfinite(size))
    found = judged(log)
    if not len(seen) or (found is not None and found.outlook is not Outlook.UNKNOWN):
        return []
    late = _late(np.isfinite(slope) & np.isfinite(bend) & np.isfinite(size))
    with np.errstate(over="ignore"):
        down, up = -2 * (slope * size)[late], (bend * size**2)[late]
    of = "the last update" if len(late) == 1 else f"the last {len(late)} updates looked at"
    mean = "" if len(late) == 1 else ", in the mean"
    if down.sum() <= 0:
        said = f"On the watched data {of} went uphill from the beginning{mean}"
    elif up.sum() <= 0:
        said = f"On the watched data {of} went downhill, along directions that do not curve upward{mean}"
    else:
        limit, error = _mean_ratio(down, up)
        around = f"{_short(limit)} ± {_short(error)}" if error else _short(limit)
        said = f"Up to {around} times as long, {of} would have lowered the watched data's loss{mean} (−2 g·u / u·Hu)"
        said += ": they are too long for that" if limit + 2 * error < 1 else ""
        if not error < limit < np.inf:
            said = f"How long {of} could be before they raise the watched data's loss differs too much to say it in one number"
    raised = int((log.fields["loss"][seen] > log.fields["loss_before"][seen]).sum())
    return [f"{said}. That loss rose at {raised} of {_times(len(seen), 'update')} looked at."]


def _mean_ratio(down: Numbers, up: Numbers) -> tuple[float, float]:
    """sum(down) / sum(up), and its standard error from leaving out one after the other, 0 of one alone."""
    with np.errstate(
        all="ignore"
    ):  # in a run that diverges they are beyond the number range: the error is then infinite
        ratio = float(down.sum() / up.sum())
        if len(down) < 2:
            return ratio, 0.0
        others = (down.sum() - down) / (up.sum() - up)
        error = float(np.sqrt((len(down) - 1) * others.var()))
    return ratio, error if np.isfinite(error) else np.inf


def _losses(log: Log) -> list[str]:
    """How the loss moved, from the first look to the last."""
    for name in ("loss", "train_loss"):
        values = log.fields[name]
        seen = np.isfinite(values)
        if seen.sum() < 2:
            continue
        values, steps = values[seen], log.step[seen]
        first, last, least, most = values[0], values[-1], int(values.argmin()), int(values.argmax())
        moved = "rose" if last > first else "fell"
        said = f"The {FIELDS[name]} {moved} from {first:.3g} at step {steps[0]:,} to {last:.3g} at step {steps[-1]:,}"
        if f"{first:.3g}" == f"{last:.3g}":
            said = (
                f"The {FIELDS[name]} is as good as the same at step {steps[-1]:,} as at step {steps[0]:,}, {last:.3g}"
            )
        within = range(1, len(values) - 1)
        if least in within and last - values[least] > _AWAY * abs(first - values[least]):
            said += f"; it was least at step {steps[least]:,}, {values[least]:.3g}"
        if most in within and values[most] > (1 + _AWAY) * max(first, last):
            said += f"; it was largest at step {steps[most]:,}, {values[most]:.3g}"
        return [f"{said}."]
    return []


def _rounding(log: Log) -> list[str]:
    unmoved = log.fields["unmoved"]
    if not log.header.get("rule"):  # some rules leave parameters as they are on purpose
        return []
    unmoved = unmoved[np.isfinite(unmoved)]
    if not len(unmoved) or unmoved[-1] < _LOST or log.fields["lr"][-1] == 0:
        return []
    return [
        f"The last update left {unmoved[-1]:.0%} of the parameters that have a gradient as they were: it is lost where the numbers are "
        "rounded."
    ]


def _ending(log: Log) -> list[str]:
    for name in ("loss", "train_loss"):
        values = log.fields[name]
        seen = ~np.isnan(values)
        broken = np.isinf(values[seen])
        if broken.any():
            step = log.step[seen][int(broken.argmax())]
            if broken[int(broken.argmax()) :].all():
                return [f"The {FIELDS[name]} is not finite from step {step:,} on: the run diverged."]
            return [f"The {FIELDS[name]} is not finite at step {step:,}, and finite again later."]
    return []


def _short(value: float) -> str:
    """Two digits, without a power of ten where it can be read without."""
    return f"{float(f'{value:.2g}'):.6g}"


def _times(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
