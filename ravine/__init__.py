"""What was asked, as data: everything between the maths and the screen."""

from ravine.engine import compute, computing
from ravine.experiment import Experiment
from ravine.log import Log, read_log
from ravine.result import Result
from ravine.store import Store
from ravine.watch import Watch, watch

__all__ = ["Experiment", "Log", "Result", "Store", "Watch", "compute", "computing", "read_log", "watch"]
