"""What a study of a step size comes to, in plain sentences, and where each of its numbers comes from."""

from __future__ import annotations

import math
from typing import NamedTuple

from optimizers import Judgement, Outlook, Scan, Stepper, Study
from optimizers.judgement import HOVERS_BETWEEN
from optimizers.noise import MOST_TURNS
from ravine.outcome import diverged


class Origin(NamedTuple):
    """One number of a study and how it was got."""

    label: str
    value: str
    formula: str  # LaTeX
    how: str
    reference: str


def _short(value: float) -> str:
    return f"{value + 0.0:.3g}"  # no sign before zero


def verdict(study: Study, stepper: Stepper) -> list[str]:
    """The study in plain sentences, the most important first."""
    here = study.here
    if not here:
        if study.diverged_at >= 0:
            before = f" That is before step {study.at}, the one to look at." if study.diverged_at else ""
            return [f"{diverged(study.diverged_at)}{before}"]
        return ["The run has not come to this step yet."]
    assert study.scan is not None
    said = [*_batches(here), _outlook(study, stepper), _next(here, study.scan), *_width(study), *_noise(here)]
    if study.diverged_at >= 0:
        said.append(diverged(study.diverged_at))
    return said


def _outlook(study: Study, stepper: Stepper) -> str:
    here, judged = study.here, study.judgement
    eta = f"η = {_short(here['lr'])}"
    if here["lr"] == 0:
        return f"{eta}: a step size of 0 moves nothing.{_at_zero(here)}"
    if math.isnan(here["threshold"]):
        return (
            f"{eta}: no stability threshold is known for {stepper.title}, so only the loss along the update can tell."
        )
    if math.isnan(judged.ratio) or judged.ratio <= 0:
        return f"{eta}: {judged.expected}."
    if math.isinf(judged.ratio):
        return f"{eta}: {judged.expected}: the weight decay alone makes such steps diverge, whatever the curvature."
    if here["batch_size"] and judged.ratio < 1:
        return (
            f"On the loss of all samples {eta} would be {judged.ratio:.2g} times the stable step along the top eigenvector "
            f"({_short(here['stable_lr'])}): what instability there is comes from the batches."
        )
    scaled = " in the scaling of the rule" if here["scaled"] else ""
    stable = _short(here["stable_lr"])
    times = f"{eta} is {judged.ratio:.2g} times the stable step along the top eigenvector{scaled} ({stable})"
    return f"{times}: {judged.expected}{_detail(study, judged)}."


def _at_zero(here: dict[str, float]) -> str:
    if not math.isfinite(here["stable_lr"]):
        return ""
    return f" Along the top eigenvector steps are stable up to η = {_short(here['stable_lr'])}."


def _detail(study: Study, judged: Judgement) -> str:
    """What is said of an outlook besides the words of the judge."""
    here, back = study.here, f" where the sharpness is back at {_short(study.here['threshold'])}"
    if study.came_back and judged.outlook is Outlook.EDGE:
        final, last = float(study.along["loss"][-1]), int(study.step[-1])
        return (
            f". So it was in this run: from {_short(here['loss'])} here the loss came to {_short(study.worst)} at most, and "
            f"to {_short(final)} at step {last}"
        )
    match judged.outlook:
        case Outlook.SMOOTH:
            return f" along it; there is room for {_short(1 / judged.ratio)} times this step size"
        case Outlook.EDGE if here["scaled"]:
            return (
                ": growing gradients enlarge the rule's divisor, which lowers the preconditioned sharpness until it is back at "
                f"{_short(here['threshold'])}"
            )
        case Outlook.EDGE:
            swing = _swing(here)
            swings = f", with swings of about {_short(swing)} along it" if swing else ""
            return f": the curvature changes along that direction, so the run self-stabilizes{back}{swings}"
        case Outlook.RISKY:
            return "; with momentum it is seen to come back from close above the threshold only"
        case Outlook.DIVERGES if study.diverged_at >= 0:
            return f", as this run does at step {study.diverged_at}"
        case Outlook.DIVERGES if study.bends:
            return (
                "; beyond twice the stable step a catapult to a flatter place is not to be counted on, though losses whose "
                "gradients stay bounded may still come back"
            )
        case Outlook.DIVERGES:
            return ": the curvature does not change along it, as on a quadratic"
    return ""


def _swing(here: dict[str, float]) -> float | None:
    """sqrt(2 alpha / beta) with alpha = -grad S . grad L and beta = |grad S|^2, where the sharpness S grows along the run."""
    pull, bend = here["drift"] / here["lr"] if here["lr"] else 0.0, here["sharpness_slope"]
    return math.sqrt(2 * pull) / bend if pull > 0 and bend > 0 else None


