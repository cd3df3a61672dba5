"""The command: opening the app with its options, and computing a link."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import streamlit.web.cli
import uvicorn
from PIL import Image
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import ravine
from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS, run
from ravine import Experiment, browser, compute, headers, own, teacher
from ravine.cli import main
from ravine.cluster import VARIABLE
from ravine.export import WRITERS
from ravine.files import KINDS
from ravine.log import ENVIRONMENT, written
from tests.awaiting import awaited

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
    assert said.err == ""  # quiet in a pipe
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


@pytest.mark.parametrize("name", ["run.pdf", "run", "zip"])
def test_the_ending_says_what_is_written(name, tmp_path, capsys):
    assert main(["run", PATHS.to_url(), "--to", str(tmp_path / name)]) == 2
    assert "must end in .html, .npz, .zip, .csv.zip, .csv, .py, .png, .gif." in capsys.readouterr().err
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


def table(path):
    """The lines of a table, without what is said before it."""
    return [line for line in path.read_text().splitlines() if not line.startswith("# ")]


def test_every_kind_of_file(tmp_path):
    for ending in KINDS:
        assert main(["run", PATHS.to_url(), "-o", str(tmp_path / f"run.{ending}")]) == 0
    with np.load(tmp_path / "run.npz") as file:
        np.testing.assert_array_equal(file["loss"], compute(PATHS).trajectory.loss.numpy())
    lines = table(tmp_path / "run.csv")
    assert lines[0].startswith("step,loss,grad_norm,")
    assert [float(one.split(",")[1]) for one in lines[1:]] == compute(PATHS).trajectory.loss[:, 0].tolist()
    page = (tmp_path / "run.html").read_text()
    assert 'id="picture"' in page
    with Image.open(tmp_path / "run.png") as picture:
        assert json.loads(picture.text["Specification"])["link"] == PATHS.to_url()
    with Image.open(tmp_path / "run.gif") as picture:
        assert picture.n_frames > 1
    with zipfile.ZipFile(tmp_path / "run.csv.zip") as archive:
        assert "steps.csv" in archive.namelist()
    assert "import ravine" in (tmp_path / "run.py").read_text()


def test_what_does_not_move_is_said_before_computing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ravine.commands.computing", None)
    assert main(["sweep", PATHS.to_url(), "--over", "lr=1e-3:1:3", "-o", str(tmp_path / "a.gif")]) == 2
    assert "Only paths on a surface and training runs play as a GIF" in capsys.readouterr().err


def test_no_browser_no_picture(tmp_path, monkeypatch, capsys):
    """And nothing is computed for it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.delenv(browser.VARIABLE, raising=False)
    monkeypatch.setattr("ravine.commands.computing", None)
    assert main(["run", PATHS.to_url(), "-o", str(tmp_path / "run.png")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("A .png needs a Chromium, and none was found. Install one (")
    assert "or set CHROMIUM to the path of yours" in said


def test_a_sweep_of_a_link(tmp_path, capsys):
    file = tmp_path / "sweep.csv"
    over = ["--over", "lr=1e-3:10:5log", "--over", "momentum=0:0.9:2"]
    link = "/?land=booth&opt1=heavy_ball&opt2=adam&steps=40"
    assert main(["sweep", link, *over, "-o", str(file), "--sharpness"]) == 0
    assert "of 10 runs diverged" in capsys.readouterr().out
    lines = [line.split(",") for line in table(file)]
    assert lines[0] == ["lr", "momentum", "final_loss", "best_loss", "diverged_at", "sharpness", "known"]
    assert len(lines) == 11
    lrs = [0.001, 0.01, 0.1, 1.0, 10.0]
    for line in lines[1:]:
        lr = min(lrs, key=lambda one: abs(one - float(line[0])))
        alone = run(PATHS.landscape, OPTIMIZERS["heavy_ball"](lr=lr, momentum=float(line[1])), steps=40)
        np.testing.assert_allclose(float(line[2]), float(alone.loss[-1]), rtol=1e-6)
        assert int(line[4]) == int(alone.diverged_at)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--over", "lr"], "is not an axis"),
        (["--over", "speed=0:1:3"], "cannot be swept here"),
        (["--over", "lr=1:2:3"] * 3, "3 times"),
        (["--over", "lr=1:2:3", "--scheduler", "nowhere"], "No Dask scheduler answers at nowhere"),
    ],
)
def test_a_sweep_that_cannot_be(arguments, said, tmp_path, capsys):
    assert main(["sweep", PATHS.to_url(), *arguments, "-o", str(tmp_path / "a.csv")]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.glob("*.csv")) == []


