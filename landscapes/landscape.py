"""A Landscape is a loss over flat parameter vectors, batched over leading dimensions.

`params` has shape (..., dim): the leading dimensions are runs (starts, step sizes, seeds, grid points alike). A Layout
says how named tensors pack into one flat vector.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from landscapes import derivatives
from landscapes.facts import Facts
from landscapes.setting import Declared

Trait = Literal["samples", "classes", "test samples", "jacobian", "gauss_newton", "activations"]
_PLANE_BYTES = 1 << 17  # one number a run: with the intermediates of a step a core's cache is full


@dataclass(frozen=True)
class Block:
    """One named tensor inside the flat vector: entries [start, stop) in row-major order."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """How named tensors pack into one flat vector of length `dim`."""

    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, shapes: Iterable[tuple[str, tuple[int, ...]]]) -> Layout:
        blocks, start = [], 0
        for name, shape in shapes:
            blocks.append(Block(name, shape, start))
            start = blocks[-1].stop
        return cls(tuple(blocks))

    @property
    def dim(self) -> int:
        return self.blocks[-1].stop

    def unpack(self, params: Tensor) -> dict[str, Tensor]:
        """Views of the named tensors: (..., dim) -> name: (..., *shape)."""
        return {b.name: params[..., b.start : b.stop].view((*params.shape[:-1], *b.shape)) for b in self.blocks}

    def pack(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `unpack`: name: (..., *shape) -> (..., dim)."""
        flat = []
        missing = [b.name for b in self.blocks if b.name not in tensors]
        if missing:
            raise ValueError(f"The tensor {missing[0]!r} is missing.")
        for b in self.blocks:
            shape = tuple(tensors[b.name].shape)
            runs = shape[: len(shape) - len(b.shape)]
            if runs + b.shape != shape:
                raise ValueError(f"{b.name} has shape {shape}: it must be (..., {', '.join(map(str, b.shape))}).")
            flat.append(tensors[b.name].reshape(*runs, b.stop - b.start))
        return torch.cat(flat, dim=-1)


