"""The check of a q value that may be of any type."""

from __future__ import annotations

import numpy as np

from qcmap.errors import ArgumentError


def one_q(q: object) -> float:
    """One q value; raises `ArgumentError` unless it is positive and finite."""
    try:
        array = np.asarray(q)
    except ValueError:
        array = np.empty(0)
    if array.ndim or array.dtype.kind not in "fiu" or not (np.isfinite(array) and array > 0):
        raise ArgumentError("q", f"a q value is one positive finite number, not {q!r}", "give a positive number")
    return float(array)
