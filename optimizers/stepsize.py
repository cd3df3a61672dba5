"""Which step size this point allows, and why: a run looked at closely at one of its steps, and coarsely along all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from landscapes import Landscape, Warm, eigenpairs
from landscapes.pieces import Shelf
from optimizers.checkpoints import Checkpoints
from optimizers.judgement import Judgement, Response, judge, over_threshold, shows_itself, stable_step
from optimizers.noise import UNKNOWN, Estimate, Scatter, batch_curvatures, check_judged, variance_left
from optimizers.optimizer import Evaluation, Oracle
from optimizers.probes import unmeasured
from optimizers.stepper import Stepper
from optimizers.trajectory import Iterate, iterate, planned

ALONG = (
    "loss", "grad_norm", "lr", "sharpness", "threshold", "stable_lr", "batch_lr", "line_lr", "polyak", "dog", "smoothness",
    "noise_scale",
)  # fmt: skip
HERE = (
    "scaled", "momentum", "update_norm", "slope", "curvature", "third", "best_lr", "rise_lr", "armijo", "noise_error", "sharpness_slope",
    "drift", "reach", "least", "least_known", "batch_size", "batch_loss", "small_batches", "batch_sharpness", "batch_error", "batches", "batches_above", "curved_noise", "curved_error",
    "noisy_lr",
)  # fmt: skip
_GRID = 81  # step sizes of the line scan
_BEYOND = 30.0  # how far it goes below the smallest and above the largest step size of interest
CHECKPOINTS = 16  # at which curvatures are measured along the run
_ARMIJO = 1e-4  # Nocedal and Wright 2006, Numerical Optimization, ch. 3
_DOG_START = 1e-6  # relative to 1 + |w0|
_TOLERANCE = 3e-3  # residual of an eigenvalue, whose error is of the order of its square
_QUADRATIC = 1e-6  # relative change of the sharpness over a length of `reach` that counts as none


@dataclass(frozen=True)
class Scan:
    """The loss along one update u of a rule, at w + (eta / lr) u, beside its quadratic and cubic models at w.

    `batch` is the loss of the batch that the update was made from, NaN where it was made from all samples.
    """

    eta: Tensor  # (G,)
    loss: Tensor  # (G,)
    quadratic: Tensor  # (G,)
    cubic: Tensor  # (G,)
    batch: Tensor  # (G,)


@dataclass(frozen=True)
class Study:
    """What was measured: `along` at R steps of the run, by the names ALONG, and `here`, with more names, at the step `at`."""

    step: Tensor  # (R,)
    along: dict[str, Tensor]  # each (R,), NaN where it has no value
    at: int
    here: dict[str, float]  # empty until the run has come to `at`
    scan: Scan | None
    params: Tensor  # (dim,), where the run stands last
    diverged_at: int  # -1 if it did not
    worst: float = math.nan  # the largest loss from the step `at` on, as far as it is known

    @property
    def judgement(self) -> Judgement:
        """Whether the step size is too large at the step looked at, from all that was measured up to there (see `judge`)."""
        past = self.step <= self.at
        ratios = over_threshold(self.along["sharpness"][past], self.along["threshold"][past])
        diverged = self.diverged_at >= 0
        return _judged(self.here, ratios, self.step[past], came_back=self.came_back, diverged=diverged)

    @property
    def came_back(self) -> bool:
        """Did the run go on from a step above its threshold for long enough to show it, and end no higher?"""
        if not self.here or self.diverged_at >= 0:
            return False
        ratio = float(over_threshold(*(torch.tensor(self.here[name]) for name in ("sharpness", "threshold"))))
        last = float(self.along["loss"][-1])
        return shows_itself(ratio, int(self.step[-1]) - self.at) and last <= self.here["loss"]

    @property
    def bends(self) -> bool:
        """Does the sharpness change along its eigenvector, at the step looked at, as it does but on quadratics?"""
        return _bends(self.here)

    @property
    def outlook(self) -> str:
        """What the next steps will do along the steepest direction (see `judge`)."""
        return self.judgement.outlook

    def tensors(self) -> dict[str, Tensor]:
        """Every number by name; the inverse of `from_tensors`."""
        named = {"study.step": self.step, "study.at": torch.tensor(self.at), "study.params": self.params}
        named |= {"study.diverged_at": torch.tensor(self.diverged_at)}
        named |= {"study.worst": torch.tensor(self.worst, dtype=torch.float64)}
        named |= {f"along.{name}": values for name, values in self.along.items()}
        named |= {f"here.{name}": torch.tensor(value, dtype=torch.float64) for name, value in self.here.items()}
        return named | ({} if self.scan is None else {f"scan.{name}": one for name, one in vars(self.scan).items()})

    @classmethod
    def from_tensors(cls, named: Mapping[str, Tensor]) -> Study:
        """Raises KeyError if one is missing."""
        reached = any(name.startswith("here.") for name in named)  # the step looked at
        here = {name: float(named[f"here.{name}"]) for name in (*ALONG, *HERE)} if reached else {}
        scan = Scan(*(named[f"scan.{one.name}"] for one in fields(Scan))) if reached else None
        along = {name: named[f"along.{name}"] for name in ALONG}
        at, diverged_at = int(named["study.at"]), int(named["study.diverged_at"])
        worst = float(named["study.worst"])
        return cls(named["study.step"], along, at, here, scan, named["study.params"], diverged_at, worst)


def outlook(here: dict[str, float]) -> str:
    """The outlook from the numbers `here` of a study alone, without what was measured before (see `judge`)."""
    pair = (torch.tensor([here[name]]) for name in ("sharpness", "threshold")) if here else None
    return _judged(here, [] if pair is None else over_threshold(*pair)).outlook


def _judged(
    here: dict[str, float],
    ratios: Sequence[float] | Tensor,
    steps: Sequence[int] | Tensor | None = None,
    *,
    came_back: bool = False,
    diverged: bool = False,
) -> Judgement:
    if not here:
        return judge([], doubt="the run has not come to this step")
    if here["lr"] == 0:
        return judge(ratios, steps, doubt="a step size of 0 moves nothing")
    if math.isnan(here["threshold"]):
        return judge(ratios, steps, doubt="no stability threshold is known for this rule")
    responds = Response.SCALED if here["scaled"] else Response.MOMENTUM if here["momentum"] else Response.PLAIN
    return judge(ratios, steps, responds, bends=_bends(here), came_back=came_back, diverged=diverged)


def _bends(here: dict[str, float]) -> bool:
    return here["sharpness_slope"] * here["reach"] > _QUADRATIC * abs(here["sharpness"])


def study(landscape: Landscape, stepper: Stepper, start: Tensor | None = None, steps: int = 100, at: int = 0, seed: int = 0,
    *, batch_size: int | None = None, sampling: str = "epochs",
) -> Study:  # fmt: skip
    """Run a rule for `steps` steps from start (dim,), and look at step `at` which step sizes it allows there.

    With a batch_size the update looked at is the one that the run makes from its batch, and what it does to the loss of all
    samples; batches are drawn as `sampling` says (see `run`). Raises ValueError or TypeError for what does not fit.
    """
    *_, last = studying(landscape, stepper, start, steps, at, seed, batch_size=batch_size, sampling=sampling)
    return last


def studying(landscape: Landscape, stepper: Stepper, start: Tensor | None = None, steps: int = 100, at: int = 0, seed: int = 0,
    *, batch_size: int | None = None, sampling: str = "epochs", shelf: Shelf | None = None,
) -> Iterator[Study]:  # fmt: skip
    """`study` as it grows: yields after each of its looks. Stop pulling to cancel.

    Where it stands is kept on `shelf` now and then: the same call goes on from there, with the same bits.
    """
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= steps:
        raise ValueError(f"at = {at!r} is not allowed: it must be a step of the run, from 0 to {steps}.")
    if batch_size is not None:
        check_judged(landscape)
    start = landscape.start()[0] if start is None else start
    if not isinstance(start, Tensor) or start.shape != (landscape.dim,):
        raise ValueError(f"start must be a tensor of shape ({landscape.dim},), one point to start from.")
    (stepper,) = planned(landscape, [stepper], start, steps, seed, batch_size, sampling)
    look = _Look(landscape, stepper, start, steps, sampling, seed)
    stops = {round(index * steps / CHECKPOINTS) for index in range(CHECKPOINTS + 1)} | {at}
    taken: list[int] = []
    rows: list[dict[str, float]] = []
    here: dict[str, float] = {}
    scan, diverged_at, worst = None, -1, math.nan
    checkpoints = Checkpoints(shelf)
    before, found = None, checkpoints.found()
    if found is not None:
        before, taken, rows, here = Iterate.of(found["now"]), found["taken"], found["rows"], found["here"]
        worst = found["worst"]
        scan = None if found["scan"] is None else Scan(**found["scan"])
        look.restore(found["look"])
    for now in iterate(landscape, [stepper], start, seed=seed, batch_size=batch_size, sampling=sampling, after=before):
        params = now.params[0]
        if not bool(now.alive.all()):
            diverged_at = now.step
        else:
            look.passes(params, now.grad[0])
            if now.step >= at and batch_size is None:
                worst = max(float(now.loss[0]), worst) if now.step > at else float(now.loss[0])
        if now.step in stops or diverged_at >= 0:
            if diverged_at < 0:
                values = look.at(now, fine=now.step == at)
                if now.step == at:
                    extra, scan = look.closely(values)
                    here = {name: float(value) for name, value in (values | extra).items()}
            else:
                values = dict.fromkeys(ALONG, math.nan)
            taken.append(now.step)
            rows.append({name: float(values[name]) for name in ALONG})
            if (
                batch_size is not None and diverged_at < 0 and now.step >= at
            ):  # the loss of all samples is known at looks only
                worst = max(rows[-1]["loss"], worst) if now.step > at else rows[-1]["loss"]
            along = {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in ALONG}
            yield Study(torch.tensor(taken), along, at, here, scan, params, diverged_at, worst)
        if now.step == steps or diverged_at >= 0:
            return
        if checkpoints.due:
            seen = None if scan is None else vars(scan)
            checkpoints.keep(
                {
                    "now": now,
                    "taken": taken,
                    "rows": rows,
                    "here": here,
                    "scan": seen,
                    "look": look.kept(),
                    "worst": worst,
                }
            )


_REMEMBERED = ("_travelled", "_squares", "_before", "_now", "_warm")


class _Look:
    """Looks at the points of one run, and remembers of those it passed what the adaptive step sizes need."""

    def __init__(self, landscape: Landscape, stepper: Stepper, start: Tensor, steps: int, sampling: str, seed: int):
        self._landscape, self._stepper, self._seed, self._sampling = landscape, stepper, seed, sampling
        self._scaled = stepper.rule.preconditions
        limits = stepper.preconditioned_thresholds(steps) if self._scaled else stepper.thresholds(steps)
        self._bounded = limits is not None
        self._limits = [*(limits or [math.nan] * steps), *(limits or [math.nan])[-1:]]
        factors = stepper.step_factors(steps)
        assert factors is not None  # of one run, and planned
        self._factors = [*factors, factors[-1]] if factors else [1.0]
        declared = landscape.infimum()
        # Unknown, that of a mean over samples is taken as 0: that of a model which fits all of them.
        self._least = declared if declared is not None else 0.0 if landscape.samples is not None else math.nan
        self._declared = declared is not None
        self._first, self._travelled, self._squares = start, _DOG_START * (1 + float(start.norm())), 0.0
        self._before: Tensor | None = None
        self._now: Tensor | None = None
        self._warm: Any = None

    def passes(self, params: Tensor, grad: Tensor) -> None:
        """One step of the run, looked at or not."""
        self._travelled = max(self._travelled, float((params - self._first).norm()))
        self._squares += float(grad.square().sum())
        self._before, self._now = self._now, params

    def kept(self) -> dict[str, Any]:
        """What it remembers from one step to the next."""
        return {name: getattr(self, name) for name in _REMEMBERED}

    def restore(self, kept: dict[str, Any]) -> None:
        """The inverse of `kept`."""
        for name in _REMEMBERED:
            setattr(self, name, kept[name])

    def at(self, now: Iterate, *, fine: bool) -> dict[str, float]:
        """What ALONG names, at one step."""
        landscape, step, self.batch = self._landscape, now.step, now.drawn[0]
        self.params = params = now.params[0]
        loss, grad = landscape.value_and_grad(params)
        known = Evaluation(loss, grad) if self.batch is None else Evaluation(now.loss[0], now.grad[0])
        oracle = Oracle(landscape, self.batch, now.noise[0].clone_state(), known=(params, known))
        new, new_state = self._stepper.step(params, now.states[0], oracle)
        self.update, self.grad, self.hessian = new - params, grad, landscape.hessian_operator(params)
        divisor = self._stepper.preconditioner(new_state) if self._scaled else None
        self.scale = None if divisor is None else divisor.rsqrt()
        lr, limit = float(self._stepper.rule.lr) * float(self._factors[step]), float(self._limits[step])
        sharpness = self._sharpness(params)
        slope, curvature = float(grad @ self.update), float(self.update @ self.hessian(self.update))
        squared, value = float(grad.square().sum()), float(loss)
        self.scatter = Scatter.at(landscape, params, grad, self._seed, fine=fine)
        self.noise = self.scatter.scale if self.scatter is not None else UNKNOWN
        batch_limit = self._stable(self._batch_sharpness()) if self.batch is not None else math.nan
        return {
            "loss": value,
            "grad_norm": math.sqrt(squared),
            "lr": lr,
            "sharpness": sharpness,
            "threshold": limit,
            "stable_lr": self._stable(sharpness),
            "batch_lr": batch_limit,
            "line_lr": _where_it_rises(lr, slope, curvature),
            "polyak": (value - self._least) / squared if squared > 0 and value >= self._least else math.nan,
            "dog": self._travelled / math.sqrt(self._squares) if self._squares > 0 else math.nan,
            "smoothness": self._smoothness(grad),
            "noise_scale": self.noise.value,
        }

    def _stable(self, sharpness: float) -> float:
        """The step size whose threshold is this sharpness; NaN where the run has no thresholds."""
        return stable_step(self._stepper.rule, sharpness) if self._bounded else math.nan

    def _sharpness(self, params: Tensor) -> float:
        scale = 1.0 if self.scale is None else self.scale
        decay = float(self._stepper.rule.felt_decay)
        warm = Warm(self._warm, _TOLERANCE, _TOLERANCE)
        pairs = eigenpairs(
            lambda vectors: scale * (self.hessian(scale * vectors) + decay * scale * vectors),
            params,
            tol=warm.tol,
            start=warm.start,
            seed=warm.count,
            extra=warm.extra,
        )
        self._warm = warm.after(pairs)
        self.top = scale * pairs.vectors[0]
        return float(pairs.proved[0])

    def _smoothness(self, grad: Tensor) -> float:
        """|w_t - w_s| / 2 |g_t - g_s| with the step s before, both gradients those of all samples."""
        if self._before is None:
            return math.nan
        change = float((grad - self._landscape.grad(self._before)).norm())
        return float((self.params - self._before).norm()) / (2 * change) if change > 0 else math.nan

    def _batch_sharpness(self) -> float:
        """The mean curvature of the batches along their own gradients, in the scaling of the rule."""
        assert self.batch is not None
        scale = 1.0 if self.scale is None else self.scale
        self.curvatures = batch_curvatures(
            self._landscape, self.params, len(self.batch), self._sampling, self._seed, scale
        )
        return Estimate.of(self.curvatures).value

    def closely(self, known: dict[str, float]) -> tuple[dict[str, float], Scan]:
        """What is measured at one step only, and the line scan, at the point last looked at."""
        params, update, lr, loss = self.params, self.update, known["lr"], known["loss"]
        slope, curvature = float(self.grad @ update), float(update @ self.hessian(update))
        third = float(self._bend(params, update) @ update)
        bend = self._bend(params, self.top)
        eta = self._grid(known).to(params)
        share = (eta / lr if lr > 0 else torch.zeros_like(eta))[:, None]
        losses = self._line(share, update)
        on_batch = self._line(share, update, self.batch) if self.batch is not None else unmeasured(losses)
        m = share[:, 0].double()
        quadratic = loss + slope * m + curvature / 2 * m**2
        scan = Scan(eta.double(), losses.double(), quadratic, quadratic + third / 6 * m**3, on_batch.double())
        finite = scan.loss.nan_to_num(math.inf, math.inf, math.inf)
        rises = finite > loss + 1e-12 * abs(loss)
        return {
            "scaled": float(self._scaled),
            "momentum": float(self._stepper.rule.has_momentum),
            "update_norm": float(update.norm()),
            "slope": slope,
            "curvature": curvature,
            "third": third,
            "best_lr": float(scan.eta[finite.argmin()]),
            "rise_lr": float(scan.eta[int(rises.int().argmax())]) if bool(rises.any()) else math.inf,
            "armijo": self._armijo(known),
            "noise_error": self.noise.error,
            "sharpness_slope": float(bend.norm()),
            "drift": float(bend @ update),
            "reach": 1 + float(params.norm()),
            "least": self._least,
            "least_known": float(self._declared),
        } | self._of_batches(known), scan

    def _line(self, shares: Tensor, direction: Tensor, batch: Tensor | None = None) -> Tensor:
        """The loss (G,) at params + shares (G, 1) * direction."""
        chunk = max(1, self._landscape.chunk(self.params))
        return torch.cat([self._landscape.loss(self.params + one * direction, batch) for one in shares.split(chunk)])

    def _of_batches(self, known: dict[str, float]) -> dict[str, float]:
        """What only batches bring in: the curvature they feel, and how large a step their noise leaves room for."""
        curved = self.scatter.curved if self.scatter is not None else UNKNOWN
        size, drawn, felt, above, loss, variance = 0, 0, UNKNOWN, math.nan, math.nan, 0.0
        if self.batch is not None and self._landscape.samples is not None:
            size, felt = len(self.batch), Estimate.of(self.curvatures)
            loss = float(self._landscape.loss(self.params, self.batch))
            drawn = len(self.curvatures)
            counted = self.curvatures[~self.curvatures.isnan()]
            above = float((counted > known["threshold"]).double().mean())
            variance = variance_left(self._landscape.samples, size, self._sampling)
        along = float(self.grad @ self.hessian(self.grad))
        noise_free = 2 * known["grad_norm"] ** 2 / along if along > 0 else math.nan
        return {
            "batch_size": float(size),
            "batch_loss": loss,
            "small_batches": self._plateau(known["lr"]),
            "batch_sharpness": felt.value,
            "batch_error": felt.error,
            "batches": float(drawn),
            "batches_above": above,
            "curved_noise": curved.value,
            "curved_error": curved.error,
            "noisy_lr": noise_free / (1 + max(0.0, curved.value) * variance) if size else math.nan,
        }

    def _plateau(self, lr: float) -> float:
        """Where small batches come to hold their sharpness; NaN where that is not known."""
        low = self._stepper.rule.at(lr).small_batch_threshold() if self._bounded else None
        return math.nan if low is None else float(low)

    def _bend(self, params: Tensor, vector: Tensor) -> Tensor:
        """D^3 L[v, v, .] (dim,): the gradient of the curvature along v, from central differences of Hessian-vector products."""
        length = float(vector.norm())
        if length == 0:
            return torch.zeros_like(vector)
        h = torch.finfo(params.dtype).eps ** (1 / 3) * (1 + float(params.norm())) / length
        there = torch.stack([params + h * vector, params - h * vector])
        products = self._landscape.hvp(there, vector.expand_as(there))
        return (products[0] - products[1]) / (2 * h)

    @staticmethod
    def _grid(known: dict[str, float]) -> Tensor:
        """Step sizes (G,) around all that are of interest."""
        marks = [known[name] for name in ("lr", "stable_lr", "line_lr")]
        marks = [one for one in marks if math.isfinite(one) and one > 0] or [1.0]
        low, high = math.log10(min(marks) / _BEYOND), math.log10(max(marks) * _BEYOND)
        return torch.logspace(low, high, _GRID, dtype=torch.float64)

    def _armijo(self, known: dict[str, float]) -> float:
        """Backtracking along the gradient by halves, from 16 times the larger of lr and 2 / sharpness."""
        two_over = 2 / known["sharpness"] if known["sharpness"] > 0 else 0.0
        first = 16 * max(known["lr"], two_over) or 1.0
        eta = first * 0.5 ** torch.arange(40, dtype=torch.float64)
        losses = self._line(eta.to(self.params)[:, None], -self.grad).double()
        enough = losses <= known["loss"] - _ARMIJO * eta.to(losses.device) * known["grad_norm"] ** 2
        return float(eta[int(enough.int().argmax())]) if bool(enough.any()) else math.nan


def _where_it_rises(lr: float, slope: float, curvature: float) -> float:
    """The step size at which the quadratic model along the update is back at the loss it started from."""
    if slope >= 0:
        return 0.0 if slope > 0 else math.nan
    return math.inf if curvature <= 0 else lr * -2 * slope / curvature
