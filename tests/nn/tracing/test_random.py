"""Random models trace to the graph that they say they are and compute the same, or are refused with a QCMapError."""

from collections import Counter

import pytest
import torch

import qcmap.nn as qnn
from qcmap.errors import QCMapError
from tests.nn.random_models import RandomModel


@pytest.mark.parametrize("seed", range(60))
def test_random_models(seed):
    model = RandomModel(seed)
    if model.refused:
        with pytest.raises(QCMapError):
            qnn.trace(model, model.example)
        return
    traced = qnn.traced(model, model.example)
    assert Counter(node.op.kind for node in traced.architecture.nodes) == model.expected
    inputs = [torch.randn(3, 3, 8, 8) for _ in model.example]
    torch.testing.assert_close(traced.graph_module(*inputs), model.eval()(*inputs), rtol=0, atol=0)
