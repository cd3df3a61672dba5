"""Messages between our own processes: pickled, with experiments as links and tensors as arrays.

A landscape of a user's own is made anew wherever it arrives, from the user's file; it is held against the evidence that
travels with it (see ravine.own).
"""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ravine import own
from ravine.experiment import Experiment
from ravine.fingerprint import Fingerprint
from ravine.pictures import Pictures
from ravine.result import Result

_BEFORE = object()  # stands for the answer before, in what is packed
_ITS_NAME = "before"


class Parcel(NamedTuple):
    """A value as it travels: its arrays lie beside what is said of them, and are copied nowhere."""

    head: bytes
    buffers: Sequence[Any]  # pickle.PickleBuffer where it is packed; what was read, where it arrives

    @property
    def nbytes(self) -> int:
        return len(self.head) + sum(memoryview(one).nbytes for one in self.buffers)


def pack(value: Any, asked: Any = None, before: Any = None) -> Parcel:
    """That from which `unpack` makes the same value, bit by bit; `asked` is what the receiver has already, and `before` the
    answer that was sent last: a path that both have is not sent again.

    It holds the value's own arrays: to be sent before they change.
    """
    file, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Packer(file, asked, before, buffers).dump(value)
    return Parcel(file.getvalue(), buffers)


def unpack(parcel: Parcel, asked: Any = None, before: Any = None) -> Any:
    """Raises ValueError, with a sentence, for a landscape that is not here as it was there. Only for what our own `pack` made."""
    return _Unpacker(parcel, asked, before).load()


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, asked: Any, before: Any, buffers: list[pickle.PickleBuffer]):
        super().__init__(file, protocol=5, buffer_callback=buffers.append)
        self._asked, self._before = asked, before

    def persistent_id(self, value: Any) -> Any:
        if value is _BEFORE:
            return _ITS_NAME
        if not isinstance(value, Experiment):
            return None
        if value is self._asked or value == self._asked:
            return ()
        return value.to_url(), value.key, own.evidence([value.landscape.name])

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Tensor:
            return torch.from_numpy, (value.detach().cpu().contiguous().numpy(),)
        if isinstance(value, Result):
            arrays, before = value.arrays(), None
            if isinstance(self._before, Result) and value.trajectory is self._before.trajectory:
                there = Result(value.experiment, value.trajectory).arrays()
                arrays, before = {name: one for name, one in arrays.items() if name not in there}, _BEFORE
            progress = value.done, value.total, value.phase, value.recalled
            # Of large results it takes a while: not in who draws.
            known = (value.digest, value.fingerprint) if value.complete else None
            pictures = vars(value).get("pictures")  # if they have been made
            return _result, (value.experiment, arrays, value.provenance, progress, known, pictures, before)
        return NotImplemented


class _Unpacker(pickle.Unpickler):
    def __init__(self, parcel: Parcel, asked: Any, before: Any):
        super().__init__(io.BytesIO(parcel.head), buffers=parcel.buffers)
        self._asked, self._before = asked, before

    def persistent_load(self, told: Any) -> Any:
        if told == _ITS_NAME:
            return self._before
        return _experiment(*told) if told else self._asked


def _experiment(link: str, key: str, evidence: dict[str, own.Evidence]) -> Experiment:
    if evidence:
        own.register_from_environment()
        own.agree(evidence)
    experiment, refusals = Experiment.from_url(link)
    if refusals or experiment.key != key:
        raise ValueError(f"This experiment is not what its link says, {link}. {' '.join(refusals)}".strip())
    return experiment


def _result(
    experiment: Experiment,
    arrays: dict[str, Any],
    made: Any,
    progress: tuple[int, int, str, bool],
    known: tuple[str, Fingerprint] | None,
    pictures: Pictures | None,
    before: Result | None,
) -> Result:
    done, total, phase, recalled = progress
    if before is not None:
        arrays = Result(before.experiment, before.trajectory).arrays() | arrays
    result = Result.from_arrays(experiment, arrays, made)
    path = result.trajectory if before is None else before.trajectory
    result = dataclasses.replace(result, trajectory=path, done=done, total=total, phase=phase, recalled=recalled)
    if pictures is not None:
        result = result.shown_by(pictures)
    return result if known is None else result.known_by(*known)
