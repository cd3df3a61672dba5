"""The examples of README and docs run as they stand, and what they promise exists."""

from __future__ import annotations

import dataclasses
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest
import torch

from landscapes import LANDSCAPES, Surface
from optimizers import OPTIMIZERS, Optimizer, run
from ravine.limits import Limits

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = [
    pytest.param(code, id=f"{path.name}-{index}")
    for path in (ROOT / "README.md", ROOT / "docs" / "extending.md")
    for index, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.S))
]


def executed(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)  # dataclasses look their module up
    exec(compile(code, "example", "exec"), vars(module))
    return vars(module)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("code", EXAMPLES)
def test_examples_run(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = executed(code, tmp_path, monkeypatch)
    surfaces = [kind for kind in names.values() if _is_new(kind, Surface)]
    rules = [kind for kind in names.values() if _is_new(kind, Optimizer)]
    for kind in surfaces:  # the declared formula is all that was written, and its derivatives are there
        surface = kind()
        point = surface.start()
        expected = torch.tensor([[4 * 1.5**3, 4.0]], dtype=torch.float64)
        torch.testing.assert_close(surface.grad(point), expected)
    for kind in rules:
        path = run(LANDSCAPES["quadratic"](kappa=1.0), kind(lr=0.1), start=torch.tensor([1.0, 0.0]), steps=3)
        torch.testing.assert_close(path.params[:, 0], torch.tensor([1.0, 0.9, 0.8, 0.7]))
    printed = capsys.readouterr().out
    if not surfaces and not rules:
        assert printed.strip()


def _is_new(kind: object, base: type) -> bool:
    registered = {*LANDSCAPES.values(), *OPTIMIZERS.values()}
    return (
        isinstance(kind, type)
        and issubclass(kind, base)
        and kind not in registered
        and dataclasses.is_dataclass(kind)
        and kind is not base
    )


def test_every_limit_of_a_server_is_documented() -> None:
    told = set(re.findall(r"`(RAVINE_MAX_\w+)`", (ROOT / "docs" / "deployment.md").read_text()))
    assert told == {f"RAVINE_MAX_{field.name.upper()}" for field in dataclasses.fields(Limits)}


def test_every_file_that_a_document_links_to_exists() -> None:
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
        targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", prose)
        assert targets or path.name != "README.md"
        for target in targets:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_citation_names_what_is_built() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = dict(re.findall(r"^([\w-]+): *(.*)$", (ROOT / "CITATION.cff").read_text(), re.M))
    assert (said["version"], said["license"]) == (project["version"], project["license"])
    assert project["authors"] == [{"name": "The Ravine developers"}]
    assert "  - name: The Ravine developers" in (ROOT / "CITATION.cff").read_text()


def test_whoever_contributes_is_sent_to_places_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    goals = (ROOT / "Makefile").read_text()
    for goal in re.findall(r"make (\w+)", text):
        assert re.search(rf"^{goal}:", goals, re.M), goal
    places = re.findall(r"`((?:\w+/)+[\w.]*|\.ci/run)`", text)
    assert len(places) > 8
    assert all((ROOT / place).exists() for place in places)
