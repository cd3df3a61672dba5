"""Answers to what a browser asked for outlive the beginning of a run."""

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from pages import _answers


def queue():
    drawn, finished, places = ForwardMsg(), ForwardMsg(), ForwardMsg()
    drawn.delta.new_element.empty.SetInParent()
    finished.script_finished = ForwardMsg.FINISHED_SUCCESSFULLY
    places.file_urls_response.response_id = "asked"
    found = ForwardMsgQueue()
    for one in (drawn, places, finished):
        found.enqueue(one)
    return found


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(ForwardMsgQueue, "clear", ForwardMsgQueue.clear)  # as it was, after the test
    for _ in range(2):
        _answers.keep()


@pytest.mark.usefixtures("kept")
def test_where_a_file_may_go_is_said_although_a_run_begins():
    waiting = queue()
    waiting.clear(retain_lifecycle_msgs=True)
    assert sorted(one.WhichOneof("type") for one in waiting.flush()) == ["file_urls_response", "script_finished"]
    assert waiting.is_empty()


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("fragments", [None, ["part"]])
def test_it_is_said_once_and_not_after_all_was_sent(fragments):
    waiting = queue()
    for _ in range(2):
        waiting.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=fragments)
    assert [one.WhichOneof("type") for one in waiting.flush()].count("file_urls_response") == 1
    waiting = queue()
    waiting.clear()
    assert waiting.is_empty()
