"""What an optimizer does at a step: seen at the step itself, by torch's own hooks, whatever the loop around it does."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.torch_rules import Group

Parameters = Mapping[str, Tensor]


class Follower:
    """Follows the steps of an optimizer that move the parameters `named`, which may be exchanged.

    Of the last step it keeps, where `wanted()` says so beforehand, the points `before` and `after` it, the `groups` with the
    settings that it was taken at, and the gradient `given` to the optimizer; each is None where it is not known. `begins()` is
    called before the very first step. The optimizer keeps no reference to any of it.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        named: Parameters,
        wanted: Callable[[], bool],
        begins: Callable[[], None],
    ):
        self.named = named
        self.before: Tensor | None = None
        self.after: Tensor | None = None
        self.given: Tensor | None = None
        self.groups: Sequence[Group] | None = None
        self.hooked = False  # has a hook ever been called? Some optimizers that wrap others leave them out
        self._optimizer, self._wanted, self._begins = optimizer, wanted, begins
        self._later = False  # is the gradient to be read after the step?
        self._depth = self._taken = 0  # a step may call another class's step, which has the hooks too
        self._last: Tensor | None = flat(named)  # the point of the last call, only while no hook has been called
        self._handles: list[Any] = []
        try:
            self._handles.append(optimizer.register_step_pre_hook(_weak(self._enters)))
            self._handles.append(optimizer.register_step_post_hook(_weak(self._leaves)))
        except AttributeError:  # it was made without Optimizer.__init__
            pass

    def close(self) -> None:
        """No more of its steps are seen."""
        for handle in self._handles:
            handle.remove()

    def stepped(self) -> bool:
        """Has there been a step since the last call? An optimizer that has no hooks has taken one where its point moved."""
        self._depth, taken, self._taken = 0, self._taken, 0
        if self.hooked:
            self._last = None
            return taken > 0
        now = flat(self.named)
        self.before, self.after, self.groups, self.given = self._last, now, None, gradient(self.named)
        self._last = now
        return self.before is None or not torch.equal(self.before, now)

    def forget(self, named: Parameters) -> None:
        """The parameters are these now: what is known of the last step is of no use any more."""
        self.named = named
        self.before = self.after = self.given = None
        if not self.hooked:
            self._last = flat(named)

    def _enters(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        if not self.hooked:
            self.hooked = True
            self._begins()
        wanted = self._wanted()
        self.before, self.after = flat(self.named) if wanted else None, None
        self.groups = [_held(group) for group in self._optimizer.param_groups] if wanted else None
        # A step may overwrite the gradients. But it is the step that makes them where it has a closure, and that scales them
        # back where a fused one takes part in mixed precision.
        later = any(one is not None for one in [*args, *kwargs.values()])
        self._later = wanted and (later or getattr(self._optimizer, "grad_scale", None) is not None)
        self.given = gradient(self.named) if wanted and not self._later else None

    def _leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._taken += 1
            if self.before is not None:
                self.after = flat(self.named)
            if self._later:
                self.given = gradient(self.named)


def flat(named: Parameters) -> Tensor:
    """The parameters (dim,) as they are now, in at least single precision."""
    return _joined([one.detach() for one in named.values()])


def gradient(named: Parameters) -> Tensor | None:
    """Their gradients (dim,) as they are now, zero where a parameter has none; None where none has one."""
    if all(one.grad is None for one in named.values()):
        return None
    return _joined([torch.zeros_like(one) if one.grad is None else one.grad.detach() for one in named.values()])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    whole = torch.cat([(one.to_dense() if one.is_sparse else one).flatten() for one in parts])
    return whole.float() if whole.element_size() < 4 else whole


def _held(group: Group) -> Group:
    """The settings of a group as they are: a schedule may change a tensor in place."""
    return {
        key: value.clone() if key != "params" and isinstance(value, Tensor) else value for key, value in group.items()
    }


def _weak(method: Callable[[Sequence[Any], Mapping[str, Any]], None]) -> Callable[..., None]:
    """A hook that does not keep alive what it tells."""
    reference = weakref.WeakMethod(method)

    def hook(_: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        told = None if torch.compiler.is_compiling() else reference()  # a compiled step has no place for it
        if told is not None:
            told(args[1:], kwargs)  # the first one is the optimizer

    return hook
