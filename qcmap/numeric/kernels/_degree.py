"""The degree of homogeneity of a network's kernel: whether norms of inputs are factors of it."""

from __future__ import annotations

import math
from collections.abc import Callable

from qcmap.architecture import (
    TRANSPARENT,
    Affine,
    Algebra,
    Concat,
    Gate,
    Input,
    LayerNorm,
    Node,
    Nonlinear,
    Scale,
    Sum,
)
from qcmap.numeric.kernels._kernel_walk import KernelWalk, homogeneity

_NONE = math.inf
"""The degree of a node whose feature map is not homogeneous."""


def homogeneous_degree(walk: KernelWalk) -> float | None:
    """k if the network's kernels are K(a x, b x') = (a b)^k K(x, x') for all a, b > 0; else None.

    The m value at a node of degree k grows as (a b)^k, and so does every Theta_v = m_v dm_out/dm_v of a network of
    degree k. An activation with phi(a u) = a^j phi(u) multiplies degrees by j (DKS, section 18.6), a bias needs degree
    0, a sum or concatenation equal degrees; a layer norm, and any activation after one, has degree 0.
    """
    degrees = walk.arch.fold(Algebra("degree of homogeneity", _rules(walk)))
    found = degrees[walk.arch.nodes[walk.end].id]
    return None if found == _NONE else found


def _rules(walk: KernelWalk) -> dict[type, Callable[[Node, list[float]], float]]:
    def affine(node: Node, degrees: list[float]) -> float:
        assert isinstance(node.op, Affine)
        return degrees[0] if degrees[0] == 0 or node.op.bias_variance == 0 else _NONE

    def nonlinear(node: Node, degrees: list[float]) -> float:
        if degrees[0] == 0:
            return 0.0
        own = homogeneity(walk.local[node.id].transform)
        return _NONE if own is None else own * degrees[0]

    def mixed(node: Node, degrees: list[float]) -> float:
        return degrees[0] if len(set(degrees)) == 1 else _NONE

    def norm(node: Node, degrees: list[float]) -> float:
        return _NONE if degrees[0] == _NONE else 0.0

    def same(node: Node, degrees: list[float]) -> float:
        return degrees[0]

    return {
        Input: lambda node, degrees: 1.0,
        Affine: affine,
        Nonlinear: nonlinear,
        Sum: mixed,
        Concat: mixed,
        LayerNorm: norm,
        **dict.fromkeys((Scale, Gate, *TRANSPARENT), same),
    }
