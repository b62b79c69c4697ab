"""q and c values of feature maps, and three numbers that say how far they are from predicted ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import DataError

Array = NDArray[np.float64]
Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]
"""The indices of the first and of the second samples."""


class Values(NamedTuple):
    """q values [samples, locations] and c values [pairs, locations] at one node."""

    q: Array
    c: Array


class Departures(NamedTuple):
    """How far measured values are from predicted ones: zero on average, if the network is wide and random.

    Attributes
    ----------
    q
        log(mean measured q / mean predicted q), the means over samples and locations.
    c
        The mean of measured - predicted c over pairs and locations.
    tilt
        The covariance of measured - predicted c with predicted c, over the standard deviation of the latter: what
        remains of c values that are all too small or all too large in size. Zero if there is one predicted c.
    """

    q: float
    c: float
    tilt: float


def values(node: str, z: Array, pairs: Pairs) -> Values:
    """The q and c values of a feature map [samples, channels, locations].

    Raises
    ------
    DataError
        Naming the node, for values that are not finite and for a zero vector, whose c values are 0/0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norm2 = np.einsum("ncl,ncl->nl", z, z)
    if not np.isfinite(norm2).all():
        raise DataError(node, "its values are not finite", "check the weights and the scale of the input")
    if not (norm2 > 0).all():
        sample, location = np.argwhere(norm2 == 0)[0]
        raise DataError(
            node, f"the vector of sample {sample} at location {location} is zero, so its c values are 0/0",
            "normalise the input with qcmap.nn.pln, or take such samples out",
        )  # fmt: skip
    unit = z / np.sqrt(norm2)[:, None]
    first, second = pairs
    return Values(norm2 / z.shape[1], np.einsum("pcl,pcl->pl", unit[first], unit[second]).clip(-1, 1))


def all_values(z: Array) -> Values:
    """The q and c values of a feature map [channels, samples, locations], for all pairs i < j in their order.

    Zero vectors have c values that are not finite.
    """
    by_location = z.transpose(2, 1, 0)
    gram = by_location @ by_location.transpose(0, 2, 1)
    first, second = np.triu_indices(z.shape[1], 1)
    norm2 = gram.diagonal(axis1=1, axis2=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        c = gram[:, first, second] / np.sqrt(norm2[:, first] * norm2[:, second])
    return Values(norm2.T / len(z), c.T)


def departures(measured: Values, predicted: Values) -> tuple[Array, Array, Array]:
    """The three numbers of `Departures`, over the last two axes; measured values may have more axes before."""
    axes = (-2, -1)
    gap = measured.c - predicted.c
    centred = predicted.c - predicted.c.mean()
    spread = math.sqrt(float((centred**2).mean()))
    tilt = (gap * centred).mean(axes) / spread if spread > 1e-9 else np.zeros(gap.shape[:-2])
    return np.log(measured.q.mean(axes) / predicted.q.mean()), gap.mean(axes), tilt
