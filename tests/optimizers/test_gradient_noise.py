"""Noise on gradients: its laws against those of scipy."""

import dataclasses
import itertools
import math

import pytest
import torch
from scipy import stats

from landscapes import Landscape, Layout, settings
from optimizers import OPTIMIZERS, WRAPPERS, run

GD, HEAVY_BALL = OPTIMIZERS["gd"], OPTIMIZERS["heavy_ball"]
NOISE = WRAPPERS["gradient_noise"]


@dataclasses.dataclass(frozen=True)
class Flat(Landscape):
    """No slope anywhere, in many dimensions: what moves there is the noise alone."""

    name, label, reads, reference, equation = "flat", "Flat", "A test.", "none", "none"
    size: int = 100_000

    @property
    def layout(self):
        return Layout.of([("w", (self.size,))])

    def start(self, runs=1, seed=0, *, dtype=torch.float64, device="cpu"):
        return torch.zeros(runs, self.size, dtype=dtype, device=device)

    def _loss(self, params, batch):
        return params.sum(-1) * 0

    def _value_and_grad(self, params, batch):
        return params.sum(-1) * 0, params * 0

    def _hessian_operator(self, params, batch):
        return lambda vectors: vectors * 0


FLAT = Flat()
LAWS = {
    "normal": stats.norm(),
    "uniform": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    "laplace": stats.laplace(scale=1 / math.sqrt(2)),
    "student": stats.t(3),
    "cauchy": stats.cauchy(),
}


def draws(law, dtype=torch.float64, sigma=1.0, seed=0):
    """What the noise adds to a gradient of zero, seen in a step of size 1."""
    noisy = NOISE(GD(lr=1.0), law=law, sigma=sigma)
    return -run(FLAT, noisy, FLAT.start(dtype=dtype)[0], 1, seed=seed).final


def distance(sample, law):
    """Kolmogorov-Smirnov statistic times the root of the size: above 1.95 once in a thousand draws of the law."""
    return stats.kstest(sample.double().numpy(), law.cdf).statistic * math.sqrt(len(sample))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("law", LAWS)
def test_noise_follows_its_law_and_no_other(law, dtype):
    sample = draws(law, dtype)
    assert sample.dtype == dtype
    assert distance(sample, LAWS[law]) < 1.95
    assert all(distance(sample, another) > 5 for name, another in LAWS.items() if name != law)


@pytest.mark.parametrize("law", LAWS)
def test_noise_has_the_scale_and_the_tails_of_its_law(law):
    sample, size = 0.5 * draws(law, seed=1), FLAT.size
    assert torch.equal(sample, draws(law, sigma=0.5, seed=1))
    if law in ("normal", "uniform", "laplace"):
        assert abs(sample.mean()) < 4 * 0.5 / math.sqrt(size)
        assert float(sample.std()) == pytest.approx(0.5, rel=0.02)
    for tail in (0.01, 1e-3):  # each side: how many lie beyond, to four standard deviations
        edge = 0.5 * LAWS[law].ppf(1 - tail)
        for beyond in (sample > edge, sample < -edge):
            assert abs(int(beyond.sum()) - tail * size) < 4 * math.sqrt(tail * size)
    assert float((sample.abs() > 0.5 * LAWS[law].ppf(0.9999)).sum()) < 60  # 20 are expected


def test_the_laws_on_offer_are_those_tested():
    assert set(settings(NOISE)["law"].choices) == set(LAWS)


@pytest.mark.parametrize("law", LAWS)
def test_noise_is_seeded_new_at_every_step_and_shared(law):
    """The same seed gives the same bits, to every rule and to every run of a batch."""
    land, start = Flat(50), Flat(50).start()[0]
    noisy = NOISE(GD(lr=1.0), law=law)
    path = run(land, noisy, start, 5, seed=3).params
    assert torch.equal(path, run(land, noisy, start, 5, seed=3).params)
    assert (path[1:] != run(land, noisy, start, 5, seed=4).params[1:]).all()
    steps = path.diff(dim=0)
    assert all((steps[i] - steps[j]).abs().min() > 0 for i, j in itertools.combinations(range(5), 2))
    both = run(land, [noisy, NOISE(HEAVY_BALL(lr=1.0, momentum=0.0), law=law)], start, 5, seed=3).params
    assert torch.equal(both[:, 0], path)
    assert torch.equal(both[:, 1], path)
    batch = run(land, noisy, start.expand(2, 3, 50), 5, seed=3).params
    assert torch.equal(batch, path[:, None, None].expand(6, 2, 3, 50))
