"""Networks sampled without their weight matrices have the law of networks with them."""

import math

import numpy as np
import pytest
import torch

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.numeric import sampled_networks, sampling_error

RANDOM = np.random.default_rng(11)


def layer(m, k, **options):
    b = qc.Builder()
    return b.build([b.affine(b.input("x", channels=k), m, name="layer", **options)])


def drawn(arch, z, networks, **options):
    return list(sampled_networks(arch, {"x": z}, networks=networks, **options))


@pytest.mark.parametrize(("m", "k"), [(6, 6), (11, 4), (5, 9)])
def test_orthogonal_layers(m, k):
    """Isometries up to sqrt(m/k) for m >= k; else q has the variance of a Beta variable of (m/2, (k-m)/2)."""
    z = RANDOM.standard_normal((k, 3))
    found = drawn(layer(m, k), z, 2000, weights="orthogonal")
    gram = np.array([maps["layer"][:, :, 0].T @ maps["layer"][:, :, 0] / m for maps in found])
    want = z.T @ z / k
    if m >= k:
        np.testing.assert_allclose(gram, np.broadcast_to(want, gram.shape), atol=1e-13)
        return
    q = gram[:, 0, 0] / want[0, 0]
    variance = 2 * (k - m) / (m * (k + 2))
    # Five standard errors each; that of a variance is at most 3 percent of it here.
    assert abs(q.mean() - 1) < 5 * math.sqrt(variance / 2000)
    assert q.var() == pytest.approx(variance, rel=0.15)


def test_gaussian_layers():
    """Entries are normal with covariance a z.z'/k + b: their fourth moments too."""
    z = RANDOM.standard_normal((5, 2))
    found = drawn(layer(400, 5, weight_variance=1.7, bias_variance=0.3), z, 100)
    u = np.concatenate([maps["layer"][:, :, 0] for maps in found])
    want = 1.7 * z.T @ z / 5 + 0.3
    np.testing.assert_allclose(u.T @ u / len(u), want, atol=5 * 2 * want.max() / math.sqrt(len(u)))
    assert (u[:, 0] ** 4).mean() == pytest.approx(3 * want[0, 0] ** 2, rel=5 * math.sqrt(32 / 3 / len(u)))


def everything():
    b = qc.Builder("everything")
    h = b.affine(b.input("x", channels=8), 24, name="stem")
    left = b.affine(b.activation(h, "relu"), 16, name="left")
    h = b.concat([b.activation(left, "tanh"), b.activation(b.affine(h, 8, name="right"), "erf")], name="concat")
    h = b.scale(b.affine(b.layer_norm(h), 24, name="mix"), 1.5)
    h = b.sum([h, b.affine(b.activation(h, "tanh"), 24, name="branch")], [0.8, 0.6], name="sum")
    return b.build([b.activation(h, "softplus", name="end")])


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_graphs_against_torch_networks(weights):
    """Means and spreads of q and of an inner product over 400 networks each, five standard errors allowed."""
    arch, z, count = everything(), RANDOM.standard_normal((8, 2)), 400
    ours = [maps["end"][:, :, 0] for maps in drawn(arch, z, count, weights=weights, seed=4)]
    x = torch.as_tensor(z.T, dtype=torch.float32)
    with torch.no_grad():
        theirs = [qnn.GraphNetwork(arch, weights=weights, seed=seed)(x).double().numpy().T for seed in range(count)]
    for pick in ((0, 0), (0, 1)):
        a, b = (np.array([(u[:, pick[0]] * u[:, pick[1]]).mean() for u in maps]) for maps in (ours, theirs))
        assert abs(a.mean() - b.mean()) < 5 * math.hypot(a.std(), b.std()) / math.sqrt(count)
        assert abs(math.log(a.std() / b.std())) < 5 / math.sqrt(count)


def test_errors_of_chains_are_those_of_the_expansion():
    """To first order in 1/width, for widths at which the second order is below the sampling error (4 percent here)."""
    arch = qc.zoo.mlp(5, width=200, activation="softplus")
    z = np.linalg.qr(RANDOM.standard_normal((16, 2)))[0] * 4
    z[:, 1] = 0.6 * z[:, 0] + 0.8 * z[:, 1]
    theory = sampling_error(arch, 0.6)
    maps = [
        {name: u[:, :, 0] for name, u in network.items()}
        for network in sampled_networks(arch, {arch.inputs[0]: z}, networks=600)
    ]
    for k, name in enumerate(theory.nodes):
        q = [(u[name][:, 0] ** 2).mean() for u in maps]
        c = [u[name][:, 0] @ u[name][:, 1] / math.prod(np.linalg.norm(u[name], axis=0)) for u in maps]
        assert np.std(q) == pytest.approx(theory.q_std[k], rel=0.16)
        assert np.std(c) == pytest.approx(float(theory.c_std[k]), rel=0.16)


def test_shared_parameters_and_locations():
    b = qc.Builder()
    x = b.input("x", channels=4)
    ends = [b.affine(x, 6, name=name, parameters="w", bias_variance=0.2) for name in ("a", "b")]
    arch = b.build(ends)
    z = RANDOM.standard_normal((4, 2, 5))
    kept = {"a": (np.array([0, 3]),), "b": (np.array([3]),)}
    (maps,) = sampled_networks(arch, {"x": z}, networks=1, kept=kept)
    np.testing.assert_array_equal(maps["a"][:, :, 1], maps["b"][:, :, 0])
    assert maps["a"].shape == (6, 2, 2)
    first, second = (drawn(arch, z, 2, seed=seed)[1]["a"] for seed in (1, 1))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weights": "uniform"}, ArgumentError, "weights: there is no initialization 'uniform'"),
        ({"networks": 0}, ArgumentError, "networks: "),
        ({"inputs": {}}, ArgumentError, "no feature map for 'x'"),
        ({"inputs": {"x": np.ones(3)}}, ArgumentError, r"'x' is a finite array \[channels, samples\]"),
        ({"inputs": {"x": np.full((3, 2), np.nan)}}, ArgumentError, "'x' is a finite array"),
        ({"arch": layer(None, 3)}, ArchitectureError, "layer: its number of channels is not known"),
    ],
)
def test_refusals(options, error, message):
    given = {"arch": layer(2, 3), "inputs": {"x": np.ones((3, 2))}, "networks": 1, **options}
    with pytest.raises(error, match=message):
        list(sampled_networks(given.pop("arch"), given.pop("inputs"), **given))


def test_symbols_and_pools_are_refused():
    import sympy

    b = qc.Builder()
    symbolic = b.build([b.affine(b.scale(b.input("x", channels=3), sympy.Symbol("s")), 2)])
    with pytest.raises(ArchitectureError, match="it has symbols or gates: s"):
        next(sampled_networks(symbolic, {"x": np.ones((3, 2))}, networks=1))
    b = qc.Builder()
    pooled = b.build([b.affine(b.mean_pool(b.input("x", channels=3), name="pool"), 2)])
    with pytest.raises(ArchitectureError, match="pool: the sampled network has no rule for a mean_pool"):
        next(sampled_networks(pooled, {"x": np.ones((3, 2))}, networks=1))
