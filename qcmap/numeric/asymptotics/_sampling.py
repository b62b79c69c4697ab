"""The error of q and c values in chains of finite width: their standard deviations over random weights (DKS, 15.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.activations import Activation, activation
from qcmap.architecture import (
    Affine,
    Architecture,
    Input,
    Node,
    Nonlinear,
    Scale,
    is_symbolic,
)
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric.asymptotics._checked import one_q
from qcmap.numeric.asymptotics._pair_moments import PairMoments, pair_moments
from qcmap.numeric.maps._arguments import correlation, integer
from qcmap.numeric.maps._local import LocalMaps, local_maps
from qcmap.numeric.maps._network import network_maps
from qcmap.numeric.maps._transform import Transform

if TYPE_CHECKING:
    from qcmap.numeric.maps._shaping import Shaping

Array = NDArray[np.float64]

_LEAST = 1e-60
"""Products of a few q values above this, and below its inverse, are floats."""

_moments = lru_cache(maxsize=4096)(pair_moments)


@dataclass(frozen=True)
class Step:
    """One node of a chain: q and m become a q + b, sampled by ``width`` units, or go through an activation."""

    node: str
    weight: float = 1.0
    bias: float = 0.0
    width: int | None = None
    transform: Transform | None = None


@dataclass(frozen=True, repr=False)
class SamplingError:
    """Standard deviations, over random Gaussian weights, of the empirical q and c values at the nodes of a chain.

    To first order in 1/width: q and c are those of the Q and C maps, and the deviations fall as width^(-1/2).

    Attributes
    ----------
    nodes
        Node ids, in order, without the input.
    q, q_std
        q values and their standard deviations, shape (nodes,).
    c, c_std
        c values and their standard deviations, shape (nodes, ...), the last axes those of the input c.
    """

    nodes: tuple[str, ...]
    q: Array
    q_std: Array
    c: Array
    c_std: Array

    def to_dict(self) -> dict[str, Any]:
        """The names, and the arrays as lists."""
        arrays = {name: getattr(self, name).tolist() for name in ("q", "q_std", "c", "c_std")}
        return {"nodes": list(self.nodes), **arrays}

    def __repr__(self) -> str:
        return (
            f"<SamplingError at {len(self.nodes)} nodes: q = {self.q[-1]:.6g} +- {self.q_std[-1]:.2g} "
            f"at {self.nodes[-1]!r}>"
        )


def sampling_error(
    source: Architecture | LocalMaps | Activation | str,
    c: ArrayLike,
    *,
    width: int | None = None,
    depth: int | None = None,
    q: float = 1.0,
    shaping: Shaping | None = None,
) -> SamplingError:
    """How far empirical q and c values of a chain of finite width are from those of its Q and C maps.

    Derivation (docs/widths.md): given the empirical s = (q1, q2, m) of its inputs, an affine layer with independent
    Gaussian weights gives independent units, jointly normal over the two inputs with covariance a s + b. Averages over
    N units after the activation have mean K(a s + b) and covariance V/N (`pair_moments`). With J the Jacobian of K, to
    first order in 1/N, Cov' = a^2 J Cov J^T + V/N, and c = m / sqrt(q1 q2) has the variance g Cov g with its gradient
    g. For one layer, Var q = (E f^4 - (E f^2)^2) / N; over depth errors in q are multiplied by Q' (section 15.1).

    Parameters
    ----------
    source
        An architecture that is a chain of affine layers, activations, scalings and pooling (which is the identity, as
        in the maps, and not listed), each activation after an affine layer; or the maps of one layer (or its
        activation), which ``depth`` layers then repeat.
    c, q
        Input c values of any shape in [-1, 1], and the q value of both inputs; these are exact.
    width
        Units in every affine layer. By default the channels that the architecture gives.
    shaping
        Of an architecture, as for `network_maps`.

    Raises
    ------
    ArchitectureError
        If the graph is not such a chain, shares parameters, or does not say how wide its layers are.
    ArgumentError
        For values out of range, or a missing width or depth.
    NumericalError
        If a fourth moment is not finite, or a q value is so large or small that its powers are no floats.
    """
    steps = tuple(_steps(source, width, depth, shaping))
    c, q = correlation(c), one_q(q)
    flat = c.reshape(-1)
    values = np.empty((len(steps), flat.size, 4))
    for column, start in enumerate(flat):
        values[:, column] = list(_walk(steps, q, float(start)))
    if not flat.size:
        raise ArgumentError("c", "at least one c value is needed", "give one")
    shape = (len(steps), *c.shape)
    names = tuple(step.node for step in steps)
    return SamplingError(
        names, values[:, 0, 0], values[:, 0, 1], values[:, :, 2].reshape(shape), values[:, :, 3].reshape(shape)
    )


def _walk(steps: tuple[Step, ...], q: float, c: float) -> Iterator[tuple[float, float, float, float]]:
    """(q, std of q, c, std of c) after each step."""
    s, sampled = np.array([q, q, c * q]), np.zeros((3, 3))
    # Covariance of the variances that the units of the last affine layer are drawn with.
    drawn, width = sampled, 1
    for step in steps:
        if step.transform is not None:
            k: PairMoments = _moments(step.transform, float(s[0]), float(s[1]), float(s[2]))
            s = k.mean
            sampled = k.jacobian @ drawn @ k.jacobian.T + k.covariance / width
        elif step.width is not None:
            s, drawn, width = step.weight * s + step.bias, step.weight**2 * sampled, step.width
            with np.errstate(over="ignore"):
                sampled = drawn + _normal(*s) / width
        else:
            s, drawn, sampled = step.weight * s, step.weight**2 * drawn, step.weight**2 * sampled
        q1, q2, m = (float(value) for value in s)
        if not _LEAST < min(q1, q2) <= max(q1, q2) < 1 / _LEAST:
            raise NumericalError(step.node, f"its q value is {q1:.3g}, and variances are squares of it", "scale inputs")
        cosine = m / math.sqrt(q1 * q2)
        gradient = np.array([-cosine / (2 * q1), -cosine / (2 * q2), 1 / math.sqrt(q1 * q2)])
        variance = float(gradient @ sampled @ gradient)
        # At c = +-1 the three deviations move together, and what is left is rounding.
        scale = float(np.abs(gradient) @ np.abs(sampled) @ np.abs(gradient))
        spread = math.sqrt(variance) if variance > 1e-13 * scale else 0.0
        yield q1, math.sqrt(max(float(sampled[0, 0]), 0.0)), min(max(cosine, -1.0), 1.0), spread


def _normal(q1: float, q2: float, m: float) -> Array:
    """Cov(u^2, v^2, u v) of jointly normal u and v (Isserlis' theorem)."""
    return np.array(
        [
            [2 * q1 * q1, 2 * m * m, 2 * q1 * m],
            [2 * m * m, 2 * q2 * q2, 2 * q2 * m],
            [2 * q1 * m, 2 * q2 * m, q1 * q2 + m * m],
        ]
    )


def _steps(
    source: Architecture | LocalMaps | Activation | str, width: int | None, depth: int | None, shaping: Shaping | None
) -> Iterator[Step]:
    if width is not None:
        width = integer(width, least=1, name="width")
    if isinstance(source, Architecture):
        if depth is not None:
            raise ArgumentError("depth", "it belongs to a single layer; an architecture has its own", "leave it out")
        yield from _chain(source, width, shaping)
        return
    if shaping is not None:
        raise ArgumentError("shaping", "it belongs to an architecture", "give local_maps(act, shaping[...]) instead")
    maps = source if isinstance(source, LocalMaps) else local_maps(activation(source))
    for name, value in (("width", width), ("depth", depth)):
        if value is None:
            raise ArgumentError(name, "a layer does not say it", f"give {name}=...")
    for layer in range(1, integer(depth or 0, least=1, name="depth") + 1):
        yield Step(f"layer{layer}.affine", width=width)
        yield Step(f"layer{layer}.activation", transform=maps.transform)


def _chain(arch: Architecture, width: int | None, shaping: Shaping | None) -> Iterator[Step]:
    maps = network_maps(arch, shaping)
    before: Node | None = None
    drawn = False
    for node in arch.nodes:
        op = node.op
        if before is not None and node.inputs != (before.id,):
            raise ArchitectureError(
                node.id, "sampling errors are known for chains, and here a path splits", "take it out"
            )
        if isinstance(op, Affine):
            numbers = (op.weight_variance, op.bias_variance)
            if any(map(is_symbolic, numbers)):
                raise ArchitectureError(node.id, "its variances are symbolic", "give them with arch.substitute(...)")
            if op.parameters is not None:
                raise ArchitectureError(node.id, "it shares parameters, so layers are not independent", "unshare them")
            units = op.channels if width is None else width
            if not isinstance(units, int):
                raise ArchitectureError(node.id, "its number of units is not known", "give width=...")
            yield Step(node.id, *(float(number) for number in numbers), width=units)
            drawn = True
        elif isinstance(op, Nonlinear):
            if not drawn:
                raise ArchitectureError(
                    node.id, "it does not read an affine layer, so its input is not normal", "add one"
                )
            yield Step(node.id, transform=maps.local(node.id).transform)
            drawn = False
        elif isinstance(op, Scale):
            if is_symbolic(op.factor):
                raise ArchitectureError(node.id, "its factor is symbolic", "give it with arch.substitute(...)")
            yield Step(node.id, float(op.factor) ** 2)
        elif not (op.transparent or isinstance(op, Input)):
            raise ArchitectureError(node.id, f"sampling errors are not known for {op.kind} nodes", "take it out")
        before = node
