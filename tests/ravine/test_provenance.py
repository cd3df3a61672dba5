"""Every file says what made its numbers, as it was when they were made."""

import dataclasses
import io
import json
import subprocess
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ravine import Store, compute, export, movie, provenance
from ravine.result import Result
from tests.ravine.examples import EXAMPLES

MADE = {"ravine": "0.0", "commit": "f" * 40, "python": "3.1", "torch": "1.0", "cpu_capability": "NONE", "date": "2001-02-03T04:05:06+00:00"}  # fmt: skip


@pytest.fixture(scope="module")
def results():
    return {view: dataclasses.replace(compute(one), provenance=MADE) for view, one in EXAMPLES.items()}


def test_it_names_what_numbers_depend_on():
    found = provenance.provenance()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["threads"] == str(torch.get_num_threads())
    assert found["blas"]
    assert abs(np.datetime64(found["date"][:19]) - np.datetime64("now")) < np.timedelta64(60, "s")
    assert provenance.read(found) == found
    said = provenance.told(found)
    for name in ("torch", "python", "cpu_capability", "date"):
        assert found[name] in said


def test_the_commit_is_that_of_a_checkout_alone(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True, capture_output=True)  # fmt: skip

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    (tmp_path / "package").mkdir()
    kept = provenance.commit(tmp_path)
    assert len(kept) == 40
    assert provenance.commit(tmp_path / "package") == ""  # inside somebody's checkout, and no part of it
    (tmp_path / "file").write_text("2")
    assert provenance.commit(tmp_path) == f"{kept}-dirty"


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    assert provenance.commit(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit(tmp_path) == ""


def within(data, ending):
    """The specification inside a file."""
    match ending:
        case "npz":
            with np.load(io.BytesIO(data)) as file:
                return json.loads(str(file["specification"]))
        case "zip" | "csv.zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return json.loads(archive.read("specification.json"))
        case "html":
            text = data.decode()
            return json.loads(text.partition('id="specification">')[2].partition("</script>")[0])
    raise ValueError(ending)


@pytest.mark.parametrize("view", EXAMPLES)
@pytest.mark.parametrize("ending", ["npz", "zip", "csv.zip", "html"])
def test_files_hold_it_with_link_and_fingerprint(view, ending, results):
    held = within(export.WRITERS[ending](results[view]), ending)
    assert held["provenance"] == MADE
    assert held["link"] == EXAMPLES[view].to_url()
    assert held["fingerprint"] == results[view].fingerprint.write()


def test_a_script_says_it_and_runs_nothing_of_it(results):
    hostile = MADE | {"torch": '"""; raise SystemExit("run")  # \\'}
    for made in (MADE, provenance.read(hostile)):
        result = dataclasses.replace(results["descend"], provenance=made)
        text = export.WRITERS["py"](result).decode()
        assert made["torch"] in text
        assert made["date"] in text
        names = {}
        exec(compile(text, "script.py", "exec"), names)
        assert names["result"].digest == result.digest


def test_a_gif_and_a_png_hold_it(results):
    with Image.open(io.BytesIO(movie.gif(results["descend"]))) as picture:
        assert json.loads(picture.info["comment"])["provenance"] == MADE
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, "PNG")
    text = json.dumps(results["edge"].specification() | {"more": "é–"}, ensure_ascii=False)
    data = provenance.in_png(buffer.getvalue(), text)
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.text["Specification"] == text
        assert picture.getpixel((2, 1)) == (255, 0, 0)
    place = data.index(b"iTXt")
    size = int.from_bytes(data[place - 4 : place], "big")
    assert int.from_bytes(data[place + 4 + size : place + 8 + size], "big") == zlib.crc32(
        data[place : place + 4 + size]
    )


@pytest.mark.parametrize("view", ["edge", "slice", "sweep"])
def test_a_result_that_is_read_again_keeps_its_own(view, results, tmp_path):
    for data in (results[view].packed(), export.npz(results[view])):
        assert export.reopened(data).provenance == MADE
    Store(tmp_path).put(results[view], keep=True)
    kept = Store(tmp_path).get(EXAMPLES[view])
    assert kept.provenance == MADE
    assert kept.digest == results[view].digest


def test_what_is_not_on_record_is_said(results, tmp_path):
    result = Result.from_arrays(EXAMPLES["edge"], results["edge"].arrays(), {})
    assert export.reopened(result.packed()).provenance == {}
    assert provenance.told({}) == "What computed these numbers is not on record."


@pytest.mark.parametrize(
    "held", [None, [], {"a": 1}, {1: "a"}, {"a": "b" * 201}, {"a": "line\nbreak"}, {str(k): "a" for k in range(21)}]
)
def test_nothing_is_taken_of_what_is_no_provenance(held):
    assert provenance.read(held) == {}
