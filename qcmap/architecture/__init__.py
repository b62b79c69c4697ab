"""The graph: ops, the immutable `Architecture` and its one walk, dominators, the builder, the zoo."""

from qcmap.architecture import zoo
from qcmap.architecture._architecture import Algebra, Architecture, Node
from qcmap.architecture._builder import Builder
from qcmap.architecture._dominators import DominatorTree
from qcmap.architecture._ops import (
    Affine,
    Concat,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Nonlinear,
    Op,
    Scale,
    Sum,
    Weight,
    WeightedMeanPool,
    is_symbolic,
)
from qcmap.architecture._rules import RULES, Violation, check

__all__ = [
    "RULES",
    "Affine",
    "Algebra",
    "Architecture",
    "Builder",
    "Concat",
    "DominatorTree",
    "Input",
    "LayerNorm",
    "MaxPool",
    "MeanPool",
    "Node",
    "Nonlinear",
    "Op",
    "Scale",
    "Sum",
    "Violation",
    "Weight",
    "WeightedMeanPool",
    "check",
    "is_symbolic",
    "zoo",
]
