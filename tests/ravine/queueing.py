"""What tests of the queue share: a small computation, a clock that they move, and patience."""

from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment
from tests import awaiting

PATIENCE = 60.0
TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))


def experiment(seed=0, **changes):
    values = {"landscape": TINY, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": "edge", "steps": 40}
    return Experiment(**(values | {"seed": seed} | changes))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def until(jobs, condition):
    """Waits for a change that a worker makes under the manager's lock."""

    def seen():
        with jobs._changed:
            return condition()

    awaiting.until(seen, PATIENCE)
