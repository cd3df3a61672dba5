"""Linear classifiers: two separable classes, and many classes of unequal frequency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from landscapes.landscape import Differentiated, Layout
from landscapes.setting import setting
from landscapes.theory.model import FiniteSum, normal, seeded, top_eigenvalue
from landscapes.theory.scored import Scored, Term


@dataclass(frozen=True)
class Logistic(Scored):
    """L = mean of log(1 + exp(-y_i w.x_i)), x_i Gaussian with a gap of twice the margin between the classes along e_1.

    The weights grow without end, in the direction of the largest margin; the sharpness is largest at w = 0.
    """

    name, label = "logistic", "Logistic regression, separable"
    reads = "There is no minimum: the weights grow for ever, ever more in the direction of the largest margin, and the loss flattens."
    reference = "Soudry et al. 2018, arXiv:1710.10345; Wu et al. 2024, arXiv:2402.15926"
    equation = r"\frac{1}{n}\sum_i \log\left(1 + e^{-y_i\, w \cdot x_i}\right)"
    features: int = setting(5, 1, 100, symbol="d", help="Number of weights.")
    samples: int = setting(40, 1, 400, symbol="n", help="Number of samples.")
    margin: float = setting(0.3, 0.01, 10.0, log=True, help="Half the gap between the classes.")
    seed: int = seeded()

    @property
    def layout(self) -> Layout:
        return Layout.of([("w", (self.features,))])

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Inputs times their label: all that the loss sees."""
        inputs = normal(generator, self.samples, self.features)
        labels = torch.where(inputs[:, :1] > 0, 1.0, -1.0)
        inputs[:, :1] += self.margin * labels
        return (labels * inputs,)

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        """Row 0 is w = 0; further rows are N(0, 1)."""
        drawn = normal(generator, self.features)
        return drawn if row else torch.zeros_like(drawn)

    def _term(self, score: Tensor, *targets: Tensor) -> Term:
        wrong = torch.sigmoid(-score)
        return Term(-functional.logsigmoid(score), -wrong, wrong * torch.sigmoid(score))

    def predictor(self, params: Tensor) -> Tensor:
        """The direction of w, zero at zero."""
        return functional.normalize(params, dim=-1)

    def infimum(self) -> float:
        """Not attained."""
        return 0.0

    def flow_escapes(self) -> bool:
        return True

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        (signed,) = self.tensors(torch.zeros(0, dtype=torch.float64))
        value = top_eigenvalue(signed.T @ signed / (4 * self.samples))
        return torch.zeros(1, self.features, dtype=torch.float64), value[None]

    def bias_target(self) -> Tensor:
        """The direction of the largest margin: of the point of the convex hull of the y_i x_i that is nearest to zero."""
        (signed,) = self.tensors(torch.zeros(0, dtype=torch.float64))
        return functional.normalize(nearest_to_zero(signed), dim=-1)


def nearest_to_zero(points: Tensor) -> Tensor:
    """The direction of the point (d,) nearest to zero in the convex hull of points (n, d).

    By non-negative least squares (Lawson and Hanson 1974, ch. 23) for weights x >= 0 with sum(x) = 1 as one more equation:
    an error in the sum only rescales the point.
    """
    matrix = torch.cat([points.T, torch.ones_like(points[:, :1]).T])  # (d + 1, n)
    goal = torch.zeros_like(matrix[:, 0])
    goal[-1] = 1.0
    weights = torch.zeros_like(matrix[0])
    used = torch.zeros_like(weights, dtype=torch.bool)
    tolerance = 1e-12 * float(matrix.square().sum(0).max())
    for _ in range(3 * len(points)):  # each round brings the error down; the bound is the usual one
        pull = (matrix.T @ (goal - matrix @ weights)).masked_fill(used, -torch.inf)
        if float(pull.max()) <= tolerance:
            break
        used[pull.argmax()] = True
        while True:
            trial = torch.zeros_like(weights)
            trial[used] = torch.linalg.lstsq(matrix[:, used], goal).solution
            if not bool((trial[used] <= 0).any()):
                break
            out = used & (trial <= 0)
            weights = weights + float((weights[out] / (weights[out] - trial[out])).min()) * (trial - weights)
            used = used & (weights > 1e-14)
        weights = trial
    return points.T @ weights


