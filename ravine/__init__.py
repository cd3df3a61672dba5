"""What was asked, as data: everything between the maths and the screen."""

from ravine.engine import compute, computing
from ravine.experiment import Experiment
from ravine.result import Result
from ravine.store import Store

__all__ = ["Experiment", "Result", "Store", "compute", "computing"]
