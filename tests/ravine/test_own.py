"""A user's own landscapes in the registry, and points from files: what is loaded, what is refused, and who can ask."""

import dataclasses
import importlib
import io
import sys
from unittest.mock import ANY

import pytest
import safetensors.torch
import torch

import ravine
from landscapes import LANDSCAPES, MLP, Surface, from_module
from optimizers import OPTIMIZERS, run
from ravine import Experiment, Store, compute, own
from ravine.cli import main
from ravine.experiment import offered
from ravine.own import PREFIX, load, register
from ravine.points import points

SOURCE = """
import torch
from dataclasses import dataclass
from pathlib import Path
from torch import nn
FOLDER = Path(__file__).parent
from landscapes import LANDSCAPES, Surface, from_module, setting
import neighbour

def net():
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, neighbour.COUNT)[:, None]
    return from_module(nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)), nn.MSELoss(), (x, torch.sin(3 * x)))

def of(inputs, test):
    torch.manual_seed(0)
    return from_module(nn.Linear(1, 1), nn.MSELoss(), (inputs[:, None], inputs[:, None]), test=(test[:, None], test[:, None]))

def read(): return of(torch.load(FOLDER / "train.pt"), torch.ones(2))
def held(): return of(torch.ones(1), torch.load(FOLDER / "test.pt"))
def drawn(): return of(torch.randn(3, generator=torch.Generator().manual_seed(torch.seed())), torch.ones(2))

@dataclass(frozen=True)
class Bowl(Surface):
    name, label = "bowl", "Bowl"
    reads, reference = "A bowl.", "folklore"
    expression = "c*(x^4 + y^4)"
    window = ((-2.0, 2.0), (-2.0, 2.0))
    origin = (1.5, 1.0)
    c: float = setting(1.0, 0.01, 100.0, symbol="c", help="Steepness.")

def several():
    return {"net": net(), "bowl": Bowl, "steep": Bowl(c=3.0), "small": LANDSCAPES["mlp"](hidden=(7,))}

class Late(nn.Linear):
    def forward(self, x):
        if self.weight.isnan().any() or self.bias.abs().sum() > 5:
            raise RuntimeError("too far away")
        return super().forward(x)

class Torn(nn.Linear):
    def forward(self, x):
        return super().forward(x[:, :1])

def late():
    return from_module(Late(1, 1), nn.MSELoss(), (torch.ones(3, 1), torch.ones(3, 1))), torch.full((2,), 9.0, dtype=torch.float64)

def torn(): return from_module(Torn(2, 1), nn.MSELoss(), (torch.ones(3, 2), torch.ones(3, 1)))
def number(): return 3
def broken(): raise RuntimeError("no such file of data")
def named(): return {"a b": net()}
ready = Bowl(c=2.0)
"""


