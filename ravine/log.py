"""The log of a watched training run: one JSON object a line, so that a run killed at any moment leaves a readable file.

The first line is a header; each further one a record with the numbers that were taken at that step. Reading trusts
nothing: a log may be cut, damaged or not ours at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FORMAT = 1
ENVIRONMENT = "RAVINE_LOG"  # the file that `ravine open` tells the app to follow
FIELDS = {
    "train_loss": "loss of the training batch",
    "loss": "loss on the watched data",
    "grad_norm": "gradient norm on the watched data",
    "lr": "step size",
    "update_norm": "length of the last update",
    "sharpness": "sharpness",
    "preconditioned_sharpness": "preconditioned sharpness",
    "directional_sharpness": "curvature along the last update",
    "loss_before": "loss on the watched data before the last update",
    "update_slope": "slope of that loss along the last update, where the update began",
    "unmoved": "share of the parameters with a gradient that the last update left as they were",
    "given_norm": "norm of the gradient that the last update was made from",
    "given_largest": "its largest entry",
    "gradient_share": "how much of the watched data's gradient is in it, 1 where they agree on average",
    "gradient_cosine": "cosine of the angle between the two",
    "curvature_samples": "samples that the curvature is of",
    "threshold": "stability threshold",
    "time": "seconds since the start",
    "cost": "share of the time spent on watching",
}
_TEXTS = ("optimizer", "rule", "threshold", "model", "responds", "reason", "reduction")
_MOST_BYTES = 64 << 20
_MOST_CHARACTERS = 10_000  # of a line
_MOST_REMARKS = 50


@dataclass(frozen=True)
class Log:
    """What a log holds: `step` (R,), and each field (R,) with NaN where it was not measured."""

    header: dict[str, Any]
    step: NDArray[np.int64]
    fields: dict[str, NDArray[np.float64]]
    damaged: int = 0  # lines that could not be read
    remarks: tuple[str, ...] = ()  # what was noted along the run

    @property
    def scaled(self) -> bool:
        """Is the threshold one of the preconditioned sharpness?"""
        return bool(self.header.get("scaled"))

    @property
    def felt(self) -> NDArray[np.float64]:
        """The sharpness that the threshold bounds (R,)."""
        return self.fields["preconditioned_sharpness" if self.scaled else "sharpness"]

    def findings(self) -> list[str]:
        """What was measured, and what it means, in plain words."""
        from ravine.log_sentences import findings

        with np.errstate(over="ignore"):  # a log may hold any numbers: their sums and ratios may be infinite
            return findings(self)

    def sentences(self) -> list[str]:
        """The findings, and whatever else there is to know about how they were got."""
        return [*self.findings(), *self.notes]

    @property
    def notes(self) -> list[str]:
        """Of the beginning, then of the run."""
        return [*self.header["notes"], *self.remarks]

    def figure(self) -> Figure:
        """Loss, sharpness against the threshold, and the updates, on one step axis."""
        from ravine.figures.watched import watched  # Plotly takes a second to import

        return watched(self)


def written(record: Mapping[str, Any]) -> str:
    """One line of a log. Numbers that are not finite, which JSON has no word for, become texts; NaN counts as infinite."""
    plain = {key: _plain(value) for key, value in record.items()}
    return json.dumps(plain, allow_nan=False, separators=(",", ":")) + "\n"


def _plain(value: Any) -> Any:
    return "inf" if isinstance(value, float) and not math.isfinite(value) else value


def read_log(path: str | Path) -> Log:
    """The log at a path, whole or still being written. Raises ValueError, with a sentence, if it is none; OSError if unreadable."""
    with Path(path).open("rb") as file:
        return parsed(file.read(_MOST_BYTES + 1))


def parsed(data: bytes) -> Log:
    """The log in these bytes. Raises ValueError, with a sentence, if they are none."""
    if len(data) > _MOST_BYTES:
        raise ValueError(f"This log has more than {_MOST_BYTES >> 20} MB, which is more than is read.")
    first, *lines = data.split(b"\n")
    head = _object(first)
    if head is None or _whole(head.get("ravine")) != FORMAT:
        raise ValueError("This is not a log of ravine.watch: its first line must be the header that watch writes.")
    header: dict[str, Any] = {key: _text(value, 200) for key in _TEXTS if isinstance(value := head.get(key), str)}
    header |= {key: value for key in ("scaled", "partial") if isinstance(value := head.get(key), bool)}
    header |= {key: value for key in ("budget", "clip") if math.isfinite(value := _real(head.get(key)))}
    header |= {
        key: value for key in ("every", "samples", "of", "parameters") if (value := _whole(head.get(key))) is not None
    }
    notes = head.get("notes")
    header["notes"] = [_text(str(one), 500) for one in notes[:20]] if isinstance(notes, list) else []
    records, damaged = [], 0
    remarks: list[str] = []
    for line in lines[:-1]:  # the last one is empty, or is being written
        record = _object(line)
        step = None if record is None else _whole(record.get("step"))
        if record is None or step is None:
            damaged += 1
        else:
            records.append((step, {name: _real(record.get(name)) for name in FIELDS}))
            if isinstance(note := record.get("note"), str) and len(remarks) < _MOST_REMARKS:
                remarks.append(f"Step {step}: {_text(note, 1000)}")
    records.sort(key=lambda one: one[0])
    fields = {name: np.array([values[name] for _, values in records], dtype=np.float64) for name in FIELDS}
    return Log(header, np.array([step for step, _ in records], dtype=np.int64), fields, damaged, tuple(remarks))


def _object(line: bytes) -> dict[str, Any] | None:
    if len(line) > _MOST_CHARACTERS:
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(text: str, most: int) -> str:
    """So many characters at most, in one line, and none that a terminal would obey."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in " ".join(text[:most].split()))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 else None


def _real(value: Any) -> float:
    """A number of a record: NaN where there is none."""
    if value == "inf":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
