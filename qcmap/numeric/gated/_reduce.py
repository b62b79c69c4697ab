"""From a gated network to its reduced dynamics, and between the two: decoupled weights, initial scalars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture.gated._checks import check_flag, check_kind, checked_number
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._rewrite import merged
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.gated._decouple import TOLERANCE, Decoupled, decouple
from qcmap.symbolic.gated._lumping import lumped
from qcmap.symbolic.gated._reduced import Reduced

if TYPE_CHECKING:
    import sympy

Array: TypeAlias = NDArray[np.float64]


def reduce(network: GatedNetwork | Decoupled, *, balanced: bool = False, tolerance: float = 1e-10) -> Reduced:
    """The reduced dynamics: decoupled into modes if it has data, then lumped by the coarsest equitable partition.

    Parameters
    ----------
    network
        With data, or with symbols for a generic mode; or what `decouple` found.
    balanced
        Whether variables whose squares differ by a constant start equal, as B1 = B3 in the paper's (47)-(48).
    tolerance
        Moments of modes that differ by less, relative to the largest, count as equal.

    Raises
    ------
    ArgumentError
        For something else than a network, or a tolerance that is not from 0 to 1.
    NumericalError
        If the statistics are not jointly diagonalizable; `coupled` reduces such a network.
    """
    if not isinstance(network, GatedNetwork | Decoupled):
        raise ArgumentError("network", f"a {type(network).__name__} is no gated network", "give one, or decouple(one)")
    check_flag("balanced", balanced)
    if not 0 <= checked_number("tolerance", tolerance) < 1:
        raise ArgumentError("tolerance", f"{tolerance} is no relative difference", "give a number from 0 to 1, not 1")
    if isinstance(network, GatedNetwork) and not network.task.is_matrix:
        network = merged(network)
        found = Reduced(network, lumped(network, [0] * len(network.edges), tolerance=tolerance))
        return found.balanced() if balanced else found
    parts = network if isinstance(network, Decoupled) else decouple(network)
    if not parts.exact:
        raise NumericalError(
            parts.network.architecture.name,
            f"its statistics are not jointly diagonalizable: {parts.residual:.2g} of one is off the diagonal, "
            f"more than {TOLERANCE:.0g}", "use coupled(network)",
        )  # fmt: skip
    widths = parts.widths()
    quotient = lumped(parts.modes, widths, tolerance=tolerance)
    width = dict(zip(parts.network.edges, widths, strict=True))
    found = Reduced(parts.modes, quotient, parts.count, tuple(width[edges[0]] for edges in quotient.classes))
    return found.balanced() if balanced else found


def scalars(reduced: Reduced, start: float | Mapping[str, ArrayLike] | Array) -> Array:
    """Values of the variables as an array [classes, modes]: from one number, by name, or as such an array.

    Modes that do not fit through a layer are zero there.

    Raises
    ------
    ArgumentError
        For a name that is no variable, one that is missing, or values of the wrong shape.
    """
    check_kind("reduced", reduced, Reduced, "give reduce(network)")
    names = [str(symbol) for symbol in reduced.symbols]
    modes = 1 if reduced.modes is None else reduced.modes
    values = np.zeros((len(names), modes))
    try:
        if isinstance(start, Mapping):
            if set(start) != set(names):
                wrong = sorted(set(start) ^ set(names))
                raise ArgumentError("start", f"{', '.join(wrong)}: named without being a variable, or not named",
                                    f"give {', '.join(names)}")  # fmt: skip
            for k, name in enumerate(names):
                values[k] = np.asarray(start[name], dtype=float)
        else:
            values[:] = np.asarray(start, dtype=float)
    except ValueError as error:
        raise ArgumentError(
            "start", f"it does not fit {len(names)} variables of {modes} modes ({error})", "give one value a mode"
        ) from None
    if not np.isfinite(values).all():
        raise ArgumentError("start", "it has a NaN or infinity", "give finite values")
    for k, width in enumerate(reduced.widths or ()):
        values[k, width:] = 0
    return values


def decoupled_weights(
    parts: Decoupled, reduced: Reduced, start: float | Mapping[str, ArrayLike] | Array, *, seed: int | None = None
) -> dict[str, Array]:
    """Weight matrices R_t B R_s^T of (9) for these values of the variables.

    Hidden layers get the first unit vectors as R, or random orthonormal ones if a seed is given. If inputs were split,
    edges carry the bases of their copies, and the weights fit the network as it was.
    """
    check_kind("parts", parts, Decoupled, "give decouple(network)")
    values = scalars(reduced, start)
    of_edge = {edge: values[k] for k, edges in enumerate(reduced.quotient.classes) for edge in edges}
    rotations = layer_bases(parts, seed)
    network, found = parts.network, {}
    for edge in network.edges:
        source, target = network.ends(edge)
        found[edge] = (rotations[target] * of_edge[edge]) @ rotations[source].T
    return found


def layer_bases(parts: Decoupled, seed: int | None = None) -> dict[int, Array]:
    """R of every layer: [channels, modes], orthonormal columns as far as the layer is wide, then zero columns."""
    network, found = parts.network, dict(parts.bases)
    for edge in network.edges:
        for layer, size in zip(network.ends(edge), reversed(network.shape(edge)), strict=True):
            if layer not in found:
                full = np.eye(size)
                if seed is not None:
                    full, _ = np.linalg.qr(np.random.default_rng([seed, layer]).standard_normal((size, size)))
                basis = np.zeros((size, parts.count))
                basis[:, : min(size, parts.count)] = full[:, : parts.count]
                found[layer] = basis
    return found


def first_integrals(network: GatedNetwork | Reduced) -> tuple[sympy.Expr, ...]:
    """The first integrals of a reduced network, or of a network: one for each hidden layer, independent ones.

    For each hidden layer v and each mode, the sum of B_e^2 over the edges into v less that over the edges out of v is
    constant: each path through v uses one edge in and one out, and sum over edges of B_e tau dB_e/dt is the same sum
    over paths for both.
    """
    return (network if isinstance(network, Reduced) else reduce(network)).integrals