_AT = {text: number for number, text in enumerate(SOURCE.splitlines(), 1)}
LINES = {
    "broken": _AT['def broken(): raise RuntimeError("no such file of data")'],
    "torn": _AT["        return super().forward(x[:, :1])"],
    "late": _AT['            raise RuntimeError("too far away")'],
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The user's file; what it registers is gone after the test."""
    (tmp_path / "neighbour.py").write_text("COUNT = 12")
    for name in ("train", "test"):
        torch.save(torch.ones(2), tmp_path / f"{name}.pt")
    (tmp_path / "typo.py").write_text("x = 1\ny = (2\n")
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    monkeypatch.setattr(own, "_loaded", {})
    before = dict(LANDSCAPES)
    yield path
    LANDSCAPES.clear()
    LANDSCAPES.update(before)


def test_the_menus_and_links_have_it(file, tmp_path):
    names = register([f"{file}:several"])
    assert names == [f"{PREFIX}{name}" for name in ("net", "bowl", "steep", "small")]
    assert register([f"{file}:several"]) == names  # nothing is loaded twice
    assert "own:net" in offered("edge")
    assert "own:bowl" in offered("descend")
    assert "own:net" not in offered("descend")
    experiment = Experiment(
        landscape=LANDSCAPES["own:net"](), optimizers=(OPTIMIZERS["adam"](lr=0.01),), view="edge", steps=5
    )
    again, refused = Experiment.from_url(experiment.to_url())
    assert (again, refused) == (experiment, [])
    assert again.landscape.samples == 12
    store = Store(tmp_path / "cache")
    result = compute(experiment, store=store)
    assert len(result.trajectory.loss) == 6
    again = Store(tmp_path / "cache").get(experiment)  # as after a restart
    assert again is not None
    assert torch.equal(again.trajectory.loss, result.trajectory.loss)


def test_defaults_are_the_values_that_were_given(file):
    register([f"{file}:several"])
    assert LANDSCAPES["own:bowl"]().c == 1.0
    assert LANDSCAPES["own:steep"]().c == 3.0
    assert LANDSCAPES["own:steep"](c=4.0).c == 4.0
    assert LANDSCAPES["own:small"]().hidden == (7,)
    assert issubclass(LANDSCAPES["own:steep"], Surface)
    link = "/?land=own:steep&opt1=gd&opt1.lr=0.01&steps=3"
    experiment, refused = Experiment.from_url(link)
    assert refused == []
    assert experiment.landscape.values() == {"c": 3.0}
    assert "own:" in experiment.landscape.name
    assert LANDSCAPES["own:steep"].identity in experiment.key
    assert experiment.key != Experiment.from_url(link.replace("own:steep", "own:bowl"))[0].key


def test_results_are_good_for_as_long_as_the_code_and_what_it_computes_stay_the_same(file, monkeypatch):
    def identity(name):
        monkeypatch.setattr(own, "_loaded", {})
        monkeypatch.delitem(sys.modules, "neighbour", raising=False)
        importlib.invalidate_caches()
        register([f"{file}:{name}"])
        return LANDSCAPES[f"own:{name}"].identity

    before = {name: identity(name) for name in ("net", "Bowl", "read", "held", "drawn")}
    assert {name: identity(name) for name in before} == before | {"drawn": ANY}
    assert identity("drawn") != before["drawn"]
    torch.save(torch.tensor([0.5]), file.parent / "train.pt")  # data that the code reads
    assert identity("net") == before["net"]
    assert identity("read") != before["read"]
    torch.save(torch.tensor([2.0, 0.0]), file.parent / "test.pt")
    assert identity("held") != before["held"]
    (file.parent / "neighbour.py").write_text("COUNT = 12  # a comment")
    assert identity("net") != before["net"]
    file.write_text(SOURCE + "\n")
    (file.parent / "neighbour.py").write_text("COUNT = 12")
    assert identity("Bowl") != before["Bowl"]


@pytest.mark.parametrize(
    ("slow", "line", "where"),
    [("time.sleep(0.7)", 2, "<module>"), ("class Net:\n def __init__(self): time.sleep(0.7)\nNet()", 3, "__init__")],
)
def test_code_that_takes_long_to_load_is_named_with_its_line(file, monkeypatch, capfd, slow, line, where):
    monkeypatch.setattr(own, "_SLOW", 0.2)
    file.with_name("late.py").write_text(
        f"import time\n{slow}\nfrom landscapes import LANDSCAPES\nbowl = LANDSCAPES['booth']()\n"
    )
    register([f"{file.with_name('late.py')}:bowl"])
    said = capfd.readouterr().err.splitlines()
    assert (
        f"late.py:bowl has been loading for 0 s, at late.py, line {line}, in {where}. The app opens when it is done."
        in said[0]
    )
    monkeypatch.setattr(own, "_SLOW", 60.0)
    register([f"{file}:ready"])
    assert capfd.readouterr().err == ""


def test_an_instance_in_the_file_needs_no_factory(file):
    assert register([f"{file}:ready"]) == ["own:ready"]
    assert LANDSCAPES["own:ready"]().c == 2.0


@pytest.fixture
def registry():
    before = dict(LANDSCAPES)
    yield
    LANDSCAPES.clear()
    LANDSCAPES.update(before)


def test_a_landscape_of_this_process_has_experiments_too(registry, tmp_path):
    inputs = torch.linspace(-1, 1, 12)[:, None]
    module = torch.nn.Linear(1, 1)
    rule = OPTIMIZERS["gd"](lr=0.1)
    made = from_module(module, torch.nn.MSELoss(), (inputs, inputs**2), test=(inputs[:4], inputs[:4]))
    with pytest.raises(TypeError, match=r"ravine.adopt\('mine', from_module"):
        Experiment(landscape=made, optimizers=(rule,), view="edge", steps=5)
    experiment = Experiment(
        landscape=ravine.adopt("mine", made), optimizers=(rule,), view="edge", steps=5, probes=("test_loss",)
    )
    assert Experiment.from_url(experiment.to_url()) == (experiment, [])
    result = compute(experiment, store=Store(tmp_path))
    torch.testing.assert_close(result.trajectory.loss, run(made, rule, made.start()[0], 5, record_every=1).loss)
    keys = {dataclasses.replace(experiment, probes=()).key}
    with torch.no_grad():
        module.bias += 1  # trained on, and adopted again
    again = ravine.adopt("mine", from_module(module, torch.nn.MSELoss(), (inputs, inputs**2)))
    keys.add(Experiment(landscape=again, optimizers=(rule,), view="edge", steps=5).key)
    assert len(keys) == 2
    for name, given, error in (("a b", made, ValueError), ("mine", module, TypeError)):
        with pytest.raises(error, match="name|must be a Landscape"):
            ravine.adopt(name, given)


def test_a_link_elsewhere_gets_a_sentence_and_loads_nothing(file):
    for name in ("own:net", f"own:{file}:net", f"{file}:net"):
        experiment, refused = Experiment.from_url(f"/edge?land={name}")
        assert experiment.landscape == Experiment.default("edge").landscape
        (sentence,) = refused
        assert ("somebody's own landscape" in sentence) == name.startswith("own:")
    assert not any(name.startswith(PREFIX) for name in LANDSCAPES)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("mine.py", "write path/to/file.py:factory"),
        ("mine.txt:net", "write path/to/file.py:factory"),
        ("mine.py:net()", "write path/to/file.py:factory"),
        ("other.py:net", "There is no file"),
        ("mine.py:nothing", "AttributeError"),
        ("mine.py:broken", f"RuntimeError: no such file of data (mine.py, line {LINES['broken']}, in broken)"),
        (
            "mine.py:torn",
            f"RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x1 and 2x1). (mine.py, line {LINES['torn']}, in forward)",
        ),
        ("typo.py:net", "SyntaxError: '(' was never closed (typo.py, line 2)"),
        ("mine.py:number", "gives a int: it must give a Landscape"),
        ("mine.py:named", "'a b' is not allowed as a name"),
    ],
)
def test_what_cannot_be_loaded_gets_a_sentence(what, sentence, file, capsys):
    with pytest.raises(ValueError, match=".") as raised:
        load(str(file.parent / what))
    assert sentence in str(raised.value)
    assert main(["app", "--landscape", str(file.parent / what)]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Runs are computed one after the other")
def test_code_that_fails_later_is_named_too(file, capsys):
    assert main(["sharpness", f"{file}:late"]) == 2
    said = capsys.readouterr().err
    assert f"cannot be computed: RuntimeError: too far away (mine.py, line {LINES['late']}, in forward)" in said


# ------------------------------------------------------------------ files that somebody hands us

NETWORK = MLP(data="chebyshev", objective="squared", hidden=(3,))


def test_a_model_and_a_trajectory():
    params = NETWORK.start(2)
    named = {name: tensor.contiguous() for name, tensor in NETWORK.layout.unpack(params[0]).items()}
    saved = safetensors.torch.save(named | {"running_mean": torch.ones(3)})
    torch.testing.assert_close(points(saved, NETWORK.layout), params[:1])
    torch.testing.assert_close(points(safetensors.torch.save({"params": params}), NETWORK.layout), params)
    single = points(safetensors.torch.save({"params": params[1].float()}), NETWORK.layout)
    torch.testing.assert_close(single, params[1:].float().double())


def test_a_pickle_is_refused_with_the_reason_and_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("opened",))

    for protocol in (False, True):
        buffer = io.BytesIO()
        torch.save({"params": Trap()}, buffer, _use_new_zipfile_serialization=protocol)
        with pytest.raises(ValueError, match=r"pickle.*runs whatever code.*safetensors"):
            points(buffer.getvalue(), NETWORK.layout)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a safetensors file"),
        (b"\xff" * 40, "not a safetensors file"),
        (safetensors.torch.save({"W1": torch.zeros(3, 1)}), "no tensor named b1"),
        (safetensors.torch.save({"params": torch.zeros(4)}), r"params has shape \(4,\)"),
        (safetensors.torch.save({"params": torch.zeros(0, 10)}), "params has shape"),
        (safetensors.torch.save({"params": torch.zeros(10, dtype=torch.int64)}), "not finite floating-point"),
        (safetensors.torch.save({"params": torch.full((10,), float("nan"))}), "not finite"),
    ],
)
def test_other_files_get_a_sentence(data, sentence):
    assert NETWORK.dim == 10
    with pytest.raises(ValueError, match=sentence):
        points(data, NETWORK.layout)


def test_tensors_of_another_shape_get_a_sentence():
    named = {name: torch.zeros(*tensor.shape, 2) for name, tensor in NETWORK.layout.unpack(NETWORK.start()[0]).items()}
    with pytest.raises(ValueError, match="shape"):
        points(safetensors.torch.save(named), NETWORK.layout)


@pytest.mark.parametrize(
    "change", [lambda one: one[..., None], lambda one: one.flatten()[:1], lambda one: one[None, None]]
)
def test_one_tensor_of_another_shape_is_enough(change):
    named = {name: tensor.contiguous() for name, tensor in NETWORK.layout.unpack(NETWORK.start()[0]).items()}
    name = next(iter(named))
    with pytest.raises(ValueError, match="shapes of this landscape"):
        points(safetensors.torch.save(named | {name: change(named[name]).contiguous()}), NETWORK.layout)


def test_complex_numbers_get_a_sentence():
    named = {name: tensor.to(torch.complex64) for name, tensor in NETWORK.layout.unpack(NETWORK.start()[0]).items()}
    with pytest.raises(ValueError, match="parameters are real"):
        points(safetensors.torch.save({name: one.contiguous() for name, one in named.items()}), NETWORK.layout)
