"""A short text that tells whether two machines got the same numbers: to the last bit, or else how far apart they are."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 6  # numbers carried along, to measure by how much two machines differ
_TEXT = re.compile(r"[0-9a-f]{16}(~-?[0-9.e+-]{1,24}){0,6}")


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of every bit of named arrays, in hexadecimal, whatever their order; every NaN counts as the same, and so does
    every byte order."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), np.array(math.nan, array.dtype), array)
        array = array.astype(array.dtype.newbyteorder("<"))
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()


@dataclass(frozen=True)
class Fingerprint:
    """A digest of every bit, and a few of the losses in full, spread evenly over all that are finite."""

    digest: str
    samples: tuple[float, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Fingerprint:
        """Of named arrays, whatever their order; every NaN counts as the same, and so does every byte order."""
        losses = [
            array.astype(float).ravel()
            for name, array in sorted(arrays.items())
            if name.rpartition(".")[2] == "loss" and array.dtype.kind == "f"  # not how many were evaluated
        ]
        values = np.concatenate(losses) if losses else np.zeros(0)
        finite = values[np.isfinite(values)]
        places = np.linspace(0, len(finite) - 1, min(_SAMPLES, len(finite))).round().astype(int)
        return cls(digest(arrays)[:16], tuple(finite[places].tolist()))

    @classmethod
    def read(cls, text: str) -> Fingerprint:
        """The inverse of `write`. Raises ValueError."""
        sentence = "fp is not allowed: it must be a fingerprint as this app writes it."
        if len(text) > 200 or not _TEXT.fullmatch(text):
            raise ValueError(sentence)
        digest, *samples = text.split("~")
        try:
            return cls(digest, tuple(float(one) for one in samples))
        except ValueError:
            raise ValueError(sentence) from None

    def write(self) -> str:
        return "~".join([self.digest, *(repr(one) for one in self.samples)])

    def difference(self, other: Fingerprint) -> float:
        """0 where every bit agrees; else the largest relative difference of the carried losses, infinite if they do not compare.

        Bits may differ where the carried losses agree: then it is the spacing of float64 numbers, the least that can be said.
        """
        if self.digest == other.digest:
            return 0.0
        if len(self.samples) != len(other.samples) or not self.samples:
            return math.inf
        worst = 0.0
        for own, others in zip(self.samples, other.samples, strict=True):
            scale = max(abs(own), abs(others))
            worst = max(worst, abs(own - others) / scale if scale else 0.0)
        return max(worst, float(np.finfo(float).eps))

    def verdict(self, other: Fingerprint) -> str:
        """What a reader is told; `self` is the link's, `other` this machine's."""
        apart = self.difference(other)
        if apart == 0:
            return "Reproduced to the last bit: this machine got exactly the numbers that the link promises."
        if math.isinf(apart):
            return "Not reproduced: this machine's numbers are not those that the link promises."
        if apart < 1e-6:
            return f"Reproduced to a relative tolerance of {apart:.1g}, though not to the last bit."
        return f"Not reproduced: this machine's losses differ by up to {apart:.2g} relative from those that the link promises."
