"""Gated deep linear networks in numbers: decoupling, full and reduced flows, observations (docs/gated.md)."""

from qcmap.numeric.gated._decouple import Decoupled, decouple
from qcmap.numeric.gated._full import FullFlow, Trajectory, random_weights
from qcmap.numeric.gated._reduce import decoupled_weights, first_integrals, reduce
from qcmap.numeric.gated._solve import Equilibrium, Solution, descend, equilibrium, solve

__all__ = [
    "Decoupled",
    "Equilibrium",
    "FullFlow",
    "Solution",
    "Trajectory",
    "decouple",
    "decoupled_weights",
    "descend",
    "equilibrium",
    "first_integrals",
    "random_weights",
    "reduce",
    "solve",
]
