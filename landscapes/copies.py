"""Copies of a user's module and loss that share nothing with them, whatever they hold and however they are wrapped."""

from __future__ import annotations

import copy
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PARTS = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
_FUNCTIONS = (types.FunctionType, partial)
_REACH = 6  # how deep a loss is searched for what it captured
_SCALARS = (bool, int, float, complex, str, bytes, type(None))
Replacements = Mapping[int, Any]  # by the id of what is replaced


class Whole(nn.Module):
    """A module and its loss in one, so that they are copied together and find the same tensors in a call."""

    def __init__(self, module: nn.Module, loss_fn: Callable[[Any, Any], Tensor]):
        super().__init__()
        self.module, self.loss_fn = module, loss_fn
        self.shared: list[Any] = []  # what is not copied: see `uncopyable`

    def forward(self, work: Callable[[Whole], Any]) -> Any:
        return work(self)


class Opened(nn.Module):
    """Stands where a module was wrapped to run on several devices or compiled: it runs as it is, under the same name."""

    def __init__(self, name: str, inner: nn.Module, training: bool):
        super().__init__()
        self.add_module(name, inner)
        self._name, self.training = name, training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._modules[self._name](*args, **kwargs)  # type: ignore[misc]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            inner = self.__dict__.get("_modules", {}).get(self.__dict__.get("_name"))
            if inner is None:  # while it is being copied
                raise
            return getattr(inner, name)


