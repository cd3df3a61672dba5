"""A short text that tells what another machine got of the same experiment: the same bits, the same numbers to a tolerance,
the same statistics of a chaotic run, or something else.

A link has room for some hundred characters, and so for no list of losses. It carries random sums of them instead (signs
drawn once and for all, as in Johnson and Lindenstrauss 1984; Achlioptas 2003): the same sums taken here differ by what the
losses differ, whichever of them do. Where the runs part, as at the edge of stability, where each rounding error grows, it is
the quantiles of the loss by quarters of the run, the step at which the sharpness first reaches its threshold, and where it
stays that tell one run from another.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SUMS = 12
# Of the length of a vector, estimated from so many sums, at most this multiple is true: in 999 cases of 1,000, as the least
# 0.1 % of chi squared with 12 degrees of freedom say.
_SURE = 2.33
_NEGLIGIBLE = 30  # powers of two below the median loss at which differences no longer count in full
_PARTS, _QUANTILES = 4, (0.1, 0.5, 0.9)
_TOLERANCE = 1e-3  # relative; up to it runs are called the same
_NEAR = 0.1  # relative: how near the late means of two chaotic runs are
_HEADER, _TRACK = struct.Struct("<IhB"), struct.Struct(f"<iif{_PARTS * len(_QUANTILES)}f")
_TEXT = re.compile(r"2\.[0-9a-f]{16}\.[A-Za-z0-9_-]{1,1400}")
_OLD = re.compile(r"[0-9a-f]{16}(~-?[0-9.e+-]{1,24}){0,6}")
_REFUSAL = "fp is not allowed: it must be a fingerprint as this app writes it."
_BITS = "Same to the bit: this machine got exactly the numbers of the link."
_THERE, _HERE = "in the link", "here"


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of every bit of named arrays, in hexadecimal, whatever their order; every NaN counts as the same, and so does
    every byte order."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        if array.dtype.kind == "U":  # as its bytes, which is how it used to be written
            array = np.frombuffer("".join(array.ravel().tolist()).encode(), np.uint8)
        if array.dtype.kind == "f" and array.size and np.isnan(array.min()):
            array = np.where(np.isnan(array), np.array(math.nan, array.dtype), array)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        found.update(array.reshape(-1).view(np.uint8).data)  # as it lies: results are large, and this holds up nobody
    return found.hexdigest()


class Verdict(NamedTuple):
    """What a reader is told, and which of five things it is: bits, tolerance, statistics, different or unknown."""

    kind: str
    sentence: str


@dataclass(frozen=True)
class Track:
    """One run as far as two machines are compared."""

    step: NDArray[np.int64]  # (R,)
    loss: Floats  # (R,)
    # The step at which the sharpness that the run answers to first reaches its threshold: -1 if it never does, None where
    # there is no such threshold.
    crossing: int | None = None
    late: float = math.nan  # that sharpness over its threshold, averaged over the last 30 % of the measurements
    every: int = 1  # steps from one measurement to the next

    @property
    def until(self) -> int:
        """The step up to which rounding errors are expected to stay small: all of a run that stays below its threshold;
        else that of the crossing, or of a tenth of the run."""
        last = int(self.step[-1]) if len(self.step) else 0
        if self.crossing is None:
            return last // 10
        return last if self.crossing < 0 else min(self.crossing, last // 10)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Of the loss in each quarter of the run, in turn; NaN where nothing of a quarter is finite."""
        found: list[float] = []
        for part in np.array_split(self.loss, _PARTS):
            finite = part[np.isfinite(part)]
            found += np.quantile(finite, _QUANTILES).tolist() if len(finite) else [math.nan] * len(_QUANTILES)
        with np.errstate(over="ignore"):
            return tuple(np.array(found, np.float32).tolist())


