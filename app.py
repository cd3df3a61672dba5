"""The entry: `streamlit run app.py`, or `ravine app`. Warms up, serves the page components' scripts, nothing else."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import plotly
import streamlit as st
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # pages import each other's helpers, wherever the app is started from

from pages._room_routes import routes as rooms  # noqa: E402


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    """Pay for the heavy imports and first calls before the first visitor does."""
    from pages._services import warm_up

    warm_up()
    # What is alive now stays for good: out of the collector's sight, or it walks all of torch after every rerun.
    gc.collect()
    gc.freeze()
    yield {}


async def ready(_: Any) -> JSONResponse:
    return JSONResponse({"ready": True})


async def plotly_script(_: Any) -> FileResponse:
    """Plotly's own script, from the installed Python package: no CDN, and nothing vendored."""
    path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return FileResponse(path, media_type="text/javascript", headers={"Cache-Control": "public, max-age=31536000"})


def sorry(failure: Exception) -> bool:
    """A sentence instead of a traceback in the browser; the traceback goes to the server's log."""
    from ravine.own import told, where

    if where(failure):
        st.error(f"The code of your own landscape failed: {told(failure)}.", icon=":material/error:")
        return os.environ.get("RAVINE_DEBUG") is None
    st.error(
        "Something went wrong on our side, and this page could not be drawn. What was computed before is kept: change a "
        f"setting, or reload. ({type(failure).__name__})",
        icon=":material/error:",
    )
    return os.environ.get("RAVINE_DEBUG") is None


app = st.App(
    HERE / "pages" / "_main.py",
    lifespan=lifespan,
    on_script_error=sorry,
    routes=[
        Route("/readyz", ready),
        *rooms,
        Route("/scripts/plotly.min.js", plotly_script),
        Mount("/scripts/{version}", StaticFiles(directory=HERE / "assets")),
    ],
)
