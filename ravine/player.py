"""The page's own canvas as one file: paths on a map or a sheet, with playback, that opens from a disk without internet.

A browser loads no script file beside a page that was opened from a disk. So each of the canvas's modules travels inside
the page, under a bare name that an import map resolves to its text.
"""

from __future__ import annotations

import base64
import html
import json
import re
from functools import cache
from pathlib import Path

from landscapes import Surface
from ravine.basins import asked, basins
from ravine.picture import descend_view, map_field, slice_view, surface_field
from ravine.result import Result
from ravine.surroundings import surroundings

_HERE = Path(__file__).resolve().parent
ASSETS = next(one for one in (_HERE / "_app" / "assets", _HERE.parent / "assets") if one.is_dir())
_IMPORT = re.compile(r"(from\s+['\"])\./([a-z]+\.js)(['\"])")
_ENTRY = "surface.js"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<script type="importmap">{modules}</script>
</head>
<body>
<header><h1>{title}</h1></header>
<main><div id="picture"></div>{said}</main>
<script type="application/json" id="specification">{specification}</script>
<script type="module">
import draw, {{ field }} from 'ravine/{entry}';
const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
field({{ data: bytes('{field}') }});
draw({{ data: bytes('{view}'), parentElement: document.getElementById('picture') }});
</script>
</body>
</html>
"""


def plays(result: Result) -> bool:
    """Is the picture of this result one that the canvas draws?"""
    experiment = result.experiment
    if experiment.view == "slice":
        return result.plane is not None and experiment.drawing == "map" and not result.beside
    return experiment.view == "descend" and isinstance(experiment.landscape, Surface)


def player(result: Result, title: str = "") -> str:
    """The page. Raises ValueError for a result that the canvas does not draw."""
    if not plays(result):
        raise ValueError("Only paths on a surface, and the map of a single slice, play on a canvas.")
    if result.plane is not None:
        identity, field = map_field(result)
        view = slice_view(result, identity)
    else:
        assert isinstance(result.experiment.landscape, Surface)
        identity, field = surface_field(result.experiment.landscape)
        around = surroundings(result, result.experiment.around)
        found = basins(result.experiment) if asked(result.experiment) else None
        view = descend_view(result, identity, around=around, basins=found)
    return _PAGE.format(
        title=html.escape(title or result.experiment.landscape.label),
        style=(ASSETS / "room.css").read_text("utf-8"),
        modules=json.dumps({"imports": {f"ravine/{name}": _address(text) for name, text in _modules().items()}}),
        said="".join(f"<p>{html.escape(one)}</p>" for one in result.sentences()),
        specification=json.dumps(result.specification()).replace("<", "\\u003c"),
        entry=_ENTRY,
        field=base64.b64encode(field).decode(),
        view=base64.b64encode(view).decode(),
    )


@cache
def _modules() -> dict[str, str]:
    """Name -> text of the canvas's script and of every one that it imports."""
    found: dict[str, str] = {}
    wanted = [_ENTRY]
    while wanted:
        name = wanted.pop()
        if name not in found:
            text = (ASSETS / name).read_text("utf-8")
            wanted += [other for _, other, _ in _IMPORT.findall(text)]
            found[name] = _IMPORT.sub(r"\1ravine/\2\3", text)
    return found


def _address(script: str) -> str:
    return "data:text/javascript;base64," + base64.b64encode(script.encode()).decode()
