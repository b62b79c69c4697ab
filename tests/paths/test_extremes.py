"""Numbers at the ends of their types, and arguments that are none: exact or refused, never wrong or NaN."""

import math

import mpmath
import numpy as np
import pytest
import torch

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArchitectureError, ArgumentError, DataError, NumericalError
from qcmap.paths import (
    GateFunction,
    GateNetwork,
    Gates,
    Spectrum,
    Units,
    adapting_kernels,
    chain_moments,
    delta,
    exhaustive_moments,
    expected_kernels,
    expected_path_kernel,
    gated_ntk,
    limiting_kernel,
    log_path_kernel,
    monomial_moments,
    nu,
    path_table,
    random_gates,
    random_weights,
    run_gated,
    value_tangent,
)
from tests.paths.networks import integers, random_network

CHAIN = qc.zoo.mlp(2, width=3, in_channels=2, out_channels=1, activation="relu")
OPEN = Gates.all_open(CHAIN)
WIDER = qc.zoo.mlp(2, width=4, in_channels=2, out_channels=1, activation="relu")


def filled(arch, value):
    return {name: np.full(shape, value) for name, shape in Units.of(arch).weights.items()}


def test_integers_beyond_64_bits_are_exact():
    """Weights 9, all gates open: y = 2 * 9^26 * 10^25, and its derivative in a weight of a layer is a product too."""
    arch = qc.zoo.mlp(25, width=10, in_channels=2, out_channels=1, activation="relu")
    gates, x = Gates.all_open(arch), [[1, 1]]
    first, inner, last = 9**25 * 10**24, 2 * 9**25 * 10**23, 2 * 9**25 * 10**24
    for weights in (filled(arch, 9), filled(arch, np.int8(9))):
        assert run_gated(arch, weights, gates, x).outputs.tolist() == [[2 * 9**26 * 10**25]]
        assert gated_ntk(arch, weights, gates, x).tolist() == [[20 * first**2 + 2400 * inner**2 + 10 * last**2]]
        assert gated_ntk(arch, weights, None, x).tolist() == [[20 * first**2 + 2400 * inner**2 + 10 * last**2]]


@pytest.mark.parametrize("seed", range(6))
def test_large_integers_agree_with_exact_arithmetic(seed):
    """Of any graph: integers are those of Python's, whatever their size; with means they are floats."""
    arch = random_network(seed, ("dense", "convolution")[seed % 2])
    gates, weights, x = integers(arch, seed)
    weights = {name: array * 10**6 for name, array in weights.items()}
    exact = {name: array.astype(object) for name, array in weights.items()}
    found, want = (gated_ntk(arch, each, gates, x) for each in (weights, exact))
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, want.astype(float), rtol=1e-12)
    else:
        assert found.tolist() == want.tolist()


def test_paths_of_large_integers_and_narrow_types():
    arch = qc.zoo.mlp(25, width=1, in_channels=1, out_channels=1, activation="relu")
    table, gates = path_table(arch), Gates.all_open(arch)
    assert table.values(filled(arch, 9)).tolist() == [9**26]
    assert table.outputs(gates, [[10**9]], filled(arch, 9)).tolist() == [[10**9 * 9**26]]
    np.testing.assert_allclose(value_tangent(table, filled(arch, 9)).matrix(), [[26 * 81.0**25]], rtol=1e-14)
    for kind in (np.uint8, np.float16):  # their own products would wrap around, or be infinite
        done = run_gated(CHAIN, filled(CHAIN, np.array(100, dtype=kind)), OPEN, np.full((1, 2), 200, dtype=kind))
        assert done.outputs.tolist() == [[2 * 200 * 9 * 100**3]]


def test_log_path_kernel_of_inputs_of_any_size():
    x = np.array([[3e300, 1e300], [2e-300, 5e-300], [7.0, -1.0]])
    found = log_path_kernel(CHAIN, Gates.all_open(CHAIN, 3), x)
    tensors = qnn.log_path_kernel(CHAIN, Gates.all_open(CHAIN, 3), torch.tensor(x))
    for s in range(3):
        for t in range(3):
            want = 9 * (mpmath.mpf(x[s, 0]) * x[t, 0] + mpmath.mpf(x[s, 1]) * x[t, 1])
            for kernel in (found, tensors):
                assert float(kernel.sign[s, t]) == mpmath.sign(want)
                assert float(kernel.logarithm[s, t]) == pytest.approx(float(mpmath.log(abs(want))), rel=1e-13)


def test_nu_at_any_scale_and_kernels_that_are_symmetric_but_for_rounding():
    y = [1.0, -1.0, 1.0]
    for size in (1e308, 1.0, 1e-308):
        assert nu(size * np.diag([1, 0.5, 0.25]), y) == pytest.approx(1.75 * 7, rel=1e-13)
    rounded = np.eye(3)
    rounded[0, 1], rounded[1, 0] = 1e-17, -1e-17
    assert nu(rounded, y) == pytest.approx(9)
    assert limiting_kernel(rounded, 3) == pytest.approx(limiting_kernel(np.eye(3), 3))
    rounded[0, 1] = 1e-6
    for refused in (lambda: nu(rounded, y), lambda: limiting_kernel(rounded, 3)):
        with pytest.raises(DataError, match="no symmetric matrix"):
            refused()