def test_the_sharpness_of_a_file(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\nfrom landscapes import LANDSCAPES\nbowl = LANDSCAPES['quadratic'](kappa=8.0)\n"
        "def make():\n    return bowl\n"
        "def pair():\n    return bowl, torch.tensor([1.0, 2.0], dtype=torch.float64)\n"
        "def flat():\n    from landscapes import Formula\n    return Formula('x')\n"
        "def fails():\n    raise OSError('no data')\ndef other():\n    return 3\n"
    )
    for name in ("make", "pair"):
        assert main(["sharpness", f"{file}:{name}", "--count", "2"]) == 0
        said = capsys.readouterr().out
        assert "\n8 with residual" in said
        assert "below 0.25" in said
        assert said.count("stable for step sizes") == 1  # the largest eigenvalue alone decides
        assert re.search(r"\n1 with residual [\d.e+-]+\n", said)
    assert main(["sharpness", f"{file}:flat"]) == 0
    assert "no direction curves upward, so the curvature sets no limit" in capsys.readouterr().out
    for name, sentence in (
        ("fails", "OSError: no data"),
        ("other", "returns a Landscape"),
        ("none", "has no attribute 'none'"),
    ):
        assert main(["sharpness", f"{file}:{name}"]) == 2
        assert sentence in capsys.readouterr().err
    assert main(["sharpness", "nothing.py:make"]) == 2
    assert main(["sharpness", f"{file}:make", "--count", "3"]) == 2


def test_progress_is_shown_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["run", EDGE.to_url(), "-o", str(tmp_path / "run.zip")]) == 0
    said = capsys.readouterr()
    assert "[##############################]" in said.err
    assert "5 of 5" in said.err
    assert "#" not in said.out


def test_the_command_itself(tmp_path):
    """In a process of its own, through the installed script."""
    script = Path(sysconfig.get_path("scripts")) / "ravine"
    wrong = subprocess.run([script, "run", "/?steps=0", "-o", "x.zip"], capture_output=True, text=True, timeout=120)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "steps = 0" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("port", ["0", "65536", "-1", "8501.0", "one", "²"])
def test_what_is_no_port_is_said(port, started, capsys):
    with pytest.raises(SystemExit) as left:
        main(["app", f"--port={port}"])
    assert left.value.code == 2
    assert "must be a whole number from 1 to 65535" in capsys.readouterr().err
    assert started == []


def test_what_is_no_link_is_not_taken_for_the_default(tmp_path, capsys):
    file = tmp_path / "run.csv"
    assert main(["run", "nonsense", "-o", str(file)]) == 2
    assert "'nonsense' is not a share link" in capsys.readouterr().err
    assert not file.exists()


def test_a_look_at_a_step_size_is_a_table_too(tmp_path, capsys):
    file = tmp_path / "look.csv"
    link = "/stepsize?land=booth&opt1=gd&opt1.lr=0.01&steps=4&at=2"
    assert main(["run", link, "-o", str(file)]) == 0
    assert "stable step" in capsys.readouterr().out
    head, *rows = table(file)
    columns = dict(zip(head.split(","), zip(*(row.split(",") for row in rows), strict=True), strict=True))
    assert columns["step"] == ("0", "1", "2", "3", "4")
    assert float(columns["stable_lr"][2]) == pytest.approx(2 / 18)  # the largest curvature of Booth's function is 18


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as left:
        main(["sweep", "--help"])
    assert left.value.code == 0
    assert "lr=1e-3:1:64log" in capsys.readouterr().out