@dataclass(frozen=True)
class LinearSoftmax(Differentiated, FiniteSum):
    """Softmax regression on classes of unequal frequency: level g = 0, 1, ... has 2^g classes with 2^(levels - g) samples
    each, so that every level has as many samples. Inputs are a prototype of the class and noise, both N(0, 1/d), and one
    constant, large feature.
    """

    name, label = "linear_softmax", "Linear softmax, heavy-tailed classes"
    reads = "The common classes set the step that gradient descent can bear, so that rare classes crawl; Adam learns all at one pace."
    reference = "Kunstner et al. 2024, arXiv:2402.19449"
    equation = r"-\frac{1}{n}\sum_i \log \operatorname{softmax}(W x_i)_{y_i}"
    levels: int = setting(6, 1, 7, help="Levels of frequency; each has twice as many classes, half as frequent.")
    features: int = setting(32, 1, 64, symbol="d", help="Number of features beside the constant one.")
    constant: float = setting(10.0, 0.0, 100.0, help="The constant feature.")
    noise: float = setting(0.1, 0.0, 10.0, help="How far samples lie from the prototype of their class.")
    seed: int = seeded()

    @property
    def classes(self) -> int:
        return 2**self.levels - 1

    @property
    def samples(self) -> int:
        return self.levels * 2**self.levels

    @property
    def layout(self) -> Layout:
        return Layout.of([("W", (self.classes, self.features + 1))])

    @property
    def width(self) -> int:
        return 3 * self.samples * self.classes

    @property
    def _labels(self) -> Tensor:
        """Class of each sample: the classes of level g are 2^g - 1, ..., 2^(g + 1) - 2."""
        return torch.cat(
            [
                torch.arange(2**level - 1, 2 ** (level + 1) - 1).repeat_interleave(2 ** (self.levels - level))
                for level in range(self.levels)
            ]
        )

    def groups(self) -> Mapping[str, Tensor]:
        """By how many samples the classes have."""
        size = 2**self.levels
        return {
            f"{2 ** (self.levels - level)} per class": torch.arange(level * size, (level + 1) * size)
            for level in range(self.levels)
        }

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        prototypes = self._prototypes(generator)
        noise = normal(generator, self.samples, self.features) / self.features**0.5
        inputs = functional.pad(prototypes[self._labels] + self.noise * noise, (0, 1), value=self.constant)
        return inputs, self._labels

    def _prototypes(self, generator: torch.Generator) -> Tensor:
        return normal(generator, self.classes, self.features) / self.features**0.5

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        """Row 0 is W = 0; further rows are N(0, 1/d)."""
        drawn = normal(generator, self.dim) / self.features**0.5
        return drawn if row else torch.zeros_like(drawn)

    def _terms(self, params: Tensor, *data: Tensor) -> Tensor:
        inputs, labels = data
        logits = inputs @ self.layout.unpack(params)["W"].mT  # (..., n, classes)
        chosen = logits.gather(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)
        return logits.logsumexp(-1) - chosen

    def infimum(self) -> float | None:
        """Zero, not attained, where choosing the nearest prototype, a linear rule, makes no mistake; else not known."""
        inputs, labels = self.tensors(torch.zeros(0, dtype=torch.float64))
        prototypes = self._prototypes(torch.Generator().manual_seed(self.seed))
        right = torch.cdist(inputs[:, :-1], prototypes).argmin(-1) == labels
        return 0.0 if self.constant > 0 and bool(right.all()) else None

    def flow_escapes(self) -> bool:
        """Where the classes are known to be separable, the loss falls for ever."""
        return self.infimum() == 0.0

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        """At W = 0 the Hessian is (I - 11^T / C) / C times the mean of x x^T."""
        inputs, _ = self.tensors(torch.zeros(0, dtype=torch.float64))
        value = top_eigenvalue(inputs.T @ inputs / self.samples) / self.classes
        if self.classes == 1:
            value = torch.zeros_like(value)
        return torch.zeros(1, self.dim, dtype=torch.float64), value[None]


