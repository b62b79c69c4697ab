"""Paths and their statistics (5)-(6), for showing; the numeric work never enumerates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcmap.architecture import Affine, Gate, Input, Scale, Sum
from qcmap.architecture.gated._checks import check_count, check_kind
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.errors import ArgumentError
from qcmap.symbolic.gated._exact import exact


@dataclass(frozen=True)
class Path:
    """A path from an input node to an output node.

    Attributes
    ----------
    source, target
        The input and the output node.
    edges
        Its affine nodes, from input to output.
    gates
        The gating variables on it.
    factor
        The product of the constants on it.
    """

    source: str
    target: str
    edges: tuple[str, ...]
    gates: tuple[str, ...] = ()
    factor: Any = 1

    def __str__(self) -> str:
        return " ".join((self.source, *self.edges, self.target))


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics of the paths, only where they are not zero.

    Attributes
    ----------
    paths
        In the order of the graph.
    yx
        ``Sigma^yx(p)`` by position of p.
    x
        ``Sigma^x(j, p)`` by positions (j, p), for paths to the same output; a matrix [channels of s(j), of s(p)].
    """

    paths: tuple[Path, ...]
    yx: Mapping[int, Any]
    x: Mapping[tuple[int, int], Any]

    def through(self, edge: str) -> tuple[int, ...]:
        """P(e): the paths through an edge."""
        return tuple(k for k, path in enumerate(self.paths) if edge in path.edges)

    def __repr__(self) -> str:
        return f"<statistics of {len(self.paths)} paths: {len(self.yx)} of y x^T, {len(self.x)} of x x^T not zero>"


def paths(network: GatedNetwork, *, most: int = 1000) -> tuple[Path, ...]:
    """All paths from an input to an output.

    Raises
    ------
    ArgumentError
        If there are more than ``most``.
    """
    check_kind("network", network, GatedNetwork, "build one, such as routing(7, 4)")
    check_count("most", most)
    arch = network.architecture
    found: dict[str, list[Path]] = {}
    for node in arch.nodes:
        op = node.op
        if isinstance(op, Input):
            found[node.id] = [Path(node.id, "", ())]
            continue
        factors = op.weights if isinstance(op, Sum) else (op.factor,) if isinstance(op, Scale) else (1,)
        grown: list[Path] = []
        for source, factor in zip(node.inputs, factors, strict=True):
            for path in found[source]:
                edges = (*path.edges, node.id) if isinstance(op, Affine) else path.edges
                gates = (*path.gates, op.name) if isinstance(op, Gate) else path.gates
                grown.append(Path(path.source, "", edges, gates, path.factor * factor))
        if len(grown) > most:
            raise ArgumentError(
                "network", f"more than {most} paths reach {node.id}", "reduce it instead, or raise most"
            )
        found[node.id] = grown
    ends = [(name, path) for name in arch.outputs for path in found[name]]
    if len(ends) > most:
        raise ArgumentError(
            "network", f"it has {len(ends)} paths, more than {most}", "reduce it instead, or raise most"
        )
    return tuple(Path(path.source, name, path.edges, path.gates, path.factor) for name, path in ends)


def statistics(network: GatedNetwork, *, most: int = 1000) -> Statistics:
    """The statistics (5) and (6) of all paths: matrices from data, or exact expressions from symbols.

    Raises as `paths`.
    """
    listed = paths(network, most=most)
    task = network.task
    arrays = task.is_matrix or any(isinstance(value, np.ndarray) for value in task.xx.value.values)
    convert = float if arrays else exact
    gates = {
        name: dict(zip(g.contexts.tolist(), (convert(g.value.values[k]) for k in g.value.ids.tolist()), strict=True))
        for name, g in task.gates.items()
    }
    probability = [convert(task.probability.values[k]) for k in task.probability.ids.tolist()]
    open_in = [_open(path, gates, len(task.contexts), convert) for path in listed]
    yx = _by_context(task.yx, task.outputs, task.inputs)
    xx = _by_context(task.xx, task.inputs, task.inputs)
    crosses, moments = {}, {}
    for p, path in enumerate(listed):
        terms = [
            probability[c] * gate * yx[c][path.target, path.source]
            for c, gate in open_in[p].items()
            if (path.target, path.source) in yx[c]
        ]
        _keep(crosses, p, terms)
        for j, other in enumerate(listed):
            if other.target != path.target:
                continue
            terms = []
            for c, gate in open_in[p].items():
                if c not in open_in[j]:
                    continue
                moment = xx[c].get((other.source, path.source))
                if moment is None and (path.source, other.source) in xx[c]:
                    moment = (
                        np.transpose(xx[c][path.source, other.source]) if arrays else xx[c][path.source, other.source]
                    )
                if moment is not None:
                    terms.append(probability[c] * gate * open_in[j][c] * moment)
            _keep(moments, (j, p), terms)
    return Statistics(listed, crosses, moments)


def _open(path: Path, gates: Mapping[str, Mapping[int, Any]], contexts: int, convert: Any) -> dict[int, Any]:
    """g_p by context, where it is not zero."""
    found = dict.fromkeys(range(contexts), convert(path.factor))
    for name in path.gates:
        values = gates.get(name, {})
        found = {c: value * values[c] for c, value in found.items() if c in values}
    return found


def _by_context(blocks: Any, rows: tuple[str, ...], columns: tuple[str, ...]) -> list[dict[tuple[str, str], Any]]:
    count = int(blocks.context.max(initial=-1)) + 1
    found: list[dict[tuple[str, str], Any]] = [{} for _ in range(count)]
    for c, row, column, value in zip(blocks.context, blocks.row, blocks.column, blocks.value.ids, strict=True):
        entry = blocks.value.values[value]
        found[c][rows[row], columns[column]] = entry if isinstance(entry, np.ndarray) else exact(entry)
    return _Padded(found)


class _Padded(list[dict[tuple[str, str], Any]]):
    """Moments by context; contexts without any have none."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index) if index < len(self) else {}


def _keep(found: dict[Any, Any], key: Any, terms: list[Any]) -> None:
    if terms:
        total = sum(terms[1:], start=terms[0])
        if isinstance(total, np.ndarray):
            if total.any():
                found[key] = total
        elif total != 0:
            found[key] = total
