"""Probes of the way itself: where the parameters are, how they move, and how steep it is that way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscapes import Landscape, Warm, flow_end, setting, top_eigenpairs
from landscapes.solvers import vectors as of_pairs
from optimizers.probes.probe import Memory, Moment, Probe
from optimizers.probes.spectrum import hessian_of
from optimizers.stepper import Stepper

_MOST_WORK = 20_000_000  # parameters squared times samples: about 0.1 s for a Hessian of a small network


def full_gradient(moment: Moment) -> Tensor:
    """The gradient (N, ..., dim) of the loss on all samples."""
    if all(batch is None for batch in moment.batches):
        return moment.grad
    return moment.landscape.grad(moment.params)


@dataclass(frozen=True)
class Distance(Probe):
    name, label = "distance", "Distance from the start"
    symbol = r"\|w - w_0\|"
    reference = "Euclidean norm"
    help = "How far the parameters have come, as the crow flies."

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        start = moment.params if memory is None else memory
        return (moment.params - start).norm(dim=-1), start


@dataclass(frozen=True)
class LayerNorms(Probe):
    name, label = "layer_norms", "Parameter norm by layer"
    symbol = r"\|W_l\|"
    reference = "Frobenius norm"
    help = "The length of each tensor of parameters."

    def entries(self, landscape: Landscape) -> tuple[str, ...]:
        return tuple(block.name for block in landscape.layout.blocks)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        parts = [moment.params[..., block.start : block.stop] for block in moment.landscape.layout.blocks]
        return torch.stack([part.norm(dim=-1) for part in parts], dim=-1), None


@dataclass(frozen=True)
class UpdateRatio(Probe):
    name, label = "update_ratio", "Update-to-weight ratio"
    symbol = r"\|\Delta w\| / \|w\|"
    reference = "Length of the step over length of the parameters"
    help = "How much of their own length the parameters are about to move in one step."

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        return moment.update().norm(dim=-1) / moment.params.norm(dim=-1), None


@dataclass(frozen=True)
class DirectionalSharpness(Probe):
    name, label = "directional_sharpness", "Directional sharpness"
    symbol = r"\frac{\Delta w^\top \nabla^2 L\, \Delta w}{\|\Delta w\|^2}"
    reference = "Pan and Li 2023, arXiv:2306.00204"
    help = "The curvature of the full loss along the step that the rule is about to take."

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        step = moment.update()
        # Of unit length first: the square of a short step would underflow.
        unit = step / step.norm(dim=-1, keepdim=True)
        return (unit * hessian_of(moment)(unit)).sum(-1), None


@dataclass(frozen=True)
class Alignment(Probe):
    name, label = "gradient_alignment", "Gradient-Hessian alignment"
    symbol = r"\cos(g, \nabla^2 L\, g)"
    reference = "Gur-Ari, Roberts and Dyer 2018, arXiv:1812.04754"
    help = "The cosine of the angle between the full gradient and its Hessian product: 1 along an eigenvector."

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        grad = full_gradient(moment)
        unit = grad / grad.norm(dim=-1, keepdim=True)
        product = hessian_of(moment)(unit)
        return (unit * product).sum(-1) / product.norm(dim=-1), None


@dataclass(frozen=True)
class SubspaceShare(Probe):
    name, label = "subspace_share", "Share of the gradient in the top subspace"
    symbol = r"\|P_k g\|^2 / \|g\|^2"
    reference = "Gur-Ari, Roberts and Dyer 2018, arXiv:1812.04754; Song, Ahn and Yun 2024, arXiv:2405.16002"
    help = "How much of the full gradient lies along the k steepest eigenvectors of the Hessian."
    k: int = setting(3, 1, 50, symbol="k", help="Dimension of the subspace.")

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        if self.k <= landscape.dim:
            return ""
        return f"{self.name} asks for {self.k} eigenvectors, and {landscape.name} has {landscape.dim} parameters."

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return of_pairs(landscape.dim, runs, self.k)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        warm = Warm(memory)
        pairs = top_eigenpairs(
            moment.landscape,
            moment.params,
            self.k,
            warm.tol / 10,  # a vector is only as good as its residual
            start=warm.start,
            seed=warm.count,
            extra=warm.extra,
        )
        grad = full_gradient(moment)
        unit = grad / grad.norm(dim=-1, keepdim=True)
        inside = (pairs.vectors[..., : self.k, :] * unit.unsqueeze(-2)).sum(-1)
        share = inside.square().sum(-1)
        return share.where(pairs.reached[..., : self.k].all(-1), torch.nan), warm.after(pairs)


@dataclass(frozen=True)
class GFSSharpness(Probe):
    """In closed form where the landscape has one (`gfs_sharpness` of landscapes/facts.py). Elsewhere gradient flow of the full
    loss is followed from each measured point until it is at rest (landscapes/flow.py), which takes some hundreds of gradients and
    some tens of Hessians; NaN where it is not at rest by then, or is seen to go to infinity.
    """

    name, label = "gfs_sharpness", "GFS sharpness"
    symbol = r"\lambda_{\max}(\nabla^2 L(w_\infty)), \; \dot w = -\nabla L(w)"
    reference = "Kreisler, Nacson, Soudry and Carmon 2023, arXiv:2305.13064"
    help = (
        "The sharpness of the minimum where gradient flow from here would end, in closed form or by following the flow; "
        "nothing where it does not come to rest."
    )
    tol: float = setting(
        1e-5, 1e-10, 1e-2, log=True, label="Tolerance",
        help="Of the flow that is followed, relative to the parameters. Along the creases of ReLU networks it mostly comes "
        "through only at 1e-3, where the sharpness may be off by a percent or two.",
    )  # fmt: skip
    most: int = setting(
        500,
        1,
        2000,
        label="Most parameters",
        help="Of landscapes without a closed form: the cost grows with their cube.",
    )
    steps: int = setting(300, 1, 10_000, label="Most steps", help="After which a flow is given up that is not at rest.")

    def refusal(self, landscape: Landscape, rule: Stepper) -> str:
        if landscape.gfs_sharpness(landscape.start()) is not None:
            return ""
        if landscape.flow_escapes():
            return (
                f"Gradient flow on {landscape.label} goes to infinity: there is no minimum whose sharpness to measure."
            )
        needs = "To follow gradient flow to its end needs the whole Hessian:"
        if landscape.dim > self.most:
            return f"{needs} GFS sharpness is for at most {self.most} parameters, and {landscape.name} has {landscape.dim}."
        if landscape.dim**2 * (landscape.samples or 1) > _MOST_WORK:
            most = int(_MOST_WORK / landscape.dim**2)
            return f"{needs} with its {landscape.dim} parameters {landscape.name} may have at most {most} samples, not {landscape.samples}."
        return ""

    def vectors(self, landscape: Landscape, runs: int) -> int:
        return 8 + (8 * landscape.dim if landscape.dim <= self.most else 0)

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        values = moment.landscape.gfs_sharpness(moment.params)
        if values is None:
            values = flow_end(moment.landscape, moment.params, tol=self.tol, most=self.steps).sharpness.to(moment.loss)
        return values, None
