"""Neural paths: features, values and kernels of gated networks (docs/paths.md).

A path goes from an input unit to an output unit, one weight after the other. `path_kernel` and its like work on any
architecture without enumerating paths, `path_table` lists those of small ones. Names load what they need when they
are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qcmap.architecture import Units
    from qcmap.numeric.paths._gates import Gates
    from qcmap.numeric.paths._kernel import (
        KernelBlock,
        active_paths,
        count_paths,
        overlap,
        path_kernel,
        path_kernel_blocks,
    )
    from qcmap.numeric.paths._log_kernel import LogKernel, log_path_kernel
    from qcmap.numeric.paths._network import GatedPass, run_gated, run_relu
    from qcmap.numeric.paths._table import PathTable, path_table
    from qcmap.numeric.paths._tangent import ValueTangent, gated_ntk, value_tangent
    from qcmap.numeric.paths._weights import Weights, random_weights

_HOMES = {
    "qcmap.architecture": ("Units",),
    "qcmap.numeric.paths._gates": ("Gates",),
    "qcmap.numeric.paths._kernel": (
        "KernelBlock",
        "active_paths",
        "count_paths",
        "overlap",
        "path_kernel",
        "path_kernel_blocks",
    ),
    "qcmap.numeric.paths._log_kernel": ("LogKernel", "log_path_kernel"),
    "qcmap.numeric.paths._network": ("GatedPass", "run_gated", "run_relu"),
    "qcmap.numeric.paths._table": ("PathTable", "path_table"),
    "qcmap.numeric.paths._tangent": ("ValueTangent", "gated_ntk", "value_tangent"),
    "qcmap.numeric.paths._weights": ("Weights", "random_weights"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "GatedPass",
    "Gates",
    "KernelBlock",
    "LogKernel",
    "PathTable",
    "Units",
    "ValueTangent",
    "Weights",
    "active_paths",
    "count_paths",
    "gated_ntk",
    "log_path_kernel",
    "overlap",
    "path_kernel",
    "path_kernel_blocks",
    "path_table",
    "random_weights",
    "run_gated",
    "run_relu",
    "value_tangent",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qcmap.paths' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
