"""Results files: archives of real ones whose arrays, headers, names and specification are tampered with, and damaged ones."""

from __future__ import annotations

import ast
import io
import json
import pickle
import struct
import warnings
import zipfile
from functools import cache

import numpy as np
from hypothesis import strategies as st

from ravine import Experiment, Result, compute, export, tables
from ravine.cut import cut
from ravine.fingerprint import Fingerprint
from ravine.spectrum import spectrum
from tests.fuzz.door import Door
from tests.fuzz.hostile import JSON, TEXTS, mangled
from tests.fuzz.points import _Program

_LINKS = {
    "descend": "/?land=booth&opt1=heavy_ball&opt1.lr=0.05&opt2=adam&steps=12",
    "edge": "/edge?land=mlp&land.data=chebyshev&land.hidden=3&land.objective=squared&opt1=gd&opt1.lr=0.1&steps=6&every=2"
    "&vary=seed&across=0,1&probes=layer_norms,distance",
    "slice": "/slice?land=mlp&land.data=chebyshev&land.hidden=3&land.objective=squared&opt1=gd&steps=4&points=5&exact=true",
    "sweep": "/sweep?land=himmelblau&opt1=heavy_ball&steps=8&over_x=lr:0.001:1.0:3log&over_y=seed:0:1:2",
    "stepsize": "/stepsize?land=mlp&land.data=chebyshev&land.hidden=3&land.objective=squared&opt1=gd&steps=6",
}


@cache
def _computed(view: str) -> Result:
    return compute(Experiment.from_url(_LINKS[view])[0])


@cache
def _entries(view: str) -> dict[str, bytes]:
    """The files in a results file."""
    with zipfile.ZipFile(io.BytesIO(_computed(view).packed())) as archive:
        return {one: archive.read(one) for one in archive.namelist()}


def _npy(array: np.ndarray, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=pickled)
    return file.getvalue()


def _headed(text: str, body: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    """An .npy file with any text as its header."""
    packed = text.encode("utf-8", "replace") + b"\n"
    length = struct.pack("<H" if version[0] == 1 else "<I", len(packed) & 0xFFFF)
    return b"\x93NUMPY" + bytes(version) + length + packed + body


_SHAPES = st.sampled_from(
    [
        "()",
        "(3,)",
        "(0,)",
        "(2**40,)",
        "(1099511627776, 1099511627776)",
        "(-1,)",
        "(-1, -8)",
        "(True,)",
        "(1.5,)",
        "(3",
        "{}",
    ]
)
_DESCR = st.sampled_from(
    [
        "'<f8'",
        "'|O'",
        "'<U1000000'",
        "'<c16'",
        "'<M8[s]'",
        "'|V8'",
        "[('a', '<f8')]",
        "('<f8', (2**30,))",
        "'<f16'",
        "''",
        "None",
    ]
)
_HEADERS = st.tuples(_DESCR, _SHAPES, st.sampled_from(["False", "True", "__import__('os')", "1"])).map(
    lambda parts: f"{{'descr': {parts[0]}, 'fortran_order': {parts[2]}, 'shape': {parts[1]}, }}"
)
_FORGED = st.builds(
    _headed,
    _HEADERS | mangled(_HEADERS) | st.sampled_from(TEXTS) | st.integers(1, 9000).map(lambda depth: "(" * depth),
    st.binary(max_size=64),
    st.sampled_from([(1, 0), (1, 0), (2, 0), (3, 0), (9, 9)]),
)
_FILLED = st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, 1e20])
_KINDS = st.sampled_from(["f8", "f4", "f2", "i8", "u1", "b1", "c16", "U5", "M8[s]", "S3"])
_STRANGE = st.builds(
    lambda shape, kind, filling: _npy(np.full(shape, filling if kind in ("f8", "c16") else 1).astype(kind)),
    st.lists(st.integers(0, 7), max_size=4),
    _KINDS,
    _FILLED,
)
_PROGRAMS = st.just(_npy(np.array([_Program()], dtype=object), pickled=True)) | st.just(pickle.dumps(_Program()))
_NAMES = st.sampled_from(
    ["../../escape.npy", "/tmp/escape.npy", "params.npy", "x" * 300 + ".npy", "a\x00b.npy", "..", *TEXTS[:60]]
)
_JSON = st.sampled_from(JSON)


