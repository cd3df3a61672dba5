"""Tables hold every number of a result once, those of one kind together, with a word on every column."""

import csv
import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest

from optimizers import OPTIMIZERS
from ravine import compute, tables
from ravine.provenance import told
from tests.ravine.examples import EXAMPLES, network

GD, ADAM = OPTIMIZERS["gd"], OPTIMIZERS["adam"]
KINDS = EXAMPLES | {
    # As many grid points to a side as steps: nothing of the one may stand beside the other.
    "as many": network("slice", points=5, steps=4),
    "three": network("slice", points=5, plane="solutions", curve=2),
    "beside": network("slice", points=5, beside="seeds"),
    "estimated": network("slice", points=5, quantity="nonconvexity"),
    "runs": network(optimizers=(GD(lr=0.1), ADAM(lr=0.01)), flow=True, probes=("top_eigenvalues",)),
    "one rule": dataclasses.replace(EXAMPLES["descend"], optimizers=(GD(lr=1e-3),)),
}


@pytest.fixture(scope="module")
def results():
    return {name: compute(one) for name, one in KINDS.items()}


def read(text):
    """Name -> column, of a table's text."""
    head, *rows = csv.reader(io.StringIO(text))
    return dict(zip(head, np.array(rows, dtype=float).T, strict=True))


def unpacked(result):
    with zipfile.ZipFile(io.BytesIO(tables.packed(result))) as archive:
        texts = {name.removesuffix(".csv"): archive.read(name).decode() for name in archive.namelist()}
    specification, words = json.loads(texts.pop("specification.json")), texts.pop("columns")
    return {name: read(text) for name, text in texts.items()}, specification, list(csv.DictReader(io.StringIO(words)))


@pytest.mark.parametrize("name", KINDS)
def test_every_number_is_in_a_table(name, results):
    """Whatever repeats is counted out: the axes of grids, the numbers of rows, the steps that runs share."""
    result = results[name]
    found, specification, words = unpacked(result)
    assert specification["only_in_npz"] == []
    held = np.sort(np.concatenate([column for one in found.values() for column in one.values()]))
    for array in result.arrays().values():
        if array.dtype.kind != "U":
            assert np.isin(array.astype(float)[~np.isnan(array.astype(float))], held).all()
    assert {(one["table"], one["column"]) for one in words} == {(table, one) for table in found for one in found[table]}
    assert all(one["meaning"] and one["row"] for one in words)
    assert all(len({len(column) for column in one.values()}) == 1 for one in found.values())


@pytest.mark.parametrize("name", ["slice", "as many", "three"])
def test_a_slice_is_a_table_of_its_points(name, results):
    result = results[name]
    plane = result.plane
    points = read("".join(f"{line}\n" for line in tables.table(result).splitlines() if line[0] != "#"))
    assert list(points) == ["plane", "alpha", "beta", "loss"]
    size = len(plane.alpha)
    for row in range(size * size):
        i, j = divmod(row, size)
        assert points["alpha"][row] == float(plane.alpha[i])
        assert points["beta"][row] == float(plane.beta[j])
        assert points["loss"][row] == float(plane.loss[i, j])
    found, specification, _ = unpacked(result)
    np.testing.assert_array_equal(found["axes"]["directions[1]"], plane.directions[1].numpy())
    assert set(found["steps"]) == {
        "step", "loss", "grad_norm", "probes.sharpness", *(f"evaluations.{one}" for one in ("loss", "grad", "hvp")),
    }  # fmt: skip
    assert [one["title"] for one in specification["captions"]] == [one.title for one in result.captions]
    for number, line in enumerate(result.lines.values(), start=1):
        np.testing.assert_array_equal(found[f"line{number}"]["loss"], line.loss.numpy())


def test_runs_that_were_recorded_together_stand_side_by_side(results):
    result = results["runs"]
    found, _, words = unpacked(result)
    for prefix, path in (("", result.trajectory), ("run2.", result.others[0]), ("flow.", result.flow)):
        np.testing.assert_array_equal(found["steps"][f"{prefix}loss"], path.loss.numpy())
        np.testing.assert_array_equal(found[f"{prefix}parameters"][f"{prefix}params[3]"], path.params[:, 3].numpy())
        assert found["ends"][f"{prefix}diverged_at"] == int(path.diverged_at)
    assert "run2.step" not in found["steps"]
    meaning = {one["column"]: one["meaning"] for one in words if one["table"] == "steps"}
    assert meaning["run2.loss"] == "run 2: loss"
    assert meaning["flow.loss"] == "gradient flow: loss"
    assert meaning["probes.top_eigenvalues[1]"] == "top eigenvalues, entry [1]"


def test_rules_are_named(results):
    _, _, words = unpacked(results["descend"])
    meaning = {one["column"]: one["meaning"] for one in words if one["table"] == "steps"}
    for place, rule in enumerate(KINDS["descend"].optimizers):
        assert meaning[f"loss[{place}]"] == f"loss, {rule.title}"
    assert "loss" in unpacked(results["one rule"])[0]["steps"]


@pytest.mark.parametrize("name", KINDS)
def test_a_single_table_says_what_made_it_and_what_its_columns_are(name, results):
    result = results[name]
    said = [line[2:] for line in tables.table(result).splitlines() if line.startswith("# ")]
    assert said[:3] == [KINDS[name].to_url(), told(result.provenance), f"Fingerprint: {result.fingerprint.write()}"]
    first = next(iter(tables.tables(result)[0].values()))
    assert [line.strip().partition(": ")[0] for line in said[4:]] == list(first.columns)


def test_what_is_too_wide_is_left_to_npz(monkeypatch, results):
    monkeypatch.setattr(tables, "COLUMNS", 5)
    monkeypatch.setattr(tables, "ROWS", 5)
    found, specification, _ = unpacked(results["slice"])
    assert specification["only_in_npz"] == ["plane.center", "plane.directions", "params"]
    assert "axes" not in found
