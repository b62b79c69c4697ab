"""Torch: shaped activations, initialization, input normalization, measurement and training."""

from importlib.util import find_spec

from qcmap.errors import MissingExtra

if find_spec("torch") is None:
    raise MissingExtra("qcmap.nn", "it needs torch, which is not installed", "pip install 'qcmap[torch]'")

from qcmap.nn import functional, methods, train
from qcmap.nn._gated import GatedModule
from qcmap.nn._gated_trace import trace_gated
from qcmap.nn._initialize import initialize
from qcmap.nn._layers import LazyWeightedMeanPool, NormalizedSum, WeightedMeanPool
from qcmap.nn._network import GraphNetwork
from qcmap.nn._paths import active_paths, log_path_kernel, overlap, path_kernel, path_kernel_blocks
from qcmap.nn._pln import PLN, pln, pln_inverse
from qcmap.nn._shaped import PlainActivation, ShapedActivation, activation_module
from qcmap.nn._weights import gaussian_weight, orthogonal_weight
from qcmap.nn.functional import bentid, torch_function
from qcmap.nn.gates import (
    GateFunction,
    GateKernels,
    GateRecorder,
    SplitModel,
    Subnetworks,
    gate_kernels,
    split_gates,
    subnetworks,
)
from qcmap.nn.measuring._measure import measure
from qcmap.nn.measuring._results import Measurement, NodeMeasurement
from qcmap.nn.measuring._seeds import SeedsMeasurement, measure_seeds
from qcmap.nn.measuring._tangent import EmpiricalNTK, empirical_ntk
from qcmap.nn.shaping import ChannelNorm, ShapedModel, fold, shape, unfold
from qcmap.nn.tracing import Traced, trace, traced
from qcmap.nn.train import History, fit

__all__ = [
    "PLN",
    "ChannelNorm",
    "EmpiricalNTK",
    "GateFunction",
    "GateKernels",
    "GateRecorder",
    "GatedModule",
    "GraphNetwork",
    "History",
    "LazyWeightedMeanPool",
    "Measurement",
    "NodeMeasurement",
    "NormalizedSum",
    "PlainActivation",
    "SeedsMeasurement",
    "ShapedActivation",
    "ShapedModel",
    "SplitModel",
    "Subnetworks",
    "Traced",
    "WeightedMeanPool",
    "activation_module",
    "active_paths",
    "bentid",
    "empirical_ntk",
    "fit",
    "fold",
    "functional",
    "gate_kernels",
    "gaussian_weight",
    "initialize",
    "log_path_kernel",
    "measure",
    "measure_seeds",
    "methods",
    "orthogonal_weight",
    "overlap",
    "path_kernel",
    "path_kernel_blocks",
    "pln",
    "pln_inverse",
    "shape",
    "split_gates",
    "subnetworks",
    "torch_function",
    "trace",
    "trace_gated",
    "traced",
    "train",
    "unfold",
]