@st.composite
def _specification(draw, held: bytes) -> bytes:
    if draw(st.booleans()):
        return draw(mangled(st.just(held)))
    said = json.loads(held)
    for key in draw(st.lists(st.sampled_from([*said, "provenance", "other"]), min_size=1, max_size=3)):
        said[key] = draw(_JSON)
    if isinstance(said.get("provenance"), dict) and draw(st.booleans()):
        said["provenance"][draw(st.sampled_from(list(said["provenance"])))] = draw(_JSON)
    return json.dumps(said).encode()


@st.composite
def _tampered(draw) -> bytes:
    """A results file of which some files are others; as an archive of any of its kinds."""
    view = draw(st.sampled_from(list(_LINKS)))
    entries = dict(_entries(view))
    for name in draw(st.lists(st.sampled_from(list(entries)), min_size=1, max_size=4)):
        match draw(st.sampled_from(["other", "swapped", "gone", "forged", "strange", "program", "mangled", "scaled"])):
            case "gone":
                entries.pop(name, None)
            case "swapped":
                entries[name] = draw(st.sampled_from(list(entries.values())))
            case "other":
                entries[name] = draw(st.sampled_from(list(_entries(draw(st.sampled_from(list(_LINKS)))).values())))
            case "forged":
                entries[name] = draw(_FORGED)
            case "strange":
                entries[name] = draw(_STRANGE)
            case "program":
                entries[name] = draw(_PROGRAMS)
            case "scaled" if name.endswith(".npy") and name in entries:
                array = np.load(io.BytesIO(_entries(view)[name]))
                with np.errstate(all="ignore"):
                    entries[name] = _npy(
                        array * draw(_FILLED) if array.dtype.kind == "f" else array[::-1] if array.ndim else array
                    )
            case _ if name in entries:
                json_ = name.endswith(".json")
                entries[name] = draw(_specification(_entries(view)[name]) if json_ else mangled(st.just(entries[name])))
    extra = draw(st.lists(st.tuples(_NAMES, _FORGED | _STRANGE | st.just(b"0" * 100_000)), max_size=2))
    extra += draw(st.sampled_from([[], [], [], list(entries.items())[:1]]))  # a name that stands there twice
    packing = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name stands there twice
        for name, data in [*entries.items(), *extra]:
            archive.writestr(zipfile.ZipInfo(name.encode("utf-8", "replace").decode()), data, packing)
    return file.getvalue()


@st.composite
def _bombs(draw) -> bytes:
    """Archives of much that weighs little."""
    size, count = draw(st.sampled_from([(65 << 20, 1), (1 << 20, 70), (63 << 20, 1), (10, 300)]))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in _entries("descend").items():
            archive.writestr(name, data)
        for index in range(count):
            archive.writestr(
                f"bomb{index}.npy",
                _headed(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}", b"") + bytes(size),
            )
    return file.getvalue()


_WHOLE = st.sampled_from(list(_LINKS)).flatmap(
    lambda view: st.sampled_from([export.npz, Result.packed]).map(lambda write: write(_computed(view)))
)


def _sound(result: Result) -> None:
    for write in (export.npz, Result.packed):
        again = export.reopened(write(result))
        assert again.experiment == result.experiment
        assert again.digest == result.digest
    assert all(one.isprintable() for one in result.sentences())
    export.html(result)
    tables.packed(result)
    ast.parse(export.script(result.experiment, result.provenance))
    told = result.fingerprint.write()
    assert Fingerprint.read(told).write() == told
    if result.experiment.view == "edge":  # as the page looks at a step
        cut(result, 0, result.experiment.at)
        spectrum(result, 0, result.experiment.at)


RESULTS = Door(
    "results",
    _WHOLE | mangled(_WHOLE) | _tampered() | _tampered() | mangled(_tampered()) | _bombs() | st.binary(),
    export.reopened,
    _sound,
    seconds=3.0,
    memory=384 << 20,
)
