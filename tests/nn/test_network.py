"""The torch network of an architecture computes what the graph says, and behaves as the network maps predict."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArchitectureError, DataError


def residual(width, activation="softplus", branches=3):
    b = qc.Builder("residual")
    h = b.affine(b.input("x", channels=33), width, name="stem")
    for k in range(branches):
        g = b.affine(b.activation(h, activation, name=f"block{k}.act"), width, name=f"block{k}.affine")
        h = b.sum([g, h], [0.6, 0.8], name=f"block{k}.sum")
    return b.build([b.activation(h, activation, name="last")])


def test_forward_is_the_graph():
    """Against the same formula written by hand, with every kind of op that has no locations."""
    b = qc.Builder("all")
    x = b.input("x", channels=3)
    h = b.affine(x, 4, name="a")
    g = b.activation(h, "tanh", name="t")
    k = b.concat([h, g])
    n = b.layer_norm(k)
    s = b.scale(n, 2.5)
    out = b.sum([s, k], [0.5, -2.0])
    network = qnn.GraphNetwork(b.build([out, g]), seed=3)
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    affine = network.get_submodule("a")
    hidden = inputs @ affine.weight.T + affine.bias
    both = torch.cat([hidden, hidden.tanh()], dim=1)
    centred = both - both.mean(1, keepdim=True)
    expected = 0.5 * 2.5 * centred / centred.square().mean(1, keepdim=True).sqrt() - 2 * both
    first, second = network(inputs)
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(second, hidden.tanh())


def test_several_inputs():
    b = qc.Builder("two")
    sums = b.sum([b.affine(b.input("x", channels=2), 3), b.affine(b.input("y", channels=5), 3)], [1.0, 1.0])
    network = qnn.GraphNetwork(b.build([sums]))
    assert network(torch.ones(4, 2), torch.ones(4, 5)).shape == (4, 3)
    with pytest.raises(DataError, match="2 inputs, but got 1"):
        network(torch.ones(4, 2))


@pytest.mark.parametrize("shaped", [True, False])
@pytest.mark.parametrize("weights", ["orthogonal", "gaussian"])
def test_wide_networks_follow_the_maps(shaped, weights):
    """Residual network of width 800, 6 draws, 60 pairs: fluctuations of q and c are of order sqrt(layers / width).

    The bound 0.06 is about 6 standard errors of a mean over the draws (each about 0.02 at the last node).
    """
    arch = residual(800)
    shaping = qc.dks(arch, 1.8) if shaped else None
    x = qnn.pln(torch.randn(40, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    # Shared direction, so that c values cover more than a neighbourhood of 0.
    x[:, 0] += 3
    x = x / x.square().mean(1, keepdim=True).sqrt()
    q_error, c_error = [], []
    for seed in range(6):
        network = qnn.GraphNetwork(arch, shaping, weights=weights, seed=seed).double()
        rows = qnn.measure(network, x, pairs=60).rows
        q_error.append([row.q_mean / row.q_predicted - 1 for row in rows])
        c_error.append([float((row.c_measured - row.c_predicted).mean()) for row in rows])
    assert np.abs(np.mean(q_error, axis=0)).max() < 0.06
    assert np.abs(np.mean(c_error, axis=0)).max() < 0.06


def test_a_wrong_map_is_seen():
    """The comparison above can fail: predictions without the shaping are far off."""
    arch = residual(500)
    network = qnn.GraphNetwork(arch, qc.dks(arch, 1.5))
    x = qnn.pln(torch.randn(20, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    rows = qnn.measure(network.double(), x, maps=qc.network_maps(arch)).rows
    assert abs(rows[-1].q_mean / rows[-1].q_predicted - 1) > 0.1


def test_copies_and_pickles():
    arch = residual(16, "leaky_relu")
    network = qnn.GraphNetwork(arch, qc.dks(arch))
    x = torch.randn(3, 33)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(twin(x), network(x), rtol=0, atol=0)
        assert twin.architecture == arch
        assert twin.shaping["leaky_relu"] == network.shaping["leaky_relu"]


def test_seed_and_global_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = (qnn.GraphNetwork(residual(8), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.stem.weight, b.stem.weight)
    assert not torch.equal(a.stem.weight, c.stem.weight)


def test_gain():
    network = qnn.GraphNetwork(residual(400), weights="gaussian", gain=math.sqrt(2))
    assert float(network.stem.weight.detach().var()) == pytest.approx(2 / 33, rel=0.1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda b, x: b.affine(x), "channels are not all known"),
        (lambda b, x: b.affine(x, 4, kernel=(3, 3), name="conv"), "conv: it is a convolution"),
        (lambda b, x: b.mean_pool(x), "works on locations"),
        (lambda b, x: b.affine(x, 4, name="forward"), "cannot have this path"),
        (lambda b, x: b.affine(x, 4, name="a."), "cannot have this path"),
        (lambda b, x: b.affine(x, 4, name="a..b"), "cannot have this path"),
        (lambda b, x: b.affine(x, 4, name="forward.x"), "cannot have this path"),
    ],
)
def test_errors(build, message):
    b = qc.Builder("bad")
    x = b.input("x", channels=4)
    arch = b.build([build(b, x)])
    with pytest.raises(ArchitectureError, match=message):
        qnn.GraphNetwork(arch)
