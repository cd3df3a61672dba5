"""Layers for batched weights: the leading dimensions of weights and signals are runs and broadcast against each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": functional.gelu,
    "elu": functional.elu,
    "softplus": functional.softplus,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}

NORMS = ("none", "layer", "batch")
_EPSILON = 1e-5  # added to a variance, as in torch.nn


def affine(signal: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """signal (..., n, in) times weight (..., out, in) plus bias (..., out)."""
    if weight.ndim == 2:
        return functional.linear(signal, weight, bias)
    product = signal @ weight.mT
    return product if bias is None else product + bias.unsqueeze(-2)


def convolution(signal: Tensor, weight: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
    """signal (..., n, in, h, w) under filters (..., out, in, kh, kw), zeros around it; odd filters keep its size.

    Each run is a group of one grouped convolution: unfolding and multiplying took 1.6 to 2.5 times as long for 4 and 8
    runs, value, gradient and Hessian-vector product alike.
    """
    out, channels, *kernel = weight.shape[-4:]
    padding, steps = [size // 2 for size in kernel], _along(signal, stride)
    if weight.ndim == 4:
        flat = signal.flatten(0, -4)  # every sample of every run is one of the same network
        return functional.conv2d(flat, weight, bias, steps, padding).unflatten(0, signal.shape[:-3])
    lead = torch.broadcast_shapes(weight.shape[:-4], signal.shape[:-4])
    runs, samples = math.prod(lead), signal.shape[-4]
    weight = weight.expand(*lead, *weight.shape[-4:]).reshape(runs * out, channels, *kernel)
    bias = bias.expand(*lead, out).reshape(runs * out)
    if signal.ndim == 4:  # samples that all runs share: all filters are of one convolution
        made = functional.conv2d(signal, weight, bias, steps, padding)
    else:
        signal = signal.expand(*lead, *signal.shape[-4:]).reshape(runs, *signal.shape[-4:])
        made = functional.conv2d(signal.transpose(0, 1).flatten(1, 2), weight, bias, steps, padding, groups=runs)
    made = made.view(samples, runs, out, *made.shape[-2:]).transpose(0, 1)
    return made.reshape(*lead, *made.shape[1:])


def normalized(signal: Tensor, scale: Tensor, shift: Tensor, how: str, *, spatial: bool) -> Tensor:
    """A signal of mean 0 and variance 1, then scaled and shifted by channel, scale and shift (..., channels).

    "layer" takes the statistics of each sample, over its channels (..., n, channels), or over channels and places
    (..., n, channels, h, w) where the signal is `spatial` (Ba et al. 2016, arXiv:1607.06450; Wu and He 2018,
    arXiv:1803.08494, with one group). "batch" takes those of each channel over all the samples it is given (Ioffe and Szegedy 2015,
    arXiv:1502.03167): over the whole training set for full-batch descent, over the minibatch for a minibatch. It keeps no
    running averages, so that the loss is a function of the parameters alone.
    """
    over = {
        ("layer", False): (-1,),
        ("layer", True): (-3, -2, -1),
        ("batch", False): (-2,),
        ("batch", True): (-4, -2, -1),
    }[how, spatial]
    variance, mean = torch.var_mean(signal, dim=over, correction=0, keepdim=True)
    standard = (signal - mean) * torch.rsqrt(variance + _EPSILON)
    scale, shift = (one[..., None, :, None, None] if spatial else one[..., None, :] for one in (scale, shift))
    return standard * scale + shift


def pooled(signal: Tensor, how: str) -> Tensor:
    """Average or maximum over 2 x 2 places, or pairs of places of a signal of one row: (..., c, h, w) -> (..., c, h / 2, w / 2)."""
    pool = functional.avg_pool2d if how == "average" else functional.max_pool2d
    flat = signal.flatten(0, -4)
    return pool(flat, _along(signal, 2)).unflatten(0, signal.shape[:-3])


def _along(signal: Tensor, step: int) -> list[int]:
    """A step along the height and the width of a signal (..., h, w); a single row or column is not stepped over."""
    return [min(step, size) for size in signal.shape[-2:]]
