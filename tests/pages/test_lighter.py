"""What Streamlit is spared changes nothing of what it says."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from streamlit import config
from streamlit.proto.NewSession_pb2 import NewSession
from streamlit.runtime import app_session
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.runtime.state.session_state import SessionState
from streamlit.testing.v1 import AppTest

from pages import _lighter
from tests.awaiting import awaited

SECTIONS = {
    "theme": lambda theme: theme,
    "theme.light": lambda theme: theme.light,
    "theme.dark": lambda theme: theme.dark,
    "theme.sidebar": lambda theme: theme.sidebar,
}


def told():
    message = NewSession()
    for section, part in SECTIONS.items():
        app_session._populate_theme_msg(part(message.custom_theme), section)
    return message


@pytest.fixture
def settings(monkeypatch):
    """How often the settings of a section were read; of two there are some."""
    read, values = [], {"theme": {"primaryColor": "#123456", "base": "dark"}, "theme.sidebar": {"baseFontSize": 15}}

    options = config.get_options_for_section

    def given(section):
        read.append(section)
        return dict.fromkeys(options(section)) | values.get(section, {})

    monkeypatch.setattr(config, "get_options_for_section", given)
    monkeypatch.setattr(
        app_session, "_populate_theme_msg", app_session._populate_theme_msg
    )  # as it was, after the test
    return read


def test_the_theme_is_the_same_and_read_once(settings):
    plain = told()
    assert plain.custom_theme.primary_color == "#123456"
    assert not plain.custom_theme.HasField("light")
    for _ in range(2):
        _lighter.lighten()
    settings.clear()
    assert [told(), told()] == [plain, plain]
    assert settings == list(SECTIONS)


def page():
    import streamlit as st  # a page of its own

    st.session_state.setdefault("own", 3)
    st.session_state.setdefault("empty", None)
    st.selectbox("first", ["a", "b", "c"], key="first")
    st.selectbox("empty", ["a", "b", "c"], key="empty")
    st.number_input("number", value=None, key="number")
    st.text_input("text", "given", key="text")
    st.selectbox("without a key", ["a", "b", "c"])
    state = st.runtime.state.get_session_state().filtered_state
    st.caption(repr(sorted((key, state[key]) for key in state)) + repr([len(state), "first" in state, "none" in state]))


def test_widgets_find_their_values_one_by_one():
    shown = []
    for _ in range(2):
        app = AppTest.from_function(page).run()
        shown.append([app.caption[0].value])
        app.selectbox(key="first").select("b")
        app.number_input(key="number").set_value(2.0)
        app.run()
        assert not app.exception
        shown[-1] += [app.caption[0].value, app.selectbox(key="empty").value, app.text_input(key="text").value]
        _lighter.lighten()
    assert shown[0] == shown[1]
    assert "('first', 'b')" in shown[0][1]
    assert shown[0][2:] == [None, "given"]


def test_one_look_collects_nothing():
    session = SafeSessionState(SessionState(), lambda: None)
    session["one"], session["two"] = 1, None
    _lighter.lighten()
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SessionState, "filtered_state", property(lambda self: seen.append("all") or {}))
        values = session.filtered_state
        assert [values["one"], values["two"], "two" in values, "three" in values] == [1, None, True, False]
        assert seen == []
        assert [*iter(values)] == []
        assert set(seen) == {"all"}


# ------------------------------------------------------------------ messages


def test_the_loop_is_woken_once_for_what_several_threads_ask_and_answers_in_order():
    woken, heard, session = [], [], SimpleNamespace()
    soon = _lighter._in_batches(lambda session, callback: woken.append(callback))

    def asking(name):
        for number in range(1000):
            soon(session, lambda number=number: heard.append((name, number)))

    threads = [threading.Thread(target=asking, args=(name,)) for name in "abc"]
    [one.start() for one in threads]
    [one.join() for one in threads]
    assert len(woken) == 1
    assert heard == []
    woken.pop()()
    assert len(heard) == 3000
    assert all([number for one, number in heard if one == name] == list(range(1000)) for name in "abc")
    soon(session, lambda: heard.clear())  # and later asks wake it again
    woken.pop()()
    assert (heard, woken) == ([], [])


def test_what_is_asked_meanwhile_is_heard_and_a_failure_holds_up_nobody():
    woken, heard, session = [], [], SimpleNamespace()
    soon = _lighter._in_batches(lambda session, callback: woken.append(callback))
    soon(session, lambda: soon(session, lambda: heard.append("meanwhile")))
    soon(session, lambda: 1 / 0)
    soon(session, lambda: heard.append("after"))
    with pytest.raises(ZeroDivisionError):
        woken.pop(0)()
    while woken:
        woken.pop(0)()
    assert heard == ["after", "meanwhile"]


def test_that_there_is_something_to_send_is_noted_at_once_on_the_loop_and_said_elsewhere():
    async def on_the_loop():
        said = []
        loop = SimpleNamespace(eventloop=asyncio.get_running_loop(), need_send_data=asyncio.Event())
        runtime = SimpleNamespace(_get_async_objs=lambda: loop)
        say = _lighter._said_once(said.append)
        say(runtime)
        assert (loop.need_send_data.is_set(), said) == (True, [])
        await asyncio.to_thread(say, runtime)
        assert said == [runtime]

    awaited(on_the_loop())


def test_a_pause_of_no_length_is_taken_now_and_then_and_every_other_is_kept(monkeypatch):
    now, taken = [100.0], []

    async def sleep(delay):
        taken.append((now[0], delay))

    monkeypatch.setattr(_lighter.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(asyncio, "sleep", sleep)
    spared = _lighter._Asyncio()
    assert spared.Event is asyncio.Event

    async def pauses():
        for now[0] in (100.0, 100.001, 100.002, 100.006, 100.007):
            await spared.sleep(0)
        await spared.sleep(0.01)

    awaited(pauses())
    assert taken == [(100.0, 0), (100.006, 0), (100.007, 0.01)]


def test_settings_are_the_same_without_the_lock(monkeypatch):
    locked = config.get_option.__wrapped__ if hasattr(config.get_option, "__wrapped__") else config.get_option
    free = _lighter._unlocked(locked)
    known = config.get_config_options()
    assert len(known) > 100
    assert [free(key) for key in known] == [locked(key) for key in known]
    with pytest.raises(RuntimeError, match="not defined"):
        free("theme.unknown")
    monkeypatch.setattr(config, "_config_lock", threading.RLock())
    held = threading.Thread(target=config._config_lock.acquire)  # which never gives it back
    held.start()
    held.join()
    assert free("server.port") == known["server.port"].value
