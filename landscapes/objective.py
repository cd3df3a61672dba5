"""A user's module and loss as one function of named tensors: every call finds them as they were given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscapes import derivatives, execution
from landscapes.batches import arguments
from landscapes.copies import Whole, copied, observers_removed, plain_state, rebound, twins, uncopyable

LossFunction = Callable[[Any, Any], Tensor]
Note = Callable[[nn.Module, Any, Any], None]
_SPECTRAL = ("_SpectralNorm", "SpectralNorm")  # a parametrization of torch's, and the hook that it had before
_ULPS = 100  # in which the same computation may differ from call to call, where a kernel splits its sums otherwise
_HALF = 0.05  # at most, as a share, in half precision
_STALE = float(
    "nan"
)  # what a copy holds where a call puts its own tensors: nothing else is ever to be computed from it


class Objective:
    """The loss of a module, called as `execution` says, in copies of what it was made of; safe in threads.

    A copy serves all calls of its thread, by torch's functional_call, where that is found to be the same as a copy for
    each call: a module may remember an earlier call, keep its parameters in a list of its own, or compute with them again
    during the backward pass. `alone` then gives each call a copy, in which the call's tensors are the only ones.
    """

    def __init__(self, module: nn.Module, loss_fn: LossFunction, training: bool | None, dropout: int | None):
        self._given = Whole(module, loss_fn)
        self.whole = _first_copy(self._given)
        self.dropout = dropout
        self._set(training)
        self.alone, self.stochastic, self.math_attention = True, False, False
        self.as_it_stands = False  # does every tensor keep its own precision, whatever the parameters of a call have?
        self.answered: set[str] = set()  # what the module asked of torch that was done in another way
        self._dtypes: set[torch.dtype] | None = None
        self._captured = False  # does the loss hold the module or its parameters by itself?
        self._names = _short(self.whole)
        self._local = threading.local()
        self._copying = threading.Lock()

    def _set(self, training: bool | None) -> None:
        """Layers behave as in training or in use, and keep no account of what they saw."""
        if training is not None:
            self.whole.module.train(training)
        for layer in self.whole.modules():
            if isinstance(layer, nn.modules.dropout._DropoutNd) and self.dropout is not None:
                layer.train()
            if isinstance(layer, nn.modules.batchnorm._NormBase) and layer.training:
                # Statistics of the batch alone: running ones would make the loss depend on what was evaluated before.
                layer.track_running_stats = False
                layer.running_mean = layer.running_var = layer.num_batches_tracked = None

    @property
    def iterates(self) -> bool:
        """Does a layer divide by its spectral norm, after a step towards it that its gradient does not follow?"""
        return any(
            layer.training
            and any(type(one).__name__ in _SPECTRAL for one in (layer, *layer._forward_pre_hooks.values()))
            for layer in self.whole.modules()
        )

    # ---------------------------------------------------------------- tensors

    def tensors(self, whole: nn.Module | None = None) -> dict[str, Tensor]:
        """Parameters and then buffers of the module and, as loss_fn.NAME, of a loss that is a module: those of the copy
        that was made, or of another one.
        """
        whole = self.whole if whole is None else whole
        names = _short(whole)
        return {names[name]: one for name, one in _named(whole)}

    @property
    def of_module(self) -> set[str]:
        """The names of tensors that are the module's, and not the loss's alone."""
        return {short for name, short in self._names.items() if name.startswith("module.")}

    def live(self, module: nn.Module) -> dict[str, Tensor]:
        """The same of a module like the one that was copied, and of the loss, as they are now."""
        return self.tensors(Whole(module, self._given.loss_fn))

    # ---------------------------------------------------------------- calling

    @property
    def loss_fn(self) -> LossFunction:
        return self._given.loss_fn

    def loss(self, tensors: Mapping[str, Tensor], inputs: Any, targets: Any, like: Tensor) -> Any:
        return self._call(lambda whole: self._score(whole, tensors)(_outputs(whole, inputs), targets), tensors, like)

    def outputs(self, tensors: Mapping[str, Tensor], inputs: Any, like: Tensor) -> Any:
        return self._call(lambda whole: _outputs(whole, inputs), tensors, like)

    def judged(self, tensors: Mapping[str, Tensor], outputs: Any, targets: Any, like: Tensor) -> Any:
        """What the loss makes of given outputs."""
        return self._call(lambda whole: self._score(whole, tensors)(outputs, targets), tensors, like)

    @contextmanager
    def observed(self, note: Note) -> Iterator[None]:
        """Within it `note(layer, args, outputs)` is told of the layers that this thread calls."""
        self._local.observers = [note]
        try:
            yield
        finally:
            self._local.observers = []

    @contextmanager
    def computing(self) -> Iterator[set[torch.dtype]]:
        """Collects the precisions of the results that depend on the parameters."""
        self._dtypes = set()
        try:
            yield self._dtypes
        finally:
            self._dtypes = None

    def _call(self, work: Callable[[Whole], Any], tensors: Mapping[str, Tensor], like: Tensor) -> Any:
        named = {name: tensors[short] for name, short in self._names.items()}
        whole = copied(self.whole, partial(self._place, like), self._instead(named)) if self.alone else self._own(like)
        with self._executing(whole, like):
            return whole(work) if self.alone else functional_call(whole, named, (work,))

    def _score(self, whole: Whole, tensors: Mapping[str, Tensor]) -> LossFunction:
        """The loss of the copy, which knows of it whatever it knew of the module."""
        if not self._captured:
            return whole.loss_fn
        given = {name: one for name, one in _named(self._given) if name in self._names}
        instead: dict[int, Any] = {id(one): tensors[self._names[name]] for name, one in given.items()}
        instead |= {id(one): twin for one, twin in twins(self._given.module, whole.module)}
        scored: LossFunction = rebound(whole.loss_fn, instead)
        return scored

    def _instead(self, named: Mapping[str, Tensor]) -> dict[int, Tensor]:
        return {id(one): named[name] for name, one in _named(self.whole)}

    def _own(self, like: Tensor) -> Whole:
        """This thread's copy for tensors like these: while it is called, a module holds the tensors of the call."""
        kept: dict[Any, Whole] = self._local.__dict__.setdefault("kept", {})
        key = (like.dtype, like.device, self.as_it_stands)
        if key not in kept:
            with self._copying, torch.inference_mode(False):
                kept[key] = copied(self.whole, partial(self._place, like))
            for one in (*kept[key].parameters(), *kept[key].buffers()):
                if one.is_floating_point():
                    one.data.fill_(_STALE)
        return kept[key]

    def _place(self, like: Tensor, leaf: Tensor) -> Tensor:
        kept = self.as_it_stands or not leaf.is_floating_point()
        return leaf.to(like.device, leaf.dtype if kept else like.dtype)

    @contextmanager
    def _executing(self, whole: Whole, like: Tensor) -> Iterator[None]:
        """What is drawn at random is the same at every evaluation, and who observes this thread is told of its calls."""
        with ExitStack() as stack:
            for note in getattr(self._local, "observers", ()):
                for layer in whole.module.modules():
                    stack.callback(layer.register_forward_hook(note).remove)
            if self.stochastic:
                stack.enter_context(execution.draws_of(self.dropout or 0, like.device))
            stack.enter_context(execution.checkpoints_run_directly())
            stack.enter_context(
                execution.Plainly(self.dropout is not None, self.math_attention, self.answered, self._dtypes)
            )
            yield

    # ---------------------------------------------------------------- how it can be called

    def settle(self, loss: Callable[[Tensor], Tensor], points: list[Tensor]) -> Iterator[str]:
        """Finds out by `loss(params)`, at points (dim,), how calls are to be made; sentences about that.

        Raises ValueError, with the remedy, where no way is right.
        """
        truth = [derivatives.value_and_grad(loss, point) for point in points]
        if bool(truth[0][0].isnan()):
            self._refuse_stale(loss, points[0])
        yield from self._settle_hooks(loss, points, truth)
        again = [loss(point) for point in points]
        if not all(_alike(one, value) for one, (value, _) in zip(again, truth, strict=True)):
            raise ValueError(
                f"The loss is {float(truth[0][0]):.6g} at one call and {float(again[0]):.6g} at the next, with the same parameters: "
                "something outside the module remembers earlier calls, or it draws from a generator of its own. Let each call "
                "start from the same state, or keep that state on the module, of which every evaluation can have a copy."
            )
        self.alone = False
        reason = self._why_alone(loss, points, truth)
        if reason:
            self.alone = True
            yield reason

    def settle_captured(self, loss: Callable[[Tensor], Tensor], point: Tensor, in_inputs: bool) -> Iterator[str]:
        """Does the loss take the module's parameters from the module itself, as a penalty on them may, and not from the call?

        The graph of a loss that differentiates in its inputs leads to them too. Sentences and errors as in `settle`.
        """
        given = {id(one) for one in self._given.parameters()}

        def reached() -> list[Tensor]:
            found, adds = derivatives.beside(loss, point)
            if adds:
                raise ValueError(
                    "The backward pass of the module adds to the gradients of its parameters by itself, as a reversible block "
                    "with torch.autograd.backward inside does: what torch.autograd.grad returns then lacks it. Let the module "
                    "run without it for the landscape."
                )
            return found

        found = reached()
        if any(id(one) in given for one in found):
            self._captured = True
            found = reached()
        if any(id(one) in given for one in found):
            raise ValueError(
                "The loss reaches the module's parameters by another way than the call, where they cannot be exchanged: it holds "
                "the module somewhere deep. Let the module return what is needed beside its outputs, such as a penalty on its "
                "parameters, or let loss_fn hold the module directly."
            )
        again = {id(one) for one in reached()}  # without those that each call makes for itself
        found = [one for one in found if id(one) in again]
        if found and not in_inputs:
            yield (
                f"The loss also depends on {sum(one.numel() for one in found)} numbers that require a gradient and are no parameters "
                "of the module: they count as constants"
            )

    def _refuse_stale(self, loss: Callable[[Tensor], Tensor], point: Tensor) -> None:
        """Does the module compute with a tensor that it made of its parameters earlier, which is nan in every copy?"""
        kept, self.whole = self.whole, copied(self._given, stale=0.0)
        if not bool(loss(point).isnan()):
            raise ValueError(
                "The module computes with a tensor that it made of its parameters earlier and does not make again in a call: "
                "it does not follow the parameters. Compute it in forward."
            )
        self.whole = kept

    def _settle_hooks(
        self, loss: Callable[[Tensor], Tensor], points: list[Tensor], truth: list[tuple[Tensor, Tensor]]
    ) -> Iterator[str]:
        """Hooks that only look on are left out, so that nothing outside sees what a landscape does."""
        kept = self.whole
        self.whole = copied(kept)
        if not observers_removed(self.whole):
            self.whole = kept
        elif self._differs(loss, points, truth):
            self.whole = kept
            yield "Hooks of the module take part in what it computes: they are called at every evaluation"
        hooked = [name for name, one in self._given.named_parameters() if one._backward_hooks]
        if hooked:
            yield (
                f"A hook of the parameter {_short(self._given)[hooked[0]]} may change its gradient in training; it is left out "
                "here: gradient and curvature are the loss's own"
            )

    def _differs(
        self, loss: Callable[[Tensor], Tensor], points: list[Tensor], truth: list[tuple[Tensor, Tensor]]
    ) -> bool:
        """Does a way of calling give another loss or gradient?"""
        try:
            found = [derivatives.value_and_grad(loss, point) for point in points]
        except Exception:  # whatever a user's code raises
            return True
        return not all(
            _alike(a, b) for one, other in zip(found, truth, strict=True) for a, b in zip(one, other, strict=True)
        )

    def _why_alone(
        self, loss: Callable[[Tensor], Tensor], points: list[Tensor], truth: list[tuple[Tensor, Tensor]]
    ) -> str:
        """Why one copy cannot serve all calls; empty if it can."""
        first = points[:1], truth[:1]
        differs = self._differs(loss, *first)
        before = plain_state(self._own(points[0]))
        differs = self._differs(loss, *first) or differs
        after = plain_state(self._own(points[0]))
        changed = [name for name, value in after.items() if before.get(name) != value]
        if changed:
            return (
                f"The module remembers earlier calls ({', '.join(changed[:3])}{', ...' if changed[3:] else ''}): every evaluation "
                "starts from the state in which it was given"
            )
        if differs or self._differs(loss, points, truth):
            return "Every evaluation works on a copy of the module, because its parameters cannot be exchanged in place"
        return ""


