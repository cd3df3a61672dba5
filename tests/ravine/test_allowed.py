"""What an experiment may be, for notebooks as for links: what does not fit together is refused with a sentence."""

import dataclasses

import pytest
import torch

from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from ravine.cuts import rivals
from ravine.experiment import VIEWS, Experiment
from ravine.limits import LIMITS

DEFAULTS = {view: Experiment.default(view) for view in VIEWS}


def small(**changes):
    network = MLP(data="chebyshev", objective="squared", hidden=(4,))
    values = {"landscape": network, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": "edge", "steps": 20}
    return Experiment(**(values | changes))


@dataclasses.dataclass(frozen=True)
class Unregistered(MLP):
    """What a link would take for the network of that name."""


GD = OPTIMIZERS["gd"]()
TOGETHER = {
    "a surface for the edge": ({"landscape": LANDSCAPES["beale"]()}, ValueError, "cannot show beale; it can show mlp"),
    "a network for the paths": ({"view": "descend"}, ValueError, "cannot show mlp; it can show rosenbrock, "),
    "no rule": ({"optimizers": (), "view": "slice"}, ValueError, "takes exactly one optimizer, not 0"),
    "two rules": ({"optimizers": (GD, GD), "view": "slice"}, ValueError, "takes exactly one optimizer, not 2"),
    "five rules": (
        {"optimizers": (GD,) * 5, "view": "descend", "landscape": LANDSCAPES["beale"]()},
        ValueError, "takes 1 to 4 optimizers, not 5",
    ),
    "a network's start": ({"start": (0.0, 0.0)}, ValueError, "start is a point of a surface; a network starts"),
    "much work": ({"landscape": MLP(hidden=(1024, 1024)), "steps": 10_000}, ValueError, "at most 120,000 billion are allowed here"),
    "a fine slice": (
        {"landscape": MLP(hidden=(1024,) * 3), "view": "slice", "points": 201, "steps": 1}, ValueError,
        "Choose fewer grid points, fewer samples than 1,797, or fewer parameters than 2,176,010.",
    ),
    "steps": ({"steps": 0}, ValueError, "steps = 0 is not allowed: it must be a whole number from 1 to 10000"),
    "steps as text": ({"steps": "20"}, TypeError, "steps = 20 is not allowed"),
    "an unknown view": ({"view": "swoop"}, ValueError, "it must be one of descend, edge, slice, sweep"),
    "a name for a landscape": ({"landscape": "mlp"}, TypeError, "must be one of LANDSCAPES"),
    "a class for a landscape": ({"landscape": MLP}, TypeError, "must be one of LANDSCAPES"),
    "a landscape no link can name": ({"landscape": Unregistered()}, TypeError, "must be one of LANDSCAPES"),
    "a name for a rule": ({"optimizers": ("gd",)}, TypeError, "must be a tuple of members of OPTIMIZERS"),
    "names for rules": ({"optimizers": "gd"}, TypeError, "must be a tuple of members of OPTIMIZERS"),
    "nothing for rules": ({"optimizers": None}, TypeError, "must be a tuple of members of OPTIMIZERS"),
    "one value a run": (
        {"optimizers": (OPTIMIZERS["gd"](lr=torch.tensor([[0.1], [0.2]])),)}, TypeError, "lr of gd is a tensor",
    ),
    "an unknown setting": ({"speed": 1}, TypeError, "experiment has no setting 'speed'"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOGETHER)
def test_what_does_not_fit_together_is_refused(case):
    changes, kind, sentence = TOGETHER[case]
    with pytest.raises(kind) as refusal:
        small(**changes)
    assert sentence in str(refusal.value)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize("start", [(0.0,), (0.0, 1.0, 2.0), (float("nan"), 0.0), (1e7, 0.0), "ab", 3])
def test_a_start_is_two_finite_numbers(start):
    with pytest.raises((ValueError, TypeError), match="it must be 2 numbers of size at most"):
        dataclasses.replace(DEFAULTS["descend"], start=start)


def test_an_experiment_takes_what_notebooks_pass():
    surface = LANDSCAPES["booth"]()
    one = Experiment(landscape=surface, optimizers=GD)
    assert one == Experiment(landscape=surface, optimizers=[GD]) == Experiment(surface, (GD,))
    assert one.start == surface.origin
    assert dataclasses.replace(one, start=[1, 2]).start == (1.0, 2.0)
    assert small().start is None


def test_the_limit_of_work_is_sharp():
    network = small().landscape
    assert network.dim == 13
    wide = MLP(hidden=(1024, 1024))
    # In evaluations of the loss, a gradient is three and a measurement 36, of which there is one more than there are steps;
    # to keep the six vectors of each orthogonal takes 72 multiplications of each parameter.
    most = (LIMITS.work // wide.dim - 36 * wide.samples - 72) // (39 * wide.samples + 72)
    assert small(landscape=wide, steps=most, every=1).steps == most
    with pytest.raises(ValueError, match="multiplications, and at most") as refusal:
        small(landscape=wide, steps=most + 1, every=1)
    assert "Choose fewer measurements of the sharpness, fewer samples than 1,797, or fewer par" in str(refusal.value)


def test_work_counts_the_samples():
    """A few of the samples allow many steps; minibatches make the steps cheap, but not what is measured on all samples."""
    wide = MLP(hidden=(1024, 1024))
    with pytest.raises(ValueError, match="fewer samples than 1,797"):
        small(landscape=wide, steps=10_000)
    assert small(landscape=dataclasses.replace(wide, subset=500), steps=10_000).steps == 10_000
    assert small(landscape=wide, steps=10_000, batch_size=32, every=50).steps == 10_000
    with pytest.raises(ValueError, match="Choose fewer measurements"):
        small(landscape=wide, steps=10_000, batch_size=32)


@pytest.mark.parametrize("others", [1, 2])
def test_the_seeds_of_other_solutions_are_seeds(others):
    """They are refused where the experiment is made, not when it has begun; a link goes on with the default."""
    most = 2**31 - 1 - others
    plane = {"view": "slice", "plane": "solutions", "others": others, "steps": 5}
    found = [one.seed for one in rivals(small(**plane, seed=most))]
    assert found == [most + one for one in range(1, others + 1)]
    with pytest.raises(ValueError, match=f"it must be at most {most}"):
        small(**plane, seed=most + 1)
    assert small(**(plane | {"plane": "random"}), seed=most + 1).seed == most + 1
    link = small(**plane, seed=most).to_url().replace(f"seed={most}&", f"seed={most + 1}&", 1)
    read, refusals = Experiment.from_url(link)
    assert read == dataclasses.replace(small(**plane), seed=0)
    assert len(refusals) == 1


@pytest.mark.parametrize("rule", ["shampoo", "soap"])
def test_work_counts_what_rules_factorize(rule):
    """Ten samples make the gradient cheap, and nothing else."""
    wide = MLP(data="digits", subset=10, objective="squared", hidden=(1024, 1024))
    values = {"landscape": wide, "steps": 10_000, "every": 1000, "dtype": "float32"}
    assert small(**values).steps == 10_000
    with pytest.raises(ValueError, match=r"Choose fewer steps, or fewer parameters than [\d,]+\.$"):
        small(**values, optimizers=(OPTIMIZERS[rule](),))
    assert small(**values | {"steps": 10}, optimizers=(OPTIMIZERS[rule](),)).steps == 10
