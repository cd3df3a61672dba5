"""A user's data as batches of (inputs, targets): nested tensors that can be cut, indexed, joined, cast and moved.

What is no tensor (the name of a task, a weight, a list with one entry for each sample) stays with the batch that it came
in. A batch is cut, and batches are joined, only where that provably changes nothing of what a sample is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

Tree = Any  # a tensor, or tuples, lists and dictionaries of trees; other leaves are passed on as they are
_ALLOWED = (
    "a pair (inputs, targets), a mapping of tensors, a tensor of inputs for loss_fn(module(inputs), inputs), a Dataset, or "
    "an iterable of such batches, for example a DataLoader"
)
_PASSED = (str, bytes, bool, type(None))  # what may be beside tensors in a batch that is cut
_NUMBERS = (int, float, complex)
_TOGETHER = 512  # samples of a Dataset that are put into one batch
_ENDLESS, _MOST_BATCHES = 1 << 32, 100_000  # bytes and batches that an iterable without a length may give


class Batch(NamedTuple):
    inputs: Tree  # one tensor, a tuple for several arguments, or a dictionary for keyword arguments
    targets: Tree

    @property
    def size(self) -> int | None:
        """Number of samples: the length that all arguments and targets share; None where that cannot be told."""
        if isinstance(self.targets, Tensor) and not self.targets.ndim or _is_number(self.targets):
            return None  # one label, of one sample or of many
        spoken = [lengths for part in self._parts() if (lengths := _lengths(part)) is not None]
        shared = set.intersection(*spoken) if spoken else set()
        return shared.pop() if len(shared) == 1 else None

    @property
    def samples(self) -> int | None:
        """Number of samples where the batch can be cut: all that differs from sample to sample is a row of a tensor.

        A number beside tensors may speak of its batch, of its size or weight: with one, a batch is not cut.
        """
        size = self.size
        if size is None or self.numbered or not all(_holds_rows(leaf, size) for leaf in leaves(self)):
            return None
        return size if all(isinstance(part, _PASSED) or _rows(part, size) for part in self._parts()) else None

    @property
    def numbered(self) -> bool:
        """Does it hold plain numbers?"""
        return _holds_number(tuple(self))

    def _parts(self) -> list[Tree]:
        args, kwargs = arguments(self.inputs)
        return [*args, *kwargs.values(), self.targets]

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with `function` applied to its tensors; one that is there twice stays one."""
        seen: dict[int, Tensor] = {}

        def once(leaf: Tensor) -> Tensor:
            if id(leaf) not in seen:
                seen[id(leaf)] = function(leaf)
            return seen[id(leaf)]

        inputs = mapped(self.inputs, once)
        return Batch(inputs, inputs if self.targets is self.inputs else mapped(self.targets, once))

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors, in order, each once."""
        return list({id(leaf): leaf for leaf in leaves(self)}.values())

    def filled(self, tensors: Iterable[Tensor]) -> Batch:
        """The same batch with others in place of its `tensors`."""
        rest = iter(tensors)
        return self.mapped(lambda _: next(rest))

    def taken(self, index: Any) -> Batch:
        """The samples of `index`, a slice or indices; for a batch that can be cut."""
        return self.mapped(lambda leaf: leaf[index])


def arguments(inputs: Tree) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
    """The inputs of a batch as a module is called with them: by position, and by name."""
    if isinstance(inputs, dict):
        return (), inputs
    several = isinstance(inputs, tuple) and not hasattr(inputs, "_fields")
    return (inputs if several else (inputs,)), {}


def mapped(tree: Tree, function: Callable[[Tensor], Tensor]) -> Tree:
    """The same tree with `function` applied to its tensors."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(one, function) for key, one in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(one, function) for one in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(one, function) for one in tree)
    return tree


