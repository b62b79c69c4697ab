"""Neural paths: features, values and kernels of gated networks (docs/paths.md).

A path goes from an input unit to an output unit, one weight after the other. `path_kernel` and its like work on any
architecture without enumerating paths, `path_table` lists those of small ones. Names load what they need when they
are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcmap._lazy import lazy

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
    "architecture": ("Units",),
    "numeric.paths._gates": ("Gates",),
    "numeric.paths._kernel": (
        "KernelBlock",
        "active_paths",
        "count_paths",
        "overlap",
        "path_kernel",
        "path_kernel_blocks",
    ),
    "numeric.paths._log_kernel": ("LogKernel", "log_path_kernel"),
    "numeric.paths._network": ("GatedPass", "run_gated", "run_relu"),
    "numeric.paths._table": ("PathTable", "path_table"),
    "numeric.paths._tangent": ("ValueTangent", "gated_ntk", "value_tangent"),
    "numeric.paths._weights": ("Weights", "random_weights"),
}

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

__getattr__, __dir__ = lazy(__name__, "qcmap", _HOMES, shown=__all__)
