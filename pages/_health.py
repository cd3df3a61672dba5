"""What a load balancer asks: is the server alive, and has it room for one more visitor?"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from pages import _services as services


async def live(_: Any) -> JSONResponse:
    """Answers as long as the process does."""
    return JSONResponse({"alive": True})


async def ready(_: Any) -> JSONResponse:
    """How busy it is. 503 while it starts, and where the next visitor would wait in line: a balancer then sends them elsewhere."""
    seats, jobs, desks = services.seats(), services.jobs(), services.desks()
    queue, full = jobs.line, seats.taken >= seats.most
    serves = jobs.started and not full
    return JSONResponse(
        {
            "ready": serves,
            "starting": not jobs.started,
            "load": round(max(seats.taken / seats.most, queue["waiting"] / queue["most"]), 3),
            "sessions": {"open": seats.taken, "most": seats.most, "waiting": seats.waiting},
            "queue": queue,
            "desk": {"waiting": sum(one.people for one in desks)},
        },
        200 if serves else 503,
        {"Cache-Control": "no-store"},
    )


routes = [Route("/livez", live), Route("/readyz", ready)]
