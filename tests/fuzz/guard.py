"""Watches what reading an input does: code that is run, files and addresses that are opened, processor time and memory."""

from __future__ import annotations

import gc
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Whoever reads an input may import, and read what is installed: nothing else of this machine.
_OURS = tuple(
    {str(ROOT), *(str(Path(one).resolve()) for one in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()))}
)
_HARMLESS = (
    "import",
    "marshal.loads",
    "object.__getattr__",
    "object.__setattr__",
    "sys._getframe",
    "builtins.id",
    "code.__new__",
)
_LOOKING = ("open", "os.listdir", "os.scandir")
_PARSED = "<unknown>"  # the name under which Python's ast reads a text, as NumPy's headers and formulas are read
_IMPORTING, _PLOTLY = "<frozen importlib._bootstrap>", os.path.join("_plotly_utils", "basevalidators.py")


class Astray(AssertionError):
    """An input made its reader do what no input may."""


@dataclass
class Observed:
    """What became of an input, what reading it cost, and what was done besides."""

    given: Any = None
    refusal: ValueError | None = None
    seconds: float = 0.0  # of processor time
    bytes: int = 0  # that memory grew by at its peak; 0 where the system does not tell
    deeds: list[str] = field(default_factory=list)


_watching: tuple[int, list[str]] | None = None  # the thread under watch, and what it did


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    global _watching
    if _watching is None or threading.get_ident() != _watching[0] or event in _HARMLESS:
        return
    (thread, deeds), _watching = _watching, None  # what looking at the event does is no deed
    try:
        if not _allowed(event, arguments):
            deeds.append(f"{event}{ascii(arguments)[:200]}")
    finally:
        _watching = thread, deeds


def _allowed(event: str, arguments: tuple[Any, ...]) -> bool:
    if event in _LOOKING:
        reading = event != "open" or not (arguments[2] or 0) & 3  # neither for writing nor for both
        return reading and _inside(arguments[0])
    if event == "compile":
        return arguments[1] == _PARSED or _installed_does_it()
    if event == "exec":
        return _inside(arguments[0].co_filename) or _installed_does_it()
    return False


def _inside(path: object) -> bool:
    return isinstance(path, str) and str(Path(path).resolve()).startswith(_OURS)


def _installed_does_it() -> bool:
    """Does this happen while a module is imported, where dataclasses write code of their own, or where Plotly finds a class
    by its name?"""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING or frame.f_code.co_filename.endswith(_PLOTLY):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


_installed = False


def observed(read: Callable[[], Any]) -> Observed:
    """What comes of reading an input, which gives something or refuses it by a ValueError. All else it raises passes."""
    global _watching, _installed
    if not _installed:
        sys.addaudithook(_hook)  # for good: Python takes none out again
        _installed = True
    seen = Observed()
    before = _peak(anew=True)
    began = time.process_time()
    _watching = threading.get_ident(), seen.deeds
    try:
        seen.given = read()
    except ValueError as refusal:
        seen.refusal = refusal
    except Exception as failure:
        if seen.deeds:
            raise _astray(seen) from failure
        raise
    finally:
        _watching = None
        seen.seconds = time.process_time() - began
        seen.bytes = max(0, _peak() - before)
    return seen


def _astray(seen: Observed) -> Astray:
    return Astray(f"It did what no input may: {'; '.join(seen.deeds[:5])}")


def _peak(anew: bool = False) -> int:
    """The most memory this process has held; `anew` starts from what it holds now."""
    with suppress(OSError):
        if anew:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def innocent(read: Callable[[], Any], *, seconds: float, memory: int) -> Observed:
    """What comes of reading an input. Raises Astray where it did or took more than is allowed.

    The first reading may pay for an import or for a neighbour on this processor: what counts is the least of three.
    """
    first = least = observed(read)
    for _ in range(2):
        if first.deeds:
            raise _astray(first)
        if least.seconds <= seconds and least.bytes <= memory:
            return first
        gc.collect()
        again = observed(read)
        least = replace(least, seconds=min(least.seconds, again.seconds), bytes=min(least.bytes, again.bytes))
    if least.seconds > seconds:
        raise Astray(f"It took {least.seconds:.2f} s of processor time, and {seconds:.2f} are allowed.")
    if least.bytes > memory:
        raise Astray(f"It took {least.bytes >> 20} MiB, and {memory >> 20} are allowed.")
    return first
