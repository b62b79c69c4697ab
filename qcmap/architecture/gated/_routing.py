"""Routing networks and the sharing schemes that race in them (NRR, sections 4 and 4.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from qcmap.architecture import Architecture, Builder
from qcmap.architecture.gated._checks import check_count, check_flag, real_array
from qcmap.architecture.gated._context import LARGEST
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._tables import Blocks, Coded, Integers
from qcmap.architecture.gated._task import GatedTask, Gating
from qcmap.errors import ArgumentError


def routing(
    M: int = 7,
    K: int = 4,
    *,
    hidden_layers: int = 2,
    width: int = 64,
    data: tuple[Any, Any] | None = None,
    trained: bool = True,
) -> GatedNetwork:
    """The routing network of section 4: M input domains, M output domains, a shared chain of hidden layers.

    Input domain i is trained with the K output domains i, i + 1, ..., i + K - 1 (modulo M), so each output domain has
    K inputs as well; each of the K M routes is a context of probability 1/(K M). Edges are ``in<i>``, ``hidden<k>`` and
    ``out<j>``, gating variables ``from<i>`` and ``to<j>``.

    Parameters
    ----------
    M, K
        Numbers of domains and of trained outputs for each input, 1 <= K <= M.
    hidden_layers, width
        ``hidden_layers - 1`` matrices lie between input and output matrices.
    data
        Arrays X [channels, examples] and Y [channels, examples], the same for each route; moments are averages over
        examples. Without data the moments are S and D, the positive symbols of one generic mode.
    trained
        If false, the same network with the M (M - K) other routes as contexts, to see what transfers to them.

    Raises
    ------
    ArgumentError
        For counts out of range, a flag that is neither true nor false, or if no route is left.
    """
    check_count("M", M)
    check_count("K", K, M)
    check_count("hidden_layers", hidden_layers)
    check_count("width", width)
    check_flag("trained", trained)
    S, D, yy, channels = _moments(data)
    options = f",hidden_layers={hidden_layers}" * (hidden_layers != 2) + ",trained=false" * (not trained)
    b = Builder(f"routing:M={M},K={K}{options}")
    entries = []
    for i in range(M):
        x = b.input(f"x{i}", channels[0])
        entries.append(b.gate(b.affine(x, width, name=f"in{i}"), f"from{i}", name=f"open_in{i}"))
    h = b.sum(entries, [1] * M, name="h1")
    for k in range(1, hidden_layers):
        h = b.affine(h, width, name=f"hidden{k}")
    outputs = [
        b.output(b.gate(b.affine(h, channels[1], name=f"out{j}"), f"to{j}", name=f"open_out{j}"), name=f"y{j}")
        for j in range(M)
    ]
    assert len(outputs) == M
    if not trained and K == M:
        raise ArgumentError("trained", f"all routes are trained with K = M = {M}", "give a smaller K")
    i, j = _routes(M, range(K) if trained else range(K, M))
    gates = {f"from{k}": at for k, at in enumerate(_split(i, M))} | {f"to{k}": at for k, at in enumerate(_split(j, M))}
    return _network(b.build(), i, j, gates, S, D, yy)


def sharing(
    M: int = 10,
    P: int | str | Sequence[int] = (1, 4, 25, 100),
    *,
    K: int | None = None,
    width: int = 64,
    data: tuple[Any, Any] | None = None,
) -> GatedNetwork:
    """The sharing schemes of section 4.2: P routes through each hidden matrix; several P race in one network.

    Input and output domains are cut into groups of sqrt(P). Each pair of groups has a hidden matrix of its own, and so
    has, with its own weights, each edge from an input domain of the one to it, and from it to an output domain of the
    other. (Equations (16)-(17) need this: shared input weights would take part in M routes.) With several P the outputs
    of the schemes add up. Edges are ``in<i>_P<p>_<a>_<b>``, ``hidden_P<p>_<a>_<b>`` and ``out<j>_P<p>_<a>_<b>``.

    Parameters are those of `routing`; all routes are trained if K is left out. P is a number, several, or a text such
    as "1+4+25".

    Raises
    ------
    ArgumentError
        If P is not the square of a divisor of M.
    """
    check_count("M", M)
    K = M if K is None else K
    check_count("K", K, M)
    check_count("width", width)
    if isinstance(P, str):
        P = [int(part) if part.isdecimal() else 0 for part in P.split("+")]
    schemes = tuple(P) if isinstance(P, Sequence) else (P,)
    for scheme in schemes:
        if not isinstance(scheme, int) or scheme < 1 or math.isqrt(scheme) ** 2 != scheme or M % math.isqrt(scheme):
            known = ", ".join(str(d * d) for d in range(1, M + 1) if M % d == 0)
            raise ArgumentError("P", f"{scheme} is not the square of a divisor of M = {M}", f"choose from {known}")
    if not schemes or len(set(schemes)) < len(schemes):
        raise ArgumentError("P", f"{schemes} are not different schemes", "give each once")
    S, D, yy, channels = _moments(data)
    i, j = _routes(M, range(K))
    b = Builder(f"sharing:M={M},P={'+'.join(map(str, schemes))}")
    x = [b.input(f"x{k}", channels[0]) for k in range(M)]
    parts: list[list[str]] = [[] for _ in range(M)]
    gates: dict[str, Integers] = {}
    for scheme in schemes:
        size = math.isqrt(scheme)
        for left in range(M // size):
            for right in range(M // size):
                inside = (i // size == left) & (j // size == right)
                if not inside.any():
                    continue
                tag = f"P{scheme}_{left}_{right}"
                # A domain of a group that no trained route of this pair uses has no edge here.
                sources, targets = (np.unique(ends[inside]).tolist() for ends in (i, j))
                entries = []
                for k in sources:
                    gate = f"from{k}_{tag}"
                    gates[gate] = np.nonzero(inside & (i == k))[0]
                    entries.append(b.gate(b.affine(x[k], width, name=f"in{k}_{tag}"), gate, name=f"open_in{k}_{tag}"))
                h = b.affine(b.sum(entries, [1] * len(entries), name=f"h_{tag}"), width, name=f"hidden_{tag}")
                for k in targets:
                    gate = f"to{k}_{tag}"
                    gates[gate] = np.nonzero(inside & (j == k))[0]
                    edge = b.affine(h, channels[1], name=f"out{k}_{tag}")
                    parts[k].append(b.gate(edge, gate, name=f"open_out{k}_{tag}"))
    for k, found in enumerate(parts):
        b.output(b.sum(found, [1] * len(found), name=f"sum{k}"), name=f"y{k}")
    return _network(b.build(), i, j, gates, S, D, yy)


def _routes(M: int, offsets: range) -> tuple[Integers, Integers]:
    """Input and output domain of each route from i to i + offset, in order."""
    pairs = sorted((i, (i + k) % M) for i in range(M) for k in offsets)
    i, j = np.array(pairs, dtype=np.int64).T
    return i, j


def _split(domain: Integers, M: int) -> list[Integers]:
    """For each domain, its routes in order."""
    order = np.argsort(domain, kind="stable")
    return np.split(order, np.searchsorted(domain[order], np.arange(1, M)))


def _network(
    arch: Architecture,
    i: Integers,
    j: Integers,
    gates: dict[str, Integers],
    S: Any,
    D: Any,
    yy: Any,
) -> GatedNetwork:
    """The network with a context for each route (i, j), all of the same moments and probability."""
    count, context = len(i), np.arange(len(i), dtype=np.int64)
    task = GatedTask(
        tuple(f"{a}->{b}" for a, b in zip(i.tolist(), j.tolist(), strict=True)),
        arch.inputs,
        arch.outputs,
        Coded.constant(Fraction(1, count), count),
        {gate: Gating(at, Coded.constant(1, len(at))) for gate, at in gates.items()},
        Blocks(context, i, i, Coded.constant(D, count)),
        Blocks(context, j, i, Coded.constant(S, count)),
        None if yy is None else Coded.constant(yy, count),
    )
    return GatedNetwork(arch, task)


def _moments(data: tuple[Any, Any] | None) -> tuple[Any, Any, Any, tuple[int | None, int | None]]:
    """<y x^T>, <x x^T>, <|y|^2> and the channels of input and output."""
    if data is None:
        import sympy

        return sympy.Symbol("S", positive=True), sympy.Symbol("D", positive=True), None, (None, None)
    try:
        x, y = map(real_array, data)
    except (TypeError, ValueError):
        x = y = None
    if x is None or y is None:
        raise ArgumentError("data", "they are not two arrays of numbers", "give (X, Y), [channels, examples]")
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not x.shape[1]:
        raise ArgumentError("data", f"shapes {x.shape} and {y.shape} do not match", "give [channels, examples] twice")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ArgumentError("data", "they have a NaN or infinity", "clean the data first")
    if max(np.abs(x).max(initial=0.0), np.abs(y).max(initial=0.0)) > LARGEST:
        raise ArgumentError("data", f"they are above {LARGEST:g}", "give another unit")
    n = x.shape[1]
    return y @ x.T / n, x @ x.T / n, float((y**2).sum() / n), (x.shape[0], y.shape[0])
