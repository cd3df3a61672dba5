"""Text on a page. Streamlit takes nearly all text for Markdown, with links, images, formulas, icons and emoji in it.

What is not written in this project's own source, but comes of a link, a file, a log, a model or an error, is shown as it
is, by `plain`. A test reads all pages and fails where anything is shown that is neither a literal nor of this module.
"""

from __future__ import annotations

import base64
import html
import re
from typing import TypeAlias

from landscapes import Landscape
from landscapes.data import Source
from landscapes.planes import Kind as Plane
from landscapes.quantities import Quantity
from landscapes.setting import Setting
from optimizers import Optimizer, Probe, Schedule, Wrapper
from ravine import own
from ravine.files import Kind as File
from ravine.gallery import Piece
from ravine.question import Question
from ravine.verdict import Origin

Markdown: TypeAlias = str  # of our own, in which all that is foreign has gone through `plain`
_DECLARED = (
    Landscape,
    Optimizer,
    Schedule,
    Wrapper,
    Probe,
    Setting,
    Source,
    Plane,
    Quantity,
    File,
    Piece,
    Question,
    Origin,
)
_OURS = ("landscapes", "optimizers", "ravine")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
# Where Streamlit's client looks again at text that is no markup any more: icons and emoji, addresses, those of mail.
_LOOKED_AT = re.compile(r"\\:(?=\S)|\\@|www(?=\\\.)", re.IGNORECASE)
_JOINER = "\N{WORD JOINER}"  # nothing to the eye, and no part of any pattern


def plain(text: object) -> Markdown:
    """A text as it is, in one line: no character of it is markup, none turns the direction of reading or is a control."""
    printable = "".join(
        char if char.isprintable() or char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in str(text)
    )
    escaped = _PUNCTUATION.sub(r"\\\g<0>", " ".join(printable.split()))
    return _LOOKED_AT.sub(rf"\g<0>{_JOINER}", escaped)


def code(name: str) -> Markdown:
    """A name of Python's, as code, where escapes would be seen. Raises ValueError for anything else."""
    if not (name.isidentifier() and name.isascii()):
        raise ValueError(f"{name!r} is no name of Python's.")
    return f"`{name}`"


def ours(declared: object, name: str) -> Markdown:
    """The Markdown that a class of this project declares of itself, as the idea of a rule; what a visitor's class declares is
    shown as it is.

    Raises TypeError for what is no declaration: its text may be anybody's.
    """
    kind = declared if isinstance(declared, type) else type(declared)
    if not issubclass(kind, _DECLARED):
        raise TypeError(f"{kind.__name__} declares no text of its own.")
    text: str = getattr(declared, name)
    where = next((one for one in kind.__mro__ if name in vars(one)), kind).__module__
    return text if where.partition(".")[0] in _OURS and where != own.__name__ else plain(text)


def linked(shown: Markdown, address: str) -> Markdown:
    """What is shown as a link to an address of this app, as `Experiment.to_url` writes it. Raises ValueError for another."""
    if not re.fullmatch(r"/?[\w/]*\?[\w.,:;=&%+*/-]*", address, re.ASCII) or address.startswith("//"):
        raise ValueError(f"{address!r} is no address of a page.")
    return f"[{shown}]({address})"


def image(alternative: Markdown, data: bytes, media: str) -> Markdown:
    """A picture that travels with the page."""
    return f"![{alternative}](data:{media};base64,{base64.b64encode(data).decode()})"


def color(code: str) -> Markdown:
    """A color in a style, as in #0072b2. Raises ValueError for anything else."""
    if not re.fullmatch("#[0-9a-fA-F]{3,8}", code):
        raise ValueError(f"{code!r} is no color.")
    return code


def quoted(text: str) -> Markdown:
    """A text inside the quotes of an HTML attribute."""
    return html.escape(text)
