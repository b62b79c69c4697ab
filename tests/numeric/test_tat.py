"""Tailored activations: every condition at 32 digits, the bounds by enumeration, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.errors import ActivationError, ArchitectureError, ArgumentError, Infeasible
from qcmap.numeric import Transform, tat
from qcmap.numeric.maps._transform import curvature
from qcmap.numeric.shaping._moments import bends
from qcmap.numeric.shaping._solutions import STANDARD_BOX, solutions_of
from qcmap.numeric.shaping._systems import TAT
from qcmap.numeric.shaping._tat import solve_curvature
from tests import graphs, oracles
from tests.numeric.tailored_oracle import exact
from tests.oracles import MP, two_slopes_formula

CORNERS = ("hardswish", "hardtanh", "relu6", "selu")
LINEAR = ("identity", "leaky_relu", "relu")
SMOOTH = tuple(name for name in CATALOGUE if name not in (*CORNERS, *LINEAR))
SOLVED = tuple(name for name in SMOOTH if name != "square")
KAPPAS = (3e-5, 0.003, 0.03, 0.3, 1.0)


# --- smooth activations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLVED)
def test_all_conditions_by_the_oracle(name):
    for kappa in KAPPAS if name in ("tanh", "softplus") else (3e-5, 0.3):
        solution = solve_curvature(qc.activation(name), kappa)
        found = exact(name, **solution.transform.constants)
        assert set(solution.targets) == set(found)
        for key, value in found.items():
            residual = float(value - MP.mpf(solution.targets[key]))
            assert abs(residual) < 1e-12, (kappa, key)
            assert abs(residual - solution.residuals[key]) < 1e-13
        assert solution.transform.input_scale > 0
        assert solution.transform.output_scale > 0


def test_the_oracle_rejects_wrong_constants():
    constants = solve_curvature(qc.activation("softplus"), 0.01).transform.constants
    targets = {"Q(1)": 1, "Q'(1)": 1, "C'(1)": 1, "C''(1)": MP.mpf(0.01)}
    for key in constants:
        found = exact("softplus", **{**constants, key: constants[key] * (1 + 1e-10)})
        assert max(abs(found[name] - target) for name, target in targets.items()) > 1e-12


@pytest.mark.parametrize("name", ["tanh", "softplus", "gelu", "elu", "softsign"])
def test_every_solution_found_solves_and_the_canonical_is_first(name):
    act = qc.activation(name)
    first = solve_curvature(act, 0.01)
    found = solutions_of(TAT, act, 0.01, STANDARD_BOX)
    pairs = [(root.input_scale, root.input_shift) for root in found]
    assert [(first.transform.input_scale, first.transform.input_shift), *first.others] == pairs
    for root in found:
        shift = root.sign * math.sqrt(root.variance * root.excess) - root.mean
        scale = 1 / math.sqrt(root.variance * (1 + root.excess))
        values = exact(name, root.input_scale, root.input_shift, shift, scale)
        assert max(abs(values["Q(1)"] - 1), abs(values["Q'(1)"] - 1), abs(values["C''(1)"] - 0.01)) < 1e-11
        assert (round(abs(pairs[0][1]), 9), pairs[0][1]) <= (round(abs(root.input_shift), 9), root.input_shift)


@pytest.mark.parametrize("name", ["tanh", "swish", "bentid"])
@given(data=st.data())
@settings(max_examples=15)
def test_no_solution_is_missed_by_random_starts(name, data):
    """Newton's method by scipy on the four conditions, from random points, finds only listed solutions."""
    from scipy.optimize import root as find

    act, kappa = qc.activation(name), 0.05
    known = [(r.input_scale, r.input_shift) for r in solutions_of(TAT, act, kappa, STANDARD_BOX)]
    x, w = np.polynomial.hermite_e.hermegauss(160)
    w = w / math.sqrt(2 * math.pi)

    def residuals(point):
        a, b = math.exp(min(max(point[0], -9), 1.5)), point[1]
        u = a * x + b
        f, g, h = (np.asarray(part) for part in (act.value(u), act.first(u), act.second(u)))
        gg, gx = w @ (g * g), w @ (g * x)
        offset = (a * gg - w @ (f * g * x)) / gx
        return [
            math.log(max(a * a * (w @ (h * h)) / gg, 1e-300) / kappa),
            (w @ (f + offset) ** 2 / (a * a * gg) - 1) / kappa,
        ]

    start = data.draw(st.tuples(st.floats(-4, 0.5), st.floats(-4, 4)))
    with np.errstate(all="ignore"):
        result = find(residuals, start, tol=1e-10)
        settled = result.success and np.abs(residuals(result.x)).max() < 1e-7
    scale, shift = math.exp(min(result.x[0], 50)), float(result.x[1])
    # 160 Gauss-Hermite nodes resolve these functions up to scales of about 1.2.
    if settled and 1e-3 < scale < 1.2 and abs(shift) < 5.9:
        assert any((scale, shift) == pytest.approx(pair, rel=1e-3, abs=1e-3) for pair in known)