def test_the_app_passes_the_scheduler_on(started, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    main(["app", "--scheduler", "tcp://127.0.0.1:8786"])
    assert os.environ[VARIABLE] == "tcp://127.0.0.1:8786"
    assert not any("scheduler" in one for one in started[0])


@pytest.fixture
def started(monkeypatch):
    """The command lines that Streamlit was started with."""
    lines = []
    monkeypatch.setattr(streamlit.web.cli, "main", lambda: lines.append(sys.argv))
    monkeypatch.setattr(sys, "argv", ["ravine"])
    for one in (headers.PROXIES, headers.EMBED_IN, headers.METRICS, teacher.ENVIRONMENT):
        monkeypatch.setenv(one, "")  # comes back as it was, whatever the command sets
        monkeypatch.delenv(one)
    return lines


def flat(table, prefix=""):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_the_app_is_started_with_the_options_of_its_file(started, capsys):
    assert main(["app", "--port", "9000"]) == 0
    assert capsys.readouterr().out == "Ravine is at http://127.0.0.1:9000. Ctrl-C ends it.\n"
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


def test_the_app_can_be_opened_to_others(started, capsys):
    assert main(["app", "--host", "0.0.0.0", "--headless"]) == 0
    assert "http://localhost:8501, and from other machines" in capsys.readouterr().out
    assert "--server.address=0.0.0.0" in started[0]
    assert "--server.headless=true" in started[0]
    assert "--server.port=8501" in started[0]
    assert sum(option.startswith("--server.address") for option in started[0]) == 1


def test_the_word_of_a_proxy_is_taken_where_the_operator_says_so(started, monkeypatch):
    def seen(client, *forwarded):
        """The address of a visitor as the app learns it from uvicorn."""
        scopes = []

        async def inside(scope, receive, send):
            scopes.append(scope)

        config = uvicorn.Config(inside, log_config=None)
        config.load()
        layer = ProxyHeadersMiddleware(inside, trusted_hosts=config.forwarded_allow_ips)
        given = [(b"x-forwarded-for", one.encode()) for one in forwarded]
        awaited(layer({"type": "http", "client": (client, 1), "headers": given, "scheme": "http"}, None, None))
        return scopes[0]["client"][0]

    assert main(["app"]) == 0
    assert seen("127.0.0.1", "203.0.113.7") == "127.0.0.1"  # anybody may write that
    assert main(["app", "--proxy", "127.0.0.1, 10.0.0.0/8"]) == 0
    assert seen("127.0.0.1", "203.0.113.7") == seen("10.1.2.3", "203.0.113.7") == "203.0.113.7"
    assert seen("127.0.0.1", "6.6.6.6, 203.0.113.7, 10.9.9.9") == "203.0.113.7"  # the last that no proxy of ours wrote
    assert seen("198.51.100.1", "203.0.113.7") == "198.51.100.1"


def test_an_operators_own_setting_of_uvicorn_stays(started, monkeypatch):
    monkeypatch.setenv(headers.PROXIES, "192.0.2.1")
    assert main(["app"]) == 0
    assert os.environ[headers.PROXIES] == "192.0.2.1"


def test_the_teachers_key_is_told_where_it_was_made_up(started, capsys):
    assert main(["app", "--teacher-key"]) == 0
    link = re.search(r"http://127.0.0.1:8501/teach#(\S+) ", capsys.readouterr().out)
    assert link
    assert teacher.fits(link[1])
    assert main(["app", "--teacher-key", "correct-horse-battery"]) == 0
    assert "correct-horse-battery" not in capsys.readouterr().out
    assert teacher.fits("correct-horse-battery")
    assert "correct-horse-battery" not in str(started)  # as every user of the machine could read


def test_who_may_frame_the_app_and_see_its_metrics(started):
    assert main(["app", "--embed-in", "moodle.example.org", "https://*.b.c", "--metrics"]) == 0
    assert os.environ[headers.EMBED_IN] == "moodle.example.org https://*.b.c"
    assert headers.METRICS in os.environ
    main(["app"])
    # Browsers keep Streamlit's cookie from the app in another site's frame: with it no file could be dropped there.
    embedded, alone = ("--server.enableXsrfProtection=false" in one for one in started)
    assert embedded
    assert not alone


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--embed-in", "*"], "is no host"),
        (["--proxy", "*"], "must be addresses or networks"),
        (["--teacher-key", "short"], "12 to 200 letters"),
    ],
)
def test_what_guards_nothing_is_refused(arguments, said, started, capsys):
    assert main(["app", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert started == []


def test_streamlit_knows_every_option(started):
    main(["app"])
    known = streamlit.config.get_config_options()
    for option in started[0][3:]:
        assert option.removeprefix("--").partition("=")[0] in known


def test_the_version_is_that_of_the_installed_package():
    ran = subprocess.run([sys.executable, "-m", "ravine", "--version"], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, f"ravine {metadata.version('ravine')}\n")
    assert ravine.__version__ == metadata.version("ravine")


@pytest.mark.parametrize("arguments", [["--help"], ["walk"], ["run", "/?steps=3", "-o", "run.pdf"]])
def test_what_computes_nothing_imports_nothing_heavy(arguments):
    """In a process of its own: help and refusals come at once."""
    source = f"import atexit, sys; atexit.register(lambda: print(*sys.modules)); from ravine.cli import main; main({arguments})"
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120)
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert "ravine.cli" in loaded
    assert not loaded & {"torch", "numpy", "streamlit", "plotly"}


def test_the_public_names_are_imported_when_they_are_asked_for():
    source = "import sys, ravine; print('torch' in sys.modules, *dir(ravine))"
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120)
    torch, *names = ran.stdout.split()
    assert torch == "False"
    assert set(ravine.__all__) <= set(names)
    assert all(callable(getattr(ravine, name)) for name in ravine.__all__)
    with pytest.raises(AttributeError, match="module 'ravine' has no attribute 'wacht'"):
        ravine.wacht  # noqa: B018


