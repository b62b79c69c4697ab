"""What one looks at in a trained gated network: responses, similarity of representations, losses elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Affine, Gate, Input, Node, Scale, Sum
from qcmap.architecture.gated._checks import check_kind, real_array
from qcmap.architecture.gated._context import Context
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._task import GatedTask
from qcmap.errors import ArgumentError, DataError
from qcmap.numeric.gated._full import FullFlow, Weights, checked_matrix, checked_weights
from qcmap.numeric.gated._integrate import check_overflow

Array: TypeAlias = NDArray[np.float64]


def respond(
    network: GatedNetwork, weights: Weights, inputs: Mapping[str, Any], gates: Mapping[str, float]
) -> dict[str, Array]:
    """The activity of every node, [channels, examples], for given inputs and gates, trained together or not.

    Input nodes left out are zero, gates left out closed.

    Raises
    ------
    ArgumentError
        For an unknown gate or node, a gate that is not a finite number, or an edge without finite weights of its shape.
    DataError
        For inputs of the wrong shape, or that are not finite numbers.
    NumericalError
        Naming a node whose activity overflows.
    """
    check_kind("network", network, GatedNetwork, "build one, such as routing(7, 4)")
    arch = network.architecture
    variables = {node.op.name for node in arch.nodes if isinstance(node.op, Gate)}
    for what, given, known in (("gates", gates, variables), ("inputs", inputs, set(arch.inputs))):
        check_kind(what, given, Mapping, "give values by name")
        if not set(given) <= known:
            wrong = ", ".join(sorted(set(given) - known))
            raise ArgumentError(what, f"the network has no {wrong}", f"choose from {', '.join(sorted(known)[:20])}")
    for name, value in gates.items():
        if not np.isfinite(number(value)):
            raise ArgumentError(name, f"the gate is {value}", "give a finite number")
    matrices = checked_weights(network, weights)
    arrays = {name: _finite(name, value) for name, value in inputs.items()}
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
            values[node.id] = arrays.get(node.id, np.zeros((size if isinstance(size, int) else 0, count)))
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            values[node.id] = _activity(node, read, matrices, gates)
        check_overflow(node.id, "its activity", values[node.id])
    return values


def _activity(node: Node, read: Sequence[Array], matrices: Weights, gates: Mapping[str, float]) -> Array:
    """What a node makes of what it reads."""
    op = node.op
    if isinstance(op, Affine):
        return matrices[node.id] @ read[0]
    if isinstance(op, Gate):
        return np.multiply(gates.get(op.name, 0.0), read[0])
    if isinstance(op, Sum):
        terms = [number(w) * x for w, x in zip(op.weights, read, strict=True)]
        return sum(terms[1:], start=terms[0])
    return number(op.factor) * read[0] if isinstance(op, Scale) else read[0]


def number(weight: Any) -> float:
    """A constant or gate as a float; raises `ArgumentError` for a symbol or a text."""
    try:
        return float(weight)
    except (TypeError, ValueError):
        raise ArgumentError(str(weight), "it is symbolic or no number", "give a number (arch.substitute)") from None


def _finite(name: str, value: Any) -> Array:
    array = real_array(value)
    if array is None:
        raise DataError(name, "its array does not hold numbers", "give [channels, examples]")
    if not np.isfinite(array).all():
        raise DataError(name, "its array has a NaN or infinity", "clean the data first")
    return array


def similarity(activities: Sequence[Array]) -> Array:
    """Representational similarity (Fig. 4g): dot products between all examples of these activities, side by side.

    Raises
    ------
    ArgumentError
        If there are none, or they do not have the same channels.
    DataError
        If they are not finite numbers.
    NumericalError
        If a dot product overflows.
    """
    check_kind("activities", activities, Sequence, "give a list of arrays [channels, examples]")
    if not activities:
        raise ArgumentError("activities", "there are none", "give arrays [channels, examples]")
    arrays = [_finite(f"activities[{k}]", activity) for k, activity in enumerate(activities)]
    for k, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[0] != arrays[0].shape[0]:
            raise ArgumentError(
                f"activities[{k}]", f"its shape {array.shape} does not match {arrays[0].shape}",
                "give arrays [channels, examples] of the same channels",
            )  # fmt: skip
    joined = np.concatenate(arrays, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        products = joined.T @ joined
    check_overflow("activities", "a dot product of them", products)
    return products


def elsewhere(network: GatedNetwork, weights: Weights, contexts: Sequence[Context]) -> Array:
    """The loss of each of other contexts, such as routes that were not trained: zero-shot errors.

    Raises as `GatedTask.of` and `GatedNetwork`.
    """
    check_kind("network", network, GatedNetwork, "build one, such as routing(7, 4)")
    arch = network.architecture
    return FullFlow(network.with_task(GatedTask.of(contexts, arch.inputs, arch.outputs))).context_losses(weights)


def singular_values(weights: Weights) -> dict[str, Array]:
    """The singular values of each edge's matrix, largest first.

    Raises
    ------
    ArgumentError
        Naming an edge whose weights are not a matrix of finite numbers.
    """
    check_kind("weights", weights, Mapping, "give matrices by edge")
    matrices = {edge: checked_matrix(edge, matrix) for edge, matrix in weights.items()}
    found = {edge: np.asarray(np.linalg.svd(m, compute_uv=False), dtype=np.float64) for edge, m in matrices.items()}
    for edge, values in found.items():
        check_overflow(edge, "its largest singular value", values)
    return found
