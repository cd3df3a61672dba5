"""The notebook and the guide to watching run as they stand, cell after cell."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

import ravine

DOCS = Path(__file__).resolve().parent.parent / "docs"
GUIDE = re.findall(r"```python\n(.*?)```", (DOCS / "watching.md").read_text(), re.S)


def executed(code: str, names: dict[str, object] | None = None) -> dict[str, object]:
    names = {} if names is None else names
    exec(compile(code, "example", "exec"), names)
    return names


def test_the_notebook_runs_and_finds_the_step_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((DOCS / "debugging.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)  # what it prints is what it computes
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        for cell in cells:
            executed("".join(cell["source"]), names)
    assert names["ratio"] > 1  # the step size was too large from the start ...
    assert not names["bad"] < 1e3  # ... and the run exploded
    assert names["good"] < 0.05  # at a fifth of the stable one it learns
    assert names["look"].outlook == "risky"
    assert len(names["figure"].data) >= 3
    assert "diverge" in capsys.readouterr().out


def test_the_guide_begins_with_a_loop_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        executed(GUIDE[0])
    assert ravine.read_log("run.ravine").step.tolist() == [0, 20, 40, 60, 80, 100]
    assert capsys.readouterr().out.strip()


class Model(nn.Module):
    """As in transformers: keyword arguments, and a loss among the outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.cross_entropy(self.inner(x), labels)}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The two libraries' base classes, which have no behavior that these callbacks use."""
    for name, base in (("transformers", "TrainerCallback"), ("lightning", "Callback")):
        module = types.ModuleType(name)
        setattr(module, base, type(base, (), {}))
        monkeypatch.setitem(sys.modules, name, module)
    return tmp_path / "run.ravine"


def test_the_callback_for_the_trainer(stand_in: Path) -> None:
    model, batch = Model(), {"x": torch.randn(8, 3), "labels": torch.arange(8) % 2}
    inner = torch.optim.AdamW(model.parameters(), lr=1e-2)
    wrapped = types.SimpleNamespace(optimizer=inner)
    callback = executed(GUIDE[2])["Watch"](batch, to=stand_in)
    callback.on_train_begin(None, None, None, model=model, optimizer=wrapped, lr_scheduler=None)
    for _ in range(20):
        inner.zero_grad()
        model(**batch)["loss"].backward()
        inner.step()
        callback.on_step_end(None, None, None, model=model)
    log = ravine.read_log(stand_in)
    assert log.step.tolist() == [0, 20]
    assert log.header["optimizer"] == "AdamW"
    callback.on_train_end(None, None, None, model=model)


def test_the_callback_for_tensorboard() -> None:
    written: dict[str, tuple[float, int]] = {}
    writer = types.SimpleNamespace(add_scalar=lambda name, value, step: written.update({name: (value, step)}))
    executed(GUIDE[1], {"writer": writer})["callback"]({"step": 20, "loss": 0.5, "note": "words"})
    assert written == {"loss": (0.5, 20)}


def test_the_callback_for_lightning(stand_in: Path) -> None:
    model, batch = nn.Linear(3, 1), (torch.randn(8, 3), torch.randn(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    callback = executed(GUIDE[3])["Watch"](nn.MSELoss(), batch, to=stand_in)
    callback.on_train_start(types.SimpleNamespace(optimizers=[optimizer]), model)
    for index in range(60):  # three batches to a step
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        (loss / 3).backward()
        if index % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
        callback.on_train_batch_end(None, model, {"loss": loss}, batch, index)
    log = ravine.read_log(stand_in)
    assert log.step.tolist() == [0, 20]
    assert log.fields["train_loss"][1] == pytest.approx(float(loss.detach()))
    assert log.fields["update_norm"][1] > 0
    assert log.fields["gradient_share"][1] == pytest.approx(1)  # it is seen before it is set to zero
