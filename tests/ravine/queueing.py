"""What tests of the queue share: a small computation, a clock that they move, and patience."""

import threading

from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment

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
    for _ in range(int(PATIENCE / 0.01)):
        with jobs._changed:
            if condition():
                return
        threading.Event().wait(0.01)
    raise AssertionError("waited too long")
