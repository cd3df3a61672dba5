"""Where a Chromium is: pictures are taken by one, and the tests of the pages run in one."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

VARIABLE = "CHROMIUM"
# The one without windows comes first: it opens a page with a quarter less work.
_NAMES = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find() -> str | None:
    """The path of a Chromium: that of $CHROMIUM and no other if it is set, one of the system, or Playwright's."""
    if chosen := os.environ.get(VARIABLE):
        return shutil.which(chosen)
    return next((found for name in _NAMES if (found := shutil.which(name))), None) or _of_playwright()


def required(purpose: str) -> str:
    """The path of a Chromium. Raises ValueError, which says what `purpose` needs and how to get it."""
    found = find()
    if found is not None:
        return found
    if chosen := os.environ.get(VARIABLE):
        raise ValueError(
            f"{purpose} needs a Chromium, and {VARIABLE} = {chosen} is no program: set it to the path of one."
        )
    raise ValueError(
        f"{purpose} needs a Chromium, and none was found. Install one (Debian: `apt install chromium-headless-shell`; any "
        "system: `pip install playwright`, then `playwright install chromium`; or Google Chrome), or set "
        f"{VARIABLE} to the path of yours."
    )


def _of_playwright() -> str | None:
    if find_spec("playwright") is None:
        return None
    with ThreadPoolExecutor(1) as aside:  # where an event loop runs already, as in a notebook, Playwright refuses
        path = aside.submit(playwrights).result()
    return path if os.path.exists(path) else None


def playwrights() -> str:
    """Where Playwright puts a Chromium of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path
