"""Sympy matrices as moments: exact modes where they are jointly diagonalizable, else the context is named."""

import pytest
import sympy

from qcmap.errors import DataError
from qcmap.gated import Context, exact_modes

s, t = sympy.symbols("s t", positive=True)
ROTATION = sympy.Matrix([[3, -4], [4, 3]]) / 5
OTHER = sympy.Matrix([[1, 1], [1, -1]]) / sympy.sqrt(2)


def context(name, cross, own):
    return Context(name, {"g": 1}, {("x", "x"): own}, {("y", "x"): cross})


def test_modes_have_the_entries_that_the_matrices_were_made_of():
    first = context("first", ROTATION * sympy.diag(s, 2) * OTHER.T, OTHER * sympy.diag(3, t) * OTHER.T)
    second = context("second", ROTATION * sympy.diag(5, 0) * OTHER.T, sympy.eye(2))
    modes = exact_modes([first, second])
    found = {tuple((c.yx["y", "x"] ** 2, c.xx["x", "x"]) for c in mode) for mode in modes}
    assert found == {((s**2, 3), (25, 1)), ((4, t), (0, 1))}


def test_moments_without_common_bases_are_refused():
    first = context("first", sympy.diag(2, 1), sympy.eye(2))
    with pytest.raises(DataError, match="context 'second': its moments have no common"):
        exact_modes([first, context("second", OTHER * sympy.diag(2, 1) * OTHER.T, sympy.eye(2))])
    with pytest.raises(DataError, match="context 'third': a moment is no sympy matrix"):
        exact_modes([first, context("third", 2, sympy.eye(2))])


@pytest.mark.parametrize("entry", [sympy.I, sympy.nan, sympy.oo], ids=["complex", "nan", "infinite"])
def test_entries_are_real_and_finite(entry):
    with pytest.raises(DataError, match="context 'first': a moment has an entry"):
        exact_modes([context("first", sympy.Matrix([[1, entry], [entry, -1]]), sympy.eye(2))])


def test_no_signal_is_no_mode():
    with pytest.raises(DataError, match="all their moments"):
        exact_modes([context("first", sympy.zeros(2), sympy.eye(2))])
