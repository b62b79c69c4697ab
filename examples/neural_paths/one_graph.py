"""One description of a network gives its slope polynomial, its path kernel and its gated flow.

``python -m examples.neural_paths.one_graph`` prints all three for a residual network. An activation is a node with a
slope for the first, a layer of gates for the second, and a gating variable for the third, where one gate opens or
closes the whole layer, as in gated deep linear networks: contexts then share paths as examples do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import NDArray

import qcmap as qc
from qcmap.architecture import Gate, Node, Nonlinear
from qcmap.gated import Context, GatedNetwork, GatedTask

CONTEXTS = {"both": ("first", "second"), "first": ("first",), "none": ()}
"""Which activations are open in each context; the shortcuts always are."""


def network(width: int = 3, inputs: int = 3) -> qc.Architecture:
    """Two residual blocks between affine layers, with symbolic weights of the branch and the shortcut."""
    w, v = sympy.symbols("w v", positive=True)
    b = qc.Builder("two residual blocks")
    h = b.affine(b.input("x", inputs), width, name="stem")
    for name in ("first", "second"):
        branch = b.affine(b.activation(h, "relu", name=name), width, name=f"{name}_branch")
        h = b.sum([branch, b.affine(h, width, name=f"{name}_shortcut")], [w, v], name=f"{name}_sum")
    return b.build([b.output(b.affine(h, 1, name="head"), name="y")])


def with_gating_variables(arch: qc.Architecture) -> qc.Architecture:
    """The same graph with a scalar gate of the node's name in place of each activation."""
    nodes = (Node(n.id, Gate(n.id) if isinstance(n.op, Nonlinear) else n.op, n.inputs) for n in arch.nodes)
    return qc.Architecture(arch.name, tuple(nodes), arch.outputs)


@dataclass(frozen=True, eq=False)
class Analyses:
    """What one graph gives.

    Attributes
    ----------
    slope
        The slope polynomial, with weights w and v.
    paths
        The number of paths.
    kernel
        Of the contexts' inputs with all gates of an activation open or closed together, w = v = 1.
    shared
        The number of routes through the graph that two contexts share, from the paths of the gated network.
    flow
        The reduced equations of gradient flow.
    """

    slope: qc.SlopePolynomial
    paths: int
    kernel: NDArray[np.float64]
    shared: NDArray[np.int64]
    flow: qc.gated.Reduced


def analyses(width: int = 3) -> Analyses:
    """All of them; every context has one input, a unit vector times 2."""
    arch = network(width)
    numeric = arch.substitute(w=1, v=1)
    units = qc.paths.Units.of(numeric)
    gates = {
        name: np.array([[float(name in opened)] * width for opened in CONTEXTS.values()]) for name in units.activations
    }
    x = 2 * np.eye(3)[:, [0, 0, 0]].T  # the same input in every context
    data = [
        Context.from_data(name, dict.fromkeys(opened, 1), {"x": x[k][:, None]}, {"y": [[1.0 + k]]})
        for k, (name, opened) in enumerate(CONTEXTS.items())
    ]
    gated = with_gating_variables(numeric)
    task = GatedTask.of(data, gated.inputs, gated.outputs)
    routes = qc.gated.paths(GatedNetwork(gated, task))
    opened = np.array([[set(route.gates) <= set(names) for route in routes] for names in CONTEXTS.values()], dtype=int)
    return Analyses(
        qc.slope_polynomial(arch), qc.paths.count_paths(numeric), qc.path_kernel(numeric, gates, x), opened @ opened.T,
        qc.gated.reduce(GatedNetwork(gated, task)),
    )  # fmt: skip


def main() -> None:
    """Print them."""
    found = analyses()
    print(f"slope polynomial: {found.slope}")
    print(f"paths: {found.paths}; path kernel of the contexts {', '.join(CONTEXTS)}:\n{found.kernel}")
    print(f"routes that contexts share:\n{found.shared}")
    print(f"gradient flow, reduced:\n{found.flow}")


if __name__ == "__main__":
    main()