def test_small_kappa_tends_to_where_the_derivation_says():
    """(phi' phi''' / phi''^2)^2 -> 1/2 and a^2 phi''^2 -> kappa phi'^2; nearest, tanh has t^2 = 2 / (6 + 2 sqrt 2)."""
    solution = solve_curvature(qc.activation("tanh"), 1e-6)
    limit = math.sqrt(2 / (6 + 2 * math.sqrt(2)))
    assert math.tanh(solution.transform.input_shift) == pytest.approx(-limit, abs=1e-5)
    ratio = 2 * limit
    assert solution.transform.input_scale == pytest.approx(1e-3 / ratio, rel=1e-3)


@pytest.mark.parametrize("name", ["tanh", "cos", "softsign", "elu", "gelu"])
def test_jacobians(name):
    """Derivatives of the two new moments against differences of their values."""
    act = qc.activation(name)
    scale, shift = np.array([0.03, 0.4, 1.3]), np.array([-0.3, -0.7, 0.9])
    _, _, found = bends(act, scale, shift)
    h = 1e-5
    for pick in ("second", "log_curvature"):
        value, by_scale, by_shift = getattr(found, pick)
        up, down = (getattr(bends(act, scale * math.exp(s * h), shift)[2], pick)[0] for s in (1, -1))
        np.testing.assert_allclose(by_scale, (up - down) / (2 * h), rtol=1e-6, atol=1e-6)
        right, left = (getattr(bends(act, scale, shift + s * h)[2], pick)[0] for s in (1, -1))
        np.testing.assert_allclose(by_shift, (right - left) / (2 * h), rtol=1e-6, atol=1e-6)
        assert np.isfinite(value).all()


@pytest.mark.parametrize("name", CORNERS)
def test_corners_are_infeasible(name):
    with pytest.raises(Infeasible, match="slope jumps") as error:
        tat(qc.zoo.mlp(10, activation=name))
    assert error.value.condition == "C''(1)"
    assert error.value.achievable == ()
    kink = next(kink for kink in qc.activation(name).kinks if kink.slope)
    assert f"u = {kink.at:.6g}" in error.value.rule
    with pytest.raises(ActivationError, match="infinite"):
        curvature(Transform(qc.activation(name)))
    with pytest.raises(Infeasible, match="slope jumps"):
        solve_curvature(qc.activation("elu", alpha=1.5), 0.1)


@pytest.mark.parametrize("kappa", [0.001, 0.5, 0.9])
def test_square_is_infeasible(kappa):
    """C''(1) / C'(1) = a^2 / (a^2 + b^2), and the mean that makes C'(1) = 1 leaves Q'(1) = 1 +- kappa / sqrt 2."""
    with pytest.raises(Infeasible) as error:
        solve_curvature(qc.activation("square"), kappa)
    assert error.value.condition == "Q'(1)"
    want = [1 - kappa / math.sqrt(2), 1 + kappa / math.sqrt(2)]
    np.testing.assert_allclose([low for low, _ in error.value.achievable], want, rtol=1e-8)
    np.testing.assert_allclose([high for _, high in error.value.achievable], want, rtol=1e-8)


