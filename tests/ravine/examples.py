"""An experiment of every view that takes no time to compute, and when two results are the same."""

from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from ravine import Experiment
from ravine.axis import Axis

TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))


def network(view="edge", lr=0.1, **changes):
    values = {"landscape": TINY, "optimizers": (OPTIMIZERS["gd"](lr=lr),), "view": view, "steps": 30, "every": 4}
    return Experiment(**(values | changes))


def paths(**changes):
    rules = (OPTIMIZERS["gd"](lr=1e-3), OPTIMIZERS["adam"](lr=0.1), OPTIMIZERS["heavy_ball"](lr=10.0))
    return Experiment(
        **({"landscape": LANDSCAPES["rosenbrock"](), "optimizers": rules, "start": (0.5, -0.25), "steps": 30} | changes)
    )


def table(**changes):
    """Few runs, of which some diverge, in two levels."""
    values = {"view": "sweep", "optimizers": (OPTIMIZERS["heavy_ball"](lr=1e-3),), "steps": 30, "measure": True}
    axes = {"over_x": Axis("lr", 1e-4, 1.0, 66, log=True), "over_y": Axis("momentum", 0.0, 0.9, 2)}
    return paths(**(values | axes | changes))


EXAMPLES = {
    "descend": paths(),
    "edge": network(),
    "slice": network("slice", points=5),
    "sweep": table(),
    "stepsize": network("stepsize", at=3),
}


def same(one, other):
    """Equal bit by bit, dtype and shape included."""
    first, second = one.arrays(), other.arrays()
    assert list(first) == list(second)
    for name, array in first.items():
        assert array.dtype == second[name].dtype
        assert array.shape == second[name].shape
        assert array.tobytes() == second[name].tobytes(), name
