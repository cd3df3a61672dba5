"""Small models of the literature, each with its closed form and what is known of it (see `landscapes.facts`)."""

from landscapes.theory.classification import LinearSoftmax, Logistic, TokenMemory
from landscapes.theory.factors import MatrixFactorization, MatrixSensing
from landscapes.theory.invariant import ScaleInvariant
from landscapes.theory.products import CatapultNetwork, DeepLinear, ScalarNetwork
from landscapes.theory.regression import DiagonalNetwork, OpposingSignals, PhaseRetrieval, QuadraticRegression
from landscapes.theory.valleys import AssociativeMemory, Catapult, LogCoshValley

THEORY_SURFACES = (Catapult, LogCoshValley, AssociativeMemory)
THEORY = (
    ScalarNetwork,
    DeepLinear,
    MatrixFactorization,
    MatrixSensing,
    DiagonalNetwork,
    QuadraticRegression,
    OpposingSignals,
    CatapultNetwork,
    ScaleInvariant,
    PhaseRetrieval,
    Logistic,
    LinearSoftmax,
    TokenMemory,
)
