"""Exports: what is written is parsed again, by libraries that did not write it, and equals the numbers."""

import dataclasses
import html
import io
import json
import re
import zipfile
from functools import partial

import numpy as np
import pytest
from PIL import Image

from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, composed
from ravine import Experiment, compute, export, fitting
from ravine.experiment import VIEWS
from ravine.movie import FRAMES, SIZE, STRIP, gif, moves
from ravine.player import player, plays

TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))


def example(view):
    """A small experiment of any view, with layers around its first rule."""
    base = Experiment.default(view)
    rule = composed(OPTIMIZERS["gd"](lr=0.02), SCHEDULES["cosine"](), [partial(WRAPPERS["clip_norm"], c=2.0)])
    changes = {"steps": 12} if "steps" in VIEWS[view].keys else {}
    if base.start is None and VIEWS[view].offers(MLP):
        changes |= {"landscape": TINY, "optimizers": (rule,)}
    if base.start is not None and base.view == "descend":
        changes |= {
            "optimizers": (rule, OPTIMIZERS["adam"](lr=0.1)),
            "start": (0.5, -1.25),
            "landscape": LANDSCAPES["beale"](),
        }
    if "points" in VIEWS[view].keys:
        changes |= {"points": 5}
    return dataclasses.replace(base, **changes)


@pytest.fixture(scope="module")
def results():
    return {view: compute(example(view)) for view in VIEWS}


@pytest.mark.parametrize("view", VIEWS)
def test_the_script_reproduces_the_numbers_and_the_picture(view, results):
    """The text is run as a notebook would run it: it knows nothing but the public API."""
    result = results[view]
    names = {"__name__": "notebook"}
    exec(compile(export.script(result.experiment), "script.py", "exec"), names)
    assert names["experiment"] == result.experiment
    assert names["result"].digest == result.digest
    assert names["figure"].to_json() == result.figure().to_json()


@pytest.mark.parametrize("view", VIEWS)
def test_npz_holds_every_number_and_the_specification(view, results):
    with np.load(io.BytesIO(export.npz(results[view])), allow_pickle=False) as file:
        held = dict(file)
    assert json.loads(str(held.pop("specification"))) == results[view].specification()
    assert held.keys() == results[view].arrays().keys()
    for name, array in results[view].arrays().items():
        np.testing.assert_array_equal(held[name], array)
        assert held[name].dtype == array.dtype


@pytest.mark.parametrize("view", VIEWS)
def test_the_web_page_needs_no_internet(view, results):
    text = export.html(results[view], title="<b>Bold</b>")
    assert plays(results[view]) or '"modeBarButtonsToRemove": ["sendChartToCloud"]' in text
    markup = re.sub(
        r"(<script[^>]*>).*?</script>", r"\1", text, flags=re.S
    )  # what scripts hold fetches nothing by itself
    assert not re.search(r"src=|href=|@import", markup)
    if plays(results[view]):
        assert "'<b>" not in markup
        assert "<b>Bold" not in markup
        assert len(text) < 1_000_000
    else:
        assert "Plotly.newPlot" in text
        assert len(text) > 4_000_000  # Plotly itself is inside
    (held,) = re.findall(r'<script type="application/json" id="specification">(.*?)</script>', text)
    assert json.loads(html.unescape(held)) == results[view].specification()


def test_what_a_canvas_does_not_draw_does_not_play(results):
    assert [view for view in VIEWS if plays(results[view])] == ["descend", "slice"]
    with pytest.raises(ValueError, match="single slice"):
        player(results["edge"])


@pytest.mark.parametrize("view", VIEWS)
def test_saved_files_open_again(view, results):
    for data in (results[view].packed(), export.npz(results[view])):
        again = export.reopened(data)
        assert again.experiment == results[view].experiment
        assert again.digest == results[view].digest


def _zip(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def _pickled():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


LINK = json.dumps({"link": Experiment.default().to_url()})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a results file"),
        (b"PK\x03\x04 no", "not a results file"),
        (_zip(readme__txt="hello"), "not a results file"),
        (_zip(specification__json="{"), "not a results file"),
        (_zip(specification__json="[1]"), "not a results file"),
        (_zip(specification__json='{"link": 3}'), "not a results file"),
        (_zip(specification__json=LINK), "not a results file"),
        (_zip(specification__json=LINK, loss__npy=b"no array"), "not a results file"),
        (_zip(specification__json=LINK, loss__npy=_pickled()), "not a results file"),
        (_zip(specification__json='{"link": "/?land=nowhere"}'), "does not know"),
        (_zip(specification__json=bytes(export.UPLOAD + 1)), "unpacks to more than 64 MB"),
    ],
)
def test_any_other_file_is_refused_in_a_sentence(data, said):
    with pytest.raises(ValueError, match=said):
        export.reopened(data)


