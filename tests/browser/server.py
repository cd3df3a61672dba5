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
    """Starts `command` with the port as its last argument, and waits until /readyz answers."""

    def __init__(self, folder: Path, command: Sequence[str] = RAVINE, cwd: Path | None = None, patience: float = 60.0):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self._log = folder / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, str(port)],
                cwd=cwd or folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"RAVINE_CACHE": str(folder / "cache")},
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

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
