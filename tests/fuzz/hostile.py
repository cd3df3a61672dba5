"""What attackers write: texts that are code, addresses, paths or markup somewhere else, and damage to what was whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import strategies as st

# If this ever exists, something that an input said was run.
CANARY = Path(tempfile.gettempdir()) / f"ravine-canary-{os.getpid()}"

CODE = [
    f"__import__('os').system('touch {CANARY}')",
    f"open('{CANARY}','w')",
    f"eval(\"open('{CANARY}','w')\")",
    f"exec('open(\"{CANARY}\",\"w\")')",
    "().__class__.__bases__[0].__subclasses__()",
    "x.__class__", "[y for y in x]", "lambda: x", "(x:=1)", "x if y else x", "f'{x}'", "x@y", "x//y", "x%y", "*x", "x;y",
    f"${{IFS}}touch {CANARY}", f"`touch {CANARY}`", f"$(touch {CANARY})",
]  # fmt: skip
PLACES = [
    "../../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x", "https://[::1]:9/x",
    "\\\\host\\share", "ftp://127.0.0.1/x", "tcp://127.0.0.1:8786", "own:model", "own:../model", "data:text/html,x",
    "~/.ssh/id_rsa", "/proc/self/environ", "/dev/zero", "con", "s3://bucket/x",
]  # fmt: skip
MARKUP = [
    "<script>alert(1)</script>", "![](http://127.0.0.1:9/x)", "[x](javascript:alert(1))", ":material/lock:", "$x^2$",
    "<img src=x onerror=alert(1)>", "# title", "| a | b |", "`code`", "{{7*7}}", "%(x)s", "{0.__class__}", "**x**",
]  # fmt: skip
ODD = [
    "", " ", "nan", "inf", "-inf", "1e999", "-1e999", "1e-400", "-0.0", "0x10", "1_000", "１２", "٣", "½", "1e5", "+1",
    "--1", "1.", ".5", "9" * 400, "-" + "9" * 30, "2147483647", "2147483648", "true", "True", "none", "null", "0:0",
    "1:2:3:4", "lr:1e-5:1:512log", "seed:0:1:2", "lr:1:1:2", "lr:nan:1:2", ",", ",,,,", "1," * 200, "8x8", "x", "0x0",
    "1024x1024x1024x1024", "\x00", "\x1b[31m", "\r\n", "\u202e", "\u200b", "\ufeff", "\ud800", "\U0010ffff", "é", "🙂",
    "a" * 300, "a" * 9000, "[" * 999, "(" * 999, "%", "%zz", "&", "=", "&amp;", "+", "#", "?", ";", "cuda", "refined",
]  # fmt: skip
TEXTS = [*CODE, *PLACES, *MARKUP, *ODD]
NUMBERS = [0, 1, -1, 0.5, -0.0, 2**31, 2**53 + 1, 2**62, -(2**63), 10**400, 1e308, -1e308, 5e-324, 1e-30]
NUMBERS += [float("nan"), float("inf"), -float("inf"), True, False, None]
# Whatever JSON can say where it should say something else.
JSON = [
    *NUMBERS,
    *TEXTS,
    [],
    {},
    [[]],
    [None],
    {"": {}},
    [1, 2, 3],
    ["a"] * 40,
    {"land": "mlp"},
    {"link": "/?land=booth"},
]
JSON += [[text] for text in TEXTS[::9]] + [{text: text} for text in TEXTS[::9]] + [{"a": number} for number in NUMBERS]


_DAMAGE = st.sampled_from(["cut out", "double", "put in", "replace", "swap", "cut off"])


@st.composite
def mangled(draw, whole):
    """A text or bytes of which a few places are changed."""
    text = draw(whole)
    characters = st.characters() if isinstance(text, str) else st.binary(min_size=1, max_size=1)
    for what in draw(st.lists(_DAMAGE, min_size=1, max_size=4)):
        at = draw(st.integers(0, max(0, len(text) - 1)))
        some = draw(st.integers(0, 40))
        match what:
            case "cut out":
                text = text[:at] + text[at + some :]
            case "double":
                text = text[: at + some] + text[at:]
            case "put in":
                text = text[:at] + draw(characters) + text[at:]
            case "replace":
                text = text[:at] + draw(characters) + text[at + 1 :]
            case "swap":
                text = text[:at] + text[at + some : at + 2 * some] + text[at : at + some] + text[at + 2 * some :]
            case "cut off":
                text = text[:at] if some == 40 else text
    return text


def escaped() -> bool:
    """Was anything of `CODE` run? Takes the trace of it away."""
    if CANARY.exists():
        CANARY.unlink()
        return True
    return False
