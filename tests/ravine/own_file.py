"""A file of landscapes of a user's own, as the app is started with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from landscapes import LANDSCAPES
from ravine import own


@contextmanager
def registered(file: Path, source: str) -> Iterator[None]:
    """Writes the file and registers what its `make` gives, here and for worker processes that start meanwhile."""
    file.write_text(source)
    before = dict(LANDSCAPES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(own.ENVIRONMENT, f"{file}:make")
        patch.setattr(own, "_loaded", {})
        own.register_from_environment()
        yield
    LANDSCAPES.clear()
    LANDSCAPES.update(before)