def _first_copy(given: Whole) -> Whole:
    """A copy that shares with the original what cannot be copied. Raises ValueError where a module itself cannot be."""
    try:
        return copied(given)
    except ValueError:
        raise
    except Exception:  # whatever a user's object raises
        given.shared += uncopyable(given)
    try:
        return copied(given)
    except Exception as failure:
        raise ValueError(f"The module cannot be copied: {line(failure)}") from failure


def _outputs(whole: Whole, inputs: Any) -> Any:
    args, kwargs = arguments(inputs)
    return whole.module(*args, **kwargs)


def _named(whole: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from whole.named_parameters()
    yield from whole.named_buffers()


def _short(whole: nn.Module) -> dict[str, str]:
    """The names of tensors as a user knows them, by their names in a Whole."""
    names: dict[str, str] = {}
    for name, _ in _named(whole):
        short = name.removeprefix("module.")
        while short in names.values():  # a part of the module is called loss_fn
            short = f"loss_fn.{short}"
        names[name] = short
    return names


def _alike(one: Tensor, other: Tensor) -> bool:
    """The same numbers, but for the order in which they were summed."""
    slack = min(_ULPS * torch.finfo(other.dtype).eps, _HALF)
    close = (one - other).norm() <= slack * other.norm()
    return bool(close) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def line(failure: BaseException) -> str:
    """The kind of failure and the first line of what it says, as the end of a sentence."""
    lines = str(failure).strip().splitlines()
    said = lines[0].split(". ")[0].rstrip(".")[:300] if lines else ""
    return f"{type(failure).__name__}{': ' if said else ''}{said}."
