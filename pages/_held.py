"""The files that a browser loads before it shows anything, answered from memory.

A first visit asks for about sixty of Streamlit's scripts and for ours. Streamlit's own route reads each from disk on a
thread, for every visitor anew, and sends it as large as it is: a class that opens the app at once waits for that.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config, file_util

from pages._assets import SCRIPTS, VERSION

FOREVER = b"public, immutable, max-age=31536000"  # for an address that changes with what it names
ASK = b"no-cache"  # for one that does not: a browser keeps it, and asks whether it is still the same
_LEVEL = 9  # once, for all visitors
_WORTH = 0.95  # a compressed file that is no smaller than this share is not worth unpacking

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Held:
    """One file, as it is sent to a browser that takes gzip."""

    body: bytes
    packed: bool
    kind: bytes
    tag: bytes  # the same, packed or not: a weak one

    @classmethod
    def of(cls, path: Path) -> Held:
        plain = path.read_bytes()
        small = gzip.compress(plain, _LEVEL, mtime=0)
        packed = len(small) < _WORTH * len(plain)
        # By name where it matters: what a system has on record for scripts may be a kind that no browser would run.
        kind = (
            "text/javascript"
            if path.suffix == ".js"
            else mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        )
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        tag = f'W/"{hashlib.sha256(plain).hexdigest()[:32]}"'
        return cls(small if packed else plain, packed, kind.encode(), tag.encode())

    def answer(self, asked: Mapping[bytes, bytes], keep: bytes) -> tuple[int, Headers, bytes]:
        """Status, headers and body for a request with such headers; `keep` says how long a browser may keep it."""
        headers = [(b"cache-control", keep), (b"vary", b"Accept-Encoding"), (b"etag", self.tag)]
        if self.tag in asked.get(b"if-none-match", b""):
            return 304, headers, b""
        body = self.body
        if self.packed and b"gzip" in asked.get(b"accept-encoding", b""):
            headers.append((b"content-encoding", b"gzip"))
        elif self.packed:
            body = gzip.decompress(body)
        return 200, [*headers, (b"content-type", self.kind), (b"content-length", str(len(body)).encode())], body


def bundled() -> dict[str, Path]:
    """Streamlit's own files, whose names hold a digest: address -> file."""
    root = Path(file_util.get_static_dir())
    return {f"/{path.relative_to(root).as_posix()}": path for path in (root / "static").rglob("*") if path.is_file()}


class Files:
    """ASGI middleware that answers for files, and hands everything else on.

    Each is read and compressed when it is first asked for, beside the loop that serves everybody, and then kept. What is not
    in the lists that were made at the start does not exist: no address leads elsewhere on the disk.
    """

    def __init__(self, app: ASGIApp):
        self._app = app
        base = (config.get_option("server.baseUrlPath") or "").strip("/")
        self._base = f"/{base}" if base else ""
        self._lasting = bundled() | {f"/scripts/{VERSION}/{name}": path for name, path in SCRIPTS.items()}
        self._held: dict[Path, asyncio.Task[Held]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = scope["path"].removeprefix(self._base) if scope["type"] == "http" else ""
        path, keep = self._lasting.get(address), FOREVER
        if path is None and address.startswith(
            "/scripts/"
        ):  # of another version: a page that was opened before an upgrade
            path, keep = SCRIPTS.get(address.rpartition("/")[2]), ASK
        if path is None or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        status, headers, body = (await self._kept(path)).answer(dict(scope["headers"]), keep)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _kept(self, path: Path) -> Held:
        if path not in self._held:
            self._held[path] = asyncio.create_task(asyncio.to_thread(Held.of, path))
        try:
            return await asyncio.shield(self._held[path])  # who hangs up does not take it from the others
        except OSError:
            self._held.pop(path, None)
            raise
