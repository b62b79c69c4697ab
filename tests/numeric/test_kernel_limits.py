"""Degenerate tangent kernels and Theorem 27 against deep chains; the statements themselves are dks-40 and dks-41."""

import math

import numpy as np
import pytest

import qcmap as qc
from qcmap.activations import activation
from qcmap.errors import ArgumentError
from qcmap.numeric import (
    Transform,
    condition_number,
    degenerate_kernel,
    edge_alpha_bar,
    edge_alphas,
    local_maps,
    ntk,
    tangent_deviation,
    theorem_27,
)
from tests.numeric.test_tangent import chain


def thetas(c, slope_of, step, depth):
    """Theta_1 to Theta_D at c for D - 1 copies of a C map and a linear layer."""
    cs, slopes = [c], []
    for _ in range(depth - 1):
        slopes.append(slope_of(cs[-1]))
        cs.append(step(cs[-1]))
    return np.array(cs) * np.append(np.cumprod(slopes[::-1])[::-1], 1.0)


def relu(c):
    return (math.sqrt(max(0.0, 1 - c * c)) + (math.pi - math.acos(c)) * c) / math.pi


def test_relu_edge():
    depth = 20_000
    found = thetas(0.2, lambda c: 1 - math.acos(min(1.0, c)) / math.pi, relu, depth)
    predicted = degenerate_kernel(depth, 1.0, power=1.5)
    assert predicted.case == "edge"
    assert np.abs(found - predicted.layer_off_diagonals).max() < 1e-2
    assert found.mean() == pytest.approx(0.25, abs=2e-3)
    assert predicted.off_diagonal == depth / 4
    assert predicted.diagonal == depth
    # The same by the library: a chain of relu layers at weight variance 2.
    arch = chain(*["relu"] * 400, weights=2.0)
    kernel = ntk(arch, 0.2, 1.0, 1.0)
    own = thetas(0.2, lambda c: 1 - math.acos(min(1.0, c)) / math.pi, relu, 401)
    names = [f"affine{k}" for k in range(1, 401)]
    assert [float(kernel.terms[name]) for name in names] == pytest.approx(own[:-1], rel=1e-9)


def test_smooth_edge():
    """f = (x^2 - 1 + sqrt(2)) / 2 has the C map (1 + c^2) / 2, with C'(1) = 1 and C''(1) = 1."""
    maps = local_maps("square", Transform(activation("square"), output_shift=math.sqrt(2) - 1, output_scale=0.5))
    assert float(maps.c(0.4)) == pytest.approx((1 + 0.4**2) / 2, rel=1e-12)
    depth = 20_000
    found = thetas(-0.5, lambda c: c, lambda c: (1 + c * c) / 2, depth)
    assert np.abs(found - edge_alphas(depth)).max() < 5e-3
    assert found.mean() == pytest.approx(edge_alpha_bar(), abs=1e-3)


def test_powers():
    assert edge_alpha_bar(1.5) == 0.25
    assert edge_alpha_bar(2) == pytest.approx(1 / 3)
    assert edge_alphas(4, 2) == pytest.approx([1 / 16, 1 / 4, 9 / 16, 1])
    assert edge_alphas(100_000, 1.5).mean() == pytest.approx(edge_alpha_bar(1.5), rel=1e-4)
    depth, p, k = 40_000, 3.0, 0.2  # beyond the paper: C(c) = c + k (1 - c)^3
    found = thetas(0.5, lambda c: 1 - p * k * (1 - c) ** 2, lambda c: c + k * (1 - c) ** 3, depth)
    assert found.mean() == pytest.approx(edge_alpha_bar(p), abs=0.01)


