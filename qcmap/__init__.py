"""qcmap: what a network's wiring does to geometry, gradients and learning.

``import qcmap as qc`` is light: a public name loads its module when it is first used, and sympy, torch and matplotlib
are imported only where they are needed. ``import qcmap.nn`` is the torch layer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    "qcmap.activations": ("Activation", "activation"),
    "qcmap.architecture": ("Architecture", "Builder", "Violation", "check", "load", "save", "zoo"),
    "qcmap.errors": ("Infeasible", "QCMapError"),
    "qcmap.numeric": (
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
    "qcmap.paths": ("path_kernel",),
    "qcmap.symbolic": (
        "MaximalSlope",
        "SlopePolynomial",
        "maximal_c0",
        "maximal_curvature",
        "maximal_slope",
        "slope_polynomial",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
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
    "save",
    "selu_like",
    "slope_polynomial",
    "tat",
    "zoo",
]


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f"qcmap.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qcmap' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES, "__version__"})
