"""Results -> files: tables, arrays, a page that opens without internet, an animation, and a script that makes them again.

Every file holds the full specification: the link, its values, what made the numbers, and their fingerprint.
"""

from __future__ import annotations

import io
import json
import math
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscapes.setting import Declared
from optimizers import Stepper, layers
from ravine import fitting, movie, tables
from ravine.browser import required
from ravine.experiment import Experiment
from ravine.figures.ranges import SHOWN_BY
from ravine.player import player, plays
from ravine.provenance import Provenance, in_png, told
from ravine.provenance import read as read_provenance
from ravine.result import Arrays, Result

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

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


def script(experiment: Experiment, made: Provenance | None = None) -> str:
    """A short Python script on the public API that computes the experiment again and opens its picture; it says what `made`
    the numbers that it was saved with."""
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
            *([] if made is None else [f"# {told(made)}\n"]),
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
        specification = json.loads(held)
        link = specification["link"]
    except _TooLarge:
        raise
    except Exception:  # a damaged archive raises whatever its compression, its arrays and their headers come to
        raise ValueError(refusal) from None
    if not isinstance(link, str):
        raise ValueError(refusal)
    experiment, refusals = Experiment.from_url(link)
    if refusals:
        raise ValueError(f"The file is about an experiment that this app does not know. {refusals[0]}")
    return _checked(experiment, arrays, read_provenance(specification.get("provenance")), refusal)


def _checked(experiment: Experiment, arrays: Arrays, made: Provenance, refusal: str) -> Result:
    """A result of arrays that fit each other and can be drawn."""
    try:
        fitting.check(experiment, arrays)
        result = Result.from_arrays(experiment, arrays, made)
        result.figure()
        result.sentences()
    except Exception:  # arrays that do not fit each other fail wherever they meet
        raise ValueError(refusal) from None
    return result


def _png(result: Result) -> bytes:
    """A Chromium takes the picture of the page: no second renderer. Raises ValueError where there is none."""
    browser = required("A .png")
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder) / "page.html", Path(folder) / "picture.png"
        page.write_text(html(result), "utf-8")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000")
        size = ("--window-size=1200,700", "--force-device-scale-factor=2", f"--user-data-dir={folder}/profile")
        ran = subprocess.run(
            [browser, *options, *size, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=120
        )
        if not picture.is_file():
            raise ValueError(f"{browser} took no picture (status {ran.returncode}): write .html instead.")
        return in_png(picture.read_bytes(), json.dumps(result.specification()))


# Ending of the file, as in ravine.files.KINDS -> what is written into it.
WRITERS: Mapping[str, Callable[[Result], bytes]] = {
    "html": lambda result: html(result).encode(),
    "npz": npz,
    "zip": Result.packed,
    "csv.zip": tables.packed,
    "csv": lambda result: tables.table(result).encode(),
    "py": lambda result: script(result.experiment, result.provenance).encode(),
    "png": _png,
    "gif": movie.gif,
}


def written(ending: str, result: Result) -> bytes:
    """What a file of this kind holds."""
    return WRITERS[ending](result)
