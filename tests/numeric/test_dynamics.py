"""Dynamics against closed forms and iteration at 40 digits; fixed points of Q and C maps; residual growth."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric import dynamics, growing, local_maps, q_fixed_points

MP = mpmath.mp.clone()
MP.dps = 40


def series(*b):
    """The C map sum b_i c^i and its derivative, on arrays and mpmath numbers."""
    return lambda c: sum(x * c**i for i, x in enumerate(b)), lambda c: sum(
        i * x * c ** max(i - 1, 0) for i, x in enumerate(b)
    )


def relu(c):
    return (MP.sqrt(max(1 - c * c, 0)) + (MP.pi - MP.acos(c)) * c) / MP.pi


def erf_map(q):
    return lambda c: MP.asin(2 * q * c / (1 + 2 * q)) / MP.asin(2 * q / (1 + 2 * q))


def iterated(function, c, n):
    c = MP.mpf(c)
    for _ in range(n):
        c = function(c)
    return c


# --- Classes and fixed points ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("b", "kind", "point", "slope", "parity", "fixed"),
    [
        ((0.4, 0.5, 0.1), "collapsing", 1.0, 0.7, None, (1,)),
        ((0.25, 0.5, 0.25), "edge", 1.0, 1.0, None, (1,)),
        ((0.2, 0.3, 0, 0.5), "exploding", None, None, None, None),
        ((0, 0.9, 0, 0.1), "exploding", 0.0, 0.9, "odd", (-1, 0, 1)),
        ((0, 0, 1), "exploding", 0.0, 0.0, "even", (0, 1)),
        ((0, 1), "identity", 1.0, 1.0, "odd", ()),
        ((0.3, 0.7), "affine", 1.0, 0.7, None, (1,)),
        ((1,), "constant", 1.0, 0.0, "even", (1,)),
    ],
)
def test_classes(b, kind, point, slope, parity, fixed):
    d = dynamics(series(*b))
    assert (d.kind, d.parity) == (kind, parity)
    c1 = sum(i * x for i, x in enumerate(b))
    assert d.slope_at_one == pytest.approx(c1, abs=1e-13)
    assert d.value_at_zero == pytest.approx(b[0], abs=1e-13)
    if point is None:
        roots = [r.real for r in np.roots([0.5, 0, 0.3 - 1, 0.2]) if abs(r.imag) < 1e-12 and -1 <= r.real <= 1 + 1e-9]
        point = min(roots)
        slope = 0.3 + 1.5 * point**2
        fixed = sorted(roots)
    assert d.fixed_point == pytest.approx(point, abs=1e-14)
    assert d.slope_at_fixed_point == pytest.approx(slope, abs=1e-13)
    assert [p.c for p in d.fixed_points] == pytest.approx(list(fixed), abs=1e-13)
    assert all(p.attracting == (abs(p.c - point) < 1e-9) for p in d.fixed_points)
    if kind in ("collapsing", "affine", "exploding"):
        assert d.depth_scale == pytest.approx(-1 / math.log(slope) if slope else 0.0)
    if kind in ("edge", "identity"):
        assert math.isinf(d.depth_scale)
    assert math.isinf(d.escape_scale) == (kind != "exploding")


@settings(max_examples=25, deadline=None)
@given(weights=st.lists(st.floats(0, 1), min_size=2, max_size=7), c=st.floats(-1, 1))
def test_random_maps(weights, c):
    total = sum(weights)
    if total < 1e-3:
        weights, total = [1.0, 1.0], 2.0
    b = [x / total for x in weights]
    function, derivative = series(*b)
    d = dynamics((lambda x: function(x) + 0 * x, lambda x: derivative(x) + 0 * x))
    if d.kind not in ("identity", "constant"):
        assert float(function(d.fixed_point)) == pytest.approx(d.fixed_point, abs=1e-12)
    exact = [MP.mpf(x) / MP.fsum(weights) for x in weights]
    x = MP.mpf(c)
    for n in range(9):
        # Rounding of the coefficients grows by at most C'(1) a step.
        noise = 1e-12 * max(1.0, d.slope_at_one) ** n
        assert float(d.iterate(c, n)) == pytest.approx(float(x), abs=noise)
        lower, upper = d.envelope(c, n)
        assert lower - noise - 1e-9 <= x <= upper + noise + 1e-9
        x = MP.polyval(exact[::-1], x)


def test_an_exploding_map_draws_everything_to_its_fixed_point():
    """Proposition 10, with erf at its own q fixed point: c* = 0 for all c in (-1, 1), but not for -1 and 1."""
    d = dynamics("erf")
    q = d.q_fixed_points.canonical
    assert 2 / math.pi * math.asin(2 * q.q / (1 + 2 * q.q)) == pytest.approx(q.q, rel=1e-12)
    assert 4 / (math.pi * math.sqrt(1 + 4 * q.q) * (1 + 2 * q.q)) == pytest.approx(q.slope, rel=1e-12)
    np.testing.assert_allclose(d.iterate([-1, -0.99, 0.3, 0.999, 1], 30_000), [-1, 0, 0, 0, 1], atol=1e-12)
    want = iterated(erf_map(MP.mpf(d.q)), "0.999", 400)
    assert float(d.iterate(0.999, 400)) == pytest.approx(float(want), abs=1e-12)


def test_selu():
    """DKS, section 26.3: q = 1 and c = 0 attract, C'(1) = 1.07157; at the fixed point C'(0) < 1."""
    d = dynamics("selu")
    assert (d.kind, d.q) == ("exploding", pytest.approx(1, abs=1e-12))
    assert d.fixed_point == pytest.approx(0, abs=1e-12)
    assert d.slope_at_one == pytest.approx(1.07157, abs=1e-5)
    assert d.q_fixed_points.canonical.stability == "attracting"


# --- Long runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 100, 3000])
@pytest.mark.parametrize("c", [-1.0, 0.0, 0.9])
def test_relu_keeps_relative_precision(c, n):
    want = 1 - iterated(relu, c, n)
    assert float(dynamics("relu").distance(c, n)) == pytest.approx(float(want), rel=3e-12)


def test_a_hundred_relu_layers():
    """DKS, section 12.1: [-1, 1] goes to [0.996, 1]."""
    assert float(dynamics("relu").iterate(-1.0, 100)) == pytest.approx(0.996, abs=5e-4)


def test_a_million_layers():
    """At the edge 1 - C^n = 4/n (1 - log(n)/n ...): the smooth map by 100,000 exact steps, relu by its power law."""
    d = dynamics(series(0.25, 0.5, 0.25))
    e = MP.mpf(1)
    for _ in range(100_000):
        e -= e * e / 4
    assert float(d.distance(0.0, 100_000)) == pytest.approx(float(e), rel=1e-10)
    law = d.edge_law
    assert (law.power, law.amplitude) == (1, pytest.approx(4, rel=1e-7))
    assert float(d.distance(0.0, 1_000_000)) * 1e6 == pytest.approx(4, rel=1e-4)
    kinked = dynamics("relu")
    assert math.isinf(kinked.curvature)
    assert (kinked.edge_law.power, kinked.edge_law.amplitude) == (2, pytest.approx(9 * math.pi**2 / 2, rel=1e-10))
    assert float(kinked.distance(-1.0, 1_000_000)) * 1e12 == pytest.approx(9 * math.pi**2 / 2, rel=1e-3)


def test_collapse_keeps_its_rate():
    """C = 0.4 + 0.5 c + 0.1 c^2: e -> 0.7 e - 0.1 e^2, to 1e-150 and beyond."""
    d, e = dynamics(series(0.4, 0.5, 0.1)), MP.mpf(2)
    for _ in range(1000):
        e = e * (MP.mpf(7) / 10 - e / 10)
    assert float(d.distance(-1.0, 1000)) == pytest.approx(float(e), rel=1e-11)
    assert float(d.distance(-1.0, 10**6)) == 0.0


def test_near_linear_shaped_maps_over_many_layers():
    """C = (1 - a) c + a c^3 with a = 1e-4 at 30,000 compositions, by exact steps at 40 digits."""
    a = MP.mpf(1) / 10_000
    d = dynamics((lambda c: c - 1e-4 * c + 1e-4 * c**3, lambda c: 1 - 1e-4 + 3e-4 * c**2))
    want = iterated(lambda c: c - a * c + a * c**3, "0.99", 30_000)
    assert float(d.iterate(0.99, 30_000)) == pytest.approx(float(want), abs=1e-11)
    assert (d.kind, d.fixed_point) == ("exploding", 0.0)


# --- How many layers -------------------------------------------------------------------------------------------------


def counted(function, eps, low, high, most=1000):
    """By following a dense set of points."""
    points = np.linspace(low, high, 2001)
    for n in range(most):
        if np.ptp(points) < eps:
            return n
        points = function(points)
    return math.inf


@pytest.mark.parametrize(
    ("b", "eps", "low", "high"),
    [
        ((0.4, 0.5, 0.1), 1e-6, -1, 1),
        ((0.25, 0.5, 0.25), 0.01, -1, 1),
        ((0.25, 0.25, 0.5), 0.3, -1, 1),
        ((0.1, 0.1, 0.8), 0.05, -0.9, 0.95),
        ((0, 0.9, 0, 0.1), 0.01, -0.9, 0.9),
        ((0, 0.9, 0, 0.1), 0.01, -1, 1),
        ((0, 0.9, 0, 0.1), 1.9, -1, 1),
        ((0, 0.9, 0, 0.1), 0.9, -1, 0.9),
        ((0, 0.9, 0, 0.1), 1.1, -1, 0.9),
        ((0, 0.99, 0, 0.01), 0.025, 0.97, 0.999),
        ((0, 0.99, 0, 0.01), 0.025, -0.999, -0.97),
        ((0.25, 0.5, 0.25), 0.01, -0.9, 0.9),
        ((0.0, 0.0, 1.0), 0.01, -0.9, 0.9),
        ((0.5, 0, 0.5), 0.45, -1, 1),
        ((0.5, 0, 0.5), 0.02, -1, 1),
        ((0.2, 0.3, 0, 0.5), 0.9, -1, 1),
        ((0.2, 0.3, 0, 0.5), 0.1, -1, 1),
        ((0.2, 0.3, 0, 0.5), 1e-3, 0.9, 0.99),
        ((0.2, 0.3, 0, 0.5), 0.2, 0.9, 1.0),
        ((0.2, 0.3, 0, 0.5), 0.29, 0.45, 0.75),
        ((0, 1), 0.5, -0.1, 0.1),
        ((0, 1), 0.1, -0.1, 0.1),
        ((1,), 0.1, -1, 1),
    ],
)
def test_layers_until(b, eps, low, high):
    function, derivative = series(*b)
    d = dynamics((lambda c: function(c) + 0 * c, lambda c: derivative(c) + 0 * c))
    assert d.layers_until(eps, low, high) == counted(lambda c: function(c) + 0 * c, eps, low, high)


def test_layers_until_deep():
    """relu: 1 - C^n(-1) < 1e-9 at about sqrt(9 pi^2 / 2e-9) = 210,743 layers; the count is where it passes."""
    d = dynamics("relu")
    n = d.layers_until(1e-9)
    assert n == pytest.approx(math.sqrt(4.5e9) * math.pi, rel=1e-3)
    assert float(d.distance(-1.0, n)) < 1e-9 <= float(d.distance(-1.0, n - 1))


def test_layers_until_of_nearly_linear_maps():
    """The length first grows, then falls below eps exactly at the count; ends left of 0 mirror those right of it."""
    d = dynamics("atan", q=0.01)
    for low, high in ((-0.9, 0.9), (0.9, 0.99), (-0.99, -0.9)):
        n = d.layers_until(1e-3, low, high)
        lengths = [float(np.ptp(d.iterate([low, high], k))) for k in (n - 1, n)]
        assert lengths[1] < 1e-3 <= lengths[0]
    assert math.isfinite(dynamics("tanh", q=1e-3).layers_until(1e-3, 0.9, 0.99))


# --- Envelopes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["relu", "selu", "erf", "softplus", "square", "identity", series(0.25, 0.5, 0.25)])
def test_envelopes_hold_and_close_in(source):
    d = dynamics(source)
    c = np.linspace(-1, 1, 41)
    for n in (0, 1, 2, 5, 40):
        lower, upper = d.envelope(c, n)
        here = d.iterate(c, n)
        assert (lower <= here + 1e-12).all()
        assert (here <= upper + 1e-12).all()
    lower, upper = d.envelope(c[c >= 0], 0)
    np.testing.assert_allclose(lower, c[c >= 0], atol=1e-12)
    np.testing.assert_allclose(upper, c[c >= 0], atol=1e-12)
    if d.kind in ("collapsing", "exploding"):
        lower, upper = d.envelope(np.array([0.0, 0.5, 0.9]), 30_000)
        np.testing.assert_allclose(upper - lower, 0, atol=1e-9)


# --- q ---------------------------------------------------------------------------------------------------------------


def test_q_fixed_points_of_known_maps():
    points = q_fixed_points(lambda q: q**2, lambda q: 2 * q).points
    assert [(p.q, p.slope, p.stability) for p in points] == [(pytest.approx(1), pytest.approx(2), "repelling")]
    # log Q(q) - log q = 0.1 sin(log q): crossings at exp(k pi), slopes 1 + 0.1 (-1)^k.
    ripple = lambda q: np.exp(0.1 * np.sin(np.log(q)))  # noqa: E731
    found = q_fixed_points(lambda q: q * ripple(q), lambda q: ripple(q) * (1 + 0.1 * np.cos(np.log(q))))
    np.testing.assert_allclose([p.q for p in found.points], np.exp(math.pi * np.array([-2, -1, 0, 1, 2])), rtol=1e-12)
    np.testing.assert_allclose([p.slope for p in found.points], [1.1, 0.9, 1.1, 0.9, 1.1], rtol=1e-12)
    assert found.canonical.q in (pytest.approx(math.exp(math.pi)), pytest.approx(math.exp(-math.pi)))
    # Attracting at exp(1 - pi), exp(1 + pi) and exp(1 - 3 pi): the first is nearest to 1.
    rate = lambda q: ripple(q / math.e) * (1 + 0.1 * np.cos(np.log(q) - 1))  # noqa: E731
    shifted = q_fixed_points(lambda q: q * ripple(q / math.e), rate)
    assert [p.stability for p in shifted.points].count("attracting") == 3
    assert shifted.canonical.q == pytest.approx(math.exp(1 - math.pi))
    # A touch at q = 2 only, two crossings within one step of the grid, and none.
    assert [p.q for p in q_fixed_points(lambda q: q + (q - 2) ** 2 / q, lambda q: 0 * q).points] == [
        pytest.approx(2, rel=1e-5)
    ]
    close = q_fixed_points(lambda q: q * np.exp(np.log(q / 2.1) * np.log(q / 2.11)), lambda q: 0 * q).points
    assert [p.q for p in close] == [pytest.approx(2.1, rel=1e-9), pytest.approx(2.11, rel=1e-9)]
    assert q_fixed_points(lambda q: q / 2, lambda q: q / q / 2).points == ()
    assert q_fixed_points(lambda q: q, lambda q: q / q).everywhere


def test_q_where_the_map_overflows():
    def q_map(q):
        if (q > 50).any():
            raise NumericalError("q", "too large", "use less")
        return 0.5 + 0.5 * q

    found = q_fixed_points(q_map, lambda q: 0.5 + 0 * q)
    assert found.searched[1] < 50
    assert [p.q for p in found.points] == [pytest.approx(1)]


def test_shaped_layers_keep_q_one():
    arch = qc.zoo.mlp(20, activation="softplus")
    shaping = qc.dks(arch, zeta=1.5)
    layer = dynamics(local_maps("softplus", shaping["softplus"]))
    assert layer.q == pytest.approx(1, rel=1e-6)
    assert layer.q_fixed_points.canonical.stability == "neutral"
    assert layer.slope_at_one == pytest.approx(1.5 ** (1 / 20), abs=1e-9)
    network = dynamics(arch, shaping=shaping, q=1.0)
    assert network.slope_at_one == pytest.approx(1.5, abs=1e-9)
    np.testing.assert_allclose(network.iterate([-0.5, 0.7], 3), layer.iterate([-0.5, 0.7], 60), atol=1e-10)
    assert network.q_slope == pytest.approx(1, abs=1e-9)


def test_fifty_relu_layers_as_one_step():
    """Rounding of 50 layers is cut off, the class stays that of a layer, and one step is 50."""
    d, layer = dynamics(qc.zoo.mlp(50, activation="relu"), q=1.0), dynamics("relu")
    assert d.kind == "edge"
    assert layer.error < d.error < 1e-11
    np.testing.assert_allclose(d.distance([-1, 0, 0.9], 20), layer.distance([-1, 0, 0.9], 1000), rtol=1e-9)
    assert d.edge_law.amplitude * 2500 == pytest.approx(layer.edge_law.amplitude, rel=1e-5)


def test_an_architecture_is_one_step():
    b = qc.Builder("layer")
    arch = b.build([b.activation(b.affine(b.input("x"), weight_variance=1.5, bias_variance=0.1), "erf")])
    d = dynamics(arch)
    q = d.q
    assert 2 / math.pi * math.asin(2 * (1.5 * q + 0.1) / (1 + 2 * (1.5 * q + 0.1))) == pytest.approx(q, rel=1e-11)
    c = 0.3
    for _ in range(5):
        c = float(qc.network_maps(arch).c(c, q, q))
    assert float(d.iterate(0.3, 5)) == pytest.approx(c, abs=1e-13)
    assert d.kind == "collapsing"


def test_q_values_that_drift_are_refused_unless_q_is_given():
    with pytest.raises(NumericalError, match="drift"):
        dynamics("tanh")
    d = dynamics("tanh", q=2.0)
    assert (d.q, d.kind) == (2.0, "exploding")
    assert dynamics("relu").q == 1.0


# --- Growing q values ------------------------------------------------------------------------------------------------


def residual_branch():
    b = qc.Builder("branch")
    h = b.input("x", channels=4)
    for k in range(3):
        h = b.layer_norm(h if k else b.affine(h))
        h = b.affine(b.activation(h, "relu"), 4, weight_variance=2.0)
    return b.build([h])


@pytest.mark.parametrize(("weight", "start", "want"), [(1.0, 2.0, "0.94691"), (2**-0.5, 1.0, "0.99344")])
def test_growing_q_of_appendix_j(weight, start, want):
    """ResNet-V2-152 with layer norms: C(-1) with q values that grow, and with constant ones."""
    maps, c = local_maps("relu"), np.array(-1.0)
    for blocks in (3, 8, 36, 3):
        inside = maps.c(c)
        c = (maps.c(maps.c(inside)) + inside) / 2
        growth = growing(
            residual_branch(), blocks - 1, c, q=start, residual_weight=weight, shortcut_weight=weight
        )  # fmt: skip
        c = growth.c[-1]
        assert growth.q[-1] == pytest.approx(start + blocks - 1 if weight == 1 else 1)
    assert f"{float(maps.c(c)):.5f}" == want


def test_growth_by_hand():
    """A linear branch keeps c; an erf branch by its closed forms; the slope by a difference."""
    linear = growing("identity", 5, [0.2, 0.9], residual_weight=0.5)
    np.testing.assert_allclose(linear.c, np.tile([0.2, 0.9], (6, 1)), atol=1e-14)
    np.testing.assert_allclose(linear.q, 1.25 ** np.arange(6))
    np.testing.assert_allclose(linear.slope, 1)
    found = growing("erf", 3, [0.5, 1 - 1e-6], q=2.0, residual_weight=[1.0, 0.5, 0.0], shortcut_weight=[0.5, 1.0, 3.0])
    q, c = 2.0, 0.5
    for w, s in ((1.0, 0.5), (0.5, 1.0), (0.0, 3.0)):
        kernel = w * w * 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q))
        total = w * w * 2 / math.pi * math.asin(2 * q / (1 + 2 * q)) + s * s * q
        q, c = total, (kernel + s * s * q * c) / total
    assert (found.q[-1], found.c[-1, 0]) == (pytest.approx(q), pytest.approx(c))
    assert (1 - found.c[-1, 1]) / 1e-6 == pytest.approx(found.slope[-1], rel=1e-4)
    assert growing("relu", 20, [-1.0, 1.0]).blocks_until(2.1) == 0
    assert growing("relu", 3, [-1.0, 1.0]).blocks_until(1e-3) is None


def test_a_branch_ends_in_an_affine_layer():
    b = qc.Builder()
    arch = b.build([b.activation(b.affine(b.input("x")), "tanh")])
    with pytest.raises(ArchitectureError, match="affine"):
        growing(arch, 2, 0.5)


# --- Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: dynamics(series(0.5, 0.6)),
        lambda: dynamics((lambda c: c, lambda c: 0.5 + 0 * c)),
        lambda: dynamics((lambda c: 1.5 * c - 0.5, lambda c: 1.5 + 0 * c)),
        lambda: dynamics("relu", q=-1.0),
        lambda: dynamics("relu").iterate(1.5, 1),
        lambda: dynamics("relu").iterate(0.5, -1),
        lambda: dynamics("relu").iterate(0.5, 1.5),
        lambda: dynamics("relu").layers_until(0.0),
        lambda: dynamics("relu").layers_until(0.1, 0.5, 0.2),
        lambda: q_fixed_points(lambda q: q, lambda q: q, (1.0, 0.5)),
        lambda: growing("relu", 2, 0.5, residual_weight=[1.0]),
        lambda: growing("relu", 1, 0.5, residual_weight=0.0, shortcut_weight=0.0),
        lambda: growing("relu", 2, [0.5]).blocks_until(-1),
    ],
)
def test_refusals(call):
    with pytest.raises(ArgumentError):
        call()


def test_plain_data():
    import json

    for source in ("relu", "erf", series(0.4, 0.5, 0.1), "identity"):
        assert json.loads(json.dumps(dynamics(source).to_dict()))["kind"] == dynamics(source).kind
    assert repr(dynamics("relu")) == "<Dynamics of relu at q = 1: edge, c* = 1, C'(1) = 1>"
    assert "2 blocks" in repr(growing("relu", 2, 0.5))
    json.dumps(growing("relu", 2, 0.5).to_dict())


def test_level_q_values_are_a_range_and_no_points():
    """E min(x, 1)^2 of hard tanh is below q everywhere, by less than rounding where q is small."""
    found = q_fixed_points(qc.local_maps("hardtanh").q, qc.local_maps("hardtanh").dq)
    assert found.points == ()
    assert not found.everywhere
    ((low, high),) = found.level
    assert low == 1e-4
    assert 0.015 < high < 0.02
    assert found.to_dict()["level"] == [[low, high]]
    with pytest.raises(NumericalError, match=r"no attracting fixed.*from 0.0001 to 0.0178 Q\(q\) = q to rounding"):
        dynamics("hardtanh")
    # One crossing beside a level range is still found.
    bent = q_fixed_points(lambda q: np.where(q < 1, q, q * np.sqrt(2 / q) ** (q > 1)), lambda q: 0.5 * np.ones_like(q))
    assert [point.q for point in bent.points] == pytest.approx([2.0])
    assert len(bent.level) == 1


@pytest.mark.parametrize("q", [1e-4, 0.02, 1.0])
def test_curvature_of_kinks_is_infinite_at_every_q(q):
    assert dynamics("hardtanh", q=q).curvature == math.inf
    assert dynamics(qc.zoo.mlp(2, activation="hardtanh"), q=q).curvature == math.inf
    assert math.isfinite(dynamics("tanh", q=q).curvature)
    assert dynamics("hardtanh", q=0.02).edge_law is None


def test_late_compositions():
    """Any number of them, and at the edge as exactly as a loop over the recursions."""
    relu = dynamics("relu")
    half = dynamics((lambda c: (1 + c * c) / 2, lambda c: c))
    e, f = 1.0, 1.0
    late = {}
    for n in range(1, 400_001):
        if e > 1e-6:  # sin t - t cos t = t^3/3 - t^5/30 + ...
            t = 2 * math.asin(math.sqrt(e / 2))
            bulge = t**3 / 3 - t**5 / 30 + t**7 / 840 if t < 0.05 else math.sin(t) - t * math.cos(t)
        else:
            t = math.sqrt(2 * e) * (1 + e / 12)
            bulge = t**3 / 3 - t**5 / 30
        e, f = e - bulge / math.pi, f - f * f / 2
        if n in (20_000, 400_000):
            late[n] = e, f
    for map_, k in ((relu, 0), (half, 1)):
        start = np.array([late[20_000][k], 0.0])
        assert map_._edge(start, 380_000) == pytest.approx([late[400_000][k], 0], rel=1e-8), map_
        assert float(map_.distance(0.0, 10**18) * 1e18 ** (2 - k)) == pytest.approx(map_.edge_law.amplitude, rel=1e-9)
        assert map_.distance([0.0, 1.0], 10**7)[1] == 0
    assert dynamics("tanh", q=1.0).iterate([-0.9, 0.5], 10**18) == pytest.approx([0, 0], abs=1e-13)
    assert dynamics("erf", q=1.0).iterate(1.0, 10**18) == 1


def test_the_identity_stays():
    same = dynamics((lambda c: c, lambda c: np.ones_like(c)))
    assert same.kind == "identity"
    for n in (0, 1000, 10**18):
        assert (same.iterate([0.0, 1e-20, -0.3], n) == [0.0, 1e-20, -0.3]).all()


def test_rounding_of_a_deep_shaped_network_is_no_value_at_zero():
    arch = qc.zoo.mlp(50)
    found = dynamics(arch, shaping=qc.dks(arch, 1.5))
    assert (found.value_at_zero, found.fixed_point, found.kind) == (0.0, 0.0, "exploding")


@pytest.mark.parametrize(
    ("act", "subject"),
    [
        (lambda: dynamics((1, 2, 3)), "source"),
        (lambda: dynamics((1, 2)), "source"),
        (lambda: dynamics("tanh", q_range=(1,)), "between"),
        (lambda: dynamics("relu", q="a"), "q"),
        (lambda: dynamics((lambda c: "text", lambda c: c)), "C"),
        (lambda: dynamics("relu").layers_until("a"), "eps"),
        (lambda: dynamics("relu").layers_until(0.1, low="a"), "low"),
        (lambda: dynamics("relu").iterate("a", 3), "c"),
        (lambda: dynamics("relu").envelope(0.1, "a"), "n"),
        (lambda: growing("relu", 2, [0.1], residual_weight="a"), "residual_weight"),
        (lambda: growing("relu", 0, []).blocks_until(0.1), "c"),
        (lambda: growing("relu", 1, [0.1], q="a"), "q"),
    ],
)
def test_values_of_other_types_are_refused(act, subject):
    with pytest.raises(ArgumentError, match=f"^{subject}: "):
        act()
