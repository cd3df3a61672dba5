"""How the parameters at this step depend on those at the start: the Jacobian of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscapes import LANDSCAPES, Landscape, setting
from landscapes.derivatives import pushforward
from optimizers.optimizer import Evaluation, Oracle
from optimizers.probes.probe import Memory, Moment, Probe
from optimizers.stepper import Stepper


class _OneAnswer(Oracle):
    """An oracle that knows loss and gradient at one point, and nothing else."""

    def __init__(self, landscape: Landscape, params: Tensor, evaluation: Evaluation):
        super().__init__(landscape)
        self._point, self._evaluation = params, evaluation

    def __call__(self, params: Tensor) -> Evaluation:
        if params is not self._point:
            raise _Elsewhere
        return self._evaluation

    def loss(self, params: Tensor) -> Tensor:
        raise _Elsewhere

    def hvp(self, params: Tensor, vectors: Tensor) -> Tensor:
        raise _Elsewhere

    def normal(self, like: Tensor) -> Tensor:
        raise _Elsewhere

    def signs(self, like: Tensor) -> Tensor:
        raise _Elsewhere


class _Elsewhere(Exception):
    """A rule asked for more than the gradient where it stands."""


Tangents = tuple[Tensor, ...]  # (m, ...) each: of params, then of the state's tensors


def begun(rule: Stepper, params: Tensor) -> Tangents:
    """The derivatives of params (..., dim) and of the rule's first state along each coordinate of params."""
    dim = params.shape[-1]
    eye = torch.eye(dim, dtype=params.dtype, device=params.device).reshape(dim, *[1] * (params.ndim - 1), dim)
    return pushforward(
        lambda point: (point, *_leaves(rule.init(point))[0]), (params,), (eye.expand(dim, *params.shape),)
    )


def pushed(moment: Moment, index: int, tangents: Tangents) -> Tangents:
    """Derivatives of the step that a rule is about to take, along tangents."""
    rule, state = moment.rules[index], moment.states[index]
    params, loss, grad = (one[index].clone() for one in (moment.params, moment.loss, moment.grad))
    leaves, rebuilt = _leaves(state)
    hessian = moment.landscape.hessian_operator(params.expand_as(tangents[0]).contiguous(), moment.batches[index])

    def step(point: Tensor, slope: Tensor, *held: Tensor) -> Tangents:
        oracle = _OneAnswer(moment.landscape, point, Evaluation(loss, slope))
        new, after = rule.step(point, rebuilt(held), oracle)
        return new, *_leaves(after)[0]

    primals = (params, grad, *(leaf.clone() for leaf in leaves))
    return pushforward(step, primals, (tangents[0], hessian(tangents[0]), *tangents[1:]))


def _leaves(state: Any) -> tuple[list[Tensor], Any]:
    """The floating-point tensors of a nested state, and a function that puts others in their place."""
    if isinstance(state, Tensor) and state.is_floating_point():
        return [state], lambda held: held[0]
    if not isinstance(state, tuple):
        return [], lambda held: state
    parts = [_leaves(part) for part in state]

    def rebuilt(held: Any) -> Any:
        out, begin = [], 0
        for leaves, build in parts:
            out.append(build(held[begin : begin + len(leaves)]))
            begin += len(leaves)
        return tuple(out)

    return [leaf for leaves, _ in parts for leaf in leaves], rebuilt


@dataclass(frozen=True)
class TrainingJacobian(Probe):
    """Exact, by forward differentiation of every step: as many Hessian products a step as there are parameters."""

    name, label = "training_jacobian", "Spectrum of the training Jacobian"
    symbol = r"\sigma_i\left(\frac{\partial w_t}{\partial w_0}\right)"
    reference = "Belrose and Scherlis 2024, arXiv:2412.07003"
    help = (
        "How training stretches a small ball of starting points: singular values of 1 are directions left as they were."
    )
    follows = True
    most: int = setting(
        600, 2, 5000, label="Most parameters", help="Larger models are refused: the cost grows with them."
    )

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        if landscape.dim > self.most:
            return f"The training Jacobian is for at most {self.most} parameters, and {landscape.name} has {landscape.dim}."
        plane = LANDSCAPES["quadratic"]()
        point = plane.start()[0]
        try:
            planned = rule.planned(2, lambda one: torch.ones(2, dtype=point.dtype))
            planned.step(point, planned.init(point), _OneAnswer(plane, point, Evaluation(*plane.value_and_grad(point))))
        except _Elsewhere:
            return (
                f"{rule.title} asks for more than one gradient where it stands: its training Jacobian is not computed."
            )
        return ""

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return 24 * landscape.dim  # of the state's tensors as well

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return tuple(f"σ{index}" for index in range(1, landscape.dim + 1))

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        memory = memory or self._start(moment)
        jacobian = torch.stack([tangents[0] for tangents in memory], dim=1).movedim(0, -1)  # (N, ..., dim, dim)
        dead = ~torch.isfinite(jacobian).all(-1).all(-1)
        values = torch.linalg.svdvals(torch.where(dead[..., None, None], 0, jacobian))
        return values.masked_fill(dead[..., None], torch.nan), memory

    def follow(self, moment: Moment, memory: Memory) -> Memory:
        return [pushed(moment, index, tangents) for index, tangents in enumerate(memory or self._start(moment))]

    @staticmethod
    def _start(moment: Moment) -> list[Tangents]:
        return [begun(rule, own.clone()) for rule, own in zip(moment.rules, moment.params, strict=True)]
