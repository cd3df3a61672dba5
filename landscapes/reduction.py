"""How the loss of a batch is made of its samples' losses: found by evaluating it on parts of the data.

Only a loss that is the mean or the sum over its samples can be evaluated in blocks and added up; any other, with class
weights or batch norm in training mode or of the worst samples alone, is evaluated whole. Whether more samples make it
larger says what a step size means: curvature of a sum over all samples is not that of a sum over a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from landscapes.batches import Batch, Tree

Loss = Callable[[Tensor, Batch], Tensor]  # of params (dim,) and a batch
Reduction = Literal["mean", "sum", "other"]
_FEW, _LEAST = 8, 16  # samples that are looked at; more where a model is small:
_NUMBERS, _PRODUCTS = 1 << 18, 1 << 25  # of the widest layer for all of them, and with the parameters
_RARE = 16  # whole numbers, such as classes, that are looked for
_CLOSE = 1e-6  # relative; a module may compute in float32 inside
_ROUGHLY = 0.25  # the same where masks are drawn at random


class Kind(NamedTuple):
    """What is known of a loss of batches."""

    reduction: Reduction  # is it a mean or a sum, or does it change otherwise with the number of samples?
    coupled: bool  # does the loss of a sample depend on those that are evaluated with it?


def kind(
    loss: Loss, points: list[Tensor], batch: Batch, *, width: float, stochastic: bool, precision: torch.dtype
) -> Kind:
    """The kind of `loss(params, batch)`, as parts of one batch at some params show it.

    width: numbers per sample of the widest layer. stochastic: are masks drawn that are not those of each sample?
    precision: that in which the loss is computed.
    """
    close = _ROUGHLY if stochastic else max(_CLOSE, torch.finfo(precision).eps ** 0.5)
    if batch.samples is not None:
        count = int(min(_NUMBERS / width, _PRODUCTS / len(points[0])))
        batch = batch.taken(_telling(batch, batch.samples, max(_LEAST, count)))
    scaling = _scaling(loss, points, batch, close)
    if stochastic or batch.samples is None or scaling == "other":
        return Kind(scaling, True)
    adds = all(_adds(loss, point, batch, scaling, seed, close) for seed, point in enumerate(points))
    return Kind(scaling, batch.samples > 1 and not adds)


def _telling(batch: Batch, samples: int, count: int) -> Tensor:
    """Samples (m,) that show what losses may weigh: spread out, as they often lie in order of their classes, and with them
    those of the rarest classes, or other whole numbers.
    """
    if samples <= count:
        return torch.arange(samples)
    rows = [torch.arange(count) * samples // count]
    for leaf in batch.tensors:
        if not (leaf.is_floating_point() or leaf.is_complex()):
            values, which, counts = leaf.reshape(samples, -1).unique(return_inverse=True, return_counts=True)
            first = torch.full((len(values),), samples, device=leaf.device)
            holders = torch.arange(samples, device=leaf.device)[:, None].expand_as(which)
            first.scatter_reduce_(0, which.flatten(), holders.flatten(), "amin")
            rows.append(first[counts.argsort()[:_RARE]].cpu())
    return torch.cat(rows).unique()


def _scaling(loss: Loss, points: list[Tensor], batch: Batch, close: float) -> Reduction:
    """Each sample twice leaves a mean as it is, also one over normalized or weighted samples, and doubles a sum."""
    if batch.size is None or batch.numbered:
        return "other"
    few = batch if batch.samples is None else batch.taken(slice(_FEW))
    for one in (few, batch):
        try:
            found = {_factor(loss, point, one, close) for point in points} - {None}
        except Exception:  # whatever a module raises that takes no other number of samples
            continue
        return "mean" if not found else found.pop() or "other" if len(found) == 1 else "other"
    return "other"


def _factor(loss: Loss, point: Tensor, batch: Batch, close: float) -> Reduction | None:
    """What twice the samples make of the loss; None where that says nothing."""
    once = loss(point, batch)
    if not bool(torch.isfinite(once)) or not bool(once):
        return None
    ratio = float(loss(point, Batch(*(_doubled(part, batch.size or 0) for part in batch))) / once)
    return "mean" if abs(ratio - 1) < close else "sum" if abs(ratio - 2) < close else "other"


def _doubled(tree: Tree, size: int) -> Tree:
    if isinstance(tree, Tensor):
        return torch.cat([tree, tree]) if tree.ndim else tree
    if isinstance(tree, Mapping):
        return {key: _doubled(one, size) for key, one in tree.items()}
    if isinstance(tree, (tuple, list)) and not hasattr(tree, "_fields"):
        if len(tree) == size and not all(isinstance(one, Tensor) and len(one) == size for one in tree):
            return tree * 2  # one thing for each sample
        return type(tree)(_doubled(one, size) for one in tree)
    return tree


def _adds(loss: Loss, point: Tensor, batch: Batch, scaling: Reduction, seed: int, close: float) -> bool:
    """Do the losses of two parts, drawn at random and of different sizes, make up that of both?"""
    samples = batch.samples or 0
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    pieces = order.tensor_split([samples // 3 or 1]) if samples > 1 else [order]
    try:
        losses = [
            loss(point, batch.taken(piece)) * (1 if scaling == "sum" else len(piece) / samples) for piece in pieces
        ]
    except Exception:  # whatever a module raises that takes no fewer samples
        return False
    both, whole = torch.stack(losses), loss(point, batch)
    if not bool(torch.isfinite(both).all() & torch.isfinite(whole)):
        return not bool(torch.isfinite(whole))  # a whole that is no number says nothing
    return bool((both.sum() - whole).abs() <= close * both.abs().sum())


def said(found: Kind, batches: list[Batch], stochastic: bool) -> Iterator[str]:
    """Sentences about what is done where a loss is no plain mean over samples that can be drawn."""
    alone, cut = len(batches) == 1, batches[0].samples is not None
    if not alone:
        yield (
            "The batches are kept apart, because they differ in shape or in what they hold beside tensors, or because the loss "
            "takes them only as they came: no mini-batches are drawn from them"
        )
    elif not cut:
        yield "The data cannot be cut into samples: they are evaluated as they came, and no mini-batches are drawn from them"
    if found.reduction == "sum":
        yield (
            "The loss is a sum over samples, and so is the landscape, over all that were given: loss, gradient and curvature of a "
            "mini-batch, which a step size has to fit, are on average its share of those; reduction='mean' has no such factor"
        )
    if found.reduction == "other" and cut:
        yield (
            "The loss of a batch is neither the mean nor the sum of losses of its samples (the largest of them, a contrast between "
            "them, or a fixed number of them): it is evaluated on all the samples given together, or on the batches as they came"
        )
    elif found.coupled and alone and cut and not stochastic:
        yield (
            f"The loss of a batch is not the {found.reduction} of its samples' losses (batch norm in training mode, class weights, or "
            "a mean over tokens): the data are evaluated whole, and a mini-batch has another expected loss than the whole"
        )
