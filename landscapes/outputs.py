"""What a user's module puts out, and what follows from it: accuracy, products with the Jacobian, activations.

Which of these a module has is found out on a few samples, once it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from landscapes import derivatives
from landscapes.batches import Batch, Tree
from landscapes.derivatives import Operator
from landscapes.model import Model
from landscapes.objective import line
from landscapes.selfcheck import Way

_IGNORED = -100  # torch's own mark of targets that are left out
_LEFT_OUT = -1  # no class that an output can have
_ACTIVATIONS = {
    "relu", "relu6", "elu", "selu", "celu", "leaky_relu", "prelu", "rrelu", "gelu", "silu", "mish", "softplus", "softsign",
    "tanh", "sigmoid", "hardtanh", "hardswish", "hardsigmoid", "logsigmoid", "tanhshrink", "hardshrink", "softshrink",
    "threshold", "glu",
}  # fmt: skip
_NO_CLASSES = "the targets are no classes, which are whole numbers or rows with a one for the class"
_SOFTMAX = (functional.cross_entropy, functional.nll_loss)
_CLOSE = 1e-6  # relative: two ways to the same gradient


class Unclear(ValueError):
    """Why a module has no such thing, in words that end a sentence."""


class Outputs:
    """The outputs of a model, and what their shape and their targets allow."""

    def __init__(self, model: Model):
        self._model = model

    # ---------------------------------------------------------------- classes

    @cached_property
    def no_classes(self) -> str:
        """Why there is no accuracy; empty where there is one."""
        return _reason(self._examine_classes)

    def _examine_classes(self) -> None:
        axis, count = self._classes
        for batch in self._model.everything:
            _indices(batch.targets, count, self._model.objective.loss_fn)

    @cached_property
    def _classes(self) -> tuple[int, int]:
        """Which axis of the outputs holds one number for each class, and how many there are."""
        outputs = self._of(self._model.tried)
        axis = _axis(outputs, self._model.tried.targets, self._model.objective.loss_fn)
        return axis, outputs.shape[axis]

    def accuracy(self, params: Tensor, blocks: list[Batch]) -> Tensor:
        """The share () of the targets of some batches whose class has the largest output, at params (dim,)."""
        axis, count = self._classes
        right = counted = params.new_zeros(())
        for block in blocks:
            found = self._model.outputs(params, block.inputs).argmax(axis)
            wanted = _indices(block.targets, count, self._model.objective.loss_fn)
            right, counted = right + (found == wanted).sum(), counted + (wanted != _LEFT_OUT).sum()
        return right / counted

    @property
    def softmax(self) -> int | None:
        """How many classes the loss tells apart, where it is torch's cross-entropy."""
        return self._classes[1] if _is_softmax(self._model.objective.loss_fn) and not self.no_classes else None

    # ---------------------------------------------------------------- the Jacobian

    @cached_property
    def no_jacobian(self) -> str:
        """Why there are no products with the Jacobian of the outputs; empty where there are."""
        return _reason(self._examine_jacobian)

    def _examine_jacobian(self) -> None:
        if self._model.curvature.way is not Way.DOUBLE_BACKWARD:
            raise Unclear(
                "the module cannot be differentiated twice, as products with the Jacobian of its outputs need"
            )
        at = self._linearized(self._model.initial, self._model.tried)
        at.pull(at.push(torch.ones_like(self._model.initial)))

    @cached_property
    def no_gauss_newton(self) -> str:
        return self.no_jacobian or _reason(self._examine_gauss_newton)

    def _examine_gauss_newton(self) -> None:
        """The loss has to be a function of outputs and targets alone: then the chain rule gives its gradient."""
        model, tried = self._model, self._model.tried
        at = self._linearized(model.initial, tried)
        loss = partial(model.judged, targets=tried.targets, like=model.initial)
        _, slope = derivatives.value_and_grad(loss, at.outputs)
        _, grad = derivatives.value_and_grad(lambda point: model.loss(point, tried), model.initial)
        close = max(_CLOSE, torch.finfo(model.initial.dtype).eps ** 0.5)
        if not bool((at.pull(slope) - grad).norm() <= close * grad.norm()):
            raise Unclear("the loss depends on the parameters in other ways than through the module's outputs")
        if not bool(derivatives.hessian_operator(loss, at.outputs)(_noise(at.outputs)).any()):
            raise Unclear(
                "the loss is linear in the module's outputs, so that its Gauss-Newton matrix is zero: let the module return what "
                "its loss is computed from"
            )

    def tangent(self, params: Tensor, block: Batch) -> Operator:
        """v -> J' J v at params (dim,)."""
        at = self._linearized(params, block)
        return lambda vector: at.pull(at.push(vector))

    def gauss_newton(self, params: Tensor, block: Batch) -> Operator:
        """v -> J' H J v at params (dim,), with the Hessian H of the block's loss in its outputs."""
        at = self._linearized(params, block)
        curved = derivatives.hessian_operator(
            partial(self._model.judged, targets=block.targets, like=params), at.outputs
        )
        return lambda vector: at.pull(curved(at.push(vector)))

    def _linearized(self, params: Tensor, block: Batch) -> derivatives.Linearized:
        return derivatives.linearized(lambda point: single(self._model.outputs(point, block.inputs)), params)

    def _of(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return single(self._model.outputs(self._model.initial, batch.inputs))

    # ---------------------------------------------------------------- activations

    @cached_property
    def no_activations(self) -> str:
        """Why there is no sparsity of activations; empty where there is."""
        return _reason(self._examine_activations)

    def _examine_activations(self) -> None:
        if not self._activations(self._model.initial, self._model.tried.inputs, 0.0)[1]:
            raise Unclear("the module calls no activation function of torch inside, such as ReLU or tanh")

    def sparsity(self, params: Tensor, blocks: list[Batch], threshold: float) -> Tensor:
        """The share () of activations inside that are at most `threshold` in size, at params (dim,)."""
        counts = [self._activations(params, block.inputs, threshold) for block in blocks]
        return params.new_tensor(sum(small for small, _ in counts) / sum(size for _, size in counts))

    def _activations(self, params: Tensor, inputs: Tree, threshold: float) -> tuple[int, int]:
        """How many activations are small, and how many there are, without those that are the module's outputs."""
        counts: list[tuple[int, int]] = []
        last: list[Tensor] = []

        def note(signal: Tensor) -> None:
            counts.append((int((signal.abs() <= threshold).sum()), signal.numel()))
            last[:] = [signal]

        with _Activations(note), torch.no_grad():
            outputs = self._model.outputs(params, inputs)
        if last and isinstance(outputs, Tensor) and torch.equal(last[0].to(outputs), outputs):
            counts.pop()
        return sum(small for small, _ in counts), sum(size for _, size in counts)


class _Activations(TorchFunctionMode):
    """Within it `note` is told of what activation functions return, called by layers or directly."""

    def __init__(self, note: Callable[[Tensor], None]):
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "").removesuffix("_") in _ACTIVATIONS and isinstance(out, Tensor):
            self._note(out)
        return out


