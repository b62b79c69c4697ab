"""qcmap: what a network's wiring does to geometry, gradients and learning.

``import qcmap as qc`` is light: a public name loads its module when it is first used, and sympy, torch and matplotlib
are imported only where they are needed. ``import qcmap.nn`` is the torch layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcmap._lazy import lazy

if TYPE_CHECKING:
    from qcmap import activations as activations
    from qcmap import architecture as architecture
    from qcmap import errors as errors
    from qcmap import gated as gated
    from qcmap import nn as nn
    from qcmap import numeric as numeric
    from qcmap import paths as paths
    from qcmap import symbolic as symbolic
    from qcmap.activations import Activation, activation
    from qcmap.architecture import Architecture, Builder, Violation, check, load, save, zoo
    from qcmap.errors import Infeasible, QCMapError
    from qcmap.numeric import (
        KernelDescent,
        Shaping,
        Transform,
        compare,
        count_solutions,
        dks,
        dynamics,
        edge_of_chaos,
        local_maps,
        network_maps,
        ntk,
        ntk_gram,
        selu_like,
        tat,
    )
    from qcmap.numeric.paths._kernel import path_kernel
    from qcmap.reporting import report
    from qcmap.symbolic import (
        MaximalSlope,
        SlopePolynomial,
        maximal_c0,
        maximal_curvature,
        maximal_slope,
        slope_polynomial,
    )

__version__ = "0.1.0"

_HOMES = {
    "activations": ("Activation", "activation"),
    "architecture": ("Architecture", "Builder", "Violation", "check", "load", "save", "zoo"),
    "errors": ("Infeasible", "QCMapError"),
    "numeric": (
        "KernelDescent",
        "Shaping",
        "Transform",
        "compare",
        "count_solutions",
        "dks",
        "dynamics",
        "edge_of_chaos",
        "local_maps",
        "network_maps",
        "ntk",
        "ntk_gram",
        "selu_like",
        "tat",
    ),
    "paths": ("path_kernel",),
    "reporting": ("report",),
    "symbolic": (
        "MaximalSlope",
        "SlopePolynomial",
        "maximal_c0",
        "maximal_curvature",
        "maximal_slope",
        "slope_polynomial",
    ),
}
_SUBMODULES = frozenset({"activations", "architecture", "errors", "gated", "nn", "numeric", "paths", "symbolic"})

__all__ = [
    "Activation",
    "Architecture",
    "Builder",
    "Infeasible",
    "KernelDescent",
    "MaximalSlope",
    "QCMapError",
    "Shaping",
    "SlopePolynomial",
    "Transform",
    "Violation",
    "activation",
    "check",
    "compare",
    "count_solutions",
    "dks",
    "dynamics",
    "edge_of_chaos",
    "load",
    "local_maps",
    "maximal_c0",
    "maximal_curvature",
    "maximal_slope",
    "network_maps",
    "ntk",
    "ntk_gram",
    "path_kernel",
    "report",
    "save",
    "selu_like",
    "slope_polynomial",
    "tat",
    "zoo",
]

__getattr__, __dir__ = lazy(__name__, "qcmap", _HOMES, shown=(*__all__, "__version__"), submodules=_SUBMODULES)
