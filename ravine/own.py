"""Landscapes of the user's own in the app's menus.

They come from Python files named on the command line, which run as any program that their owner starts. Nothing in a link or
an upload leads here: a link can name a landscape that is there already, as own:NAME, and no more.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import sys
import types
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from landscapes import LANDSCAPES, Landscape

ENVIRONMENT = "RAVINE_LANDSCAPES"  # file.py:factory, one a line: how the command line tells the app
PREFIX = "own:"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_loaded: dict[str, list[str]] = {}


def made(specification: str) -> Any:
    """What `path/to/file.py:name` holds or, where that is a function, returns; the file runs as a script of its folder.

    Raises ValueError, with a sentence, for a file or a name that is not there, and for code that fails.
    """
    place, _, name = specification.rpartition(":")
    path = Path(place)
    if path.suffix != ".py" or not name.isidentifier():
        raise ValueError(f"{specification!r} is not allowed: write path/to/file.py:factory.")
    if not path.is_file():
        raise ValueError(f"There is no file {place}.")
    known = f"ravine_own_{path.stem}"
    found = importlib.util.spec_from_file_location(known, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[known] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.resolve().parent))  # as for a script: it may import its neighbours
    try:
        found.loader.exec_module(module)
        if not hasattr(module, name):  # Python's own sentence names the module, which is nobody's name for the file
            raise AttributeError(f"the file has no attribute {name!r}")
        given = getattr(module, name)
        return given if isinstance(given, (Landscape, Mapping)) or _is_kind(given) else given()
    except Exception as failure:  # whatever the user's code raises
        raise ValueError(f"{specification} could not be loaded: {type(failure).__name__}: {failure}") from failure
    finally:
        sys.path.remove(str(path.resolve().parent))


def load(specification: str) -> dict[str, Landscape | type[Landscape]]:
    """What `path/to/file.py:factory` gives, by name: the factory returns a landscape, a kind of landscape, or a mapping of names to these.

    Raises ValueError as `made`, and for what is none of these.
    """
    given = made(specification)
    named = dict(given) if isinstance(given, Mapping) else {specification.rpartition(":")[2]: given}
    for key, one in named.items():
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise ValueError(f"{key!r} is not allowed as a name: use up to 40 letters, digits, - and _.")
        if not isinstance(one, Landscape) and not _is_kind(one):
            raise ValueError(
                f"{specification} gives a {type(one).__name__}: it must give a Landscape, as from_module(...) returns."
            )
    return named


def register(specifications: Iterable[str]) -> list[str]:
    """Load landscapes and put them into LANDSCAPES; the names there. Loads nothing twice. Raises as `load`."""
    names = []
    for one in specifications:
        if one not in _loaded:
            _loaded[one] = [_adopted(name, given).name for name, given in load(one).items()]
        names += _loaded[one]
    return names


def register_from_environment() -> list[str]:
    return register(filter(None, os.environ.get(ENVIRONMENT, "").splitlines()))


def elsewhere(name: str) -> str:
    """What to say about a link to somebody's own landscape that is not there; empty for any other name."""
    if not name.startswith(PREFIX) or name in LANDSCAPES:
        return ""
    return (
        "The link names somebody's own landscape, which opens only in an app that was started with it, as in "
        "ravine app --landscape file.py:factory"
    )


def _is_kind(given: Any) -> bool:
    return isinstance(given, type) and issubclass(given, Landscape)


def _adopted(name: str, given: Landscape | type[Landscape]) -> type[Landscape]:
    """A kind of landscape in the registry whose defaults are the values of the one given.

    Its numbers depend on code that we do not see, so its results are good for this process only (see Landscape.identity).
    """
    kind = given if isinstance(given, type) else type(given)
    namespace: dict[str, Any] = {
        "name": PREFIX + name,
        "label": f"{name} (your own)",
        "identity": uuid.uuid4().hex,
        "__module__": __name__,
        "__doc__": kind.__doc__,
        "__annotations__": {},
    }
    for field in dataclasses.fields(kind) if isinstance(given, Landscape) else ():
        value = getattr(given, field.name)
        metadata = dict(field.metadata)
        if "setting" in metadata:
            metadata["setting"] = dataclasses.replace(metadata["setting"], default=value)
        namespace[field.name] = dataclasses.field(default=value, metadata=metadata)
        namespace["__annotations__"][field.name] = Any
    own: type[Landscape] = dataclasses.dataclass(frozen=True)(
        types.new_class(kind.__name__, (kind,), exec_body=lambda body: body.update(namespace))
    )
    LANDSCAPES[own.name] = own
    return own
