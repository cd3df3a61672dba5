"""Watching a training run of the user's own: what its sharpness does, against the threshold of its own optimizer.

    probe = ravine.watch(model, loss_fn, data, optimizer, every=20, to="run.ravine")
    for inputs, targets in loader:
        ...                                   # the loop as it is
        optimizer.step()
        probe.step(loss)

The measurements use a copy of the model, whose parameters follow the run: batch norm takes the statistics of the watched
data, dropout layers are off. `ravine open run.ravine` shows the log, also while it grows.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscapes import Eigenpairs, Layout, ModuleLandscape, Warm, eigenpairs, from_module
from optimizers import response
from ravine import torch_rules
from ravine.following import Follower, flat
from ravine.log import FORMAT
from ravine.log_writer import Writer
from ravine.pace import Pace

Record = dict[str, Any]
_TOLERANCE = 3e-2  # residual of an eigenvalue, whose error is of the order of its square: well below 1 %
_ROUGH = 1e-1  # the same at the first look, which little training has paid for yet: good to a few percent
_FEW = 128  # samples that its curvature is measured on, for the same reason


def watch(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Tensor],
    data: Any,
    optimizer: torch.optim.Optimizer,
    *,
    every: int = 20,
    to: str | Path = "run.ravine",
    samples: int = 512,
    budget: float | None = 0.08,
    clip: float | None = None,
    callback: Callable[[Record], object] | None = None,
    prefix: str = "",
) -> Watch:
    """Starts watching; call `step()` of what it returns after each `optimizer.step()`.

    The start and every `every`-th step are logged to the file `to`, with the length of the update, the gradient that it was
    made from, and the optimizer's stability threshold. Looks at the loss, the sharpness and the curvature along the update,
    on the first `samples` samples of `data` (see landscapes.from_module), are added as often as they take at most the share
    `budget` of the training time, and a second; None looks at every logged step. The time is that of its own clock, which
    does not see that training is a little slower after each look. The first look is a rough one, whose curvature is that of
    at most 128 samples; it comes before the first step where the second pays for it, and else as soon as training has, which
    the log says beforehand. Fewer samples than all overestimate the sharpness of the whole. A log that is at `to` already is
    kept under the next free name, such as run-1.ravine.

    clip: the norm that the loop clips gradients to, if it does; where it is not told, it is looked for. callback: gets each
    record as a dictionary, for TensorBoard, Weights & Biases or your own; a `prefix` such as "ravine/" before its names keeps
    them apart from yours.

    Raises ValueError or TypeError for what does not fit: an optimizer that moves none of the model's parameters, a file that
    is there already and is no log.
    """
    for name, value in (("every", every), ("samples", samples)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} = {value!r} is not allowed: it must be a whole number of at least 1.")
    if budget is not None and not 0 < budget < float("inf"):
        raise ValueError(
            f"budget = {budget!r} is not allowed: it must be a positive share of the training time, or None."
        )
    if clip is not None and not 0 < clip < float("inf"):
        raise ValueError(f"clip = {clip!r} is not allowed: it must be the norm that gradients are clipped to, or None.")
    if isinstance(model, dict):
        raise TypeError(
            "model is a dictionary: one module is watched. Put several into one whose forward calls them, or watch each with "
            "an optimizer of its own."
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}: it must be a torch.optim.Optimizer.")
    if callback is not None and not callable(callback):
        raise TypeError("callback must be callable with a dictionary, such as wandb.log.")
    if not isinstance(prefix, str):
        raise TypeError(
            f"prefix is a {type(prefix).__name__}: it must be a text that names in the callback begin with."
        )
    watched = _Watched(model, loss_fn, data, samples)
    if not torch_rules.moves(optimizer, watched.parameters)[0]:
        raise ValueError(
            "The optimizer moves none of the model's trainable parameters: it was made for another model, or for this one before "
            "its parameters were replaced. Make it of model.parameters()."
        )
    return Watch(watched, optimizer, every, Writer(Path(to)), budget, clip, callback, prefix)


class _Watched:
    """The user's model, loss and data, and their landscape, which is made anew when other parameters become trainable."""

    def __init__(self, model: nn.Module, loss_fn: Callable[[Any, Any], Tensor], data: Any, samples: int):
        self.model, self._loss_fn, self._samples = model, loss_fn, samples
        self._data = data
        self._training = None if getattr(model, "training", True) else True
        self.landscape = self._made()

    def _made(self) -> ModuleLandscape:
        data = self._data
        if isinstance(data, Iterator):  # it can be gone through once
            data, self._data = itertools.tee(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what the module does not support goes into the log
            return from_module(self.model, self._loss_fn, data, training=self._training, limit=self._samples)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What is trained, of the model and of its loss, in the landscape's order."""
        return self.landscape.trainable(self.model)

    def follows(self) -> bool:
        """Takes over what is not trained as it is now. False where other parameters are trained: then `renew` it."""
        return self.landscape.follow(self.model)

    def renew(self) -> None:
        """Raises ValueError as from_module."""
        self.landscape = self._made()


@dataclass
class _Moment:
    """What a look is about: where the run stands after a step, and what is known of that step."""

    point: Tensor  # (dim,)
    before: Tensor | None  # (dim,), where it stood before the step
    after: Tensor | None  # (dim,), and right after it: another optimizer may have moved it on
    given: Tensor | None  # (dim,), the gradient that the optimizer was given
    reading: torch_rules.Reading

    @property
    def update(self) -> Tensor | None:
        return None if self.before is None or self.after is None else self.after - self.before


class Watch:
    """A run being watched. Made by `watch`; as a context manager it is closed at the end of the block."""

    def __init__(
        self,
        watched: _Watched,
        optimizer: torch.optim.Optimizer,
        every: int,
        writer: Writer,
        budget: float | None,
        clip: float | None,
        callback: Callable[[Record], object] | None,
        prefix: str,
    ):
        self._watched, self._optimizer, self._every = watched, optimizer, every
        self._writer, self._callback, self._prefix = writer, callback, prefix
        self._steps = self._ignored = 0
        self._warm: dict[str, Any] = {}
        self._spent = 0.0
        self._pace = Pace(budget, every)
        self._blind = False  # nothing more can be measured
        self._remarks: list[str] = []  # for the next record
        self._follower = Follower(optimizer, watched.parameters, self._wanted, self._begins)
        self._writer.write({"ravine": FORMAT, **self._header(clip)})
        self._began = time.perf_counter()

    @property
    def to(self) -> Path:
        """The file that the log is in."""
        return self._writer.path

    @property
    def landscape(self) -> ModuleLandscape:
        """The loss on the watched data, over the parameters that are trained."""
        return self._watched.landscape

    def step(self, loss: Tensor | float | None = None) -> None:
        """Call after each step of the optimizer; `loss`, that of the training batch, is logged if given.

        A call without a step since the last one does nothing: of batches whose gradients add up, only the last one steps.
        """
        began = time.perf_counter()
        if self._follower.stepped():
            self._steps += 1
            if self._steps % self._every == 0:
                self._record(loss, began)
                self._follower.forget(self._follower.named)
        else:
            self._idle()
        self._spent += time.perf_counter() - began

    def close(self) -> None:
        """Ends watching. The optimizer goes on unwatched, and the log stays."""
        self._follower.close()
        self._writer.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- following the optimizer

    def _wanted(self) -> bool:
        return (self._steps + 1) % self._every == 0

    def _begins(self) -> None:
        """The first step is about to be taken: where the run starts from, whatever becomes of it."""
        self._began = began = time.perf_counter()
        self._spent = 0.0
        self._record(None, began)
        self._spent = time.perf_counter() - began

    def _idle(self) -> None:
        self._ignored += 1
        if self._ignored == max(100, self._every) and not self._steps:
            warnings.warn(
                f"ravine.watch has seen no step of {type(self._optimizer).__name__} in {self._ignored} calls: is it the optimizer "
                "that trains the model?",
                RuntimeWarning,
                stacklevel=3,
            )

    def _synced(self) -> None:
        """Follows the model: what is frozen as it is now, and other parameters where other ones are trained now."""
        followed = self._watched.follows()
        if not followed:
            self._warm.clear()
            self._watched.renew()
        named, before = self._watched.parameters, self._follower.named
        if len(named) != len(before) or any(named.get(name) is not one for name, one in before.items()):
            self._follower.forget(named)
        if not followed:
            self._remarks.append(
                f"Other parameters are trained from here on: {self.landscape.dim:,} numbers in {len(named)} tensors."
            )
            self._remarks += self._ownership()

    def _ownership(self) -> list[str]:
        """Sentences about what else the optimizer moves, and what it does not."""
        named = self._watched.parameters
        tensors, numbers = torch_rules.moves(self._optimizer, named)
        others = self._others()
        said = []
        if tensors < len(named):
            said.append(
                f"The optimizer moves {tensors} of the model's {len(named)} trainable tensors, {numbers:,} of "
                f"{self.landscape.dim:,} numbers: the others count as fixed."
            )
        if others:
            said.append(
                f"The optimizer also moves {others} tensor{'s' * (others > 1)} that the model does not have: they count as fixed, and "
                "with them the curvature may be larger."
            )
        return said

    def _others(self) -> int:
        """How many tensors the optimizer moves that neither the model nor the landscape has."""
        return torch_rules.besides(
            self._optimizer, [*self._watched.model.parameters(), *self._watched.parameters.values()]
        )

    # ---------------------------------------------------------------- records

    def _record(self, loss: Tensor | float | None, began: float) -> None:
        if not self._blind:
            self._guarded(self._synced)
        now = self._moment()
        record: Record = {"step": self._steps, "time": round(began - self._began, 4)}
        if loss is not None:
            record["train_loss"] = float(loss.detach() if isinstance(loss, Tensor) else loss)
        record |= _of_step(now)
        trained = began - self._began - self._spent
        if not self._blind and self._pace.first and self._pace.expected is None:
            self._guarded(lambda: self._guess(now.point, began))
        spent = self._spent + time.perf_counter() - began
        if not self._blind and self._pace.affords(self._steps, trained, spent):
            self._guarded(lambda: record.update(self._look(now)))
        ended = time.perf_counter()
        if ended > self._began:
            record["cost"] = round((self._spent + ended - began) / (ended - self._began), 4)
        if self._remarks:
            record["note"] = " ".join(self._remarks)
            self._remarks = []
        self._writer.write(record)
        if self._callback is not None:
            self._callback({self._prefix + name: value for name, value in record.items()})

    def _moment(self) -> _Moment:
        follower = self._follower
        layout = Layout.of((name, tuple(one.shape)) for name, one in follower.named.items())
        begun = self._steps > 0
        return _Moment(
            flat(follower.named),
            follower.before if begun else None,
            follower.after if begun else None,
            follower.given if begun else None,
            torch_rules.read(self._optimizer, follower.named, layout, follower.groups),
        )

    def _guarded(self, does: Callable[[], object]) -> None:
        """What fails in here ends the measurements, and not somebody's training."""
        try:
            does()
        except Exception as failure:  # whatever a user's module raises
            self._blind = True
            first = (str(failure).splitlines() or [""])[0][:300]
            self._remarks.append(
                f"From here on nothing is measured, because that failed: {type(failure).__name__}: {first}"
            )
            warnings.warn(f"ravine.watch: {self._remarks[-1]} The run goes on.", RuntimeWarning, stacklevel=5)

    def _look(self, now: _Moment) -> Record:
        began, few, products = time.perf_counter(), self._few(), list[float]()
        with torch.enable_grad():
            record = self._curvature(now, few, products)
        seconds = time.perf_counter() - began
        if self._first:
            samples = self.landscape.samples
            share = 1.0 if few is None or samples is None else len(few) / samples
            again = 2 if torch_rules.divides(self._optimizer) else 1  # with the preconditioned one
            self._pace.began(self._steps, seconds, products, share, again)
        else:
            self._pace.took(self._steps, seconds)
        return record

    @property
    def _first(self) -> bool:
        """Is the next look the first one, within a budget?"""
        return self._pace.first

    def _few(self) -> Tensor | None:
        """The samples (b,) that the first look measures the curvature on, spread over all, which may lie in order of their
        classes; None for all, as at all later ones, and where the loss of fewer is another one.
        """
        samples = self.landscape.samples
        if not self._first or samples is None or samples <= _FEW or self.landscape.reduction == "other":
            return None
        return self._spread(_FEW, samples)

    def _spread(self, count: int, samples: int) -> Tensor:
        return torch.arange(count, device=next(iter(self._follower.named.values())).device) * samples // count

    def _guess(self, point: Tensor, began: float) -> None:
        """What the first look will take, said in the log if it has to wait for that."""
        samples, few = self.landscape.samples, self._few()
        apart = samples is None or self.landscape.reduction == "other"

        def gradient(count: int) -> float:
            batch = None if apart or samples is None else self._spread(count, samples)
            began = time.perf_counter()
            float(self.landscape.value_and_grad(point, batch)[0])
            return time.perf_counter() - began

        self._pace.guess(gradient, 1 if apart or samples is None else samples if few is None else len(few))
        wait = self._pace.wait(self._spent + time.perf_counter() - began)
        if wait:
            self._remarks.append(
                f"The first look at the curvature is put off: it takes about {_duration(self._pace.expected or 0)}, which "
                f"{100 * (self._pace.budget or 0):.3g} % of the time (budget) have paid for after about {_duration(wait)} of training."
            )

    def _curvature(self, now: _Moment, few: Tensor | None, products: list[float]) -> Record:
        """A look; `products` is given the seconds that each Hessian-vector product took."""
        point, update, reading = now.point, now.update, now.reading
        loss, grad = self.landscape.value_and_grad(point)
        record = {"loss": float(loss), "grad_norm": float(grad.norm())}
        if not bool(torch.isfinite(loss) & torch.isfinite(point).all()):
            return record
        hessian = _timed(self._hessian(point, few), products)
        if self.landscape.samples is not None:
            record["curvature_samples"] = self.landscape.samples if few is None else len(few)
        record |= self._top("sharpness", hessian, grad)
        if reading.scale is not None:
            felt = reading.scale.to(point)
            added = 0.0 if reading.decay is None else felt * reading.decay.to(point) * felt
            record |= self._top("preconditioned_sharpness", lambda v: felt * hessian(felt * v) + added * v, felt * grad)
        if now.before is not None and update is not None and bool(update.any()):
            record["directional_sharpness"] = float(update @ hessian(update) / (update @ update))
            record |= self._along(now.before, update, now.given)
        return record

    def _hessian(self, point: Tensor, few: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Of the loss on the watched data, from a few of them for a rough one."""
        hessian, samples = self.landscape.hessian_operator(point, few), self.landscape.samples
        if few is None or samples is None or self.landscape.reduction != "sum":
            return hessian
        return lambda vector: hessian(vector) * (samples / len(few))

    def _along(self, before: Tensor, update: Tensor, given: Tensor | None) -> Record:
        """What the last update does to the loss on the watched data, and how the gradient it was made from fits to theirs."""
        loss, grad = self.landscape.value_and_grad(before)
        record = {"loss_before": float(loss), "update_slope": float(grad @ update / update.norm())}
        if given is not None and bool(grad.any() & given.any()):
            common = float(grad @ given.to(grad))
            record["gradient_share"] = common / float(grad @ grad)
            record["gradient_cosine"] = common / float(grad.norm() * given.norm())
        return record

    def _top(self, what: str, operator: Callable[[Tensor], Tensor], grad: Tensor) -> Record:
        """The largest eigenvalue, from the last ones; nothing where it was not proved to be the largest."""
        warm = Warm(self._warm.get(what), _TOLERANCE, _ROUGH if self._first else _TOLERANCE)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", RuntimeWarning
            )  # float32 may not reach the residual; a log has no use for that
            pairs: Eigenpairs = eigenpairs(
                operator,
                grad,
                tol=warm.tol,
                start=warm.start,
                seed=warm.count,
                extra=warm.extra,
            )
        self._warm[what] = warm.after(pairs)
        return {what: float(pairs.values[0])} if bool(pairs.reached[0]) else {}

    def _header(self, clip: float | None) -> Record:
        layout, named = self.landscape.layout, self._watched.parameters
        reading = torch_rules.read(self._optimizer, named, layout)
        rule, notes = torch_rules.follows(self._optimizer), list(self.landscape.notes)
        notes += self._ownership()
        narrow = sorted({str(one.dtype).removeprefix("torch.") for one in named.values() if one.element_size() < 4})
        if narrow:
            notes.append(
                f"Parameters are kept in {' and '.join(narrow)}: of an update what is small beside a parameter rounds away."
            )
        if self._writer.kept is not None:
            notes.append(f"The log that was here before is {self._writer.kept.name}.")
        return {
            "model": type(self._watched.model).__name__,
            "optimizer": type(self._optimizer).__name__,
            "rule": "" if rule is None else rule.label,
            "threshold": reading.text,
            "reason": reading.note,
            "responds": "" if rule is None else str(response(rule)),
            "scaled": torch_rules.divides(self._optimizer) or reading.scale is not None,
            "every": self._every,
            "samples": self.landscape.samples,
            "parameters": self.landscape.dim,
            "partial": self._others() > 0,
            "reduction": self.landscape.reduction,
            "budget": self._pace.budget,
            "clip": clip,
            "notes": notes,
        }


def _of_step(now: _Moment) -> Record:
    """What is known of a step without looking at the loss."""
    reading, update, given = now.reading, now.update, now.given
    record: Record = {}
    if reading.lr is not None:
        record["lr"] = reading.lr
    if reading.threshold is not None:
        record["threshold"] = reading.threshold
    if update is not None:
        record["update_norm"] = float(update.norm())
    if given is not None:
        record["given_norm"], record["given_largest"] = float(given.norm()), float(given.abs().max())
        if update is not None and bool(given.any()):
            record["unmoved"] = float((update[given != 0] == 0).float().mean())
    return record


def _duration(seconds: float) -> str:
    return f"{float(f'{seconds:.2g}'):g} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _timed(operator: Callable[[Tensor], Tensor], products: list[float]) -> Callable[[Tensor], Tensor]:
    """The same operator, which notes how long each product takes."""

    def product(vector: Tensor) -> Tensor:
        began = time.perf_counter()
        out = operator(vector)
        products.append(time.perf_counter() - began)
        return out

    return product
