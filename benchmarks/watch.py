"""What ravine.watch costs: small networks of several kinds on the digits, with and without it, at the default cadence."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import ravine

REPEATS = 3


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        layers = [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        more = [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        self.inner = nn.Sequential(*layers, *more)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs + self.inner(inputs))


class Decoder(nn.Module):
    """Reads the rows of a picture as words, as GPT reads text: each sees those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place, self.out = nn.Linear(8, 64), nn.Parameter(torch.zeros(8, 64)), nn.Linear(64, 10)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(64, 4, 128, 0.0, nn.functional.gelu, batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(8))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.embed(inputs[:, 0]) + self.place
        for block in self.blocks:
            hidden = block(hidden, src_mask=self.mask, is_causal=True)
        return self.out(hidden[:, -1])


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def residual() -> nn.Module:
    first = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(
        *first, *(Residual(16) for _ in range(3)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)


def adamw(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=1e-3)


CASES = (  # network, optimizer, samples of a batch, steps
    (perceptron, sgd, 64, 4000),
    (convolutional, sgd, 64, 400),
    (convolutional, sgd, 64, 2000),
    (convolutional, sgd, 1797, 60),
    (residual, sgd, 64, 500),
    (Decoder, adamw, 64, 800),
)


def seconds(case: tuple[Any, Any, int, int], inputs: Tensor, labels: Tensor, log: Path | None) -> float:
    """Of the processor, in the training loop alone; what `watch` does before the first step is left out."""
    make, optimized, batch, steps = case
    torch.manual_seed(0)
    model, loss_fn = make(), nn.CrossEntropyLoss()
    optimizer = optimized(model)
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
    wanted = sys.argv[1:]  # names of networks; all of them where none are given
    print(f"On 1,797 digits; every=20, 512 samples; median of {REPEATS}, interleaved")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.ravine"
        for case in (case for case in CASES if not wanted or case[0].__name__ in wanted):
            make, optimized, batch, steps = case
            pairs = [(seconds(case, inputs, labels, None), seconds(case, inputs, labels, path)) for _ in range(REPEATS)]
            share = median(watched / alone for alone, watched in pairs) - 1
            log = ravine.read_log(path)
            looks = log.step[log.fields["sharpness"] == log.fields["sharpness"]]
            alone = median(alone for alone, _ in pairs)
            print(
                f"{make.__name__} ({log.header['parameters']:,} numbers), {optimized.__name__}, batches of {batch}: "
                f"{1e3 * alone / steps:.2f} ms a step, watching adds {share:.1%}, {alone * share:.2f} s of {alone:.1f} s (by its own count "
                f"{log.fields['cost'][-1]:.1%}); curvature {len(looks)} times in {steps} steps, first at {[int(one) for one in looks[:3]]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