@dataclass(frozen=True)
class TokenMemory(Differentiated, FiniteSum):
    """L = sum over tokens x of p(x) times the cross-entropy of u_y W e_x, softmax over y, with target x mod M: a matrix that
    stores which label goes with which token. Embeddings e and u are random and of unit length, so that more tokens than
    dimensions interfere; p(x) falls as a power of the rank (Zipf). A term of the mean is weighted by N p(x).
    """

    name, label = "token_memory", "Associative memory, many tokens"
    reads = "Frequent facts are learned first and drown the rare ones; larger steps spike, and remember more of them sooner."
    reference = "Cabannes, Simsek and Bietti 2024, arXiv:2402.18724"
    equation = r"-\sum_x p(x) \log \operatorname{softmax}(U W e_x)_{x \bmod M}"
    tokens: int = setting(16, 2, 256, symbol="N", help="How many facts there are to store.")
    embedding: int = setting(10, 2, 64, symbol="d", help="Dimensions of the embeddings; the matrix is square.")
    labels: int = setting(5, 2, 64, symbol="M", help="How many answers there are; token x has the answer x mod M.")
    zipf: float = setting(1.0, 0.0, 3.0, symbol=r"\alpha", help="Frequencies fall as rank to this power; 0: all alike.")
    seed: int = seeded()

    @property
    def samples(self) -> int:
        return self.tokens

    @property
    def layout(self) -> Layout:
        return Layout.of([("W", (self.embedding, self.embedding))])

    @property
    def width(self) -> int:
        return 3 * self.tokens * (self.labels + self.embedding)

    def groups(self) -> Mapping[str, Tensor]:
        """The frequent half of the tokens, and the rare one."""
        half = self.tokens // 2
        return {"frequent": torch.arange(half), "rare": torch.arange(half, self.tokens)}

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Row by row: the embedding of a token, its target's share of u, all of u, and the weight."""
        inputs = functional.normalize(normal(generator, self.tokens, self.embedding), dim=-1)
        outputs = functional.normalize(normal(generator, self.labels, self.embedding), dim=-1)
        answer = torch.arange(self.tokens) % self.labels
        weight = torch.arange(1, self.tokens + 1, dtype=torch.float64) ** -self.zipf
        # How the outputs lie to the right one is all that the loss sees of them.
        apart = outputs - outputs[answer][:, None]  # (N, M, d)
        return inputs, apart, weight * self.tokens / weight.sum()

    def _begin(self, generator: torch.Generator, row: int) -> Tensor:
        """Row 0 is W = 0; further rows are N(0, 1/d)."""
        drawn = normal(generator, self.dim) / self.embedding**0.5
        return drawn if row else torch.zeros_like(drawn)

    def _terms(self, params: Tensor, *data: Tensor) -> Tensor:
        inputs, apart, weight = data
        recalled = inputs @ self.layout.unpack(params)["W"].mT  # (..., n, d)
        return weight * (apart @ recalled.unsqueeze(-1)).squeeze(-1).logsumexp(-1)

    def infimum(self) -> float | None:
        """Zero, not attained, where no token is a mixture of others: W can then answer each by its own output. Else not known."""
        return 0.0 if self.embedding >= self.tokens else None

    def flow_escapes(self) -> bool:
        return self.infimum() == 0.0

    def known_sharpness(self) -> tuple[Tensor, Tensor]:
        """At W = 0 the Hessian is the covariance of u_y over all y, times the mean of e e^T, as a Kronecker product."""
        inputs, apart, weight = self.tensors(torch.zeros(0, dtype=torch.float64))
        outputs = apart[0] - apart[0].mean(0)
        spread = top_eigenvalue(outputs.T @ outputs / self.labels)
        value = spread * top_eigenvalue((inputs * weight[:, None]).T @ inputs / self.tokens)
        return torch.zeros(1, self.dim, dtype=torch.float64), value[None]