def _next(here: dict[str, float], scan: Scan) -> str:
    if here["update_norm"] == 0:
        if here["lr"] == 0:
            return "The step size is 0: the next update is zero, and the loss stays as it is."
        why = (
            "The gradient is zero here, and so is the next update"
            if here["grad_norm"] == 0
            else "The next update is zero"
        )
        return f"{why}: a run that stands exactly here stays, and what the curvature says holds close by."
    if math.isnan(here["slope"]) or math.isnan(here["best_lr"]):
        return "The next update leads to where the loss is not a number."
    if here["slope"] > 0:
        return "The next update points uphill: momentum carries the run on, and no step size along it lowers the loss at first."
    if here["slope"] == 0:
        return "The loss neither rises nor falls along the next update, to first order."
    if here["lr"] >= here["rise_lr"]:
        return f"The next update raises the loss: along it, any step beyond η = {_short(here['rise_lr'])} does."
    if here["best_lr"] >= float(scan.eta[-1]):
        return f"The next update lowers the loss, and along it the loss falls as far as it was followed, to η = {_short(here['best_lr'])}."
    room = "" if math.isinf(here["rise_lr"]) else f", and up to {_short(here['rise_lr'])} it would not rise"
    return f"The next update lowers the loss; along it, η = {_short(here['best_lr'])} would lower it most{room}."


def _width(study: Study) -> list[str]:
    """How the stable step size moves along the run."""
    stable = study.along["stable_lr"]
    known = stable.isfinite()
    if int(known.sum()) < 3:
        return []
    first, last = float(stable[known][0]), float(stable[known][-1])
    lowest = int(study.step[known][stable[known].argmin()])
    moved = "grows" if last > 1.2 * first else "falls" if last < first / 1.2 else "stays about the same"
    free = " (where nothing curves upward there is no limit)" if bool(stable.isinf().any()) else ""
    return [
        f"Along the run the stable step size {moved}, from {_short(first)} to {_short(last)}{free}; it is least at step {lowest}"
        + (": a warm-up pays, since the start is the narrowest place." if lowest == 0 and last > 1.5 * first else ".")
    ]


def _batches(here: dict[str, float]) -> list[str]:
    """Batch sharpness against 2/eta, and how large a step the noise leaves room for."""
    size = int(here["batch_size"])
    if not size:
        return []
    if math.isnan(here["batch_sharpness"]):
        return [f"Of batches of {size:,} none has a gradient here: they have no batch sharpness."]
    felt = f"{_short(here['batch_sharpness'])} ± {_short(here['batch_error'])}"
    measured = f"On batches of {size:,} the curvature along a batch's own gradient, the batch sharpness, is {felt}"
    if here["lr"] == 0:
        return [f"{measured}."]
    low, high = here["small_batches"], here["threshold"]
    if math.isnan(low):
        return [f"{measured}. Where training comes to hover is not known for this rule."]
    doubt = 2 * here["batch_error"]
    said = f"{measured}, {here['batch_sharpness'] / low:.2g} times "
    if here["momentum"]:
        said += (
            f"2(1−μ)/η = {_short(low)}, near which small batches are seen to hold it with momentum, while large ones hold it near "
            f"2(1+μ)/η = {_short(high)} (Andreyev et al. 2026, arXiv:2604.14108)"
        )
    else:
        said += f"2/η = {_short(low)}; {_share(here['batches_above'])}"
    if here["batch_sharpness"] <= 0:
        said += ": the loss of the batches does not curve upward along their gradients, and sets no limit to the step."
    elif here["batch_sharpness"] + doubt < HOVERS_BETWEEN[0] * low:
        room = "batches leave room for a larger step" if here["batches_above"] == 0 else "on average batches are stable"
        said += f": {room}."
    elif here["batch_sharpness"] - doubt <= HOVERS_BETWEEN[1] * high:
        said += ": about where trainings come to hold it, or somewhat below (the edge of stochastic stability)."
    else:
        said += (
            ": expect the loss of the batches to swing until the run has come to where they are flatter, or to diverge if it "
            "finds no such place."
        )
    return [said, *([] if here["momentum"] or here["scaled"] else _room(here))]


def _share(above: float) -> str:
    """Of the batches, those whose own step overshoots."""
    if above == 0:
        return "a step lowers the loss of the batch that it was made from"
    return f"for {above:.0%} of the batches a step raises the very loss that it was made from"


def _room(here: dict[str, float]) -> list[str]:
    room, eta = here["noisy_lr"], here["lr"]
    if not math.isfinite(room):
        return []
    fits = "this one does" if eta < room else "this one raises it; smaller steps or larger batches go on lowering it"
    return [
        f"By the curvature along the gradient a plain step on a batch lowers the loss of all samples on average up to η = {_short(room)}: {fits}."
    ]


def _noise(here: dict[str, float]) -> list[str]:
    if not math.isfinite(here["noise_scale"]):
        return []
    return [
        f"Gradient noise matters for batches up to about {_short(here['noise_scale'])} ± {_short(here['noise_error'])} samples: "
        "larger ones hardly allow larger steps."
        + (
            f" Of batches of {int(here['batch_size']):,} the gradient's variance is "
            f"{_short(here['noise_scale'] / here['batch_size'])} times its square."
            if here["batch_size"]
            else ""
        )
    ]


def _least(here: dict[str, float]) -> str:
    if here["least_known"]:
        return f"The loss is nowhere below {_short(here['least'])}."
    return "The least loss is not known: it is taken as 0, that of a model which fits every sample."


