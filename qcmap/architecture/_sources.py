"""Which affine layers a feature map is a linear function of: what makes the branches of a sum independent.

Up to the next nonlinear op, a feature map is a linear function of outputs of affine layers, its *sources*, and of *raw*
maps: inputs, outputs of activations and of products. Two branches are uncorrelated if they have no common source, at
most one of them is raw, and that one does not depend on a source of the other: of all their sources take the last one
in topological order. Its weights have mean zero and enter nothing else, so its product with any part of the other
branch has mean zero. With a common source W z the cross term w1 w2 E (W z)^2 = w1 w2 q is left, and two raw parts leave
the product of what they share; equations 12 and 13 miss both. A layer norm after affine layers is a multiplication by
1/sqrt(q) in the limit of large width, and pooling is treated as the identity, so both pass sources on. Layers that
share their parameters are one source.
"""

from __future__ import annotations

from functools import cached_property

from qcmap.architecture._architecture import Architecture
from qcmap.architecture._node import Algebra, Node
from qcmap.architecture._ops import OPS, Affine, BatchNorm, Input, Multiply, Nonlinear, Upsample
from qcmap.architecture._sets import IntSet, common, union
from qcmap.architecture._shapes import Projection

RAW = (Input, Nonlinear, Multiply, BatchNorm)


def _joined(node: Node, values: list[IntSet]) -> IntSet:
    result: IntSet = values[0]
    for value in values[1:]:
        result = union(result, value)
    return result


def is_depthwise(arch: Architecture, node: Node) -> bool:
    """Whether an affine layer has one input channel in each group, so that it only changes signs (see `Affine`).

    Groups of an unknown number of channels are taken to be such.
    """
    op = node.op
    return isinstance(op, Affine) and op.groups > 1 and arch.channels[node.inputs[0]] in (None, op.groups)


def raw_maps(arch: Architecture) -> dict[str, str | None]:
    """For each node, a raw node (no output of an affine layer) that it is a linear function of, or None.

    A depthwise convolution changes signs, so it makes nothing Gaussian that was not, and counts for no affine layer.
    """

    def passed(node: Node, values: list[str | None]) -> str | None:
        return next((value for value in values if value is not None), None)

    rules = {
        **dict.fromkeys(OPS.values(), passed),
        **dict.fromkeys(RAW, lambda node, values: node.id),
        Affine: lambda node, values: passed(node, values) if is_depthwise(arch, node) else None,
    }
    return arch.fold(Algebra("raw maps", rules))


class Facts:
    """What the rules ask of an architecture, each computed once."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        # Raises where maps of different channels or extents are added.
        _ = arch.channels
        inputs = (arch[name].op for name in arch.inputs)
        known = any(isinstance(op, Input) and op.locations is not None for op in inputs)
        self.locations: dict[str, Projection | None] = arch.locations if known else {}
        first: dict[str, int] = {}
        self._key: dict[str, int] = {}
        for position, node in enumerate(arch.nodes):
            if isinstance(node.op, Affine):
                shared = node.op.parameters
                self._key[node.id] = position if shared is None else first.setdefault(shared, position)

    def meets_copies(self, node: Node) -> bool:
        """Whether a map with repeated locations meets one that stands for other locations of the input.

        Where locations are not known: whether some but not all branches are upsampled.
        """
        if not self.locations:
            return len({self._upsampled[name] for name in node.inputs}) > 1
        known = [seen for name in node.inputs if (seen := self.locations[name]) is not None]
        copies = any(not isinstance(along, range) for seen in known for along in seen)
        return copies and any(seen != known[0] for seen in known)

    @cached_property
    def _upsampled(self) -> dict[str, bool]:
        """Whether each feature map comes from an upsampling."""
        rules = {
            **dict.fromkeys(OPS.values(), lambda node, values: any(values)),
            Upsample: lambda node, values: True,
        }
        return self.arch.fold(Algebra("upsampled maps", rules))

    @cached_property
    def raw(self) -> dict[str, str | None]:
        """For each node, a raw node that it is a linear function of, or None."""
        return raw_maps(self.arch)

    @cached_property
    def _sources(self) -> dict[str, IntSet]:
        rules = {
            **dict.fromkeys(OPS.values(), _joined),
            **dict.fromkeys(RAW, lambda node, values: None),
            Affine: lambda node, values: values[0] if is_depthwise(self.arch, node) else self._key[node.id],
        }
        return self.arch.fold(Algebra("affine sources", rules))

    def correlation(self, node: Node) -> str | None:
        """Why two branches of a sum are correlated, or None if they are not."""
        own = [self._sources[name] for name in node.inputs]
        seen = own[0]
        for k, sources in enumerate(own[1:], start=2):
            if (shared := common(seen, sources)) is not None:
                return f"two of its branches are linear in the output of {self.arch.nodes[shared].id!r}"
            if k < len(own):
                seen = union(seen, sources)
        raw = [name for name in node.inputs if self.raw[name] is not None]
        if len(raw) > 1:
            return f"its branches {raw[0]!r} and {raw[1]!r} both have a part that no affine layer made"
        for name in node.inputs if raw else ():
            if name != raw[0] and (shared := common(self._sources[name], self._before[raw[0]])) is not None:
                return f"its branch {raw[0]!r} depends on {self.arch.nodes[shared].id!r}, in which it is also linear"
        return None

    @cached_property
    def _before(self) -> dict[str, IntSet]:
        """All affine layers (keys) that each feature map depends on."""

        def added(node: Node, values: list[IntSet]) -> IntSet:
            return union(values[0], self._key[node.id])

        rules = {**dict.fromkeys(OPS.values(), _joined), Input: lambda node, values: None, Affine: added}
        return self.arch.fold(Algebra("dependences", rules))

    def repeats_parameters(self, node: Node) -> bool:
        """Whether an affine layer depends on one with the same parameters."""
        assert isinstance(node.op, Affine)
        if node.op.parameters is None:
            return False
        return common(self._before[node.inputs[0]], self._key[node.id]) is not None