def leaves(tree: Tree) -> Iterator[Tensor]:
    """The tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (Mapping, tuple, list)):
        for one in tree.values() if isinstance(tree, Mapping) else tree:
            yield from leaves(one)


def _lengths(tree: Tree) -> set[int] | None:
    """The numbers of samples that a part of a batch may stand for; None where it says nothing of that, as a name does.

    A tensor has its rows. A list may hold tensors of as many rows each, or one thing for each sample.
    """
    if isinstance(tree, Tensor):
        return {len(tree)} if tree.ndim else None
    if not isinstance(tree, (Mapping, tuple, list)) or isinstance(tree, PackedSequence):
        return None
    parts = [_lengths(one) for one in (tree.values() if isinstance(tree, Mapping) else tree)]
    spoken = [lengths for lengths in parts if lengths is not None]
    shared = set.intersection(*spoken) if spoken else None
    named = isinstance(tree, Mapping) or hasattr(tree, "_fields")
    return shared if named else {len(tree)} | (shared or set())


def _holds_rows(leaf: Tensor, size: int) -> bool:
    return leaf.ndim > 0 and len(leaf) == size and leaf.layout == torch.strided and not leaf.is_nested


def _rows(tree: Tree, size: int) -> bool:
    """Is all of this rows of tensors, so that it can be cut? A list as long as the batch may hold one thing for each sample."""
    if isinstance(tree, Tensor):
        return True
    if isinstance(tree, Mapping):
        return all(isinstance(one, _PASSED) or _rows(one, size) for one in tree.values())
    if isinstance(tree, PackedSequence) or not isinstance(tree, (tuple, list)):
        return False
    return len(tree) != size and all(_rows(one, size) for one in tree)


# ------------------------------------------------------------------ from what a user has


def collected(data: Any, limit: int | None = None) -> list[Batch]:
    """The batches of a user's data as they come, copies of them, at most `limit` samples where they can be cut.

    Raises TypeError or ValueError, with a sentence, for what is not data.
    """
    batches = [batch.mapped(_copied) for batch in _within(limit, _given(data, limit))]
    if not batches or not all(any(True for _ in leaves(batch)) for batch in batches):
        raise ValueError(f"data holds no tensors: it must be {_ALLOWED}.")
    if any(leaf.numel() == 0 for batch in batches for leaf in leaves(batch)):
        raise ValueError("data holds an empty tensor: there must be at least one sample.")
    lengths = {leaf.shape[:1] for batch in batches for leaf in islice(leaves(batch), 1)}
    if len(lengths) > 1 and any(_is_number(batch.targets) for batch in batches):
        raise ValueError(
            "The targets are plain numbers and the inputs differ in length, so that nothing says how many samples a batch has: "
            "give the targets as tensors, with one entry for each sample, such as torch.tensor([label]) for inputs[None]."
        )
    return batches


def _given(data: Any, limit: int | None) -> Iterator[Batch]:
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, (tuple, Mapping)) or hasattr(data, "__array__") or _is_pair(data):
        return iter([_batch(data)])
    if isinstance(data, Dataset):
        return _read(data, limit)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return _drawn(data)
    raise TypeError(f"data is a {type(data).__name__}: it must be {_ALLOWED}.")


def joined(batches: list[Batch]) -> list[Batch]:
    """One batch where all can be cut and differ in the rows of their tensors alone; else as they are."""
    if len(batches) == 1 or any(batch.samples is None for batch in batches):
        return batches
    if len({(frame(batch), _repeated(batch)) for batch in batches}) > 1:
        return batches
    columns = zip(*(batch.tensors for batch in batches), strict=True)
    return [batches[0].filled([torch.cat(column) for column in columns])]


def _repeated(batch: Batch) -> tuple[int, ...]:
    """Which tensors of a batch are one and the same: the place among the distinct ones of each."""
    places = {id(leaf): place for place, leaf in enumerate(batch.tensors)}
    return tuple(places[id(leaf)] for leaf in leaves(batch))


def frame(tree: Tree) -> Hashable:
    """All of a tree but the rows of its tensors: trees of equal frames can be joined."""
    if isinstance(tree, Tensor):
        return Tensor, tree.shape[1:], tree.dtype, tree.device, tree.requires_grad
    if isinstance(tree, Mapping):
        return dict, tuple((key, frame(one)) for key, one in tree.items())
    if isinstance(tree, (tuple, list)):
        return type(tree), tuple(frame(one) for one in tree)
    return type(tree), tree if isinstance(tree, _PASSED) else id(tree)


def _holds_number(tree: Tree) -> bool:
    if isinstance(tree, (Mapping, tuple, list)):
        return any(_holds_number(one) for one in (tree.values() if isinstance(tree, Mapping) else tree))
    return _is_number(tree)


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, _NUMBERS) and not isinstance(leaf, bool)


def _is_pair(data: Any) -> bool:
    return isinstance(data, list) and len(data) > 1 and all(hasattr(one, "__array__") for one in data)


def _read(data: Dataset[Any], limit: int | None) -> Iterator[Batch]:
    """The samples of a Dataset in their order, put together as a DataLoader does by default."""
    if not _ends(data) and not isinstance(data, IterableDataset):
        raise TypeError(f"The {type(data).__name__} has no length: give it a __len__, or pass a DataLoader.")
    try:
        yield from _drawn(DataLoader(data, batch_size=_TOGETHER if limit is None else min(limit, _TOGETHER)))
    except (RuntimeError, TypeError) as failure:  # as its collate function raises them
        raise ValueError(
            f"The samples of the {type(data).__name__} cannot be put into batches: {str(failure).splitlines()[0]} Pass a "
            f"DataLoader with a collate_fn of your own."
        ) from failure


def _drawn(data: Iterable[Any]) -> Iterator[Batch]:
    """The batches of an iterable. What it draws from the generators of torch, NumPy, Python, or its own, is put back."""
    size, ends = 0, _ends(data)
    with _put_back(data):
        for count, given in enumerate(data, 1):
            batch = _batch(given).mapped(_copied)  # it may be filled anew for the next
            yield batch
            size += sum(leaf.nbytes for leaf in leaves(batch))
            if not ends and (size > _ENDLESS or count > _MOST_BATCHES):
                raise ValueError(f"data gave {count:,} batches and did not end: pass limit=..., the samples to take.")


def _ends(data: Any) -> bool:
    try:
        return len(data) >= 0
    except TypeError:
        return False


@contextmanager
def _put_back(data: Iterable[Any]) -> Iterator[None]:
    places = [data, getattr(data, "sampler", None), getattr(getattr(data, "batch_sampler", None), "sampler", None)]
    own = {id(one): one for one in (getattr(place, "generator", None) for place in places)}.values()
    states = [(one, one.get_state()) for one in own if isinstance(one, torch.Generator)]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for generator, state in states:
            generator.set_state(state)


def _within(limit: int | None, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Batches until there are `limit` samples, the last one cut where it can be."""
    seen = 0
    for batch in batches if limit is None else islice(batches, limit):
        left = None if limit is None else limit - seen
        yield batch if left is None or batch.samples is None or batch.samples <= left else batch.taken(slice(left))
        seen += batch.size or 1
        if limit is not None and seen >= limit:
            return


