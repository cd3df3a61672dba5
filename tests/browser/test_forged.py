"""A visitor's file changes nothing of what others see, even where they look at the same step of the same experiment."""

from __future__ import annotations

import dataclasses

import pytest

from ravine import Experiment, Result, Store, compute
from ravine.cut import cut
from ravine.cut import said as told_of_cut
from ravine.spectrum import said as told_of_spectrum
from ravine.spectrum import spectrum
from tests.browser.server import Server
from tests.browser.test_training import finished

STEP = 20
EXPERIMENT, _ = Experiment.from_url(
    "/edge?land=mlp&land.data=chebyshev&land.hidden=4&land.objective=squared&opt1=gd&opt1.lr=0.1&steps=20&every=1&at=20"
)


@pytest.fixture(scope="module")
def honest():
    return compute(EXPERIMENT)


@pytest.fixture
def server(tmp_path, honest):
    """The app, which finds the run on disk: then nothing but the numbers tells it from a file's."""
    Store(tmp_path / "cache").put(honest, keep=True)
    one = Server(tmp_path)
    yield one
    one.stop()


def beside(screen):
    """What is said of the step that is looked at."""
    said = screen.keyed("edge-beside", "[data-testid=stCaptionContainer]").last
    said.wait_for()
    return said.inner_text()


@pytest.mark.prove  # half a minute
def test_what_a_visitor_forges_no_other_sees(visit, tmp_path, honest):
    arrays = honest.arrays()
    forged = Result.from_arrays(EXPERIMENT, arrays | {"params": 3 * arrays["params"]})
    first, second = visit(), visit()
    for aspect, look, told in (("line", cut, told_of_cut), ("spectrum", spectrum, told_of_spectrum)):
        asked = dataclasses.replace(EXPERIMENT, aspect=aspect)
        true, false = (told(look(one, 0, STEP)) for one in (honest, forged))
        assert true != false
        file = tmp_path / f"{aspect}.zip"
        file.write_bytes(dataclasses.replace(forged, experiment=asked).packed())
        first.open("/?opt1=gd&opt1.lr=0.001&steps=20")
        first.page.locator("[data-testid=stSidebar] input[type=file]").set_input_files(file)
        first.page.get_by_text(f"These numbers are from {file.name}").wait_for()
        first.ready()
        assert beside(first) == false
        second.open(asked.to_url())
        finished(second)
        assert second.page.get_by_text("These numbers are from").count() == 0
        assert beside(second) == true
