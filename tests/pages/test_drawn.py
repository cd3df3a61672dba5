"""A picture is made once for a result, for as long as it lives."""

import dataclasses
import gc

import plotly.graph_objects as plotly
import pytest

from pages import _drawn
from pages._drawn import drawn, shown
from ravine import compute, picture
from tests.pages.visitor import NETWORK_VIEWS, settled, small, sound, visit_link


def test_each_look_is_made_once():
    made = []
    result, twin = compute(small("edge")), compute(small("edge"))
    for one, look in ((result, "a"), (result, "b"), (result, "a"), (twin, "a")):
        assert drawn(one, lambda look=look: made.append(look) or look, look) == look
    assert made == ["a", "b", "a"]


def test_pictures_that_came_with_a_result_are_not_made_again():
    result = compute(small("edge"))
    came = {"figure": b"as it came"}
    result.shown_by(came)
    assert shown(result, result.experiment) == came
    other = shown(result, dataclasses.replace(result.experiment, relative=not result.experiment.relative))
    assert b"threshold" in other["figure"]


def test_pictures_go_with_their_result():
    before, result = len(_drawn._albums), compute(small("edge"))
    drawn(result, dict)
    assert len(_drawn._albums) == before + 1
    del result
    gc.collect()
    assert len(_drawn._albums) <= before


def test_so_many_looks_are_kept():
    made, result = [], compute(small("edge"))
    for look in (*range(_drawn._LOOKS + 1), _drawn._LOOKS, 0):
        drawn(result, lambda look=look: made.append(look), look)
    assert made == [*range(_drawn._LOOKS + 1), 0]


def test_so_many_bytes_are_kept():
    made, result = [], compute(small("edge"))
    large = b"x" * (_drawn._BYTES // 3)
    for look in (0, 1, 2, 0, 1, 3, 0, 2):
        drawn(result, lambda look=look: made.append(look) or {"figure": large, "told": ("", b"")}, look)
    assert made == [0, 1, 2, 3, 2]
    drawn(result, lambda: 4 * large, "larger than all")  # is kept, alone
    drawn(result, lambda: made.append("again"), "larger than all")
    assert made[-1] == 2


@pytest.mark.parametrize(
    ("view", "changes"),
    [
        *((view, {}) for view in NETWORK_VIEWS),
        ("edge", {"at": 10}),
        ("edge", {"at": 10, "aspect": "spectrum"}),
        ("slice", {"drawing": "cuts"}),
        ("slice", {"plane": "solutions"}),
    ],
)
def test_a_poll_of_an_unchanged_result_builds_no_figure(view, changes, monkeypatch):
    built, begin, packet = [], plotly.Figure.__init__, picture._view

    def noted(self, *args, **options):
        built.append("figure")
        begin(self, *args, **options)

    def viewed(*args, **options):
        built.append("canvas")
        return packet(*args, **options)

    monkeypatch.setattr(plotly.Figure, "__init__", noted)
    monkeypatch.setattr(picture, "_view", viewed)
    app = visit_link(small(view, **changes))
    settled(app, view)
    assert built
    sent = [one.proto.SerializeToString() for one in app.get("bidi_component")]
    built.clear()
    app.run()  # what a poll runs, and more
    sound(app)
    assert built == []
    assert [one.proto.SerializeToString() for one in app.get("bidi_component")] == sent
