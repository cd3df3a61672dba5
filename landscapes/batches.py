"""A user's data as batches of (inputs, targets): nested tensors that can be cut, indexed, joined, cast and moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

Tree = Any  # a tensor, or tuples and dictionaries of trees; other leaves are passed on as they are
_ALLOWED = "a pair (inputs, targets), a mapping of tensors, or an iterable of such batches, for example a DataLoader"


class Batch(NamedTuple):
    inputs: Tree  # one tensor, a tuple for several arguments, or a dictionary for keyword arguments
    targets: Tree

    @property
    def samples(self) -> int | None:
        """Length of the first dimension, if all tensors share one."""
        lengths = {len(leaf) if leaf.ndim else None for leaf in leaves(self)}
        return lengths.pop() if len(lengths) == 1 else None

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Batch:
        inputs = mapped(self.inputs, function)
        return Batch(inputs, inputs if self.targets is self.inputs else mapped(self.targets, function))


def mapped(tree: Tree, function: Callable[[Tensor], Tensor]) -> Tree:
    """The same tree with `function` applied to its tensors."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(one, function) for key, one in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(mapped(one, function) for one in tree)
    return tree


def leaves(tree: Tree) -> Iterator[Tensor]:
    """The tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (Mapping, tuple, list)):
        for one in tree.values() if isinstance(tree, Mapping) else tree:
            yield from leaves(one)


def collected(data: Any, limit: int | None = None) -> list[Batch]:
    """The batches of a user's data, joined to one where shapes allow, at most `limit` samples of them.

    Raises TypeError or ValueError, with a sentence, for what is not data.
    """
    if _is_pair(data) or isinstance(data, Mapping):
        batches = [_batch(data)]
    elif isinstance(data, Iterable) and not isinstance(data, (Tensor, str)):
        batches = list(_within(limit, _drawn(data)))
    else:
        raise TypeError(f"data is a {type(data).__name__}: it must be {_ALLOWED}.")
    if not batches or not all(any(True for _ in leaves(batch)) for batch in batches):
        raise ValueError(f"data holds no tensors: it must be {_ALLOWED}.")
    joined = _joined(batches)
    if limit is not None and len(joined) == 1 and joined[0].samples is not None:
        joined = [joined[0].mapped(lambda leaf: leaf[:limit])]
    if any(leaf.numel() == 0 for batch in joined for leaf in leaves(batch)):
        raise ValueError("data holds an empty tensor: there must be at least one sample.")
    return joined


def _is_pair(data: Any) -> bool:
    tensors = isinstance(data, list) and len(data) > 1 and all(isinstance(one, Tensor) for one in data)
    return isinstance(data, tuple) or tensors


def _drawn(data: Iterable[Any]) -> Iterator[Batch]:
    """The batches of an iterable. What a DataLoader draws from torch's generator, or from its own, is put back."""
    own = data.generator if isinstance(data, DataLoader) else None
    state = None if own is None else own.get_state()
    with torch.random.fork_rng(devices=[]):
        yield from map(_batch, data)
    if own is not None and state is not None:
        own.set_state(state)


def _within(limit: int | None, batches: Iterator[Batch]) -> Iterator[Batch]:
    seen = 0
    for batch in batches if limit is None else islice(batches, limit):
        yield batch
        seen += batch.samples or 1
        if limit is not None and seen >= limit:
            return


def _batch(given: Any) -> Batch:
    if isinstance(given, Mapping):  # as in Hugging Face's libraries: the loss finds its targets in the batch
        whole = mapped(given, Tensor.detach)
        return Batch(whole, whole)
    if not isinstance(given, (tuple, list)) or len(given) < 2:
        raise TypeError(f"A batch of data is a {type(given).__name__}: data must be {_ALLOWED}.")
    *inputs, targets = (mapped(one, Tensor.detach) for one in given)
    return Batch(inputs[0] if len(inputs) == 1 else tuple(inputs), targets)


def _joined(batches: list[Batch]) -> list[Batch]:
    """One batch where the tensors of all have the same shapes beyond the first dimension; else as they are."""
    if len(batches) == 1 or any(batch.samples is None for batch in batches):
        return batches
    columns = list(zip(*(leaves(batch) for batch in batches), strict=False))
    alike = len({len(list(leaves(batch))) for batch in batches}) == 1 and all(
        len({(leaf.shape[1:], leaf.dtype, leaf.device) for leaf in column}) == 1 for column in columns
    )
    if not alike:
        return batches
    whole = iter([torch.cat(column) for column in columns])
    return [batches[0].mapped(lambda _: next(whole))]
