"""Rules that treat each tensor as a matrix: a block (out, ...) is out x everything else, a vector is one row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Block, Layout, setting
from optimizers.adaptive import quotient
from optimizers.blocks import EIGH, QR, SVD, finite_or_zero, flattened, matrices, orthogonal, shapes, wide
from optimizers.optimizer import (
    Optimizer,
    Oracle,
    State,
    Value,
    coupled_decay,
    decay_rate,
    decoupled_decay,
    ema,
    epsilon_setting,
    moved,
    weight_decay_setting,
)

Factors = tuple[Tensor, ...]  # the left and the right one of a matrix (m, n): (..., m, m) and (..., n, n)

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al.: the steepest at 0 of those that keep (0, 1] below 1.2
_TINY = 1e-7  # as in the authors' code


def _is_matrix(block: Block) -> bool:
    return len(block.shape) > 1


def newton_schulz(matrix: Tensor, steps: int) -> Tensor:
    """(..., m, n) with its singular values driven towards 1, roughly: to 0.68 .. 1.20 by five steps."""
    a, b, c = _QUINTIC
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(_TINY)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if tall else x


def inverse_root(matrix: Tensor, order: int, least: Value) -> Tensor:
    """matrix^(-1/order) of symmetric matrices (..., n, n) whose eigenvalues are `least` or more, but for rounding."""
    finite, matrix = finite_or_zero(matrix)
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp_min(least).clamp_min(torch.finfo(values.dtype).tiny)
    return torch.where(finite, (vectors * values.pow(-1 / order).unsqueeze(-2)) @ vectors.mT, torch.nan)


def between(matrix: Tensor, factors: Factors) -> Tensor:
    """L X R, or X R where there is but one factor."""
    *left, right = factors
    return left[0] @ matrix @ right if left else matrix @ right


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def into(matrix: Tensor, bases: Factors) -> Tensor:
    """Q_L^T X Q_R, or X where there are no bases."""
    return bases[0].mT @ matrix @ bases[1] if bases else matrix


def out_of(matrix: Tensor, bases: Factors) -> Tensor:
    """Q_L X Q_R^T, or X where there are no bases."""
    return bases[0] @ matrix @ bases[1].mT if bases else matrix


def settled(columns: Tensor, sizes: Tensor) -> Tensor:
    """Orthonormal columns (..., n, n), where those whose size (..., n) is rounding are chosen anew from the others alone.

    A gradient of rank r leaves n - r eigenvectors open. What eigh or qr puts there is made of rounding errors, and a run
    would depend on them: the same run would take another path inside a batch.
    """
    rounding = columns.shape[-1] * torch.finfo(columns.dtype).eps * sizes.amax(-1, keepdim=True)
    return torch.linalg.qr(columns.masked_fill((sizes <= rounding).unsqueeze(-2), 0)).Q


def eigenbasis(matrix: Tensor) -> Tensor:
    """Eigenvectors of symmetric matrices (..., n, n) as columns, in the order of falling eigenvalue."""
    values, vectors = torch.linalg.eigh(finite_or_zero(matrix)[1])
    return settled(vectors.flip(-1), values.flip(-1))


def refreshed(matrix: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """One step of orthogonal iteration from basis (..., n, n), sorted by falling eigenvalue; and the order (..., n) used."""
    image = matrix @ basis
    order = (basis * image).sum(-2).argsort(dim=-1, descending=True, stable=True)
    q, r = torch.linalg.qr(image.take_along_dim(order.unsqueeze(-2), -1))
    return settled(q, r.diagonal(dim1=-2, dim2=-1).abs()), order


def _turned(square: Tensor, factors: Factors, bases: Factors) -> tuple[Tensor, Factors]:
    """New bases, and the average squares (..., m, n) in the order of their columns."""
    if not bases:
        return square, ()
    (left, rows), (right, columns) = map(refreshed, factors, bases)
    return square.take_along_dim(rows.unsqueeze(-1), -2).take_along_dim(columns.unsqueeze(-2), -1), (left, right)


@dataclass(frozen=True)
class Muon(Optimizer):
    """The iteration runs in the precision of the parameters; torch.optim.Muon and the authors' code round to bfloat16."""

    name, label = "muon", "Muon"
    idea = "Replace the averaged gradient of each matrix by the nearest orthogonal matrix: all directions move alike."
    equation = (
        r"m \leftarrow \mu m + (1 - \mu) g, \quad "
        r"w \leftarrow w - \eta\, k\, \mathrm{NS}\!\left((1 - \mu) g + \mu m\right)"
    )
    reference = "Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982"
    verified = "torch.optim.Muon, its iteration in float64"
    on_points = "The two coordinates are one row, so that every step has the same length: 0.70 η, or η if exact."
    lr: Value = setting(
        0.02, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    momentum: Value = decay_rate(0.95, r"\mu", "Memory of the gradient.")
    nesterov: bool = setting(True, help="Weigh the newest gradient once more, as if looking ahead.")
    steps: int = setting(5, 1, 100, label="Newton-Schulz steps", help="Rounds of the iteration towards orthogonality.")
    exact: bool = setting(False, help="The orthogonal matrix itself, by SVD, in place of the iteration.")
    k: str = setting(
        "original",
        choices=("original", "match_rms_adamw", "none"),
        label="Scale by shape",
        help="Factor for an m x n matrix: max(1, m/n)^½, or 0.2 max(m, n)^½, which moves entries as AdamW does, or 1.",
    )
    weight_decay: Value = weight_decay_setting(0.0, "decoupled: w shrinks by the share ηλ at each step")

    def init(self, params: Tensor) -> State:
        return (torch.zeros_like(params),)

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        (mean,) = state
        grad = oracle(params).grad
        mean = ema(mean, grad, self.momentum)
        ahead = ema(mean, grad, self.momentum) if self.nesterov else mean
        direction = flattened(self._orthogonal(block) for block in matrices(oracle.layout, ahead))
        return moved(decoupled_decay(params, self.lr, self.weight_decay), direction, self.lr), (mean,)

    def multiplications(self, layout: Layout) -> int:
        def each(m: int, n: int) -> int:
            least, most = min(m, n), max(m, n)
            if self.exact:
                return SVD * least * least * most if least > 1 else 0
            return self.steps * least * least * (2 * most + least)

        return sum(each(m, n) for m, n in shapes(layout))

    def _orthogonal(self, matrix: Tensor) -> Tensor:
        m, n = matrix.shape[-2:]
        scale = {"original": max(1, m / n) ** 0.5, "match_rms_adamw": 0.2 * max(m, n) ** 0.5, "none": 1.0}[self.k]
        return scale * (orthogonal(matrix) if self.exact else newton_schulz(matrix, self.steps))


@dataclass(frozen=True)
class Shampoo(Optimizer):
    """Roots are taken at the first step and every `freq` steps after it. A tensor of more than two dimensions counts as a
    matrix here; the paper has one factor for each dimension.

    The exponent is the paper's, -1/4 for a matrix and -1/2 for a vector; several public versions use -1/2 and -1.
    """

    name, label = "shampoo", "Shampoo"
    idea = "AdaGrad with two full matrices for each tensor: one mixes its rows, the other its columns."
    equation = (
        r"L \leftarrow L + g g^\top, \quad R \leftarrow R + g^\top g, \quad w \leftarrow w - \eta\, L^{-1/4} g R^{-1/4}"
    )
    reference = "Gupta, Koren and Singer 2018, arXiv:1802.09568"
    verified = "pytorch_optimizer.Shampoo"
    # eigh is off by eps |R|, and so R^(-1/2) by eps times the condition of R, which reaches 3e6 where paths are compared.
    tolerance = 1e-9
    on_points = "The two coordinates are one vector, for which it is AdaGrad with a full matrix: R^(-1/2) g."
    lr: Value = setting(
        0.1, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    eps: Value = setting(
        1e-4, 0.0, 1e6, low_open=True, log=True, scale=(1e-12, 1.0), symbol=r"\epsilon",
        help="Both matrices start as this multiple of the identity.",
    )  # fmt: skip
    freq: int = setting(
        1, 1, 10_000, label="Steps between roots", help="Steps from one root of the matrices to the next."
    )
    weight_decay: Value = weight_decay_setting()

    def multiplications(self, layout: Layout) -> int:
        def each(size: int, other: int) -> int:
            return 2 * other * size**2 + (EIGH + 1) * size**3 // self.freq

        pairs = zip(layout.blocks, shapes(layout), strict=True)
        return sum(each(n, m) + (each(m, n) if _is_matrix(block) else 0) for block, (m, n) in pairs)

    def init(self, params: Tensor) -> State:
        return 0, (), ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, sums, roots = state
        grads = matrices(oracle.layout, coupled_decay(params, oracle(params).grad, self.weight_decay))
        products = [
            (g @ g.mT, g.mT @ g) if _is_matrix(block) else (g.mT @ g,)
            for block, g in zip(oracle.layout.blocks, grads, strict=True)
        ]
        if steps == 0:
            sums = tuple(tuple(wide(self.eps) * _identity(one) for one in own) for own in products)
        sums = tuple(tuple(map(torch.add, before, own)) for before, own in zip(sums, products, strict=True))
        if steps % self.freq == 0:
            roots = tuple(tuple(inverse_root(one, 2 * len(own), self.eps) for one in own) for own in sums)
        direction = flattened(between(g, own) for g, own in zip(grads, roots, strict=True))
        return moved(params, direction, self.lr), (steps + 1, sums, roots)


@dataclass(frozen=True)
class SOAP(Optimizer):
    """The first step only sets up the basis. A tensor of more than two dimensions counts as a matrix; the authors' code has
    one factor for each dimension. It takes its QR in float32 and leaves eigenvectors of eigenvalue zero to chance; here
    the QR has the precision of the parameters and those eigenvectors are settled (see `settled`).
    """

    name, label = "soap", "SOAP"
    idea = "Adam, run in the slowly turning axes along which Shampoo's two matrices are diagonal."
    equation = (
        r"L \leftarrow s L + (1 - s)\, g g^\top, \quad R \leftarrow s R + (1 - s)\, g^\top g, \quad "
        r"L \approx Q_L \Lambda Q_L^\top, \quad R \approx Q_R \Lambda' Q_R^\top, \quad "
        r"w \leftarrow w - \eta\, Q_L\, \mathrm{Adam}\!\left(Q_L^\top g\, Q_R\right) Q_R^\top"
    )
    reference = "Vyas et al. 2024, arXiv:2409.11321"
    verified = "pytorch_optimizer.SOAP, its QR in float64"
    on_points = "The two coordinates are one vector: AdamW that waits one step, or with precondition_1d in turned axes."
    lr: Value = setting(
        3e-3, 0.0, 1e4, log=True, scale=(1e-5, 10.0), label="Step size", symbol=r"\eta", help="How far one step goes."
    )
    beta1: Value = decay_rate(0.95, r"\beta_1", "Memory of the gradient.")
    beta2: Value = decay_rate(0.95, r"\beta_2", "Memory of the squared gradient.")
    s: Value = decay_rate(0.95, "s", "Memory of the two matrices; the paper takes β₂.")
    eps: Value = epsilon_setting(1e-8)
    freq: int = setting(
        10, 1, 10_000, label="Steps between bases", help="Steps from one update of the axes to the next."
    )
    precondition_1d: bool = setting(False, help="Turn the axes of vectors too, as those of matrices with one row.")
    weight_decay: Value = weight_decay_setting(0.01, "decoupled: w shrinks by the share ηλ at each step")

    def multiplications(self, layout: Layout) -> int:
        def each(size: int, other: int) -> int:
            return 4 * other * size**2 + (2 * QR + 1) * size**3 // self.freq

        pairs = zip(layout.blocks, shapes(layout), strict=True)
        return sum(each(n, m) + each(m, n) for block, (m, n) in pairs if self.precondition_1d or _is_matrix(block))

    def init(self, params: Tensor) -> State:
        return 0, torch.zeros_like(params), (), (), ()

    def step(self, params: Tensor, state: State, oracle: Oracle) -> tuple[Tensor, State]:
        steps, mean, squares, factors, bases = state
        grad = oracle(params).grad
        grads = matrices(oracle.layout, grad)
        products = [
            (g @ g.mT, g.mT @ g) if self.precondition_1d or _is_matrix(block) else ()
            for block, g in zip(oracle.layout.blocks, grads, strict=True)
        ]
        if steps == 0:
            factors = tuple(tuple(wide(1 - self.s) * one for one in own) for own in products)
            bases = tuple(tuple(map(eigenbasis, own)) for own in factors)
            return params, (1, mean, tuple(map(torch.zeros_like, grads)), factors, bases)
        mean = ema(mean, grad, self.beta1)
        first, second = 1 - self.beta1**steps, 1 - self.beta2**steps
        squares = tuple(
            ema(before, into(g, own) ** 2, wide(self.beta2))
            for before, g, own in zip(squares, grads, bases, strict=True)
        )
        direction = flattened(
            out_of(quotient(into(m, own), square, wide(self.eps)), own)
            for m, square, own in zip(matrices(oracle.layout, mean), squares, bases, strict=True)
        )
        params = moved(params, direction, self.lr * second**0.5 / first)
        factors = tuple(
            tuple(ema(before, one, wide(self.s)) for before, one in zip(old, own, strict=True))
            for old, own in zip(factors, products, strict=True)
        )
        if steps % self.freq == 0:
            squares, bases = zip(*map(_turned, squares, factors, bases), strict=True)
        return decoupled_decay(params, self.lr, self.weight_decay), (steps + 1, mean, squares, factors, bases)
