"""What an experiment may take of memory is told beforehand: never less than it takes, and not many times more."""

import itertools
import random
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
import torch

from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS, PROBES, WRAPPERS, planned
from optimizers.footprint import state_numbers
from optimizers.trajectory import iterate
from ravine import Experiment, Store, memory
from ravine.crew import Worker
from ravine.limits import LIMITS
from tests.ravine.strategies import GOLDEN
from tests.sampling import sampled

HUGE = (
    "/edge?land=mlp&land.hidden=1024x1024x1024x1024x1024x1024&land.data=digits&land.subset=10&land.objective=squared"
    "&opt1=adam&steps=20&every=20"
)

# ------------------------------------------------------------------ refusals


def test_more_memory_than_is_allowed_is_refused_in_one_sentence():
    experiment, refused = Experiment.from_url(f"{HUGE}&vary=seed&across=1,2,3,4,5,6,7,8")
    (sentence,) = refused
    assert "GB of memory, and at most 2.1 GB are allowed here" in sentence
    assert "fewer runs" in sentence
    assert "fewer parameters than 5,324,810" in sentence
    assert memory.of(experiment).total <= LIMITS.memory  # what is shown in its place


@pytest.mark.parametrize("change", ["dtype=float32&land.hidden=512x512", "land.hidden=600x600"])
def test_what_the_refusal_advises_is_allowed(change):
    link = "&".join(one for one in HUGE.split("&") if not one.startswith("land.hidden"))
    assert Experiment.from_url(f"{link}&{change}")[1] == []


def test_the_advice_begins_with_what_takes_most():
    many = Experiment.from_url(f"{HUGE}&vary=seed&across=1,2,3,4,5,6,7,8")[1]
    assert "Choose fewer runs, " in many[0]
    gradients = "/edge?land=mlp&land.hidden=800x800&land.data=digits&land.subset=500&probes=gradient_noise&opt1=gd"
    (sentence,) = Experiment.from_url(gradients)[1]
    assert "Choose fewer measurements or eigenvalues, " in sentence


def test_the_memory_of_the_machine_is_known_and_that_of_a_container_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CONTAINER", ())
    whole = memory.machine()
    assert 2**28 < whole < 2**50
    for name, text in (("none", "max\n"), ("small", f"{2**27}\n"), ("wide", "9223372036854771712\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(
        memory, "_CONTAINER", (str(tmp_path / "none"), str(tmp_path / "wide"), str(tmp_path / "missing"))
    )
    assert memory.machine() == whole
    monkeypatch.setattr(memory, "_CONTAINER", (str(tmp_path / "small"),))
    assert memory.machine() == 2**27


def test_no_known_link_is_refused():
    for link in GOLDEN:
        assert not any("GB of memory" in one for one in Experiment.from_url(link)[1])


def test_heavy_paths_are_thinned():
    """Twenty vectors of a small network, however long the run; fewer of one that would fill the memory."""
    links = {
        width: f"/edge?land=mlp&land.hidden={width}&land.data=digits&land.subset=10&dtype=float32&steps=2000"
        for width in ("100x100", "800x800", "1000x1000x900")
    }
    known = {}
    for width, link in links.items():
        experiment, refused = Experiment.from_url(link)
        assert not refused
        known[width] = 2000 // memory.stride(experiment) + 1
    assert known["100x100"] > 200
    assert known["800x800"] == 20
    assert 2 <= known["1000x1000x900"] < 12


# ------------------------------------------------------------------ what rules remember


def rules():
    found = {name: kind() for name, kind in OPTIMIZERS.items()}
    found |= {"rmpe": OPTIMIZERS["opt_amsgrad"](guess="rmpe", r=20), "turned": OPTIMIZERS["soap"](precondition_1d=True)}
    for name, rule in [("gd", found["gd"]), ("adam", found["adam"])]:
        for kind in WRAPPERS.values():
            with suppress(ValueError):  # one that goes around some rules only
                found[f"{kind.name} {name}"] = kind(rule)
    return found


def numbers(state):
    if isinstance(state, torch.Tensor):
        return state.numel()
    return sum(map(numbers, state)) if isinstance(state, (tuple, list)) else 0


@pytest.mark.parametrize("name", rules())
def test_what_a_rule_remembers_is_told_of_any_network(name):
    """Against its state after thirty steps; single numbers may be counted once for each tensor."""
    rule = rules()[name]
    for hidden in ((7, 4), (30,)):
        land = MLP(data="chebyshev", hidden=hidden, objective="squared")
        *_, last = islice(iterate(land, planned(land, [rule], land.start()[0], 30), land.start()[0]), 30)
        told, found = state_numbers(rule, land.layout), numbers(last.states[0])
        assert found <= told <= found + 10 * len(land.layout.blocks)


# ------------------------------------------------------------------ what workers take


def table(count):
    """Landscapes x rules x runs x measurements, large enough to be seen beside what a process holds."""
    draw = random.Random(7)
    found = []
    for number in range(count):
        land = draw.choice(
            [
                {"land": "mlp", "land.hidden": draw.choice(["512x512", "700", "300x300x300"]), "land.subset": "10"},
                {"land": "mlp", "land.hidden": "128x128", "land.data": "digits"},
                {"land": "cnn", "land.data": "digits", "land.subset": "100"},
                {"land": "transformer"},
                {"land": "residual_mlp", "land.width": "64"}
                if "residual_mlp" in LANDSCAPES
                else {"land": "transformer"},
            ]
        )
        link = land | {"opt1": draw.choice(["gd", "adam", "lion", "adafactor", "prodigy"]), "steps": "6"}
        match draw.choice(["edge", "edge", "runs", "probes", "stepsize", "slice"]):
            case "runs":
                path, more = "edge", {"vary": "seed", "across": "1,2,3"}
            case "probes":
                path, more = "edge", {"probes": ",".join(draw.sample([*PROBES], 4))}
            case "stepsize" | "slice" as path:
                more = {"points": "7"} if path == "slice" else {"at": "3"}
            case path:
                more = {}
        link |= more | {"every": "3", "dtype": draw.choice(["float32", "float64"])}
        found.append(f"{number} /{path}?" + "&".join(f"{key}={value}" for key, value in link.items()))
    return found


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("This system does not tell the peak of a process.")
    with pytest.MonkeyPatch.context() as patch:  # what one case frees is not held for the next
        patch.setenv("MALLOC_MMAP_THRESHOLD_", "1048576")
        patch.setenv("MALLOC_TRIM_THRESHOLD_", "1048576")
        one = Worker(Store(tmp_path_factory.mktemp("memory")), 1e9, 2.0, True)
    while not one.ready:
        time.sleep(0.05)
    yield one, held(one, "VmRSS")
    one.close()


def held(worker, name):
    for line in Path(f"/proc/{worker._process.pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    raise AssertionError(name)


@pytest.mark.parametrize("case", sampled(table(40), 3))
def test_no_worker_takes_more_than_was_told(worker, case):
    """Nor is that more than a dozen times what it takes, but for what torch takes in any case."""
    experiment, _ = Experiment.from_url(case.split()[1])
    one, fresh = worker
    before = held(one, "VmRSS")
    Path(f"/proc/{one._process.pid}/clear_refs").write_text("5")
    for _ in itertools.takewhile(lambda result: not result.complete, one.steps(experiment)):
        pass
    most, told = held(one, "VmHWM"), memory.of(experiment).total
    assert most - before <= told, f"{(most - before) / 2**20:.0f} of {told / 2**20:.0f} MiB"
    # What earlier cases have left, and this one used again, was not taken anew.
    assert told <= 12 * (most - fresh) + (128 << 20)
