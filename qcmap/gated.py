"""Gated deep linear networks: from a graph and its gates to the reduced dynamics (docs/gated.md).

Describe a network with a builder (`routing`, `sharing`, `xor`, ...) or as a `GatedNetwork` of an architecture and a
`GatedTask`; `gradient_flow` writes its flow down, `reduce` lumps it, `first_integrals` are what it conserves, and
`solve` integrates it. Names load what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qcmap.architecture.gated import (
        Context,
        GatedNetwork,
        GatedTask,
        call,
        contextual,
        load,
        multimodal,
        routing,
        save,
        sharing,
        skips,
        tree,
        xor,
    )
    from qcmap.numeric.gated import (
        Coupled,
        Decoupled,
        Equilibrium,
        FullFlow,
        Projection,
        Race,
        Solution,
        Trajectory,
        coupled,
        decouple,
        decoupled_weights,
        descend,
        elsewhere,
        equilibrium,
        first_integrals,
        project,
        race,
        random_weights,
        reduce,
        respond,
        similarity,
        singular_values,
        solve,
    )
    from qcmap.symbolic.gated import (
        GradientFlow,
        Reduced,
        ScalarEquation,
        Statistics,
        gradient_flow,
        paths,
        statistics,
    )

_HOMES = {
    "qcmap.architecture.gated": (
        "Context",
        "GatedNetwork",
        "GatedTask",
        "call",
        "contextual",
        "load",
        "multimodal",
        "routing",
        "save",
        "sharing",
        "skips",
        "tree",
        "xor",
    ),
    "qcmap.numeric.gated": (
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
    ),
    "qcmap.symbolic.gated": (
        "GradientFlow",
        "Reduced",
        "ScalarEquation",
        "Statistics",
        "gradient_flow",
        "paths",
        "statistics",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

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


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qcmap.gated' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
