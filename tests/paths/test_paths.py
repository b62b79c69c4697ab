"""Path kernels, features and values against full enumeration and autograd."""

import math
from fractions import Fraction

import numpy as np
import pytest

import qcmap as qc
from qcmap.errors import ArchitectureError, ArgumentError, DataError, NumericalError
from qcmap.paths import (
    Gates,
    Units,
    Weights,
    active_paths,
    count_paths,
    gated_ntk,
    log_path_kernel,
    overlap,
    path_kernel,
    path_kernel_blocks,
    path_table,
    run_gated,
    run_relu,
    value_tangent,
)
from tests.paths.networks import TOWERS, integers, random_network, towers
from tests.paths.torch_oracle import autograd

NETWORKS = [(kind, seed) for kind in ("dense", "convolution") for seed in range(10)]


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda p: f"{p[0]}{p[1]}")
def case(request):
    kind, seed = request.param
    arch = random_network(seed, kind)
    return arch, path_table(arch), *integers(arch, 100 + seed)


def test_kernels_are_those_of_all_paths(case):
    """Exactly: features are integers but for means, whose fractions are taken exactly, too."""
    arch, table, gates, _, x = case
    activity = table.activity(gates)
    assert count_paths(arch) == table.count <= 100_000
    np.testing.assert_array_equal(active_paths(arch, gates), activity @ activity.T)
    start = np.concatenate([x.reshape(len(x), -1)], axis=1)
    whole = math.lcm(*(factor.denominator for factor in table.factor))  # makes all factors integers
    phi = start[:, table.start] * activity * np.array([int(factor * whole) for factor in table.factor])
    want = phi @ phi.T
    found = path_kernel(arch, gates, x, exact=True)
    assert all(f == Fraction(int(w), whole**2) for f, w in zip(found.ravel(), want.ravel(), strict=True))
    np.testing.assert_allclose(path_kernel(arch, gates, x), want / whole**2, rtol=1e-13, atol=0)
    weighed = activity * (table.factor.astype(float))
    d_in = Units.of(arch).size("x")
    np.testing.assert_allclose(overlap(arch, gates), weighed @ weighed.T / d_in, rtol=1e-13)
    logarithm = log_path_kernel(arch, gates, x)
    np.testing.assert_allclose(logarithm.sign * np.exp(logarithm.logarithm), want / whole**2, rtol=1e-11)


def test_output_and_tangent_kernel_by_paths_and_by_autograd(case):
    arch, table, gates, weights, x = case
    outputs, kernel = autograd(arch, weights, gates, x)
    np.testing.assert_allclose(table.outputs(gates, x, weights), outputs, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(run_gated(arch, weights, gates, x).outputs, outputs, rtol=1e-12, atol=1e-12)
    tangent, phi = value_tangent(table, weights), table.features(gates, x)
    found = sum(tangent.kernel(phi * (table.end == k)) for k in range(outputs.shape[1]))
    np.testing.assert_allclose(found, kernel, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gated_ntk(arch, weights, gates, x), kernel, rtol=1e-12, atol=1e-12)


def test_integers_stay_exact_where_floats_would_not():
    arch = qc.zoo.mlp(2, width=3, in_channels=2, out_channels=1)
    gates = {name: np.ones((1, 3), dtype=int) for name in Units.of(arch).activations}
    weights = {name: np.full(shape, 3001) for name, shape in Units.of(arch).weights.items()}
    x = np.array([[1, 7]])
    assert run_gated(arch, weights, gates, x).outputs[0, 0] == 8 * 9 * 3001**3
    assert path_table(arch).outputs(gates, x, weights)[0, 0] == 8 * 9 * 3001**3


def test_toy_of_figure_1():
    """18 paths; the gates of three examples give Lambda = [[2, 1, 0], [1, 2, 0], [0, 0, 2]] (NPF, Fig. 1)."""
    arch = qc.zoo.mlp(2, width=3, in_channels=2, out_channels=1, activation="relu")
    first, second = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]]), np.array([[0, 0, 1], [0, 1, 1], [0, 1, 1]])
    gates = {"layer1.activation": first, "layer2.activation": second}
    want = [[2, 1, 0], [1, 2, 0], [0, 0, 2]]
    assert count_paths(arch) == path_table(arch).count == 18
    np.testing.assert_array_equal(overlap(arch, gates), want)
    np.testing.assert_array_equal(active_paths(arch, gates), 2 * np.array(want))
    x = np.array([[1, 2], [3, -1], [0, 5]])
    np.testing.assert_array_equal(path_kernel(arch, gates, x), x @ x.T * want)
    np.testing.assert_array_equal(path_table(arch).activity(gates).sum(axis=1), [4, 4, 4])


