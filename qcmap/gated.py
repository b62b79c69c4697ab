"""Gated deep linear networks: from a graph and its gates to the reduced dynamics (docs/gated.md).

Describe a network with a builder (`routing`, `sharing`, `xor`, ...) or as a `GatedNetwork` of an architecture and a
`GatedTask`; `gradient_flow` writes its flow down, `reduce` lumps it, `first_integrals` are what it conserves, and
`solve` integrates it. Names load what they need when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcmap._lazy import lazy

if TYPE_CHECKING:
    from qcmap.architecture.gated._call import call
    from qcmap.architecture.gated._context import Context
    from qcmap.architecture.gated._examples import contextual, multimodal, skips, tree, xor
    from qcmap.architecture.gated._files import load, save
    from qcmap.architecture.gated._network import GatedNetwork
    from qcmap.architecture.gated._routing import routing, sharing
    from qcmap.architecture.gated._task import GatedTask
    from qcmap.numeric.gated._coupled import Coupled, coupled
    from qcmap.numeric.gated._decouple import Decoupled, decouple
    from qcmap.numeric.gated._full import FullFlow, Trajectory, random_weights
    from qcmap.numeric.gated._observe import elsewhere, respond, similarity, singular_values
    from qcmap.numeric.gated._race import Race, race
    from qcmap.numeric.gated._reduce import decoupled_weights, first_integrals, reduce
    from qcmap.numeric.gated._solve import Equilibrium, Solution, descend, equilibrium, solve
    from qcmap.numeric.gated._start import Projection, project
    from qcmap.symbolic.gated._diagonal import exact_modes
    from qcmap.symbolic.gated._gradient import GradientFlow, gradient_flow
    from qcmap.symbolic.gated._paths import Statistics, paths, statistics
    from qcmap.symbolic.gated._reduced import Reduced
    from qcmap.symbolic.gated._scalar import ScalarEquation

_HOMES = {
    "architecture.gated._call": ("call",),
    "architecture.gated._context": ("Context",),
    "architecture.gated._examples": ("contextual", "multimodal", "skips", "tree", "xor"),
    "architecture.gated._files": ("load", "save"),
    "architecture.gated._network": ("GatedNetwork",),
    "architecture.gated._routing": ("routing", "sharing"),
    "architecture.gated._task": ("GatedTask",),
    "numeric.gated._coupled": ("Coupled", "coupled"),
    "numeric.gated._decouple": ("Decoupled", "decouple"),
    "numeric.gated._full": ("FullFlow", "Trajectory", "random_weights"),
    "numeric.gated._observe": ("elsewhere", "respond", "similarity", "singular_values"),
    "numeric.gated._race": ("Race", "race"),
    "numeric.gated._reduce": ("decoupled_weights", "first_integrals", "reduce"),
    "numeric.gated._solve": ("Equilibrium", "Solution", "descend", "equilibrium", "solve"),
    "numeric.gated._start": ("Projection", "project"),
    "symbolic.gated._diagonal": ("exact_modes",),
    "symbolic.gated._gradient": ("GradientFlow", "gradient_flow"),
    "symbolic.gated._paths": ("Statistics", "paths", "statistics"),
    "symbolic.gated._reduced": ("Reduced",),
    "symbolic.gated._scalar": ("ScalarEquation",),
}

__all__ = [
    "Context",
    "Coupled",
    "Decoupled",
    "Equilibrium",
    "FullFlow",
    "GatedNetwork",
    "GatedTask",
    "GradientFlow",
    "Projection",
    "Race",
    "Reduced",
    "ScalarEquation",
    "Solution",
    "Statistics",
    "Trajectory",
    "call",
    "contextual",
    "coupled",
    "decouple",
    "decoupled_weights",
    "descend",
    "elsewhere",
    "equilibrium",
    "exact_modes",
    "first_integrals",
    "gradient_flow",
    "load",
    "multimodal",
    "paths",
    "project",
    "race",
    "random_weights",
    "reduce",
    "respond",
    "routing",
    "save",
    "sharing",
    "similarity",
    "singular_values",
    "skips",
    "solve",
    "statistics",
    "tree",
    "xor",
]

__getattr__, __dir__ = lazy(__name__, "qcmap", _HOMES, shown=__all__)
