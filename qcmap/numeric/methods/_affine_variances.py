"""Architectures with other weight and bias variances."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from qcmap.architecture import Affine, Architecture, Node, Weight
from qcmap.errors import ArgumentError


def architecture(arch: object) -> Architecture:
    """The argument; raises `ArgumentError` if it is not an architecture."""
    if not isinstance(arch, Architecture):
        raise ArgumentError("arch", f"it is an architecture, not {arch!r}", "build one with qcmap.Builder or qcmap.zoo")
    return arch


def with_variances(arch: Architecture, variances: Mapping[str, tuple[Weight, Weight]]) -> Architecture:
    """The architecture with ``variances[node]`` = (weight variance, bias variance) in the affine layers named."""

    def changed(node: Node) -> Node:
        if node.id not in variances:
            return node
        assert isinstance(node.op, Affine)
        weights, biases = variances[node.id]
        op = dataclasses.replace(node.op, weight_variance=weights, bias_variance=biases)
        return Node(node.id, op, node.inputs)

    return Architecture(arch.name, tuple(map(changed, arch.nodes)), arch.outputs)
