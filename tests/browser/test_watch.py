"""What comes from files: the log of a watched run while it grows, a dropped point, and a pickle that is refused."""

from __future__ import annotations

import io
import re

import pytest
import safetensors.torch
import torch

from ravine.log import FORMAT, written
from tests.browser.screen import VISITOR, Screen
from tests.browser.server import SCRIPTS, Server

STEPSIZE = "/stepsize?land=rosenbrock&opt1=gd&opt1.lr=0.001&steps=20&start=-1.5:2.0"
HEADER = {"ravine": FORMAT, "model": "Net", "optimizer": "SGD", "threshold": "2/η", "parameters": 12, "every": 20}


def lines(first: int, last: int) -> str:
    """Records of a run whose sharpness grows by 1 every 20 steps, against a threshold of 4."""
    return "".join(
        written({"step": 20 * one, "loss": 1 / one, "sharpness": float(one), "threshold": 4.0})
        for one in range(first, last + 1)
    )


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "run.ravine"
    path.write_text(written(HEADER) + lines(1, 3), "utf-8")
    return path


def dropped(name: str, data: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def test_the_page_of_a_log_grows_with_it(browser, log, tmp_path):
    own = Server(tmp_path, (str(SCRIPTS / "ravine"), "open", str(log), "--headless", "--port"))
    context = browser.new_context(**VISITOR)
    try:
        screen = Screen(context.new_page(), own.address).open("/watch")
        assert screen.traces()["sharpness λ"] == {"x": [20, 40, 60], "y": [1, 2, 3]}
        assert screen.page.get_by_text("3 measurements found it below the threshold").is_visible()
        with log.open("a", encoding="utf-8") as file:
            file.write(lines(4, 5))
        screen.page.get_by_text("it reached the threshold at step 80").wait_for()
        screen.wait(
            "() => { const { x } = document.querySelector('.rv-figure').data.find(one => one.name === 'sharpness λ');"
            " return (x._inputArray ?? x).length === 5; }"
        )
        assert screen.traces()["threshold 2/η"]["x"] == [20, 40, 60, 80, 100]
        assert "Traceback" not in own.log
    finally:
        context.close()
        own.stop()


def test_a_dropped_log_is_drawn_and_another_file_refused(visit, log):
    screen = visit()
    screen.page.goto(f"{screen.address}/watch")
    choose = screen.page.locator("input[type=file][accept*='.ravine']")
    choose.set_input_files(dropped("run.ravine", log.read_bytes()))
    screen.page.get_by_text("Net with 12 parameters, trained by SGD").wait_for()
    screen.ready()
    assert screen.traces()["sharpness λ"]["y"] == [1, 2, 3]
    choose.set_input_files(dropped("other.ravine", b"hello\n"))
    screen.page.get_by_text("This is not a log of ravine.watch").wait_for()


def test_a_dropped_point_is_looked_at_and_a_pickle_refused(visit):
    screen = visit(STEPSIZE)
    screen.page.get_by_text("Look at a point from a file").click()
    choose = screen.page.locator("[data-testid=stMain] input[type=file]")
    choose.set_input_files(
        dropped("point.safetensors", safetensors.torch.save({"params": torch.tensor([[0.5, 0.5], [1.0, 1.0]])}))
    )
    screen.page.get_by_text("Point of the trajectory").wait_for()
    # At the minimum (1, 1) of the Rosenbrock function the Hessian ((802, -400), (-400, 200)) has the top eigenvalue 1001.6.
    screen.page.get_by_text(re.compile(r"0\.00199\d|0\.002")).first.wait_for()
    pickle = io.BytesIO()
    torch.save({"params": torch.zeros(2)}, pickle)
    choose.set_input_files(dropped("point.pt", pickle.getvalue()))
    screen.page.get_by_text(
        "This is a pickle, as torch.save writes it. Opening one runs whatever code is in it"
    ).wait_for()
    assert not screen.page.get_by_text("At the point of the file").is_visible()
