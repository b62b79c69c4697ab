"""Shaping on paper: the architecture of the shaped model, and what has to be changed in the model to get there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from qcmap.architecture import (
    Affine,
    Architecture,
    BatchNorm,
    LayerNorm,
    MeanPool,
    Node,
    Op,
    Scale,
    Sum,
    WeightedMeanPool,
    check,
)
from qcmap.architecture._sources import RAW
from qcmap.errors import ArchitectureError
from qcmap.nn.shaping._branches import ResidualWeight, normalized_weights
from qcmap.nn.shaping._changes import Change, Kind
from qcmap.nn.tracing import Traced

BatchNorms = Literal["error", "remove", "layer_norm"]
Pooling = Literal["keep", "weighted"]
Scalars = Literal["error", "remove"]

_REMEDIES = {
    "no-batch-norm": "use batch_norm='remove' or batch_norm='layer_norm'",
    "no-scalar-multiplier": "use scalars='remove'",
}
"""What `shape` itself can do about a rule that is broken."""


@dataclass
class Draft:
    """The shaped architecture and, by node id of the traced one, what the model needs.

    ``dropped`` nodes are taken out (multiplications and batch norms): what stands for each. ``merged`` sums are part of
    the sum that reads them, those of ``replaced`` become another op, ``biased`` affine layers need biases.
    """

    architecture: Architecture
    dropped: dict[str, str] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, Op] = field(default_factory=dict)
    biased: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    def stands_for(self, name: str) -> str:
        """The node that is left in the place of one of the traced architecture."""
        return _followed(self.dropped, name)


def _followed(dropped: Mapping[str, str], name: str) -> str:
    while name in dropped:
        name = dropped[name]
    return name


def drafted(
    found: Traced, *, batch_norm: BatchNorms, pooling: Pooling, scalars: Scalars, residual_weight: ResidualWeight
) -> Draft:
    """The architecture after every change that shaping makes but the activations' constants.

    Raises
    ------
    ArchitectureError
        For the first rule that the result still breaks, with what `shape` can do about it, and how many there are.
    """
    arch = found.architecture
    work = _Drafting(arch, found.followed())
    work.multipliers(remove=scalars == "remove")
    if batch_norm != "error":
        work.batch_norms(remove=batch_norm == "remove")
    if pooling == "weighted":
        work.pools()
    work.sums(residual_weight)
    result = work.current()
    _refuse(result)
    biased = _biased(arch) if batch_norm == "remove" else ()
    return Draft(result, work.dropped, work.merged, work.replaced, biased, tuple(work.changes))


class _Drafting:
    """An architecture with nodes taken out (``dropped``: what stands for them) and given other ops (``replaced``).

    Something else (dropout, a bias) stands behind the ``followed`` nodes.
    """

    def __init__(self, arch: Architecture, followed: Collection[str]) -> None:
        self.traced, self.followed = arch, followed
        self.dropped: dict[str, str] = {}
        self.merged: dict[str, str] = {}
        self.replaced: dict[str, Op] = {}
        self.changes: list[Change] = []

    def current(self) -> Architecture:
        """The architecture so far."""
        nodes = tuple(
            Node(node.id, self.replaced.get(node.id, node.op), tuple(self.branches(node)))
            for node in self.traced.nodes
            if node.id not in self.dropped and node.id not in self.merged
        )
        outputs = dict.fromkeys(map(self._stands_for, self.traced.outputs))
        return Architecture(self.traced.name, nodes, tuple(outputs))

    def branches(self, node: Node) -> Iterator[str]:
        """What a node reads: for a sum, the branches of the sums that are merged with it."""
        for name in map(self._stands_for, node.inputs):
            if self.merged.get(name) is None:
                yield name
            else:
                yield from self.branches(self.traced[name])

    def _stands_for(self, name: str) -> str:
        return _followed(self.dropped, name)

    def _drop(self, node: Node, kind: Kind, before: str, why: str) -> None:
        self.dropped[node.id] = node.inputs[0]
        self.changes.append(Change(node.id, kind, before, "taken out", why))

    def multipliers(self, *, remove: bool) -> None:
        """Make weights of sums of what amounts to them, and take other multiplications out if asked for.

        A multiplication on a branch of a sum or right after it is a weight; a sum that only another sum reads is part
        of that one, unless dropout, a reshape or a bias stands between them. So ``(a + b) + 0.5 * c`` is one sum with
        weights 1, 1, 0.5.
        """
        arch = self.traced
        readers = Counter((*(name for node in arch.nodes for name in node.inputs), *arch.outputs))
        weights: dict[str, list[float]] = {}
        for node in arch.nodes:
            if isinstance(node.op, Sum):
                weights[node.id] = own = []
                for weight, name in zip(node.op.weights, node.inputs, strict=True):
                    factor, source = float(weight), name
                    straight = source not in self.followed
                    while isinstance(arch[source].op, Scale) and readers[source] == 1:
                        factor *= 1.0 if source in self.dropped else self._absorb(arch[source], node.id)
                        source = arch[source].inputs[0]
                        straight = straight and source not in self.followed
                    if source in weights and readers[source] == 1 and straight:
                        self.merged[source] = node.id
                        own += [factor * inner for inner in weights.pop(source)]
                    else:
                        own.append(factor)
            elif isinstance(node.op, Scale):
                source = self._stands_for(node.inputs[0])
                if source in weights and readers[node.inputs[0]] == 1:
                    factor = self._absorb(node, source)
                    weights[source] = [weight * factor for weight in weights[source]]
        self.replaced |= {name: Sum(tuple(own)) for name, own in weights.items()}
        for node in arch.nodes if remove else ():
            if isinstance(node.op, Scale) and node.id not in self.dropped:
                self._drop(node, "scale", _multiplication(node.op), "step 4 of DKS, section 21.2")

    def _absorb(self, node: Node, into: str) -> float:
        """Take a multiplication out, since it is a weight of a sum, and return its factor."""
        assert isinstance(node.op, Scale)
        self._drop(node, "scale", _multiplication(node.op), f"it is a weight of the sum {into!r} (DKS, section 9)")
        return float(node.op.factor)

    def batch_norms(self, *, remove: bool) -> None:
        """Take batch norms out, or put layer norms in their places."""
        for node in self.traced.nodes:
            if not isinstance(node.op, BatchNorm):
                continue
            if remove:
                why = "it mixes examples; its layers have biases instead (DKS, sections 19.1 and 23.2)"
                self._drop(node, "batch_norm", "batch norm", why)
            else:
                self.replaced[node.id] = LayerNorm()
                why = "it mixes examples (DKS, sections 19.1, 19.2 and 23.2)"
                self.changes.append(Change(node.id, "batch_norm", "batch norm", "layer norm over the channels", why))

    def pools(self) -> None:
        """Weighted mean pooling for global mean pooling."""
        for node in self.traced.nodes:
            if not isinstance(node.op, MeanPool):
                continue
            if node.op.kernel:
                why = "weighted mean pooling is defined over a whole map (DKS, section 20.1.2)"
                self.changes.append(Change(node.id, "kept", "mean pooling of windows", "the same", why))
            else:
                self.replaced[node.id] = WeightedMeanPool()
                why = "it keeps q values, which mean pooling does not (DKS, section 20.1.2)"
                self.changes.append(Change(node.id, "pool", "mean pooling", "weighted mean pooling", why))

    def sums(self, rule: ResidualWeight) -> None:
        """Normalized sums."""
        arch = self.current()
        for name, (weights, how) in normalized_weights(arch, rule).items():
            op = arch[name].op
            assert isinstance(op, Sum)
            self.replaced[name] = Sum(weights)
            before, after = (", ".join(f"{float(weight):.6g}" for weight in own) for own in (op.weights, weights))
            why = f"{how}; normalized sums keep q values (DKS, sections 9 and 21.2)"
            self.changes.append(
                Change(name, "sum", f"sum with weights {before}", f"normalized sum with weights {after}", why)
            )


def _multiplication(op: Scale) -> str:
    return f"multiplication by {float(op.factor):.6g}"


def _biased(arch: Architecture) -> tuple[str, ...]:
    """The affine layers whose outputs a batch norm of the architecture reads, by linear ops at most."""
    wanted: set[str] = set()
    for node in reversed(arch.nodes):
        if isinstance(node.op, BatchNorm) or (node.id in wanted and not isinstance(node.op, (Affine, *RAW))):
            wanted.update(node.inputs)
    return tuple(node.id for node in arch.nodes if isinstance(node.op, Affine) and node.id in wanted)


def _refuse(arch: Architecture) -> None:
    """Raise `ArchitectureError` for what the first node at fault breaks: later faults may follow from it."""
    errors = [violation for violation in check(arch) if violation.severity == "error"]
    if not errors:
        return
    first, more = min(errors, key=lambda violation: arch.index[violation.node]), len(errors) - 1
    others = f" (and {more} more: qcmap.check(qcmap.nn.trace(model, example_input)) lists them)" if more else ""
    raise ArchitectureError(
        first.node, f"{first.message} [{first.rule}]", f"{_REMEDIES.get(first.rule, first.remedy)}{others}"
    )
