"""Do the arrays of a file fit an experiment, and each other? Where they do not, a page would fail wherever they meet."""

from __future__ import annotations

import re
from collections.abc import Mapping

from optimizers import PROBES
from optimizers.flow import FlowError
from ravine.experiment import Experiment
from ravine.result import Arrays

# The end of a name -> the kind of its numbers, and its sizes: equal letters are equal sizes, N is one for each rule where
# several are in one array and none elsewhere, and `...` are any.
_PATH = {
    "step": ("steps", "R"),
    "loss": ("real", "R N"),
    "grad_norm": ("real", "R N"),
    "params": ("real", "P N dim"),
    "params_step": ("steps", "P"),
    "diverged_at": ("whole", "N"),
    r"evaluations\.\w+": ("whole", "R N"),
    rf"probes\.({'|'.join((*PROBES, FlowError.name))})": ("real", "R N ..."),
}
_PLANE = {
    "loss": ("real", "A B"),
    "alpha": ("real", "A"),
    "beta": ("real", "B"),
    "center": ("real", "dim"),
    "directions": ("real", "two dim"),
    "error": ("real", ""),
    "log": ("flag", ""),
    "evaluations": ("whole", ""),
    "uncertainty": ("real", "A B"),
}
_LINE = {r"\w+": ("real", "S")}
_STUDY = {
    r"study\.step": ("steps", "R"),
    r"study\.(at|diverged_at)": ("whole", ""),
    r"study\.params": ("real", "dim"),
    r"study\.worst": ("real", ""),
    r"along\.\w+": ("real", "R"),
    r"here\.\w+": ("real", ""),
    r"scan\.\w+": ("real", "G"),
}
_SWEEP = {
    r"over\.1\..+": ("real", "X"),
    r"over\.2\..+": ("real", "Y"),
    r"sweep\.(final_loss|best_loss|sharpness)": ("real", "X Y"),
    r"sweep\.diverged_at": ("whole", "X Y"),
    r"sweep\.known": ("flag", "X Y"),
}
_WORDS = {"captions|lines|specification": ("words", "...")}
_KINDS = {"real": "f", "whole": "iu", "steps": "iu", "flag": "b", "words": "Uu"}
_PARTS = re.compile(r"(?P<part>(run|plane|line)\d*\.|flow\.|)(?P<rest>.*)", re.DOTALL)


def check(experiment: Experiment, arrays: Arrays) -> None:
    """Raises ValueError unless each array is of the kind and the sizes that its name has in a result of the experiment."""
    rules = (len(experiment.optimizers),) if experiment.view == "descend" else ()
    shared = {"N": rules, "dim": (experiment.landscape.dim,), "two": (2,)}
    if experiment.view == "sweep":
        shared |= {"Y": ()} if len(experiment.axes) == 1 else {}
    sizes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, array in arrays.items():
        found = _PARTS.fullmatch(name)
        assert found is not None
        part = found["part"]
        kind, wanted = _declared(part, found["rest"])
        own = sizes.setdefault(part, dict(shared))
        if array.dtype.kind not in _KINDS[kind] or not _fits(array.shape, wanted.split(), own):
            raise ValueError(f"{name} does not fit.")
        if kind == "steps" and not (
            array.size and array[0] >= 0 and array[-1] <= experiment.steps and (array[1:] > array[:-1]).all()
        ):
            raise ValueError(f"{name} does not ascend.")


def _declared(part: str, name: str) -> tuple[str, str]:
    """The kind and the sizes of an array. Raises ValueError for a name that no result has."""
    tables: Mapping[str, tuple[Mapping[str, tuple[str, str]], ...]] = {"plane": (_PLANE,), "line": (_LINE,)}
    for table in tables.get(part.rstrip("0123456789."), (_PATH, *(() if part else (_STUDY, _SWEEP, _WORDS)))):
        for pattern, declared in table.items():
            if re.fullmatch(pattern, name):
                return declared
    raise ValueError(f"No result has {name}.")


def _fits(shape: tuple[int, ...], wanted: list[str], known: dict[str, tuple[int, ...]]) -> bool:
    """Is this the shape? Sizes that are not known yet become so."""
    at = 0
    for size in wanted:
        if size == "...":
            return True
        here = known.setdefault(size, shape[at : at + 1] or (-1,))
        if shape[at : at + len(here)] != here:
            return False
        at += len(here)
    return at == len(shape)
