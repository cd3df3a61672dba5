"""Results -> comma-separated values: one table for each thing, whose rows are of one kind, and a word on every column."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from landscapes import QUANTITIES
from optimizers import PROBES
from ravine.provenance import told
from ravine.result import Arrays, Result

COLUMNS = 400  # that one array may fill; those that fill more are left to .npz, which the specification says
ROWS = 1_000_000  # of a table, likewise

Column = NDArray[Any]


class Table(NamedTuple):
    """Columns of one length."""

    row: str  # what a row is, in words
    columns: dict[str, Column]
    words: Mapping[str, str] = {}  # on columns that mean another thing here than in other tables

    def described(self) -> dict[str, str]:
        """A few words on each column."""
        return {name: self.words.get(name) or described(name) for name in self.columns}

    def text(self) -> str:
        rows = zip(*(column.tolist() for column in self.columns.values()), strict=True)
        quoted = (f'"{name}"' if "," in name else name for name in self.columns)
        return "\n".join([",".join(quoted), *(",".join(map(repr, row)) for row in rows)]) + "\n"


# What the columns are; the number of a run, of a rule or of an entry stands around the name.
_WORDS = {
    "step": "steps taken", "loss": "loss", "grad_norm": "Euclidean norm of the gradient",
    "evaluations.loss": "evaluations of the loss so far", "evaluations.grad": "evaluations of the gradient so far",
    "evaluations.hvp": "Hessian-vector products so far", "params_step": "steps taken up to these parameters",
    "params": "parameter", "diverged_at": "first step whose loss or parameters were not finite, -1 if none",
    "alpha": "coordinate along the first direction, in units of it", "beta": "coordinate along the second direction, in units of it",
    "center": "point in the middle of the plane", "directions": "direction of the plane, first (0) or second (1)",
    "error": "of the interpolated values, estimated from points held out; 0 where all were computed",
    "log": "1 if that error is of the logarithm", "evaluations": "evaluations of the loss spent",
    "uncertainty": "how far from the value the truth may lie",
    "share": "part of the way from the one end to the other", "accuracy": "of the training samples",
    "final_loss": "loss at the end, nan where the run diverged", "best_loss": "least loss on the way",
    "sharpness": "largest eigenvalue of the Hessian", "known": "1 if this run was computed",
    "lr": "step size", "threshold": "sharpness up to which this step size is stable", "parameter": "number of the parameter, from 0",
    "run": "number of the run, from 0", "plane": "number of the plane, from 1",
}  # fmt: skip


def described(column: str) -> str:
    """A few words on a column."""
    name, _, entry = column.partition("[")
    where = f", entry [{entry}" if entry else ""
    run, _, rest = name.partition(".")
    owner = ""
    if rest and (run == "flow" or run.startswith("run")):
        owner, name = ("gradient flow: " if run == "flow" else f"run {run[3:]}: "), rest
    if name.startswith("probes."):
        probe = PROBES.get(name.removeprefix("probes."))
        word = probe.label.lower() if probe is not None else name
    else:
        word = _WORDS.get(name, name.replace("_", " "))
    return f"{owner}{word}{where}"


class _Sorted:
    """The arrays of a result, taken out one by one; what is too large goes to `left_out`."""

    def __init__(self, arrays: Arrays):
        self.arrays, self.left_out = dict(arrays), list[str]()

    def named(self, *prefixes: str) -> list[str]:
        return [name for name in self.arrays if name.startswith(prefixes)]

    def wide(self, names: Iterable[str], prefix: str = "") -> dict[str, Column]:
        """Arrays whose first dimension is the rows: a column for each entry of the others, without the prefix."""
        columns: dict[str, Column] = {}
        for name in names:
            array = _numbers(self.arrays.pop(name))
            array = array.reshape(1) if array.ndim == 0 else array
            if array[0].size > COLUMNS if len(array) else array.size:
                self.left_out.append(name)
                continue
            short = name.removeprefix(prefix)
            if array.size == len(array):
                columns[short] = array.reshape(-1)
                continue
            for place in np.ndindex(*array.shape[1:]):
                columns[short + "".join(f"[{one}]" for one in place)] = array[(..., *place)]
        return columns


def tables(result: Result) -> tuple[dict[str, Table], list[str]]:
    """Every table by its name, the one that matters most first, and the names of arrays that are in none."""
    left = _Sorted(result.arrays())
    left.arrays.pop("captions", None)  # texts: the specification has them
    left.arrays.pop("lines", None)
    found = dict(_of_sweep(left, result)) if result.table is not None else {}
    found |= _of_study(left) if result.study is not None else {}
    found |= _of_planes(left, result)
    found |= _of_lines(left, result)
    found |= _of_runs(left, result)
    if left.arrays:
        raise ValueError(f"No table has {', '.join(left.arrays)}.")
    return {name: one for name, one in found.items() if one.columns}, left.left_out


def _of_sweep(left: _Sorted, result: Result) -> dict[str, Table]:
    assert result.table is not None
    axes = {name.split(".", 2)[2]: _numbers(left.arrays.pop(name)) for name in left.named("over.")}
    grid = np.meshgrid(*axes.values(), indexing="ij")
    columns = {name: values.ravel() for name, values in zip(axes, grid, strict=True)}
    columns |= {name.removeprefix("sweep."): _numbers(left.arrays.pop(name)).ravel() for name in left.named("sweep.")}
    return {"sweep": Table("a run", columns)}


def _of_study(left: _Sorted) -> dict[str, Table]:
    steps = left.wide(["study.step"], "study.") | left.wide(left.named("along."), "along.")
    params = _numbers(left.arrays.pop("study.params"))
    return {
        "steps": Table("a step of the run", steps),
        "here": Table("the step that was looked at", left.wide(left.named("here."), "here.")),
        "scan": Table("a step size tried from there", left.wide(left.named("scan."), "scan.")),
        "study": Table("the whole run", left.wide(left.named("study."), "study.")),
        "end": _down(left, {"study.params": params}),
    }


def _of_planes(left: _Sorted, result: Result) -> dict[str, Table]:
    points, facts, found = list[dict[str, Column]](), list[dict[str, Column]](), dict[str, Table]()
    for number, _ in enumerate(result.planes, start=1):
        prefix = "plane." if number == 1 else f"plane{number}."
        alpha, beta, loss = (_numbers(left.arrays.pop(prefix + name)) for name in ("alpha", "beta", "loss"))
        first, second = np.meshgrid(alpha, beta, indexing="ij")
        columns = {"alpha": first.ravel(), "beta": second.ravel(), "loss": loss.ravel()}
        if (uncertainty := left.arrays.pop(prefix + "uncertainty", None)) is not None:
            columns["uncertainty"] = _numbers(uncertainty).ravel()
        points.append(_numbered(number, columns))
        found[f"axes{number if number > 1 else ''}"] = _down(
            left, {prefix + name: _numbers(left.arrays.pop(prefix + name)) for name in ("center", "directions")}
        )
        facts.append(_numbered(number, left.wide(left.named(prefix), prefix)))
    if not points:
        return {}
    measured = {"loss": QUANTITIES[result.experiment.quantity].label.lower()}
    return {
        "slice": Table("a point of a plane", _below(points), measured),
        "planes": Table("a plane", _below(facts)),
        **found,
    }


def _of_lines(left: _Sorted, result: Result) -> dict[str, Table]:
    return {
        f"line{number}": Table(f"a point of the line {name}", left.wide(left.named(f"line{number}."), f"line{number}."))
        for number, name in enumerate(result.lines, start=1)
    }


def _of_runs(left: _Sorted, result: Result) -> dict[str, Table]:
    """The trajectories, side by side where they were recorded at the same steps."""
    found = dict[str, Table]()
    rules = [one.title for one in result.experiment.optimizers] if result.experiment.view == "descend" else []
    shared = left.arrays.get("step")
    for name in [one for one in left.arrays if one.rpartition(".")[2] == "step"]:
        prefix = name.removesuffix("step")
        own = [one for one in left.arrays if one.startswith(prefix) and _of_steps(one.removeprefix(prefix))]
        if prefix and shared is not None and np.array_equal(left.arrays[name], shared):
            left.arrays.pop(name)
            found["steps"].columns.update(left.wide([one for one in own if one != name]))
        else:
            columns = left.wide(own)
            named = {
                f"{short}[{place}]": f"{described(short)}, {rule}" for place, rule in enumerate(rules) for short in own
            }
            found[f"{prefix}steps"] = Table("a recorded step", columns, named)
        kept = [f"{prefix}params_step", f"{prefix}params"]
        if kept[1] in left.arrays:
            found[f"{prefix}parameters"] = Table("a kept point of the run", left.wide(kept))
    ends = left.wide(left.named("diverged_at")) | {
        name: values for one in left.named("run", "flow") for name, values in left.wide([one]).items()
    }
    return found | {"ends": Table("a rule of the run", {name: one for name, one in ends.items() if len(one)})}


def _of_steps(name: str) -> bool:
    return name in ("step", "loss", "grad_norm") or name.startswith(("probes.", "evaluations."))


def _down(left: _Sorted, arrays: Mapping[str, Column]) -> Table:
    """Vectors of parameters as columns, a row for each parameter."""
    size = next(iter(arrays.values())).shape[-1]
    if size > ROWS:
        left.left_out += arrays
        return Table("", {})
    columns: dict[str, Column] = {"parameter": np.arange(size)}
    for name, array in arrays.items():
        short = name.rpartition(".")[2]
        for place in np.ndindex(*array.shape[:-1]):
            columns[short + "".join(f"[{one}]" for one in place)] = array[place]
    return Table("a parameter", columns)


def _numbered(number: int, columns: dict[str, Column]) -> dict[str, Column]:
    length = len(next(iter(columns.values())))
    return {"plane": np.full(length, number)} | columns


def _below(parts: list[dict[str, Column]]) -> dict[str, Column]:
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def _numbers(array: Column) -> Column:
    return array.astype(int) if array.dtype == bool else array


def packed(result: Result) -> bytes:
    """A zip of all tables, of a word on each of their columns, and of the specification."""
    found, left_out = tables(result)
    texts = {
        "captions": [{"title": one.title, "axes": one.names, "marks": one.marks} for one in result.captions],
        "lines": list(result.lines),
    }
    extra = {name: one for name, one in texts.items() if one} | {"only_in_npz": left_out}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("specification.json", json.dumps(result.specification() | extra, indent=2))
        words = io.StringIO()
        lines = csv.writer(words, lineterminator="\n")
        lines.writerow(("table", "row", "column", "meaning"))
        for name, one in found.items():
            archive.writestr(f"{name}.csv", one.text())
            lines.writerows((name, one.row, column, word) for column, word in one.described().items())
        archive.writestr("columns.csv", words.getvalue())
    return buffer.getvalue()


def table(result: Result) -> str:
    """The table that matters most: the points of a slice, the runs of a sweep, or the recorded steps. The lines before it
    that begin with # say what made it, and what its columns are (pandas: `read_csv(file, comment="#")`)."""
    found, _ = tables(result)
    one = next(iter(found.values()))
    head = [
        result.experiment.to_url(),
        told(result.provenance),
        f"Fingerprint: {result.fingerprint.write()}",
        f"A row is {one.row}. Columns:",
        *(f"  {name}: {word}" for name, word in one.described().items()),
    ]
    return "".join(f"# {line}\n" for line in head) + one.text()
