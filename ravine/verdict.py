"""What a study of a step size comes to, in plain sentences, and where each of its numbers comes from."""

from __future__ import annotations

import math
from typing import NamedTuple

from optimizers import Stepper, Study

_PLAIN = 1e-6  # how close threshold times step size must be to 2 for a step to count as one of plain gradient descent
_EDGE = 0.1  # relative to 2/eta: what counts as at the edge


class Origin(NamedTuple):
    """One number of a study and how it was got."""

    label: str
    value: str
    formula: str  # LaTeX
    how: str
    reference: str


def _short(value: float) -> str:
    return f"{value:.3g}"


def verdict(study: Study, stepper: Stepper) -> list[str]:
    """The study in plain sentences, the most important first."""
    here = study.here
    if not here:
        if study.diverged_at >= 0:
            return [f"The run diverged at step {study.diverged_at}, before it came to step {study.at}."]
        return ["The run has not come to this step yet."]
    said = [*_batches(here), _outlook(study, stepper), _next(here), *_width(study), *_noise(here)]
    if study.diverged_at >= 0:
        said.append(f"The run did diverge, at step {study.diverged_at}.")
    return said


def _outlook(study: Study, stepper: Stepper) -> str:
    here, outlook = study.here, study.outlook
    eta = f"η = {_short(here['lr'])}"
    if outlook == "unknown":
        return (
            f"{eta}: no stability threshold is known for {stepper.title}, so only the loss along the update can tell."
        )
    ratio = here["sharpness"] / here["threshold"]
    if here["batch_size"] and ratio < 1:
        return (
            f"On the loss of all samples {eta} would be {ratio:.2g} times the stable step along the top eigenvector "
            f"({_short(here['stable_lr'])}): what instability there is comes from the batches."
        )
    scaled = " in the scaling of the rule" if here["scaled"] else ""
    times = (
        f"{eta} is {ratio:.2g} times the stable step along the top eigenvector{scaled} ({_short(here['stable_lr'])})"
    )
    match outlook:
        case "smooth":
            return (
                f"{times}: expect steady convergence along it; there is room for {1 / ratio:.2g} times this step size."
            )
        case "damped":
            return f"{times}: expect an oscillation along it that dies out; the limit is near."
        case "edge" if here["scaled"]:
            return (
                f"{times}: expect oscillation, not divergence: growing gradients enlarge the rule's divisor, which lowers the "
                f"preconditioned sharpness until it is back at {_short(here['threshold'])}."
            )
        case "edge":
            return (
                f"{times}: expect oscillation, not divergence: the curvature changes along that direction, so the run "
                f"self-stabilizes where the sharpness is back at {_short(here['threshold'])}"
                + (f", with swings of about {_short(amplitude)} along it." if (amplitude := _swing(here)) else ".")
            )
    if outlook == "risky":
        return f"{times}: with momentum the oscillation may grow faster than the curvature falls; expect the run to diverge."
    if ratio > 2:
        return f"{times}: expect divergence; beyond twice the stable step not even a catapult to a flatter place helps."
    return f"{times}, and the curvature does not change along it, as on a quadratic: expect divergence."


def _swing(here: dict[str, float]) -> float | None:
    """sqrt(2 alpha / beta) with alpha = -grad S . grad L and beta = |grad S|^2, where the sharpness S grows along the run."""
    pull, bend = here["drift"] / here["lr"] if here["lr"] else 0.0, here["sharpness_slope"]
    return math.sqrt(2 * pull) / bend if pull > 0 and bend > 0 else None


def _next(here: dict[str, float]) -> str:
    if here["slope"] > 0:
        return "The next update points uphill: momentum carries the run on, and no step size along it lowers the loss at first."
    if here["lr"] >= here["rise_lr"]:
        return f"The next update raises the loss: along it, any step beyond η = {_short(here['rise_lr'])} does."
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
    return [
        f"Along the run the stable step size {moved}, from {_short(first)} to {_short(last)}; it is least at step {lowest}"
        + (": a warm-up pays, since the start is the narrowest place." if lowest == 0 and last > 1.5 * first else ".")
    ]


def _batches(here: dict[str, float]) -> list[str]:
    """Batch sharpness against 2/eta, and how large a step the noise leaves room for."""
    size = int(here["batch_size"])
    if not size:
        return []
    felt = f"{_short(here['batch_sharpness'])} ± {_short(here['batch_error'])}"
    measured = f"On batches of {size:,} the curvature along a batch's own gradient, the batch sharpness, is {felt}"
    if here["scaled"] or abs(here["threshold"] * here["lr"] - 2) > _PLAIN:
        return [f"{measured}. Where training comes to hover is known for plain steps only, not for this rule."]
    ratio, doubt = here["batch_sharpness"] / here["threshold"], 2 * here["batch_error"] / here["threshold"]
    said = f"{measured}, {ratio:.2g} times 2/η = {_short(here['threshold'])}; {_share(here['batches_above'])}"
    if abs(ratio - 1) <= max(_EDGE, doubt):
        said += ": this is the edge of stochastic stability, where SGD holds it as long as it trains."
    elif ratio < 1:
        said += ": batches leave room for a larger step."
    else:
        said += (
            ": expect the loss of the batches to swing until the run has come to where they are flatter, or to diverge if it "
            "finds no such place."
        )
    return [said, *_room(here)]


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
         "Over 16 batches of the run's size, drawn as the run draws them" + (", in the rule's scaling." if scaled else "."),
         "Andreyev and Beneventano 2024, arXiv:2412.20553"),
        ("batches that overshoot", "batches_above", r"P_B\left[g_B^\top H_B\, g_B > c/\eta\, \|g_B\|^2\right]",
         "Of the same 16: on a quadratic, those whose own loss the step raises.", ""),
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
