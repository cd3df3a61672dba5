"""What a run does, in one of three words that a student can predict."""

from __future__ import annotations

import math

from torch import Tensor

from optimizers import Sweep

CONVERGES, OSCILLATES, DIVERGES = OUTCOMES = ("converges", "oscillates", "diverges")
MEANING = (
    "It *diverges* if it leaves finite numbers or ends at a higher loss than it began with. It *oscillates* if over the "
    "last quarter of its steps most turn back on the one before, and they are still at least a hundredth as long as the "
    "steps of the first quarter. Otherwise it *converges*, or is still on its way."
)


def divergence(died: int, first: float = math.nan, last: float = math.nan) -> str:
    """How a run diverged, as a clause of which it is the subject; empty if it did not (see MEANING).

    `died` is the step at which it left finite numbers, -1 if none; `first` and `last` are its losses in comparable units, NaN
    where they are not known, or are of different batches.
    """
    if died == 0:
        return "cannot begin: at its start the loss or its gradient is not a finite number"
    if died > 0:
        return f"diverged at step {died}"
    return f"diverged: its loss rose from {first:.4g} to {last:.4g}" if last > first else ""


def diverged(died: int, first: float = math.nan, last: float = math.nan) -> str:
    """The same as a sentence about the run."""
    clause = divergence(died, first, last)
    return f"The run {clause}." if clause else ""


def lost(table: Sweep, first: float) -> Tensor:
    """Which runs of a sweep diverged (n1, n2, ...): those that left finite numbers, or ended above the loss they began with, by
    more than how runs side by side round.
    """
    return (table.diverged_at >= 0) | (table.final_loss > first + 1e-6 * abs(first))


def outcome(params: Tensor, loss: Tensor, diverged_at: int) -> str:
    """The outcome of one run from all its iterates (R, dim) and their losses (R,)."""
    if divergence(diverged_at, float(loss[0]), float(loss[-1])):
        return DIVERGES
    moves = params.diff(dim=0)  # (R - 1, dim)
    quarter = max(2, len(moves) // 4)
    last = moves[-quarter:]
    turns = (last[1:] * last[:-1]).sum(-1) < 0
    lengths = moves.norm(dim=-1)
    lasting = lengths[-quarter:].mean() > 0.01 * lengths[:quarter].mean()
    mostly = bool(turns.double().mean() > 0.5) if len(turns) else False
    return OSCILLATES if mostly and bool(lasting) else CONVERGES
