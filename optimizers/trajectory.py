"""Running a rule on a landscape: `iterate` yields the steps one by one, `run` collects them into a Trajectory.

A run that leaves finite numbers is frozen where it was and marked with the step; the other runs of the batch go on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from landscapes import Landscape
from landscapes.pieces import Shelf
from optimizers.checkpoints import Checkpoints
from optimizers.measuring import Measuring
from optimizers.optimizer import Evaluation, Oracle, Spent, State
from optimizers.probes import Moment, Probe, check, measured
from optimizers.stepper import Rehearsal, Stepper

One = TypeVar("One")


Drawn = list[Tensor | None]  # each rule's batch (b,); the same object where the rules share it


class Returned(NamedTuple):
    """The points that N rules return after a step (see Optimizer.point): what is recorded, scored and drawn."""

    params: Tensor  # (N, ..., dim)
    loss: Tensor  # (N, ...), on this step's batch
    grad: Tensor  # (N, ..., dim), likewise


class Iterate(NamedTuple):
    """Where N rules stand after `step` steps."""

    step: int
    params: Tensor  # (N, ..., dim), where the rules take their gradients
    loss: Tensor  # (N, ...), on this step's batch
    grad: Tensor  # (N, ..., dim)
    returned: Returned  # the same tensors, but for rules that return another point than the one of their gradients
    poison: Tensor  # (N, ...), 0 while a run is finite, NaN ever after
    states: tuple[State, ...]
    spent: tuple[Spent, ...]  # so far, by each run of each rule
    drawn: Drawn  # each rule's batch of this step
    noise: tuple[torch.Generator, ...]  # where each rule's random numbers of this step come from

    @classmethod
    def of(cls, parts: tuple[Any, ...]) -> Iterate:
        """The iterate of a plain tuple, as a checkpoint gives it back."""
        one = cls(*parts)
        return one._replace(spent=tuple(Spent(*spent) for spent in one.spent), returned=Returned(*one.returned))

    @property
    def alive(self) -> Tensor:
        """(N, ...), False once a run has left finite numbers."""
        return self.poison == 0


class Counts(NamedTuple):
    """Evaluations that each run had spent by each recorded step, (R,), or (R, N) for several rules."""

    loss: Tensor
    grad: Tensor
    hvp: Tensor


@dataclass(frozen=True)
class Trajectory:
    """A run at its recorded steps: R of them for the numbers, P for the parameters (the same unless asked otherwise).

    Where several rules ran side by side, `...` begins with the dimension N of the rules. All of it is about the points
    that the rules return: for schedule-free rules the averages, not the points between where they take gradients.
    """

    step: Tensor  # (R,)
    loss: Tensor  # (R, ...), NaN from the step on at which a run diverged
    grad_norm: Tensor  # (R, ...), likewise
    probes: dict[str, Tensor]  # each (R, ...), or (R, ..., m) for one of m entries; NaN where not measured
    params: Tensor  # (P, ..., dim), frozen where a run diverged
    params_step: Tensor  # (P,)
    diverged_at: Tensor  # (...): the first step whose parameters or loss were not finite, -1 if none
    evaluations: Counts

    @classmethod
    def nothing(cls) -> Trajectory:
        """No steps of no run: what stands beside a result that is not about one path."""
        none, steps = torch.empty(0), torch.empty(0, dtype=torch.int64)
        return cls(steps, none, none, {}, none, steps, steps, Counts(steps, steps, steps))

    @property
    def final(self) -> Tensor:
        """The last parameters (..., dim)."""
        return self.params[-1]

    @property
    def begun(self) -> Trajectory:
        """The first record alone."""
        return Trajectory(
            self.step[:1],
            self.loss[:1],
            self.grad_norm[:1],
            {name: values[:1] for name, values in self.probes.items()},
            self.params[:1],
            self.params_step[:1],
            torch.full_like(self.diverged_at, -1),
            Counts(*(one[:1] for one in self.evaluations)),
        )

    def kept(self, step: int) -> int:
        """Where in `params` the parameters nearest to a step are; -1 means the last step."""
        return len(self.params) - 1 if step < 0 else int((self.params_step - step).abs().argmin())

    def of(self, index: int) -> Trajectory:
        """The run of one of several rules that ran side by side."""
        counts = Counts(*(one[:, index] for one in self.evaluations))
        return Trajectory(
            self.step, self.loss[:, index], self.grad_norm[:, index],
            {name: values[:, index] for name, values in self.probes.items()},
            self.params[:, index], self.params_step, self.diverged_at[index], counts,
        )  # fmt: skip


def iterate(
    landscape: Landscape,
    optimizers: Sequence[Stepper],
    start: Tensor | Sequence[Tensor],
    *,
    seed: int | Sequence[int] = 0,
    batch_size: int | None = None,
    sampling: str = "epochs",
    after: Iterate | None = None,
) -> Iterator[Iterate]:
    """N rules from start (..., dim), step after step and without end: the caller stops pulling.

    Sequences of N starts or N seeds give each rule its own. Batches are drawn as `sampling` says: "epochs" (every epoch a
    new permutation, cut into whole batches) or "replacement" (each sample independently); the same for rules of one seed.
    `after` takes a run up again at the step that follows one it had come to, whatever its start.

    The rules go in step: their iterates are evaluated together, which for small problems costs hardly more than one of
    them alone, and each rule finds that evaluation in its oracle. What a rule does does not depend on its company, except
    that the products of small networks may round otherwise in a batch than alone.
    """
    starts = _each(start, len(optimizers), Tensor, "start")
    seeds = _each(seed, len(optimizers), int, "seed")
    _check(landscape, optimizers, starts)
    rules = [rule.to(one) for rule, one in zip(optimizers, starts, strict=True)]
    if after is None:
        params = _spread(rules, landscape, starts)
        states: list[State] = [rule.init(own) for rule, own in zip(rules, params.unbind(), strict=True)]
        spent = [Spent() for _ in rules]
        noise = tuple(torch.Generator().manual_seed(one) for one in seeds)
        # 0 while a run is finite, NaN ever after: adding 0 times a number is the cheapest test for inf and NaN.
        poison = torch.zeros_like(params[..., 0])
    batches = enumerate(_batches(landscape, batch_size, sampling, seeds))
    now = after
    # Small steps are bounded by torch's bookkeeping for autograd: a sixth of their time where nothing needs it.
    untracked = torch.inference_mode(landscape.analytic)
    for step, drawn in islice(batches, 0 if after is None else after.step + 1, None):
        with untracked:
            if now is not None:
                together, states, spent = _advanced(landscape, rules, now, now.noise)
                poison = torch.add(now.poison, together.sum(-1), alpha=0)
                params, noise = together.where((poison == 0).unsqueeze(-1), now.params), now.noise
            loss, grad = _evaluate(landscape, params, drawn)
            poison = torch.add(poison, loss, alpha=0)
            here = Returned(params, loss, grad)
            returned = _returned(landscape, rules, here, states, drawn, None if now is None else (now.returned, poison))
            poison = poison if returned is here else torch.add(poison, returned.loss, alpha=0)
        now = Iterate(step, params, loss, grad, returned, poison, tuple(states), tuple(spent), drawn, noise)
        yield now


def _returned(
    landscape: Landscape,
    rules: Sequence[Stepper],
    here: Returned,
    states: Sequence[State],
    drawn: Drawn,
    before: tuple[Returned, Tensor] | None,
) -> Returned:
    """What the rules return where they stand `here`; a run that has left finite numbers stays at what it returned `before`."""
    own = here.params.unbind()
    points = [rule.point(one, state) for rule, one, state in zip(rules, own, states, strict=True)]
    others = [index for index, (point, one) in enumerate(zip(points, own, strict=True)) if point is not one]
    if not others:
        return here
    params = torch.stack([points[index] for index in others])
    if before is not None:
        past, poison = before
        params = params.where((poison[others] == 0).unsqueeze(-1), past.params[others])
    evaluated = params, *_evaluate(landscape, params, [drawn[index] for index in others])
    place = torch.tensor(others, device=params.device)
    return Returned(*(one.index_copy(0, place, new) for one, new in zip(here, evaluated, strict=True)))


def _advanced(
    landscape: Landscape, rules: Sequence[Stepper], now: Iterate, noise: Sequence[torch.Generator]
) -> tuple[Tensor, list[State], list[Spent]]:
    """Parameters (N, ..., dim), states and costs after the step that the rules take from `now`."""
    moved, states, spent = [], [], []
    for index, (point, loss, grad) in enumerate(
        zip(now.params.unbind(), now.loss.unbind(), now.grad.unbind(), strict=True)
    ):
        oracle = Oracle(landscape, now.drawn[index], noise[index], now.spent[index], (point, Evaluation(loss, grad)))
        new, state = rules[index].step(point, now.states[index], oracle)
        moved.append(new)
        states.append(state)
        spent.append(oracle.spent)
    # One rule keeps its storage, which element-wise work on long batches depends on (see _spread).
    return torch.stack(moved) if len(moved) > 1 else moved[0].unsqueeze(0), states, spent


def _each(given: One | Sequence[One], count: int, kind: type, name: str) -> list[One]:
    """One value for each of `count` rules: the same for all, or those of a sequence."""
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, kind) for one in given):
        return [given] * count  # type: ignore[list-item]
    if len(given) != count:
        raise ValueError(f"There are {len(given)} values of {name} for {count} rules: give one for all, or one each.")
    return list(given)


def _check(landscape: Landscape, optimizers: Sequence[Stepper], starts: Sequence[Tensor]) -> None:
    if not optimizers:
        raise ValueError("There is no optimizer to run: give at least one.")
    for rule in optimizers:
        if not isinstance(rule, Stepper):
            raise TypeError(f"{rule!r} is not an optimizer: build one, as in OPTIMIZERS['gd'](lr=0.1).")
    for start in starts:
        if not isinstance(start, Tensor) or not start.is_floating_point():
            raise TypeError(f"start must be a floating-point tensor of shape (..., {landscape.dim}).")
        if start.ndim == 0 or start.shape[-1] != landscape.dim:  # a last dimension of 1 would broadcast in silence
            raise ValueError(f"start has shape {tuple(start.shape)}: {landscape.name} needs (..., {landscape.dim}).")
        if start.shape != starts[0].shape:
            raise ValueError("The starts of the rules are of different shapes: they must be of one.")


def _spread(rules: Sequence[Stepper], landscape: Landscape, starts: Sequence[Tensor]) -> Tensor:
    """The starts, for every value of the rules' tensor-valued hyper-parameters: (N, ..., dim)."""
    lead = starts[0].shape[:-1]
    for rule in rules:
        for name, value in rule.tensors():
            try:
                lead = torch.broadcast_shapes(lead, value.shape[:-1])
            except RuntimeError:
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}: it must broadcast against {(*lead, 1)}, one value per run."
                ) from None
    params = torch.stack([start.detach().expand(*lead, landscape.dim) for start in starts])
    if landscape.dim == 2:  # one plane a coordinate, so that element-wise work on long batches stays contiguous
        return params.movedim(-1, 0).contiguous().movedim(0, -1)
    return params.contiguous()


