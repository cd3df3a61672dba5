"""Where we move: losses over flat parameter vectors, and their geometry around a point."""

from landscapes.curvature import eigenpairs, sharpness, top_eigenpairs
from landscapes.extremes import Extremes, extreme_eigenvalues
from landscapes.flow import FlowEnd, flow_end
from landscapes.landscape import Block, Landscape, Layout
from landscapes.module import ModuleLandscape, from_module
from landscapes.networks import CNN, LSTM, MLP, RNN, Network, ResidualCNN, ResidualMLP, Transformer
from landscapes.quantities import QUANTITIES, Quantity
from landscapes.setting import Setting, setting, settings
from landscapes.slices import Plane, slice_2d, slicing
from landscapes.solvers import Eigenpairs
from landscapes.supervised import Supervised
from landscapes.surfaces import (
    Ackley,
    Beale,
    Booth,
    Formula,
    Himmelblau,
    MonkeySaddle,
    Quadratic,
    Rastrigin,
    Rosenbrock,
    Saddle,
    StabilityValley,
    StyblinskiTang,
    Surface,
    ThreeHumpCamel,
)
from landscapes.theory import THEORY, THEORY_SURFACES
from landscapes.warm import Warm

LANDSCAPES: dict[str, type[Landscape]] = {
    kind.name: kind
    for kind in (
        Rosenbrock,
        Quadratic,
        Beale,
        Himmelblau,
        Rastrigin,
        Ackley,
        StyblinskiTang,
        Saddle,
        MonkeySaddle,
        ThreeHumpCamel,
        Booth,
        StabilityValley,
        *THEORY_SURFACES,
        Formula,
        MLP,
        ResidualMLP,
        CNN,
        ResidualCNN,
        Transformer,
        RNN,
        LSTM,
        *THEORY,
    )
}

__all__ = [
    "LANDSCAPES",
    "MLP",
    "QUANTITIES",
    "Block",
    "Eigenpairs",
    "Extremes",
    "Warm",
    "FlowEnd",
    "Formula",
    "Landscape",
    "Layout",
    "ModuleLandscape",
    "Network",
    "Plane",
    "Quantity",
    "Setting",
    "Supervised",
    "Surface",
    "eigenpairs",
    "extreme_eigenvalues",
    "flow_end",
    "from_module",
    "setting",
    "settings",
    "sharpness",
    "slice_2d",
    "slicing",
    "top_eigenpairs",
]
