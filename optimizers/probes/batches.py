"""Probes of what a minibatch sees of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import setting
from optimizers.probes.probe import Memory, Moment, Probe


@dataclass(frozen=True)
class BatchSharpness(Probe):
    """The mean of g'Hg / |g|^2 over batches, with gradient g and Hessian H of the loss on one batch.

    Batches of the run's size are drawn without replacement, by the probe's own generator; without minibatches there is one,
    of all samples.
    """

    name, label = "batch_sharpness", "Batch sharpness"
    symbol = r"\mathbb{E}_B\left[\frac{g_B^\top H_B\, g_B}{\|g_B\|^2}\right]"
    reference = "Andreyev and Beneventano 2024, arXiv:2412.20553"
    help = "The curvature of a minibatch's loss along its own gradient, averaged over batches; SGD keeps it near 2/η."
    draws: int = setting(10, 1, 1000, label="Batches", help="Batches that one measurement is a mean over.")

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count = memory or 0
        curvatures = []
        for batch in drawn(moment, self.draws, count):
            grad = moment.landscape.grad(moment.params, batch)
            product = moment.landscape.hvp(moment.params, grad, batch)
            curvatures.append((grad * product).sum(-1) / grad.square().sum(-1))
        return torch.stack(curvatures).mean(0), count + 1


def drawn(moment: Moment, draws: int, seed: int) -> Iterator[Tensor | None]:
    """Batches as large as this step's, each without repetition; None once where the step saw all samples."""
    samples, batch = moment.landscape.samples, moment.batches[0]
    if batch is None or samples is None or len(batch) == samples:
        yield None
        return
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield torch.randperm(samples, generator=generator)[: len(batch)]