class Stat(NamedTuple):
    """What is carried of a `Track`."""

    until: int
    crossing: int | None
    late: float
    quantiles: tuple[float, ...]

    def packed(self) -> bytes:
        crossing = -2 if self.crossing is None else self.crossing
        return _TRACK.pack(self.until, crossing, self.late, *self.quantiles)

    @classmethod
    def of_track(cls, track: Track) -> Stat:
        return cls(track.until, track.crossing, float(np.float32(track.late)), track.quantiles)


@dataclass(frozen=True)
class Numbers:
    """What two machines compare of a result."""

    digest: str  # of every bit
    tracks: tuple[Track, ...]
    rest: Floats  # all other losses, in one dimension
    sampled: Floats  # all losses in the order from which links of the first version took theirs

    @cached_property
    def losses(self) -> Floats:
        return np.concatenate([*(one.loss for one in self.tracks), self.rest])

    @cached_property
    def fingerprint(self) -> Fingerprint:
        known = np.abs(self.losses[np.isfinite(self.losses) & (self.losses != 0)])
        exponent = math.frexp(float(np.median(known)))[1] if len(known) else 0
        stats = tuple(map(Stat.of_track, self.tracks))
        early, whole = self.sums(exponent, [one.until for one in stats])
        return Fingerprint(self.digest[:16], len(self.losses), exponent, early, whole, stats)

    def sums(self, exponent: int, until: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Random sums of the losses, as `leveled` by an exponent: of those of each run up to a step, and of all."""
        values = leveled(self.losses, exponent)
        masks = [one.step <= last for one, last in zip(self.tracks, until, strict=True)]
        mask = np.concatenate([*masks, np.zeros(len(self.rest), bool)])
        bits = hashlib.shake_256(b"ravine").digest((_SUMS * len(values) + 7) // 8)
        signs = np.unpackbits(np.frombuffer(bits, np.uint8))[: _SUMS * len(values)].reshape(_SUMS, -1) * 2.0 - 1
        early, whole = (
            tuple(math.fsum((row * part).tolist()) for row in signs) for part in (np.where(mask, values, 0.0), values)
        )
        return early, whole

    def against(self, other: Numbers) -> Verdict:
        """Two results that are both here, so that every loss of them is compared."""
        if self.digest == other.digest:
            return Verdict("bits", "They are the same to the bit.")
        if len(self.losses) != len(other.losses):
            return Verdict("different", f"They are different: {len(self.losses):,} losses and {len(other.losses):,}.")
        apart = leveled(self.losses, self.fingerprint.exponent) - leveled(other.losses, self.fingerprint.exponent)
        worst = float(-np.expm1(-np.abs(apart).max(initial=0.0)))
        if worst == 0:
            return Verdict("tolerance", "Every loss is the same to the bit; other numbers are not.")
        found = self.fingerprint.verdict(other, "on side A", "on side B")
        if worst <= _TOLERANCE:
            return Verdict("tolerance", f"Same to tolerance: no loss differs by more than {_share(worst)} of itself.")
        return Verdict(found.kind, f"{found.sentence} The loss that differs most does so by {_share(worst)} of itself.")


def leveled(losses: Floats, exponent: int) -> Floats:
    """Losses on a scale on which a difference is a relative one, whatever their sign: about their logarithm, and linear
    below 2^(exponent - 30). What is not finite lies far from all that is."""
    least = math.ldexp(1.0, max(-1000, min(1000, exponent - _NEGLIGIBLE)))
    with np.errstate(over="ignore"):
        scaled = np.arcsinh(losses / (2 * least))
    return np.where(np.isfinite(scaled), scaled, 1e3)


@dataclass(frozen=True)
class Fingerprint:
    """What a link carries of `Numbers`."""

    digest: str  # its first 16 characters
    size: int  # how many losses there are
    exponent: int
    early: tuple[float, ...]  # (_SUMS,)
    whole: tuple[float, ...]  # (_SUMS,)
    stats: tuple[Stat, ...]

    def write(self) -> str:
        packed = _HEADER.pack(self.size, self.exponent, len(self.stats))
        packed += struct.pack(f"<{2 * _SUMS}d", *self.early, *self.whole)
        packed += b"".join(one.packed() for one in self.stats)
        return f"2.{self.digest}.{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"

    @staticmethod
    def read(text: str) -> Fingerprint | Sampled:
        """The inverse of `write`, of this version and of the first. Raises ValueError."""
        if len(text) <= 200 and _OLD.fullmatch(text):
            return Sampled.read(text)
        if not _TEXT.fullmatch(text):
            raise ValueError(_REFUSAL)
        _, held, packed = text.split(".")
        try:
            return Fingerprint._unpacked(held, base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        except (ValueError, struct.error):
            raise ValueError(_REFUSAL) from None

    @classmethod
    def _unpacked(cls, held: str, data: bytes) -> Fingerprint:
        size, exponent, count = _HEADER.unpack_from(data)
        sums = struct.unpack_from(f"<{2 * _SUMS}d", data, _HEADER.size)
        first = _HEADER.size + 16 * _SUMS
        stats = []
        for place in range(count):
            until, crossing, late, *quantiles = _TRACK.unpack_from(data, first + place * _TRACK.size)
            stats.append(Stat(until, None if crossing == -2 else crossing, late, tuple(quantiles)))
        if len(data) != first + count * _TRACK.size or not all(map(math.isfinite, sums)):
            raise ValueError
        return cls(held, size, exponent, sums[:_SUMS], sums[_SUMS:], tuple(stats))

    def apart(self, here: Numbers) -> tuple[tuple[float, float], tuple[float, float]]:
        """By how much losses differ, relative to themselves: root mean square, and more than any; early on, and in all."""
        found = []
        for own, others in zip((self.early, self.whole), self._sums_of(here), strict=True):
            gaps = np.subtract(own, others)
            length = math.sqrt(float(np.mean(gaps**2)))
            # Logarithms are rounded too, by a part of themselves.
            rounding = 4 * float(np.finfo(float).eps) * math.sqrt(float(np.mean(np.square(own))))
            most = -math.expm1(-max(_SURE * length, rounding))
            found.append((-math.expm1(-length / math.sqrt(max(self.size, 1))), most))
        return found[0], found[1]

    def _sums_of(self, here: Numbers) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return here.sums(self.exponent, [one.until for one in self.stats])

    def verdict(self, other: Numbers, there: str = _THERE, here: str = _HERE) -> Verdict:
        """What a reader is told. `self` is the link's, `other` are this machine's numbers; in words, `there` and `here`."""
        if self.digest == other.digest[:16]:
            return Verdict("bits", _BITS)
        if self.size != len(other.losses) or len(self.stats) != len(other.tracks):
            return Verdict("different", f"Different: {self.size:,} losses {there}, {len(other.losses):,} {here}.")
        (_, before), (typical, worst) = self.apart(other)
        if worst <= _TOLERANCE:
            return Verdict(
                "tolerance",
                f"Same to tolerance: none of {self.size:,} losses differs by more than {_share(worst)} of itself from that "
                f"{there}{f' ({_share(typical)} in the root mean square)' if typical else ''}.",
            )
        pairs = list(zip(self.stats, other.tracks, strict=True))
        failing = [said for one, track in pairs if (said := _unlike(one, track, there, here))]
        differ = f"losses differ by {_share(typical)} of themselves in the root mean square"
        if before <= _TOLERANCE and pairs and not failing and not len(other.rest):
            return Verdict(
                "statistics",
                f"The same statistics of a chaotic run, not the same numbers: {_parting(pairs, before)} In all {differ}, "
                f"since each rounding error grows. {_alike(pairs, there, here)}",
            )
        early = (
            f"already before step {_until(pairs)} by up to {_share(before)}; " if before > _TOLERANCE and pairs else ""
        )
        why = f" {failing[0]}" if failing else ""
        return Verdict("different", f"Different: {early}{differ}.{why}")


def _unlike(link: Stat, track: Track, there: str, here: str) -> str:
    """In what the statistics of two runs differ, or nothing."""
    stat = Stat.of_track(track)
    if (link.crossing is None) != (stat.crossing is None) or ((link.crossing or 0) < 0) != ((stat.crossing or 0) < 0):
        return "The sharpness reaches its threshold in one of them alone."
    if link.crossing is not None and stat.crossing is not None:
        if abs(link.crossing - stat.crossing) > max(2 * track.every, 0.05 * link.crossing):
            return f"The sharpness reaches its threshold at step {link.crossing} {there}, at {stat.crossing} {here}."
        if not abs(link.late - stat.late) <= _NEAR * abs(link.late):
            return f"Late in the run the sharpness averages {link.late:.3g} times its threshold {there}, {stat.late:.3g} times {here}."
    for part in range(_PARTS):
        own, other = (one.quantiles[3 * part : 3 * part + 3] for one in (link, stat))
        same_holes = math.isnan(own[1]) == math.isnan(other[1])
        if not same_holes or own[1] < other[0] or own[1] > other[2] or other[1] < own[0] or other[1] > own[2]:
            return f"The median loss of quarter {part + 1} of the run is {own[1]:.4g} {there}, {other[1]:.4g} {here}."
    return ""


def _alike(pairs: Sequence[tuple[Stat, Track]], there: str, here: str) -> str:
    """Which statistics agree, with their values; of several runs those of the first."""
    link, track = pairs[0]
    stat = Stat.of_track(track)
    said = [f"the median loss of its last quarter is {link.quantiles[-2]:.4g} {there}, {stat.quantiles[-2]:.4g} {here}"]
    if link.crossing is not None and link.crossing >= 0:
        said.append(
            f"its sharpness first reaches the threshold at step {link.crossing} {there}, {stat.crossing} {here}"
        )
        said.append(f"and averages {link.late:.3f} times that late in the run {there}, {stat.late:.3f} {here}")
    text = ", ".join(said)
    return f"Of the first of {len(pairs)} runs {text}." if len(pairs) > 1 else f"{text[0].upper()}{text[1:]}."


def _until(pairs: Sequence[tuple[Stat, Track]]) -> int:
    return min(link.until for link, _ in pairs)


def _parting(pairs: Sequence[tuple[Stat, Track]], before: float) -> str:
    last = _until(pairs)
    which = f"up to step {last} no loss differs" if last else "the first loss does not differ"
    return f"{which} by more than {_share(before)} of itself."


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.01 else f"{value:.1g}"


@dataclass(frozen=True)
class Sampled:
    """A fingerprint of the first version: a digest of every bit, and six of the finite losses in full, spread evenly."""

    digest: str
    samples: tuple[float, ...]

    @classmethod
    def read(cls, text: str) -> Sampled:
        held, *samples = text.split("~")
        try:
            return cls(held, tuple(float(one) for one in samples))
        except ValueError:
            raise ValueError(_REFUSAL) from None

    def write(self) -> str:
        return "~".join([self.digest, *(repr(one) for one in self.samples)])

    def verdict(self, here: Numbers) -> Verdict:
        if self.digest == here.digest[:16]:
            return Verdict("bits", _BITS)
        finite = here.sampled[np.isfinite(here.sampled)]
        places = np.linspace(0, len(finite) - 1, min(6, len(finite))).round().astype(int)
        own = finite[places]
        few = f"This link is of an earlier version and carries {len(self.samples)} of the losses"
        if len(own) != len(self.samples) or not len(own):
            return Verdict(
                "different", f"Different: {few[0].lower()}{few[1:]}, which do not compare with those of this machine."
            )
        scale = np.maximum(np.abs(own), np.abs(self.samples))
        worst = float(np.max(np.abs(own - self.samples) / np.where(scale > 0, scale, 1.0)))
        if worst <= _TOLERANCE:
            return Verdict(
                "unknown",
                f"Not the same to the bit. {few}: these differ by at most {_share(worst)} of themselves, and of the others it "
                "tells nothing. A new link tells more.",
            )
        return Verdict(
            "different", f"Different: {few[0].lower()}{few[1:]}, of which one differs by {_share(worst)} of itself."
        )
