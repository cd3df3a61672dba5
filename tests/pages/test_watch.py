"""The page that follows a log: live, damaged, or with nothing to follow."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ravine.log import ENVIRONMENT, written

PAGES = Path(__file__).parents[2] / "pages"
HEADER = {
    "ravine": 1,
    "model": "Net",
    "optimizer": "SGD",
    "rule": "Heavy ball",
    "threshold": "2(1+μ)/η",
    "samples": 512,
}


def visit(page="watch.py"):
    app = AppTest.from_file(str(PAGES / "_main.py"), default_timeout=60)
    if page:
        app.switch_page(str(PAGES / page))
    app.run()
    assert [one.value for one in app.exception] == []
    return app


def texts(app):
    return " ".join(one.value for one in [*app.markdown, *app.info, *app.warning, *app.caption])


@pytest.fixture
def log(tmp_path, monkeypatch):
    path = tmp_path / "run.ravine"
    monkeypatch.setenv(ENVIRONMENT, str(path))
    return path


def test_without_a_log_the_page_shows_how_to_make_one(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    app = visit()
    assert "ravine.watch(model, loss_fn, data, optimizer" in app.code[0].value


def test_a_log_is_shown_and_followed(log):
    log.write_text(
        written(HEADER) + written({"step": 20, "sharpness": 30.0, "threshold": 20.0, "loss": 1.0, "cost": 0.05})
    )
    app = visit()
    assert "SGD" in texts(app)
    assert "1.5 times the threshold" in texts(app).replace("\\", "")
    assert app.get("bidi_component")
    with log.open("a") as file:
        file.write(written({"step": 40, "sharpness": 10.0, "threshold": 20.0, "loss": 0.5, "cost": 0.05}))
    app.run()
    assert "0.5 times the threshold" in texts(app).replace("\\", "")


@pytest.mark.parametrize("content", [None, "nonsense", "\x00" * 50])
def test_what_is_no_log_gets_a_sentence(content, log):
    if content is not None:
        log.write_text(content)
    app = visit()
    assert "cannot be shown yet" in texts(app)


def test_text_of_a_log_is_never_markup(log):
    log.write_text(
        written(HEADER | {"model": "<b>*bold*</b>", "notes": ["[x](http://y)"]}) + written({"step": 1, "cost": 0.1})
    )
    said = texts(visit())
    assert "\\<b\\>" in said
    assert "\\[x\\]" in said


def test_the_app_opens_on_the_log_that_the_command_line_names(log):
    log.write_text(written(HEADER))
    app = visit(page=None)
    assert "Follows" in texts(app)


def test_no_link_names_a_file(log, tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT)
    log.write_text(written(HEADER | {"model": "Secret"}))
    app = AppTest.from_file(str(PAGES / "_main.py"), default_timeout=60)
    app.switch_page(str(PAGES / "watch.py"))
    for key in ("log", "file", "path", "to", ENVIRONMENT):
        app.query_params[key] = str(log)
    app.run()
    assert "Secret" not in texts(app)