def test_damaged_files_are_refused_in_a_sentence_or_hold_what_they_held(results):
    """Flipped bits anywhere, in archives of every compression that zip knows."""
    random, refused = np.random.default_rng(0), 0
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(export.npz(results["descend"]))) as plain,
            zipfile.ZipFile(buffer, "w", method) as own,
        ):
            for one in plain.namelist():
                own.writestr(one, plain.read(one))
        for _ in range(30):
            damaged = bytearray(buffer.getvalue())
            for place in random.integers(len(damaged), size=3):
                damaged[place] ^= 1 << int(random.integers(8))
            try:
                export.reopened(bytes(damaged))
            except ValueError as refusal:
                refused += 1
                assert str(refusal).endswith(".")  # noqa: PT017
    assert refused > 80


def test_a_header_that_claims_more_than_the_file_holds_is_refused():
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (119185740800,), }".ljust(117) + "\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with pytest.raises(ValueError, match="not a results file"):
        export.reopened(_zip(specification__json=LINK, loss__npy=array))


def test_a_file_whose_arrays_do_not_fit_is_refused(results):
    arrays = results["descend"].arrays()
    files = {"specification__json": json.dumps(results["descend"].specification())}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array[:2, :1] if name == "params" else array)
        files[f"{name}__npy"] = buffer.getvalue()
    with pytest.raises(ValueError, match="not a results file"):
        export.reopened(_zip(**files))


def unfit(experiment, arrays):
    with pytest.raises(ValueError, match=r"fit|ascend|No result"):
        fitting.check(experiment, arrays)


@pytest.mark.parametrize("view", VIEWS)
def test_what_a_result_has_fits_and_nothing_else(view, results):
    experiment, arrays = results[view].experiment, results[view].arrays()
    fitting.check(experiment, arrays)
    unfit(experiment, arrays | {"surprise": np.zeros(3)})
    for name, array in arrays.items():
        unfit(experiment, arrays | {name: array.astype("S9")})
        if array.dtype.kind != "U":
            unfit(experiment, arrays | {name: array.astype(complex)})
            if not name.rpartition("probes.")[1]:  # of which one may have any number of entries
                unfit(experiment, arrays | {name: np.zeros((2, *array.shape), array.dtype)})
        if array.ndim and name in (
            "loss",
            "grad_norm",
            "params",
            "plane.loss",
            "plane.center",
            "along.lr",
            "sweep.known",
        ):
            unfit(experiment, arrays | {name: array[1:]})


def test_steps_ascend_and_end_where_the_run_does(results):
    experiment, arrays = results["descend"].experiment, results["descend"].arrays()
    step = arrays["step"]
    for other in (step[::-1].copy(), step - 1, step + 1, np.zeros_like(step)):
        unfit(experiment, arrays | {"step": other})


@pytest.mark.parametrize("preset", export.PRESETS)
def test_a_figure_for_a_paper_has_its_size(preset, results):
    width, height, points = export.PRESETS[preset]
    layout = export.paper(results["edge"].figure(), width, height, points).layout
    assert (layout.width, layout.height) == (width, height)
    assert layout.font.size == pytest.approx(points * 96 / 72, abs=0.5)
    assert layout.xaxis.linecolor == "#000"
    scales = [
        trace.showscale
        for trace in export.paper(results["descend"].figure(), width, height, points).data
        if "showscale" in trace
    ]
    assert (False in scales) == (width < 500)  # in one column it would lie on the axis beside it


@pytest.mark.parametrize("view", ["descend", "edge"])
def test_the_animation_grows_from_the_start_to_the_end(view, results):
    with Image.open(io.BytesIO(gif(results[view]))) as movie:
        assert movie.size == (SIZE[0], SIZE[1] + STRIP)
        assert movie.n_frames == min(FRAMES, 13)
        assert movie.info["loop"] == 0
        pictures = []
        for frame in range(movie.n_frames):
            movie.seek(frame)
            pictures.append(np.asarray(movie.convert("RGB")).astype(int))
    assert all((before != after).any() for before, after in zip(pictures, pictures[1:], strict=False))
    inked = [(one[: SIZE[1]] < 200).any(-1).sum() for one in pictures]
    if view == "edge":  # on white, every frame has more ink than the one before
        assert inked == sorted(inked)
        assert inked[-1] > 1.2 * inked[0]


@pytest.mark.parametrize("view", ["slice", "sweep", "stepsize"])
def test_what_does_not_move_has_no_animation(view, results):
    assert not moves(results[view].experiment)
    with pytest.raises(ValueError, match="play as a GIF"):
        gif(results[view])