def test_a_chain_is_the_product_of_its_overlaps():
    arch = qc.zoo.mlp(4, width=16, in_channels=5, out_channels=1)
    random = np.random.default_rng(0)
    gates = {name: random.random((700, 16)) for name in Units.of(arch).activations}
    x = random.standard_normal((700, 5))
    want = x @ x.T * np.prod([g @ g.T for g in gates.values()], axis=0)
    np.testing.assert_allclose(path_kernel(arch, gates, x), want, rtol=1e-12, atol=1e-9)
    half = {name: g[:300] for name, g in gates.items()}
    np.testing.assert_allclose(path_kernel(arch, half, x[:300], gates, x), want[:300], rtol=1e-12, atol=1e-9)
    found = np.full((700, 700), np.nan)
    for rows, columns, values in path_kernel_blocks(arch, gates, x, side=256):
        found[rows, columns] = values
        found[columns, rows] = values.T
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-9)


def test_relu_networks_give_their_own_gates():
    arch = random_network(3, "convolution")
    _, weights, x = integers(arch, 5)
    done = run_relu(arch, weights, x)
    outputs, kernel = autograd(arch, weights, done.gates.to_arrays(), x)
    np.testing.assert_allclose(done.outputs, outputs, rtol=1e-12)
    np.testing.assert_allclose(gated_ntk(arch, weights, None, x), kernel, rtol=1e-12)
    for node in arch.nodes:
        if node.id in done.gates.values:
            np.testing.assert_array_equal(done.maps[node.id], np.maximum(done.maps[node.inputs[0]], 0))


@pytest.mark.parametrize("activation", ["gelu", "tanh", "leaky_relu"])
def test_gates_of_relu_are_refused_to_other_activations(activation):
    arch = qc.zoo.mlp(1, width=3, in_channels=2, out_channels=1, activation=activation)
    gates, x = Gates.all_open(arch, 2), np.array([[1, 2], [3, -1]])
    weights = {name: np.ones(shape, dtype=int) for name, shape in Units.of(arch).weights.items()}
    for run in (lambda: gated_ntk(arch, weights, None, x), lambda: run_relu(arch, weights, x)):
        with pytest.raises(
            ArchitectureError, match=rf"layer1\.activation: .* it is {activation}; make it relu, or give"
        ):
            run()
    np.testing.assert_array_equal(gated_ntk(arch, weights, gates, x), [[42, 21], [21, 42]])


def test_counts_beyond_floats():
    arch = qc.zoo.mlp(300, width=100, in_channels=2, out_channels=3)
    assert count_paths(arch) == 2 * 100**300 * 3
    assert count_paths(qc.zoo.resnet_v2(50)) > 10**100
    gates, x = Gates.all_open(arch, 2), np.array([[1.0, 0], [2, 1]])
    assert active_paths(arch, gates)[0, 1] == 2 * 100**300 * 3
    assert path_kernel(arch, gates, x, exact=True)[0, 1] == 2 * 100**300 * 3
    with pytest.raises(NumericalError, match="exact=True, or log_path_kernel"):
        path_kernel(arch, gates, x)
    found = log_path_kernel(arch, gates, x).logarithm[0, 1]
    assert found == pytest.approx(math.log(6) + 300 * math.log(100), rel=1e-14)


@pytest.mark.parametrize("joined", TOWERS)
def test_a_closed_branch_does_not_hide_its_neighbour(joined):
    """100^200 paths that the first example closes, beside one unit: pairs with it have H = x x' of the unit alone."""
    inputs = np.array([[1.0, 2], [3, -2]])
    for arch, gates, want in towers(joined):
        found = log_path_kernel(arch, gates, inputs)
        np.testing.assert_array_equal(found.sign, [[1, -1], [-1, 1]])
        np.testing.assert_allclose(found.logarithm, want, rtol=1e-13, atol=1e-13)


def test_cancelling_inputs_are_not_taken_for_closed_gates():
    """x x' sums to 0 over channels, but is 1 behind gates that open the first alone."""
    b = qc.Builder("orthogonal")
    x = b.input("x", 2)
    tower = x
    for k in range(200):
        tower = b.activation(b.affine(tower, 100), "relu", name=f"tower{k}")
    gated = b.activation(b.concat([x, b.affine(tower, 1)]), "relu", name="first")
    arch = b.build([b.affine(gated, 1)])
    gates = Gates.all_open(arch, 2).to_arrays() | {"first": np.array([[1, 0, 0], [1, 0, 0]])}
    found = log_path_kernel(arch, gates, np.array([[1.0, 1], [1, -1]]))
    np.testing.assert_array_equal(found.sign[0, 1], 1)
    np.testing.assert_allclose(found.logarithm[0, 1], 0, atol=1e-13)