def test_collapsing_and_exploding():
    found = thetas(0.3, lambda c: 0.4 + 0.8 * c * 0.5, lambda c: 0.4 + 0.4 * c + 0.2 * c * c, 300)
    predicted = degenerate_kernel(300, 0.8)
    assert found.sum() == pytest.approx(predicted.off_diagonal, rel=1e-12)
    assert predicted.diagonal == pytest.approx(5, rel=1e-12)
    assert predicted.condition_number(10) > 1e15
    assert condition_number(predicted.matrix(10)) == math.inf
    # C = 0.1 + 0.2 c + 0.7 c^3: C'(1) = 2.3, the fixed point below 1 by its cubic.
    roots = np.roots([0.7, 0, -0.8, 0.1])
    star = float(min(r.real for r in roots if 0 <= r.real < 0.99))
    slope = 0.2 + 2.1 * star**2
    found = thetas(0.6, lambda c: 0.2 + 2.1 * c * c, lambda c: 0.1 + 0.2 * c + 0.7 * c**3, 60)
    predicted = degenerate_kernel(60, 2.3, fixed_point=star, fixed_point_slope=slope)
    assert found.sum() == pytest.approx(predicted.off_diagonal, rel=1e-9)
    assert predicted.off_diagonal == pytest.approx(star / (1 - slope))
    assert found[-20:] == pytest.approx(predicted.layer_off_diagonals[-20:], rel=1e-9)
    assert predicted.diagonal == pytest.approx((1 - 2.3**60) / (1 - 2.3), rel=1e-12)
    values = np.linalg.eigvalsh(degenerate_kernel(3, 2.3, fixed_point=star, fixed_point_slope=slope).matrix(5))
    assert degenerate_kernel(3, 2.3, fixed_point=star, fixed_point_slope=slope).condition_number(5) == pytest.approx(
        values[-1] / values[0], rel=1e-12
    )


@pytest.mark.parametrize("name", ["tanh", "softplus", "relu"])
@pytest.mark.parametrize("zeta", [1.01, 1.3, 3.0])
def test_shaped_chains_stay_near_their_input(name, zeta):
    arch = qc.zoo.mlp(6, activation=name)
    c = np.cos(np.linspace(0, math.pi, 41))
    kernel = ntk(arch, c, 1.0, 1.0, shaping=qc.dks(arch, zeta))
    for term in kernel.terms.values():
        assert np.abs(term - c).max() <= tangent_deviation(zeta) + 1e-9


def test_the_sharper_bound_is_reached():
    b = 0.3
    found = thetas(-1.0, lambda c: 1 - b + 2 * b * c, lambda c: (1 - b) * c + b * c * c, 2)
    assert found[0] + 1 == pytest.approx(tangent_deviation(1 + b), rel=1e-12)
    assert theorem_27(1.5) == 5.5
    assert tangent_deviation(1.5) == 1.5


def test_result_and_refusals():
    kernel = degenerate_kernel(50, 1.0, power=1.5)
    assert repr(kernel) == "<edge kernel at depth 50: 50 I + 12.5 (E - I)>"
    plain = kernel.to_dict()
    assert plain["case"] == "edge"
    assert len(plain["layer_diagonals"]) == 50
    assert kernel.condition_number(1) == pytest.approx(50 / 37.5)
    for match, call in {
        "depth": lambda: degenerate_kernel(0, 1.0),
        "depth: .*at least 1": lambda: edge_alphas(0),
        r"C'\(1\) is finite": lambda: degenerate_kernel(5, math.nan),
        "fixed_point: for": lambda: degenerate_kernel(5, 1.2),
        "fixed_point_slope": lambda: degenerate_kernel(5, 1.2, fixed_point=0.3, fixed_point_slope=1.0),
        "leave it out": lambda: degenerate_kernel(5, 0.9, fixed_point=0.3),
        "power": lambda: edge_alpha_bar(1.0),
        "zeta": lambda: theorem_27(0.9),
        "beyond all floats": lambda: degenerate_kernel(5000, 3.0, fixed_point=0.1, fixed_point_slope=0.2),
    }.items():
        with pytest.raises(ArgumentError, match=match):
            call()


@pytest.mark.parametrize(
    "act",
    [
        lambda: degenerate_kernel("a", 1.0),
        lambda: degenerate_kernel(2.5, 1.0),
        lambda: degenerate_kernel(2, "a"),
        lambda: degenerate_kernel(3, 1.0).matrix(-1),
        lambda: theorem_27("a"),
        lambda: edge_alphas(True),
        lambda: edge_alphas(3, "a"),
    ],
)
def test_values_of_other_types_are_refused(act):
    with pytest.raises(ArgumentError):
        act()
