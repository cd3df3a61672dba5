"""What is known of curvature along training, found again with the project's own probes; each also where it must not be found."""

import pytest
import torch

from landscapes import MLP
from optimizers import OPTIMIZERS, PROBES, run

CHEBYSHEV = MLP(data="chebyshev", hidden=(20, 20), objective="squared", gain=0.7)  # 481 parameters
GD = OPTIMIZERS["gd"]


def late(values, share=0.3):
    """The mean over the last part of a run: what hovers is compared in the mean."""
    return values[-int(share * len(values)) :].mean(0)


# 1: the edge of stability (Cohen et al. 2021, arXiv:2103.00065; adaptive: 2022, arXiv:2207.14484)

PLAIN = {
    "gd": GD(lr=0.3),
    "heavy_ball": OPTIMIZERS["heavy_ball"](lr=0.3, momentum=0.5),
    "nag": OPTIMIZERS["nag"](lr=0.15, momentum=0.5),
    "calm": GD(lr=0.02),
}
ADAPTIVE = {
    "adam": OPTIMIZERS["adam"](lr=1e-2, beta1=0.9, beta2=0.99),
    "rmsprop": OPTIMIZERS["rmsprop"](lr=3e-3, a=0.99),
    "calm": OPTIMIZERS["adam"](lr=1e-5, beta1=0.9, beta2=0.99),
}


# A single run at the edge is chaotic: on one processor it hovers, on another it is climbing back from a fall when it ends.
STARTS = CHEBYSHEV.start(7)


@pytest.fixture(scope="module")
def plain():
    return run(
        CHEBYSHEV, list(PLAIN.values()), STARTS, steps=900, probes=["sharpness"], record_every=9, params_every=900
    )


@pytest.fixture(scope="module")
def adaptive():
    kinds = ["preconditioned_sharpness"]
    return run(CHEBYSHEV, list(ADAPTIVE.values()), STARTS, steps=700, probes=kinds, record_every=10, params_every=700)


@pytest.mark.parametrize("name", PLAIN)
def test_sharpness_hovers_at_the_threshold_unless_the_step_is_small(plain, name):
    path = plain.of(list(PLAIN).index(name))
    share = (late(path.probes["sharpness"]) / PLAIN[name].stability_threshold()).median()
    if name == "calm":
        assert share < 0.5
    else:
        assert 0.9 <= share <= 1.15
        assert (path.loss[-1] / path.loss[0]).median() < 1 / 2
        assert (path.loss.diff(dim=0) > 0).any(0).all()  # and the loss does not fall at each step


@pytest.mark.parametrize("name", ADAPTIVE)
def test_preconditioned_sharpness_hovers_at_the_threshold_unless_the_step_is_small(adaptive, name):
    path = adaptive.of(list(ADAPTIVE).index(name))
    share = (late(path.probes["preconditioned_sharpness"]) / ADAPTIVE[name].preconditioned_threshold()).median()
    if name == "calm":
        assert not 0.9 <= share <= 1.15
    else:
        assert 0.9 <= share <= 1.15
        assert (path.loss[-1] / path.loss[0]).median() < 1 / 2


def test_sharpness_hovers_on_digits():
    land = MLP(hidden=(16,), subset=100, objective="squared")
    lrs = torch.tensor([[0.15], [0.05]], dtype=torch.float64)
    path = run(land, GD(lr=lrs), steps=400, probes=["sharpness"], record_every=20, params_every=400)
    share = late(path.probes["sharpness"]) * lrs[:, 0] / 2
    assert 0.9 <= share[0] <= 1.15
    assert share[1] < 0.7


# 5: the gradient in a tiny subspace (Gur-Ari, Roberts and Dyer 2018, arXiv:1812.04754; caveat: Song, Ahn and Yun 2024)


def test_at_the_edge_of_stability_the_gradient_lies_in_the_top_subspace():
    kinds = [PROBES["subspace_share"](k=2)]
    path = run(CHEBYSHEV, GD(lr=0.4), steps=900, probes=kinds, record_every=30, params_every=900)
    assert late(path.probes["subspace_share"], 0.5) > 0.8
