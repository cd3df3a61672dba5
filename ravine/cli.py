"""The `ravine` command: open the app, or compute the experiment of a link."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ravine.engine import computing
from ravine.experiment import Experiment
from ravine.store import Store

_HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="ravine", description="A laboratory for loss landscapes and optimisation dynamics."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    app = commands.add_parser("app", help="open the app in the browser")
    app.add_argument("--port", type=int, default=8501)
    app.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in")
    app.add_argument("--headless", action="store_true", help="do not open a browser")
    run = commands.add_parser("run", help="compute the experiment of a link and save its numbers")
    run.add_argument("link", help="a share link, whole, as the app shows it")
    run.add_argument("--to", required=True, metavar="FILE.zip", help="where to write the arrays and the specification")
    chosen = parser.parse_args(arguments)
    return _app(chosen) if chosen.command == "app" else _run(chosen)


def _app(chosen: argparse.Namespace) -> int:
    from streamlit.web import cli as streamlit  # only this command needs it

    installed = _HERE / "_app"
    home = installed if installed.exists() else _HERE.parent
    # Streamlit reads this file only from the folder that one starts in: pass on what it says.
    options = _flat(tomllib.loads((home / ".streamlit" / "config.toml").read_text()))
    options |= {"server.port": chosen.port, "server.address": chosen.host, "server.headless": chosen.headless}
    spelled = [f"--{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in options.items()]
    sys.argv = ["streamlit", "run", str(home / "app.py"), *spelled]
    streamlit.main()
    return 0


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    out: dict[str, Any] = {}
    for key, value in table.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out


def _run(chosen: argparse.Namespace) -> int:
    experiment, refusals = Experiment.from_url(chosen.link)
    for sentence in refusals:
        print(sentence, file=sys.stderr)
    if refusals:
        return 2  # a script must not mistake the default for what it asked for
    if Path(chosen.to).suffix != ".zip":
        print(f"--to {chosen.to} is not allowed: the file's name must end in .zip.", file=sys.stderr)
        return 2
    if not Path(chosen.to).parent.is_dir():
        print(f"--to {chosen.to} is not allowed: the folder must be there already.", file=sys.stderr)
        return 2
    for result in computing(experiment, store=Store()):
        print(f"\r{result.phase:<40}", end="", file=sys.stderr)
    print(file=sys.stderr)
    result.save(chosen.to)
    print("\n".join(result.sentences()))
    return 0