def _batch(given: Any) -> Batch:
    given = _tensors(given)
    if isinstance(given, (Tensor, Mapping)):  # as in Hugging Face's libraries: the loss finds its targets in the batch
        return Batch(given, given)
    if not isinstance(given, (tuple, list)) or not given:
        raise TypeError(f"A batch of data is a {type(given).__name__}: data must be {_ALLOWED}.")
    if len(given) == 1:
        return _batch(given[0])
    *inputs, targets = given
    if len(inputs) > 1:
        return Batch(tuple(inputs), targets)
    return Batch(tuple(inputs[0]) if _are_columns(inputs[0], targets) else inputs[0], targets)


def _are_columns(inputs: Tree, targets: Tree) -> bool:
    """Is a list one of several arguments, as a DataLoader puts them together, rather than one argument with an entry a sample?"""
    wanted = _lengths(targets)
    return isinstance(inputs, list) and all(
        wanted is None or (rows := _lengths(one)) is None or bool(rows & wanted) for one in inputs
    )


def _tensors(tree: Tree) -> Tree:
    """Arrays, of NumPy and others that say how to be one, as tensors; NumPy's numbers as Python's."""
    if isinstance(tree, np.generic):
        return tree.item()
    if isinstance(tree, Mapping):
        return {key: _tensors(one) for key, one in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_tensors(one) for one in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(_tensors(one) for one in tree)
    if isinstance(tree, Tensor) or not hasattr(tree, "__array__"):
        return tree
    array = np.asarray(tree)
    return torch.from_numpy(array.copy()) if array.dtype.kind in "biufc" else tree


def _copied(leaf: Tensor) -> Tensor:
    """The tensor alone; one that the loss is differentiated in, as in equations of physics, stays such a one."""
    return leaf.detach().clone().requires_grad_(leaf.requires_grad)
