"""The least that a Streamlit page with our canvas can do: a fragment that sends the same picture again.

Served as app.py serves the real one; `streamlit run benchmarks/bare_fragment/app.py` from the repository's root.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from pages._held import Files  # noqa: E402


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    from benchmarks.bare_fragment.packets import figure, packets

    packets("v=1")
    figure()
    gc.collect()
    gc.freeze()
    yield {}


async def ready(_: Any) -> JSONResponse:
    return JSONResponse({"ready": True})


app = st.App(
    HERE / "main.py",
    lifespan=lifespan,
    routes=[Route("/readyz", ready)],
    middleware=[Middleware(Files)],
)
