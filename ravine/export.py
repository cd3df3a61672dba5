"""Results -> files: tables, arrays, a page that opens without internet, an animation, and a script that makes them again.

Every file holds the full specification: the link, its values, and the versions that made the numbers.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from landscapes.setting import Declared
from optimizers import Stepper, layers
from ravine.experiment import Experiment
from ravine.figures.ranges import SHOWN_BY
from ravine.player import player, plays
from ravine.result import Arrays, Result

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = 400  # of a table at most: wider arrays are left to .npz, which the specification says
UPLOAD = 64 << 20  # bytes of a results file, packed and unpacked
_NAME = "specification.json"
# No button that hands the figure to another machine.
_STANDALONE = {
    "displaylogo": False, "responsive": True, "plotlyServerURL": "", "modeBarButtonsToRemove": ["sendChartToCloud"],
}  # fmt: skip
# Width and height in pixels at 96 an inch, and the size of the type in points: what journals print.
PRESETS: dict[str, tuple[int, int, int]] = {
    "one column (84 mm)": (318, 240, 8),
    "two columns (174 mm)": (658, 300, 9),
    "slide (16:9)": (1280, 720, 18),
}


def npz(result: Result) -> bytes:
    """Every number as a .npz file, with the specification as JSON text under its name."""
    buffer = io.BytesIO()
    text = np.array(json.dumps(result.specification()))
    np.savez_compressed(buffer, **result.arrays(), specification=text)  # type: ignore[arg-type]
    return buffer.getvalue()


def csv(result: Result) -> bytes:
    """A zip of tables. Arrays with as many rows share one, named after the first of them; the specification lies beside."""
    tables: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    left_out = []
    for name, array in result.arrays().items():
        array = array.astype(int) if array.dtype == bool else array
        flat = array.reshape(array.shape[0], -1) if array.ndim else array.reshape(1, 1)
        if flat.shape[1] > COLUMNS:
            left_out.append(name)
            continue
        places = np.ndindex(*array.shape[1:])
        columns = {name + "".join(f"[{one}]" for one in place): flat[:, k] for k, place in enumerate(places)}
        tables.setdefault(len(flat), {}).update(columns)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_NAME, json.dumps(result.specification() | {"only_in_npz": left_out}, indent=2))
        for columns in tables.values():
            rows = zip(*(column.tolist() for column in columns.values()), strict=True)
            lines = [",".join(f'"{name}"' for name in columns), *(",".join(map(repr, row)) for row in rows)]
            name = next(iter(columns)).partition("[")[0]
            archive.writestr(f"{name}.csv", "\n".join(lines) + "\n")
    return buffer.getvalue()


def table(result: Result) -> str:
    """One table of comma-separated values: a row for each run of a sweep, or for each recorded step or look."""
    if result.table is not None:
        swept = result.table
        grid = np.meshgrid(*(values.numpy() for values in swept.over.values()), indexing="ij")
        columns = {name: values.ravel() for name, values in zip(swept.over, grid, strict=True)}
        outcomes = ("final_loss", "best_loss", "diverged_at", "sharpness")
        found = {name: getattr(swept, name) for name in outcomes}
        columns |= {name: values.numpy().ravel() for name, values in found.items() if values is not None}
    elif result.study is not None:
        along = result.study.along
        columns = {"step": result.study.step.numpy()} | {name: values.numpy() for name, values in along.items()}
    else:
        arrays = result.arrays()
        columns = {"step": arrays["step"]}
        for name, array in arrays.items():
            if name != "step" and array.ndim and array.size and len(array) == len(arrays["step"]):
                flat = array.reshape(len(array), -1)
                names = [name] if flat.shape[1] == 1 else [f"{name}[{place}]" for place in range(flat.shape[1])]
                columns |= dict(zip(names, flat.T, strict=True)) if len(names) <= COLUMNS else {}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows)]) + "\n"


def html(result: Result, title: str = "") -> str:
    """The picture as a page that opens without internet, with the specification inside: the canvas with its playback where
    the app draws one, else the figure to zoom, rotate and hover over."""
    if plays(result):
        return player(result, title)
    figure = result.figure()
    if title:
        figure.update_layout(title_text=title.replace("<", "&lt;"), margin_t=90)
    text: str = figure.to_html(include_plotlyjs=True, config=_STANDALONE)
    held = json.dumps(result.specification()).replace("<", "\\u003c")
    return text.replace("</body>", f'<script type="application/json" id="specification">{held}</script></body>')


def narrow(figure: Figure) -> Figure:
    """A figure for half a page: without the scale of the colors, which would lie on the axis beside it."""
    return figure.update_traces(showscale=False, selector=lambda trace: "showscale" in trace)


def paper(figure: Figure, width: int, height: int, points: int) -> Figure:
    """A figure restyled for print: size in pixels at 96 an inch, type in points, ink on white."""
    pixels = round(points * 96 / 72)
    if width < 500:
        narrow(figure)
    figure.update_layout(
        width=width,
        height=height,
        font={"size": pixels, "color": "#000", "family": "Helvetica, Arial, sans-serif"},
        paper_bgcolor="#fff",
        plot_bgcolor="#fff",
        margin={"l": 5 * pixels, "r": pixels, "t": 3 * pixels, "b": 4 * pixels},
        legend={"font": {"size": pixels}},
    )
    for note in figure.layout.annotations:
        note.text = (note.text or "").removesuffix(SHOWN_BY)  # nobody clicks on paper
    axes = {"showgrid": True, "gridcolor": "#ddd", "linecolor": "#000", "zeroline": False}
    return figure.update_xaxes(axes).update_yaxes(axes)


def script(experiment: Experiment) -> str:
    """A short Python script on the public API that computes the same numbers and opens the same picture."""
    used = {"LANDSCAPES": "landscapes", "OPTIMIZERS": "optimizers"}
    rules = [_stepper(one, used) for one in experiment.optimizers]
    own = {name: value for name, value in experiment.values().items() if value != _default(experiment, name)}
    for value in own.values():
        if type(value).__module__ != "builtins":  # a setting that is an object of ours
            used[type(value).__name__] = type(value).__module__
    values = [f"landscape={_written('LANDSCAPES', experiment.landscape)}"]
    values.append("optimizers=(\n        " + ",\n        ".join(rules) + ",\n    )")
    if experiment.start is not None:
        values.append(f"start={experiment.start!r}")
    values += [f"{name}={value!r}" for name, value in own.items()]
    imports = [
        f"from {module} import {', '.join(sorted(name for name, where in used.items() if where == module))}"
        for module in dict.fromkeys(used.values())
    ]
    partial = ["from functools import partial\n"] if "composed" in used else []
    return "\n".join(
        [
            f'"""Makes again: {experiment.to_url()}"""\n',
            *partial,
            "import ravine",
            *imports,
            "",
            "experiment = ravine.Experiment(",
            *(f"    {one}," for one in values),
            ")",
            "result = ravine.compute(experiment)",
            'print("\\n".join(result.sentences()))',
            "figure = result.figure()",
            'if __name__ == "__main__":',
            "    figure.show()",
            "",
        ]
    )


def _default(experiment: Experiment, name: str) -> Any:
    return type(experiment).__dataclass_fields__[name].default


def _written(registry: str, declared: Declared) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in declared.values().items())
    return f'{registry}["{declared.name}"]({values})'


def _stepper(stepper: Stepper, used: dict[str, str]) -> str:
    """A rule with its layers as Python; notes which names it uses."""
    rule, schedule, wrappers = layers(stepper)
    text = _written("OPTIMIZERS", rule)
    if schedule is None and not wrappers:
        return text
    used["composed"] = "optimizers"
    parts = [text, "None"]
    if schedule is not None:
        used["SCHEDULES"] = "optimizers"
        parts[1] = _written("SCHEDULES", schedule)
    if wrappers:
        used["WRAPPERS"] = "optimizers"
        each = (f'partial(WRAPPERS["{one.name}"], {_keywords(one)})' for one in wrappers)
        parts.append(f"[{', '.join(each)}]")
    return f"composed({', '.join(parts)})"


def _keywords(declared: Declared) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in declared.values().items())


class _TooLarge(ValueError):
    """A file that is not read."""


def _array(data: bytes) -> np.ndarray[Any, np.dtype[Any]]:
    """The array of an .npy file, whose header may claim more than there is. Raises ValueError."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("NumPy writes another version for names of fields, which no array of ours has.")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if math.prod(shape) * dtype.itemsize > len(data):
        raise ValueError("The header claims more than the file holds.")
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