def origins(study: Study, stepper: Stepper) -> list[Origin]:
    """Every number of the point looked at that has a value."""
    here = study.here
    if not here:
        return []
    scaled = bool(here["scaled"])
    matrix = r"P^{-1/2} \nabla^2 L\, P^{-1/2}" if scaled else r"\nabla^2 L"
    rows = [
        ("sharpness" if not scaled else "preconditioned sharpness", "sharpness", rf"\lambda = \lambda_{{\max}}({matrix})",
         "Lanczos to a residual of 0.3 %.", "Cohen et al. 2021, arXiv:2103.00065; 2022, arXiv:2207.14484"),
        ("threshold", "threshold", r"\lambda \le c / \eta",
         f"The largest curvature of a quadratic on which {stepper.rule.label} converges.", stepper.rule.reference),
        ("stable step size", "stable_lr", r"\eta_{stable} = c / \lambda", "The step size whose threshold is the sharpness.",
         "Goh 2017, Why Momentum Really Works, Distill"),
        ("limit along the update", "line_lr", r"\eta \cdot \frac{-2\, g^\top u}{u^\top \nabla^2 L\, u}",
         "Where the quadratic model along the update u is back at the loss it started from.",
         "Nocedal and Wright 2006, Numerical Optimization, ch. 3"),
        ("best along the update", "best_lr", r"\arg\min_\eta L(w + \tfrac{\eta}{\eta_0} u)", "From the line scan.", ""),
        ("loss rises beyond", "rise_lr", r"L(w + \tfrac{\eta}{\eta_0} u) > L(w)", "The first such point of the line scan.", ""),
        ("Polyak's step", "polyak", r"\frac{L - L^\star}{\|g\|^2}",
         _least(here), "Polyak 1969, USSR Comp. Math. 9(3)"),
        ("DoG's step", "dog", r"\frac{\max_i \|w_i - w_0\|}{\sqrt{\sum_i \|g_i\|^2}}",
         "Over the steps of the run so far; at the start 1e-6 (1 + |w₀|) stands for the distance.",
         "Ivgi et al. 2023, arXiv:2302.12022"),
        ("local smoothness", "smoothness", r"\frac{\|w_t - w_{t-1}\|}{2 \|g_t - g_{t-1}\|}",
         "The bound that OASIS puts on its step, here without its diagonal; from the last two steps.",
         "Jahani et al. 2022, arXiv:2109.05198; Malitsky and Mishchenko 2020, arXiv:1910.09529"),
        ("Armijo's step", "armijo", r"L(w - \eta g) \le L - 10^{-4} \eta \|g\|^2",
         "Halving from 16 times the larger of η and 2/λ, along the gradient.",
         "Armijo 1966, Pacific J. Math. 16; Nocedal and Wright 2006, ch. 3"),
        ("gradient noise scale", "noise_scale", r"B = \frac{\operatorname{tr} \Sigma}{\|\nabla L\|^2}",
         "From 32 batches drawn with replacement.", "McCandlish et al. 2018, arXiv:1812.06162"),
        ("noise scale with curvature", "curved_noise",
         r"\frac{\operatorname{tr}(\nabla^2 L\, \Sigma)}{\nabla L^\top \nabla^2 L\, \nabla L}",
         "From the same batches; exact on a quadratic.", "McCandlish et al. 2018, arXiv:1812.06162, eq. 2.8"),
        ("batch sharpness", "batch_sharpness", r"\mathbb{E}_B\left[\frac{g_B^\top H_B\, g_B}{\|g_B\|^2}\right]",
         f"Over {here['batches']:.0f} batches of the run's size, as many as its standard error of 5 % needs and at most {MOST_TURNS}, drawn as the run draws them" + (", in the rule's scaling." if scaled else "."),
         "Andreyev and Beneventano 2024, arXiv:2412.20553"),
        ("batches that overshoot", "batches_above", r"P_B\left[g_B^\top H_B\, g_B > c/\eta\, \|g_B\|^2\right]",
         "Of the same batches: on a quadratic, those whose own loss the step raises.", ""),
        ("stable step of the batches", "batch_lr", r"c / \mathbb{E}_B[\ldots]",
         "The step size whose threshold is the batch sharpness.", "Andreyev and Beneventano 2024, arXiv:2412.20553"),
        ("limit under noise", "noisy_lr",
         r"\frac{2\|\nabla L\|^2}{\nabla L^\top \nabla^2 L\, \nabla L\,(1 + B_H / b)}",
         "Up to here a plain step on a batch of b lowers the loss on average; B with curvature, and less noise where an epoch "
         "repeats no sample.", "McCandlish et al. 2018, arXiv:1812.06162, eq. 2.7"),
        ("slope of the sharpness", "sharpness_slope", r"\|\nabla^3 L[v, v, \cdot]\|",
         "By central differences of Hessian-vector products, v the top eigenvector.",
         "Damian et al. 2023, arXiv:2209.15594"),
    ]  # fmt: skip
    return [
        Origin(label, "∞" if math.isinf(here[name]) else _short(here[name]), formula, how, reference)
        for label, name, formula, how, reference in rows
        if not math.isnan(here[name])
    ]
