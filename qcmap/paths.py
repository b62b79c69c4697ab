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
    from qcmap.numeric.paths._adapting import (
        AdaptingKernels,
        GateNetwork,
        activity_sensitivities,
        adapting_kernels,
        delta,
    )
    from qcmap.numeric.paths._chain_moments import chain_moments
    from qcmap.numeric.paths._expected import ExpectedKernels, expected_kernels
    from qcmap.numeric.paths._first import first_paths
    from qcmap.numeric.paths._gate_function import GateFunction
    from qcmap.numeric.paths._gates import Gates
    from qcmap.numeric.paths._kernel import (
        KernelBlock,
        active_paths,
        count_paths,
        overlap,
        path_kernel,
        path_kernel_blocks,
    )
    from qcmap.numeric.paths._limiting import limiting_kernel
    from qcmap.numeric.paths._log_kernel import LogKernel, log_path_kernel
    from qcmap.numeric.paths._moments import KernelMoments, exhaustive_moments, monomial_moments
    from qcmap.numeric.paths._network import GatedPass, run_gated, run_relu
    from qcmap.numeric.paths._spectra import Spectrum, expected_path_kernel, memorisation_kernel, nu, random_gates
    from qcmap.numeric.paths._table import PathTable, path_table
    from qcmap.numeric.paths._tangent import ValueTangent, gated_ntk, value_tangent
    from qcmap.numeric.paths._weights import Weights, random_weights

_HOMES = {
    "architecture": ("Units",),
    "numeric.paths._adapting": (
        "AdaptingKernels",
        "GateNetwork",
        "activity_sensitivities",
        "adapting_kernels",
        "delta",
    ),
    "numeric.paths._chain_moments": ("chain_moments",),
    "numeric.paths._expected": (
        "ExpectedKernels",
        "expected_kernels",
    ),
    "numeric.paths._first": ("first_paths",),
    "numeric.paths._gate_function": ("GateFunction",),
    "numeric.paths._gates": ("Gates",),
    "numeric.paths._kernel": (
        "KernelBlock",
        "active_paths",
        "count_paths",
        "overlap",
        "path_kernel",
        "path_kernel_blocks",
    ),
    "numeric.paths._limiting": ("limiting_kernel",),
    "numeric.paths._log_kernel": (
        "LogKernel",
        "log_path_kernel",
    ),
    "numeric.paths._moments": (
        "KernelMoments",
        "exhaustive_moments",
        "monomial_moments",
    ),
    "numeric.paths._network": (
        "GatedPass",
        "run_gated",
        "run_relu",
    ),
    "numeric.paths._spectra": (
        "Spectrum",
        "expected_path_kernel",
        "memorisation_kernel",
        "nu",
        "random_gates",
    ),
    "numeric.paths._table": (
        "PathTable",
        "path_table",
    ),
    "numeric.paths._tangent": (
        "ValueTangent",
        "gated_ntk",
        "value_tangent",
    ),
    "numeric.paths._weights": (
        "Weights",
        "random_weights",
    ),
}

__all__ = [
    "AdaptingKernels",
    "ExpectedKernels",
    "GateFunction",
    "GateNetwork",
    "GatedPass",
    "Gates",
    "KernelBlock",
    "KernelMoments",
    "LogKernel",
    "PathTable",
    "Spectrum",
    "Units",
    "ValueTangent",
    "Weights",
    "active_paths",
    "activity_sensitivities",
    "adapting_kernels",
    "chain_moments",
    "count_paths",
    "delta",
    "exhaustive_moments",
    "expected_kernels",
    "expected_path_kernel",
    "first_paths",
    "gated_ntk",
    "limiting_kernel",
    "log_path_kernel",
    "memorisation_kernel",
    "monomial_moments",
    "nu",
    "overlap",
    "path_kernel",
    "path_kernel_blocks",
    "path_table",
    "random_gates",
    "random_weights",
    "run_gated",
    "run_relu",
    "value_tangent",
]

__getattr__, __dir__ = lazy(__name__, "qcmap", _HOMES, shown=__all__)
