"""Results kept by content: one computation serves every visitor, and survives a restart.

A result is filed under its experiment's key, the canonical text of all that its numbers depend on, together with the
versions of this package and of torch. Recent results stay in memory; those that took long are also written to disk.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import threading
import zipfile
from collections import OrderedDict
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import platformdirs
import torch

from ravine.experiment import Experiment
from ravine.result import Result

_MEMORY_BYTES = 300 << 20
_DISK_BYTES = 2 << 30


class Store:
    """A bounded memory of results over a bounded folder of files. Safe to use from several threads."""

    def __init__(self, folder: Path | None = None, memory_bytes: int = _MEMORY_BYTES, disk_bytes: int = _DISK_BYTES):
        self._folder = folder or Path(
            os.environ.get("RAVINE_CACHE") or platformdirs.user_cache_dir("ravine", appauthor=False)
        )
        self._memory: OrderedDict[str, Result] = OrderedDict()
        self._memory_bytes, self._disk_bytes = memory_bytes, disk_bytes
        self._lock = threading.Lock()

    def get(self, experiment: Experiment) -> Result | None:
        """The stored result, or None. A damaged file counts as absent and is removed."""
        with self._lock:
            found = self._memory.get(experiment.key)
            if found is not None:
                self._memory.move_to_end(experiment.key)
                return found
        path = self._path(experiment)
        try:
            arrays = dict(np.load(io.BytesIO(path.read_bytes()), allow_pickle=False))
            result = Result.from_arrays(experiment, arrays)
        except OSError:  # no such file, or none that may be read
            return None
        except (ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)  # room is made among those that nobody asks for
        self._remember(result)
        return result

    def put(self, result: Result, *, keep: bool) -> None:
        """Store a result; `keep` writes it to disk as well. A full or read-only disk is no error: memory serves on."""
        self._remember(result)
        if not keep:
            return
        path = self._path(result.experiment)
        buffer = io.BytesIO()
        np.savez(buffer, **result.arrays())  # type: ignore[arg-type]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                try:
                    file.write(buffer.getvalue())
                    file.close()
                    os.replace(file.name, path)  # atomic: a reader sees the whole file or none
                except OSError:
                    os.unlink(file.name)
                    raise
            self._make_room()
        except OSError:
            return

    def _remember(self, result: Result) -> None:
        with self._lock:
            self._memory[result.experiment.key] = result
            self._memory.move_to_end(result.experiment.key)
            while len(self._memory) > 1 and sum(one.nbytes for one in self._memory.values()) > self._memory_bytes:
                self._memory.popitem(last=False)

    def _path(self, experiment: Experiment) -> Path:
        text = f"{version('ravine')} {torch.__version__} {experiment.key}"
        return self._folder / "results" / f"{hashlib.sha256(text.encode()).hexdigest()}.npz"

    def _make_room(self) -> None:
        """Remove the files read or written longest ago until the folder fits its bound."""
        files = sorted((self._folder / "results").glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > self._disk_bytes:
                path.unlink(missing_ok=True)
