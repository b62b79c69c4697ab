"""What a report says, as plain data: the page shows it, and ``--json`` prints it.

Every part is computed on its own. One that has no result, since a rule is broken or no constants exist, is
``{"reason": ...}`` with the error's own words; the others stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from qcmap.architecture import Architecture, Input, Nonlinear, Violation, check
from qcmap.architecture._draw_labels import detail
from qcmap.errors import ArgumentError, QCMapError
from qcmap.numeric import NetworkMaps, Shaping, dks, network_maps, ntk
from qcmap.reporting._stops import depths, stops
from qcmap.symbolic import MaximalSlope, maximal_slope, slope_polynomial

Data = dict[str, Any]

ZETAS = (1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Global slope bounds for which C maps are computed, beside the one that is asked for."""
LAYERS = 6_000
"""Nonlinear layers, over all slope bounds, beyond which every second bound is left out, and so on."""
ANGLES = 41
"""C values of a curve: cosines of equally spaced angles, in which C maps are analytic (docs/quadrature.md)."""
TANGENT_C = (1.0, 0.5, 0.0)
"""The c values of the tangent kernels."""
POINTS = 61
"""Points of the curves of slopes."""


def collect(arch: Architecture, zeta: float, measured: Sequence[Data] = ()) -> Data:
    """Everything that a report says about an architecture.

    Parameters
    ----------
    arch
        The architecture.
    zeta
        The global slope bound at which it is shaped.
    measured
        Measurements of a model, as `qcmap.reporting._measured` gives them.

    Raises
    ------
    ArgumentError
        If zeta is no finite number above 1. All other reasons why something cannot be computed are part of the data.
    """
    if isinstance(zeta, bool) or not isinstance(zeta, (int, float)) or not (math.isfinite(zeta) and zeta > 1):
        raise ArgumentError("zeta", f"the global slope bound is a finite number above 1, not {zeta!r}", "try zeta=1.5")
    violations = check(arch)
    mu = _tried(partial(maximal_slope, arch))
    shaping = _tried(partial(dks, arch, zeta))
    given, shaped = _walked(arch, None), _walked(arch, shaping)
    return {
        "architecture": arch.name,
        "zeta": float(zeta),
        "nodes": _nodes(arch),
        "inputs": list(arch.inputs),
        "outputs": list(arch.outputs),
        "symbols": list(arch.symbols),
        "rules": _rules(violations),
        "slope": _slope(arch, mu, zeta),
        "constants": shaping if isinstance(shaping, dict) else _finite(shaping.to_dict()),
        "values": {"given": _values(given), "shaped": _values(shaped)},
        "maps": _grid(arch, zeta, shaping, given, shaped),
        "tangent": {"c": list(TANGENT_C), "given": _tangent(arch, None), "shaped": _tangent(arch, shaping)},
        "measured": list(measured),
    }


def _tried(make: Callable[[], Any]) -> Any:
    """What a function gives, or the reason why it does not."""
    try:
        return make()
    except QCMapError as error:
        return {"reason": str(error)}


def _nodes(arch: Architecture) -> list[Data]:
    layers = depths(arch)
    return [
        {"id": node.id, "op": node.op.kind, "detail": detail(node), "reads": list(sources), "depth": layer}
        for node, sources, layer in zip(arch.nodes, arch.predecessors, layers, strict=True)
    ]


def _rules(violations: Sequence[Violation]) -> list[Data]:
    """The rules that are broken, errors first, each with the nodes that break it."""
    rows: dict[tuple[str, str], Data] = {}
    for found in sorted(violations, key=lambda found: found.severity):
        row = {"rule": found.rule, "severity": found.severity, "remedy": found.remedy, "found": []}
        rows.setdefault((found.rule, found.remedy), row)["found"].append({"node": found.node, "message": found.message})
    return list(rows.values())


def _slope(arch: Architecture, mu: MaximalSlope | Data, zeta: float) -> Data:
    """The slope polynomial, the maximal slope function with its candidates, and their curves."""
    if isinstance(mu, dict):
        return mu
    whole = _tried(partial(slope_polynomial, arch)) if len(arch.inputs) == len(arch.outputs) == 1 else None
    polynomial = None if whole is None or isinstance(whole, dict) else whole.to_dict()
    data: Data = {"polynomial": polynomial, **mu.to_dict()}
    if arch.symbols:
        return {**data, "psi": None, "why": f"psi is not computed: give {' and '.join(arch.symbols)} a number"}
    psi = mu.inverse(zeta)
    # Up to three times as far as psi goes, in the logarithm of mu.
    psis = np.linspace(1.0, mu.inverse(max(zeta**2, 3.0)), POINTS)
    candidates = mu.candidates[:8]
    best = mu.argmax(psi)
    curves = [_plain(np.exp(np.minimum(c.polynomial.log(np.log(psis)), 700.0))) for c in candidates]
    return {
        **data, "psi": psi, "attained": {"source": best.source, "target": best.target},
        "curve": {"psi": _plain(psis), "mu": _plain(mu(psis)), "candidates": curves},
    }  # fmt: skip


