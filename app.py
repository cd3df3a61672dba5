"""The entry: `streamlit run app.py`, or `ravine app`. Warms up, serves what pages are made of, nothing else."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # pages import each other's helpers, wherever the app is started from

from pages import _answers as answers  # noqa: E402
from pages import _lighter as lighter  # noqa: E402
from pages._connections import Connections  # noqa: E402
from pages._health import routes as health  # noqa: E402
from pages._held import Files  # noqa: E402
from pages._room_routes import routes as rooms  # noqa: E402
from ravine.headers import Headers  # noqa: E402


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    """Pay for the heavy imports and first calls before the first visitor does."""
    from pages._services import warm_up

    warm_up()
    # What is alive now stays for good: out of the collector's sight, or it walks all of torch after every rerun.
    gc.collect()
    gc.freeze()
    # Scripts of a class run side by side: the loop that reads and writes for all of them, and whoever waits for a worker's
    # answer, get the interpreter after a tenth of the usual time.
    sys.setswitchinterval(0.0005)
    yield {}


def sorry(failure: Exception) -> bool:
    """A sentence instead of a traceback in the browser; the traceback goes to the server's log."""
    from pages._text import plain
    from ravine.own import told, where

    if where(failure):
        st.error(f"The code of your own landscape failed: {plain(told(failure))}.", icon=":material/error:")
        return os.environ.get("RAVINE_DEBUG") is None
    st.error(
        "Something went wrong on our side, and this page could not be drawn. What was computed before is kept: change a "
        f"setting, or reload. ({plain(type(failure).__name__)})",
        icon=":material/error:",
    )
    return os.environ.get("RAVINE_DEBUG") is None


def address() -> list[str]:
    """Under which name this server is known, where it stands behind another: Streamlit's browser.serverAddress."""
    given = str(config.get_option("browser.serverAddress"))
    return [urlsplit(given if "//" in given else f"//{given}").hostname or ""]


answers.keep()
lighter.lighten()
app = st.App(
    HERE / "pages" / "_main.py",
    lifespan=lifespan,
    on_script_error=sorry,
    routes=[
        *health,
        *rooms,
    ],
    middleware=[Middleware(Files), Middleware(Connections)],
)
# Streamlit finds the app by reading this file, and serves what stands under its name: all answers of the one inside.
app = Headers(app, Path(st.__file__).parent / "static" / "index.html", address)  # type: ignore[assignment]
