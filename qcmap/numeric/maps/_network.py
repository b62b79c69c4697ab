"""Extended Q and C maps: q and c values at every node of an architecture (DKS, section 7), and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.activations import Activation
from qcmap.architecture import Architecture, Node, Nonlinear, refuse_without_maps
from qcmap.errors import ArchitectureError, ArgumentError, QCMapError
from qcmap.numeric.maps._arguments import correlation, integer, positive, together
from qcmap.numeric.maps._geometry import CMap
from qcmap.numeric.maps._local import LocalMaps, local_maps
from qcmap.numeric.maps._runs import equal_layers
from qcmap.numeric.maps._shaping import Shaping
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.maps._walk import Kept, State, Walk
from qcmap.symbolic import resolved

Array = NDArray[np.float64]


class PairValues(NamedTuple):
    """What a pair of inputs becomes at a node: c and the two q values, and the two channel means where known."""

    c: Array
    q1: Array
    q2: Array
    mean1: Array | None = None
    mean2: Array | None = None


class NetworkMaps(CMap):
    """The extended maps of an architecture: with the transforms of a shaping, or with the activations as they are.

    One walk over the graph gives the values at every node. Sums add m values (c times the root of the q values) with
    squared weights (equations 12 and 13), concatenations average them by channels (equations 8 and 9), an affine layer
    makes m into weight_variance * m + bias_variance, pooling is the identity, and a layer norm subtracts the product of
    the channel means (section 19.2.1). Derivatives follow the chain rule (section 8.2).

    ``q``, ``dq``, ``c``, ``dc`` and the measures of `CMap` are those from the inputs to the target: the only output, or
    the node of ``at(node)``. They take arrays of any shape that broadcast. Every input node gets the same c, and the
    same q values if they are given; else its own q (`Input.q`). A run of equal layers at a fixed point of its Q map is
    one composed interpolant, so deep chains cost little more than shallow ones.
    """

    def __init__(self, arch: Architecture, shaping: Shaping | None = None, *, target: str | None = None) -> None:
        if not isinstance(arch, Architecture):
            raise ArgumentError("arch", f"it must be an Architecture, not {arch!r}", "build one, or take one of zoo")
        if not (shaping is None or isinstance(shaping, Shaping)):
            raise ArgumentError("shaping", f"it must be a Shaping, not {shaping!r}", "give the result of dks or tat")
        self.architecture, self.shaping = arch, shaping
        refuse_without_maps(arch)
        if target is not None:
            target = arch[target].id
        self._named = target
        known = resolved(arch)
        made: dict[tuple[Activation, Transform | None], LocalMaps] = {}
        self._maps: dict[str, LocalMaps] = {}
        for node in arch.nodes:
            if isinstance(node.op, Nonlinear):
                pair = known[node.op.name], None if shaping is None else _transform(shaping, node)
                self._maps[node.id] = made[pair] = made.get(pair) or local_maps(*pair)

    def at(self, node: str) -> NetworkMaps:
        """The maps from the inputs to a node; raises `ArchitectureError` if there is no such node."""
        return NetworkMaps(self.architecture, self.shaping, target=node)

    def local(self, node: str) -> LocalMaps:
        """The local maps of a nonlinear node."""
        name = self.architecture[node].id
        if name not in self._maps:
            raise ArgumentError(name, "it is not a nonlinear node", "name an activation's node")
        return self._maps[name]

    def propagate(
        self, c: ArrayLike, q1: ArrayLike | None = None, q2: ArrayLike | None = None
    ) -> dict[str, PairValues]:
        """The values at every node, for input c in [-1, 1] and q1, q2 > 0 that broadcast together; keyed by node id.

        Raises
        ------
        ArgumentError
            If c leaves [-1, 1] by more than 1e-12, or a q value is not positive and finite.
        NumericalError
            If a layer's q value is zero or not finite.
        """
        states = self._states(c, q1, q2, means=True)
        shape = np.broadcast_shapes(*(np.shape(x) for s in states.values() for x in (s.jet[0], s.q1, s.q2)))
        return {
            node: PairValues(*(None if x is None else np.broadcast_to(x, shape) for x in _pair(state)))  # pyright: ignore[reportArgumentType]
            for node, state in states.items()
        }

    def propagate_q(self, q: ArrayLike | None = None) -> dict[str, Array]:
        """The q value at every node, for input q > 0 of any shape; keyed by node id."""
        return {node: state.q1 for node, state in self._states(1.0, q, q, order=-1).items()}

    def propagate_jet(
        self, c: ArrayLike, q1: ArrayLike | None = None, q2: ArrayLike | None = None, order: int = 1
    ) -> dict[str, tuple[Array, ...]]:
        """c at every node and its derivatives in the c value of all inputs together, up to an order of 0, 1 or 2.

        Keyed by node id: arrays of the broadcast shape, the k-th one the k-th derivative. Arguments and errors are
        those of `propagate` and, from order 1 on, of `dc`.
        """
        order = integer(order, least=0, most=2)
        values = _arrays(c, q1, q2)
        shape = np.broadcast_shapes(*(value.shape for value in values if value is not None))
        states = Walk(self.architecture, self._maps, order=order)(*values)
        return {node: tuple(np.broadcast_to(x, shape) for x in state.jet) for node, state in states.items()}

    def propagate_from(
        self,
        inputs: Mapping[str, PairValues],
        kept: Kept | None = None,
        epsilons: Mapping[str, float] | None = None,
    ) -> dict[str, PairValues]:
        """The values at every node for those of each input node, keyed by node id.

        Parameters
        ----------
        inputs
            For each input node c, q1 and q2, of shapes that broadcast; and the channel means, which a layer norm that
            reads the input needs.
        kept
            Where the last axis of all arrays are locations: for each node that has fewer of them than the nodes it
            reads, the indices of those it keeps, one array for each of these nodes.
        epsilons
            For layer norms that add one to the moment v that they divide by: q values become v/(v + epsilon) there.

        Raises
        ------
        ArgumentError, NumericalError
            As `propagate`; also for an input node without values.
        """
        states = self._from(inputs, kept, 0, epsilons)
        return {
            node: PairValues(*(None if x is None else np.broadcast_to(x, _shape(state)) for x in _pair(state)))  # pyright: ignore[reportArgumentType]
            for node, state in states.items()
        }

    def propagate_q_from(
        self,
        inputs: Mapping[str, PairValues],
        kept: Kept | None = None,
        epsilons: Mapping[str, float] | None = None,
    ) -> dict[str, Array]:
        """The q values q1 at every node, as `propagate_from`; c values are not looked at."""
        return {node: np.broadcast_to(s.q1, _shape(s)) for node, s in self._from(inputs, kept, -1, epsilons).items()}

    def _from(
        self, inputs: Mapping[str, PairValues], kept: Kept | None, order: int, epsilons: Mapping[str, float] | None
    ) -> dict[str, State]:
        def given(node: Node) -> State:
            if node.id not in inputs:
                raise ArgumentError("inputs", f"there are no values for {node.id!r}", "give some for each input node")
            v = inputs[node.id]
            c, q1, q2 = _arrays(v.c, v.q1, v.q2)
            assert q1 is not None
            assert q2 is not None
            return State((c,)[: order + 1], q1, q2, None, v.mean1, v.mean2)

        return Walk(self.architecture, self._maps, order=order, kept=kept, epsilons=epsilons).from_inputs(given)

    def q(self, q: ArrayLike | None = None) -> Array:
        """The Q map from the inputs to the target."""
        return self.propagate_q(q)[self.target]

    def dq(self, q: ArrayLike | None = None) -> Array:
        """Its derivative in the q value of all inputs together (DKS, sections 8.1.1 and 8.2)."""
        state = self._states(1.0, q, q, order=-1, rate=True)[self.target]
        assert state.rate is not None
        return state.rate

    def c(self, c: ArrayLike, q1: ArrayLike | None = None, q2: ArrayLike | None = None) -> Array:
        """The C map from the inputs to the target; raises as `propagate`."""
        return self._jet(c, q1, q2, 0)

    def dc(self, c: ArrayLike, q1: ArrayLike | None = None, q2: ArrayLike | None = None, order: int = 1) -> Array:
        """Its first or second derivative in the c value of all inputs together (DKS, section 8.2).

        Raises
        ------
        ArgumentError, NumericalError
            As `propagate`; also for another order, and where the derivative is infinite (see `LocalMaps.dc`).
        """
        return self._jet(c, q1, q2, integer(order, least=1, most=2))

    def q_at(self, node: str, q: ArrayLike | None = None) -> Array:
        """The q value at a node, for input q > 0 of any shape."""
        return self.propagate_q(q)[self.architecture[node].id]

    @cached_property
    def target(self) -> str:
        """The id of the node that the maps lead to; raises `ArchitectureError` if there are several outputs."""
        if self._named is not None:
            return self._named
        if len(self.architecture.outputs) != 1:
            raise ArchitectureError(
                self.architecture.name, "it has several outputs", "choose a node with at(node), or use propagate(...)"
            )
        return self.architecture.outputs[0]

    @cached_property
    def _runs(self) -> dict[str, int]:
        return equal_layers(self.architecture, self._maps, self.target)

    def _jet(self, c: ArrayLike, q1: ArrayLike | None, q2: ArrayLike | None, order: int) -> Array:
        walk = Walk(self.architecture, self._maps, order=order, runs=self._runs if order == 0 else None)
        values = _arrays(c, q1, q2)
        shape = np.broadcast_shapes(*(value.shape for value in values if value is not None))
        return np.broadcast_to(walk(*values)[self.target].jet[order], shape).copy()

    def _states(
        self,
        c: ArrayLike,
        q1: ArrayLike | None,
        q2: ArrayLike | None,
        *,
        order: int = 0,
        rate: bool = False,
        means: bool = False,
    ) -> dict[str, State]:
        walk = Walk(self.architecture, self._maps, order=order, with_rate=rate, with_means=means)
        return walk(*_arrays(c, q1, q2))


def _arrays(c: ArrayLike, q1: ArrayLike | None, q2: ArrayLike | None) -> tuple[Array, Array | None, Array | None]:
    first = None if q1 is None else positive("q1", q1)
    # One object for equal q values: what is computed for one serves the other.
    second = first if q2 is q1 else None if q2 is None else positive("q2", q2)
    given = {"c": correlation(c), "q1": first, "q2": second}
    together(**{name: value for name, value in given.items() if value is not None})
    return given["c"], first, second


def _transform(shaping: Shaping, node: Node) -> Transform:
    """The shaping's transform at a node; raises `ArgumentError` if the shaping is of another architecture."""
    try:
        return shaping.at(node.id)
    except (KeyError, QCMapError) as error:
        what = f"it is one of {shaping.architecture.name}, which has no activation {node.id!r}"
        raise ArgumentError("shaping", what, "shape this architecture") from error


def _shape(state: State) -> tuple[int, ...]:
    return np.broadcast_shapes(*(np.shape(x) for x in (*state.jet, state.q1, state.q2)))


def _pair(state: State) -> tuple[Array | None, ...]:
    return state.jet[0], state.q1, state.q2, state.mean1, state.mean2


def network_maps(arch: Architecture, shaping: Shaping | None = None) -> NetworkMaps:
    """The extended Q and C maps of an architecture (DKS, section 7), shaped or not."""
    return NetworkMaps(arch, shaping)