@dataclass(frozen=True)
class _Walked:
    """What the maps are at every node: q values, and c with its derivative (None if infinite) on the grid."""

    maps: NetworkMaps
    jets: Mapping[str, tuple[Any, ...]]

    def slope(self, node: str) -> float:
        """The slope of the C map at 1, from the inputs to a node; not finite if it is not known."""
        jet = self.jets[node]
        return float(jet[1][-1]) if len(jet) > 1 else math.nan

    def curve(self, node: str) -> list[float | None]:
        """The C map to a node on the grid."""
        return _plain(self.jets[node][0])


def _walked(arch: Architecture, shaping: Shaping | Data | None) -> _Walked | Data:
    if isinstance(shaping, dict):
        return shaping

    def walk() -> _Walked:
        maps = network_maps(arch, shaping)
        try:
            return _Walked(maps, maps.propagate_jet(_grid_of_c()))
        except QCMapError:  # the derivative may be infinite where the map is not
            return _Walked(maps, maps.propagate_jet(_grid_of_c(), order=0))

    return _tried(walk)


def _grid_of_c() -> Any:
    c = np.cos(np.linspace(math.pi, 0.0, ANGLES))
    c[[0, ANGLES // 2, -1]] = -1.0, 0.0, 1.0  # without rounding
    return c


def _values(walked: _Walked | Data) -> Data:
    """At each node: its q value, c for orthogonal inputs, and the slope dC/dc at 1 from the inputs to it."""
    if isinstance(walked, dict):
        return walked
    q = walked.maps.propagate_q()
    nodes = list(q)
    return {
        "q": _plain([float(np.squeeze(q[node])) for node in nodes]),
        "c0": _plain([walked.jets[node][0][ANGLES // 2] for node in nodes]),
        "slope": _plain([walked.slope(node) for node in nodes]),
    }


def _grid(
    arch: Architecture, zeta: float, shaping: Shaping | Data, given: _Walked | Data, shaped: _Walked | Data
) -> Data:
    """C maps from the inputs to places along the network, as given and for a grid of global slope bounds."""
    places = [arch.nodes[k].id for k in stops(arch)]
    curves: list[Data] = []
    # Without maps of the activations as they are there are none for any other bound, unless q values overflow.
    for one in _bounds(arch, zeta) if isinstance(given, _Walked) or isinstance(shaped, _Walked) else [float(zeta)]:
        found = shaping if one == zeta else _tried(partial(dks, arch, one))
        walked = shaped if one == zeta else _walked(arch, found)
        psi = None if isinstance(found, dict) else found.psi
        curves.append({"zeta": one, "psi": psi, **_curves(walked, places)})
    layers = depths(arch)
    along = [{"node": node, "depth": layers[arch.index[node]]} for node in places]
    return {"c": _plain(_grid_of_c()), "stops": along, "given": _curves(given, places), "shaped": curves}


def _bounds(arch: Architecture, zeta: float) -> list[float]:
    """The global slope bounds of the grid, fewer for a network of very many layers."""
    layers = sum(isinstance(node.op, Nonlinear) for node in arch.nodes)
    step = 1
    while layers * len(ZETAS[::step]) > LAYERS and step < len(ZETAS):
        step *= 2
    return sorted({*ZETAS[step - 1 :: step], float(zeta)})


def _curves(walked: _Walked | Data, places: Sequence[str]) -> Data:
    """C and its slope at 1, from the inputs to some nodes."""
    if isinstance(walked, dict):
        return walked
    slopes = _plain([walked.slope(node) for node in places])
    return {"C": [walked.curve(node) for node in places], "slope": slopes}


def _tangent(arch: Architecture, shaping: Shaping | Data | None) -> Data:
    """The tangent kernel of each affine layer at a few c values, that of the last output if there are several."""
    if isinstance(shaping, dict):
        return shaping
    target = arch.outputs[-1]
    kernel: Any = _tried(lambda: ntk(arch, list(TANGENT_C), shaping=shaping, target=target))
    if isinstance(kernel, dict):
        return kernel
    terms = {node: _plain(term) for node, term in kernel.terms.items()}
    return {"output": target, "terms": terms, "total": _plain(kernel.total)}


def _plain(values: Any) -> list[float | None]:
    """Numbers to nine digits as a list; what is not finite is None."""
    return [float(f"{x:.9g}") if math.isfinite(x) else None for x in np.asarray(values, dtype=np.float64).tolist()]


def _finite(data: Any) -> Any:
    """Plain data with None for numbers that are not finite, which JSON does not have."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def counts(data: Data) -> Data:
    """How much there is of what: for the head of the page."""
    ops = [node["op"] for node in data["nodes"]]
    return {
        "nodes": len(ops),
        "activations": ops.count(Nonlinear.kind),
        "inputs": ops.count(Input.kind),
        "depth": max(node["depth"] for node in data["nodes"]),
        "errors": _broken(data, "error"),
        "warnings": _broken(data, "warning"),
    }


def _broken(data: Data, severity: str) -> int:
    """How many nodes break a rule of this severity."""
    return len({one["node"] for row in data["rules"] if row["severity"] == severity for one in row["found"]})
