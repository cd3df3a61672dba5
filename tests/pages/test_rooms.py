"""The teacher's side of a room in the page itself."""

import pytest

from pages import _services as services
from ravine import teacher
from ravine.rooms import Rooms
from tests.pages.visitor import sound, visit

KEY = "correct-horse-battery"


@pytest.fixture(autouse=True)
def rooms(monkeypatch):
    """A house of rooms for this test alone."""
    house = Rooms()
    monkeypatch.setattr(services, "rooms", lambda: house)
    monkeypatch.delenv(teacher.ENVIRONMENT, raising=False)
    return house


def opening(app):
    return [one for one in app.button if one.label == "Open a live room"]


def test_without_a_key_anybody_opens_a_room():
    app = visit("descend")
    opening(app)[0].click().run()
    sound(app)
    assert "room" in app.session_state
    assert [one.label for one in app.button if one.label == "Close"] == ["Close"]


def test_with_a_key_only_who_has_it_opens_a_room(monkeypatch, rooms):
    monkeypatch.setenv(teacher.ENVIRONMENT, KEY)
    app = visit("descend")
    field = "descend teacher key"
    assert opening(app) == []
    app.text_input(key=field).input("wrong-horse-battery").run()
    sound(app)
    assert [one.value for one in app.toast] == ["This is not the teacher's key."]
    assert opening(app) == []
    assert rooms._rooms == {}
    app.text_input(key=field).input(KEY).run()
    sound(app)
    opening(app)[0].click().run()
    sound(app)
    assert list(rooms._rooms) == [app.session_state["room"][0]]