def _evaluate(landscape: Landscape, params: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
    """Loss and gradient of all rules, together where that is faster (see Landscape.chunk)."""
    size = landscape.chunk(params)
    if drawn[0] is not None and landscape.samples is not None:
        size *= max(1, landscape.samples // len(drawn[0]))  # small batches leave room for more runs
    if params.numel() <= size * landscape.dim:
        batch = drawn[0]
        if batch is not None and any(own is not batch for own in drawn):
            own_rows = torch.stack([own for own in drawn if own is not None])
            batch = own_rows.reshape(len(drawn), *[1] * (params.ndim - 2), -1)
        return landscape.value_and_grad(params, batch)
    if params[0].numel() <= size * landscape.dim:
        parts = [landscape.value_and_grad(own, batch) for own, batch in zip(params.unbind(), drawn, strict=True)]
    else:
        rows = [own.reshape(-1, landscape.dim).split(size) for own in params.unbind()]
        parts = [landscape.value_and_grad(part, batch) for own, batch in zip(rows, drawn, strict=True) for part in own]
    loss = torch.cat([loss.reshape(-1) for loss, _ in parts])
    grad = torch.cat([grad.reshape(-1, landscape.dim) for _, grad in parts])
    return loss.reshape(params.shape[:-1]), grad.reshape(params.shape)


def run(
    landscape: Landscape,
    optimizer: Stepper | Sequence[Stepper],
    start: Tensor | Sequence[Tensor] | None = None,
    steps: int = 1000,
    seed: int | Sequence[int] = 0,
    probes: Sequence[str | Probe] = (),
    record_every: int = 1,
    batch_size: int | None = None,
    *,
    probe_every: int | None = None,
    params_every: int | None = None,
    sampling: str = "epochs",
) -> Trajectory:
    """Run a rule, or several side by side, for `steps` steps and record what happened.

    start: (..., dim), by default the landscape's own first start. Several rules (a sequence of N) add a dimension N in
    front of the start's; each does what it would do alone, from its own start and seed where sequences of N are given. Records every `record_every`-th step and the last one;
    probes every `probe_every` and parameters every `params_every` steps (both by default as often as the rest; multiples
    of record_every). A probe is a name of PROBES or an instance with settings of its own. Tensor-valued hyper-parameters (..., 1) broadcast against the start, one run each. Raises ValueError
    or TypeError for what does not fit; a run that diverges is not an error.
    """
    *_, trajectory = running(
        landscape, optimizer, start, steps, seed, probes, record_every, batch_size,
        probe_every=probe_every, params_every=params_every, sampling=sampling, report_every=sys.maxsize,
    )  # fmt: skip
    return trajectory


def planned(
    landscape: Landscape,
    optimizers: Sequence[Stepper],
    start: Tensor | Sequence[Tensor],
    steps: int,
    seed: int | Sequence[int] = 0,
    batch_size: int | None = None,
    sampling: str = "epochs",
    tell: Callable[[int], object] = lambda step: None,
) -> list[Stepper]:
    """Rules told how long their run is: `run` does this itself, who calls `iterate` does it first for rules with a schedule.

    Steps of rehearsals are told now and then; rules that are planned already make none.
    """

    def rehearsing(own_start: Tensor, own_seed: int) -> Rehearsal:
        def rehearse(one: Stepper) -> Tensor:
            for rehearsal in running(
                landscape, one, own_start, steps, own_seed,
                batch_size=batch_size, params_every=steps, sampling=sampling, report_every=1, report_after=_TOLD,
            ):  # fmt: skip
                tell(int(rehearsal.step[-1]))
            return rehearsal.grad_norm[:-1].movedim(0, -1)

        return rehearse

    starts = _each(start, len(optimizers), Tensor, "start")
    seeds = _each(seed, len(optimizers), int, "seed")
    return [
        rule.planned(steps, rehearsing(own_start, own_seed)).to(own_start)
        for rule, own_start, own_seed in zip(optimizers, starts, seeds, strict=True)
    ]


def running(
    landscape: Landscape,
    optimizer: Stepper | Sequence[Stepper],
    start: Tensor | Sequence[Tensor] | None = None,
    steps: int = 1000,
    seed: int | Sequence[int] = 0,
    probes: Sequence[str | Probe] = (),
    record_every: int = 1,
    batch_size: int | None = None,
    *,
    probe_every: int | None = None,
    params_every: int | None = None,
    sampling: str = "epochs",
    report_every: int = 10,
    report_after: float = 0.0,
    beside: bool = True,
    shelf: Shelf | None = None,
) -> Iterator[Trajectory]:
    """`run` as it grows: yields the trajectory so far, and at the end the whole. Stop pulling to cancel.

    Reports every `report_every` steps, but not before `report_after` seconds have passed since the last report. Costly
    probes are measured `beside` the steps that follow, on a thread of their own: not for runs that have every core at work.
    Where it stands is kept on `shelf` now and then: the same call goes on from there, with the same bits.
    """
    if start is None:
        start = landscape.start()[0]
    probe_every = record_every if probe_every is None else probe_every
    params_every = record_every if params_every is None else params_every
    for name, value in (
        ("steps", steps), ("record_every", record_every), ("probe_every", probe_every),
        ("params_every", params_every), ("report_every", report_every),
    ):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} = {value!r} is not allowed: it must be a whole number of at least 1.")
    for name, value in (("probe_every", probe_every), ("params_every", params_every)):
        if value % record_every:
            raise ValueError(
                f"{name} = {value} is not allowed: it must be a multiple of record_every = {record_every}."
            )
    kinds = measured(probes)
    alone = isinstance(optimizer, Stepper)
    rules = [optimizer] if isinstance(optimizer, Stepper) else list(optimizer)
    starts = _each(start, len(rules), Tensor, "start")
    seeds = _each(seed, len(rules), int, "seed")
    _check(landscape, rules, starts)
    check(list(kinds.values()), landscape, rules)
    rules = planned(landscape, rules, starts, steps, seeds, batch_size, sampling)
    keeps = steps // params_every + 1 + bool(steps % params_every)
    record, checkpoints = _Record(alone, keeps), Checkpoints(shelf)
    before, found = None, checkpoints.found()
    reported = time.monotonic()
    with Measuring(kinds, beside=beside) as measuring:
        if found is not None:
            before = Iterate.of(found["now"])
            record.restore(found["record"])
            measuring.restore(found["measured"])
        for now in iterate(
            landscape, rules, starts, seed=seeds, batch_size=batch_size, sampling=sampling, after=before
        ):
            last = now.step == steps
            if record_every > 1:
                record.count(now)
            if now.step % record_every == 0 or last:
                record.add(now, keep_params=now.step % params_every == 0 or last)
                if kinds and (now.step % probe_every == 0 or last):
                    measuring.measure(_moment(landscape, rules, now), now.alive)
                else:
                    measuring.skip()
            if measuring.follows and not last:
                measuring.follow(_moment(landscape, rules, now))
            due = now.step and now.step % report_every == 0 and time.monotonic() - reported >= report_after
            if checkpoints.due and not last:
                checkpoints.keep({"now": now, "record": record.kept(), "measured": measuring.kept()})
            if last or due:
                yield record.trajectory(measuring.values())
                reported = time.monotonic()
            if last:
                return


def _moment(landscape: Landscape, rules: Sequence[Stepper], now: Iterate) -> Moment:
    noise = [generator.clone_state() for generator in now.noise]  # now, since the run goes on

    @cache
    def update() -> Tensor:
        ahead, states, _ = _advanced(landscape, rules, now, noise)
        points = [rule.point(own, state) for rule, own, state in zip(rules, ahead.unbind(), states, strict=True)]
        return torch.stack(points) - now.returned.params

    return Moment(landscape, tuple(rules), now.states, now.step, *now.returned, tuple(now.drawn), update)


_TOLD = 0.2  # seconds between two words of a rehearsal
_LISTS = ("_losses", "_norms", "_poisons")  # of tensors of one shape, in a record


class _Record:
    """What has been recorded so far; up to `keeps` parameter vectors of each rule, which may be large: they are copied once."""

    def __init__(self, alone: bool, keeps: int):
        self._alone = alone  # one rule, given as such: its dimension is dropped
        self._keeps = keeps
        self._steps: list[int] = []
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._poisons: list[Tensor] = []
        self._spent: list[tuple[Spent, ...]] = []
        self._held: Tensor | None = (
            None  # (N, keeps, ..., dim): a rule's own lie together, and are filled in as they come
        )
        self._params_steps: list[int] = []
        self._survived: Tensor | None = None

    def count(self, now: Iterate) -> None:
        """Counts the steps survived, where not each of them is recorded."""
        self._survived = now.alive.to(torch.int64) if self._survived is None else self._survived + now.alive

    def add(self, now: Iterate, *, keep_params: bool) -> None:
        self._steps.append(now.step)
        self._losses.append(now.returned.loss)
        self._norms.append(torch.linalg.vector_norm(now.returned.grad, dim=-1))
        self._poisons.append(now.poison)
        self._spent.append(now.spent)
        if keep_params:
            self._keep(now.returned.params)
            self._params_steps.append(now.step)

    def _keep(self, params: Tensor) -> None:
        if self._held is None:
            self._held = params.new_empty(len(params), self._keeps, *params.shape[1:])
        self._held[:, len(self._params_steps)] = params

    @property
    def _params(self) -> Tensor:
        """(P, N, ..., dim), those so far; what is added later leaves them as they are."""
        assert self._held is not None
        return self._held[:, : len(self._params_steps)].movedim(1, 0)

    def kept(self) -> dict[str, Any]:
        """All of it, a tensor for each list."""
        lists = {name: torch.stack(getattr(self, name)) for name in _LISTS} | {"_params": self._params}
        numbers = {"steps": self._steps, "params_steps": self._params_steps, "spent": self._spent}
        return lists | numbers | {"survived": self._survived}

    def restore(self, kept: dict[str, Any]) -> None:
        """The inverse of `kept`."""
        for name in _LISTS:
            setattr(self, name, list(kept[name].unbind()))
        for params, step in zip(kept["_params"].unbind(), kept["params_steps"], strict=True):
            self._keep(params)
            self._params_steps.append(step)
        self._steps, self._survived = kept["steps"], kept["survived"]
        self._spent = [tuple(Spent(*one) for one in row) for row in kept["spent"]]

    def trajectory(self, probes: dict[str, Tensor]) -> Trajectory:
        alive = torch.stack(self._poisons) == 0  # (R, N, ...)
        survived = alive.sum(0) if self._survived is None else self._survived
        spent = torch.tensor(self._spent)  # (R, N, 3)

        def own(values: Tensor, dim: int = 1) -> Tensor:
            return values.squeeze(dim) if self._alone else values

        return Trajectory(
            step=torch.tensor(self._steps),
            loss=own(torch.stack(self._losses).where(alive, torch.nan)),
            grad_norm=own(torch.stack(self._norms).where(alive, torch.nan)),
            probes={name: own(values) for name, values in probes.items()},
            params=own(self._params),
            params_step=torch.tensor(self._params_steps),
            diverged_at=own(survived.where(~alive[-1], -1), dim=0),
            evaluations=Counts(*own(spent).unbind(-1)),
        )


def _batches(landscape: Landscape, size: int | None, sampling: str, seeds: Sequence[int]) -> Iterator[Drawn]:
    """Each step's batch for each rule: sample indices (b,), drawn once for all rules of one seed."""
    samples = landscape.samples
    whole: Drawn = [None] * len(seeds)
    if size is None:
        while True:
            yield whole
    if samples is None:
        raise ValueError(f"{landscape.lacks('samples')}: batch_size must be None.")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= samples:
        raise ValueError(f"batch_size = {size!r} is not allowed: it must be a whole number from 1 to {samples}.")
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling = {sampling!r} is not allowed: it must be one of {', '.join(SAMPLINGS)}.")
    draws = {one: SAMPLINGS[sampling](samples, size, torch.Generator().manual_seed(one)) for one in seeds}
    while True:
        drawn = {one: next(draw) for one, draw in draws.items()}
        yield [drawn[one] for one in seeds]


def _epochs(samples: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(samples, generator=generator)[: samples - samples % size].split(size)


def _replacement(samples: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield torch.randint(samples, (size,), generator=generator)


SAMPLINGS: dict[str, Callable[[int, int, torch.Generator], Iterator[Tensor]]] = {
    "epochs": _epochs,
    "replacement": _replacement,
}
