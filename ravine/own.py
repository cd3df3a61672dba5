"""Landscapes of the user's own in the app's menus.

They come from Python files named on the command line, which run as any program that their owner starts. Nothing in a link or
an upload leads here: a link can name a landscape that is there already, as own:NAME, and no more.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import os
import random
import re
import sys
import threading
import time
import traceback
import types
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from landscapes import LANDSCAPES, Landscape
from landscapes.landscape import Trait
from landscapes.learner import Learner
from ravine.threads import one_thread

ENVIRONMENT = "RAVINE_LANDSCAPES"  # file.py:factory, one a line: how the command line tells the app
PREFIX = "own:"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_OURS = ("landscapes", "optimizers", "ravine", "pages")
_HERE = Path(__file__).resolve().parents[1]
_PYTHON = Path(os.__file__).resolve().parent
_SLOW = 10.0  # seconds from one word about code that is still loading to the next
_INSTALLED = {"site-packages", "dist-packages"}
_loaded: dict[str, list[str]] = {}
_seen: dict[str, Evidence] = {}  # of each landscape here, by its name


@dataclass(frozen=True)
class Evidence:
    """What the numbers of a user's landscape come from."""

    numbers: str  # a digest of loss and gradient at two starts and of the samples held out; empty where there are none
    files: Mapping[str, str]  # path of each file of the user's that was loaded by then -> a digest of what it holds

    @cached_property
    def identity(self) -> str:
        """Equal identities, equal numbers. Where no numbers could be had, it is good for this process only."""
        text = repr((sys.version, self.numbers or uuid.uuid4().hex, sorted(self.files.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


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
        with _seeded():
            found.loader.exec_module(module)
            if not hasattr(module, name):  # Python's own sentence names the module, which is nobody's name for the file
                raise AttributeError(f"the file has no attribute {name!r}")
            given = getattr(module, name)
            return given if isinstance(given, (Landscape, Mapping)) or _is_kind(given) else given()
    except Exception as failure:  # whatever the user's code raises
        raise ValueError(f"{specification} could not be loaded: {told(failure)}") from failure
    finally:
        sys.path.remove(str(path.resolve().parent))


def told(failure: BaseException) -> str:
    """A failure in words, with the line of the user's own code that led to it, where one did."""
    place = where(failure)
    said = f"{type(failure).__name__}: {failure}"
    return said if not place or place in said else f"{said} ({place})"


def where(failure: BaseException) -> str:
    """Where in a user's own files a failure began, as "model.py, line 12, in forward"; empty where it did elsewhere."""
    causes = [failure]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    for one in reversed(causes):
        if isinstance(one, SyntaxError) and one.filename and _is_own(Path(one.filename)):
            return f"{Path(one.filename).name}, line {one.lineno}"
        if place := _innermost(traceback.extract_tb(one.__traceback__)):
            return place
    return ""


def _innermost(stack: traceback.StackSummary) -> str:
    """The last frame of a user's own files, as "model.py, line 12, in forward"; empty where there is none."""
    own = [frame for frame in stack if _is_own(Path(frame.filename))]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name}" if own else ""


@contextmanager
def _seeded() -> Iterator[None]:
    """What a file draws without a seed of its own is the same each time and in each process that loads it."""
    before, others = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(others)


def load(specification: str) -> dict[str, Landscape | type[Landscape]]:
    """What `path/to/file.py:factory` gives, by name: the factory returns a landscape, a kind of landscape, or a mapping of names to these.

    Raises ValueError as `made`, and for what is none of these.
    """
    given = made(specification)
    named = dict(given) if isinstance(given, Mapping) else {specification.rpartition(":")[2]: given}
    for key, one in named.items():
        _check_name(key)
        if not isinstance(one, Landscape) and not _is_kind(one):
            raise ValueError(
                f"{specification} gives a {type(one).__name__}: it must give a Landscape, as from_module(...) returns."
            )
    return named


def adopt(name: str, landscape: Landscape | type[Landscape]) -> Landscape:
    """The landscape under the name own:NAME, in LANDSCAPES of this process: `Experiment(landscape=adopt("mine", from_module(...)))`.

    Another one under the same name takes its place. A link names it, and opens where one of that name is there. Raises
    ValueError for a name that no link could hold, TypeError for what is no landscape.
    """
    _check_name(name)
    if not isinstance(landscape, Landscape) and not _is_kind(landscape):
        raise TypeError(
            f"landscape is a {type(landscape).__name__}: it must be a Landscape, as from_module(...) returns."
        )
    return _adopted(name, landscape)()


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not allowed as a name: use up to 40 letters, digits, - and _.")


def register(specifications: Iterable[str]) -> list[str]:
    """Load landscapes and put them into LANDSCAPES; the names there. Loads nothing twice. Raises as `load`."""
    names = []
    for one in specifications:
        if one not in _loaded:
            with _told_if_slow(one):
                _loaded[one] = [_adopted(name, given).name for name, given in load(one).items()]
        names += _loaded[one]
    return names


@contextmanager
def _told_if_slow(specification: str) -> Iterator[None]:
    """Code that takes long, or hangs, is named on the standard error with the line that it is at: nothing else says why the app does not open."""
    loads, over = threading.get_ident(), threading.Event()

    def watch() -> None:
        began = time.monotonic()
        while not over.wait(_SLOW):
            place = _innermost(traceback.extract_stack(sys._current_frames()[loads]))
            said = f"{specification} has been loading for {time.monotonic() - began:.0f} s{place and f', at {place}'}"
            print(f"{said}. The app opens when it is done.", file=sys.stderr)

    watcher = threading.Thread(target=watch, name="ravine-loading", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def register_from_environment() -> list[str]:
    return register(filter(None, os.environ.get(ENVIRONMENT, "").splitlines()))


def evidence(names: Iterable[str]) -> dict[str, Evidence]:
    """What the numbers of those landscapes come from that are the user's own."""
    return {name: _seen[name] for name in names if name in _seen}


def agree(told: Mapping[str, Evidence]) -> None:
    """Take the landscapes loaded here for those of another process, after its evidence. Raises ValueError where they differ."""
    for name, theirs in told.items():
        ours = _seen.get(name)
        if ours is None or any(theirs.files.get(place) != digest for place, digest in ours.files.items()):
            raise ValueError(f"The file of {name} has changed since the app was started: start the app again.")
        if ours.numbers != theirs.numbers:
            raise ValueError(
                f"{name} has other numbers each time its file is loaded: give what it draws at random a seed, and let what "
                "it reads stay the same while the app runs."
            )
        LANDSCAPES[name].identity = theirs.identity
        _seen[name] = theirs


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


def _evidence(given: Landscape | type[Landscape]) -> Evidence:
    """What the numbers of a user's landscape come from: results are good for as long as it stays the same.

    That is the code, every loaded file that came neither with Python nor from an installed package; and, for what code may
    read elsewhere, the samples held out, and loss and gradient at two starting points, to the last bit.
    """
    files = {}
    for path in _own_files():
        with suppress(OSError):  # a module made without a file
            files[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        landscape = given() if isinstance(given, type) else given
        with one_thread():
            start = landscape.start(2)
            seen = [start, *landscape.value_and_grad(start)]
            if isinstance(landscape, Learner) and not landscape.lacks("test samples"):
                seen.append(landscape.score("test_loss", start))
            for trait in get_args(Trait):  # found out by running the model: here, and not while a page is drawn
                landscape.lacks(trait)
    except Exception:  # whatever the user's code raises: it will say so where it is run
        return Evidence("", files)
    digest = hashlib.sha256()
    for tensor in seen:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + _bytes(tensor))
    return Evidence(digest.hexdigest(), files)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _own_files() -> list[Path]:
    """The files of loaded modules that are the user's, but for the program that runs."""
    modules = {name: getattr(one, "__file__", None) for name, one in list(sys.modules.items())}
    paths = {name: Path(place) for name, place in modules.items() if place and name.partition(".")[0] not in _OURS}
    return sorted(path for name, path in paths.items() if name != "__main__" and path.is_absolute() and _is_own(path))


def _is_own(path: Path) -> bool:
    """Did a file come neither with Python, nor from an installed package, nor from here?"""
    path = path.resolve()
    ours = _HERE in path.parents and path.relative_to(_HERE).parts[0] in (*_OURS, "app.py")
    return path.is_file() and not (ours or _PYTHON in path.parents or _INSTALLED & set(path.parts))


def _adopted(name: str, given: Landscape | type[Landscape]) -> type[Landscape]:
    """A kind of landscape in the registry whose defaults are the values of the one given."""
    kind = given if isinstance(given, type) else type(given)
    _seen[PREFIX + name] = _evidence(given)
    namespace: dict[str, Any] = {
        "name": PREFIX + name,
        "label": f"{name} (your own)",
        "identity": _seen[PREFIX + name].identity,
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
