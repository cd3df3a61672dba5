"""What Streamlit is spared changes nothing of what it says."""

import pytest
from streamlit import config
from streamlit.proto.NewSession_pb2 import NewSession
from streamlit.runtime import app_session
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.runtime.state.session_state import SessionState
from streamlit.testing.v1 import AppTest

from pages import _lighter

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
