"""The key without which nobody opens a live room, where the operator asks for one.

It reaches a page in the fragment of a link, which browsers send to no server, or by a field of the page: no log holds it.
"""

from __future__ import annotations

import os
import re
import secrets

ENVIRONMENT = "RAVINE_TEACHER_KEY"
PATH = "/teach"  # as in http://host:8501/teach#KEY
_KEY = re.compile(r"[A-Za-z0-9_-]{12,200}")


def made(text: str) -> str:
    """The key that an operator chose, or with an empty text a new one. Raises ValueError for one that is easily guessed."""
    if text and not _KEY.fullmatch(text):
        raise ValueError(
            "--teacher-key is not allowed: it must be 12 to 200 letters, digits, - and _. Without a KEY one is made up."
        )
    return text or secrets.token_urlsafe(18)


def asked() -> bool:
    """Does opening a room take the key?"""
    return bool(os.environ.get(ENVIRONMENT))


def fits(key: str) -> bool:
    """Is this the key? Takes as long whatever is wrong with it."""
    return asked() and secrets.compare_digest(os.environ[ENVIRONMENT].encode(), key.encode("utf-8", "replace"))
