"""Visitors of pages in Streamlit's own test harness, every widget and every rerun without a browser; and what they ask for."""

import json
import struct
import time
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from ravine import Experiment
from ravine.axis import Axis
from ravine.experiment import VIEWS

PAGES = Path(__file__).parents[2] / "pages"
PATIENCE = 60.0  # seconds after which a page that does not finish fails its test
TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))
NETWORK_VIEWS = [view for view, one in VIEWS.items() if one.offers(MLP)]
SURFACE_VIEWS = [view for view, one in VIEWS.items() if not one.offers(MLP)]


def small(view, **changes):
    values = {"landscape": TINY, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": view, "steps": 20}
    axes = {"over_x": Axis("lr", 1e-4, 0.1, 66, log=True), "over_y": Axis("weight_decay", 0.0, 0.1, 40)}
    eigenvalues = {"probes": ("top_eigenvalues",), "eigenvalues": 2}
    own = {"slice": {"points": 5}, "sweep": axes, "edge": eigenvalues}
    return Experiment(**(values | own.get(view, {}) | changes))


def paths(**changes):
    rules = (OPTIMIZERS["nag"](lr=0.003, momentum=0.5), OPTIMIZERS["adam"](lr=0.05, beta1=0.8))
    values = {"landscape": LANDSCAPES["beale"](), "optimizers": rules, "start": (0.5, -1.25)}
    return Experiment(**(values | {"steps": 40, "seed": 3, "dtype": "float32", "mode": "surface"} | changes))


EXAMPLES = {view: paths() if view in SURFACE_VIEWS else small(view) for view in VIEWS}


def visit(view, query=None):
    """A new visitor who opens a page by a link."""
    app = AppTest.from_file(str(PAGES / "_main.py"), default_timeout=PATIENCE)
    path = VIEWS[view].path if view in VIEWS else view
    if path:
        app.switch_page(str(PAGES / f"{path}.py"))
    for key, value in (query or {}).items():
        app.query_params[key] = value
    app.run()
    sound(app)
    return app


def visit_link(experiment):
    return visit(experiment.view, experiment.to_query())


def sound(app):
    assert [one.value for one in app.exception] == []


def shown(app, view):
    return app.session_state[f"{view} shown"].experiment


def settled(app, view):
    """Waits until the page's job has ended, and reruns the page, as its poll does."""
    job, until = app.session_state[f"{view} job"], time.monotonic() + PATIENCE
    while job.active and time.monotonic() < until:
        time.sleep(0.005)
    app.run()
    sound(app)
    return app.session_state[f"{view} job"]


def component(app, key):
    """What a page component was sent."""
    (found,) = [one.proto for one in app.get("bidi_component") if one.key == key]
    return found


def packet(data):
    """Header and floats of a canvas packet."""
    (length,) = struct.unpack_from("<I", data)
    return json.loads(data[4 : 4 + length]), np.frombuffer(data[4 + length :], "<f4")


def open_settings(app, number, view="descend"):
    """Opens the popover of a run: a closed one draws no widgets."""
    app.session_state[f"{view}.opt{number} more"] = True
    app.run()
