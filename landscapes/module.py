"""Any torch.nn.Module with a loss and data as a Landscape: bring your own model.

The module is copied, so that neither it nor the landscape feels what is done to the other later. Its parameters become one
flat vector; buffers and frozen parameters are constants. Where an operation of it does not support batching over runs or a
second derivative, a slower way is taken, and `notes` and a warning say so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from landscapes import derivatives
from landscapes.batches import Batch, Tree, collected
from landscapes.derivatives import Operator
from landscapes.landscape import Layout, Trait
from landscapes.learner import SCORES, Learner, Score
from landscapes.model import KEPT_BYTES, Model, NoLoss
from landscapes.objective import LossFunction, Objective
from landscapes.outputs import Outputs
from landscapes.reduction import Reduction
from landscapes.selfcheck import Way

_GRAPHS = 4  # of a gradient, that derivatives of it take at most

Work = tuple[Tensor, list[derivatives.Loss]]  # runs (runs, dim), and the terms whose sum is their loss


def from_module(
    module: nn.Module,
    loss_fn: LossFunction,
    data: Any,
    *,
    training: bool | None = None,
    dropout: int | None = None,
    test: Any = None,
    limit: int | None = None,
) -> ModuleLandscape:
    """The landscape of `loss_fn(module(inputs), targets)` over the module's trainable parameters.

    data: (inputs, targets), where inputs may be a tuple for several arguments or a dictionary for keyword arguments; a
    mapping, for `loss_fn(module(**mapping), mapping)`; a tensor, for `loss_fn(module(inputs), inputs)`; a Dataset; or an
    iterable of such batches, for example a DataLoader, of which at most `limit` samples are taken. Arrays count as tensors. A
    tensor that requires a gradient still does where the loss is computed. Batches are joined where they differ in samples
    alone; others are kept apart, and count as much as they have samples. The loss of a batch is to be the mean over its
    samples; of a sum, the landscape is the sum over all samples (see `ModuleLandscape.reduction`); any other is evaluated on
    the batches as they come.
    loss_fn: a function, whose penalties on the module's parameters follow them, or a module, whose own trainable parameters
    are parameters of the landscape as loss_fn.NAME. The module may checkpoint activations, remember earlier calls (each
    evaluation starts from the state in which it was given), or be wrapped by DataParallel, DistributedDataParallel or
    torch.compile.
    training: whether layers such as batch norm behave as in training (the statistics of the batch that is evaluated) or as
    in use (their running statistics); by default each as the module stands. dropout: None for none, or the seed of masks
    that are the same at every evaluation. test: held-out data in the same forms, for test loss and accuracy.

    Raises TypeError for what is no module, loss or data, ValueError where the loss cannot be computed or does not depend on
    the parameters.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is a {type(module).__name__}: it must be a torch.nn.Module.")
    if not callable(loss_fn):
        raise TypeError("loss_fn must be callable as loss_fn(outputs, targets), such as torch.nn.functional.mse_loss.")
    if torch.is_inference_mode_enabled():
        raise ValueError("from_module needs gradients: call it outside torch.inference_mode().")
    if any(isinstance(one, UninitializedParameter) for one in module.parameters()):
        raise ValueError("The module has parameters without a shape yet: call it once on a batch before.")
    if not any(one.requires_grad for one in module.parameters()):
        raise ValueError("The module has no parameter that requires a gradient: there is nothing to move.")
    if odd := [name for name, one in module.named_parameters() if one.requires_grad and one.is_complex()]:
        raise ValueError(
            f"The parameter {odd[0]} is complex: a landscape has real ones. Let the module hold its real and imaginary part, "
            "as torch.view_as_real gives them."
        )
    held_out = None if test is None else collected(test)
    batches = collected(data, limit)
    try:
        model = Model(Objective(module, loss_fn, training, dropout), batches, held_out)
    except NoLoss as refusal:
        few = "" if limit is None else f" Of the data, at most limit = {limit} samples were taken."
        raise ValueError(f"{refusal}{few}") from refusal.__cause__
    for note in model.notes:
        warnings.warn(note, RuntimeWarning, stacklevel=2)
    return ModuleLandscape(model)


@dataclass(frozen=True)
class ModuleLandscape(Learner):
    """The loss of a user's module; equal to another only if made by the same call of `from_module`."""

    name, label = "module", "Your module"
    reads = "Your own model, on your own data."
    reference = "your own"
    model: Model

    @property
    def equation(self) -> str:
        if self.reduction == "other":
            return r"\ell\left(f_w(x),\; y\right)"
        return (r"\frac{1}{n}" if self.reduction == "mean" else "") + r"\sum_i \ell\left(f_w(x_i),\; y_i\right)"

    @property
    def layout(self) -> Layout:
        return self.model.layout

    @property
    def samples(self) -> int | None:
        return self.model.samples

    @property
    def coupled(self) -> bool:
        return self.model.coupled

    @property
    def reduction(self) -> Reduction:
        return self.model.reduction

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what the module does not support, and what is done instead."""
        return tuple(self.model.notes)

    def follow(self, module: nn.Module) -> bool:
        """Takes over what does not move, frozen parameters and buffers, from the module that was copied, as it is now.

        False, and nothing is taken over, if other parameters of it are trainable now: then it is another landscape.
        """
        return self.model.follow(module)

    def trainable(self, module: nn.Module) -> dict[str, Tensor]:
        """The live parameters of the module that was copied, and of the loss, in the order in which they lie in the vector."""
        live = self.model.objective.live(module)
        return {block.name: live[block.name] for block in self.layout.blocks}

    def start(
        self, runs: int = 1, seed: int = 0, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Starting points (runs, dim): first the module's own parameters, whatever the seed.

        The others have every layer with a `reset_parameters` initialised again, and the rest of the parameters perturbed by
        a tenth of their root mean square.
        """
        self._check_start(runs, seed, dtype)
        generator = torch.Generator().manual_seed(seed % 2**63)
        rows = [self.model.initial if run == 0 else self.model.restarted(generator) for run in range(runs)]
        empty = self.model.initial.new_empty(0, self.dim)
        return torch.cat([empty, *(row[None] for row in rows)]).to(dtype=dtype, device=device)

    def training_set(self, like: Tensor) -> tuple[Tree, Tree]:
        """Inputs and targets in the dtype and on the device of `like`; shared, never to be changed."""
        return self._single(self.model.training(like))

    def test_set(self, like: Tensor) -> tuple[Tree, Tree] | None:
        """The same of the held-out data; None where none were given."""
        batches = self.model.testing(like)
        return None if batches is None else self._single(batches)

    def _single(self, batches: list[Batch]) -> Batch:
        if len(batches) > 1:
            raise ValueError("The batches of these data are kept apart: there is no single set of inputs and targets.")
        return batches[0]

    def outputs(self, params: Tensor, inputs: Tree) -> Tree:
        """What the module returns for params (..., dim), stacked to (..., n, c) where it returns a tensor."""
        self._check(params, None)
        flat = params.reshape(-1, self.dim)
        if params.ndim == 1:
            return self.model.outputs(params, inputs)
        rows = [self.model.outputs(one, inputs) for one in flat]
        if not all(isinstance(row, Tensor) for row in rows):
            raise ValueError(
                "The module returns no single tensor: ask for the outputs of one parameter vector at a time."
            )
        return torch.stack(rows).reshape(*params.shape[:-1], *rows[0].shape)

    @property
    def _seen(self) -> Outputs:
        # One for all landscapes of a model: what was found out by running it is not found out again.
        seen: Outputs = vars(self.model).setdefault("seen", Outputs(self.model))
        return seen

    def lacks(self, trait: Trait) -> str:
        match trait:
            case "samples" if self.samples is None:
                return "Your data are no set of samples that mini-batches could be drawn from"
            case "classes":
                return self._seen.no_classes
            case "test samples" if not self.model.test_blocks(self.model.initial):
                return "there are no test samples (give test=... to from_module)"
            case "jacobian":
                unknown = "" if self.model.size else "how many samples the data hold cannot be told"
                return self._seen.no_jacobian or unknown
            case "gauss_newton":
                return self._seen.no_gauss_newton
            case "activations":
                return self._seen.no_activations
        return ""

    @property
    def softmax(self) -> int | None:
        return self._seen.softmax

    def score(self, name: Score, params: Tensor) -> Tensor:
        self._check(params, None)
        self._need(*SCORES[name])
        if name == "test_loss":
            return self._sums(params, self.model.test_blocks(params))
        blocks = self.model.blocks(params) if name == "accuracy" else self.model.test_blocks(params)
        return self._by_run(lambda run: self._seen.accuracy(run, [block for _, block in blocks]), params)

    def sparsity(self, params: Tensor, threshold: float) -> Tensor:
        self._need("activations")
        blocks = [block for _, block in self.model.blocks(params)]
        return self._by_run(lambda run: self._seen.sparsity(run, blocks, threshold), params)

    def tangent_operator(self, params: Tensor) -> Operator:
        self._need("jacobian")
        share = 1 / (self.model.size or 1)
        return self._added([(share, block) for _, block in self.model.blocks(params)], self._seen.tangent, params)

    def gauss_newton_operator(self, params: Tensor) -> Operator:
        self._need("gauss_newton")
        return self._added(self.model.blocks(params), self._seen.gauss_newton, params)

    def _need(self, *traits: Trait) -> None:
        for trait in traits:
            if why := self.lacks(trait):
                raise ValueError(f"{self.label} does not allow this: {why}.")

    def _by_run(self, measure: Callable[[Tensor], Tensor], params: Tensor) -> Tensor:
        rows = [params.new_empty(0), *(measure(run).reshape(1).to(params) for run in params.reshape(-1, self.dim))]
        return torch.cat(rows).reshape(params.shape[:-1])

    def _added(
        self, blocks: list[tuple[float, Batch]], maker: Callable[[Tensor, Batch], Operator], params: Tensor
    ) -> Operator:
        """The sum over blocks, each with its factor, of the operators that `maker` makes for each run."""
        runs = params.detach().reshape(-1, self.dim)
        makers = [[(share, partial(maker, run, block)) for share, block in blocks] for run in runs]
        if len(runs) * self.model.graph_bytes(params) <= KEPT_BYTES:
            makers = [[(share, partial(_same, make())) for share, make in row] for row in makers]

        def product(vectors: Tensor) -> Tensor:
            own = vectors.reshape(-1, self.dim)
            rows = [
                torch.stack([share * make()(one) for share, make in row]).sum(0)
                for row, one in zip(makers, own, strict=True)
            ]
            return torch.stack(rows).reshape(vectors.shape) if rows else vectors.clone()

        return product

    @property
    def live(self) -> int:
        one = torch.empty(0, dtype=torch.float32)
        return int(_GRAPHS * self.model.graph_bytes(one) / one.element_size())

    def chunk(self, params: Tensor) -> int:
        return self.model.chunk(params)

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        if batch is None:
            return self._sums(params, self.model.blocks(params))
        return self._added_up(params, self._work(params, batch))

    def _sums(self, params: Tensor, blocks: list[tuple[float, Batch]]) -> Tensor:
        """The losses of some blocks, added up with their factors: (..., dim) -> (...)."""
        return self._added_up(params, self._shared(params, blocks))

    def _added_up(self, params: Tensor, work: Iterator[Work]) -> Tensor:
        losses = [params.new_empty(0)]
        for rows, terms in work:
            losses.append(torch.stack([term(rows) for term in terms]).sum(0))
        return torch.cat(losses).reshape(params.shape[:-1])

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        losses, grads = [params.new_empty(0)], [params.new_empty(0, self.dim)]
        for rows, terms in self._work(params, batch):
            parts = [derivatives.value_and_grad(term, rows) for term in terms]
            losses.append(torch.stack([loss for loss, _ in parts]).sum(0))
            grads.append(torch.stack([grad for _, grad in parts]).sum(0))
        return torch.cat(losses).reshape(params.shape[:-1]), torch.cat(grads).reshape(params.shape)

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Callable[[Tensor], Tensor]:
        way, reason, _ = self.model.curvature
        if way is Way.NONE:
            raise ValueError(reason)
        if way is Way.DIFFERENCES:
            return self._differences(params, batch)
        work = list(self._work(params, batch))
        runs = sum(len(rows) for rows, _ in work)
        makers = [[partial(derivatives.hessian_operator, term, rows) for term in terms] for rows, terms in work]
        if runs * self.model.graph_bytes(params) <= KEPT_BYTES:
            makers = [[partial(_same, make()) for make in row] for row in makers]

        def product(vectors: Tensor) -> Tensor:
            pieces = vectors.reshape(-1, self.dim).split([len(rows) for rows, _ in work])
            out = [torch.stack([make()(own) for make in row]).sum(0) for row, own in zip(makers, pieces, strict=True)]
            return torch.cat([vectors.new_empty(0, self.dim), *out]).reshape(vectors.shape)

        return product

    def _differences(self, params: Tensor, batch: Tensor | None) -> Callable[[Tensor], Tensor]:
        """In float64 where that is to be had: in float32 no step is short enough for kinks and long enough for rounding."""
        dtype = params.dtype if params.device.type == "mps" else self.model.precision or torch.float64
        exact = params.to(dtype)
        operator = derivatives.hessian_by_differences(lambda point: self._value_and_grad(point, batch)[1], exact)
        return lambda vectors: operator(vectors.to(dtype)).to(params.dtype)

    def _work(self, params: Tensor, batch: Tensor | None) -> Iterator[Work]:
        """Chunks of runs, each with the terms whose sum is its loss."""
        if batch is None:
            yield from self._shared(params, self.model.blocks(params))
            return
        flat = params.reshape(-1, self.dim)
        chunks = flat.split(self.chunk(flat)) if len(flat) else ()
        whole = self._single(self.model.training(params))
        batch = batch.to(params.device)
        if batch.ndim == 1:
            picked = whole.taken(batch)
            for rows in chunks:
                yield rows, [partial(self._term, 1.0, picked, False)]
            return
        try:
            indices = batch.expand(*params.shape[:-1], batch.shape[-1]).reshape(len(flat), -1)
        except RuntimeError:
            raise ValueError(
                f"batch has shape {tuple(batch.shape)}: it must be (b,), or one set of samples a run as in "
                f"{(*params.shape[:-1], 'b')}."
            ) from None
        for rows, own in zip(chunks, indices.split(self.chunk(flat)), strict=True):
            yield rows, [partial(self._term, 1.0, whole.mapped(partial(_taken, own)), True)]

    def _shared(self, params: Tensor, blocks: list[tuple[float, Batch]]) -> Iterator[Work]:
        """Chunks of runs, all with the same blocks of samples."""
        flat = params.reshape(-1, self.dim)
        terms: list[derivatives.Loss] = [partial(self._term, share, block, False) for share, block in blocks]
        yield from ((rows, terms) for rows in (flat.split(self.chunk(flat)) if len(flat) else ()))

    def _term(self, share: float, block: Batch, own_batches: bool, rows: Tensor) -> Tensor:
        return share * self.model.losses(rows, block, own_batches)


def _same(operator: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return operator


def _taken(indices: Tensor, leaf: Tensor) -> Tensor:
    return leaf[indices]