def reopened(data: bytes) -> Result:
    """The result in a file that `Result.save` or `npz` wrote. Raises ValueError, with a sentence, for any other file.

    The file may come from anywhere: it is bounded, and nothing in it is run.
    """
    refusal = "This is not a results file of this app: it must be a .zip or .npz that was saved here."
    if len(data) > UPLOAD:
        raise ValueError(f"The file has {len(data) >> 20} MB; at most {UPLOAD >> 20} are read.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(one.file_size for one in archive.infolist()) > UPLOAD or len(archive.infolist()) > 200:
                raise _TooLarge(f"The file unpacks to more than {UPLOAD >> 20} MB, so it was not read.")
            arrays = {
                one.filename.removesuffix(".npy"): _array(archive.read(one))
                for one in archive.infolist()
                if one.filename.endswith(".npy")
            }
            held = str(arrays.pop("specification")) if "specification" in arrays else archive.read(_NAME).decode()
        link = json.loads(held)["link"]
    except _TooLarge:
        raise
    except Exception:  # a damaged archive raises whatever its compression, its arrays and their headers come to
        raise ValueError(refusal) from None
    if not isinstance(link, str):
        raise ValueError(refusal)
    experiment, refusals = Experiment.from_url(link)
    if refusals:
        raise ValueError(f"The file is about an experiment that this app does not know. {refusals[0]}")
    return _checked(experiment, arrays, refusal)


def _checked(experiment: Experiment, arrays: Arrays, refusal: str) -> Result:
    """A result of arrays that fit each other and can be drawn."""
    try:
        result = Result.from_arrays(experiment, arrays)
        result.figure()
        result.sentences()
    except Exception:  # arrays that do not fit each other fail wherever they meet
        raise ValueError(refusal) from None
    return result


Writer = Callable[[Result], bytes]
# Ending of the file -> what is written into it.
WRITERS: Mapping[str, Writer] = {
    "zip": Result.packed,
    "npz": npz,
    "csv.zip": csv,
    "html": lambda result: html(result).encode(),
    "py": lambda result: script(result.experiment).encode(),
}
