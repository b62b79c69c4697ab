"""Gates apart from values: any ReLU network split in two, its active sub-networks, and its kernels."""

from qcmap.nn.gates._checks import check_finite, check_ranges, check_shapes
from qcmap.nn.gates._function import HARD, GateFunction
from qcmap.nn.gates._kernels import GateKernels, gate_kernels
from qcmap.nn.gates._recorder import GateRecorder
from qcmap.nn.gates._split import Gates, SplitModel, Values, split_gates
from qcmap.nn.gates._subnetworks import Subnetworks, subnetworks

__all__ = [
    "HARD",
    "GateFunction",
    "GateKernels",
    "GateRecorder",
    "Gates",
    "SplitModel",
    "Subnetworks",
    "Values",
    "check_finite",
    "check_ranges",
    "check_shapes",
    "gate_kernels",
    "split_gates",
    "subnetworks",
]
