"""The graph: ops, the immutable `Architecture` and its one walk, dominators, the builder, the zoo."""

from qcmap.architecture import zoo
from qcmap.architecture._architecture import Architecture
from qcmap.architecture._builder import Builder
from qcmap.architecture._dominators import DominatorTree
from qcmap.architecture._files import load, save
from qcmap.architecture._node import Algebra, Node
from qcmap.architecture._ops import (
    OPS,
    TRANSPARENT,
    Affine,
    BatchNorm,
    Channels,
    Concat,
    Gate,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Multiply,
    Nonlinear,
    Op,
    Output,
    Pool,
    Scale,
    Sum,
    Upsample,
    Weight,
    WeightedMeanPool,
)
from qcmap.architecture._rewrite import Change, Rewrite
from qcmap.architecture._rules import RULES, Rule, Violation, check, refuse_without_maps
from qcmap.architecture._sources import is_depthwise, raw_maps
from qcmap.architecture._units import Units
from qcmap.architecture._values import Locations, is_symbolic

__all__ = [
    "OPS",
    "RULES",
    "TRANSPARENT",
    "Affine",
    "Algebra",
    "Architecture",
    "BatchNorm",
    "Builder",
    "Change",
    "Channels",
    "Concat",
    "DominatorTree",
    "Gate",
    "Input",
    "LayerNorm",
    "Locations",
    "MaxPool",
    "MeanPool",
    "Multiply",
    "Node",
    "Nonlinear",
    "Op",
    "Output",
    "Pool",
    "Rewrite",
    "Rule",
    "Scale",
    "Sum",
    "Units",
    "Upsample",
    "Violation",
    "Weight",
    "WeightedMeanPool",
    "check",
    "is_depthwise",
    "is_symbolic",
    "load",
    "raw_maps",
    "refuse_without_maps",
    "save",
    "zoo",
]
