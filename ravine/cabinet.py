"""A bounded folder of files that hold arrays, for several processes at once: nothing in it is a program.

Nothing here fails for want of disk: what cannot be written is not kept, and what cannot be read is not there.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

ENDING = ".npz"
_UNFINISHED = ".part"
_ABANDONED = 600.0  # seconds in which nobody wrote to an unfinished file: its writer is gone
_OVERHEAD = 512  # bytes of an archive beside those of its arrays, for each array


class Cabinet:
    """The files below a folder; when they fill more than so many bytes, those used longest ago go first."""

    def __init__(self, folder: Path, most_bytes: int):
        self.folder, self._most = folder, most_bytes

    def write(self, path: Path, arrays: Arrays) -> bool:
        """Writes a file, if it can be; says whether it is there. On a full disk older files make room for it."""
        try:
            _write(path, arrays)
        except OSError as failure:
            if failure.errno not in (errno.ENOSPC, errno.EDQUOT):
                return False
            needed = sum(one.nbytes + _OVERHEAD for one in arrays.values())
            try:
                self.make_room(needed - shutil.disk_usage(self.folder).free, besides=path)
                _write(path, arrays)
            except OSError:
                return False
        return True

    def read(self, path: Path, meaning: Callable[[Arrays], Any]) -> Any:
        """What a file means, or None. A damaged file counts as absent and is removed."""
        try:
            with path.open("rb") as file:
                try:
                    found = meaning(dict(np.load(file, allow_pickle=False)))
                except Exception:  # whatever damage makes a reader raise
                    found = None
        except OSError:  # no such file, or none that may be read
            return None
        with suppress(OSError):
            if found is None:
                path.unlink(missing_ok=True)
            else:
                os.utime(path)  # room is made among those that nobody asks for
        return found

    def make_room(self, free: int = 0, besides: Path | None = None) -> None:
        """Removes what writers that were killed have left, and the files used longest ago until the rest fits its bound.

        `free` asks for so many bytes more; where all files together would not give them, none is removed for it.
        """
        found = []
        # Pieces go as soon as the whole is there, folders and all: os.walk takes what is gone for empty.
        for path in (
            Path(folder, name)
            for part in ("results", "pieces")
            for folder, _, names in os.walk(self.folder / part)
            for name in names
        ):
            with suppress(OSError):
                if path != besides:
                    found.append((path.stat().st_mtime, path.stat().st_size, path))
        kept = []
        for changed, size, path in sorted(found, reverse=True):
            if path.suffix != ENDING and time.time() - changed > _ABANDONED:
                path.unlink(missing_ok=True)
                free -= size
            else:
                kept.append((size, path))
        total = sum(size for size, _ in kept)
        least = total - free if 0 < free <= total else total
        while kept and total > min(least, self._most):
            size, path = kept.pop()
            path.unlink(missing_ok=True)
            total -= size


def _write(path: Path, arrays: Arrays) -> None:
    """All at once: a reader sees the whole file or none. Straight to the disk, for arrays may be large. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=_UNFINISHED, delete=False) as file:
        try:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.close()
            os.replace(file.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise
