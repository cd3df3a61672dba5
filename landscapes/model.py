"""A torch.nn.Module with its loss and data as a pure function of flat parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice, pairwise, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from landscapes import derivatives, execution, selfcheck
from landscapes.batches import Batch, Tree, frame, joined, leaves, mapped
from landscapes.copies import copied
from landscapes.landscape import Layout
from landscapes.objective import Objective, line
from landscapes.reduction import Kind, Reduction, kind, said
from landscapes.selfcheck import Finding, Way

_BLOCK = 512  # samples evaluated at once, so that activations stay in the cache
KEPT_BYTES = 2 << 30  # of the graph that products by double backward go through; beyond, each block's is built anew
_GRAPH_WIDTHS = 6  # how many times the widest layer a graph holds about, where it cannot be counted
_CACHE_BYTES = 2 << 20  # what the runs evaluated together may keep live on a CPU core
_GPU_SHARE = 4  # on a GPU they may take a quarter of the free memory
_TRIAL = 8  # samples on which a new landscape is tried out
_CHECKED, _LARGE = (
    4,
    1 << 16,
)  # half of them where all would put out so many numbers: second derivatives are dear to check
_POWER = (
    "where spectral norm in training mode takes the step of its power iteration, which depends on the weights, for constant "
    "(with training=False it takes none)"
)
_KINDS = 8  # batches that differ in what they hold, of which the loss is looked at
_ROUGH = 1e-4  # relative rounding from which on differences of gradients say nothing
_PERTURBATION = 0.1  # of a tensor's own size: how far other starts lie where a layer cannot be initialised again


class NoLoss(ValueError):
    """The module and its loss cannot be evaluated on the data."""


class Model:
    """A module with its loss and data as a pure function of flat parameters. Made by `from_module`; safe in threads."""

    def __init__(
        self,
        objective: Objective,
        batches: list[Batch],
        test: list[Batch] | None,
    ):
        self.objective = objective
        # Does the loss differentiate in inputs, as one that holds the residual of a differential equation?
        self._in_inputs = any(leaf.requires_grad for batch in batches for leaf in leaves(batch))
        self._given = self._batches = [batch.mapped(Tensor.detach) for batch in batches]
        self._test = None if test is None else [batch.mapped(Tensor.detach) for batch in test]
        tensors = objective.tensors()
        trainable = {name: one.detach() for name, one in tensors.items() if one.requires_grad}
        self._constants = {name: one.detach().clone() for name, one in tensors.items() if name not in trainable}
        self.layout = Layout.of((name, tuple(one.shape)) for name, one in trainable.items())
        self.initial = self.layout.pack(
            {name: one.float() if one.element_size() < 4 else one for name, one in trainable.items()}
        )
        self._placed: dict[tuple[torch.dtype, torch.device, str], Any] = {}
        self.notes: list[str] = []
        self.coupled = False
        self.curvature = Finding(Way.DOUBLE_BACKWARD)
        self.reduction: Reduction = "mean"
        self.together = True
        self._dtypes = {name: one.dtype for name, one in trainable.items()}
        self._narrow: torch.dtype | None = None  # the one precision in which the module computes
        self._inside = torch.float64  # the roughest in which it computes something that depends on its parameters
        self._width = 1.0  # numbers per sample of the widest layer
        self._graph = 0.0  # numbers per sample in the graph of a gradient
        self._examine()

    # ---------------------------------------------------------------- evaluating

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """The loss () at one parameter vector (dim,)."""
        inside, batch = self._narrowed(params), batch.mapped(self._narrowed)
        outside = torch.is_grad_enabled()
        if self._in_inputs:
            batch = batch.mapped(_free)
        with torch.set_grad_enabled(outside or self._in_inputs):
            value = _number(self.objective.loss(self._tensors(inside), *batch, inside), params)
        return value if outside else value.detach()

    def judged(self, outputs: Tree, targets: Tree, like: Tensor) -> Tensor:
        """The loss () of outputs against targets, in the dtype of `like`."""
        outputs, targets = (mapped(one, self._narrowed) for one in (outputs, targets))
        start = self._narrowed(self.initial.to(like))
        return _number(self.objective.judged(self._tensors(start), outputs, targets, start), like)

    def losses(self, params: Tensor, batch: Batch, own_batches: bool = False) -> Tensor:
        """The losses (runs,) at params (runs, dim); with `own_batches` the batch holds (runs, b, ...), one set a run."""
        if len(params) == 1 or not self.together:
            own = [_picked(batch, run) if own_batches else batch for run in range(len(params))]
            return torch.stack([self.loss(one, mine) for one, mine in zip(params, own, strict=True)])
        self._kept("constants", self._narrowed(params[0]))  # made outside vmap
        if not own_batches:
            return vmap(self.loss, in_dims=(0, None), randomness="same")(params, batch)

        def on_rows(point: Tensor, rows: list[Tensor]) -> Tensor:  # what is no tensor is the same for all
            return self.loss(point, batch.filled(rows))

        return vmap(on_rows, randomness="same")(params, batch.tensors)

    def outputs(self, params: Tensor, inputs: Tree) -> Tree:
        """What the module returns for one parameter vector (dim,)."""
        inside = self._narrowed(params)
        outputs = self.objective.outputs(self._tensors(inside), mapped(inputs, self._narrowed), inside)
        return mapped(outputs, lambda leaf: _cast(leaf, params.dtype))

    def _narrowed(self, leaf: Tensor) -> Tensor:
        return leaf if self._narrow is None else _cast(leaf, self._narrow)

    def _tensors(self, params: Tensor) -> dict[str, Tensor]:
        """All tensors of the module for one call, which may write into them: copies."""
        constants = {name: one.clone() for name, one in self._kept("constants", params).items()}
        moving = self.layout.unpack(params.clone())
        if self.objective.as_it_stands:
            moving = {name: one.to(self._dtypes[name]) for name, one in moving.items()}
        return constants | moving

    def chunk(self, params: Tensor) -> int:
        """How many runs to evaluate together (see Landscape.chunk)."""
        if not self.together:
            return 1
        samples = max((batch.samples or 1 for _, batch in self.blocks(params)), default=1)
        item = int(3 * samples * self._width + 2 * self.layout.dim) * params.element_size()
        if params.is_cuda:
            return max(1, torch.cuda.mem_get_info(params.device)[0] // _GPU_SHARE // item)
        return max(1, _CACHE_BYTES // item)

    def graph_bytes(self, like: Tensor) -> float:
        """About how much memory the graph of one run's gradient takes, for all data."""
        return sum(batch.samples or 1 for batch in self._batches) * self._graph * like.element_size()

    # ---------------------------------------------------------------- data

    @property
    def samples(self) -> int | None:
        return self._batches[0].samples if len(self._batches) == 1 else None

    @property
    def everything(self) -> list[Batch]:
        """All data, held-out ones too, as they were given."""
        return [*self._batches, *(self._test or [])]

    @property
    def size(self) -> int | None:
        """Number of samples in all batches; None where that cannot be told."""
        sizes = [batch.size for batch in self._batches]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def training(self, like: Tensor) -> list[Batch]:
        """The batches in the dtype and on the device of `like`."""
        return self._kept("batches", like)

    def testing(self, like: Tensor) -> list[Batch] | None:
        return None if self._test is None else self._kept("test", like)

    def blocks(self, like: Tensor) -> list[tuple[float, Batch]]:
        """All data, cut into what fits the cache where their losses add up, each with its factor in the loss of all."""
        return self._cut(self.training(like), like)

    def test_blocks(self, like: Tensor) -> list[tuple[float, Batch]]:
        """The same of the data held out; empty where there are none."""
        return self._cut(self.testing(like) or [], like)

    def _cut(self, batches: list[Batch], like: Tensor) -> list[tuple[float, Batch]]:
        samples = batches[0].samples if len(batches) == 1 else None
        if samples is not None and not (self.coupled or like.is_cuda):
            graph = samples * self._graph * like.element_size()
            count = min(samples, max(1, round(samples / _BLOCK), math.ceil(graph / KEPT_BYTES)))
            cuts = [index * samples // count for index in range(count + 1)]
            batches = [batches[0].taken(slice(*ends)) for ends in pairwise(cuts)]
        return list(zip(self._shares(batches), batches, strict=True))

    def _shares(self, batches: list[Batch]) -> list[float]:
        """What each batch's loss counts in that of all: as much as its samples, or in a sum wholly."""
        if self.reduction == "sum":
            return [1.0] * len(batches)
        sizes = [batch.size for batch in batches]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):  # how many samples one of them has, cannot be told
            known = [1] * len(sizes)
        return [size / sum(known) for size in known]

    def _kept(self, what: str, like: Tensor) -> Any:
        """Something that stays the same, in the dtype and on the device of `like`."""
        key = (like.dtype, like.device, what)
        if key in self._placed:
            return self._placed[key]

        place = partial(self._place, like)
        with torch.inference_mode(False):
            made: Any
            match what:
                case "constants":
                    made = mapped(self._constants, place)
                case _:
                    source = self._batches if what == "batches" else self._test or []
                    made = [batch.mapped(place) for batch in source]
        self._placed[key] = made
        return made

    def follow(self, module: nn.Module) -> bool:
        """Takes over the frozen parameters and buffers, as they are now, of the module that this one was copied from, and
        what its loss holds where that is a module. False, and nothing is taken over, if other parameters are trainable now.
        """
        live = self.objective.live(module)
        trainable = [(name, tuple(one.shape)) for name, one in live.items() if one.requires_grad]
        if trainable != [(block.name, tuple(block.shape)) for block in self.layout.blocks]:
            return False
        with torch.no_grad():
            for name, kept in self._constants.items():
                if name in live and live[name].shape == kept.shape:
                    kept.copy_(live[name])
        self._placed = {key: made for key, made in self._placed.items() if key[2] != "constants"}
        return True

    # ---------------------------------------------------------------- starting points

    def restarted(self, generator: torch.Generator) -> Tensor:
        """Another starting point (dim,): layers initialised again, and what cannot be so, perturbed."""
        fresh = copied(self.objective.whole)
        renewed: set[int] = set()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            for layer in fresh.modules():
                reset = getattr(layer, "reset_parameters", None)
                if callable(reset):
                    reset()
                    renewed |= {id(one) for one in layer.parameters(recurse=False)}
        named, own = self.objective.tensors(fresh), self.layout.unpack(self.initial)
        out = {}
        for name, before in own.items():
            noise = torch.randn(before.shape, generator=generator, dtype=torch.float64).to(before)
            size = before.square().mean().sqrt()
            again = named[name].detach().to(before)
            out[name] = again if id(named[name]) in renewed else before + _PERTURBATION * size * noise
        return self.layout.pack(out)

    # ---------------------------------------------------------------- what it can do

    def _examine(self) -> None:
        """Finds out on a few samples what the module supports. Raises ValueError where there is no loss to move on."""
        first, piece = self._trial()
        if not first.is_floating_point() or not self._follows(piece):
            raise ValueError(
                "The loss does not depend on the module's parameters as far as torch can follow: look for a detach(), an .item() "
                "or a no_grad() on the way."
            )
        self._tell_what_was_answered()
        for sentence in self.objective.settle_captured(partial(self._of, piece), self.initial, self._in_inputs):
            self._say(sentence)
        self.tried = piece = self._examine_precision(piece)
        self._examine_calls(piece)
        self._examine_curvature(piece)  # before runs: plain attention can also be batched over them
        self._examine_runs(piece)
        self._examine_samples()

    def _trial(self) -> tuple[Tensor, Batch]:
        """A loss, and the batch it is of: a few samples, all together, or where that fails the first batch as it came; with
        every tensor in its own precision, or where that fails in that of the parameters.
        """
        given, failure = self._batches, None
        for as_it_stands, self._batches in product((True, False), (joined(given), given)):
            self._compute(as_it_stands)
            whole = self._batches[0].mapped(partial(self._place, self.initial))
            few = whole if whole.samples is None else whole.taken(slice(_TRIAL))
            for piece in (few, whole):
                try:
                    with execution.draws_kept(self.initial.device):
                        before = execution.random_state(self.initial.device)
                        with self._watching_widths(piece.samples or 1):
                            first = self.loss(self.initial, piece)
                        self.objective.stochastic = not execution.same_state(
                            before, execution.random_state(self.initial.device)
                        )
                    if bool(torch.isfinite(first)) or piece is whole:
                        return first, piece
                except Exception as caught:  # whatever a user's code raises; the last was of the data as they came
                    failure = caught
        assert failure is not None
        raise NoLoss(
            f"The module and its loss cannot be evaluated on the data: {line(failure)}{_remedy(failure)}"
        ) from failure

    def _examine_calls(self, piece: Batch) -> None:
        """Finds the way of calling the module that is right, see `Objective.settle`."""
        of_loss = [block for block in self.layout.blocks if block.name not in self.objective.of_module]
        if of_loss:
            numbers = sum(block.stop - block.start for block in of_loss)
            self._say(
                f"The loss has {numbers} trainable parameters of its own ({of_loss[0].name}): they are parameters of the landscape; "
                "requires_grad = False makes them constants"
            )
        points = [self.initial, 0.9 * self.initial + 0.01]
        for sentence in self.objective.settle(partial(self._of, piece), points):
            self._say(sentence)

    def _of(self, batch: Batch, params: Tensor) -> Tensor:
        return self.loss(params, batch)

    def _tell_what_was_answered(self) -> None:
        if self.objective.stochastic and self.objective.dropout is None:
            self._say(
                "The module draws random numbers for something else than dropout: the same ones at every evaluation"
            )
        if self.objective.dropout is not None and not self.objective.stochastic:
            self._say(
                "dropout has a seed, but nothing is drawn: F.dropout and its like follow the module's mode, see training=True"
            )
        if "shortened" in self.objective.answered:
            self._say(
                "Embeddings with max_norm shorten longer rows within the loss, whose derivatives follow that, and leave the "
                "parameters as they are, where training shortens the parameters and differentiates without it"
            )
        if "by frequency" in self.objective.answered:
            self._say("Gradients of embeddings are those of the loss: scale_grad_by_freq is left out")

    @contextmanager
    def _watching_widths(self, samples: int) -> Iterator[None]:
        """Notes the most numbers per sample that a layer puts out."""

        def note(layer: nn.Module, args: Any, outputs: Any) -> None:
            sizes = [leaf.numel() for leaf in leaves(outputs)]
            self._width = max(self._width, *[size / samples for size in sizes], 1.0)

        with self.objective.observed(note):
            yield

    def _follows(self, piece: Batch) -> bool:
        with torch.enable_grad():
            follows = self.loss(self.initial.clone().requires_grad_(True), piece).requires_grad
        try:
            derivatives.value_and_grad(lambda at: self.loss(at, piece), self.initial)
        except Exception as failure:  # whatever a backward pass raises
            raise ValueError(f"The gradient of the loss cannot be computed: {line(failure)}") from failure
        return follows

    def _compute(self, as_it_stands: bool, narrow: torch.dtype | None = None) -> None:
        """From now on each tensor is in the precision in which it was given, or all are in one."""
        self._narrow = narrow
        self._placed.clear()
        self.objective.as_it_stands = as_it_stands

    def _examine_precision(self, piece: Batch) -> Batch:
        """Finds the precisions in which the module computes; the batch in the one in which it is to be tried on."""
        stands, failures = self.objective.as_it_stands, []
        for dtype in dict.fromkeys((torch.float64, self.initial.dtype)):
            self._compute(False)
            other = piece.mapped(partial(self._place, self.initial.to(dtype)))
            try:
                with self.objective.computing() as found:
                    derivatives.value_and_grad(partial(self._of, other), self.initial.to(dtype))
            except Exception as failure:
                failures.append(failure)
                continue
            if failures:
                self._compute(False, narrow=dtype)
                self._say(f"The module computes in {dtype} only, whatever precision is asked for", failures[0])
            self._inside = _roughest(found | {dtype})
            if torch.finfo(self._inside).eps > _ROUGH:
                self._say(
                    f"The module computes in {self._inside} in places, whatever precision is asked for: all numbers are that rough"
                )
            return piece.mapped(partial(self._place, self.initial))
        self._compute(stands)
        self._say(
            f"The module computes in the precisions of its own tensors only, down to {self.precision}, whatever is asked for: "
            "all numbers are that rough",
            failures[0],
        )
        return piece

    @property
    def precision(self) -> torch.dtype | None:
        """The roughest precision in which the module insists to compute; None where it computes in any."""
        if not self.objective.as_it_stands:
            return None if self._inside == torch.float64 else self._inside
        return _roughest(one.dtype for one in self.objective.tensors().values() if one.is_floating_point())

    def _place(self, like: Tensor, leaf: Tensor) -> Tensor:
        """A tensor where, and but for a module that computes as it stands, in the dtype in which a call has its parameters."""
        return leaf.to(like.device) if self.objective.as_it_stands else _like(like, leaf)

    def _examine_runs(self, piece: Batch) -> None:
        if self._in_inputs:  # torch cannot batch over such a derivative
            self.together = False
            self._say("Runs are computed one after the other, because the loss differentiates in its inputs")
            return
        pair = torch.stack([self.initial, 0.9 * self.initial])
        alone = torch.stack([self.loss(one, piece) for one in pair])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # torch warns where it would loop in secret
                both, _ = derivatives.value_and_grad(lambda point: self.losses(point, piece), pair)
            if not torch.allclose(both, alone, rtol=1e-3, equal_nan=True):
                raise RuntimeError("several runs together give other losses than each alone")
        except Exception as failure:
            self.together = False
            self._say(
                "Runs are computed one after the other, because the module cannot be batched over parameters", failure
            )

    def _examine_samples(self) -> None:
        """How the loss of a batch is made of its samples' losses, and what follows for evaluating all of them."""
        precision = self.precision or torch.float64
        start = self.initial if self.precision else self.initial.double()
        noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(start)
        # Where a last layer starts at zero, all samples have the same loss: a second point has none so special.
        points = [start, start + _PERTURBATION * (start.square().mean().sqrt() + _PERTURBATION) * noise]

        def loss(params: Tensor, batch: Batch) -> Tensor:
            return self.loss(params, batch.mapped(partial(self._place, params)))

        looked_at = {frame(batch): batch for batch in reversed(self._batches)}  # one of each kind of batch
        found = {
            kind(loss, points, batch, width=self._width, stochastic=self.objective.stochastic, precision=precision)
            for batch in islice(reversed(looked_at.values()), _KINDS)
        }
        whole = found.pop() if len(found) == 1 else Kind("other", True)
        self.reduction, self.coupled = whole
        if self.reduction == "other":
            self._batches = self._given
        self._examine_test(start)
        for sentence in said(whole, self._batches, self.objective.stochastic):
            self._say(sentence)

    def _examine_test(self, start: Tensor) -> None:
        """Is there a loss of the held-out data? Raises NoLoss where there is none."""
        if self._test is None:
            return
        if self.reduction != "other":
            self._test = joined(self._test)
        few = self._test[0] if self.coupled or self._test[0].samples is None else self._test[0].taken(slice(_TRIAL))
        try:
            self.loss(start, few.mapped(partial(self._place, start)))
        except Exception as failure:  # whatever a user's code raises
            raise NoLoss(f"The loss cannot be evaluated on the test data: {line(failure)}") from failure

    def _examine_curvature(self, piece: Batch) -> None:
        point = self.initial if self.precision else self.initial.double()
        if self.precision == torch.float32 and self._narrow is None and not self.objective.as_it_stands:
            point = self.initial.float()  # where something is computed in it, steps have to be as long as it needs
        piece = self._fewer(piece.mapped(partial(self._place, point)), point)
        rough = self.precision is not None and torch.finfo(self.precision).eps > _ROUGH
        findings, cause = [], [_POWER] if self.objective.iterates else []
        for self.objective.math_attention in (False, True):
            findings.append(selfcheck.examine(partial(self._of, piece), point, self.layout, rough, *cause))
            if findings[-1].way is Way.DOUBLE_BACKWARD:
                break
        else:
            self.objective.math_attention = False
        self.curvature = findings[-1 if self.objective.math_attention else 0]
        counted = max(0, self.curvature.graph - self.layout.dim) / (piece.samples or 1)
        self._graph = counted or _GRAPH_WIDTHS * self._width
        if self.curvature.note:
            self.notes.append(self.curvature.note)

    def _fewer(self, piece: Batch, point: Tensor) -> Batch:
        """Half of a piece of a large model, where it has a loss of its own."""
        if piece.samples is None or piece.samples <= _CHECKED or piece.samples * self._width < _LARGE:
            return piece
        fewer = piece.taken(slice(_CHECKED))
        try:
            return fewer if bool(torch.isfinite(self.loss(point, fewer))) else piece
        except Exception:  # whatever a module raises that takes no other number of samples
            return piece

    def _say(self, sentence: str, failure: Exception | None = None) -> None:
        self.notes.append(f"{sentence}." if failure is None else f"{sentence}: {line(failure)}")


def _roughest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)


def _remedy(failure: Exception) -> str:
    """What to do about a loss that differentiates in tensors that it was not given."""
    missing = ("does not require grad", "appears to not have been used in the graph")
    if not any(part in str(failure) for part in missing):
        return ""
    return (
        " A loss that differentiates in the inputs, such as the residual of a differential equation, has to find them in its "
        "targets, and they have to require a gradient: data = (x, x) with x.requires_grad_()."
    )


def _number(value: Any, like: Tensor) -> Tensor:
    """What a loss returned, as one number () in the dtype of `like`."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError("loss_fn must return a tensor that holds one number, the mean over the batch.")
    return value.reshape(()).to(like.dtype)


def _like(other: Tensor, leaf: Tensor) -> Tensor:
    """The tensor in the dtype, unless it holds whole numbers, and on the device of another."""
    return _cast(leaf, other.dtype).to(other.device)


def _free(leaf: Tensor) -> Tensor:
    """A tensor that can be differentiated in, unless it holds whole numbers."""
    return leaf.detach().requires_grad_(leaf.is_floating_point())


def _cast(leaf: Tensor, dtype: torch.dtype | None) -> Tensor:
    return leaf.to(dtype) if leaf.is_floating_point() else leaf


def _picked(batch: Batch, run: int) -> Batch:
    return batch.mapped(lambda leaf: leaf[run])
