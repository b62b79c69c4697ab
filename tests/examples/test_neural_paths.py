"""The examples of neural paths say what they are to say."""

import numpy as np
import pytest

from examples.neural_paths import one_graph, variance


def test_one_graph_gives_all_three():
    found = one_graph.analyses(width=2)
    assert str(found.slope) == "((w^2/(v^2 + w^2)) psi + v^2/(v^2 + w^2))^2"
    assert found.paths == 3 * 2 * 2 * 2 * 4
    np.testing.assert_array_equal(found.shared, [[4, 2, 1], [2, 2, 1], [1, 1, 1]])
    np.testing.assert_allclose(found.kernel, 4 * 2**3 * found.shared)
    assert len(found.flow.symbols) == 6


def test_variance_beside_both_laws():
    found = {(d, w): variance.variance(d, w) for d in (4, 8) for w in (64, 512)}
    assert found[8, 512] == pytest.approx(variance.law(8, 512), rel=0.01)
    assert found[8, 512] / variance.printed(8, 512) > 4 * found[4, 512] / variance.printed(4, 512)
    figure = variance.draw({(d, w): float(d * w) for d in variance.DEPTHS for w in variance.WIDTHS})
    assert len(figure.axes) == 2
