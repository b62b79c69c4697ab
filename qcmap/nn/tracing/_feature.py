"""What a tensor of the recorded graph stands for: a feature map, a constant, and the node it will become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from qcmap.architecture import Op
from qcmap.nn.tracing._axes import CHANNEL, Layout, extent


@dataclass(eq=False)
class Draft:
    """A node to be: its op (or how to make it, for what may turn out not to be needed) and the drafts that it reads.

    ``place`` is the node of the recorded graph that it is the output of, ``name`` what it is called within the module
    whose forward made it; ``module`` its path if it is one call of a module; ``weight`` the name of its parameter;
    ``reads`` the nodes of the recorded graph whose results it reads, one for each input.
    """

    op: Op | Callable[[], Op]
    inputs: list[Draft]
    place: fx.Node
    name: str
    module: str | None = None
    weight: str | None = None
    reads: list[fx.Node] = field(default_factory=list)


@dataclass(frozen=True)
class Pointwise:
    """An elementwise function of the feature map of ``base``, as an expression of sympy in its argument.

    ``bent`` says whether it is more than a multiple plus a constant.
    """

    base: Feature
    expression: Callable[[Any], Any]
    bent: bool


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature map: the recorded node that gives it, its draft, what its axes hold, the extent of its locations.

    ``draft`` is None for a multiple of a map plus a constant other than zero, which no op stands for; it may become
    part of an activation. ``biases`` are the calls that added parameters to it, which no op stands for either.
    """

    place: fx.Node
    draft: Draft | None
    layout: Layout
    locations: tuple[int, ...]
    pointwise: Pointwise | None = None
    biases: tuple[fx.Node, ...] = ()

    def same_map(self, other: Feature) -> bool:
        """Whether the two are one node's feature map with the same parameters added, in whatever form."""
        return self.draft is not None and self.draft is other.draft and self.biases == other.biases

    @property
    def channels(self) -> int:
        """The number of channels."""
        return extent(tuple(atom for axis in self.layout for atom in axis if atom.key == CHANNEL))


@dataclass(eq=False)
class Constant:
    """A tensor that does not depend on the network's inputs; ``parameter`` is its name if it is one as it stands.

    ``sources`` are the parameters that it is a rearrangement of; None if it is computed in another way.
    """

    node: fx.Node
    shape: tuple[int, ...]
    parameter: str | None = None
    sources: tuple[str, ...] | None = None
