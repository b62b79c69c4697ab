"""Gated networks by name, as the command line calls them."""

from __future__ import annotations

from collections.abc import Callable

from qcmap.architecture.gated._checks import check_kind
from qcmap.architecture.gated._examples import contextual, multimodal, skips, tree, xor
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._routing import routing, sharing
from qcmap.architecture.zoo import read_call

FAMILIES: dict[str, Callable[..., GatedNetwork]] = {
    family.__name__: family for family in (routing, sharing, xor, contextual, tree, skips, multimodal)
}
"""The builders by name."""


def call(specification: str) -> GatedNetwork:
    """The network that a call such as ``routing:M=7,K=4`` or ``sharing:M=10,P=1+4`` means.

    Raises
    ------
    ArchitectureError
        For an unknown builder or key.
    ArgumentError
        For a value out of range.
    """
    check_kind("specification", specification, str, "write one such as 'routing:M=7,K=4'")
    family, values = read_call(specification, FAMILIES)
    return FAMILIES[family](**values)