WEIGHTS = random_weights(CHAIN, 0.5)
SMALL = qc.zoo.mlp(1, width=1, in_channels=1, out_channels=1, activation="relu")
HUGE = filled(CHAIN, 1e200)
X = [[1.0, 2.0]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: run_gated(CHAIN, HUGE, OPEN, X),
        lambda: gated_ntk(CHAIN, filled(CHAIN, 1e90), OPEN, X),
        lambda: path_table(CHAIN).values(HUGE),
        lambda: path_table(CHAIN).outputs(OPEN, X, filled(CHAIN, 1e103)),
        lambda: adapting_kernels(CHAIN, HUGE, WEIGHTS, X, GateFunction(4)),
        lambda: adapting_kernels(CHAIN, WEIGHTS, filled(CHAIN, 1e90), X, GateFunction(4)),
        lambda: expected_kernels(CHAIN, OPEN, X, 1e200),
        lambda: chain_moments(CHAIN, OPEN, X, 1e100),
        lambda: exhaustive_moments(SMALL, Gates.all_open(SMALL), [[1.0]], 1e200),
        lambda: monomial_moments(CHAIN, OPEN, X, 1e100),
        lambda: random_weights(CHAIN, 1.7e308, kind="gaussian"),
        lambda: limiting_kernel(np.eye(2) * 1e308, 30),
        lambda: Spectrum.of(np.full((3, 3), 1e308)),
        lambda: nu(np.eye(2), [1e200, 1]),
        lambda: qc.path_kernel(CHAIN, OPEN, [[10**400, 1]]),
    ],
)  # fmt: skip
def test_what_floats_do_not_hold_is_refused(call):
    with pytest.raises(NumericalError, match="beyond the range of floats"):
        call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: run_gated(CHAIN, random_weights(WIDER, 1.0), OPEN, X), DataError, "weights of mlp"),
        (lambda: path_table(CHAIN).values(random_weights(WIDER, 1.0)), DataError, "weights of mlp"),
        (
            lambda: delta(CHAIN, GateNetwork(WIDER, random_weights(WIDER, 1.0), X, GateFunction(4))),
            DataError,
            "gates of mlp",
        ),
        (lambda: qc.path_kernel(CHAIN, None, X), DataError, "arrays by name, not NoneType"),
        (lambda: run_gated(CHAIN, None, OPEN, X), DataError, "arrays by name, not NoneType"),
        (lambda: qc.path_kernel(CHAIN, OPEN, [[1, 2], [3]]), DataError, "rows of equal length"),
        (lambda: qc.path_kernel(CHAIN, OPEN, np.array([["1", 2]], dtype=object)), DataError, "real numbers"),
        (lambda: qc.path_kernel(CHAIN, OPEN, np.array([[math.nan, 2]], dtype=object)), DataError, "finite"),
        (lambda: qc.path_kernel(CHAIN, OPEN, {1: X, "a": X}), DataError, "for inputs"),
        (lambda: expected_path_kernel(CHAIN, {}, 0.5), DataError, "give all inputs"),
        (lambda: expected_path_kernel(CHAIN, 5, 0.5), DataError, "one for each example"),
        (lambda: expected_path_kernel(CHAIN, X, [0.5, 0.5]), ArgumentError, "probability"),
        (lambda: random_gates(CHAIN, 2, 0.5, seed=-1), ArgumentError, "seed"),
        (lambda: random_weights(CHAIN, 0.5, seed="a"), ArgumentError, "seed"),
        (lambda: random_weights(CHAIN, {1: 0.5, "a": 0.5}), DataError, "for layers"),
        (lambda: Gates.all_open(CHAIN, -1), ArgumentError, "count"),
        (lambda: GateFunction(4).largest_slope(math.nan), ArgumentError, "threshold"),
        (lambda: GateNetwork(CHAIN, WEIGHTS, X, "soft"), ArgumentError, "GateFunction, not str"),
    ],
)
def test_what_is_no_argument_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_gate_functions_of_arrays_and_of_tensors_stand_for_each_other():
    ours = adapting_kernels(CHAIN, WEIGHTS, WEIGHTS, X, GateFunction(4, 0.1))
    theirs = adapting_kernels(CHAIN, WEIGHTS, WEIGHTS, X, qnn.GateFunction(4, 0.1))
    np.testing.assert_array_equal(ours.tied, theirs.tied)


def test_counts_that_python_does_not_print():
    deep = qc.zoo.mlp(3000, width=100, in_channels=2, out_channels=1, activation="relu")
    with pytest.raises(ArgumentError, match=r"has about 2\.00e\+6000 paths"):
        path_table(deep)


def test_networks_without_gates_or_without_weights():
    b = qc.Builder("linear")
    linear = b.build([b.affine(b.input("x", 2), 3)])
    x = np.array([[1.0, 2.0], [3.0, -1.0]])
    for gates in (Gates.all_open(linear, 2), random_gates(linear, 2, 0.5)):
        np.testing.assert_array_equal(qc.path_kernel(linear, gates, x), 3 * x @ x.T)
        np.testing.assert_array_equal(gated_ntk(linear, random_weights(linear, 1.0), gates, x), 3 * x @ x.T)
    np.testing.assert_array_equal(expected_path_kernel(linear, x, 0.5), 3 * x @ x.T)
    with pytest.raises(DataError, match=r"has none.*use Gates.all_open"):
        qc.path_kernel(linear, {}, x)
    b = qc.Builder("bare")
    bare = b.build([b.activation(b.input("x", 2), "relu", name="r")])
    gates = Gates.all_open(bare, 2)
    for call in (
        lambda: random_weights(bare, 1.0),
        lambda: chain_moments(bare, gates, x, 1.0),
        lambda: exhaustive_moments(bare, gates, x, 1.0),
        lambda: monomial_moments(bare, gates, x, 1.0),
        lambda: value_tangent(path_table(bare), {}),
        lambda: adapting_kernels(bare, {}, {}, x, GateFunction(4)),
    ):
        with pytest.raises(ArchitectureError, match="bare: it has no layer of weights"):
            call()
