"""Residual networks whose q values change with depth (DKS, appendix J): c and q values block by block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.activations import Activation, activation
from qcmap.architecture import Affine, Architecture, Output, Scale
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric.asymptotics._checked import one_q
from qcmap.numeric.maps._arguments import correlation, integer, is_number, numbers
from qcmap.numeric.maps._local import LocalMaps, local_maps
from qcmap.numeric.maps._network import NetworkMaps, network_maps

if TYPE_CHECKING:
    from qcmap.numeric.maps._shaping import Shaping

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Growth:
    """Values before the first and after each of the blocks.

    Attributes
    ----------
    q
        q values, shape (blocks + 1,).
    c
        c values, shape (blocks + 1, ...), the last axes those of the input c.
    slope
        dc/dc_input at c = 1, shape (blocks + 1,).
    """

    q: Array
    c: Array
    slope: Array

    def to_dict(self) -> dict[str, Any]:
        """The three arrays as lists."""
        return {"q": self.q.tolist(), "c": self.c.tolist(), "slope": self.slope.tolist()}

    def blocks_until(self, eps: float) -> int | None:
        """The first number of blocks after which all c values lie within ``eps`` of each other; ``None`` if none."""
        if not (is_number(eps) and eps > 0):
            raise ArgumentError("eps", f"a length is positive, not {eps!r}", "give a positive number")
        if not self.c[0].size:
            raise ArgumentError("c", "there are no c values", "follow at least one")
        found = np.flatnonzero(np.ptp(self.c.reshape(len(self.q), -1), axis=1) < eps)
        return int(found[0]) if found.size else None

    def __repr__(self) -> str:
        return f"<Growth: {len(self.q) - 1} blocks, q from {self.q[0]:.6g} to {self.q[-1]:.6g}>"


def growing(
    branch: Architecture | LocalMaps | Activation | str,
    blocks: int,
    c: ArrayLike,
    *,
    q: float = 1.0,
    residual_weight: float | Sequence[float] = 1.0,
    shortcut_weight: float | Sequence[float] = 1.0,
    shaping: Shaping | None = None,
) -> Growth:
    """Follow c and q values through blocks x -> w branch(x) + s x, with an identity shortcut (DKS, appendix J).

    q' = w^2 Q(q) + s^2 q and c' = (w^2 Q(q) C(c, q) + s^2 q c) / q' with Q and C of the branch (equations 12 and 13).
    With w = s = 1 and a branch that starts with a layer norm and ends with q = 1, q grows by 1 at every block and
    C' = (C(c) + q c) / (1 + q), equation 30.

    Parameters
    ----------
    branch
        The residual branch. An architecture has to end in an affine layer, so that branch and shortcut are
        uncorrelated; for an activation or its maps, one after it is understood.
    blocks
        How many, 0 or more.
    c, q
        Input c values in [-1, 1] of any shape, and the q value of both inputs.
    residual_weight, shortcut_weight
        w and s: a number, or one for each block.

    Raises
    ------
    ArchitectureError
        If the branch does not end in an affine layer.
    ArgumentError
        For weights that are not finite, or not one a block, or all zero in a block, and for a shaping without an
        architecture.
    NumericalError
        If q values leave the range of floats.
    """
    blocks = integer(blocks, least=0, name="blocks")
    w, s = _weights("residual_weight", residual_weight, blocks), _weights("shortcut_weight", shortcut_weight, blocks)
    with np.errstate(over="ignore", under="ignore"):
        w, s = w * w, s * s
        if not np.isfinite(w + s).all():
            raise ArgumentError("residual_weight", "squares of the weights overflow", "give smaller ones")
    if not ((w != 0) | (s != 0)).all():
        what = "a block whose weights both have the square 0 has no output"
        raise ArgumentError("residual_weight", what, "give it one that is not 0")
    maps = _maps(branch, shaping)
    here, now = correlation(numbers("c", c)), one_q(q)
    cs, qs, slopes = [here], [now], [1.0]
    for residual, shortcut in zip(w.tolist(), s.tolist(), strict=True):
        first, second = residual * float(maps.q(now)) if residual else 0.0, shortcut * now
        total = first + second
        if not (math.isfinite(total) and total > 0):
            raise NumericalError("q", f"it is {total} after {len(qs)} blocks", "use weights nearer to 1")
        if residual:
            rate = float(maps.dc(1.0, now, now))
            here = np.clip((first * maps.c(here, now, now) + second * here) / total, -1.0, 1.0)
            slopes.append(slopes[-1] * (first * rate + second) / total)
        else:
            slopes.append(slopes[-1])
        now = total
        cs.append(here)
        qs.append(now)
    return Growth(np.array(qs), np.stack(cs), np.array(slopes))


def _weights(name: str, value: float | Sequence[float], blocks: int) -> Array:
    array = numbers(name, value)
    if array.shape not in ((), (blocks,)) or not np.isfinite(array).all():
        raise ArgumentError(
            name,
            f"it is a finite number, or one for each of {blocks} blocks, not {value!r}",
            "give one number, or as many as blocks",
        )
    return np.broadcast_to(array, (blocks,))


def _maps(branch: Architecture | LocalMaps | Activation | str, shaping: Shaping | None) -> LocalMaps | NetworkMaps:
    if not isinstance(branch, Architecture):
        if shaping is not None:
            raise ArgumentError(
                "shaping", "it belongs to an architecture", "give local_maps(act, shaping[...]) instead"
            )
        return branch if isinstance(branch, LocalMaps) else local_maps(activation(branch))
    maps = network_maps(branch, shaping)
    node = branch[maps.target]
    while isinstance(node.op, Scale | Output):
        node = branch[node.inputs[0]]
    if not isinstance(node.op, Affine):
        raise ArchitectureError(
            node.id,
            "a residual branch ends in an affine layer, or it is correlated with its shortcut",
            "end it with an affine layer",
        )
    return maps
