"""Probes of what a minibatch sees of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from landscapes import Landscape, setting, top_eigenpairs
from landscapes.solvers import vectors as of_pairs
from optimizers.probes.probe import Memory, Moment, Probe
from optimizers.stepper import Stepper


@dataclass(frozen=True)
class BatchSharpness(Probe):
    """The mean of g'Hg / |g|^2 over batches, with gradient g and Hessian H of the loss on one batch, and its standard error.

    Batches of the run's size are drawn without replacement, by the probe's own generator, until the standard error is small
    enough in every run; without minibatches there is one, of all samples, and no error.
    """

    name, label = "batch_sharpness", "Batch sharpness"
    symbol = r"\mathbb{E}_B\left[\frac{g_B^\top H_B\, g_B}{\|g_B\|^2}\right]"
    reference = "Andreyev and Beneventano 2024, arXiv:2412.20553"
    help = (
        "The curvature of a minibatch's loss along its own gradient, averaged over batches, and the standard error of that mean. "
        "SGD lets it rise to about 2/η where it trains for long enough, and to less on small problems: 0.4 to 0.9 times that on "
        "seven small ones."
    )
    bars = 2.0
    draws: int = setting(10, 1, 1000, label="Batches at a time", help="So many more batches are drawn at a time.")
    error: float = setting(
        0.05,
        0.0,
        1.0,
        label="Relative error",
        help="Batches are drawn until the standard error is at most this share of the mean.",
    )
    most: int = setting(
        100, 1, 10_000, label="Batches at most", help="One measurement draws no more, whatever its error."
    )

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return "mean over batches", "standard error"

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return 6 * self.draws + 8  # gradients and products on the batches that are drawn at a time

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count = memory or 0
        batches = drawn(moment, self.most, count)
        found = curvatures_until(moment.landscape, moment.params, batches, self.error, self.draws)
        return torch.stack(mean_and_error(found), dim=-1), count + 1


def curvatures_until(
    landscape: Landscape,
    params: Tensor,
    batches: Iterator[Tensor | None],
    error: float,
    at_a_time: int,
    scale: Tensor | float = 1.0,
) -> Tensor:
    """g'Hg / |g|^2 (m, ...) at params (..., dim) for gradient g and Hessian H of the loss on each batch, in coordinates w / scale.

    For each run as many of the batches count, `at_a_time` and then again, as bring the standard error of its mean to the share
    `error` of it; further ones are NaN, and so is one without a gradient.
    """
    found: list[Tensor] = []
    enough = torch.zeros_like(params[..., 0], dtype=torch.bool)
    while part := list(islice(batches, at_a_time)):
        # Each run has what it would have alone: no more batches than it asked for.
        found.append(_along_gradients(landscape, params, part, scale).masked_fill(enough, torch.nan))
        mean, doubt = mean_and_error(torch.cat(found))
        enough = ~(doubt > error * mean.abs())
        if bool(enough.all()):
            break
    return torch.cat(found)


def mean_and_error(values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over values (m, ...) and its standard error (...), those that are not a number left out; one value has no error."""
    count = (~values.isnan()).sum(0)
    mean = values.nanmean(0)
    spread = (values - mean).square().nansum(0) / (count - 1).clamp_min(1)
    return mean, (spread / count).sqrt()


