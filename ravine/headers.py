"""What the server tells browsers about its pages, and what it keeps to itself: an ASGI layer around the whole app.

Pages may load and send nothing beyond this server, others may not frame them unless the operator names who, nothing is
guessed to be a script, and metrics and programs' ways in are closed. Every answer passes here, also those that Streamlit gives.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

EMBED_IN = "RAVINE_EMBED_IN"  # who may frame the pages, apart by spaces
METRICS = "RAVINE_METRICS"  # set: Streamlit's metrics are for everyone who reaches the port
PROXIES = "FORWARDED_ALLOW_IPS"  # uvicorn's: addresses whose X-Forwarded-For is believed
_HOST = re.compile(r"(https?://)?(\*\.)?[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*(:(\d{1,5}|\*))?")
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_STRICT = re.compile("/room/.*|/teach")  # pages that hold nothing of Streamlit
_LOCAL = ("localhost", "127.0.0.1", "0.0.0.0")
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def host(text: str) -> str:
    """A host that may frame the pages, as a policy names it: campus.example, https://*.campus.example:8443. Raises ValueError."""
    if not _HOST.fullmatch(text):
        raise ValueError(
            f"{text[:60]!r} is no host: write it as in moodle.example.org, https://*.example.org or localhost:8080."
        )
    return text


def proxies(text: str) -> str:
    """Addresses and networks of proxies, apart by commas. Raises ValueError for anything else."""
    try:
        return ",".join(str(ipaddress.ip_network(one.strip(), strict=False)) for one in text.split(","))
    except ValueError:
        raise ValueError(
            f"--proxy {text[:60]!r} is not allowed: it must be addresses or networks, as in 127.0.0.1,10.0.0.0/8."
        ) from None


def hashes(page: Path) -> list[str]:
    """Of the scripts that stand in a page itself, as a policy names them."""
    found = _INLINE.findall(page.read_bytes())
    return [f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in found]


def written(policy: Mapping[str, Collection[str]]) -> str:
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())


class Headers:
    """Wraps an ASGI app. `page` is the HTML file that its pages start from, `names` are those of this server beside the one
    that a browser asks for."""

    def __init__(self, app: App, page: Path, names: Callable[[], Collection[str]] = tuple) -> None:
        self._app, self._names = app, names
        framing = ["'self'", *map(host, os.environ.get(EMBED_IN, "").split())]
        self._metrics = METRICS in os.environ
        common = {"object-src": ["'none'"], "frame-ancestors": framing}
        # Streamlit's client styles by inserted sheets and imports the few lines that load a component from a blob.
        self._policy = common | {
            "default-src": ["'self'"],
            "script-src": ["'self'", "blob:", *hashes(page)],
            "style-src": ["'self'", "'unsafe-inline'"],
            "img-src": ["'self'", "data:", "blob:"],
            "font-src": ["'self'", "data:"],
            "media-src": ["'self'", "data:", "blob:"],
            "worker-src": ["'self'", "blob:"],
            "base-uri": ["'self'"],
            "form-action": ["'self'"],
        }
        # The students' page: scripts of this server alone, and nothing in it can be sent anywhere.
        self._strict = common | {
            "default-src": ["'none'"],
            "script-src": ["'self'"],
            "style-src": ["'self'", "'unsafe-inline'"],
            "img-src": ["'self'", "data:", "blob:"],
            "connect-src": ["'self'"],
            "media-src": ["blob:"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        added = [(name.encode(), value.encode()) for name, value in (_ALWAYS | self._policies(scope, given)).items()]

        async def told(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                said = {name.lower() for name, _ in message.get("headers", ())}
                news = [one for one in added if one[0].lower() not in said]
                message = {**message, "headers": [*message.get("headers", ()), *news]}
            await send(message)

        if scope["type"] == "websocket" and not self._own(given):
            await receive()
            if "websocket.http.response" in scope.get("extensions", {}):
                await told({"type": "websocket.http.response.start", "status": 403, "headers": []})
                await told({"type": "websocket.http.response.body", "body": b""})
            else:
                await told({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and self._private(scope["path"]):
            plain = [(b"content-type", b"text/plain; charset=utf-8")]
            await told({"type": "http.response.start", "status": 404, "headers": plain})
            await told({"type": "http.response.body", "body": b"Not Found"})
        else:
            await self._app(scope, receive, told)

    def _policies(self, scope: Scope, given: Mapping[str, str]) -> dict[str, str]:
        policy = dict(self._strict if _STRICT.fullmatch(scope["path"]) else self._policy)
        if "connect-src" not in policy:
            at = given.get("host", "")  # not every browser takes 'self' for websockets too
            sockets = [f"ws://{at}", f"wss://{at}"] if _HOST.fullmatch(at) else []
            policy["connect-src"] = ["'self'", "data:", "blob:", *sockets]
        return {"Content-Security-Policy": written(policy)}

    def _own(self, given: Mapping[str, str]) -> bool:
        """Does a page of this server ask, or a program? Streamlit refuses others too, but asks the internet for its own address
        before it does."""
        origin = given.get("origin")
        if origin is None:
            return True
        try:
            parts = urlsplit(origin)
            return parts.netloc == given.get("host") or parts.hostname in (*_LOCAL, *self._names())
        except ValueError:
            return False

    def _private(self, path: str) -> bool:
        """Streamlit's metrics, and its ways in for programs, which this app does not offer."""
        return (path.rstrip("/").endswith("/_stcore/metrics") and not self._metrics) or "/_stcore/agent" in path
