"""Results kept by content: one computation serves every visitor, and survives a restart.

A result is filed under its experiment's key, the canonical text of all that its numbers depend on, together with the
versions of this package and of torch. Recent results stay in memory; those that took long are also written to disk.
Long work is kept piece by piece until the whole is there, so that a restart computes at most the piece that was lost; of a
training its latest checkpoint is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from landscapes.pieces import Piece
from ravine.cabinet import ENDING, Arrays, Cabinet
from ravine.experiment import Experiment
from ravine.provenance import read as read_provenance
from ravine.result import Result
from ravine.version import __version__

_MEMORY_BYTES = 300 << 20
_DISK_BYTES = 2 << 30
_MADE = "provenance"  # beside the arrays of a result
_ROOM_EVERY = 32  # pieces written between two looks at the size of the folder


class Store:
    """A bounded memory of answers over a bounded folder of files. Safe to use from several threads."""

    def __init__(self, folder: Path | None = None, memory_bytes: int = _MEMORY_BYTES, disk_bytes: int = _DISK_BYTES):
        self.folder = folder or Path(
            os.environ.get("RAVINE_CACHE") or platformdirs.user_cache_dir("ravine", appauthor=False)
        )
        self._memory: OrderedDict[str, Any] = OrderedDict()  # results, and other answers (see ravine.tasks)
        self._held = 0  # bytes
        self._memory_bytes, self._files = memory_bytes, Cabinet(self.folder, disk_bytes)
        self._lock = threading.Lock()

    def get(self, task: Any) -> Any:
        """What is stored of a task (see ravine.tasks), or None. A damaged file counts as absent and is removed."""
        with self._lock:
            found = self._memory.get(task.key)
            if found is not None:
                self._memory.move_to_end(task.key)
        if not isinstance(task, Experiment):
            return found
        if found is None:
            found = self._files.read(self._path(task), lambda arrays: _kept(task, arrays))
            if found is not None:
                self.remember(task.key, found)
        if found is None or found.experiment == task:
            return found
        return found.asked_as(task)  # a key leaves out what only changes the looks

    def has(self, experiment: Experiment) -> bool:
        """Is there a result, as far as can be told without reading it?"""
        return experiment.key in self._memory or self._path(experiment).exists()

    def put(self, result: Result, *, keep: bool) -> None:
        """Store a result; `keep` writes it to disk as well. A full or read-only disk is no error: memory serves on."""
        self.remember(result.experiment.key, result)
        if keep:
            made = {_MADE: np.array(json.dumps(result.provenance))}
            if self._files.write(self._path(result.experiment), result.arrays() | made):
                self._files.make_room()

    def shelf(self, experiment: Experiment) -> Pieces:
        """Where the finished pieces of an experiment are kept until the whole is."""
        return Pieces(self._files, self.folder / "pieces" / self._path(experiment).stem)

    def remember(self, key: str, answer: Any) -> None:
        """Keep an answer in memory; what nobody has asked for for longest makes room."""
        with self._lock:
            self._forget(key)
            self._memory[key] = answer
            self._held += answer.nbytes
            while len(self._memory) > 1 and self._held > self._memory_bytes:
                self._forget(next(iter(self._memory)))

    def _forget(self, key: str) -> None:
        old = self._memory.pop(key, None)
        if old is not None:
            self._held -= old.nbytes

    def _path(self, experiment: Experiment) -> Path:
        text = f"{__version__} {torch.__version__} {experiment.key}"
        return self.folder / "results" / f"{hashlib.sha256(text.encode()).hexdigest()}{ENDING}"


class Pieces:
    """A folder of numbered pieces; a full or read-only disk means that nothing is kept."""

    def __init__(self, files: Cabinet, folder: Path):
        self._files, self._folder = files, folder

    def part(self, index: int) -> Pieces:
        """A shelf of its own for one of several computations, cleared with the whole."""
        return Pieces(self._files, self._folder / f"part{index}")

    def get(self, number: int) -> Piece | None:
        def read(arrays: Arrays) -> Piece:
            return tuple(torch.from_numpy(arrays[f"{index:02d}"]) for index in range(len(arrays)))

        return self._files.read(self._path(number), read)

    def put(self, number: int, piece: Piece) -> None:
        arrays = {f"{index:02d}": one.cpu().numpy() for index, one in enumerate(piece)}
        if self._files.write(self._path(number), arrays) and number % _ROOM_EVERY == 0:
            self._files.make_room()

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}{ENDING}"


def _kept(experiment: Experiment, arrays: Arrays) -> Result:
    made = arrays.pop(_MADE, None)
    return Result.from_arrays(experiment, arrays, {} if made is None else read_provenance(json.loads(str(made))))
