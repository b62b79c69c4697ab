"""`measure` looks at every node of a shaped model through its graph: sums, concatenations and functions too."""

import pytest
import torch

import qcmap.nn as qnn
from tests.nn.shaping.nets import Branches, ResNet


@pytest.mark.parametrize(
    ("make", "channels", "options"),
    [
        (lambda: ResNet(64), (2, 24, 24), {"batch_norm": "remove", "zeta": 1.3}),
        (lambda: ResNet(64), (2, 24, 24), {"batch_norm": "layer_norm", "pooling": "weighted"}),
        (lambda: Branches(256), (255,), {"zeta": 1.3}),
    ],
)
def test_every_node_is_measured_and_follows_the_maps(make, channels, options):
    x = qnn.pln(torch.randn(6, *channels, generator=torch.Generator().manual_seed(1)))
    shaped = qnn.shape(make(), x, seed=3, **options)
    training = [m.training for m in shaped.modules()]
    found = qnn.measure(shaped, x, weights="orthogonal", false_alarm=1e-5)
    assert not found.unmeasured
    assert not found.disagreeing
    assert training == [m.training for m in shaped.modules()]
    second = list(shaped.traced.weights.values())[1]
    with torch.no_grad():
        shaped.get_parameter(second).mul_(2)
    assert qnn.measure(shaped, x, weights="orthogonal", false_alarm=1e-5).disagreeing
