"""The command: opening the app with its options, and computing a link."""

import importlib.util
import json
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import streamlit.web.cli

import ravine
from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, compute
from ravine.cli import main

ROOT = Path(ravine.__file__).parents[1]
PATHS = Experiment(landscape=LANDSCAPES["booth"](), optimizers=(OPTIMIZERS["gd"](lr=0.02),), steps=5)
EDGE = Experiment(
    landscape=MLP(data="chebyshev", objective="squared", hidden=(4,)),
    optimizers=(OPTIMIZERS["gd"](lr=0.1),),
    view="edge",
    steps=5,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("experiment", [PATHS, EDGE], ids=lambda one: one.view)
def test_a_link_is_computed_and_saved(experiment, tmp_path, capsys):
    assert main(["run", experiment.to_url("http://localhost:8501"), "--to", str(tmp_path / "run.zip")]) == 0
    said = capsys.readouterr()
    expected = compute(experiment)
    assert said.out.splitlines() == expected.sentences()
    assert "5 of 5" in said.err
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        specification = json.loads(archive.read("specification.json"))
        with archive.open("loss.npy") as file:
            np.testing.assert_array_equal(np.load(file), expected.trajectory.loss.numpy())
    assert Experiment.from_url(specification["link"]) == (experiment, [])


def test_the_query_alone_will_do(tmp_path, capsys):
    assert main(["run", PATHS.to_url().partition("?")[2], "--to", str(tmp_path / "run.zip")]) == 0
    assert capsys.readouterr().out.splitlines() == compute(PATHS).sentences()


def test_a_link_that_cannot_be_used_as_it_is_computes_nothing(tmp_path, capsys):
    link = "/?land=atlantis&steps=0"
    assert main(["run", link, "--to", str(tmp_path / "run.zip")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == Experiment.from_url(link)[1]
    assert "rosenbrock" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run.npz", "run", "zip"])
def test_files_end_in_zip(name, tmp_path, capsys):
    assert main(["run", PATHS.to_url(), "--to", str(tmp_path / name)]) == 2
    assert "must end in .zip" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said_before_computing(tmp_path, capsys):
    assert main(["run", EDGE.to_url(), "--to", str(tmp_path / "nowhere" / "run.zip")]) == 2
    said = capsys.readouterr()
    assert "nowhere" in said.err
    assert said.err.strip().endswith(".")
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run"], ["run", "/?steps=3"], ["app", "--port", "x"]])
def test_a_wrong_command_line_shows_how_it_goes(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: ravine" in capsys.readouterr().err


@pytest.fixture
def started(monkeypatch):
    """The command lines that Streamlit was started with."""
    lines = []
    monkeypatch.setattr(streamlit.web.cli, "main", lambda: lines.append(sys.argv))
    monkeypatch.setattr(sys, "argv", ["ravine"])
    return lines


def flat(table, prefix=""):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_the_app_is_started_with_the_options_of_its_file(started):
    assert main(["app", "--port", "9000"]) == 0
    (line,) = started
    assert line[:2] == ["streamlit", "run"]
    assert Path(line[2]).resolve() == ROOT / "app.py"
    assert Path(line[2]).is_file()
    options = dict(option.removeprefix("--").split("=", 1) for option in line[3:])
    assert all(option.startswith("--") for option in line[3:])
    for key, value in flat(tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())):
        assert options[key] == (str(value).lower() if isinstance(value, bool) else str(value))
    assert options["server.port"] == "9000"
    assert options["server.address"] == "127.0.0.1"
    assert options["server.headless"] == "false"


def test_the_app_can_be_opened_to_others(started):
    assert main(["app", "--host", "0.0.0.0", "--headless"]) == 0
    assert "--server.address=0.0.0.0" in started[0]
    assert "--server.headless=true" in started[0]
    assert "--server.port=8501" in started[0]
    assert sum(option.startswith("--server.address") for option in started[0]) == 1


def test_streamlit_knows_every_option(started):
    main(["app"])
    known = streamlit.config.get_config_options()
    for option in started[0][3:]:
        assert option.removeprefix("--").partition("=")[0] in known


def test_importing_the_package_imports_no_streamlit():
    """In a fresh copy of the module's own imports: the command needs Streamlit only to open the app."""
    source = Path(importlib.util.find_spec("ravine.cli").origin).read_text()
    top = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert top
    assert not any("streamlit" in line for line in top)
