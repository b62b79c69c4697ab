"""Weight variances of LeCun, Glorot and He as the conditions on q values that they enforce.

A layer with weight variance w (in units of 1 / fan-in) after an activation takes q at one activation's input to
w E phi(sqrt(q) x)^2 at the next one's. What each method does is to keep q for some phi (DKS, sections 25.1-25.4, 26.1):

    lecun     w = 1                    q stays where E phi^2 = q, as for a phi like the identity;
    he        w = 2 / (l^2 + r^2)      q stays, whatever it is, for phi with slopes l and r (relu: 2);
    glorot    w = 2 k / (k + m)        neither q nor gradients stay, unless k = m;
    forward   w = 1 / E phi(x)^2       q = 1 stays, for every phi;
    backward  w = (k / m) / E phi'^2   mean squared gradients stay at q = 1, for every phi.

k and m are input and output channels. Backwards, a layer multiplies mean squared gradients by w (m / k) E phi'^2, so
glorot is the harmonic mean of the first and the last for phi = identity, and he the first general condition for relu.
The filter size counts in both of Glorot's fans, so it cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qcmap.activations import Activation
from qcmap.architecture import (
    OPS,
    Affine,
    Algebra,
    Architecture,
    BatchNorm,
    Input,
    LayerNorm,
    Node,
    Nonlinear,
    Weight,
    is_symbolic,
)
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric.maps._integrals import Integrals
from qcmap.numeric.maps._local import local_maps
from qcmap.numeric.maps._transform import Transform, refuse_jumps
from qcmap.numeric.methods._affine_variances import architecture, with_variances
from qcmap.symbolic import resolved

CONDITIONS = {
    "lecun": "Q(q) = q for layers whose activation has E phi(sqrt(q) x)^2 = q (DKS, 25.1, 26.1)",
    "glorot": "a compromise between Q(q) = q and constant mean squared gradients for phi = identity (DKS, 25.3, 26.1)",
    "he": "Q(q) = q for all q, for activations that are linear on either side of zero (DKS, 25.4, 26.1)",
    "forward": "Q(1) = 1 for every activation",
    "backward": "constant mean squared gradients at q = 1 for every activation",
}
"""What each method enforces."""
LINEAR = "linear"
"""Stands for a part of a feature map that no activation made: inputs and outputs of affine layers."""


@dataclass(frozen=True)
class Initialization:
    """An architecture with the weight variances of a method, and what they do to q = 1.

    Attributes
    ----------
    architecture
        The architecture with these weight variances, and without biases.
    method, condition
        The method, and what it enforces on which activations.
    weight_variances
        For each affine layer, in units of 1 / fan-in.
    q_factors
        For each affine layer and each activation that it reads, weight_variance * E phi(x)^2: what becomes of q = 1
        from one activation's input to the next one's. `LINEAR` stands for what no activation made, counted as 1.
    """

    architecture: Architecture
    method: str
    condition: str
    weight_variances: dict[str, Weight] = field(repr=False)
    q_factors: dict[str, dict[str, Weight]] = field(repr=False)

    @property
    def keeps_q(self) -> bool:
        """Whether every layer that reads activations keeps q = 1, to 1e-12."""
        factors = [factor for row in self.q_factors.values() for name, factor in row.items() if name != LINEAR]
        return all(not is_symbolic(factor) and abs(float(factor) - 1) <= 1e-12 for factor in factors)

    def to_dict(self) -> dict[str, Any]:
        """The method, its condition, and the variances and factors of each layer; symbolic ones as text."""

        def plain(value: Weight) -> float | str:
            return str(value) if is_symbolic(value) else float(value)

        return {
            "architecture": self.architecture.name,
            "method": self.method,
            "condition": self.condition,
            "keeps_q": self.keeps_q,
            "weight_variances": {node: plain(value) for node, value in self.weight_variances.items()},
            "q_factors": {
                node: {name: plain(value) for name, value in row.items()} for node, row in self.q_factors.items()
            },
        }

    def __repr__(self) -> str:
        values = dict.fromkeys(map(str, self.weight_variances.values()))
        listed = ", ".join(list(values)[:4]) + (", ..." if len(values) > 4 else "")
        kept = "q = 1 stays" if self.keeps_q else "q = 1 does not stay"
        return f"<{self.method} initialization of {self.architecture.name}: weight variance {listed}; {kept}>"


def initialized(arch: Architecture, method: str) -> Architecture:
    """The architecture with the weight variances of a method in its affine layers, and without biases.

    See `initialization`, which also says what they do; arguments and errors are the same.
    """
    return initialization(arch, method).architecture


def initialization(arch: Architecture, method: str) -> Initialization:
    """The weight variances of ``"lecun"``, ``"glorot"``, ``"he"``, ``"forward"`` or ``"backward"`` (DKS, section 26.1).

    Biases are set to zero. Following He et al. (2015), ``"he"`` uses the factor of the activations also for layers that
    read none (the first one), and relu's factor 2 for activations that are not linear on either side of zero, where its
    condition fails; ``q_factors`` shows by how much. ``"forward"`` has 1 for layers that read no activation.

    Raises
    ------
    ArgumentError
        For an unknown method, or what is not an architecture.
    ArchitectureError
        If a layer reads activations that would need different variances, or a method needs the number of channels and
        it is not known.
    ActivationError
        For an activation that is not known, or jumps under ``"backward"``.
    """
    architecture(arch)
    if not isinstance(method, str) or method not in CONDITIONS:
        raise ArgumentError(
            "method", f"no initialization is called {method!r}", f"choose one of {', '.join(CONDITIONS)}"
        )
    activations = resolved(arch)
    seconds = {LINEAR: 1.0, **{name: float(local_maps(act).q(1.0)) for name, act in activations.items()}}
    read = arch.fold(_READ)
    variances: dict[str, Weight] = {}
    factors: dict[str, dict[str, Weight]] = {}
    for node in arch.nodes:
        if not isinstance(node.op, Affine):
            continue
        names = read[node.inputs[0]]
        weight = _variance(arch, node, method, names, activations, seconds)
        variances[node.id] = weight
        factors[node.id] = {name: weight * seconds[name] for name in names}
    changed = with_variances(arch, {node: (weight, 0.0) for node, weight in variances.items()})
    return Initialization(changed, method, CONDITIONS[method], variances, factors)


def _joined(node: Node, values: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for value in values for name in value))


def _none(node: Node, values: list[tuple[str, ...]]) -> tuple[str, ...]:
    return (LINEAR,)


def _own(node: Node, values: list[tuple[str, ...]]) -> tuple[str, ...]:
    assert isinstance(node.op, Nonlinear)
    return (node.op.name,)


_READ: Algebra[tuple[str, ...]] = Algebra(
    "activations read",
    {
        **dict.fromkeys(OPS.values(), _joined),
        **dict.fromkeys((Input, Affine, LayerNorm, BatchNorm), _none),
        Nonlinear: _own,
    },
)
"""The activations that a feature map consists of, and `LINEAR`."""


def _variance(
    arch: Architecture,
    node: Node,
    method: str,
    names: tuple[str, ...],
    activations: dict[str, Activation],
    seconds: dict[str, float],
) -> Weight:
    if method == "lecun":
        return 1.0
    if method == "glorot":
        k, m = _fans(arch, node)
        return 2 * k / (k + m)
    if method == "he":
        wanted = [name for name in names if name != LINEAR] or list(activations)
        return _common(node, wanted, lambda name: _he_factor(activations[name])) if wanted else 2.0
    if method == "forward":
        return _common(node, names, lambda name: 1 / seconds[name])
    k, m = _fans(arch, node)
    return k / m * _common(node, names, lambda name: 1.0 if name == LINEAR else 1 / _energy(activations[name]))


def _common(node: Node, names: Iterable[str], factor: Callable[[str], float]) -> float:
    found = {name: factor(name) for name in names}
    values = list(found.values())
    if max(values) - min(values) > 1e-12 * max(values):
        listed = ", ".join(f"{value:.6g} for the {name} part" for name, value in found.items())
        raise ArchitectureError(
            node.id, f"what it reads needs different weight variances: {listed}",
            "give each its own affine layer, or use 'lecun'",
        )  # fmt: skip
    return values[0]


def _he_factor(act: Activation) -> float:
    if act.two_slopes is None or not any(act.two_slopes):
        return 2.0
    left, right = act.two_slopes
    return 2 / (left**2 + right**2)


def _fans(arch: Architecture, node: Node) -> tuple[Any, Any]:
    """Input and output channels of an affine layer."""
    channels = arch.channels
    k, m = channels[node.inputs[0]], channels[node.id]
    if k is None or m is None:
        raise ArchitectureError(
            node.id, "its numbers of input and output channels are needed, but not known",
            "give channels to the inputs and affine layers",
        )  # fmt: skip
    return k, m


def _energy(act: Activation) -> float:
    """E phi'(x)^2."""
    refuse_jumps(act)
    if act.two_slopes is not None:
        left, right = act.two_slopes
        return (left**2 + right**2) / 2
    transform = Transform(act)
    value = float(Integrals(transform).each(np.array(1.0), lambda x, f, root: transform.derivative(root * x) ** 2))
    if not value > 0:
        raise NumericalError(act.name, f"E phi'^2 at q = 1 is {value}", "take another activation")
    return value
