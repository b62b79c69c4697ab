"""Gated deep linear networks in numbers: decoupling, full and reduced flows, observations (docs/gated.md)."""

from qcmap.numeric.gated._coupled import Coupled, coupled
from qcmap.numeric.gated._decouple import Decoupled, decouple
from qcmap.numeric.gated._full import FullFlow, Trajectory, random_weights
from qcmap.numeric.gated._observe import elsewhere, respond, similarity, singular_values
from qcmap.numeric.gated._race import Race, race
from qcmap.numeric.gated._reduce import decoupled_weights, first_integrals, reduce
from qcmap.numeric.gated._solve import Equilibrium, Solution, descend, equilibrium, solve
from qcmap.numeric.gated._start import Projection, project

__all__ = [
    "Coupled",
    "Decoupled",
    "Equilibrium",
    "FullFlow",
    "Projection",
    "Race",
    "Solution",
    "Trajectory",
    "coupled",
    "decouple",
    "decoupled_weights",
    "descend",
    "elsewhere",
    "equilibrium",
    "first_integrals",
    "project",
    "race",
    "random_weights",
    "reduce",
    "respond",
    "similarity",
    "singular_values",
    "solve",
]
