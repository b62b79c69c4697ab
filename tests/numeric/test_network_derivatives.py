"""Derivatives of extended maps, measures on them, targets, and deep chains: against mpmath and brute force."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.architecture import Nonlinear
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric import Deviation, local_maps, network_maps
from tests.graphs import architectures, propagated
from tests.oracles import FORMULAS, samples

PLAIN = ("affine", "activation", "activation", "max_pool", "mean_pool")
CLOSED = ("relu", "erf", "sin")
KERNELS = {
    "relu": lambda m, a, b: (mp.sqrt(a * b - m * m) + m * (mp.pi - mp.acos(m / mp.sqrt(a * b)))) / (2 * mp.pi),
    "erf": lambda m, a, b: 2 / mp.pi * mp.asin(2 * m / mp.sqrt((1 + 2 * a) * (1 + 2 * b))),
    "sin": lambda m, a, b: (mp.exp(m) - mp.exp(-m)) * mp.exp(-(a + b) / 2) / 2,
}


def by_hand(arch, c, q1, q2):
    """(m, q1, q2) at every node, in mpmath."""
    return propagated(arch, (c, q1, q2), lambda name: KERNELS[name], mp.sqrt)


@given(
    arch=architectures(independent=True, activations=CLOSED, unary=PLAIN, one_output=True),
    c=st.floats(-0.9, 0.9), q1=st.floats(0.2, 4), q2=st.floats(0.2, 4),
)  # fmt: skip
@settings(max_examples=15)
def test_derivatives_of_random_graphs(arch, c, q1, q2):
    maps, (output,) = network_maps(arch), arch.outputs
    with mp.workdps(30):
        _, a, b = by_hand(arch, mp.mpf(c), mp.mpf(q1), mp.mpf(q2))[output]

        def end(x):
            return by_hand(arch, x, mp.mpf(q1), mp.mpf(q2))[output][0] / mp.sqrt(a * b)

        for order in (1, 2):
            want = float(mp.diff(end, mp.mpf(c), order))
            assert float(maps.dc(c, q1, q2, order=order)) == pytest.approx(want, rel=1e-10, abs=1e-11)
        slope = float(mp.diff(lambda q: by_hand(arch, mp.mpf(1), q, q)[output][1], mp.mpf(q1)))
        assert float(maps.dq(q1)) == pytest.approx(slope, rel=1e-11, abs=1e-12)


@given(arch=architectures(independent=True, activations=("softplus", "relu"), unary=PLAIN, one_output=True))
@settings(max_examples=15)
def test_runs_of_equal_layers_change_nothing(arch):
    """`propagate` goes node by node; `c` may compose runs."""
    maps, c = network_maps(arch), np.linspace(-1, 1, 15)
    np.testing.assert_allclose(maps.c(c), maps.propagate(c)[maps.target].c, rtol=0, atol=1e-13)


def test_at_a_node():
    arch = qc.zoo.resnet_v2(50, residual_weight=0.5, activation="softplus")
    maps = network_maps(arch, qc.dks(arch))
    values = maps.propagate([-0.3, 0.8], 1.0, 1.0)
    for node in arch.nodes[:: len(arch.nodes) // 9]:
        there = maps.at(node.id)
        np.testing.assert_allclose(there.c([-0.3, 0.8]), values[node.id].c, rtol=0, atol=1e-14)
        assert float(there.q()) == pytest.approx(float(maps.q_at(node.id)), rel=1e-15)
    with pytest.raises(ArchitectureError):
        maps.at("nowhere")
    with pytest.raises(ArgumentError):
        maps.local(arch.inputs[0])
    nonlinear = next(node.id for node in arch.nodes if isinstance(node.op, Nonlinear))
    assert maps.local(nonlinear) is local_maps("softplus", maps.shaping["softplus"])


def test_slope_at_one_is_the_slope_polynomial():
    arch = qc.zoo.wide_resnet(28, residual_weight=0.6, activation="tanh")
    shaping = qc.dks(arch, 1.5)
    maps = network_maps(arch, shaping)
    assert float(maps.dc(1.0)) == pytest.approx(float(qc.slope_polynomial(arch)(shaping.psi)), rel=1e-12)
    assert float(maps.dq()) == pytest.approx(1, abs=1e-11)
    assert float(maps.q()) == pytest.approx(1, abs=1e-11)
    assert float(maps.c(0.0)) == pytest.approx(0, abs=1e-12)


def test_shapes():
    maps = network_maps(qc.zoo.mlp(3, activation="tanh"))
    c, q = np.linspace(-1, 1, 6).reshape(2, 3), np.array([[0.5], [2.0]])
    for values in (maps.c(c, q, 1.0), maps.dc(c, q, 1.0), maps.dc(c, q, 1.0, order=2)):
        assert values.shape == (2, 3)
    assert maps.dq(q).shape == maps.q(q).shape == (2, 1)
    assert maps.c(0.3, q, q).shape == (2, 1)
    assert maps.c(np.empty((0, 2))).shape == (0, 2)
    for order in (0, 3, 1.5, True):
        with pytest.raises(ArgumentError):
            maps.dc(0.1, order=order)
    for c in (1.1, math.nan):
        with pytest.raises(ArgumentError):
            maps.dc(c)


def test_kinked_networks_have_no_curvature_at_one():
    with pytest.raises(NumericalError, match="order 2"):
        network_maps(qc.zoo.mlp(3, activation="relu")).dc(1.0, order=2)


def power_series(name, transform):
    """Coefficients of C(c), highest first, from Hermite coefficients in 40-digit arithmetic."""
    with mp.workdps(40):
        s, t = samples(FORMULAS[name], transform.input_scale, transform.input_shift), transform
        values = [t.output_scale * (f + t.output_shift) for f in s.value]
        before, here, squares = [mp.mpf(0)] * len(s.x), [mp.mpf(1)] * len(s.x), []
        for n in range(40):
            squares.append(mp.fsum(w * f * h for w, f, h in zip(s.w, values, here, strict=True)) ** 2)
            following = [(x * h - mp.sqrt(n) * b) / mp.sqrt(n + 1) for x, h, b in zip(s.x, here, before, strict=True)]
            before, here = here, following
        assert squares[-1] + squares[-2] < mp.mpf(10) ** -22
        return [a / mp.fsum(squares) for a in reversed(squares)]


class TestDeepChains:
    def test_a_thousand_shaped_layers(self):
        """Against 1,000 maps composed in 40-digit arithmetic from the Hermite coefficients, at 1e-12."""
        arch = qc.zoo.mlp(1000, activation="tanh")
        shaping = qc.dks(arch, 1.5)
        maps, c = network_maps(arch, shaping), np.linspace(-1, 1, 1000)
        values, series = maps.c(c), power_series("tanh", shaping["tanh"])
        for k in (0, 250, 500, 700, 950, 999):
            with mp.workdps(40):
                want = mp.mpf(float(c[k]))
                for _ in range(1000):
                    want = mp.polyval(series, want)
            assert values[k] == pytest.approx(float(want), abs=1e-12)
            assert float(maps.c(c[k])) == pytest.approx(float(want), abs=1e-12)

    def test_iterated(self):
        local = local_maps("relu")
        c, want = np.linspace(-1, 1, 30), np.linspace(-1, 1, 30)
        for n in range(1, 40):
            want = (np.sqrt((1 - want) * (1 + want)) + (math.pi - np.arccos(want)) * want) / math.pi
            if n in (1, 2, 7, 16, 39):
                np.testing.assert_allclose(local.iterated(c, n), want, rtol=0, atol=1e-13)
        for n in (0, -1, 1.5, True):
            with pytest.raises(ArgumentError):
                local.iterated(0.3, n)

    def test_a_composition_too_steep_to_interpolate(self):
        """Exploding maps become steps at c = 1: then one layer after the other."""
        act = qc.Activation.from_sympy("sin(3*u)")
        transform = qc.Transform(act, output_scale=1 / math.sqrt(float(local_maps(act).q())))
        local, c = local_maps(act, transform), np.linspace(0.9, 1, 40)
        want = c.copy()
        for _ in range(60):
            want = np.sinh(9 * want) / np.sinh(9)
        np.testing.assert_allclose(local.iterated(c, 60), want, rtol=0, atol=1e-12)


class TestMeasures:
    @pytest.mark.parametrize("name", ["tanh", "relu", "softplus", "gelu", "hardtanh"])
    def test_nl_and_na_are_distances(self, name):
        """From the definitions of 13.3 and 13.4: norms of phi - <phi, h1> h1 and phi' - <phi', h0> h0, by mpmath."""
        s = samples(FORMULAS[name], 1, 0)
        first = mp.fsum(w * f * x for w, f, x in zip(s.w, s.value, s.x, strict=True))
        moment = mp.fsum(w * f * f for w, f in zip(s.w, s.value, strict=True))
        gap = mp.fsum(w * (f - first * x) ** 2 for w, f, x in zip(s.w, s.value, s.x, strict=True))
        assert local_maps(name).nl() == pytest.approx(float(mp.sqrt(gap / moment)), abs=1e-13)
        mean = mp.fsum(w * g for w, g in zip(s.w, s.first, strict=True))
        size = mp.fsum(w * g * g for w, g in zip(s.w, s.first, strict=True))
        gap = mp.fsum(w * (g - mean) ** 2 for w, g in zip(s.w, s.first, strict=True))
        assert local_maps(name).na() == pytest.approx(float(mp.sqrt(gap / size)), abs=1e-13)

    @pytest.mark.parametrize("name", ["tanh", "relu", "softplus", "sin", "square", "identity"])
    @pytest.mark.parametrize("depth", [1, 7])
    def test_deviation(self, name, depth):
        """Against a grid of 20,001 points, and within the bounds of Theorem 13."""
        arch = qc.zoo.mlp(depth, activation=name)
        maps = network_maps(arch)
        q = 1.0
        found, c = maps.deviation(q), np.linspace(-1, 1, 20_001)
        assert isinstance(found, Deviation)
        assert found.value == pytest.approx(np.abs(maps.c(c) - c).max(), abs=1e-7)
        assert found.value >= np.abs(maps.c(c) - c).max() - 1e-12
        # C' of relu varies as the root of 1 - c: a grid in c has points 1e-4 from the ends.
        assert found.slope == pytest.approx(np.abs(maps.dc(c) - 1).max(), abs=2e-2)
        assert found.slope >= np.abs(maps.dc(c) - 1).max() - 1e-12
        low, high = found.value_bounds
        assert low - 1e-12 <= found.value <= high + 1e-12
        low, high = found.slope_bounds
        assert low - 1e-12 <= found.slope <= high + 1e-12
        assert float(abs(maps.c(found.value_at) - found.value_at)) == pytest.approx(found.value, abs=1e-12)
        assert set(found.to_dict()) >= {"value", "slope", "value_bounds", "slope_bounds"}

    def test_remark_14_bounds_with_c0_zero(self):
        arch = qc.zoo.mlp(20, activation="tanh")
        found = network_maps(arch, qc.dks(arch, 1.5)).deviation()
        # C(0) = 0 and C'(1) = 1.5: at most 2 (C'(1) - 1) = 1 and 3 (C'(1) - 1) = 1.5.
        assert found.value <= found.value_bounds[1] <= 1 + 1e-9
        assert found.slope <= found.slope_bounds[1] <= 1.5 + 1e-9

    def test_flatness(self):
        local = local_maps("softplus")
        c = np.array([-0.7, 1e-9, 0.0, 0.4, 1.0])
        # F(c) = sum over n >= 1 of b_n abs(c)^(n - 1).
        b = local.hermite(np.arange(60)) ** 2 / float(local.q())
        want = [float(np.sum(b[1:] * np.abs(x) ** np.arange(59))) for x in c]
        np.testing.assert_allclose(local.flatness(c), want, rtol=1e-9)
        assert np.shape(local.flatness(0.5)) == ()

    def test_degenerate_ends(self):
        b = qc.Builder("two inputs")
        x, y = b.input("x", q=1.0), b.input("y", q=2.0)
        arch = b.build([b.sum([b.affine(x), b.affine(y)], weights=[0.6, 0.8])])
        assert network_maps(arch).deviation().value == pytest.approx(0, abs=1e-15)


class TestEqualInputs:
    """One input against itself has c = 1 everywhere, exactly: C' of relu has a root's singularity there."""

    @pytest.mark.parametrize("activation", ["relu", "hardtanh"])
    def test_slope_at_one(self, activation):
        b = qc.Builder("biased")
        h = b.affine(b.input("x"), 8, weight_variance=0.3, bias_variance=0.7)
        for _ in range(30):
            skip = b.affine(b.activation(b.affine(h, 8, weight_variance=1.7), activation), 8)
            h = b.sum([skip, b.affine(h, 8)], weights=[0.6, 0.7])
        maps = network_maps(b.build([b.activation(h, activation)]))
        values = maps.propagate(1.0, 0.37, 0.37)
        assert all(float(value.c) == 1 for value in values.values())
        if activation == "relu":
            # relu's slope at 1 is 1: a chain of convex combinations with the biases' share at the start.
            assert float(maps.dc(1.0, 0.37, 0.37)) == pytest.approx(0.3 * 0.37 / (0.3 * 0.37 + 0.7), rel=1e-13)

    def test_overflow_names_the_node(self):
        b = qc.Builder("large")
        h = b.input("x")
        for _ in range(12):
            h = b.activation(b.affine(h, 8, weight_variance=2), "square")
        with pytest.raises(NumericalError, match=r"range of floating-point numbers|not finite"):
            network_maps(b.build([b.affine(h, 8, weight_variance=1e10)])).q()
