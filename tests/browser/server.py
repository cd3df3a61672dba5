"""An app in a process of its own, on a free port of this machine, with its files in a folder of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

SCRIPTS = Path(sysconfig.get_path("scripts"))
RAVINE = (str(SCRIPTS / "ravine"), "app", "--headless", "--port")


class Server:
    """Starts `command` with the port as its last argument, and waits until `ready`, a path, answers."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str] = RAVINE,
        cwd: Path | None = None,
        patience: float = 60.0,
        cache: Path | None = None,
        ready: str = "/livez",
    ):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self._ready = ready
        self._log = folder / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, str(port)],
                cwd=cwd or folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"RAVINE_CACHE": str(cache or folder / "cache")} | self._overhearing(folder),
            )
        end = time.monotonic() + patience
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                self.stop()
                raise RuntimeError(f"The app did not start within {patience:.0f} s. Its log:\n{self.log}")
            time.sleep(0.1)

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def asked(self) -> list[str]:
        """Whom the server, and what it started, asked for anything but this machine."""
        every = self._overheard.read_text("utf-8").splitlines() if self._overheard.exists() else []
        return [one for one in every if not any(name in one for name in ("'127.0.0.1'", "'localhost'", "'::1'", "['/"))]

    def _overhearing(self, folder: Path) -> dict[str, str]:
        self._overheard = folder / "overheard.log"
        paths = [str(Path(__file__).parent / "overheard"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"RAVINE_OVERHEARD": str(self._overheard), "PYTHONPATH": os.pathsep.join(paths)}

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.address + self._ready, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
