"""The `ravine` command: open the app, or compute without it (see ravine.commands).

What a command needs is imported once it is clear that this command is asked for: torch takes seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ravine import files
from ravine.browser import required

_EXAMPLES = """examples:
  ravine app                                        open the app in the browser
  ravine app --landscape model.py:make              with a landscape of your own in its menus
  ravine open run.ravine                            follow a training that ravine.watch logs
  ravine run 'LINK' -o result.zip                   compute what a share link says; also .npz, .csv, .html, .png ...
  ravine sweep 'LINK' --over lr=1e-3:1:64log -o map.html
  ravine sharpness model.py:make                    the largest curvature of your own loss, and what it allows
Links hold & and ?, so put them in quotes. `ravine COMMAND --help` says more."""
_HERE = Path(__file__).resolve().parent
_EVERYWHERE = ("0.0.0.0", "::", "")


class _Version(argparse.Action):
    def __call__(self, *_: Any) -> None:
        from ravine.version import __version__

        print("ravine", __version__)
        raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="ravine",
        description="A laboratory for loss landscapes and optimization dynamics.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", nargs=0, action=_Version, help="say which version this is")
    subparsers = parser.add_subparsers(dest="command", required=True)
    app = subparsers.add_parser(
        "app",
        help="open the app in the browser",
        epilog="Environment: RAVINE_MAX_MEMORY, bytes that one computation may take at most (2147483648); RAVINE_MAX_STEPS, "
        "RAVINE_MAX_WORK and others, each a bound of what a link may ask for, lower it for a server (see ravine/limits.py).",
    )
    app.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="compute on the workers of a Dask cluster")
    app.add_argument(
        "--landscape",
        action="append",
        default=[],
        metavar="FILE.py:FACTORY",
        help="put a landscape of your own into the menus; the file is run as any program of yours; may be repeated",
    )
    app.add_argument(
        "--teacher-key",
        nargs="?",
        const="",
        metavar="KEY",
        help="let nobody open a live room without this key; without KEY one is made up and told",
    )
    app.add_argument(
        "--embed-in",
        nargs="+",
        default=[],
        metavar="HOST",
        help="sites that may show the app in a frame, as in moodle.example.org or https://*.example.org",
    )
    app.add_argument(
        "--proxy",
        metavar="ADDRESS[,ADDRESS]",
        help="addresses or networks of proxies in front, whose word on where a visitor comes from is taken",
    )
    app.add_argument("--metrics", action="store_true", help="show Streamlit's metrics at /_stcore/metrics to everyone")
    app.set_defaults(does=_own)
    opened = subparsers.add_parser("open", help="show a log of ravine.watch in the app, live while it is written")
    opened.add_argument("file", help="the log, FILE.ravine")
    opened.set_defaults(does=_open, scheduler=None, teacher_key=None, embed_in=[], proxy=None, metrics=False)
    for one in (app, opened):
        one.add_argument("--port", type=_port, default=8501, help="of the app's address, from 1 to 65535 (8501)")
        one.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in")
        one.add_argument("--headless", action="store_true", help="do not open a browser")
    _add_computing(subparsers)
    chosen = parser.parse_args(arguments)
    try:
        return chosen.does(chosen)
    except (ValueError, TypeError) as refusal:  # what was asked for does not fit
        print(refusal, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What was finished is kept: the same command goes on from there.", file=sys.stderr)
        return 130


def _add_computing(subparsers: Any) -> None:
    """The commands that compute without the app."""
    run = subparsers.add_parser(
        "run",
        help="compute the experiment of a link and save what it gives",
        epilog="Exit status: 0 if done, 2 if something in the link or the file name cannot be used.",
    )
    sweep = subparsers.add_parser(
        "sweep",
        help="run the first rule of a link at many values of its hyper-parameters",
        epilog="Example: ravine sweep '/?land=beale&opt1=heavy_ball' --over lr=1e-3:1:64log --over momentum=0:0.99:32 -o map.html",
    )
    sweep.add_argument(
        "--over", action="append", required=True, metavar="NAME=LOW:HIGH:COUNT[log]",
        help="what to sweep, one axis or two: a hyper-parameter, start_x, start_y, seed or batch_size",
    )  # fmt: skip
    sweep.add_argument("--sharpness", action="store_true", help="measure the sharpness at the end of each run")
    for one in (run, sweep):
        one.add_argument("link", help="a share link, whole, as the app shows it")
        one.add_argument(
            "-o", "--to", required=True, metavar="FILE",
            help=f"where to write; the ending says what: {files.listed()} (png needs a Chromium on this machine)",
        )  # fmt: skip
        one.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="compute on the workers of a Dask cluster")
        one.set_defaults(does=_saved)
    sharp = subparsers.add_parser(
        "sharpness",
        help="the largest Hessian eigenvalues of a landscape of your own",
        epilog="The file is run as any program of yours. The factory takes no arguments and returns a Landscape, as "
        "landscapes.from_module gives it, or a pair (landscape, parameters).",
    )
    sharp.add_argument("factory", metavar="FILE.py:FACTORY")
    sharp.add_argument("--count", type=int, default=1, help="how many eigenvalues (1)")
    sharp.add_argument("--tol", type=float, default=1e-6, help="relative residual at which to stop (1e-6)")
    sharp.set_defaults(does=_compute)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a port: it must be a whole number from 1 to 65535.")
    return int(text)


def _saved(chosen: argparse.Namespace) -> int:
    """A command that writes a file: where it goes is checked before anything is computed."""
    path = Path(chosen.to)
    kind = files.ending(path.name)
    if kind is None:
        raise ValueError(f"--to {path} is not allowed: the file's name must end in {files.listed()}.")
    if not path.parent.is_dir():
        raise ValueError(f"--to {path} is not allowed: the folder must be there already.")
    if files.KINDS[kind].needs_browser:
        required(f"A .{kind}")
    return _compute(chosen)


def _compute(chosen: argparse.Namespace) -> int:
    from ravine.commands import COMMANDS

    return COMMANDS[chosen.command](chosen)


def _own(chosen: argparse.Namespace) -> int:
    """The app, with the user's own landscapes in its menus."""
    specifications = [
        str(Path(place).resolve()) + mark + factory
        for place, mark, factory in (one.rpartition(":") for one in chosen.landscape)
    ]
    if specifications:
        from ravine import own

        own.register(specifications)
        os.environ[own.ENVIRONMENT] = "\n".join(specifications)
    return _app(chosen)


