"""Random gated networks, and their loss straight from the definition (NRR, section 2), example by example."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qcmap as qc
from qcmap.architecture import Affine, Gate, Input, Scale, Sum
from qcmap.gated import Context, GatedNetwork, GatedTask

Array = NDArray[Any]
Plain = dict[str, Any]
"""A context as gates, inputs, targets and probability."""


def _size(arch: qc.Architecture, name: str) -> int:
    size = arch.channels[name]
    assert isinstance(size, int)
    return size


def random_graph(random: np.random.Generator, sizes: list[int], outputs: list[int]) -> tuple[qc.Architecture, set[str]]:
    """Layers of these sizes after one or two inputs, skips between any two, gates on edges and layers."""
    b = qc.Builder("random")
    gates: set[str] = set()
    read: set[str] = set()

    def gated(x: str) -> str:
        if random.uniform() < 0.5:
            name = f"g{len(gates)}"
            gates.add(name)
            return b.gate(x, name)
        return x

    layers = [b.input(f"x{k}", 3) for k in range(random.integers(1, 3))]
    for k, size in enumerate([*sizes, *outputs]):
        is_output = k >= len(sizes)
        hidden = [layer for layer in layers if not layer.startswith("y")]
        count = int(random.integers(1, min(3, len(hidden)) + 1))
        # Every earlier hidden layer must lead somewhere: the last output reads what nothing else has read.
        chosen = list(random.choice(hidden, size=count, replace=False))
        if k == len(sizes) + len(outputs) - 1:
            chosen = list(dict.fromkeys([*chosen, *(layer for layer in hidden if layer not in read)]))
        read.update(chosen)
        parts = [gated(b.affine(str(layer), size, name=f"w{k}_{n}")) for n, layer in enumerate(chosen)]
        weights = [float(w) for w in random.choice([1.0, 0.5, -0.7], size=len(parts))]
        h = gated(b.sum(parts, weights, name=f"h{k}"))
        layers.append(b.output(h, name=f"y{k - len(sizes)}") if is_output else h)
    return b.build(), gates


def random_network(seed: int, *, contexts: int = 5) -> tuple[GatedNetwork, list[Plain]]:
    """A random network with data, and its contexts as plain dictionaries."""
    random = np.random.default_rng(seed)
    sizes = [int(n) for n in random.integers(2, 5, size=random.integers(1, 5))]
    outputs = [int(n) for n in random.integers(1, 4, size=random.integers(1, 3))]
    arch, gates = random_graph(random, sizes, outputs)
    probabilities = random.dirichlet(np.ones(contexts))
    plain: list[Plain] = []
    for k in range(contexts):
        n = int(random.integers(1, 7))
        values = {gate: float(random.choice([0.3, 1.0, random.uniform(0.05, 1)])) for gate in gates}
        if k:  # the first context leaves all gates open, the others close some
            values = {gate: value for gate, value in values.items() if random.uniform() < 0.8}
        inputs = {name: random.standard_normal((_size(arch, name), n)) for name in arch.inputs}
        targets = {name: random.standard_normal((_size(arch, name), n)) for name in arch.outputs}
        plain.append({"gates": values, "inputs": inputs, "targets": targets, "probability": probabilities[k]})
    plain = [context for context in plain if not closed(arch, context["gates"])]
    total = sum(context["probability"] for context in plain)
    made = [
        Context.from_data(f"c{k}", c["gates"], c["inputs"], c["targets"], c["probability"] / total)
        for k, c in enumerate(plain)
    ]
    for context in plain:
        context["probability"] /= total
    return GatedNetwork(arch, GatedTask.of(made, arch.inputs, arch.outputs)), plain


def closed(arch: qc.Architecture, gates: dict[str, float]) -> bool:
    """Whether these gates close every path to an output."""
    open_at: dict[str, bool] = {}
    for node in arch.nodes:
        passes = not (isinstance(node.op, Gate) and node.op.name not in gates)
        open_at[node.id] = passes and (isinstance(node.op, Input) or any(open_at[name] for name in node.inputs))
    return not any(open_at[name] for name in arch.outputs)


def diagonal_network(seed: int, *, modes: int = 3) -> GatedNetwork:
    """A random graph whose data are jointly diagonalizable in random bases, with repeated singular values.

    Inputs of one context are uncorrelated, correlated, or absent; every output has a target from every input.
    """
    random = np.random.default_rng(seed)
    sizes = [int(n) for n in random.integers(modes, modes + 3, size=random.integers(1, 4))]
    arch, gates = random_graph(random, sizes, [int(n) for n in random.integers(modes, modes + 2, size=2)])
    bases: dict[str, Array] = {}
    for name in (*arch.inputs, *arch.outputs):
        bases[name] = np.linalg.qr(random.standard_normal((_size(arch, name),) * 2))[0][:, :modes]
    made = []
    for k in range(4):
        # <x x^T> over all inputs, mode by mode a positive matrix of random correlations.
        factors = random.standard_normal((modes, len(arch.inputs), 3)) / 2
        grams = np.einsum("mik,mjk->mij", factors, factors)
        xx = {
            (a, b): bases[a] * grams[:, i, j] @ bases[b].T
            for i, a in enumerate(arch.inputs)
            for j, b in enumerate(arch.inputs)
            if i <= j
        }
        yx = {}
        for v in arch.outputs:
            teacher = random.choice([0.5, 1.0, 1.0, 2.0], size=(modes, len(arch.inputs)))
            for j, u in enumerate(arch.inputs):
                yx[v, u] = bases[v] * np.einsum("mi,mi->m", teacher, grams[:, :, j]) @ bases[u].T
        values = {gate: float(random.choice([0.5, 1.0])) for gate in gates if k == 0 or random.uniform() < 0.8}
        if not closed(arch, values):
            made.append(Context(f"c{k}", values, xx, yx))
    shares = random.dirichlet(np.ones(len(made)))
    made = [replace(context, probability=float(p)) for context, p in zip(made, shares, strict=True)]
    return GatedNetwork(arch, GatedTask.of(made, arch.inputs, arch.outputs))


def plain_loss(arch: qc.Architecture, contexts: list[Plain], weights: dict[str, Array]) -> Any:
    """The loss (1): half the mean squared error, example by example."""
    total: Any = 0.0
    for context in contexts:
        values: dict[str, Any] = {}
        for node in arch.nodes:
            op, read = node.op, [values[name] for name in node.inputs]
            if isinstance(op, Input):
                value = context["inputs"][node.id]
            elif isinstance(op, Affine):
                value = weights[node.id] @ read[0]
            elif isinstance(op, Gate):
                value = context["gates"].get(op.name, 0.0) * read[0]
            elif isinstance(op, Sum):
                value = np.sum([float(str(w)) * x for w, x in zip(op.weights, read, strict=True)], axis=0)
            else:
                value = float(str(op.factor)) * read[0] if isinstance(op, Scale) else read[0]
            values[node.id] = value
        for name in arch.outputs:
            error = context["targets"][name] - values[name]
            total = total + context["probability"] * (error**2).sum() / error.shape[1] / 2
    return total


def plain_gradient(arch: qc.Architecture, contexts: list[Plain], weights: dict[str, Array]) -> dict[str, Array]:
    """The gradient of the plain loss by steps in the imaginary direction, exact to rounding."""
    found = {}
    for edge, matrix in weights.items():
        gradient = np.zeros(matrix.shape)
        for at in np.ndindex(*matrix.shape):
            moved = matrix.astype(complex)
            moved[at] += 1e-30j
            gradient[at] = np.imag(plain_loss(arch, contexts, {**weights, edge: moved})) / 1e-30
        found[edge] = gradient
    return found
