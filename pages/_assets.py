"""Where the page components' scripts are."""

from __future__ import annotations

import hashlib
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"
# The scripts import each other, so that one digest stands for all of them: in the address it outwits old caches.
VERSION = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(ASSETS.glob("*.js")))).hexdigest()[:12]
