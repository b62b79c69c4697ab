"""Expected kernels, their variance, kernels of learnt gates, limits and spectra against independent computations."""

import math

import numpy as np
import pytest
import torch

import qcmap as qc
from qcmap.errors import ArchitectureError, ArgumentError, DataError, NumericalError
from qcmap.paths import (
    GateFunction,
    GateNetwork,
    Gates,
    Spectrum,
    Units,
    activity_sensitivities,
    adapting_kernels,
    chain_moments,
    count_paths,
    delta,
    exhaustive_moments,
    expected_kernels,
    expected_path_kernel,
    gated_ntk,
    limiting_kernel,
    memorisation_kernel,
    monomial_moments,
    nu,
    overlap,
    path_kernel,
    path_table,
    random_gates,
    random_weights,
    run_gated,
)
from tests.paths.networks import integers, random_network
from tests.paths.torch_oracle import autograd


def small_chain(depth, width, inputs=2, outputs=1):
    """d layers of weights."""
    return qc.zoo.mlp(depth - 1, width=width, in_channels=inputs, out_channels=outputs, activation="relu")


def given(arch, seed, examples=3):
    random, units = np.random.default_rng(seed), Units.of(arch)
    gates = {name: (random.random((examples, *units.shape(name))) < 0.7).astype(int) for name in units.activations}
    return gates, random.integers(-2, 3, (examples, *units.shape(arch.inputs[0])))


SMALL = [(2, 4, 3, 1), (3, 2, 3, 1), (4, 2, 1, 1), (3, 2, 2, 2)]


