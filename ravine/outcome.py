"""What a run does, in one of three words that a student can predict."""

from __future__ import annotations

from torch import Tensor

CONVERGES, OSCILLATES, DIVERGES = OUTCOMES = ("converges", "oscillates", "diverges")
MEANING = (
    "It *diverges* if it leaves finite numbers or ends at a higher loss than it began with. It *oscillates* if over the "
    "last quarter of its steps most turn back on the one before, and they are still at least a hundredth as long as the "
    "steps of the first quarter. Otherwise it *converges*, or is still on its way."
)


def diverged(died: int) -> str:
    """One sentence on a run that left finite numbers at step `died`."""
    if died == 0:
        return "The run cannot begin: at its start the loss or its gradient is not a finite number."
    return f"The run diverged at step {died}."


def outcome(params: Tensor, loss: Tensor, diverged_at: int) -> str:
    """The outcome of one run from all its iterates (R, dim) and their losses (R,)."""
    if diverged_at >= 0 or bool(loss[-1] > loss[0]):
        return DIVERGES
    moves = params.diff(dim=0)  # (R - 1, dim)
    quarter = max(2, len(moves) // 4)
    last = moves[-quarter:]
    turns = (last[1:] * last[:-1]).sum(-1) < 0
    lengths = moves.norm(dim=-1)
    lasting = lengths[-quarter:].mean() > 0.01 * lengths[:quarter].mean()
    mostly = bool(turns.double().mean() > 0.5) if len(turns) else False
    return OSCILLATES if mostly and bool(lasting) else CONVERGES
