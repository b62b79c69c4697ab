"""`report`: a page about a network."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qcmap._atomic import write_whole
from qcmap._html import escape
from qcmap.architecture import Architecture
from qcmap.errors import ArgumentError
from qcmap.reporting._collect import collect
from qcmap.reporting._page import page

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Report:
    """A report about a network.

    Attributes
    ----------
    architecture
        What it is about.
    title
        The heading of the page.
    data
        All that it says, as plain data without numbers that are not finite.
    """

    architecture: Architecture
    title: str
    data: dict[str, Any] = field(repr=False)

    @cached_property
    def html(self) -> str:
        """The page: one HTML file that needs no network."""
        return page(self.architecture, self.data, self.title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all; raises `ArgumentError` naming the file if it cannot be written."""
        write_whole(path, self.html.encode())

    def to_dict(self) -> dict[str, Any]:
        """The data."""
        return self.data

    def _repr_html_(self) -> str:
        look = "width:100%;height:46rem;border:1px solid #ccc"
        return f'<iframe title="{escape(self.title)}" style="{look}" srcdoc="{escape(self.html)}"></iframe>'


def report(
    network: Architecture | nn.Module,
    example_input: Any = None,
    *,
    zeta: float = 1.5,
    title: str | None = None,
    measure: bool = True,
    seed: int = 0,
) -> Report:
    """A page about a network: its graph, slopes, C maps, constants, rules and tangent kernel (docs/report.md).

    What cannot be computed, since a rule is broken or no constants exist, is left out with the reason.

    Parameters
    ----------
    network
        An architecture, or a torch model: then the report is about its graph, and predictions stand beside
        measurements.
    example_input
        For a model: as for `qcmap.nn.trace`. To be measured it takes two samples or more; inputs of q value 1
        (`qcmap.nn.pln`) are compared at more locations.
    zeta
        The global slope bound at which the network is shaped.
    title
        The heading of the page; the architecture's name if left out.
    measure
        Whether a model is measured (`qcmap.nn.measure`), as it stands and shaped.
    seed
        Of the measurement and of the shaped copy's weights.

    Raises
    ------
    ArgumentError
        For what is neither an architecture nor a model, a model without example, or a zeta that is not above 1.
    TraceError
        For a model that cannot be read as a graph.
    """
    from qcmap import __version__

    measured: list[dict[str, Any]] = []
    if isinstance(network, Architecture):
        if example_input is not None:
            raise ArgumentError("example_input", "an architecture takes none", "give a torch model, or leave it out")
        arch = network
    else:
        # torch is there if this is a model.
        if not any(kind.__module__.startswith("torch.nn") for kind in type(network).__mro__):
            what = f"it is an Architecture or a torch model, not {type(network).__name__}"
            raise ArgumentError("network", what, "build one, or take one of zoo")
        if example_input is None:
            raise ArgumentError("example_input", "a model needs an example to be traced with", "give a batch of inputs")
        from qcmap.reporting._measured import graph_of, measurements

        arch = graph_of(network, example_input)
        measured = measurements(network, example_input, zeta, seed) if measure else []
    heading = arch.name if title is None else title
    data = {"title": heading, "version": __version__, **collect(arch, zeta, measured)}
    return Report(arch, heading, data)
