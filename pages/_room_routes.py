"""Rooms over HTTP: the students' page, which needs no Streamlit session, its events, packets and votes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pages import _services as services
from pages._assets import ASSETS, VERSION
from ravine import teacher
from ravine.rooms import Playback, Refused

_PAGE, _TEACH = ASSETS / "room.html", ASSETS / "teach.html"
_PAUSE = 0.25  # seconds between two events to one student: a dragged start must not flood a class
_HEARTBEAT = 5.0  # seconds after which a silent connection says that it is alive, and its student present
_BODY = 1_000  # bytes of a request at most
_PATIENCE = 10.0  # seconds in which all of it must have come


async def page(request: Request) -> Response:
    """What a student's browser opens. The code is read by the page's script, from its own address."""
    return HTMLResponse(_PAGE.read_text("utf-8").replace("VERSION", VERSION))


async def teach(request: Request) -> Response:
    """Takes the teacher's key from the fragment of its address to the app, all in the browser."""
    return HTMLResponse(_TEACH.read_text("utf-8").replace("VERSION", VERSION))


async def events(request: Request) -> Response:
    """Server-sent events: the room as it is, and again whenever something else is shown."""
    code, seat = request.path_params["code"], request.query_params.get("seat", "")
    rooms, loop, changed = services.rooms(), asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(changed.set)

    try:
        rooms.join(code, seat)
        stop = rooms.listen(code, wake)
    except Refused as refusal:
        return StreamingResponse(iter([_event({"gone": str(refusal)})]), media_type="text/event-stream")

    async def stream() -> AsyncIterator[str]:
        try:
            while True:
                changed.clear()
                yield _event(rooms.shown(code, seat))
                await asyncio.sleep(_PAUSE)
                until = time.monotonic() + 3600
                while time.monotonic() < until:
                    try:
                        await asyncio.wait_for(changed.wait(), _HEARTBEAT)
                        break
                    except TimeoutError:
                        rooms.shown(code, seat)
                        yield ": alive\n\n"
        except Refused as refusal:
            yield _event({"gone": str(refusal)})
        finally:
            stop()

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


async def packet(request: Request) -> Response:
    """A picture's numbers, named by their digest: they never change."""
    try:
        data = services.rooms().packet(request.path_params["code"], request.path_params["name"])
    except Refused as refusal:
        return JSONResponse({"refused": str(refusal)}, 404)
    headers = {"Cache-Control": "public, max-age=3600, immutable"}
    return Response(data, media_type="application/octet-stream", headers=headers)


async def vote(request: Request) -> Response:
    """A student's prediction."""
    return await _answered(request, lambda code, said: services.rooms().vote(code, said["seat"], said["word"]))


async def play(request: Request) -> Response:
    """What the teacher's player does."""

    def act(code: str, said: dict[str, str]) -> None:
        playback = Playback(
            int(said["position"]), said["playing"] == "true", float(said["speed"]), said["loop"] == "true",
            tuple(float(one) for one in said["camera"].split(",")),
        )  # fmt: skip
        services.rooms().play(code, said["key"], playback)

    return await _answered(request, act)


async def tally(request: Request) -> Response:
    """How many are there and what they said, for whoever holds the key. The key is in no address, so in no log."""
    return await _answered(request, lambda code, said: services.rooms().tally(code, said["key"]))


async def _answered(request: Request, act: Any) -> Response:
    try:
        said = json.loads(await asyncio.wait_for(_body(request), _PATIENCE))
        if not isinstance(said, dict) or not all(isinstance(one, str) for one in said.values()):
            raise Refused("This request is not one that a room understands.")
        return JSONResponse(act(request.path_params["code"], said) or {})
    except Refused as refusal:
        return JSONResponse({"refused": str(refusal)}, 409)
    except TimeoutError:
        return JSONResponse({"refused": "This request took too long to come."}, 408)
    except (ValueError, KeyError, RecursionError, ClientDisconnect):
        return JSONResponse({"refused": "This request is not one that a room understands."}, 400)


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BODY:
            raise Refused("This request is too long.")
    return body


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


routes = [
    Route(teacher.PATH, teach),
    Route("/room/{code}", page),
    Route("/room/{code}/events", events),
    Route("/room/{code}/packet/{name}", packet),
    Route("/room/{code}/vote", vote, methods=["POST"]),
    Route("/room/{code}/play", play, methods=["POST"]),
    Route("/room/{code}/tally", tally, methods=["POST"]),
]
