"""Watching a training run of the user's own: what its sharpness does, against the threshold of its own optimizer.

    probe = ravine.watch(model, loss_fn, data, optimizer, every=20, to="run.ravine")
    for inputs, targets in loader:
        ...                                   # the loop as it is
        optimizer.step()
        probe.step(loss)

The measurements use a copy of the model, in which only the parameters follow the run: batch norm takes the statistics of
the watched data, dropout is off. `ravine open run.ravine` shows the log, also while it grows.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscapes import Eigenpairs, ModuleLandscape, eigenpairs, from_module
from ravine import torch_rules
from ravine.log import FORMAT, parsed, written

Record = dict[str, Any]
_TOLERANCE = 3e-2  # residual of an eigenvalue, whose error is of the order of its square: well below 1 %
_ROUGH = 1e-1  # the same at the first look, which no training has paid for yet: good to a few percent
_FEW = 128  # samples that its curvature is measured on, for the same reason
_COLD_EVERY = 50  # measurements from one cold start of the eigen-solver to the next


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
    callback: Callable[[Record], object] | None = None,
) -> Watch:
    """Starts watching; call `step()` of what it returns after each `optimizer.step()`.

    Every `every`-th step is logged to the file `to`, with the length of the update and the optimizer's stability threshold.
    Loss, gradient norm, sharpness and the curvature along the update, on the first `samples` samples of `data` (see
    landscapes.from_module), are added as often as they take at most the share `budget` of the training time, by its own clock,
    which does not see that training is a little slower after each look; None measures at
    every logged step. Only the first look is taken at once, a rough one whose curvature is that of at most 128 samples, so that a
    short run has one too: until training has paid for it, watching has taken more than its share, and there is no second. Fewer samples than all overestimate the sharpness of the whole. `callback` gets each record as a
    dictionary: for TensorBoard, Weights & Biases or your own. Raises ValueError or TypeError for what does not fit, and
    ValueError for a file that is there already and is no log.
    """
    for name, value in (("every", every), ("samples", samples)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} = {value!r} is not allowed: it must be a whole number of at least 1.")
    if budget is not None and not 0 < budget < float("inf"):
        raise ValueError(
            f"budget = {budget!r} is not allowed: it must be a positive share of the training time, or None."
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}: it must be a torch.optim.Optimizer.")
    if callback is not None and not callable(callback):
        raise TypeError("callback must be callable with a dictionary, such as wandb.log.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what the module does not support goes into the log
        landscape = from_module(model, loss_fn, data, training=None if model.training else True, limit=samples)
    return Watch(model, landscape, optimizer, every, Path(to), budget, callback)


class Watch:
    """A run being watched. Made by `watch`."""

    def __init__(
        self,
        model: nn.Module,
        landscape: ModuleLandscape,
        optimizer: torch.optim.Optimizer,
        every: int,
        to: Path,
        budget: float | None,
        callback: Callable[[Record], object] | None,
    ):
        self.landscape = landscape
        self._named = landscape.trainable(model)
        self._optimizer, self._every, self._budget, self._callback = optimizer, every, budget, callback
        self._steps = self._measured = 0
        self._before: Tensor | None = None
        self._warm: dict[str, Tensor] = {}
        self._spent = 0.0
        self._to: Path | None = _emptied(to)
        self._guess: float | None = None  # seconds that the next look at the curvature will take
        self._write({"ravine": FORMAT, **self._header(type(model).__name__)})
        self._began = time.perf_counter()

    def step(self, loss: Tensor | float | None = None) -> None:
        """Call after each step of the optimizer; `loss`, that of the training batch, is logged if given."""
        began = time.perf_counter()
        self._steps += 1
        if self._steps % self._every == 0:
            self._record(loss, began)
        if (self._steps + 1) % self._every == 0:
            self._before = self._point()
        self._spent += time.perf_counter() - began

    def _record(self, loss: Tensor | float | None, began: float) -> None:
        point = self._point()
        update = None if self._before is None else point - self._before
        reading = torch_rules.read(self._optimizer, self._named, self.landscape.layout)
        record: Record = {"step": self._steps, "time": round(began - self._began, 4), "lr": reading.lr}
        if loss is not None:
            record["train_loss"] = float(loss.detach() if isinstance(loss, Tensor) else loss)
        if update is not None:
            record["update_norm"] = float(update.norm())
        if reading.threshold is not None:
            record["threshold"] = reading.threshold
        if self._affordable(began):
            few = self._few()
            record |= self._curvature(point, update, reading, few)
            self._guess = time.perf_counter() - began
            if few is not None and self.landscape.samples is not None:
                self._guess *= self.landscape.samples / len(few)  # of a look at all of them, at most
        elapsed = time.perf_counter() - self._began
        record["cost"] = round((self._spent + time.perf_counter() - began) / elapsed, 4)
        self._write(record)
        if self._callback is not None:
            self._callback(record)

    def _affordable(self, now: float) -> bool:
        if self._budget is None or self._guess is None:  # the first look is taken on credit
            return True
        trained = now - self._began - self._spent
        return self._spent + self._guess <= self._budget * trained

    @property
    def _first(self) -> bool:
        """Is the next look the one on credit?"""
        return self._guess is None and self._budget is not None

    def _few(self) -> Tensor | None:
        """The samples (b,) that the first look measures the curvature on; None for all, as at all later ones."""
        samples = self.landscape.samples
        if not self._first or samples is None or samples <= _FEW or self.landscape.coupled:
            return None
        return torch.arange(_FEW, device=self._point().device)

    def _curvature(
        self, point: Tensor, update: Tensor | None, reading: torch_rules.Reading, few: Tensor | None
    ) -> Record:
        loss, grad = self.landscape.value_and_grad(point)
        record = {"loss": float(loss), "grad_norm": float(grad.norm())}
        if not bool(torch.isfinite(loss) & torch.isfinite(point).all()):
            return record
        hessian = self.landscape.hessian_operator(point, few)
        if self.landscape.samples is not None:
            record["curvature_samples"] = self.landscape.samples if few is None else len(few)
        record["sharpness"] = self._top("sharpness", hessian, grad)
        if reading.scale is not None:
            felt = reading.scale.to(point)
            added = 0.0 if reading.decay is None else felt * reading.decay.to(point) * felt
            record["preconditioned_sharpness"] = self._top(
                "scaled", lambda v: felt * hessian(felt * v) + added * v, felt * grad
            )
        if update is not None and bool(update.any()):
            record["directional_sharpness"] = float(update @ hessian(update) / (update @ update))
        self._measured += 1
        return record

    def _top(self, what: str, operator: Callable[[Tensor], Tensor], grad: Tensor) -> float:
        """The largest eigenvalue, warm-started; now and then cold, in case the second has overtaken the first.

        The first look starts from the gradient, which lies along the steepest directions: that saves two products of five.
        """
        start = self._warm.get(what)
        if start is None and bool(grad.any()):
            start = grad[None]
        elif self._measured % _COLD_EVERY == 0:
            start = None
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", RuntimeWarning
            )  # float32 may not reach the residual; a log has no use for that
            pairs: Eigenpairs = eigenpairs(
                operator,
                grad,
                tol=_ROUGH if self._first else _TOLERANCE,
                start=start,
                seed=self._measured,
                extra=1,
            )
        self._warm[what] = pairs.vectors
        return float(pairs.values[0])

    def _point(self) -> Tensor:
        """The run's parameters (dim,) as they are now."""
        flat = torch.cat([self._named[block.name].detach().flatten() for block in self.landscape.layout.blocks])
        return flat.float() if flat.element_size() < 4 else flat

    def _header(self, model: str) -> Record:
        reading = torch_rules.read(self._optimizer, self._named, self.landscape.layout)
        rule, notes = torch_rules.follows(self._optimizer), list(self.landscape.notes)
        if reading.note:
            notes.append(reading.note)
        return {
            "model": model,
            "optimizer": type(self._optimizer).__name__,
            "rule": "" if rule is None else rule.label,
            "threshold": reading.text,
            "scaled": torch_rules.divides(self._optimizer) or reading.scale is not None,
            "every": self._every,
            "samples": self.landscape.samples,
            "parameters": self.landscape.dim,
            "notes": notes,
        }

    def _write(self, record: Record) -> None:
        """One whole line, handed to the operating system at once: it survives the end of this process."""
        if self._to is None:
            return
        try:
            with self._to.open("a", encoding="utf-8") as file:
                file.write(written(record))
        except OSError as failure:  # a full disk must not end somebody's training
            warnings.warn(
                f"The log can no longer be written: {failure}. The run goes on.", RuntimeWarning, stacklevel=4
            )
            self._to = None


def _emptied(path: Path) -> Path:
    """The file, emptied. Raises ValueError if something else than a log is there."""
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            first = file.readline(10_000)
        try:
            parsed(first)
        except ValueError:
            raise ValueError(f"{path} is there already and is no log: choose another name for `to`.") from None
    path.write_bytes(b"")
    return path
