"""A part of the fuzz test; ``benchmarks/fuzz_shape.py`` runs any number of models."""

import pytest

from tests.nn.shaping.fuzz import outcome


@pytest.mark.parametrize("first", range(0, 48, 8))
def test_random_models_are_shaped_or_refused(first):
    assert all(outcome(seed) for seed in range(first, first + 8))
