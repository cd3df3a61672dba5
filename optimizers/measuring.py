"""The probes of a run, measured at its recorded steps.

A measurement changes nothing about the run. One that takes long is therefore left to a thread of its own, while the next
steps are taken: torch computes outside Python's lock. The numbers are the same, bit by bit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from optimizers.probes import Memory, Moment, Probe, unmeasured

_LONG = 5e-3  # seconds: shorter measurements are made at once, for handing one over costs a tenth of a millisecond


class Measuring:
    """What the probes of a run have found so far, a row a recorded step. To be closed: it is a context manager."""

    def __init__(self, probes: Mapping[str, Probe], *, beside: bool = True):
        self._probes = probes
        self._memories: dict[str, Memory] = dict.fromkeys(probes)
        self._rows: list[dict[str, Tensor]] = []  # empty where nothing was measured; the first one is measured
        self.follows = any(probe.follows for probe in probes.values())  # must one of them see every step?
        self._allowed = beside and not self.follows  # on a thread of its own?
        self._beside = self._allowed
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None  # one at most: the memories pass from one measurement to the next

    def __enter__(self) -> Measuring:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def measure(self, moment: Moment, alive: Tensor) -> None:
        """The row of a recorded step: now, or beside the steps that follow. NaN where a run (N, ...) is not alive."""
        row: dict[str, Tensor] = {}
        self._settle()
        self._rows.append(row)
        if not self._beside:
            self._fill(row, moment, alive)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "ravine-probes")
        self._pending = self._thread.submit(self._fill, row, moment, alive)

    def skip(self) -> None:
        """The row of a recorded step at which nothing is measured."""
        self._rows.append({})

    def follow(self, moment: Moment) -> None:
        """Shows a step to the probes that must see every one."""
        for name, probe in self._probes.items():
            if probe.follows:
                self._memories[name] = probe.follow(moment, self._memories[name])

    def values(self) -> dict[str, Tensor]:
        """All rows: each (R, N, ...), or (R, N, ..., m) for one of m entries."""
        self._settle()
        blank = {name: unmeasured(value) for name, value in self._rows[0].items()}
        return {name: torch.stack([row.get(name, blank[name]) for row in self._rows]) for name in self._probes}

    def kept(self) -> dict[str, Any]:
        """All that a run needs to go on measuring."""
        return {"values": self.values(), "memories": self._memories}

    def restore(self, kept: dict[str, Any]) -> None:
        """The inverse of `kept`."""
        self._memories = kept["memories"]
        columns = [values.unbind() for values in kept["values"].values()]
        self._rows = [dict(zip(kept["values"], row, strict=True)) for row in zip(*columns, strict=True)]

    def _fill(self, row: dict[str, Tensor], moment: Moment, alive: Tensor) -> None:
        began = time.perf_counter()
        for name, probe in self._probes.items():
            value, self._memories[name] = probe.measure(moment, self._memories[name])
            row[name] = value.where(alive.unsqueeze(-1) if value.ndim > alive.ndim else alive, torch.nan)
        self._beside = self._allowed and time.perf_counter() - began >= _LONG

    def _settle(self) -> None:
        """Waits for the measurement that is under way, and raises its error."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None