def test_value_tangent_kernel_as_matrix_and_operator():
    arch = random_network(1, "dense")
    table, (_, weights, _) = path_table(arch), integers(arch, 6)
    tangent, matrix = value_tangent(table, weights), value_tangent(table, weights).matrix()
    vector = np.random.default_rng(0).standard_normal(table.count)
    np.testing.assert_allclose(tangent.operator @ vector, matrix @ vector, rtol=1e-12)
    assert tangent.largest_eigenvalue == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-12)
    with pytest.raises(ArgumentError, match="use operator"):
        tangent.matrix(most=table.count - 1)


def test_shared_parameters_are_passed_twice():
    """y = w^2 x: the derivative of the one path is 2 w, whichever way."""
    b = qc.Builder("twice")
    h = b.affine(b.activation(b.affine(b.input("x", 1), 1, parameters="w"), "relu"), 1, parameters="w")
    arch, gates, weights = b.build([h]), {"activation1": np.ones((1, 1), dtype=int)}, {"w": np.array([[5]])}
    table = path_table(arch)
    assert table.values(weights) == [25]
    assert value_tangent(table, weights).matrix() == [[100]]
    assert gated_ntk(arch, weights, gates, np.array([[3]])) == [[900]]


def test_enumeration_is_refused_with_the_count():
    with pytest.raises(ArgumentError, match="has 200000 paths, more than 100000; use path_kernel"):
        path_table(qc.zoo.mlp(2, width=100, in_channels=20, out_channels=1))


CHAIN = qc.zoo.mlp(2, width=3, in_channels=2, out_channels=1)
GOOD = {f"layer{k}.activation": np.ones((4, 3)) for k in (1, 2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.activation": np.ones((4, 2))}, r"layer1.activation: its array has the shape \(4, 2\), not \[n, 3\]"),
        ({"layer1.activation": np.full((4, 3), 1.5)}, "gates are from 0 to 1, not 1.5 to 1.5"),
        ({"layer1.activation": np.full((4, 3), -0.5)}, "gates are from 0 to 1"),
        ({"layer1.activation": np.full((4, 3), np.nan)}, "gates are from 0 to 1"),
        ({"layer1.activation": np.ones((5, 3))}, "different numbers of examples"),
        ({"layer1.activation": "on"}, "layer1.activation: it is an array of real numbers, not str"),
        ({"layer3.activation": np.ones((4, 3))}, "layer3.activation: it has gates, but is no gated node"),
    ],
    ids=["shape", "above", "below", "nan", "examples", "text", "unknown"],
)
def test_bad_gates(change, message):
    with pytest.raises(DataError, match=message):
        path_kernel(CHAIN, GOOD | change, np.ones((4, 2)))


def test_bad_inputs_weights_and_graphs():
    with pytest.raises(DataError, match="its gates are missing"):
        path_kernel(CHAIN, {"layer1.activation": np.ones((4, 3))}, np.ones((4, 2)))
    with pytest.raises(DataError, match=r"input: its array has the shape \(4, 3\)"):
        path_kernel(CHAIN, GOOD, np.ones((4, 3)))
    with pytest.raises(DataError, match="inputs are finite"):
        path_kernel(CHAIN, GOOD, np.full((4, 2), np.inf))
    with pytest.raises(DataError, match="but 4 are needed"):
        path_kernel(CHAIN, GOOD, np.ones((5, 2)))
    with pytest.raises(DataError, match="soft gates"):
        active_paths(CHAIN, {name: g / 2 for name, g in GOOD.items()})
    assert Gates.of(CHAIN, {name: 1.1 * g for name, g in GOOD.items()}, largest=1.1).count == 4
    with pytest.raises(DataError, match="missing, not real numbers"):
        Weights.of(CHAIN, {})
    b = qc.Builder("another")
    another = b.build([b.affine(b.input("x", 2), 1)])
    with pytest.raises(DataError, match="not of another"):
        path_kernel(another, Gates.of(CHAIN, GOOD), np.ones((4, 2)))
    with pytest.raises(ArchitectureError, match="give channels to every layer"):
        count_paths(qc.zoo.mlp(2))


def build(step):
    b = qc.Builder("n")
    return b.build([step(b, b.input("x", 2))])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda b, x: b.layer_norm(x), "neural paths have no rule for the op 'layer_norm'"),
        (lambda b, x: b.affine(x, 2, bias_variance=0.1), "it has a bias, but paths begin at inputs"),
        (lambda b, x: b.affine(x, 2, kernel=(3,)), "its locations are not known"),
    ],
    ids=["norm", "bias", "locations"],
)
def test_graphs_without_paths(step, message):
    with pytest.raises(ArchitectureError, match=message):
        count_paths(build(step))