def test_square_never_bends_more_than_one():
    with pytest.raises(Infeasible) as error:
        solve_curvature(qc.activation("square"), 1.5)
    ((low, high),) = error.value.achievable
    assert error.value.condition == "C''(1)"
    assert 0 < low < 1e-6
    assert high == pytest.approx(1.0, abs=1e-9)


@pytest.mark.slow
def test_what_sine_can_reach():
    """The largest kappa is at the fold b = pi/2, where sin(a x + b) = cos(a x): both equations in closed form.

    E cos^2 = (1 + t^2) / 2 and E sin^2 = (1 - t^2) / 2 with t = exp(-a^2), so kappa = a^2 (1 + t^2) / (1 - t^2).
    """
    with pytest.raises(Infeasible) as error:
        solve_curvature(qc.activation("sin"), 2.0)
    ((_, most),) = error.value.achievable

    def gap(s):
        # M^2 = a^2 E phi'^2 - Var and Q'(1) C'(1)-normalized, with E[phi' x] from E cos(a x) = exp(-a^2 / 2).
        t, m = math.exp(-s), math.exp(-s / 2)
        energy, variance = s * (1 - t * t) / 2, (1 + t * t) / 2 - t
        second = -s * m  # a E[phi' x] = a^2 E[phi'']
        q = s * t * (1 - t) / variance - 1
        mean = math.sqrt(energy - variance)
        return variance * (1 + q) + mean * abs(second) - energy

    from scipy.optimize import brentq

    s = brentq(gap, 1.0, 2.0, xtol=1e-15)
    t = math.exp(-s)
    # The fold is a flat maximum, sampled at the edges of the table.
    assert most == pytest.approx(s * (1 + t * t) / (1 - t * t), abs=2e-3)
    assert most <= s * (1 + t * t) / (1 - t * t) + 1e-9


# --- leaky relu ------------------------------------------------------------------------------------------------------


def leaky_c(slope, c):
    """The C map from the arc-cosine kernel at 32 digits."""
    a, c = MP.mpf(slope), MP.mpf(c)
    angle = MP.acos(c)
    kernel = (MP.sin(angle) + (MP.pi - angle) * c) / (2 * MP.pi)
    return 2 / (1 + a * a) * ((1 + a * a) * kernel + 2 * a * (c / 2 - kernel))


@pytest.mark.parametrize("eta", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("depth", [5, 20, 50, 100, 1000])
def test_chains_reach_eta(depth, eta):
    arch = qc.zoo.mlp(depth, activation="leaky_relu")
    most = MP.zero
    for _ in range(depth):
        most = leaky_c(-1, most)
    if eta > most:
        with pytest.raises(Infeasible) as error:
            tat(arch, eta=eta)
        assert error.value.condition == "C(0)"
        assert error.value.achievable[0][1] == pytest.approx(float(most), abs=1e-12)
        return
    shaping = tat(arch, eta=eta)
    slope = shaping["leaky_relu"].activation.parameters["negative_slope"]
    c = MP.zero
    for _ in range(depth):
        c = leaky_c(slope, c)
    assert abs(c - MP.mpf(eta)) < 2e-13
    found = oracles.conditions(two_slopes_formula(slope), **shaping["leaky_relu"].constants)
    wanted = (1, 1, leaky_c(slope, 0) ** 1, 1)
    assert max(abs(value - want) for value, want in zip(found, wanted, strict=True)) < 1e-14
    assert set(shaping.solutions["leaky_relu"].targets) == {"Q(1)", "Q'(1)", "C(0)", "C'(1)"}
    assert abs(leaky_c(slope, 0) - MP.mpf(shaping.solutions["leaky_relu"].targets["C(0)"])) < 1e-15


@pytest.mark.parametrize("eta", [0.5, 0.8])
def test_eta_is_the_largest_over_all_subnetworks(eta):
    """By enumeration of all subnetworks of a small residual network."""
    arch = qc.zoo.wide_resnet(10, residual_weight=math.sqrt(0.5), activation="leaky_relu")
    shaping = tat(arch, eta=eta)
    slope = shaping["leaky_relu"].activation.parameters["negative_slope"]
    values = []
    for source, target in graphs.subnetworks(arch):
        inside = arch.subnetwork(source, target)
        values.append(float(qc.network_maps(inside, shaping).c(0.0)))
    assert max(values) == pytest.approx(eta, abs=1e-12)
    assert float(qc.local_maps("leaky_relu", shaping["leaky_relu"]).c(0.3)) == pytest.approx(
        float(leaky_c(slope, 0.3)), abs=1e-14
    )


def test_relu_and_identity_have_no_slope_to_choose():
    with pytest.raises(Infeasible, match="leaky_relu") as error:
        tat(qc.zoo.mlp(3, activation="relu"), eta=0.9)
    c = leaky_c(0, leaky_c(0, leaky_c(0, 0)))
    assert error.value.achievable[0] == pytest.approx((float(c), float(c)), abs=1e-13)
    with pytest.raises(Infeasible) as error:
        tat(qc.zoo.mlp(3, activation="identity"))
    assert error.value.achievable == ((0.0, 0.0),)


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.03, 0.3, 1.0])
def test_tau_is_the_largest_over_all_subnetworks(tau):
    """The curvature of a subnetwork is kappa times the derivative of its slope polynomial at 1, path by path."""
    arch = qc.zoo.wide_resnet(10, residual_weight=math.sqrt(0.3), activation="tanh")
    kappa = tat(arch, tau=tau).solutions["tanh"].targets["C''(1)"]
    largest = max(
        sum(share * degree for degree, share in graphs.slope_by_paths(arch, *pair).items())
        for pair in graphs.subnetworks(arch)
    )
    assert kappa * float(largest) == pytest.approx(tau, rel=1e-13)


