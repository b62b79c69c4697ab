"""Two walks over a network that give its NNGP and tangent kernels on arrays: values forward, derivatives backward."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Affine, Architecture, Concat, LayerNorm, Node, Nonlinear, Scale, Sum
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric.kernels._angle_walk import AngleWalk
from qcmap.numeric.maps._local import LocalMaps
from qcmap.numeric.maps._network import NetworkMaps
from qcmap.numeric.maps._shaping import Shaping
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.maps._walk import State, Walk
from qcmap.symbolic import mean_weights
from qcmap.symbolic._tangent import refuse_kernel

Array = NDArray[np.float64]

_FLOATS = 24_000_000
"""Numbers held at once by a walk over the network: more pairs are taken in blocks."""


def chosen_layers(known: Iterable[str], nodes: Iterable[str]) -> list[str]:
    """The ids of affine nodes; raises `ArgumentError` for none at all, repeated ones, or one that is not ``known``."""
    if isinstance(nodes, str) or not isinstance(nodes, Iterable):
        raise ArgumentError("layers", f"it is a list of node ids, not {nodes!r}", "give e.g. ['head']")
    known, names = dict.fromkeys(known), list(nodes)
    strange = [name for name in names if not isinstance(name, str) or name not in known]
    if strange or not names or len(set(names)) < len(names):
        what = (
            f"{strange[0]!r} is not an affine node below the output" if strange else "no layer, or one twice, is named"
        )
        raise ArgumentError("layers", what, f"choose from {', '.join(list(known)[:6])}{', ...' * (len(known) > 6)}")
    return names


class KernelWalk:
    """Kernels of one network: what `ntk`, `nngp` and the Gram matrices share."""

    def __init__(
        self, arch: Architecture, shaping: Shaping | None = None, target: str | None = None, *, tangent: bool = True
    ) -> None:
        maps = NetworkMaps(arch, shaping)
        self.arch = arch
        if target is None and len(arch.outputs) != 1:
            raise ArchitectureError(arch.name, "it has several outputs", f"give target, e.g. {arch.outputs[0]!r}")
        self.end = arch.index[arch[arch.outputs[0] if target is None else target].id]
        self.below = _below(arch, self.end)
        if tangent:
            _refuse_shared(arch, self.below)
        self.local: dict[str, LocalMaps] = {
            node.id: maps.local(node.id) for node in arch.nodes if isinstance(node.op, Nonlinear)
        }
        self._walk = Walk(arch, self.local)
        self._angles = AngleWalk.of(arch, self.below, self.local)
        self._known: tuple[float | None, Mapping[str, Array]] | None = None

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The affine nodes that the output depends on."""
        return tuple(self.arch.nodes[v].id for v in self.below if isinstance(self.arch.nodes[v].op, Affine))

    @property
    def exact_angles(self) -> bool:
        """Whether pairs of equal q values are followed by their angles, so that c near 1 loses no digits."""
        return self._angles is not None

    def covariance(self, c: Array, q1: Array | None, q2: Array | None, theta: Array | None = None) -> Array:
        """The m value at the output. ``theta`` is arccos c with all its digits, where it is known."""
        end = self.arch.nodes[self.end].id
        return self._in_blocks(lambda *pairs: [m_value(self._forward(*pairs)[0][end])], c, q1, q2, theta)[0]

    def terms(
        self, c: Array, q1: Array | None, q2: Array | None, theta: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The covariance, and the kernel of each affine node's parameters, keyed by id."""
        covariance, *terms = self._in_blocks(self._terms, c, q1, q2, theta)
        return covariance, dict(zip(self.layers, terms, strict=True))

    def _in_blocks(
        self, function: Callable[..., list[Array]], c: Array, q1: Array | None, q2: Array | None, theta: Array | None
    ) -> list[Array]:
        """A function of pairs, block by block, so that what the walk holds does not grow with their number."""
        shape = np.broadcast_shapes(c.shape, *(q.shape for q in (q1, q2) if q is not None))
        step = max(64, _FLOATS // (4 * len(self.arch.nodes)))
        theta = 2 * np.arcsin(np.sqrt((1 - c) / 2)) if theta is None else theta
        flat, angles = (np.broadcast_to(v, shape).reshape(-1) for v in (c, theta))
        first, second = _flat(q1, shape), _flat(q2, shape)
        if q2 is q1 or (
            first is not None and second is not None and first.ndim == second.ndim == 0 and first == second
        ):
            second = first
        parts = []
        for start in range(0, flat.size, step):
            here = slice(start, start + step)
            a = _part(first, here)
            parts.append(function(flat[here], a, a if second is first else _part(second, here), angles[here]))
        if not parts:
            return [np.empty(shape) for _ in range(1 + len(self.layers))]
        return [np.concatenate(column).reshape(shape) for column in zip(*parts, strict=True)]

    def _forward(
        self, c: Array, q1: Array | None, q2: Array | None, theta: Array
    ) -> tuple[Mapping[str, State], Mapping[str, Array]]:
        """The values at every node, and the slopes of local C maps that are already known."""
        try:
            with np.errstate(over="raise"):
                if self._angles is not None and q1 is q2 and (q1 is None or q1.ndim == 0):
                    return self._angles(theta, self._q_values(q1))
                if self._angles is not None and self._angles.homogeneous and q1 is not None and q2 is not None:
                    values, slopes = self._angles(theta, self._q_values(np.ones(())))
                    return {name: State(v.jet, q1 * v.q1, q2 * v.q2) for name, v in values.items()}, slopes
                return self._walk(c, q1, q2), {}
        except FloatingPointError:
            what = "q values overflow on the way through it"
            raise NumericalError(self.arch.name, what, "shape the network, or use smaller weight variances") from None

    def _q_values(self, q: Array | None) -> Mapping[str, Array]:
        key = None if q is None else float(q)
        if self._known is None or self._known[0] != key:
            self._known = key, {name: state.q1 for name, state in self._walk(np.ones(()), q, q).items()}
        return self._known[1]

    def _terms(self, c: Array, q1: Array | None, q2: Array | None, theta: Array) -> list[Array]:
        """The covariance at the output, then Theta_v for the affine nodes v in the order of `layers`."""
        arch, (values, slopes) = self.arch, self._forward(c, q1, q2, theta)
        local = slopes or self._local_slopes(values)
        rates: dict[int, Array] = {self.end: np.ones_like(c)}
        terms: list[Array] = []
        with np.errstate(over="ignore", invalid="ignore"):
            for v in reversed(self.below):
                node, rate = arch.nodes[v], rates.pop(v)
                if isinstance(node.op, Affine):
                    terms.append(_finite(m_value(values[node.id]) * rate, node.id))
                for u, slope in zip(arch.predecessors[v], self._slopes(node, values, local), strict=True):
                    passed = rate if slope is None else rate * slope
                    rates[u] = rates[u] + passed if u in rates else passed
        return [m_value(values[arch.nodes[self.end].id]), *reversed(terms)]

    def _slopes(self, node: Node, values: Mapping[str, State], local: Mapping[str, Array]) -> list[Any]:
        """The derivative of a node's m value in those of its inputs; None for 1."""
        op, inputs = node.op, [values[name] for name in node.inputs]
        if isinstance(op, Affine):
            return [float(op.weight_variance)]
        if isinstance(op, Nonlinear):
            (v,), out = inputs, values[node.id]
            return [np.sqrt(out.q1 / v.q1) * np.sqrt(out.q2 / v.q2) * local[node.id]]
        if isinstance(op, Sum):
            return [float(weight) ** 2 for weight in op.weights]
        if isinstance(op, Concat):
            counts = [float(k) for k in mean_weights(self.arch, self.arch.index[node.id])]
            return [count / sum(counts) for count in counts]
        if isinstance(op, Scale):
            return [float(op.factor) ** 2]
        if isinstance(op, LayerNorm):
            (v,) = inputs
            if not op.centre:
                return [1 / np.sqrt(v.q1 * v.q2)]
            assert v.mean1 is not None, node  # else the walk forward has raised
            assert v.mean2 is not None, node
            return [1 / np.sqrt((v.q1 - v.mean1**2) * (v.q2 - v.mean2**2))]
        return [None] * len(inputs)

    def _local_slopes(self, values: Mapping[str, State]) -> dict[str, Array]:
        """The slope of each nonlinear layer's C map; layers with the same map and q values are computed together."""
        together: dict[tuple[int, float, float], list[str]] = {}
        slopes: dict[str, Array] = {}
        for node in (self.arch.nodes[v] for v in self.below):
            if isinstance(node.op, Nonlinear):
                maps, v = self.local[node.id], values[node.inputs[0]]
                if homogeneity(maps.transform) is not None:  # then the C map does not depend on the q values
                    together.setdefault((id(maps), 1.0, 1.0), []).append(node.id)
                elif v.q1.ndim == v.q2.ndim == 0:
                    together.setdefault((id(maps), float(v.q1), float(v.q2)), []).append(node.id)
                else:
                    slopes[node.id] = maps.dc(v.jet[0], v.q1, v.q2)
        for (_, q1, q2), names in together.items():
            cs = np.stack([values[self.arch[name].inputs[0]].jet[0] for name in names])
            slopes.update(zip(names, self.local[names[0]].dc(cs, q1, q2), strict=True))
        return slopes


def homogeneity(transform: Transform) -> int | None:
    """k if f(a u) = a^k f(u) for all a > 0, else None; f is the transformed activation."""
    shifted = transform.input_shift != 0 or transform.output_shift != 0
    return None if shifted else transform.activation.homogeneity


def _flat(q: Array | None, shape: tuple[int, ...]) -> Array | None:
    """One q value for all pairs as a scalar; else one for each pair."""
    if q is None or q.size == 1:
        return None if q is None else q.reshape(())
    return np.broadcast_to(q, shape).reshape(-1)


def _part(q: Array | None, here: slice) -> Array | None:
    return q if q is None or q.ndim == 0 else q[here]


def m_value(value: State) -> Array:
    """c sqrt(q1 q2)."""
    return value.jet[0] * (np.sqrt(value.q1) * np.sqrt(value.q2))


def _finite(term: Array, node: str) -> Array:
    if not np.isfinite(term).all():
        raise NumericalError(
            node, "the tangent kernel of its parameters overflows", "shape the network, or use fewer layers"
        )
    return term


def _below(arch: Architecture, end: int) -> list[int]:
    """The nodes that ``end`` depends on, itself included, in order."""
    needed = {end}
    for v in range(end, -1, -1):
        if v in needed:
            needed.update(arch.predecessors[v])
    return sorted(needed)


def _refuse_shared(arch: Architecture, below: Iterable[int]) -> None:
    owners: dict[str, str] = {}
    for node in (arch.nodes[v] for v in below):
        refuse_kernel(arch, node)
        if isinstance(node.op, Affine) and node.op.parameters is not None:
            first = owners.setdefault(node.op.parameters, node.id)
            if first != node.id:
                what = f"it shares the parameters {node.op.parameters!r} with {first!r}, so the kernel has cross terms"
                raise ArchitectureError(node.id, what, "give each layer parameters of its own")