def _along_gradients(
    landscape: Landscape, params: Tensor, batches: list[Tensor | None], scale: Tensor | float
) -> Tensor:
    """g'Hg / |g|^2 (m, ...) for each of the batches, many at once."""
    samples = [one for one in batches if one is not None]
    if not samples or landscape.coupled:
        return torch.cat([_along_gradient(landscape, params[None], one, scale) for one in batches])
    share = max(1, (landscape.samples or 1) // len(samples[0]))
    at_once = max(1, landscape.chunk(params) * share * landscape.dim // params.numel())
    found = []
    for rows in torch.stack(samples).to(params.device).split(at_once):
        index = rows.reshape(len(rows), *[1] * (params.ndim - 1), -1)
        found.append(_along_gradient(landscape, params.expand(len(rows), *params.shape), index, scale))
    return torch.cat(found)


def _along_gradient(landscape: Landscape, points: Tensor, batch: Tensor | None, scale: Tensor | float) -> Tensor:
    grad = scale * landscape.grad(points, batch)
    product = scale * landscape.hvp(points, scale * grad, batch)
    return (grad * product).sum(-1) / grad.square().sum(-1)


def drawn(moment: Moment, draws: int, seed: int, size: int = 0) -> Iterator[Tensor | None]:
    """Batches of `size` samples or, at 0, as large as this step's, each without repetition; None once where that is all."""
    samples, batch = moment.landscape.samples, moment.batches[0]
    size = size or (0 if batch is None else len(batch))
    if samples is None or not 0 < size < samples:
        yield None
        return
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield torch.randperm(samples, generator=generator)[:size]


@dataclass(frozen=True)
class BatchHessian(Probe):
    name, label = "batch_eigenvalue", "Top eigenvalue of a minibatch"
    symbol = r"\mathbb{E}_B\left[\lambda_{\max}(H_B)\right]"
    reference = "Granziol, Zohren and Roberts 2020, arXiv:2006.09092"
    help = "The largest Hessian eigenvalue of a minibatch's loss, averaged over batches: the fewer samples, the larger."
    draws: int = setting(10, 1, 1000, label="Batches", help="Batches that one measurement is a mean over.")
    size: int = setting(0, 0, 100_000, label="Batch size", help="Samples in a batch; 0: as many as a step sees.")

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return of_pairs(landscape.dim, runs, 1)

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        return _finite_sum(self, landscape)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count = memory or 0
        values = [
            top_eigenpairs(moment.landscape, moment.params, tol=1e-3, batch=batch).proved[..., 0]
            for batch in drawn(moment, self.draws, count, self.size)
        ]
        return torch.stack(values).mean(0), count + 1


def per_sample(moment: Moment, most: int, seed: int) -> tuple[Tensor, bool]:
    """Gradients (m, N, ..., dim) of single samples, of at most `most` drawn without repetition; and whether those are all."""
    samples = moment.landscape.samples
    assert samples is not None
    all_of_them = samples <= most
    chosen = torch.arange(samples)
    if not all_of_them:
        chosen = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))[:most]
    runs = moment.params.shape[:-1]
    rows = []
    for part in chosen.split(max(1, _PER_SAMPLE // moment.params.numel())):
        points = moment.params.expand(len(part), *moment.params.shape)
        rows.append(moment.landscape.grad(points, part.reshape(-1, *[1] * len(runs), 1)))
    return torch.cat(rows), all_of_them


def largest(rows: Tensor) -> Tensor:
    """The largest eigenvalue (...) of sum_i r_i r_i' for rows r (m, ..., dim), by the smaller of its two Gram matrices."""
    matrix = rows.movedim(0, -2)  # (..., m, dim)
    gram = matrix @ matrix.mT if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT @ matrix
    dead = ~torch.isfinite(gram).all(-1).all(-1)
    values = torch.linalg.eigvalsh(torch.where(dead[..., None, None], 0, gram))[..., -1]
    return values.masked_fill(dead, torch.nan)


_PER_SAMPLE = 1 << 20  # numbers in the gradients that are computed at once


@dataclass(frozen=True)
class _PerSample(Probe):
    most: int = setting(256, 2, 100_000, label="Samples", help="At most so many samples, drawn anew each time.")

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        if landscape.coupled:
            return f"A sample has no loss of its own here, as with batch norm: {self.label} is not defined."
        return _finite_sum(self, landscape)

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return 4 * min(self.most, landscape.samples or 1) + 8  # the gradient of each sample, and what is made of it


@dataclass(frozen=True)
class GradientNoise(_PerSample):
    """Of one sample drawn at random; that of a batch of b is b times smaller. A subset of samples gives the unbiased trace,
    and an eigenvalue that is somewhat too large.
    """

    name, label = "gradient_noise", "Gradient noise covariance"
    symbol = r"\mathrm{tr}\, C, \; \lambda_{\max}(C), \quad C = \mathrm{Cov}_i(\nabla \ell_i)"
    reference = "McCandlish et al. 2018, arXiv:1812.06162"
    help = (
        "How the gradients of single samples scatter about their mean: in all, and in the direction where they do most."
    )

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return "trace", "largest eigenvalue"

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count = memory or 0
        rows, complete = per_sample(moment, self.most, count)
        about = rows - rows.mean(0)
        share = len(rows) if complete else len(rows) - 1
        values = torch.stack((about.square().sum((0, -1)), largest(about)), dim=-1) / share
        return values, count + 1


@dataclass(frozen=True)
class EmpiricalFisher(_PerSample):
    name, label = "empirical_fisher", "Empirical Fisher sharpness"
    symbol = r"\lambda_{\max}\left(\frac{1}{n} \sum_i \nabla\ell_i \nabla\ell_i^\top\right)"
    reference = "Kunstner, Balles and Hennig 2019, arXiv:1905.12558"
    help = "The largest eigenvalue of the mean outer product of the samples' gradients, with the labels as they are."

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count = memory or 0
        rows, _ = per_sample(moment, self.most, count)
        return largest(rows) / len(rows), count + 1


def _finite_sum(probe: Probe, landscape: Landscape) -> str:
    why = landscape.lacks("samples")
    return f"{why}: {probe.label} is not defined." if why else ""
