"""Rank-deficient and degenerate statistics are named, and symbolic matrices are refused."""

import numpy as np
import pytest
import sympy

from qcmap.errors import DataError
from qcmap.gated import Context, GatedTask, decouple, routing


def of_singular_values(values):
    """A routing network whose inputs are white and whose targets have these singular values."""
    return decouple(routing(1, 1, width=4, data=(2 * np.eye(4), 2 * np.diag(values))))


def test_lost_directions_and_repeated_singular_values_are_named():
    parts = of_singular_values([3.0, 2.0, 2.0, 0.0])
    assert sorted(parts.lost.values()) == [1, 1]
    assert parts.repeated == ((1, 2),)
    assert repr(parts).endswith("2 directions without a mode, repeated: modes 1=2>")
    found = parts.to_dict()
    assert sorted(found["lost"].values()) == [1, 1]
    assert found["repeated"] == [[1, 2]]


def test_full_rank_and_distinct_singular_values_need_no_remark():
    parts = of_singular_values([4.0, 3.0, 2.0, 1.0])
    assert not any(parts.lost.values())
    assert parts.repeated == ()
    assert "without" not in repr(parts)
    assert "repeated" not in repr(parts)


MATRIX = sympy.Matrix([[2, 1], [1, 2]])


@pytest.mark.parametrize(("own", "cross"), [(MATRIX, np.eye(2)), (np.eye(2), MATRIX)], ids=["xx", "yx"])
def test_a_sympy_matrix_is_no_moment(own, cross):
    context = Context("first", xx={("x", "x"): own}, yx={("y", "x"): cross})
    with pytest.raises(DataError, match="context 'first': a moment is a sympy matrix"):
        GatedTask.of([context], ("x",), ("y",))