def test_every_ending_that_is_promised_is_written():
    assert tuple(WRITERS) == tuple(KINDS)


LOG = written({"ravine": 1, "optimizer": "SGD", "threshold": "2/η"}) + written({"step": 20, "loss": 1.0})


def test_a_log_opens_in_the_app(started, tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    path = tmp_path / "run.ravine"
    path.write_text(LOG)
    assert main(["open", str(path), "--port", "9001", "--headless"]) == 0
    assert "--server.port=9001" in started[0]
    assert os.environ.pop(ENVIRONMENT) == str(path.resolve())


@pytest.mark.parametrize(("content", "sentence"), [(None, "cannot be read"), (b"PK", "not a log of ravine.watch")])
def test_what_is_no_log_does_not_open(content, sentence, started, tmp_path, capsys):
    path = tmp_path / "run.ravine"
    if content is not None:
        path.write_bytes(content)
    assert main(["open", str(path)]) == 2
    assert sentence in capsys.readouterr().err
    assert started == []


def test_landscapes_of_ones_own_go_to_the_app(started, tmp_path, monkeypatch):
    monkeypatch.setattr(own, "_loaded", {})
    monkeypatch.setattr(own, "LANDSCAPES", {})
    monkeypatch.delenv(own.ENVIRONMENT, raising=False)
    (tmp_path / "mine.py").write_text("from landscapes import LANDSCAPES\n\ndef bowl(): return LANDSCAPES['booth']()\n")
    monkeypatch.chdir(tmp_path)
    assert main(["app", "--landscape", "mine.py:bowl"]) == 0
    assert len(started) == 1
    assert list(own.LANDSCAPES) == ["own:bowl"]
    assert os.environ.pop(own.ENVIRONMENT) == f"{tmp_path / 'mine.py'}:bowl"
