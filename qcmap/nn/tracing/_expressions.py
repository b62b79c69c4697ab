"""Activations written out in code, as formulas: the catalogue's one with the same values, or one of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from qcmap.activations import Activation, activation
from qcmap.activations._catalogue import CATALOGUE, named
from qcmap.architecture._ops import Named

_POINTS = np.concatenate([np.linspace(-12.0, 12.0, 241), np.array([-30.0, 30.0, 0.123456, -0.654321])])
"""Where two formulas are compared: inside and outside of every bend of the catalogue's activations."""
_TOLERANCE = 1e-12


def named_activation(expression: Callable[[Any], Any]) -> str | Named:
    """The activation with this formula: a name of the catalogue if that one has the same values, else of its own.

    Raises
    ------
    ActivationError
        For a formula that has no finite values or cannot be integrated.
    """
    import sympy

    return _named(sympy.sympify(expression(sympy.Symbol("u", real=True))))


@lru_cache(maxsize=256)
def _named(formula: Any) -> str | Named:
    from sympy import lambdify

    make: Any = lambdify
    if len(formula.free_symbols) == 1:
        function = make(*formula.free_symbols, formula, "scipy")
        with np.errstate(all="ignore"):
            values = np.broadcast_to(np.asarray(function(_POINTS), dtype=np.float64), _POINTS.shape)
        for name in CATALOGUE:
            known = activation(name)(_POINTS)
            if np.allclose(values, known, rtol=_TOLERANCE, atol=_TOLERANCE):
                return name
    return Activation.from_sympy(formula)


def catalogued(name: str, parameters: dict[str, float]) -> str | Named:
    """The catalogue's activation, by name alone where its parameters are the defaults."""
    found = named(name, **parameters)
    return name if found is activation(name) else found
