"""Where the page components' scripts are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import plotly

ASSETS = Path(__file__).resolve().parent.parent / "assets"
# By name, what the browser loads from `scripts/VERSION/`. Plotly's own script is that of the installed Python package: no
# CDN, and nothing vendored.
SCRIPTS = {path.name: path for path in sorted(ASSETS.iterdir()) if path.is_file()}
SCRIPTS["plotly.min.js"] = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
# The scripts import each other, so that one digest stands for all of them: in the address it outwits old caches.
VERSION = hashlib.sha256(
    b"".join([*(path.read_bytes() for path in sorted(ASSETS.glob("*.js"))), plotly.__version__.encode()])
).hexdigest()[:12]