def _open(chosen: argparse.Namespace) -> int:
    """The app, on the page that follows a log."""
    from ravine import log

    try:
        log.read_log(chosen.file)
    except OSError as failure:
        raise ValueError(f"{chosen.file} cannot be read: {failure.strerror}.") from failure
    except ValueError as refusal:
        raise ValueError(f"{chosen.file} cannot be opened. {refusal}") from refusal
    os.environ[log.ENVIRONMENT] = str(Path(chosen.file).resolve())
    return _app(chosen)


def _app(chosen: argparse.Namespace) -> int:
    from streamlit.web import cli as streamlit

    installed = _HERE / "_app"
    home = installed if installed.exists() else _HERE.parent
    if chosen.scheduler:
        from ravine.cluster import VARIABLE

        os.environ[VARIABLE] = chosen.scheduler
    # Streamlit reads this file only from the folder that one starts in: pass on what it says.
    options = _flat(tomllib.loads((home / ".streamlit" / "config.toml").read_text()))
    options |= {"server.port": chosen.port, "server.address": chosen.host, "server.headless": chosen.headless}
    if chosen.embed_in:
        # In another site's frame browsers send no cookies, and Streamlit refuses uploads without its own. It guards little
        # here: there are no accounts, and nobody guesses the address that an upload goes to.
        options["server.enableXsrfProtection"] = False
    spelled = [f"--{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in options.items()]
    print(_address(chosen.host, chosen.port), flush=True)
    _guard(chosen)
    sys.argv = ["streamlit", "run", str(home / "app.py"), *spelled]
    streamlit.main()
    return 0


def _guard(chosen: argparse.Namespace) -> None:
    """Who may do what with the server; the app in it reads that from the environment."""
    from ravine import headers, teacher

    if chosen.embed_in:
        os.environ[headers.EMBED_IN] = " ".join(headers.host(one) for one in chosen.embed_in)
    if chosen.metrics:
        os.environ[headers.METRICS] = "1"
    if chosen.teacher_key is not None:
        os.environ[teacher.ENVIRONMENT] = key = teacher.made(chosen.teacher_key)
        told = "KEY" if chosen.teacher_key else key  # what the operator knows need not stand in a log
        link = f"{_url(chosen.host, chosen.port)}{teacher.PATH}#{told}"
        print(f"Whoever comes by {link} may open live rooms.", flush=True)
    # uvicorn's own: by itself it takes the word of whoever asks from this machine.
    if chosen.proxy is not None:
        os.environ[headers.PROXIES] = headers.proxies(chosen.proxy)
    else:
        os.environ.setdefault(headers.PROXIES, "")


def _url(host: str, port: int) -> str:
    name = "localhost" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


def _address(host: str, port: int) -> str:
    """Where the app can be seen, in a sentence."""
    others = ", and from other machines under the name or address of this one" if host in _EVERYWHERE else ""
    return f"Ravine is at {_url(host, port)}{others}. Ctrl-C ends it."


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    out: dict[str, Any] = {}
    for key, value in table.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out