def test_a_shaped_network_bends_by_tau():
    """C_f near 1 is c + C_f''(1) (1 - c)^2 / 2 + ...; the largest over this chain is the whole."""
    arch, tau = qc.zoo.mlp(20, activation="gelu"), 0.3
    maps = qc.network_maps(arch, tat(arch, tau=tau))
    gap = 1e-2
    c = np.array([1 - gap, 1 - gap / 2])
    bend = (maps.c(c) - c) / (c - 1) ** 2 * 2
    # Richardson: the next term is of order gap.
    assert 2 * bend[1] - bend[0] == pytest.approx(tau, rel=2e-3)
    assert float(maps.q(1.0)) == pytest.approx(1, abs=1e-12)


def mixed():
    b = qc.Builder("mixed")
    x = b.input("x")
    for name in ("tanh", "leaky_relu", "softplus", "leaky_relu"):
        x = b.activation(b.affine(x), name)
    return b.build([x])


def test_mixed_networks_take_both_bounds():
    arch = mixed()
    shaping = tat(arch, tau=0.3, eta=0.5)
    assert shaping.solutions["tanh"].targets["C''(1)"] == pytest.approx(0.15, rel=1e-14)
    assert set(shaping.solutions) == {"tanh", "leaky_relu", "softplus"}
    assert float(qc.network_maps(arch, shaping).c(0.0)) == pytest.approx(0.5, abs=1e-12)
    assert (shaping.method, shaping.tau, shaping.eta, shaping.psi, shaping.zeta) == ("tat", 0.3, 0.5, None, None)
    with pytest.raises(Infeasible) as error:
        tat(arch, tau=0.3, eta=0.999)
    ((low, high),) = error.value.achievable
    assert low < 0.5 < high < 0.999
    with pytest.raises(ArgumentError, match="give eta too"):
        tat(arch, tau=0.3)
    with pytest.raises(ArgumentError, match="give tau too"):
        tat(arch, eta=0.3)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, "0.3"])
def test_bounds_out_of_range(bad):
    for name, act in (("tau", "tanh"), ("eta", "leaky_relu")):
        with pytest.raises(ArgumentError) as error:
            tat(qc.zoo.mlp(4, activation=act), **{name: bad})
        assert error.value.subject == name
    with pytest.raises(ArgumentError):
        solve_curvature(qc.activation("tanh"), 1e-9)