@pytest.mark.parametrize(("depth", "width", "inputs", "outputs"), SMALL)
def test_moments_over_all_sign_patterns(depth, width, inputs, outputs):
    """Theorem 5.1: E K_v = d sigma^(2(d-1)) H exactly, at any width; the variance three ways."""
    arch, sigma = small_chain(depth, width, inputs, outputs), 0.7
    gates, x = given(arch, depth)
    every = exhaustive_moments(arch, gates, x, sigma)
    want = depth * sigma ** (2 * (depth - 1)) * path_kernel(arch, gates, x)
    scale = max(1, np.abs(want).max())
    np.testing.assert_allclose(every.mean, want, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(expected_kernels(arch, gates, x, sigma).tangent, want, rtol=0, atol=1e-12 * scale)
    for found in (chain_moments(arch, gates, x, sigma), monomial_moments(arch, gates, x, sigma)):
        np.testing.assert_allclose(found.mean, every.mean, rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(found.variance, every.variance, rtol=0, atol=1e-12 * scale**2)
    if (depth, inputs) == (3, 3):
        assert every.variance.max() > 0.1 * want.max() ** 2


def test_sign_patterns_by_autograd():
    """The oracle of the oracle: 2^8 networks of 8 weights one by one in torch."""
    arch, sigma = small_chain(3, 2, 1), 0.5
    gates, x = given(arch, 1, examples=2)
    units, every = Units.of(arch), []
    for pattern in range(2**8):
        flat = [sigma if pattern >> k & 1 else -sigma for k in range(8)]
        parts = np.split(np.array(flat), np.cumsum([math.prod(s) for s in units.weights.values()])[:-1])
        weights = {n: p.reshape(s) for (n, s), p in zip(units.weights.items(), parts, strict=True)}
        every.append(autograd(arch, weights, gates, x)[1])
    found = exhaustive_moments(arch, gates, x, sigma)
    np.testing.assert_allclose(found.mean, np.mean(every, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.variance, np.var(every, axis=0), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("scale", [0.7, {"layer1.affine": 0.5, "layer2.affine": 0.9, "head": 1.3}], ids=["one", "each"])
def test_gaussian_weights_by_monomials_and_by_the_chain(scale):
    arch = small_chain(3, 2, 2)
    gates, x = given(arch, 4)
    one, two = (f(arch, gates, x, scale, "gaussian") for f in (monomial_moments, chain_moments))
    np.testing.assert_allclose(one.mean, two.mean, rtol=1e-12)
    np.testing.assert_allclose(one.variance, two.variance, rtol=1e-11)


def test_wide_gaussian_networks_are_as_predicted():
    """400 networks; the mean within 5 standard errors, the variance within 5 of its own (false alarm below 1e-5)."""
    arch, width = small_chain(4, 24, 3), 24
    random = np.random.default_rng(0)
    gates = {name: random.random((2, width)) for name in Units.of(arch).activations}
    x = random.standard_normal((2, 3))
    sigma = width**-0.5
    want = chain_moments(arch, gates, x, sigma, "gaussian")
    ready = Gates.of(arch, gates)
    seen = np.array(
        [gated_ntk(arch, random_weights(arch, sigma, kind="gaussian", seed=k), ready, x) for k in range(400)]
    )
    error = seen.std(axis=0) / np.sqrt(len(seen))
    assert (np.abs(seen.mean(axis=0) - want.mean) < 5 * error).all()
    squares = (seen - want.mean) ** 2
    assert (np.abs(squares.mean(axis=0) - want.variance) < 5 * squares.std(axis=0) / np.sqrt(len(seen))).all()


def variance(depth, width):
    """Of K for a linear network of one input with sigma^2 = 1/w, so that E K = d."""
    arch = small_chain(depth, width, 1)
    return chain_moments(arch, Gates.all_open(arch), [[1.0]], width**-0.5)


@pytest.mark.parametrize("depth", [4, 8, 16, 32])
def test_variance_grows_as_depth_cubed_over_width(depth):
    """(2/3)(d-2)(d-1)(2d-3)/w in units where E K = d; not max(d^2/w, d^3/w^2) as printed (DGN, Theorem 2.3)."""
    law = 2 / 3 * (depth - 2) * (depth - 1) * (2 * depth - 3)
    wide = variance(depth, 100_000)
    assert wide.mean[0, 0] == pytest.approx(depth, rel=1e-12)
    assert wide.variance[0, 0] * 100_000 == pytest.approx(law, rel=depth / 10_000)
    for width in (64, 256, 1024):
        assert variance(depth, width).variance[0, 0] * width == pytest.approx(law, rel=2 * depth / width)
    assert variance(depth, 1024).variance[0, 0] / max(depth**2 / 1024, depth**3 / 1024**2) > depth / 4


FEW_PATHS = [(kind, seed) for kind in ("dense", "convolution") for seed in range(20)
             if count_paths(random_network(seed, kind)) <= 400]  # fmt: skip


@pytest.mark.parametrize(("kind", "seed"), FEW_PATHS)
def test_expected_kernels_of_any_graph(kind, seed):
    """Against the polynomial in the weights, which knows which paths share which weights."""
    arch = random_network(seed, kind)
    gates, _, x = integers(arch, seed, examples=2)
    found = expected_kernels(arch, gates, x, 0.7)
    want = monomial_moments(arch, gates, x, 0.7, "gaussian", most=6000).mean
    np.testing.assert_allclose(found.tangent, want, rtol=1e-12, atol=1e-12)


def ring(taps=2, extent=3, layers=3):
    """Circular convolutions of one channel and a global average pooling (DGN, Figure 9)."""
    b = qc.Builder("ring")
    h = b.input("x", 1, locations=(extent,))
    for k in range(layers):
        h = b.affine(h, 1, kernel=(taps,), border="circular", name=f"conv{k}")
        h = b.activation(h, "relu", name=f"act{k}")
    return b.build([b.mean_pool(h)])


def test_bundles_of_circular_convolutions():
    """DGN, Figure 9 and Lemma 4.1: d_in w_hat^(d-1) paths in bundles of d_in with one value; E y y' sums over them."""
    arch, sigma = ring(), 0.6
    units, table = Units.of(arch), path_table(arch)
    assert count_paths(arch) == 3 * 2**3
    values = table.values(
        {name: np.random.default_rng(k).random(s) for k, (name, s) in enumerate(units.weights.items())}
    )
    _, sizes = np.unique(np.round(values, 12), return_counts=True)
    assert sizes.tolist() == [3] * 8
    x = np.random.default_rng(9).standard_normal((4, 1, 3))
    gates = {name: np.random.default_rng(k).integers(0, 2, (4, 1, 3)) for k, name in enumerate(units.activations)}
    phi, want = table.features(gates, x), 0
    for value in np.unique(np.round(values, 12)):
        bundle = phi[:, np.abs(values - value) < 1e-9].sum(axis=1)
        want = want + sigma**6 * np.outer(bundle, bundle)
    np.testing.assert_allclose(expected_kernels(arch, gates, x, sigma).outputs, want, rtol=1e-12)
    turned = np.roll(x[:1], 1, axis=2), {name: np.roll(g[:1], 1, axis=2) for name, g in gates.items()}
    both = {name: np.concatenate([g, turned[1][name]]) for name, g in gates.items()}
    kernels = expected_kernels(arch, both, np.concatenate([x, turned[0]]), sigma)
    for matrix in (kernels.outputs, kernels.tangent):
        np.testing.assert_allclose(matrix[0, :4], matrix[4, :4], rtol=1e-12)  # turned round, the kernel is the same


class TwoNetworks(torch.nn.Module):
    """Features and values of a chain, written down in torch."""

    def __init__(self, features, values, soft, forwards):
        super().__init__()
        self.f, self.v = (
            torch.nn.ParameterList([torch.tensor(w) for w in ws.arrays.values()]) for ws in (features, values)
        )
        self.soft, self.forwards = soft, forwards

    def forward(self, x):
        z, h = x, x
        for f, v in zip(list(self.f)[:-1], list(self.v)[:-1], strict=True):
            q = f @ z
            gate = (1 + self.soft.epsilon) * torch.sigmoid(self.soft.beta * q)
            h = (v @ h) * gate
            z = torch.relu(q) if self.forwards == "relu" else q * gate
        return (self.v[-1] @ h).sum(0)


def gradients(model, x):
    """The derivatives in features' and in values' weights, [examples, weights] each."""
    outputs = [model(torch.tensor(one)) for one in x]
    return (
        np.stack([torch.cat([g.flatten() for g in torch.autograd.grad(y, list(part), retain_graph=True)]).numpy()
                  for y in outputs]) for part in (list(model.f)[:-1], model.v)
    )  # fmt: skip


@pytest.mark.parametrize("forwards", ["relu", "gate"])
def test_kernels_of_learnt_gates_by_autograd(forwards):
    arch, soft = small_chain(4, 3, 2, 1), GateFunction(4.0, 0.1)
    features, values = (random_weights(arch, 0.8, kind="gaussian", seed=s) for s in (1, 2))
    x = np.random.default_rng(3).standard_normal((4, 2))
    f, v = gradients(TwoNetworks(features, values, soft, forwards), x)
    found = adapting_kernels(arch, features, values, x, soft, forwards)
    np.testing.assert_allclose(found.values, v @ v.T, rtol=1e-11)
    np.testing.assert_allclose(found.gates, f @ f.T, rtol=1e-11, atol=1e-14)
    tied = adapting_kernels(arch, values, values, x, soft, forwards)
    f, v = gradients(TwoNetworks(values, values, soft, forwards), x)
    both = v + np.pad(f, ((0, 0), (0, v.shape[1] - f.shape[1])))  # the last layer gives no gates
    np.testing.assert_allclose(tied.tied, both @ both.T, rtol=1e-11, atol=1e-13)
    gate_rows = GateNetwork(arch, features, x, soft, forwards)
    done = run_gated(arch, values, gate_rows.gates, x)
    assert done.outputs[:, 0] == pytest.approx(
        TwoNetworks(features, values, soft, forwards)(torch.tensor(x).T).detach().numpy()
    )


def test_expected_kernel_of_learnt_gates():
    """Lemma 3.1 over all signs of the values: K_w with the factor d, K_a = sigma^(2d) Sigma * delta, no cross terms."""
    arch, soft, sigma = small_chain(3, 2, 1), GateFunction(2.0, 0.1), 0.5
    features = random_weights(arch, 1.0, kind="gaussian", seed=5)
    x = np.random.default_rng(6).standard_normal((3, 1))
    network, units = GateNetwork(arch, features, x, soft), Units.of(arch)
    totals = [np.zeros((3, 3)) for _ in range(3)]
    for pattern in range(2**8):
        flat = np.array([sigma if pattern >> k & 1 else -sigma for k in range(8)])
        kernels = adapting_kernels(units, features, features.replaced(flat), x, soft)
        for total, part in zip(totals, (kernels.values, kernels.gates, kernels.cross), strict=True):
            total += part / 2**8
    found = delta(arch, network)
    np.testing.assert_allclose(totals[0], 3 * sigma**4 * x @ x.T * overlap(arch, network.gates), rtol=1e-11)
    np.testing.assert_allclose(totals[1], sigma**6 * x @ x.T * found[0], rtol=1e-11)
    np.testing.assert_allclose(totals[2], 0, atol=1e-13)


def test_sensitivity_of_path_activities_by_differences():
    arch, soft = small_chain(3, 2, 2), GateFunction(3.0)
    features, x = random_weights(arch, 1.0, kind="gaussian", seed=5), np.array([[0.3, -1.2], [0.7, 0.4]])
    table, step = path_table(arch), 1e-5
    first, second = delta(arch, GateNetwork(arch, features, x, soft))
    np.testing.assert_allclose(first, second, rtol=1e-12)  # the same from every input of a fully-connected network
    found = activity_sensitivities(table, GateNetwork(arch, features, x, soft))
    for k in range(len(features.flat)):
        one, two = (
            GateNetwork(arch, features.replaced(features.flat + s * np.eye(10)[k]), x, soft) for s in (step, -step)
        )
        slope = (table.activity(one.gates) - table.activity(two.gates)) / (2 * step)
        np.testing.assert_allclose(found[:, :, k].T, slope, atol=1e-8)


def test_limiting_kernel_is_the_tangent_kernel_of_relu():
    x = np.random.default_rng(0).standard_normal((5, 3))
    found = limiting_kernel(x @ x.T, 4)
    b = qc.Builder("relu")
    h = b.affine(b.input("x"), 4, name="layer1")
    for k in range(2, 5):
        h = b.affine(b.activation(h, "relu"), 4, weight_variance=2.0, name=f"layer{k}")
    arch = b.build([h])
    for i in range(5):
        for j in range(5):
            q1, q2 = x[i] @ x[i], x[j] @ x[j]
            kernel = qc.ntk(arch, np.clip(x[i] @ x[j] / np.sqrt(q1 * q2), -1, 1), q1, q2)
            assert found[i, j] == pytest.approx(float(kernel.total + kernel.nngp) / 2, rel=1e-11)
    np.testing.assert_allclose(limiting_kernel(x @ x.T, 1), x @ x.T, rtol=1e-13)


def test_random_gates_and_their_expected_kernel():
    """E Lambda by averaging over all gates of a small network with a skip, and Lemma 2.4 for a chain."""
    b = qc.Builder("skip")
    x = b.input("x", 1)
    first = b.activation(b.affine(x, 2), "relu", name="a")
    second = b.activation(b.affine(first, 1), "relu", name="b")
    arch, mu = b.build([b.sum([second, b.affine(first, 1)], [1, 2])]), 0.3
    inputs, mean = np.array([[1.0], [2.0]]), 0
    for pattern in range(2**6):
        bits = np.array([pattern >> k & 1 for k in range(6)])
        chance = np.prod(np.where(bits, mu, 1 - mu))
        mean = mean + chance * path_kernel(arch, {"a": bits[:4].reshape(2, 2), "b": bits[4:].reshape(2, 1)}, inputs)
    np.testing.assert_allclose(expected_path_kernel(arch, inputs, mu), mean, rtol=1e-12)
    chain = small_chain(4, 6, 1)
    lemma = expected_path_kernel(chain, np.ones((2, 1)), 0.5)
    np.testing.assert_allclose(lemma, [[3.0**3, 1.5**3], [1.5**3, 3.0**3]], rtol=1e-12)
    gates = random_gates(chain, 2000, 0.5, seed=1)
    assert gates.binary
    share = np.mean([g.mean() for g in gates.values.values()])
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(2000 * 18)


def test_memorisation_kernel_and_spectra():
    """NPF, D (23): eigenvalues 1 + (n-1) mu^(d-1) and 1 - mu^(d-1); nu from n, aligned, to n^2, indifferent."""
    kernel = memorisation_kernel(50, 0.5, 4)
    spectrum = Spectrum.of(kernel)
    assert spectrum.largest == pytest.approx(1 + 49 / 8, rel=1e-13)
    np.testing.assert_allclose(spectrum.eigenvalues[:-1], 1 - 1 / 8, rtol=1e-13)
    np.testing.assert_allclose(spectrum.cumulative[:-1], np.arange(1, 50) * 7 / 8, rtol=1e-12)
    assert spectrum.median == pytest.approx(7 / 8)
    chain = small_chain(4, 10, 1)
    want = 2.0**-3 * expected_path_kernel(chain, np.ones((3, 1)), 0.5) * (2 / 10) ** 3 * 2**3
    np.testing.assert_allclose(memorisation_kernel(3, 0.5, 4), want, rtol=1e-12)
    y = np.random.default_rng(0).choice([-1.0, 1.0], 50)
    assert nu(np.eye(50), y) == pytest.approx(2500, rel=1e-12)
    assert nu(np.outer(y, y) + 1e-7 * np.eye(50), y) == pytest.approx(50, rel=1e-6)
    assert nu(3 * kernel, y) == pytest.approx(y @ np.linalg.solve(kernel / 50, y), rel=1e-10)


CHAIN = small_chain(2, 2)
OPEN = Gates.all_open(CHAIN, 1)


def refused():
    large, deep, b = small_chain(3, 4), small_chain(120, 100), qc.Builder("shared")
    shared = b.build([b.affine(b.affine(b.input("x", 2), 2, parameters="w"), 2, parameters="w")])
    return {
        "many weights": (lambda: exhaustive_moments(large, Gates.all_open(large), [[1, 1]], 1.0),
                         ArgumentError, r"28 weights have 2\^28 sign patterns"),
        "many monomials": (lambda: monomial_moments(CHAIN, OPEN, [[1, 1]], 1.0, most=1), ArgumentError, "monomials"),
        "no chain": (lambda: chain_moments(ring(), Gates.all_open(ring()), np.ones((1, 3)), 1.0),
                     ArchitectureError, "not part of a fully-connected chain"),
        "kind": (lambda: chain_moments(CHAIN, OPEN, [[1, 1]], 1.0, "uniform"), ArgumentError, "'sign' or 'gaussian'"),
        "scale": (lambda: expected_kernels(CHAIN, OPEN, [[1, 1]], -1.0), ArgumentError, "positive number, not -1"),
        "scales": (lambda: expected_kernels(CHAIN, OPEN, [[1, 1]], {"head": 1.0}), DataError, "give one for each of"),
        "shared": (lambda: expected_kernels(shared, {}, [[1, 1]], 1.0), ArchitectureError, "shares its parameters"),
        "beta": (lambda: GateFunction(0), ArgumentError, "beta: it is a positive number"),
        "epsilon": (lambda: GateFunction(1, -0.1), ArgumentError, "epsilon: it is 0 or more"),
        "forwards": (lambda: GateNetwork(CHAIN, random_weights(CHAIN, 1.0), [[1, 1]], GateFunction(1), "both"),
                     ArgumentError, "'relu' or 'gate'"),
        "singular": (lambda: nu(np.ones((2, 2)), [1, -1]), NumericalError, "has no inverse"),
        "labels": (lambda: nu(np.eye(2), [1]), DataError, "for a kernel of 2 examples"),
        "asymmetric": (lambda: Spectrum.of([[1, 2], [3, 4]]), DataError, "no symmetric matrix"),
        "gram": (lambda: limiting_kernel([[1, 2], [2, 1]], 3), DataError, "larger than its diagonal allows"),
        "mean": (lambda: memorisation_kernel(3, 1.5, 2), ArgumentError, "a probability"),
        "overflow": (lambda: chain_moments(deep, Gates.all_open(deep), [[1, 1]], 1.0),
                     NumericalError, "beyond the range of floats"),
    }  # fmt: skip


@pytest.mark.parametrize("what", list(refused()))
def test_refusals(what):
    call, error, message = refused()[what]
    with pytest.raises(error, match=message):
        call()


def test_nu_says_which_labels_it_refuses():
    with pytest.raises(DataError, match="labels: they are not all finite"):
        nu(np.eye(2), [1, np.nan])


def test_features_through_relu_are_those_of_relu():
    arch = qc.zoo.mlp(1, width=3, in_channels=2, out_channels=1, activation="tanh")
    with pytest.raises(ArchitectureError, match=r"^layer1\.activation: the features go through relu, but it is tanh"):
        GateNetwork(arch, random_weights(arch, 1.0), np.ones((2, 2)), GateFunction(4.0))
