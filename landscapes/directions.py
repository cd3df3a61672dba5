"""Directions to slice a loss along, and how to make their lengths comparable between networks."""

from __future__ import annotations

import torch
from torch import Tensor

from landscapes.landscape import Layout

NORMALIZATIONS = {  # name -> what it does
    "filter": "each filter of a direction has the norm of the same filter of the network, so that pictures of different "
    "networks compare",
    "layer": "each layer of a direction has the norm of the same layer of the network",
    "vector": "each direction has the norm of all the network's parameters together",
    "none": "directions are as long as they were drawn, so that pictures of different networks do not compare",
}


def random_directions(layout: Layout, like: Tensor, count: int, seed: int) -> Tensor:
    """`count` standard Gaussian directions (count, dim), drawn in float64 on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(layout.dim, generator=generator, dtype=torch.float64) for _ in range(count)]
    return torch.stack(rows).to(like)


def normalize(directions: Tensor, params: Tensor, layout: Layout, how: str, *, ignore_biases: bool = True) -> Tensor:
    """Directions (count, dim) rescaled against params (dim,).

    "filter" (Li et al. 2018, arXiv:1712.09913, sect. 4): each filter, that is each output row of a weight, gets the norm
    of the same filter of params, and blocks of at most one dimension (biases, normalisation layers) become zero. "layer" does the
    same with whole blocks, "vector" with the whole vector; "none" changes nothing. Where no block has two dimensions there
    are neither filters nor biases, only plain coordinates: then each block is treated as a layer.
    Raises ValueError for another name.
    """
    if how not in NORMALIZATIONS:
        raise ValueError(f"normalize = {how!r} is not allowed: it must be one of {', '.join(NORMALIZATIONS)}.")
    if how == "none":
        return directions
    if how == "vector":
        return _matched(directions, params, dims=1)
    plain = all(len(block.shape) < 2 for block in layout.blocks)
    own, out = layout.unpack(params), {}
    for name, block in layout.unpack(directions).items():  # (count, *shape)
        if block.ndim <= 2 and not plain:
            out[name] = torch.zeros_like(block) if ignore_biases else own[name].expand_as(block)
        else:
            kept = 2 if how == "filter" and block.ndim > 2 else 1  # leading dimensions that a norm does not sum over
            out[name] = _matched(block, own[name], dims=block.ndim - kept)
    return layout.pack(out)


def _matched(direction: Tensor, params: Tensor, dims: int) -> Tensor:
    """direction rescaled so that its norm over the last `dims` dimensions is that of params; zero stays zero."""
    if dims == 0:  # single numbers; torch takes no axes for all of them
        return direction.sign() * params.abs()
    axes = tuple(range(-dims, 0))
    length = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return direction * (torch.linalg.vector_norm(params, dim=axes, keepdim=True) / torch.where(length == 0, 1, length))
