"""How we move: rules, and running them on a landscape."""

from optimizers.adam import AdaMax, NAdam
from optimizers.adam_departures import SWATS, Adafactor, FAdam, Gravity, INNAprop
from optimizers.adam_family import ADOPT, AdaBound, Adan, AdEMAMix, AMSBound, DiffGrad, Grams, OptAMSGrad
from optimizers.adaptive import MADGRAD, Adadelta, AdaGrad, AdaGradNorm, Adam, AdamW, AMSGrad, RMSProp
from optimizers.curvature_aware import AdaHessian, SophiaH
from optimizers.judgement import Course, Judgement, Outlook, Response, judge, response, stable_step
from optimizers.layerwise import LAMB, LARS
from optimizers.matrix import SOAP, Muon, Shampoo
from optimizers.momentum import SGDW, GradientDescent, HeavyBall, Nesterov
from optimizers.norms import LionK, SteepestDescent
from optimizers.optimizer import Evaluation, Optimizer, Oracle, Spent
from optimizers.parameter_free import Prodigy, ScheduleFreeAdamW, ScheduleFreeSGD
from optimizers.probes import PROBES, Probe
from optimizers.radial import SGDP, AdamP
from optimizers.schedules import Constant, Cosine, LinearDecay, OneCycle, Refined, Schedule, StepDecay, WarmRestarts
from optimizers.sharpness_aware import GAM, SAM, AcceleratedGAM, GradientRegularization
from optimizers.sign import Lion, SignDescent
from optimizers.stepper import Stepper
from optimizers.stepsize import Scan, Study, outlook, study, studying
from optimizers.sweep import Sweep, sweep, sweeping, swept, with_values
from optimizers.trajectory import SAMPLINGS, Counts, Iterate, Trajectory, iterate, planned, run, running
from optimizers.tune import Tuned, tune
from optimizers.wrappers import (
    ClipNorm,
    ClipValue,
    DecoupledDecay,
    GradientNoise,
    Lookahead,
    Scheduled,
    WeightPrediction,
    Wrapper,
    composed,
    layers,
)

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.name: kind
    for kind in (
        GradientDescent,
        HeavyBall,
        Nesterov,
        SGDW,
        AdaGrad,
        AdaGradNorm,
        RMSProp,
        Adadelta,
        MADGRAD,
        Adam,
        AdamW,
        AMSGrad,
        AdaMax,
        NAdam,
        SGDP,
        AdamP,
        AdEMAMix,
        DiffGrad,
        Gravity,
        AdaBound,
        AMSBound,
        Grams,
        FAdam,
        Adafactor,
        Adan,
        ADOPT,
        SignDescent,
        SteepestDescent,
        Lion,
        LionK,
        OptAMSGrad,
        SWATS,
        Muon,
        Shampoo,
        SOAP,
        LARS,
        LAMB,
        SAM,
        GAM,
        AcceleratedGAM,
        GradientRegularization,
        INNAprop,
        AdaHessian,
        SophiaH,
        ScheduleFreeSGD,
        ScheduleFreeAdamW,
        Prodigy,
    )
}

SCHEDULES: dict[str, type[Schedule]] = {
    kind.name: kind for kind in (Constant, LinearDecay, Cosine, WarmRestarts, OneCycle, StepDecay, Refined)
}

WRAPPERS: dict[str, type[Wrapper]] = {
    kind.name: kind for kind in (ClipNorm, ClipValue, Lookahead, DecoupledDecay, GradientNoise, WeightPrediction)
}

__all__ = [
    "OPTIMIZERS",
    "PROBES",
    "SAMPLINGS",
    "SCHEDULES",
    "WRAPPERS",
    "Counts",
    "Evaluation",
    "Iterate",
    "Optimizer",
    "Oracle",
    "Probe",
    "Scan",
    "Schedule",
    "Scheduled",
    "Spent",
    "Stepper",
    "Study",
    "Sweep",
    "Trajectory",
    "Tuned",
    "Wrapper",
    "composed",
    "stable_step",
    "response",
    "judge",
    "Response",
    "Outlook",
    "Judgement",
    "Course",
    "iterate",
    "layers",
    "planned",
    "run",
    "outlook",
    "running",
    "study",
    "studying",
    "sweep",
    "sweeping",
    "swept",
    "tune",
    "with_values",
]
