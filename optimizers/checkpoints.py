"""Where a run stands, put on a shelf now and then, so that whoever takes it up again repeats at most what came after.

What was put away comes back bit by bit, with the strides it had: products of matrices round otherwise in another order.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

import torch
from torch import Tensor

from landscapes.pieces import Piece, Shelf

Tree = Any  # tensors, generators, numbers, texts and None in tuples, lists and dictionaries with texts as keys

EVERY = 2.0  # seconds between two checkpoints
_SHARE = 50  # times as long as one takes: they cost 2 % at most
_PLACE = 2  # on the shelf, where each takes the place of the one before; another form of them takes another number


class Checkpoints:
    """The latest standing of one run on its shelf; without a shelf, nothing is kept."""

    def __init__(self, shelf: Shelf | None):
        self._shelf, self._pause = shelf, EVERY
        self._last = time.monotonic()

    def found(self) -> Tree | None:
        """What was put away last, if it is there and whole."""
        piece = self._shelf.get(_PLACE) if self._shelf is not None else None
        return None if piece is None else unpacked(piece)

    @property
    def due(self) -> bool:
        """Is it time for another?"""
        return self._shelf is not None and time.monotonic() - self._last >= self._pause

    def keep(self, standing: Tree) -> None:
        """Puts it away in place of the one before."""
        began = time.monotonic()
        if self._shelf is not None:
            self._shelf.put(_PLACE, packed(standing))
        self._last = time.monotonic()
        self._pause = max(EVERY, _SHARE * (self._last - began))


def packed(tree: Tree) -> Piece:
    """The tree as tensors alone: its shape as text in the first, then its tensors. Raises TypeError for other leaves."""
    tensors: list[Tensor] = []

    def shape(one: Tree) -> Any:
        match one:
            case float() if not math.isfinite(one):  # as text a NaN would lose its sign bit
                return {"float": shape(torch.tensor(one, dtype=torch.float64))}
            case None | bool() | int() | float() | str():
                return one
            case torch.Generator():
                return {"generator": shape(one.get_state())}
            case Tensor():
                spread = [size > 1 and stride == 0 for size, stride in zip(one.shape, one.stride(), strict=True)]
                base = one[tuple(slice(0, 1) if flat else slice(None) for flat in spread)] if one.ndim else one
                tensors.append(base.detach().cpu().contiguous())
                place = {"at": len(tensors), "size": list(one.shape), "stride": list(base.stride())}
                return place | {"device": str(one.device)}
            case dict():
                return {"dict": [[key, shape(value)] for key, value in one.items()]}
            case list():
                return [shape(value) for value in one]
            case tuple():
                return {"tuple": [shape(value) for value in one]}
        raise TypeError(f"{type(one).__name__} cannot be part of a checkpoint.")

    text = json.dumps(shape(tree))
    return torch.tensor(list(text.encode()), dtype=torch.uint8), *tensors


def unpacked(piece: Piece) -> Tree:
    """The inverse of `packed`; a named tuple comes back as a plain one."""

    def tree(one: Any) -> Tree:
        if isinstance(one, list):
            return [tree(value) for value in one]
        if not isinstance(one, dict):
            return one
        if "float" in one:
            return tree(one["float"]).item()
        if "generator" in one:
            generator = torch.Generator()
            generator.set_state(tree(one["generator"]))
            return generator
        if "dict" in one:
            return {key: tree(value) for key, value in one["dict"]}
        if "tuple" in one:
            return tuple(tree(value) for value in one["tuple"])
        base = piece[one["at"]]
        like = torch.empty_strided(base.shape, one["stride"], dtype=base.dtype, device=one["device"])
        return like.copy_(base).expand(one["size"])

    return tree(json.loads(bytes(piece[0].tolist())))