@dataclass(frozen=True)
class Landscape(Facts, Declared):
    """A loss with its derivatives. The public methods check their input; a kind of landscape fills in the `_` ones."""

    reference: ClassVar[str]  # Author Year, where
    reads: ClassVar[str]  # one sentence: what there is to see
    identity: ClassVar[str] = (
        ""  # what its numbers depend on beside its settings, where code of a user's own is in them
    )
    analytic: ClassVar[bool] = False  # are all derivatives closed forms, without automatic differentiation?

    @property
    @abstractmethod
    def equation(self) -> str:
        """The loss as LaTeX."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """How the parameters' named tensors lie in the flat vector."""

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone travel to other processes: what was derived from them is derived again there."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def dim(self) -> int:
        """Number of parameters."""
        return self.layout.dim

    @property
    def samples(self) -> int | None:
        """Number of terms where the loss is a mean over samples; None where there is nothing to draw a batch from."""
        return None

    def lacks(self, trait: Trait) -> str:
        """Why there is nothing of a kind here, in words that end a sentence; empty where there is (see `Learner`)."""
        if trait == "samples":
            return "" if self.samples is not None else f"{self.label} is not a mean over samples"
        if trait == "activations":
            return f"{self.label} has no hidden activations"
        return f"{self.label} does not learn from samples"

    @property
    def multiplications(self) -> int:
        """Multiplications in one evaluation of the loss, about: of each parameter, once for each sample."""
        return self.dim * (self.samples or 1)

    @property
    def live(self) -> int:
        """Numbers that derivatives at one parameter vector keep beside vectors of parameters, about: what depends on the samples."""
        return 0

    @property
    def operations(self) -> int:
        """Tensor operations in one evaluation of the loss, about: each takes its time, however small the tensors are."""
        return 30

    @property
    def coupled(self) -> bool:
        """Does the loss of a sample depend on the samples that are evaluated with it, as with batch norm?"""
        return False

    @property
    def reduction(self) -> str:
        """How the loss is made of losses of samples: "mean" or "sum"; "other" where it is neither, or nobody knows.

        Of a sum, loss, gradient and curvature of a mini-batch are on average its share of those of all samples.
        """
        return "mean"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what is done in another way than one might expect."""
        return ()

    @abstractmethod
    def start(
        self, runs: int = 1, seed: int = 0, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Default starting points (runs, dim); the same numbers on every device."""

    def chunk(self, params: Tensor) -> int:
        """How many parameter vectors like `params` (..., dim) to evaluate at once, so that intermediates stay in the cache."""
        return 1 << 22 if params.is_cuda else _PLANE_BYTES // params.element_size()

    def on_plane(self, center: Tensor, directions: Tensor) -> Callable[[Tensor], Tensor]:
        """The loss on a plane, as a function of points (k, 2) -> (k,): at center (dim,) + points @ directions (2, dim)."""
        return self.on_plane_of(self.loss, center, directions)

    def on_plane_of(
        self, measure: Callable[[Tensor], Tensor], center: Tensor, directions: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """As `on_plane`, for any measure (k, dim) -> (k,); as many points at once as `chunk` says."""
        size = self.chunk(center)
        return lambda points: torch.cat([measure(center + part.to(center) @ directions) for part in points.split(size)])

    def loss(self, params: Tensor, batch: Tensor | None = None) -> Tensor:
        """Loss (...) at params (..., dim), on the samples `batch` (..., b) of a finite sum or on all; keeps dtype and device.

        Raises TypeError if params is not a floating-point tensor, ValueError if its last dimension is not `dim`.
        """
        self._check(params, batch)
        return self._loss(params, batch)

    def value_and_grad(self, params: Tensor, batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Loss (...) and gradient (..., dim) of every run at once. Raises as `loss`."""
        self._check(params, batch)
        return self._value_and_grad(params, batch)

    def grad(self, params: Tensor, batch: Tensor | None = None) -> Tensor:
        """Gradient (..., dim). Raises as `loss`."""
        return self.value_and_grad(params, batch)[1]

    def hvp(self, params: Tensor, vectors: Tensor, batch: Tensor | None = None) -> Tensor:
        """Hessian-vector products (..., dim); params and vectors broadcast against each other. Raises as `loss`."""
        if not isinstance(vectors, Tensor) or vectors.ndim == 0 or vectors.shape[-1] != self.dim:
            raise ValueError(f"vectors must be a tensor of shape (..., {self.dim}).")
        self._check(params, batch)
        if vectors.dtype != params.dtype:
            raise TypeError(f"vectors are {vectors.dtype} and params are {params.dtype}: they must be of one dtype.")
        try:
            params, vectors = torch.broadcast_tensors(params, vectors)
        except RuntimeError:
            raise ValueError(
                f"params {tuple(params.shape)} and vectors {tuple(vectors.shape)} must broadcast against each other."
            ) from None
        return self._hessian_operator(params, batch)(vectors)

    def hessian_operator(self, params: Tensor, batch: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """The map v -> H(params) v, (..., dim) -> (..., dim), for many products at one point. Raises as `loss`."""
        self._check(params, batch)
        return self._hessian_operator(params, batch)

    @abstractmethod
    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor: ...

    @abstractmethod
    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Callable[[Tensor], Tensor]: ...

    def _check(self, params: Tensor, batch: Tensor | None) -> None:
        if not isinstance(params, Tensor) or not params.is_floating_point():
            raise TypeError(f"params must be a floating-point tensor of shape (..., {self.dim}).")
        if params.ndim == 0 or params.shape[-1] != self.dim:
            raise ValueError(f"params has shape {tuple(params.shape)}: {self.name} needs (..., {self.dim}).")
        if batch is not None:
            self._check_batch(batch)

    def _check_start(self, runs: int, seed: int, dtype: torch.dtype) -> None:
        for name, value, low in (("runs", runs, 0), ("seed", seed, -(2**63))):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be a whole number.")
            if not low <= value < 2**63:
                raise ValueError(f"{name} must be a whole number from {low} to {2**63 - 1}.")
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise TypeError("dtype must be a floating-point dtype, such as torch.float64.")

    def _check_batch(self, batch: Tensor) -> None:
        if self.samples is None:
            raise ValueError(f"{self.lacks('samples')}: batch must be None.")
        whole = isinstance(batch, Tensor) and not (batch.is_floating_point() or batch.is_complex())
        if not whole or batch.dtype == torch.bool or batch.ndim == 0 or batch.numel() == 0:
            raise TypeError("batch must be a tensor of sample indices of shape (..., b).")
        if int(batch.min()) < 0 or int(batch.max()) >= self.samples:
            raise ValueError(f"batch holds an index outside 0 .. {self.samples - 1}.")


@dataclass(frozen=True)
class Differentiated(Landscape):
    """A landscape whose derivatives come from automatic differentiation of `_loss`."""

    def _value_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        return derivatives.value_and_grad(lambda point: self._loss(point, batch), params)

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Callable[[Tensor], Tensor]:
        return derivatives.hessian_operator(lambda point: self._loss(point, batch), params)
