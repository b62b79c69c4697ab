"""What one looks at in a trained gated network: responses, similarity of representations, losses elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Affine, Gate, Input, Scale, Sum
from qcmap.architecture.gated import Context, GatedNetwork, GatedTask
from qcmap.errors import ArgumentError, DataError
from qcmap.numeric.gated._full import FullFlow, Weights

Array: TypeAlias = NDArray[np.float64]


def respond(
    network: GatedNetwork, weights: Weights, inputs: Mapping[str, Any], gates: Mapping[str, float]
) -> dict[str, Array]:
    """The activity of every node, [channels, examples], for given inputs and gates, trained together or not.

    Input nodes left out are zero, gates left out closed.

    Raises
    ------
    ArgumentError
        For an unknown gate or node.
    DataError
        For inputs of the wrong shape.
    """
    arch = network.architecture
    variables = {node.op.name for node in arch.nodes if isinstance(node.op, Gate)}
    for what, given, known in (("gates", gates, variables), ("inputs", inputs, set(arch.inputs))):
        if not set(given) <= known:
            wrong = ", ".join(sorted(set(given) - known))
            raise ArgumentError(what, f"the network has no {wrong}", f"choose from {', '.join(sorted(known)[:20])}")
    arrays = {name: np.asarray(value, dtype=float) for name, value in inputs.items()}
    examples = {array.shape[1] for array in arrays.values() if array.ndim == 2}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape[0] != arch.channels[name] or len(examples) > 1:
            raise DataError(name, f"its array has the shape {array.shape}", f"give [{arch.channels[name]}, examples]")
    count = examples.pop() if examples else 1
    values: dict[str, Array] = {}
    for node in arch.nodes:
        op, read = node.op, [values[name] for name in node.inputs]
        if isinstance(op, Input):
            size = arch.channels[node.id]
            value = arrays.get(node.id, np.zeros((size if isinstance(size, int) else 0, count)))
        elif isinstance(op, Affine):
            value = weights[node.id] @ read[0]
        elif isinstance(op, Gate):
            value = np.multiply(gates.get(op.name, 0.0), read[0])
        elif isinstance(op, Sum):
            terms = [number(w) * x for w, x in zip(op.weights, read, strict=True)]
            value = sum(terms[1:], start=terms[0])
        else:
            value = number(op.factor) * read[0] if isinstance(op, Scale) else read[0]
        values[node.id] = np.asarray(value, dtype=np.float64)
    return values


def number(weight: Any) -> float:
    """A constant of the wiring as a float; raises `ArgumentError` for one with symbols."""
    try:
        return float(weight)
    except TypeError:
        raise ArgumentError(str(weight), "the constant is symbolic", "give it a number by arch.substitute") from None


def similarity(activities: Sequence[Array]) -> Array:
    """Representational similarity (Fig. 4g): dot products between all examples of these activities, side by side."""
    if not activities:
        raise ArgumentError("activities", "there are none", "give arrays [channels, examples]")
    joined = np.concatenate([np.asarray(activity, dtype=float) for activity in activities], axis=1)
    return joined.T @ joined


def elsewhere(network: GatedNetwork, weights: Weights, contexts: Sequence[Context]) -> Array:
    """The loss of each of other contexts, such as routes that were not trained: zero-shot errors.

    Raises as `GatedTask.of` and `GatedNetwork`.
    """
    arch = network.architecture
    return FullFlow(network.with_task(GatedTask.of(contexts, arch.inputs, arch.outputs))).context_losses(weights)


def singular_values(weights: Weights) -> dict[str, Array]:
    """The singular values of each edge's matrix, largest first."""
    return {
        edge: np.asarray(np.linalg.svd(matrix, compute_uv=False), dtype=np.float64) for edge, matrix in weights.items()
    }
