"""Probes: what to measure along a run. To add one, write a class beside its siblings and add its name to the tuple below."""

from __future__ import annotations

from collections.abc import Sequence

from optimizers.probes.batches import BatchHessian, BatchSharpness, EmpiricalFisher, GradientNoise
from optimizers.probes.hessian import PreconditionedSharpness, Sharpness, TopEigenvalues
from optimizers.probes.jacobian import TrainingJacobian
from optimizers.probes.motion import (
    Alignment,
    DirectionalSharpness,
    Distance,
    GFSSharpness,
    LayerNorms,
    SubspaceShare,
    UpdateRatio,
)
from optimizers.probes.outputs import GaussNewton, Sparsity, TangentKernel, TestAccuracy, TestLoss, TrainingAccuracy
from optimizers.probes.probe import Memory, Moment, Probe, check, unmeasured
from optimizers.probes.spectrum import FrobeniusNorm, SmallestEigenvalue, SpectralDensity, Trace

PROBES: dict[str, type[Probe]] = {
    kind.name: kind
    for kind in (
        Sharpness,
        TopEigenvalues,
        PreconditionedSharpness,
        BatchSharpness,
        BatchHessian,
        SmallestEigenvalue,
        Trace,
        FrobeniusNorm,
        SpectralDensity,
        GaussNewton,
        EmpiricalFisher,
        TangentKernel,
        GradientNoise,
        DirectionalSharpness,
        Alignment,
        SubspaceShare,
        GFSSharpness,
        LayerNorms,
        UpdateRatio,
        Distance,
        TrainingAccuracy,
        TestAccuracy,
        TestLoss,
        Sparsity,
        TrainingJacobian,
    )
}


def measured(probes: Sequence[str | Probe]) -> dict[str, Probe]:
    """The probes by name; a name stands for a probe with its default settings.

    Raises ValueError for a name that is not registered and for two of one name, TypeError for what is no probe.
    """
    found: dict[str, Probe] = {}
    for one in probes:
        if isinstance(one, str):
            if one not in PROBES:
                raise ValueError(f"{one!r} is not a probe: it must be one of {', '.join(PROBES)}.")
            one = PROBES[one]()
        if not isinstance(one, Probe):
            raise TypeError(f"{one!r} is not a probe: give a name, or build one, as in PROBES['sharpness']().")
        if one.name in found:
            raise ValueError(f"The probe {one.name} is given twice: a run measures each once.")
        found[one.name] = one
    return found


__all__ = [
    "PROBES",
    "Memory",
    "Moment",
    "Probe",
    "SpectralDensity",
    "TopEigenvalues",
    "check",
    "measured",
    "unmeasured",
]
