"""What a browser has asked the server for reaches it, also where a run of the script begins meanwhile.

Streamlit then empties the queue of what was to be sent, since it is to be drawn anew, and the answer to "where may this file
go?" with it: the file that a visitor dropped a moment before the page is drawn again is never sent, and nobody says so.
"""

from __future__ import annotations

from functools import wraps

from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

_ANSWERS = {"file_urls_response", "backend_operation_response"}


def keep() -> None:
    """From now on, in this process; a second time changes nothing."""
    emptied = ForwardMsgQueue.clear
    if hasattr(emptied, "__wrapped__"):
        return

    @wraps(emptied)
    def clear(
        queue: ForwardMsgQueue, retain_lifecycle_msgs: bool = False, fragment_ids_this_run: list[str] | None = None
    ) -> None:
        waiting = list(queue._queue)
        emptied(queue, retain_lifecycle_msgs, fragment_ids_this_run)
        if retain_lifecycle_msgs:  # else all was sent, or there is nobody to send it to
            queue._queue += [one for one in waiting if one.WhichOneof("type") in _ANSWERS and one not in queue._queue]

    ForwardMsgQueue.clear = clear  # type: ignore[method-assign, assignment]