def test_bounds_that_nothing_needs():
    with pytest.raises(ArgumentError, match="no activation"):
        tat(qc.zoo.mlp(4, activation="tanh"), eta=0.9)
    with pytest.raises(ArgumentError, match="no activation"):
        tat(qc.zoo.mlp(4, activation="leaky_relu"), tau=0.3)
    b = qc.Builder()
    with pytest.raises(ArchitectureError):
        tat(b.build([b.affine(b.input())]))
    b = qc.Builder()
    h = b.activation(b.scale(b.affine(b.input("x")), 2.0, name="twice"), "tanh")
    with pytest.raises(ArchitectureError, match="twice"):
        tat(b.build([h]))


def test_plain_data():
    import json

    data = json.loads(json.dumps(tat(qc.zoo.mlp(10, activation="swish")).to_dict()))
    assert (data["method"], data["tau"], data["eta"]) == ("tat", 0.3, None)
    assert data["activations"]["swish"]["targets"]["C''(1)"] == pytest.approx(0.03)
    assert "tau=0.3" in repr(tat(qc.zoo.mlp(10, activation="swish")))


@pytest.mark.parametrize("depth", [5, 300])
@pytest.mark.parametrize("tau", [0.03, 3.0])
def test_every_smooth_activation_is_solved_or_refused(depth, tau):
    for name in SMOOTH:
        arch = qc.zoo.mlp(depth, activation=name)
        if name == "square":
            with pytest.raises(Infeasible):
                tat(arch, tau=tau)
        else:
            assert max(map(abs, tat(arch, tau=tau).residuals()[name].values())) < 1e-12


def test_on_the_command_line():
    import json

    from click.testing import CliRunner

    from qcmap.cli import main

    def run(*arguments):
        return CliRunner().invoke(main, ["tat", *arguments])

    data = json.loads(run("mlp:depth=50,activation=leaky_relu", "--eta", "0.8", "--json").output)
    assert (data["method"], data["eta"]) == ("tat", 0.8)
    text = run("mlp:depth=50", "--activation", "softplus")
    assert "tau = 0.3" in text.output
    assert "Q(1), Q'(1), C'(1), C''(1) met" in text.output
    refused = run("mlp:depth=5,activation=relu")
    assert (refused.exit_code, len(refused.stderr.strip().splitlines())) == (1, 1)
    assert "leaky_relu" in refused.stderr


def test_the_end_on_the_slanted_side_of_the_box():
    """The largest kappa of tanh is where a branch leaves the box, at abs(shift) = 6 + 4 scale between the rows."""
    act = qc.activation("tanh")
    with pytest.raises(Infeasible) as error:
        solve_curvature(act, 5000.0)
    ((low, high),) = error.value.achievable
    assert low == 0
    transform = solve_curvature(act, high * (1 - 1e-6)).transform
    assert abs(transform.input_shift) == pytest.approx(6 + 4 * transform.input_scale, rel=1e-4)
    with pytest.raises(Infeasible):
        solve_curvature(act, high * (1 + 1e-6))


@pytest.mark.parametrize(("name", "bound"), [("tanh", {"tau": 0.3}), ("leaky_relu", {"eta": 0.4})])
@pytest.mark.parametrize("joined", [False, True])
def test_a_layer_norm_of_a_mean_is_refused(name, bound, joined):
    """C(0) > 0 after shaping, and a layer norm makes c into (c - C(0)) / (1 - C(0)); under DKS C(0) = 0."""
    for affine in (True, False):
        b = qc.Builder()
        x = b.affine(b.input("x"), 8)
        y = b.activation(x, name)
        if joined:
            y = b.concat([y, b.affine(x, 8)])
        y = b.layer_norm(b.affine(y, 8) if affine else y, name="norm")
        arch = b.build([b.affine(b.activation(b.affine(y), name))])
        if affine:
            tat(arch, **bound)
            continue
        with pytest.raises(ArchitectureError, match="channel mean") as error:
            tat(arch, **bound)
        assert error.value.subject == "norm"
    assert qc.dks(arch, 1.2).psi > 1


def test_the_identity_has_no_eta():
    with pytest.raises(Infeasible, match="linear"):
        tat(qc.zoo.mlp(5, activation="identity"))


def test_fast_growth_makes_no_warnings():
    with pytest.raises(Infeasible):
        tat(qc.zoo.mlp(5, activation=qc.Activation.from_sympy("exp(u)", name="exp")), tau=0.3)
