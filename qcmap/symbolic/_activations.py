"""The activations of an architecture."""

from __future__ import annotations

from qcmap.activations import Activation, activation
from qcmap.architecture import Architecture, Nonlinear
from qcmap.errors import ActivationError


def resolved(arch: Architecture) -> dict[str, Activation]:
    """The architecture's activations by name; an unknown one is reported with its node."""
    found: dict[str, Activation] = {}
    for function in arch.activations:
        node = next(node for node in arch.nodes if isinstance(node.op, Nonlinear) and node.op.function == function)
        try:
            act = activation(function)  # pyright: ignore[reportArgumentType]
        except ActivationError as error:
            raise ActivationError(f"{node.id} ({error.subject})", error.rule, error.remedy) from None
        name = function if isinstance(function, str) else act.name
        if name in found and found[name] is not act:
            raise ActivationError(node.id, f"two different activations are called {name}", "give them different names")
        found[name] = act
    return found
