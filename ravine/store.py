"""Results kept by content: one computation serves every visitor, and survives a restart.

A result is filed under its experiment's key, the canonical text of all that its numbers depend on, together with the
versions of this package and of torch. Recent results stay in memory; those that took long are also written to disk.
Long work is kept piece by piece until the whole is there, so that a restart computes at most the piece that was lost; of a
training its latest checkpoint is kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from landscapes.pieces import Piece
from ravine.experiment import Experiment
from ravine.provenance import VERSION
from ravine.provenance import read as read_provenance
from ravine.result import Arrays, Result

_MEMORY_BYTES = 300 << 20
_DISK_BYTES = 2 << 30
_MADE = "provenance"  # beside the arrays of a result
_ROOM_EVERY = 32  # pieces written between two looks at the size of the folder


class Store:
    """A bounded memory of results over a bounded folder of files. Safe to use from several threads."""

    def __init__(self, folder: Path | None = None, memory_bytes: int = _MEMORY_BYTES, disk_bytes: int = _DISK_BYTES):
        self.folder = folder or Path(
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
        result = _read(self._path(experiment), lambda arrays: _kept(experiment, arrays))
        if result is not None:
            self._remember(result)
        return result

    def put(self, result: Result, *, keep: bool) -> None:
        """Store a result; `keep` writes it to disk as well. A full or read-only disk is no error: memory serves on."""
        self._remember(result)
        if not keep:
            return
        with suppress(OSError):
            _write(self._path(result.experiment), result.arrays() | {_MADE: np.array(json.dumps(result.provenance))})
            self._make_room()

    def shelf(self, experiment: Experiment) -> Pieces:
        """Where the finished pieces of an experiment are kept until the whole is."""
        return Pieces(self.folder / "pieces" / self._path(experiment).stem, self._make_room)

    def _remember(self, result: Result) -> None:
        with self._lock:
            self._memory[result.experiment.key] = result
            self._memory.move_to_end(result.experiment.key)
            while len(self._memory) > 1 and sum(one.nbytes for one in self._memory.values()) > self._memory_bytes:
                self._memory.popitem(last=False)

    def _path(self, experiment: Experiment) -> Path:
        text = f"{VERSION} {torch.__version__} {experiment.key}"
        return self.folder / "results" / f"{hashlib.sha256(text.encode()).hexdigest()}.npz"

    def _make_room(self) -> None:
        """Remove the files read or written longest ago until the folder fits its bound."""
        found = [*(self.folder / "results").glob("*.npz"), *(self.folder / "pieces").rglob("*.npz")]
        sizes = []
        for path in found:
            with suppress(FileNotFoundError):  # pieces go as soon as the whole is there
                sizes.append((path.stat().st_mtime, path.stat().st_size, path))
        total = 0
        for _, size, path in sorted(sizes, reverse=True):
            total += size
            if total > self._disk_bytes:
                path.unlink(missing_ok=True)


class Pieces:
    """A folder of numbered pieces; a full or read-only disk means that nothing is kept."""

    def __init__(self, folder: Path, make_room: Callable[[], None]):
        self._folder, self._make_room = folder, make_room

    def part(self, index: int) -> Pieces:
        """A shelf of its own for one of several computations, cleared with the whole."""
        return Pieces(self._folder / f"part{index}", self._make_room)

    def get(self, number: int) -> Piece | None:
        def read(arrays: Arrays) -> Piece:
            return tuple(torch.from_numpy(arrays[f"{index:02d}"]) for index in range(len(arrays)))

        return _read(self._path(number), read)

    def put(self, number: int, piece: Piece) -> None:
        with suppress(OSError):
            _write(self._path(number), {f"{index:02d}": one.cpu().numpy() for index, one in enumerate(piece)})
            if number % _ROOM_EVERY == 0:
                self._make_room()

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.npz"


def _kept(experiment: Experiment, arrays: Arrays) -> Result:
    made = arrays.pop(_MADE, None)
    return Result.from_arrays(experiment, arrays, {} if made is None else read_provenance(json.loads(str(made))))


def _read(path: Path, meaning: Callable[[Arrays], Any]) -> Any:
    """What a file of arrays means, or None. A damaged file counts as absent and is removed."""
    try:
        found = meaning(dict(np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)))
    except OSError:  # no such file, or none that may be read
        return None
    except (ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    with suppress(OSError):
        os.utime(path)  # room is made among those that nobody asks for
    return found


def _write(path: Path, arrays: Arrays) -> None:
    """All at once: a reader sees the whole file or none. Raises OSError."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(buffer.getvalue())
            file.close()
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise
