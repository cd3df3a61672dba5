"""Writing the log of a watched run: no earlier file is lost, and nothing that goes wrong ends the training."""

from __future__ import annotations

import itertools
import os
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine.log import parsed, written


class Writer:
    """A new log at a path. A log that is there already is kept under the next free name, run-1.ravine for run.ravine.

    Raises ValueError, with a sentence, where no log can be written, or where something else than a log is.
    """

    def __init__(self, path: Path):
        if path.is_dir() or not path.parent.is_dir():
            what = "a folder itself" if path.is_dir() else f"in the folder {path.parent}, which is not there"
            raise ValueError(f"to = {str(path)!r} is not allowed: it is {what}. Name a file in a folder that exists.")
        _check(path)
        self.path, self.kept = _new(path)
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as failure:
            raise ValueError(f"to = {str(path)!r} is not allowed: the file cannot be written: {failure}.") from failure
        self.close = weakref.finalize(self, self._file.close)

    def write(self, record: Mapping[str, Any]) -> None:
        """One whole line, handed to the operating system at once: it survives the end of this process."""
        if not self.close.alive:
            return
        try:
            self._file.write(written(record).encode())
        except OSError as failure:  # a full disk must not end somebody's training
            self.close()
            sentence = f"The log can no longer be written: {failure}. The run goes on."
            warnings.warn(sentence, RuntimeWarning, stacklevel=4)


def _check(path: Path) -> None:
    """Raises ValueError if something else than a log is there."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        first = file.readline(10_000)
    try:
        parsed(first)
    except ValueError:
        raise ValueError(f"{path} is there already and is no log: choose another name for `to`.") from None


def _new(path: Path) -> tuple[Path, Path | None]:
    """Where the new log is, and where the earlier one is, if there is one.

    Whoever still writes to the earlier one goes on doing so: it has a file, not a name.
    """
    if not path.exists() or not path.stat().st_size:
        return path, None
    for number in itertools.count(1):
        other = path.with_name(f"{path.stem}-{number}{path.suffix}")
        if other.exists():
            continue
        try:
            os.link(path, other)  # fails where the name has been taken meanwhile
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            return other, path
        path.unlink()
        return path, other
    raise AssertionError("numbers do not end")
