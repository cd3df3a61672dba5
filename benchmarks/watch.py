"""What ravine.watch costs: a small CNN on the digits, trained with and without it, at the default cadence."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import ravine

REPEATS = 3
CASES = (("SGD, batches of 64", 64, 400), ("SGD, batches of 64", 64, 2000), ("SGD, all samples at once", 1797, 60))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def seconds(inputs: Tensor, labels: Tensor, batch: int, steps: int, log: Path | None) -> float:
    """Of the processor, in the training loop alone; what `watch` does before the first step is left out."""
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    probe = None if log is None else ravine.watch(model, loss_fn, (inputs, labels), optimizer, to=log)
    generator = torch.Generator().manual_seed(0)
    began = time.process_time()
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (batch,), generator=generator) if batch < len(inputs) else slice(None)
        optimizer.zero_grad()
        loss = loss_fn(model(inputs[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        if probe is not None:
            probe.step(loss)
    return time.process_time() - began


def main() -> None:
    torch.set_num_threads(1)
    bunch = load_digits()
    inputs = torch.from_numpy(bunch.data).float().view(-1, 1, 8, 8) / 16
    labels = torch.from_numpy(bunch.target)
    print(f"CNN with 6,090 parameters on 1,797 digits; every=20, 512 samples; median of {REPEATS}, interleaved")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.ravine"
        for name, batch, steps in CASES:
            pairs = [
                (seconds(inputs, labels, batch, steps, None), seconds(inputs, labels, batch, steps, path))
                for _ in range(REPEATS)
            ]
            share = median(watched / alone for alone, watched in pairs) - 1
            log = ravine.read_log(path)
            looks = log.step[log.fields["sharpness"] == log.fields["sharpness"]]
            between = f"{(looks[-1] - looks[0]) / (len(looks) - 1):.0f}" if len(looks) > 1 else "more than the run has"
            print(
                f"{name:<26} {1e3 * median(alone for alone, _ in pairs) / steps:6.2f} ms a step, watching adds {share:6.1%} "
                f"(by its own count {log.fields['cost'][-1]:.1%}); curvature every {between} steps, {len(looks)} times in {steps}"
            )


if __name__ == "__main__":
    main()