def _is_softmax(loss_fn: Any) -> bool:
    return isinstance(loss_fn, (nn.CrossEntropyLoss, nn.NLLLoss)) or loss_fn in _SOFTMAX


def single(outputs: Tree) -> Tensor:
    """The outputs, where they are one floating-point tensor."""
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        raise Unclear("the module returns no single tensor of numbers")
    return outputs


def _axis(outputs: Tensor, targets: Any, loss_fn: Any) -> int:
    """Which axis of the outputs holds one number for each class: the one that targets of classes do not have.

    Raises Unclear where there is none, or where it may be one or the other.
    """
    if not isinstance(targets, Tensor):
        raise Unclear("the targets are no single tensor")
    if targets.is_floating_point():
        if targets.shape != outputs.shape or outputs.ndim != 2:
            raise Unclear(_NO_CLASSES)
        fitting = [1]
    else:
        shapes = {axis: outputs.shape[:axis] + outputs.shape[axis + 1 :] for axis in {1, outputs.ndim - 1} if axis > 0}
        fitting = [axis for axis, shape in shapes.items() if shape == targets.shape]
    if len(fitting) > 1 and _is_softmax(loss_fn):
        fitting = [1]
    if len(fitting) != 1 or outputs.shape[fitting[0]] < 2:
        raise Unclear(
            f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} do not say which numbers belong to which class"
        )
    return fitting[0]


def _indices(targets: Tensor, count: int, loss_fn: Any) -> Tensor:
    """The classes of targets, as indices or as rows with a one for the class, and _LEFT_OUT where they do not count.

    Raises Unclear for what are no classes.
    """
    if targets.is_floating_point():
        whole = bool((((targets == 0) | (targets == 1)).all(1) & (targets.sum(1) == 1)).all())
        if not whole:
            raise Unclear(_NO_CLASSES)
        return targets.argmax(1)
    ignored = targets == getattr(loss_fn, "ignore_index", _IGNORED)
    kept = targets[~ignored]
    if kept.numel() and not (int(kept.min()) >= 0 and int(kept.max()) < count):
        raise Unclear(f"the targets are no classes from 0 to {count - 1}, as many as the module tells apart")
    return targets.masked_fill(ignored, _LEFT_OUT).long()


def _noise(like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(like)


def _reason(examine: Callable[[], None]) -> str:
    try:
        examine()
    except Unclear as why:
        return str(why)
    except Exception as failure:  # whatever a user's code raises
        return f"the module or its loss does not take it ({line(failure).rstrip('.')})"
    return ""
