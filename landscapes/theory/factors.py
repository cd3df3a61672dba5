"""Matrices learned through their factors: factorization, and sensing by linear measurements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from landscapes.facts import largest_bilinear_step
from landscapes.landscape import Differentiated, Layout
from landscapes.setting import setting
from landscapes.theory.model import Model, falling, normal, seeded, top_eigenvalue
from landscapes.theory.scored import Scored, Term


@dataclass(frozen=True)
class MatrixFactorization(Differentiated, Model):
    """L = |U V^T - M|^2 / 2 with M = diag(s_1, s_2, ...), U (rows, rank) and V (columns, rank).

    Gradient flow keeps U^T U - V^T V. The best approximation (Eckart and Young 1936) leaves half the sum of the squares of
    the singular values past the rank; the balanced one has sharpness 2 s_1, the least of all exact factorizations.
    """

    name, label = "matrix_factorization", "Matrix factorization"
    reads = "Started with unequal factors, gradient flow would keep them unequal and end where it is sharp; a large step balances them."
    reference = "Wang, Chen, Zhao and Tao 2022, arXiv:2110.03677"
    equation = r"\frac{1}{2}\left\|U V^\top - \operatorname{diag}(s_1, s_2, \dots)\right\|_F^2"
    rows: int = setting(6, 1, 32, help="Rows of the matrix.")
    columns: int = setting(5, 1, 32, help="Columns of the matrix.")
    rank: int = setting(2, 1, 32, symbol="r", help="Columns of each factor.")
    top: float = setting(2.0, 0.01, 100.0, log=True, symbol="s_1", help="The largest singular value of the matrix.")
    ratio: float = setting(0.5, 0.01, 1.0, help="Each further singular value over the one before.")
    scale: float = setting(0.5, 1e-6, 10.0, log=True, help="Standard deviation of the initial factors.")
    imbalance: float = setting(2.0, 0.1, 10.0, log=True, help="U starts larger, and V smaller, by this factor.")
    seed: int = seeded()

    @property
    def layout(self) -> Layout:
        return Layout.of([("U", (self.rows, self.rank)), ("V", (self.columns, self.rank))])

    @property
    def spectrum(self) -> Tensor:
        """The singular values of the matrix, in falling order."""
        return falling(self.top, self.ratio, min(self.rows, self.columns))

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        matrix = torch.zeros(self.rows, self.columns, dtype=torch.float64)
        matrix.diagonal().copy_(self.spectrum)
        return (matrix,)

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        u, v = normal(generator, self.rows * self.rank), normal(generator, self.columns * self.rank)
        return self.scale * torch.cat([u * self.imbalance, v / self.imbalance])

    def _loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        (matrix,) = self.tensors(params)
        return (self._product(params) - matrix).square().sum((-2, -1)) / 2

    def _product(self, params: Tensor) -> Tensor:
        factors = self.layout.unpack(params)
        return factors["U"] @ factors["V"].mT

    def infimum(self) -> float:
        return float(self.spectrum[self.rank :].square().sum()) / 2

    def minimizers(self) -> Tensor:
        """The balanced one."""
        kept = self.spectrum[: self.rank].sqrt()
        factors = [torch.zeros(size, self.rank, dtype=torch.float64) for size in (self.rows, self.columns)]
        for factor in factors:
            factor[: len(kept), : len(kept)] = torch.diag(kept)
        return torch.cat([factor.flatten() for factor in factors])[None]

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        return self.minimizers(), torch.tensor([2 * self.top], dtype=torch.float64)

    def conserved(self, params: Tensor) -> Tensor:
        factors = self.layout.unpack(params)
        return (factors["U"].mT @ factors["U"] - factors["V"].mT @ factors["V"]).flatten(-2)

    def predictor(self, params: Tensor) -> Tensor:
        return self._product(params).flatten(-2)

    def gfs_sharpness(self, params: Tensor) -> Tensor | None:
        """Of factors of one column, where q = |u|^2 - |v|^2 and |u| |v| = s_1 say all: |u|^2 + |v|^2 = sqrt(q^2 + 4 s_1^2).

        With more columns U^T U - V^T V leaves the end open. From almost every start the flow ends at the best approximation
        (Baldi and Hornik 1989, Neural Networks 2): the exception is u_1 = -v_1 |u| / |v| and the like, of measure zero.
        """
        if self.rank > 1:
            return None
        difference = self.conserved(params.double())[..., 0]
        return torch.hypot(difference, torch.full_like(difference, 2 * self.top)).to(params)

    def largest_step(self, params: Tensor) -> Tensor | None:
        """Of a single number, u.v; the factors of larger matrices act on each other."""
        if self.rows > 1 or self.columns > 1:
            return None
        return largest_bilinear_step(params.square().sum(-1), self._product(params)[..., 0, 0], self.top)

    def bias_target(self) -> Tensor:
        (matrix,) = self._draw(torch.Generator())
        kept = torch.zeros_like(matrix)
        kept.diagonal()[: self.rank] = self.spectrum[: self.rank]
        return kept.flatten()


@dataclass(frozen=True)
class MatrixSensing(Scored):
    """L = mean of (<A_i, U U^T> - <A_i, Z>)^2 / 4 with symmetric Gaussian A_i, square U and Z = diag(s_1, s_2, ..., 0).

    Nothing but the small start asks for low rank: U could fit the measurements in many other ways.
    """

    name, label = "matrix_sensing", "Matrix sensing"
    reads = (
        "From a tiny start the rank grows one by one, each time to the best matrix of that rank, waiting in between."
    )
    reference = "Jin et al. 2023, arXiv:2301.11500"
    equation = r"\frac{1}{4m}\sum_{i=1}^{m} \left(\langle A_i,\, U U^\top \rangle - \langle A_i,\, Z \rangle\right)^2"
    size: int = setting(20, 1, 32, help="Rows and columns of the matrix.")
    samples: int = setting(400, 1, 2000, symbol="m", help="Number of measurements.")
    rank: int = setting(3, 1, 32, symbol="r", help="Rank of the matrix to find.")
    top: float = setting(1.0, 0.01, 100.0, log=True, symbol="s_1", help="The largest eigenvalue of that matrix.")
    ratio: float = setting(0.5, 0.01, 1.0, help="Each further eigenvalue over the one before.")
    scale: float = setting(1e-4, 1e-8, 10.0, log=True, help="Size of the start: U is scale * N(0, 1/size).")
    seed: int = seeded()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank > self.size:
            raise ValueError(f"rank = {self.rank} is not allowed: it must be at most the size, {self.size}.")

    @property
    def layout(self) -> Layout:
        return Layout.of([("U", (self.size, self.size))])

    @property
    def width(self) -> int:
        return 4 * (self.samples + self.dim)

    @cached_property
    def truth(self) -> Tensor:
        """Z, (size, size)."""
        spectrum = torch.zeros(self.size, dtype=torch.float64)
        spectrum[: self.rank] = falling(self.top, self.ratio, self.rank)
        return torch.diag(spectrum)

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        square = normal(generator, self.samples, self.size, self.size)
        sensors = ((square + square.mT) / 2).flatten(1)
        return sensors, sensors @ self.truth.flatten()

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        return self.scale * normal(generator, self.dim) / self.size**0.5

    def _term(self, score: Tensor, *targets: Tensor) -> Term:
        residual = score - targets[0]
        return Term(residual.square() / 4, residual / 2, torch.full_like(residual, 0.5))

    def _square(self, vectors: Tensor) -> Tensor:
        return vectors.unflatten(-1, (self.size, self.size))

    def _coefficients(self, params: Tensor) -> Tensor:
        factor = self._square(params)
        return (factor @ factor.mT).flatten(-2)

    def _push(self, params: Tensor, vectors: Tensor) -> Tensor:
        half = self._square(params) @ self._square(vectors).mT
        return (half + half.mT).flatten(-2)

    def _pull(self, params: Tensor, weights: Tensor) -> Tensor:
        return (2 * self._square(weights) @ self._square(params)).flatten(-2)  # the weights are symmetric, as the A_i

    def _bend(self, params: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
        return self._pull(vectors, weights)

    def predictor(self, params: Tensor) -> Tensor:
        return self._coefficients(params)

    def infimum(self) -> float:
        return 0.0

    def minimizers(self) -> Tensor:
        return self.truth.sqrt().flatten()[None]

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        """Of the mean of <A_i U, dU>^2 times 4 / 2: with no residuals the Hessian is that of Gauss and Newton."""
        sensors, _ = self._draw(torch.Generator().manual_seed(self.seed))
        slopes = (sensors.unflatten(1, (self.size, self.size)) @ self.truth.sqrt()).flatten(1)
        return self.minimizers(), top_eigenvalue(2 * slopes.T @ slopes / self.samples)[None]

    def gfs_sharpness(self, params: Tensor) -> Tensor | None:
        """Where the measurements tell all symmetric matrices apart, every minimizer is Z^(1/2) O with O orthogonal, and all are
        as sharp. A square U has no other local minima, and its rank stays as it is (Journée, Bach, Absil and Sepulchre 2010,
        SIAM J. Optim. 20): if that is less than the rank of Z the flow ends elsewhere, and the answer is NaN.
        """
        if self._shared_sharpness is None:
            return None
        finite = torch.isfinite(params).all(-1)
        factor = self._square(params.double().where(finite[..., None], 0.0))
        reaches = torch.linalg.matrix_rank(factor) >= self.rank
        return self._shared_sharpness.to(params).expand(finite.shape).where(finite & reaches, torch.nan)

    @cached_property
    def _shared_sharpness(self) -> Tensor | None:
        """The sharpness () of every minimizer, where the measurements tell all symmetric matrices apart."""
        unknowns = self.size * (self.size + 1) // 2
        if self.samples < unknowns:
            return None
        sensors, _ = self.tensors(torch.zeros(0, dtype=torch.float64))
        return self.known_sharpness()[1][0] if int(torch.linalg.matrix_rank(sensors)) == unknowns else None

    def bias_target(self) -> Tensor:
        return self.truth.flatten()
