"""Visitors who mean harm, to be let loose on a server of one's own: what a class among them still gets is the question.

Each is one person who goes on for as long as the lesson: long links on Descend; networks whose steps last for seconds or that
take the memory; rooms and seats by the dozen; damaged files and links; silent connections and noise.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import struct
import time
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import quote, urlsplit

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks.crowd.front_end import Connection, Heard, Tab, Visitor

_FORMULA = "+".join(f"sin({k}*x)*cos({k}*y)/{k}" for k in range(1, 13))
_SLOW = ("gam", "gam_accelerated", "adahessian", "sam")
_HELD = 150  # silent websockets at once
_PAUSE = 0.5  # seconds between two acts, so that the noise stays one person's


class Crowd:
    """So many hostile visitors, each of another kind as long as there are kinds; what they got is counted."""

    def __init__(self, address: str, count: int, seed: int = 0):
        self.address, self.count, self.seed = address, count, seed
        self.got: dict[str, Counter[str]] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        kinds: list[Callable[[random.Random, Counter[str]], Awaitable[None]]] = [
            self._long_descents, self._heavy_networks, self._rooms, self._files_and_links, self._noise,
        ]  # fmt: skip
        await asyncio.gather(*(self._forever(kinds[number % len(kinds)], number) for number in range(self.count)))

    def told(self) -> list[str]:
        """One line for each."""
        return [
            f"{name}: " + ", ".join(f"{n} {what}" for what, n in sorted(got.items())) for name, got in self.got.items()
        ]

    async def _forever(self, act: Callable[[random.Random, Counter[str]], Awaitable[None]], number: int) -> None:
        chance = random.Random(f"{self.seed} hostile {number}")
        got = self.got.setdefault(f"{act.__name__[1:].replace('_', ' ')} ({number + 1})", Counter())
        while True:
            try:
                await act(chance, got)
            except (OSError, EOFError, ValueError, TimeoutError, websockets.WebSocketException) as failure:
                got[type(failure).__name__] += 1
            await asyncio.sleep(_PAUSE)

    async def _visit(self, path: str, query: str, got: Counter[str], seconds: float) -> None:
        """Opens a page, stays for a while and leaves without a word."""
        tab = Visitor(self.address).tab(path, query, lambda heard: _count(heard, got))
        try:
            await tab.open()
            await asyncio.sleep(seconds)
        finally:
            await tab.close()
        got["visits"] += 1

    async def _long_descents(self, chance: random.Random, got: Counter[str]) -> None:
        rules = "".join(
            f"&opt{place}={rule}&opt{place}.schedule=cosine&opt{place}.wrap=clip_norm,lookahead,gradient_noise"
            for place, rule in enumerate(_SLOW, 1)
        )
        query = f"v=1&land=formula&land.expression={quote(_FORMULA)}{rules}&steps=10000&seed={chance.randrange(10**6)}&basins=1"
        await self._visit("", query, got, chance.uniform(2, 20))

    async def _heavy_networks(self, chance: random.Random, got: Counter[str]) -> None:
        seed = chance.randrange(10**6)
        wide = f"v=1&land=mlp&land.hidden=1024x1024x1024x1024x1024x1024&land.data=digits&land.objective=squared&land.seed={seed}"
        query = chance.choice((
            f"{wide}&land.subset=10&opt1=shampoo&steps=10000&every=1000",
            f"{wide}&opt1=adam&steps=20&every=20&vary=seed&across=1,2,3,4,5,6,7,8",
        ))  # fmt: skip
        await self._visit("edge", query, got, chance.uniform(5, 40))

    async def _rooms(self, chance: random.Random, got: Counter[str]) -> None:
        """Opens a room, sits down on many of its seats, and says what no student says."""
        tab = Visitor(self.address).tab("", "", lambda heard: _count(heard, got))
        try:
            await tab.open()
            if await tab.until(lambda: tab.find("button", label="Open a live room"), 20):
                await tab.press(tab.find("button", label="Open a live room")[0])
                await asyncio.sleep(1)
                got["rooms asked for"] += 1
            code = "".join(chance.choices("ABCDEFGHJKMNPQRSTUVWXYZ23456789", k=6))
            for body in (
                b"[" * 999,
                b"{}",
                json.dumps({"seat": "x" * 32, "word": "<script>"}).encode(),
                chance.randbytes(500),
            ):
                await self._raw("POST", f"/room/{code}/vote", body, got)
            await self._raw("GET", f"/room/{code}/packet/..%2f..%2fetc%2fpasswd", b"", got)
        finally:
            await tab.close()

    async def _files_and_links(self, chance: random.Random, got: Counter[str]) -> None:
        """A damaged file where a results file is asked for, and a link that nobody wrote."""
        tab = Visitor(self.address).tab("", _mutated(chance), lambda heard: _count(heard, got))
        try:
            await tab.visitor.load()
            await tab.open()
            if await tab.until(lambda: tab.find("file_uploader"), 20):
                await self._upload(tab, *_damaged(chance), got)
                await asyncio.sleep(chance.uniform(1, 4))
        finally:
            await tab.close()

    async def _upload(self, tab: Tab, name: str, data: bytes, got: Counter[str]) -> None:
        request = BackMsg()
        request.file_urls_request.request_id = name
        request.file_urls_request.file_names.append(name)
        request.file_urls_request.session_id = tab.session
        await tab.send(request)
        answer = await asyncio.wait_for(tab.uploads.get(), 10)
        (place,) = answer.file_urls
        edge = "ravine-boundary"
        body = (
            f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/zip\r\n\r\n"
        ).encode() + data + f"\r\n--{edge}--\r\n".encode()  # fmt: skip
        headers = {
            "Content-Type": f"multipart/form-data; boundary={edge}",
            "Cookie": tab.visitor.cookie(),
            "X-Xsrftoken": tab.visitor.cookies.get("_streamlit_xsrf", ""),
        }
        connection = Connection(self.address)
        status, _, _ = await connection.ask("PUT", "/" + place.upload_url.lstrip("/"), headers, body)
        connection.close()
        got[f"uploads answered {status}"] += 1
        field = tab.find("file_uploader")[0]
        state = WidgetState(id=field.proto.id)
        info = state.file_uploader_state_value.uploaded_file_info.add(name=name, size=len(data), file_id=place.file_id)
        info.file_urls.CopyFrom(place)
        tab.hold(state)
        await tab.rerun(field.fragment)

    async def _noise(self, chance: random.Random, got: Counter[str]) -> None:
        """Many websockets that say nothing or nonsense, and requests that are none; then they all hang up."""
        host = urlsplit(self.address)
        held = []
        for _ in range(_HELD):
            with suppress(OSError, TimeoutError, websockets.WebSocketException):
                held.append(
                    await websockets.connect(
                        f"ws://{host.netloc}/_stcore/stream",
                        subprotocols=[websockets.Subprotocol("streamlit")],
                        origin=websockets.Origin(self.address),
                        open_timeout=10,
                        ping_interval=None,
                    )
                )
        got["websockets held"] += len(held)
        for one in held[:20]:
            with suppress(websockets.ConnectionClosed):
                await one.send(chance.randbytes(chance.randrange(1, 100_000)))
        for line in (
            chance.randbytes(300),
            b"GET / HTTP/1.1\r\nHost: " + b"x" * 100_000,
            b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        ):
            with suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection(host.hostname, host.port)
                writer.write(line)
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(100), 2)
                writer.close()
                got["raw requests"] += 1
        await asyncio.sleep(chance.uniform(5, 20))
        await asyncio.gather(*(one.close() for one in held), return_exceptions=True)

    async def _raw(self, method: str, path: str, body: bytes, got: Counter[str]) -> None:
        connection = Connection(self.address)
        try:
            async with asyncio.timeout(20):
                status, _, _ = await connection.ask(method, path, {}, body)
        finally:
            connection.close()
        got[f"requests answered {status}"] += 1


def _count(heard: Heard, got: Counter[str]) -> None:
    if heard.what in ("picture", "error", "warning", "exception", "closed"):
        wrong = heard.what == "error" and "went wrong on our side" in heard.text
        got["exceptions shown" if wrong or heard.what == "exception" else f"{heard.what}s"] += 1


def _mutated(chance: random.Random) -> str:
    """A link with a few characters that do not belong there."""
    link = list("v=1&land=himmelblau&opt1=heavy_ball&opt1.lr=0.01&start=-0.5:-0.5&steps=200")
    for _ in range(chance.randrange(1, 8)):
        link[chance.randrange(len(link))] = chance.choice("\x00%&=;:.<>[]()é𝕏∞-9")
    return quote("".join(link), safe="&=:.,")


def _damaged(chance: random.Random) -> tuple[str, bytes]:
    """A name, and a file that is no results file: noise, a bomb, a pickle, absurd headers, a zip that is cut off."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        match chance.randrange(4):
            case 0:
                archive.writestr("losses.npy", bytes(30_000_000))
            case 1:
                archive.writestr("experiment.json", "[" * 100_000)
            case 2:
                archive.writestr(
                    "../../x.npy",
                    b"\x93NUMPY\x01\x00"
                    + struct.pack("<H", 60)
                    + b"{'descr': '|O', 'fortran_order': False, 'shape': (9,)}      \n",
                )
            case _:
                archive.writestr("a.npy", chance.randbytes(1000))
    data = bytearray(buffer.getvalue())
    for _ in range(chance.randrange(0, 6)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return f"{chance.randrange(10**9)}-{int(time.time())}.zip", bytes(
        data[: chance.choice((len(data), len(data) // 2))]
    )