def _inside(layer: nn.Module) -> str | None:
    """The name under which a wrapper holds the module that it runs; None for what is no wrapper."""
    if isinstance(layer, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return "module"
    return "_orig_mod" if isinstance(layer._modules.get("_orig_mod"), nn.Module) else None


class _Copying(TorchFunctionMode):
    """Within it tensors are copied to where a landscape needs them, also those that torch would not copy.

    A tensor that a module computed from its parameters and keeps (a weight that is the product of two others, the output of
    its last call) is copied without its history. The next call computes it anew, before it is used: `stale` says what the
    copy holds until then.
    """

    def __init__(self, place: Callable[[Tensor], Tensor], stale: float):
        super().__init__()
        self.place, self.stale = place, stale

    def __torch_function__(
        self, func: Callable[..., Any], kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            kept = self.place(tensor.detach()).clone()
            if not tensor.is_leaf and kept.is_floating_point():
                kept.fill_(self.stale)
            memo[id(tensor)] = kept.requires_grad_() if tensor.is_leaf and tensor.requires_grad else kept
        return memo[id(tensor)]


def copied(
    whole: Whole,
    place: Callable[[Tensor], Tensor] = Tensor.detach,
    instead: Replacements | None = None,
    stale: float = float("nan"),
) -> Whole:
    """A copy with its tensors at their `place`, and others `instead` of some.

    A loss that is no module is not copied, nor what is `shared`. Raises ValueError, with the remedy, for a module that was
    compiled to TorchScript.
    """
    memo: dict[int, Any] = dict(instead or {}) | {id(one): one for one in whole.shared}
    memo[id(whole.shared)] = whole.shared
    if not isinstance(whole.loss_fn, nn.Module):
        memo[id(whole.loss_fn)] = whole.loss_fn
    layers = list(whole.modules())
    if any(isinstance(layer, torch.jit.ScriptModule) for layer in layers):
        raise ValueError(
            "The module is TorchScript, whose parameters cannot be exchanged: pass the module from before torch.jit.script "
            "or torch.jit.trace."
        )
    with _Copying(place, stale):
        for layer in reversed(layers):  # the inner ones first
            name = _inside(layer)
            if name is not None and not isinstance(layer, Opened):
                inner = copy.deepcopy(layer._modules[name], memo)
                assert inner is not None
                memo[id(layer)] = Opened(name, inner, layer.training)
        twin = copy.deepcopy(whole, memo)
    _rebind_parts(whole, twin)
    return twin


def uncopyable(whole: Whole) -> list[Any]:
    """What modules hold beside their parts that nobody can copy, such as a lock, an open file or a trainer."""
    held = [one for layer in whole.modules() for key, one in vars(layer).items() if key not in (*_PARTS, *_HOOKS)]
    held += [hook for layer in whole.modules() for hooks in _HOOKS for hook in getattr(layer, hooks, {}).values()]
    return [one for one in held if one is not whole.loss_fn and not _copyable(one)]


def _copyable(held: Any) -> bool:
    try:
        with _Copying(Tensor.detach, 0.0):
            copy.deepcopy(held)
    except Exception:  # whatever a user's object raises
        return False
    return True


def _rebind_parts(whole: Whole, twin: Whole) -> None:
    """Functions that modules hold, which are not copied, know the copy from then on where they knew the original."""
    places = [vars(layer) for layer in twin.module.modules()]
    places += [hooks for layer in twin.module.modules() for hooks in (getattr(layer, name) for name in _HOOKS) if hooks]
    found = [(place, key) for place in places for key, one in place.items() if isinstance(one, _FUNCTIONS)]
    if found:
        instead: dict[int, Any] = {id(one): other for one, other in twins(whole.module, twin.module)}
        tensors = dict(twin.module.named_parameters()) | dict(twin.module.named_buffers())
        own = (*whole.module.named_parameters(), *whole.module.named_buffers())
        instead |= {id(one): tensors[name] for name, one in own if name in tensors}
        for place, key in found:
            place[key] = rebound(place[key], instead)


def twins(original: nn.Module, copy: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The modules within an original, each with what a copy has in its place."""
    named = dict(copy.named_modules(remove_duplicate=False))
    for name, layer in original.named_modules(remove_duplicate=False):
        if name in named:
            yield layer, named[name]


def rebound(value: Any, instead: Replacements, seen: dict[int, Any] | None = None, depth: int = 0) -> Any:
    """A function, or what one holds, with what it captured exchanged: in its closure, defaults, globals, or `self`.

    What holds nothing of it within reach is returned itself.
    """
    seen = {} if seen is None else seen
    if id(value) in instead:
        return instead[id(value)]
    if depth > _REACH or isinstance(value, (*_SCALARS, Tensor, type, types.ModuleType, types.BuiltinFunctionType)):
        return value
    if id(value) not in seen:
        seen[id(value)] = value  # as which it is found by what it holds, if that leads back to it
        seen[id(value)] = _rebound(value, partial(rebound, instead=instead, seen=seen, depth=depth + 1))
    return seen[id(value)]


def _rebound(value: Any, again: Callable[[Any], Any]) -> Any:
    if isinstance(value, types.FunctionType):
        return _function(value, again)
    if isinstance(value, types.MethodType):
        owner = again(value.__self__)
        return value if owner is value.__self__ else types.MethodType(value.__func__, owner)
    if isinstance(value, partial):
        function, args, named = again(value.func), [again(one) for one in value.args], _each(value.keywords, again)
        same = function is value.func and all(a is b for a, b in zip(args, value.args, strict=True))
        return value if same and named is value.keywords else type(value)(function, *args, **named)
    if type(value) in (list, tuple, set, frozenset):
        parts = [again(one) for one in value]
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else type(value)(parts)
    if type(value) is dict:
        return _each(value, again)
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict):
        other = _each(held, again)
        if other is not held:
            twin = copy.copy(value)
            twin.__dict__.update(other)
            return twin
    return value


def _each(given: dict[Any, Any], again: Callable[[Any], Any]) -> dict[Any, Any]:
    parts = {key: again(one) for key, one in given.items()}
    return given if all(parts[key] is one for key, one in given.items()) else parts


def _function(function: types.FunctionType, again: Callable[[Any], Any]) -> Any:
    cells = function.__closure__ or ()
    inside = [cell.cell_contents if _filled(cell) else None for cell in cells]
    closed = [again(one) for one in inside]
    named = {
        name: function.__globals__[name]
        for name in _names(function.__code__)
        if name in function.__globals__ and _near(function, function.__globals__[name])
    }
    outer = _each(named, again)
    defaults, options = again(function.__defaults__), again(function.__kwdefaults__)
    same = all(a is b for a, b in zip(closed, inside, strict=True)) and outer is named
    if same and defaults is function.__defaults__ and options is function.__kwdefaults__:
        return function
    twin = types.FunctionType(
        function.__code__,
        function.__globals__ if outer is named else function.__globals__ | outer,
        function.__name__,
        defaults,
        tuple(cell if a is b else types.CellType(a) for cell, a, b in zip(cells, closed, inside, strict=True)),
    )
    twin.__kwdefaults__ = options
    twin.__dict__.update(function.__dict__)
    return twin


def _near(function: types.FunctionType, other: Any) -> bool:
    """Can a thing that a function knows by a global name know more? A function of another file knows nothing of this one."""
    return not isinstance(other, types.FunctionType) or other.__globals__ is function.__globals__


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _names(code: types.CodeType) -> set[str]:
    """The global names that a function and those within it may ask for."""
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return set(code.co_names).union(*(_names(one) for one in inner))


def plain_state(whole: nn.Module) -> dict[str, Any]:
    """What modules hold beside parameters, buffers and other modules, by name, as numbers that can be compared."""
    seen: set[int] = set()
    return {
        f"{path}.{key}".removeprefix(".").removeprefix("module."): _frozen(value, seen)
        for path, layer in whole.named_modules()
        if not isinstance(layer, Whole)
        for key, value in vars(layer).items()
        if key not in _PARTS and not key.endswith("_hooks")
    }


def _frozen(value: Any, seen: set[int], depth: int = 0) -> Any:
    if isinstance(value, Tensor):
        dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        numbers = dense.cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes() if dense.numel() else b""
        return (tuple(value.shape), value.dtype, numbers)
    if isinstance(value, _SCALARS):
        return repr(value)  # as which nan equals nan
    if depth > _REACH or id(value) in seen or isinstance(value, nn.Module):
        return None
    seen.add(id(value))
    if isinstance(value, Mapping):
        return {str(key): _frozen(one, seen, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [_frozen(one, seen, depth + 1) for one in value]
    held = getattr(value, "__dict__", None)
    return _frozen(held, seen, depth + 1) if isinstance(held, dict) and not isinstance(value, type) else None


def observers_removed(whole: nn.Module) -> bool:
    """Takes away the hooks that are not torch's own; False where there are none."""
    found = False
    for layer in whole.modules():
        for hooks in (getattr(layer, name, {}) for name in _HOOKS):
            for key, hook in list(hooks.items()):
                if not _torchs(hook):
                    del hooks[key]
                    found = True
    return found


def _torchs(hook: Any) -> bool:
    """Is it part of what a module computes, as those of torch.nn.utils that make a weight of two others?"""
    owner = getattr(hook, "__self__", hook)
    place = getattr(hook, "__module__", None) or type(owner).__module__
    return str(place).partition(".")[0] == "torch" or type(owner).__module__.partition(".")[0] == "torch"
