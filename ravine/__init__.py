"""What was asked, as data: everything between the maths and the screen."""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["Experiment", "Log", "Result", "Store", "Watch", "adopt", "compute", "computing", "read_log", "watch"]

if TYPE_CHECKING:
    from ravine.engine import compute, computing
    from ravine.experiment import Experiment
    from ravine.log import Log, read_log
    from ravine.own import adopt
    from ravine.result import Result
    from ravine.store import Store
    from ravine.version import __version__ as __version__
    from ravine.watching import Watch, watch
else:  # torch takes seconds to import: the command line's help can do without
    _HOMES = {
        "adopt": "own",
        "compute": "engine",
        "computing": "engine",
        "Experiment": "experiment",
        "Log": "log",
        "read_log": "log",
        "Result": "result",
        "Store": "store",
        "Watch": "watching",
        "watch": "watching",
        "__version__": "version",
    }

    def __getattr__(name):
        """A public name, imported when it is first asked for."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
