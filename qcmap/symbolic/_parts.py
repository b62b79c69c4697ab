"""What slope polynomials are made with: names and values of slopes, texts, digests."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError, NumericalError
from qcmap.symbolic._shares import Share, text

if TYPE_CHECKING:
    import sympy

Array = NDArray[np.float64]
Powers = tuple[tuple[str, int], ...]
"""Pairs (slope, exponent)."""


def slope_symbol(name: str = "psi") -> sympy.Symbol:
    """The positive symbol of a slope."""
    import sympy

    return sympy.Symbol(name, positive=True)


def log_of(psi: ArrayLike) -> Array:
    """Log psi; raises `ArgumentError` unless psi is finite and at least 1, where slope polynomials are defined."""
    try:
        values = np.asarray(psi, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError("psi", f"slopes are defined for numbers, not {psi!r}", "give finite psi >= 1") from None
    bad = ~(np.isfinite(values) & (values >= 1))
    if bad.any():
        raise ArgumentError(
            "psi",
            f"slopes are defined for finite psi >= 1, not {values[bad].flat[0]}",
            "give psi >= 1, as C'(1) is where C(0) = 0",
        )
    return np.log(values)


def finite_exp(logs: Array, what: str) -> Array:
    """exp(logs); raises `NumericalError` where that exceeds the largest float."""
    if logs.size and logs.max() > 709.78:
        raise NumericalError(what, f"{what}(psi) = exp({logs.max():.6g}) overflows", f"use {what}.log(log(psi))")
    return np.exp(logs)


def digest(kind: bytes, parts: Iterable[bytes]) -> bytes:
    """A digest of a kind and its parts: equal for equal ones."""
    state = blake2b(kind, digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(4, "big"))
        state.update(part)
    return state.digest()


def product_text(powers: Powers, factors: list[tuple[str, int]]) -> str:
    """A product such as ``psi^3 (w^2 psi + 1 - w^2)^2``."""
    names = [name + (f"^{e}" if e > 1 else "") for name, e in powers]
    return " ".join([*names, *(f"({mean})" + (f"^{e}" if e > 1 else "") for mean, e in factors)]) or "1"


def sum_text(terms: list[tuple[Share, str]]) -> str:
    """A sum such as ``w^2 psi + 1 - w^2``."""
    return " + ".join(_term_text(share, polynomial) for share, polynomial in terms)


def _term_text(share: Share, polynomial: str) -> str:
    """One term of a mean, e.g. ``w^2 psi^3``."""
    coefficient = text(share)
    if polynomial == "1":
        return coefficient
    if " + " in coefficient or " - " in coefficient:
        coefficient = f"({coefficient})"
    return f"{coefficient} {polynomial}"
