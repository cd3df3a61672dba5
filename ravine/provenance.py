"""What made the numbers of a result: versions, processor and date, as they were when it was computed. It is written into every file."""

from __future__ import annotations

import platform
import re
import struct
import subprocess
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ravine.version import __version__

Provenance = dict[str, str]

_ROOT = Path(__file__).resolve().parents[1]
_PNG_HEAD = 33  # bytes of a PNG's signature and of the chunk that comes first
_MOST, _LONGEST = 20, 200  # entries, and characters of each, in a file that may come from anywhere
_UNKNOWN = "What computed these numbers is not on record."


def provenance() -> Provenance:
    """Of what is computed now, here."""
    return _machine() | {
        "threads": str(torch.get_num_threads()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _machine() -> Provenance:
    known = {
        "ravine": __version__,
        "commit": commit(_ROOT),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "blas": _blas(torch.__config__.show()),
        "processor": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "system": platform.system(),
    }
    return {name: text for name, text in known.items() if text}


def commit(root: Path) -> str:
    """The commit of a checkout, "-dirty" if its files are others; nothing where there is no checkout or no git."""
    if not (root / ".git").exists():  # installed, perhaps inside somebody else's checkout
        return ""
    asked = ("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*")
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    return ""


def _blas(shown: str) -> str:
    """The library that multiplies torch's matrices, of what `torch.__config__.show()` says."""
    name = re.search(r"BLAS_INFO=(\w+)", shown)
    number = re.search(r"Math Kernel Library Version (\S+?)-", shown)
    return " ".join([name[1] if name else "", number[1] if number else ""]).strip()


def told(held: Mapping[str, str]) -> str:
    """In a sentence."""
    if "date" not in held:
        return _UNKNOWN
    kept = held.get("commit", "")
    made = f"Ravine {held.get('ravine', '?')}{f' ({kept[:12]}{kept[40:]})' if kept else ''}"
    with_what = ", ".join(
        f"{word} {held[name]}"
        for name, word in (("python", "Python"), ("torch", "torch"), ("blas", "BLAS"))
        if name in held
    )
    where = " ".join(held[name] for name in ("processor", "cpu_capability", "cuda") if name in held)
    threads = held.get("threads", "?")
    return (
        f"Computed on {held['date']} by {made} with {with_what}, on {where}, {threads} thread{'s' * (threads != '1')}."
    )


def read(held: Any) -> Provenance:
    """That of a file, which may hold anything; nothing of it where it is none."""
    if not isinstance(held, dict) or len(held) > _MOST:
        return {}
    fits = all(isinstance(one, str) and len(one) <= _LONGEST and one.isprintable() for one in (*held, *held.values()))
    return dict(held) if fits else {}


def in_png(data: bytes, text: str) -> bytes:
    """A PNG with a text inside, under the keyword Specification."""
    body = b"iTXt" + b"Specification\0" + b"\0\0" + b"\0" + b"\0" + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:_PNG_HEAD] + chunk + data[_PNG_HEAD:]
