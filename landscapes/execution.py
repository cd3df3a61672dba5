"""How a user's code is called within a landscape: so that its loss is one function of the parameters, with true derivatives.

Torch asks the innermost `TorchFunctionMode` of a thread about each of its functions. Ours answers for those whose result is
no function of the parameters alone, or whose derivatives are not there or wrong: dropout, fused attention and weight norm,
embeddings that shorten their rows in place. It acts in its own thread only, so that threads do not disturb each other as torch's global switches would.
"""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint as checkpoints

_RANDOM = threading.RLock()  # generators belong to the process: one evaluation at a time may set them
_TINY = 1e-7  # in the divisor of torch's own embedding_renorm_

Handler = Callable[["Plainly", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Plainly(TorchFunctionMode):
    """Within it this thread's calls of torch are as a landscape needs them.

    Without `dropout` none is applied, wherever it is: in nn.Dropout, functional, in attention or between recurrent layers.
    With `math_attention` attention is computed by matrix products and a softmax, which can be differentiated twice; torch's
    fused kernels cannot. `seen` collects what was answered for, of "shortened" (embeddings with max_norm), "by frequency"
    (embeddings with scale_grad_by_freq); `dtypes`, if given, in what the results that need a gradient are computed.
    """

    def __init__(self, dropout: bool, math_attention: bool, seen: set[str], dtypes: set[torch.dtype] | None):
        super().__init__()
        self.dropout, self.math_attention, self.seen, self.dtypes = dropout, math_attention, seen, dtypes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = _HANDLERS.get(func)
        result = func(*args, **(kwargs or {})) if handler is None else handler(self, func, args, kwargs or {})
        if self.dtypes is not None and isinstance(result, Tensor) and result.requires_grad:
            self.dtypes.add(result.dtype)
        return result


def _dropout(mode: Plainly, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if mode.dropout:
        return func(*args, **kwargs)
    return args[0] if args else kwargs["input"]


def _attention(mode: Plainly, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = _SCALED.bind(*args, **kwargs).arguments
    if not mode.dropout:
        given["dropout_p"] = 0.0
    return torch._scaled_dot_product_attention_math(**given)[0] if mode.math_attention else func(**given)


def _scaled(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> None:
    """The parameters of torch's scaled_dot_product_attention, a builtin that does not tell them."""


_SCALED = inspect.signature(_scaled)


def _multi_head(mode: Plainly, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = _MULTI_HEAD.bind(*args, **kwargs).arguments
    if not mode.dropout:
        given["dropout_p"] = 0.0
    alone = not given.get("need_weights", True)
    if alone and mode.math_attention:  # asked for its weights, it computes them by the plain formula
        given["need_weights"] = True
    outputs, weights = func(**given)
    return outputs, None if alone else weights


def _recurrent(mode: Plainly, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """(input, state, weights, biases?, layers, dropout, ...) or, of packed sequences, with their batch sizes before the state."""
    if not mode.dropout:
        place = 5 if isinstance(args[3], bool) else 6
        args = (*args[:place], 0.0, *args[place + 1 :])
    return func(*args, **kwargs)


def _embedding(mode: Plainly, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = inspect.signature(func).bind(*args, **kwargs).arguments
    longest = given.pop("max_norm", None)
    if longest is not None:  # torch would shorten the rows of the parameters themselves
        mode.seen.add("shortened")
        given["weight"] = _shortened(given["weight"], longest, given.get("norm_type", 2.0))
    if given.pop("scale_grad_by_freq", False):
        mode.seen.add("by frequency")
    given.pop("sparse", None)  # the parameters are parts of one dense vector
    return func(**given)


def _shortened(weight: Tensor, longest: float, order: float) -> Tensor:
    """Rows (n, d) longer than allowed scaled to the allowed length, as torch.embedding_renorm_ does in place."""
    length = torch.linalg.vector_norm(weight, order, dim=-1, keepdim=True)
    return torch.where(length > longest, weight * (longest / (length + _TINY)), weight)


def _lookup(mode: Plainly, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """torch.embedding(weight, indices, padding_idx, scale_grad_by_freq, sparse)."""
    kwargs = {name: value for name, value in kwargs.items() if name not in ("scale_grad_by_freq", "sparse")}
    return func(*args[:3], **kwargs)


def _weight_norm(mode: Plainly, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """g v / |v|: torch's kernel differentiates twice as if |v| were constant (torch 2.13), and cannot be batched."""
    return _normalized(*args, **kwargs)


def _normalized(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))


_MULTI_HEAD = inspect.signature(functional.multi_head_attention_forward)
_HANDLERS: dict[Callable[..., Any], Handler] = {
    **dict.fromkeys(
        (
            functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d,
            functional.alpha_dropout, functional.feature_alpha_dropout,
            torch.dropout, torch.dropout_, torch.alpha_dropout, torch.alpha_dropout_, torch.feature_dropout,
            torch.feature_dropout_, torch.feature_alpha_dropout, torch.feature_alpha_dropout_,
        ),
        _dropout,
    ),
    **dict.fromkeys((torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu), _recurrent),
    **dict.fromkeys((functional.embedding, functional.embedding_bag), _embedding),
    torch.embedding: _lookup,
    torch._weight_norm: _weight_norm,
    functional.scaled_dot_product_attention: _attention,
    functional.multi_head_attention_forward: _multi_head,
}  # fmt: skip


# ---------------------------------------------------------------- activation checkpoints


class _Direct(threading.local):
    """Is this thread to run checkpointed functions directly?"""

    depth = 0


_direct = _Direct()
_installing = threading.Lock()
_installed = 0  # how many threads are within `checkpoints_run_directly`
_torchs: dict[str, Any] = {}  # what is torch's own, while ours is in its place


@contextmanager
def checkpoints_run_directly() -> Iterator[None]:
    """Within it this thread keeps activations where a module would checkpoint them.

    A checkpointed function runs again during the backward pass, when a module no longer holds the parameters of the call: the
    gradient would mix two points. `torch.utils.checkpoint.checkpoint` is known to modules under many names, so that the two
    things that it calls are exchanged instead; other threads get torch's own as ever.
    """
    global _installed
    with _installing:
        if _installed == 0:
            _install()
        _installed += 1
    _direct.depth += 1
    try:
        yield
    finally:
        _direct.depth -= 1
        with _installing:
            _installed -= 1
            if _installed == 0:
                for name, one in _torchs.items():
                    setattr(checkpoints, name, one)


def _install() -> None:
    for name, one in (
        ("CheckpointFunction", _Reentrant),
        ("_checkpoint_without_reentrant_generator", _without_reentrant),
    ):
        if hasattr(checkpoints, name):
            _torchs[name] = getattr(checkpoints, name)
            setattr(checkpoints, name, one)


class _Reentrant:
    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args) if _direct.depth else _torchs["CheckpointFunction"].apply(function, preserve, *args)


def _without_reentrant(
    function: Callable[..., Any], preserve: bool, context_fn: Callable[[], Any], *args: Any, **kwargs: Any
) -> Iterator[None]:
    """A generator that runs what belongs before the function, waits for its end, and runs what belongs after it."""
    if not _direct.depth:
        yield from _torchs["_checkpoint_without_reentrant_generator"](function, preserve, context_fn, *args, **kwargs)
        return
    forward, _ = context_fn()
    with forward:
        yield


# ---------------------------------------------------------------- randomness


def random_state(device: torch.device) -> list[Any]:
    """The state of all generators that a user's code may draw from without naming one."""
    devices = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *devices, random.getstate(), np.random.get_state(legacy=False)]


def same_state(one: list[Any], other: list[Any]) -> bool:
    return all(_same(a, b) for a, b in zip(one, other, strict=True))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(one[key], other[key]) for key in one)
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else one == other


def _restore(state: list[Any], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
    random.setstate(state[-2])
    np.random.set_state(state[-1])


@contextmanager
def draws_kept(device: torch.device) -> Iterator[None]:
    """Draws within it are none of the user's: generators stand afterwards as before. One thread at a time."""
    with _RANDOM:
        state = random_state(device)
        try:
            yield
        finally:
            _restore(state, device)


@contextmanager
def draws_of(seed: int, device: torch.device) -> Iterator[None]:
    """Within it the same numbers are drawn at every time. One thread at a time."""
    with draws_kept(device):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield
