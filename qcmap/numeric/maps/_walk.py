"""One walk over a graph that gives c and q values, with derivatives in the inputs' c and q (DKS, sections 7 and 8.2).

A value is c as a jet (c, dc, d2c, ...) of derivatives in the input c value, and q1 and q2 with q1's derivative in the
input q value. q values do not depend on c, so sums, concatenations, affine layers and layer norms act on a jet linearly
(after m = c sqrt(q1 q2)), and a nonlinear layer by the chain rule with its local map's derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import (
    TRANSPARENT,
    Affine,
    Algebra,
    Architecture,
    Concat,
    Gate,
    Input,
    LayerNorm,
    Node,
    Nonlinear,
    Scale,
    Sum,
    is_symbolic,
)
from qcmap.errors import ArchitectureError, NumericalError
from qcmap.numeric.maps._arguments import correlation, positive
from qcmap.numeric.maps._local import LocalMaps
from qcmap.numeric.maps._runs import Runs
from qcmap.symbolic import mean_weights

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Kept = Mapping[str, tuple[Indices, ...]]
"""For nodes that have other locations than what they read: for each input, the entries of its last axis to take."""

_FIXED, _ALIKE = 2.0**-46, 1e-4


class State(NamedTuple):
    """What a pair of inputs becomes at a node.

    ``jet[k]`` is the k-th derivative of c in the input c value; it is empty in a walk for q values alone. ``rate`` is
    the derivative of q1 in the input q value, and the means are those over channels, where they are asked for and
    known.
    """

    jet: tuple[Array, ...]
    q1: Array
    q2: Array
    rate: Array | None = None
    mean1: Array | None = None
    mean2: Array | None = None


class Walk:
    """The rules, one for each op, for given input values."""

    def __init__(
        self,
        arch: Architecture,
        maps: Mapping[str, LocalMaps],
        *,
        order: int = 0,
        with_rate: bool = False,
        with_means: bool = False,
        runs: Runs | None = None,
        kept: Kept | None = None,
        epsilons: Mapping[str, float] | None = None,
    ) -> None:
        self.arch, self.maps, self.order, self.epsilons = arch, maps, order, epsilons or {}
        self.with_rate, self.runs, self.kept = with_rate, runs or {}, kept or {}
        self.with_means = with_means or any(isinstance(node.op, LayerNorm) for node in arch.nodes)

    def __call__(self, c: Array, q1: Array | None, q2: Array | None) -> dict[str, State]:
        """The value at every node; every input node gets this c, and these q values or else its own.

        ``order`` is the number of derivatives in c; -1 leaves c out too.
        """
        c = correlation(c)
        ones, zeros = np.ones_like(c), np.zeros_like(c)

        def given(node: Node) -> State:
            assert isinstance(node.op, Input)
            own = _number(node.id, node.op.q)
            pair = positive("q1", own if q1 is None else q1), positive("q2", own if q2 is None else q2)
            jet = (c, ones, zeros)[: self.order + 1]
            return State(jet, *pair, np.ones_like(pair[0]) if self.with_rate else None)

        return self.from_inputs(given)

    def from_inputs(self, given: Callable[[Node], State]) -> dict[str, State]:
        """The value at every node, from those at the input nodes."""

        def unchanged(node: Node, values: list[State]) -> State:
            return values[0]

        rules = {
            Input: lambda node, values: given(node),
            Affine: self._affine,
            Nonlinear: self._nonlinear,
            Sum: self._sum,
            Concat: self._concat,
            Scale: self._scale,
            LayerNorm: self._layer_norm,
            Gate: _gate,
            **dict.fromkeys(TRANSPARENT, unchanged),
        }

        def at(node: Node, values: list[State]) -> State:
            if node.id in self.kept:
                values = [_taken(v, kept) for v, kept in zip(values, self.kept[node.id], strict=True)]
            return algebra.at(node, values)

        algebra = Algebra("C map", rules)
        return self.arch.fold(Algebra("C map", dict.fromkeys(rules, at)) if self.kept else algebra)

    def _nonlinear(self, node: Node, values: list[State]) -> State:
        times = self.runs.get(node.id, 1)
        v, maps = values[0], self.maps[node.id]
        fixed = times > 1 and all(bool(np.all(_step(maps, q) == q)) for q in (v.q1, v.q2))
        if fixed:
            return v._replace(jet=(maps.iterated(v.jet[0], times, v.q1, v.q2),))
        for _ in range(times):
            v = _finite(node, self._layer(maps, v))
        return v

    def _layer(self, maps: LocalMaps, v: State) -> State:
        jet = [maps.c(v.jet[0], *self._alike(v.q1, v.q2))] if self.order >= 0 else []
        if self.order >= 1:
            slope = maps.dc(v.jet[0], v.q1, v.q2)
            jet.append(slope * v.jet[1])
            if self.order >= 2:
                jet.append(maps.dc(v.jet[0], v.q1, v.q2, order=2) * v.jet[1] ** 2 + slope * v.jet[2])
        rate = None if v.rate is None else maps.dq(v.q1) * v.rate
        q1 = _step(maps, v.q1)
        q2 = q1 if v.q2 is v.q1 else _step(maps, v.q2)
        means = (maps.mean(v.q1), maps.mean(v.q2)) if self.with_means else (None, None)
        return State(tuple(jet), q1, q2, rate, *means)

    def _alike(self, q1: Array, q2: Array) -> tuple[Array, Array]:
        """The q values that C maps are taken at: epsilons of norms leave differences of their own size, 1e-5 or so.

        These are below what a C map shows, and a table of it for each pair of q values takes milliseconds.
        """
        if not (self.epsilons and q1.size and q2.size):
            return q1, q2
        low, high = min(q1.min(), q2.min()), max(q1.max(), q2.max())
        if not low < high <= low * (1 + _ALIKE):
            return q1, q2
        middle = np.asarray((low + high) / 2)
        return middle, middle

    def _affine(self, node: Node, values: list[State]) -> State:
        assert isinstance(node.op, Affine)
        weights, biases = _number(node.id, node.op.weight_variance), _number(node.id, node.op.bias_variance)
        (v,) = values
        zero = np.zeros(()) if self.with_means else None
        if (weights, biases) == (1.0, 0.0):
            return v._replace(mean1=zero, mean2=zero)
        q1, q2 = weights * v.q1 + biases, weights * v.q2 + biases
        share = weights * _middle(v.q1, v.q2) / _middle(q1, q2)
        jet = _linear(values, [share], biases / _middle(q1, q2))
        return _finite(node, State(jet, q1, q2, None if v.rate is None else weights * v.rate, zero, zero))

    def _sum(self, node: Node, values: list[State]) -> State:
        assert isinstance(node.op, Sum)
        weights = [_number(node.id, weight) for weight in node.op.weights]
        return _finite(node, _combined(values, [weight**2 for weight in weights], weights))

    def _concat(self, node: Node, values: list[State]) -> State:
        counts = [float(k) for k in mean_weights(self.arch, self.arch.index[node.id])]
        shares = [count / sum(counts) for count in counts]
        return _combined(values, shares, shares)

    def _scale(self, node: Node, values: list[State]) -> State:
        assert isinstance(node.op, Scale)
        a, (v,) = _number(node.id, node.op.factor), values
        scaled = (None if x is None else f * x for f, x in ((a * a, v.rate), (a, v.mean1), (a, v.mean2)))
        return _finite(node, State(v.jet, a * a * v.q1, a * a * v.q2, *scaled))

    def _layer_norm(self, node: Node, values: list[State]) -> State:
        assert isinstance(node.op, LayerNorm)
        (v,) = values
        zero, one = np.zeros(()), np.ones(())
        epsilon = self.epsilons.get(node.id, 0.0)
        if not node.op.centre:
            means = (None if m is None else m / np.sqrt(q + epsilon) for m, q in ((v.mean1, v.q1), (v.mean2, v.q2)))
            q1, q2 = (q / (q + epsilon) if epsilon else one for q in (v.q1, v.q2))
            return State(v.jet, q1, q2, None if v.rate is None else zero, *means)
        if v.mean1 is None or v.mean2 is None:
            raise ArchitectureError(
                node.id,
                "a layer norm of a network input has no C map, since the input's channel mean is not known",
                "put an affine layer before it",
            )
        if not ((v.q1 > v.mean1**2).all() and (v.q2 > v.mean2**2).all()):
            raise NumericalError(
                node.id, "its input is constant over channels, so 0/0 is left", "take the layer norm out"
            )
        first, second = v.q1 - v.mean1**2, v.q2 - v.mean2**2
        norm = _middle(first, second)
        jet = _linear(values, [_middle(v.q1, v.q2) / norm], -v.mean1 * v.mean2 / norm)
        q1, q2 = (q / (q + epsilon) if epsilon else one for q in (first, second))
        return State(jet, q1, q2, None if v.rate is None else zero, zero, zero)


def _taken(v: State, kept: Indices) -> State:
    """The state at these entries of the last axis; what has no axis is the same at all of them."""
    jet = tuple(x[..., kept] if x.ndim else x for x in v.jet)
    first = v.q1[..., kept] if v.q1.ndim else v.q1
    second = first if v.q2 is v.q1 else v.q2[..., kept] if v.q2.ndim else v.q2
    others = (None if x is None else x[..., kept] if x.ndim else x for x in (v.rate, v.mean1, v.mean2))
    return State(jet, first, second, *others)


def _step(maps: LocalMaps, q: Array) -> Array:
    """Q(q), or q itself where the two differ by rounding only, so that deep networks stay at a fixed point."""
    after = maps.q(q)
    return np.where(np.abs(after - q) <= _FIXED * q, q, after)


def _middle(q1: Array, q2: Array) -> Array:
    """sqrt(q1 q2), without overflow of the product."""
    return np.sqrt(q1) * np.sqrt(q2)


def _linear(values: list[State], shares: list[Array], offset: Array | float = 0.0) -> tuple[Array, ...]:
    """The jet of sum shares * c + offset, c itself in [-1, 1].

    It is exactly 1 where both inputs are the same one: slopes may change fast there.
    """
    jet = [
        np.asarray(np.add.reduce([share * v.jet[k] for share, v in zip(shares, values, strict=True)]))
        for k in range(len(values[0].jet))
    ]
    if jet:
        same = np.logical_and.reduce([(v.jet[0] == 1) & (v.q1 == v.q2) for v in values])
        jet[0] = np.where(same, 1.0, np.clip(jet[0] + offset, -1.0, 1.0))
    return tuple(jet)


def _finite(node: Node, v: State) -> State:
    """The state; raises `NumericalError` if a q value has overflown or vanished."""
    if not all(bool(np.all(np.isfinite(q) & (q > 0))) for q in (v.q1, v.q2)):
        raise NumericalError(node.id, "its q value leaves the range of floating-point numbers", "use other variances")
    return v


def _combined(values: list[State], shares: list[float], mean_shares: list[float]) -> State:
    """Q and m values added with ``shares``, channel means with ``mean_shares``."""
    q1 = np.add.reduce([share * v.q1 for share, v in zip(shares, values, strict=True)])
    q2 = np.add.reduce([share * v.q2 for share, v in zip(shares, values, strict=True)])
    norm = _middle(q1, q2)
    parts = [share * _middle(v.q1, v.q2) / norm for share, v in zip(shares, values, strict=True)]
    rates = [v.rate for v in values]
    return State(
        _linear(values, parts), q1, q2,
        _mixed(rates, shares), _mixed([v.mean1 for v in values], mean_shares),
        _mixed([v.mean2 for v in values], mean_shares),
    )  # fmt: skip


def _mixed(values: list[Array | None], shares: list[float]) -> Array | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return np.asarray(sum(share * value for share, value in zip(shares, known, strict=True)))


def _gate(node: Node, values: list[State]) -> State:
    assert isinstance(node.op, Gate)
    name = node.op.name
    raise ArchitectureError(
        node.id, f"the gating variable {name} has no value", f"give it one with arch.substitute({name}=...)"
    )


def _number(node: str, weight: object) -> float:
    if is_symbolic(weight):
        raise ArchitectureError(
            node, f"the weight {weight} is symbolic, so q values have no numeric value here",
            "give its symbols numbers with arch.substitute(...)",
        )  # fmt: skip
    return float(weight)  # pyright: ignore[reportArgumentType]
