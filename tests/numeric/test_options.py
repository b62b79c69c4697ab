"""DKS with the options of appendix N and with a psi of its own for each layer."""

import itertools
import math
import re

import numpy as np
import pytest

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.errors import ActivationError, ArchitectureError, ArgumentError, Infeasible
from qcmap.numeric import Transform, conditions, network_maps, solve, unit_q
from qcmap.numeric.shaping._moments import slopes
from tests import graphs, oracles
from tests.oracles import FORMULAS, MP, formula_of, two_slopes_formula

PSI = 1.02


def exact(solution):
    return dict(
        zip(
            ("Q(1)", "Q'(1)", "C(0)", "C'(1)"),
            oracles.conditions(formula_of(solution.transform.activation), **solution.transform.constants),
            strict=True,
        )
    )


def met(solution):
    """The conditions hold at 32 digits, and the reported residuals are the true ones."""
    found = exact(solution)
    for key, target in solution.targets.items():
        residual = float(found[key] - MP.mpf(target))
        assert abs(residual) < 1e-12, key
        assert abs(residual - solution.residuals[key]) < 1e-13
    assert abs(solution.q_slope - float(found["Q'(1)"])) < 1e-13
    return found


# --- a target of Q'(1) other than 1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("q_slope", [0.9, 0.99, 1.003, 1.02])
@pytest.mark.parametrize("name", ["tanh", "softplus", "gelu", "selu", "bentid", "softsign", "sigmoid", "leaky_relu"])
def test_another_slope_of_the_q_map(name, q_slope):
    solution = solve(qc.activation(name), PSI, q_slope)
    assert solution.targets == {"Q(1)": 1.0, "Q'(1)": q_slope, "C(0)": 0.0, "C'(1)": PSI}
    met(solution)


def test_all_solutions_of_another_slope_solve():
    act = qc.activation("swish")
    solution = solve(act, PSI, 0.99)
    assert len(solution.others) == 2
    for scale, shift in solution.others:
        dq, dc1, *_ = oracles.eliminated(FORMULAS["swish"], scale, shift)
        assert abs(dq - MP.mpf(0.99)) < 1e-10
        assert abs(dc1 - MP.mpf(PSI)) < 1e-10


def test_a_slope_far_from_one_is_found_too():
    """R = (Q'(1) - 1) / (psi - 1) is -25 here: steep cells of the table, near the smallest psi that reaches it."""
    met(solve(qc.activation("tanh"), 1.004, 0.9))


def test_a_slope_out_of_reach_names_the_interval():
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("sin"), PSI, 1.02)
    ((low, high),) = error.value.achievable
    assert error.value.condition == "C'(1)"
    assert PSI < low < high
    # Independent: a denser scan of the curve Q'(1) = 1.02 by closed moments of the sine.
    values = []
    for a in np.geomspace(0.05, 3, 400):
        t, b = math.exp(-a * a), np.linspace(0, math.pi / 2, 4001)
        variance = (1 - t * t * np.cos(2 * b)) / 2 - t * np.sin(b) ** 2
        # Q'(1) = (a / 2) d Var / d a / Var, with d t / d a = -2 a t.
        dq = a * a * t * (t * np.cos(2 * b) + np.sin(b) ** 2) / variance
        dc = a * a * (1 + t * t * np.cos(2 * b)) / 2 / variance
        values += list(dc[:-1][np.diff(np.sign(dq - 1.02)) != 0])
    assert min(values) > PSI
    assert low < min(values) + 1e-3


def test_the_slope_of_relu_is_what_it_is():
    assert set(solve(qc.activation("relu"), PSI, 1.0).targets) == {"Q(1)", "C(0)", "C'(1)"}
    own = solve(qc.activation("relu"), PSI).q_slope
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("relu"), PSI, 0.99)
    assert error.value.achievable[0] == pytest.approx((own, own), abs=1e-12)
    assert "Q'(1)" in solve(qc.activation("relu"), PSI, own).targets


def test_square_has_the_slope_psi():
    """Q'(1) = C'(1) for every transform of the square."""
    assert solve(qc.activation("square"), PSI, PSI).conditions_met == 4
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("square"), PSI, 1.01)
    assert error.value.condition == "C'(1)"
    np.testing.assert_allclose(error.value.achievable, [(1.01, 1.01)], rtol=1e-9)


# --- N.3: without the condition on Q'(1) -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in ("identity", "cos", "relu6", "selu")])
def test_dropped(name):
    solution = qc.dks(qc.zoo.mlp(30, activation=name), 1.5, q_slope=None).solutions[name]
    assert set(solution.targets) == {"Q(1)", "C(0)", "C'(1)"}
    met(solution)
    if qc.activation(name).homogeneity is None:
        assert solution.transform.input_shift == 0
    else:
        assert solution.transform.input_shift == 1


def test_leaky_relu_keeps_its_slope_when_the_condition_is_dropped():
    act = qc.activation("leaky_relu", negative_slope=0.2)
    assert solve(act, 1.01, None).transform.activation is act


def test_square_in_closed_form():
    """With t = shift / scale, C'(1) = (4 + 4 t^2) / (2 + 4 t^2)."""
    transform = solve(qc.activation("square"), 1.2, None).transform
    assert transform.input_shift / transform.input_scale == pytest.approx(math.sqrt(0.8 / 0.4), rel=1e-13)


def test_what_shift_zero_can_reach():
    """Even functions have C'(1) >= 2 there; selu, with its kink there, stays above 1.03."""
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("cos"), PSI, None)
    assert error.value.condition == "C'(1)"
    assert error.value.achievable[0][0] == pytest.approx(2, abs=1e-6)
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("selu"), PSI, None)
    values = [float(oracles.eliminated(FORMULAS["selu"], a, 0)[1]) for a in np.geomspace(1e-3, 3, 40)]
    assert min(values) - 1e-3 < error.value.achievable[0][0] < min(values)
    assert error.value.achievable[0][0] > PSI


# --- N.4: Q'(1) minimised --------------------------------------------------------------------------------------------


def lowest_on_a_grid(name, psi, high=3.0):
    """The smallest Q'(1) with C'(1) = psi by brute force: for each of 301 shifts every scale that crosses psi."""
    act, best = qc.activation(name), math.inf
    logs = np.linspace(math.log(1e-3), math.log(high), 240)
    for shift in np.linspace(-6, 6, 301):
        values, _ = slopes(act, np.exp(logs), np.full(logs.shape, shift), order=12)
        gap = values.c_excess - (psi - 1)
        with np.errstate(invalid="ignore"):
            crossed = np.flatnonzero(gap[:-1] * gap[1:] <= 0)
        if crossed.size:
            share = gap[crossed] / (gap[crossed] - gap[crossed + 1])
            slope = values.q_excess[crossed] + share * (values.q_excess[crossed + 1] - values.q_excess[crossed])
            best = min(best, 1 + float(slope.min()))
    return best


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "gelu", "selu", "hardswish", "softplus"])
@pytest.mark.parametrize("psi", [1.004, 1.1])
def test_minimised_is_global_in_the_box(name, psi):
    solution = solve(qc.activation(name), psi, "minimise")
    met(solution)
    grid = lowest_on_a_grid(name, psi)
    # The grid's values are off by its spacing, and can only be higher by what lies between its shifts.
    assert solution.q_slope < grid + 2e-3 * (psi - 1)
    assert solution.q_slope == pytest.approx(grid, abs=0.05 * (psi - 1) + 2e-3)
    assert set(solution.targets) == {"Q(1)", "C(0)", "C'(1)"}
    edge = abs(abs(solution.transform.input_shift) - 6) < 1e-6 or abs(solution.transform.input_scale - 3) < 1e-6
    assert bool(solution.warnings) == edge


def test_the_grid_sees_what_is_higher():
    solution = solve(qc.activation("tanh"), 1.1)
    assert solution.q_slope > lowest_on_a_grid("tanh", 1.1) + 0.05


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "erf", "sin"])
def test_odd_functions_are_lowest_where_they_are_odd(name):
    """The odd coefficients alone: C'(1) = 1 + 2 a_3^2 + ... is reached with the largest a_3 a_1 < 0."""
    for psi in (1.001, 1.05):
        low, dropped = (solve(qc.activation(name), psi, option) for option in ("minimise", None))
        assert low.transform.input_shift == pytest.approx(0, abs=1e-9)
        assert low.q_slope == pytest.approx(dropped.q_slope, abs=1e-11)
        assert low.transform.input_scale == pytest.approx(dropped.transform.input_scale, rel=1e-9)


@pytest.mark.parametrize("psi", [1.01, 1.2])
def test_leaky_relu_minimised(psi):
    """Against a dense grid of slopes and shifts in closed form by the oracle's moments."""
    solution = solve(qc.activation("leaky_relu"), psi, "minimise")
    met(solution)
    slope = solution.transform.activation.parameters["negative_slope"]
    best = solution.q_slope
    t = solution.transform.input_shift / solution.transform.input_scale
    for other in np.linspace(-0.99, 0.98, 60):
        for shift in np.linspace(-4, 4, 33):
            act = qc.activation("leaky_relu", negative_slope=float(other))
            found = conditions(Transform(act, 1.0, float(shift)))
            variance = found.q * (1 - found.c0)
            c1 = found.dc1 * found.q / variance
            if abs(c1 - psi) < 0.02 * (psi - 1):
                mean = math.copysign(math.sqrt(found.c0 * found.q), 1)
                moved = conditions(Transform(act, 1.0, float(shift), -_mean(other, shift), 1 / math.sqrt(variance)))
                assert moved.dq > best - 0.05 * (psi - 1), (other, shift, mean)
    # Stationary: neighbours on the curve are higher.
    dq, dc1, *_ = oracles.eliminated(two_slopes_formula(slope), 1, t)
    assert abs(dc1 - MP.mpf(psi)) < 1e-12
    assert float(dq) == pytest.approx(best, abs=1e-13)


def _mean(slope, shift):
    density, mass = (float(f(MP.mpf(float(shift)))) for f in (MP.npdf, MP.ncdf))
    return slope * shift + (1 - slope) * (density + shift * mass)


# --- N.2: Q(1) = 1 alone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGUE)
def test_unit_q(name):
    shaping = unit_q(qc.zoo.mlp(7, activation=name))
    solution = shaping.solutions[name]
    assert solution.transform.constants | {"output_scale": 0} == {
        "input_scale": 1, "input_shift": 0, "output_shift": 0, "output_scale": 0,
    }  # fmt: skip
    found = oracles.conditions(FORMULAS[name], **solution.transform.constants)
    assert abs(found[0] - 1) < 1e-13
    assert solution.targets == {"Q(1)": 1.0}
    assert (shaping.method, shaping.psi, shaping.zeta, solution.psi) == ("unit_q", None, None, None)
    assert float(network_maps(shaping.architecture, shaping).q(1.0)) == pytest.approx(1, abs=1e-11)


# --- psi by layer ----------------------------------------------------------------------------------------------------


def network():
    b = qc.Builder("net")
    x = b.input("x")
    x = b.activation(b.affine(x), "tanh", name="first")
    y = b.activation(b.affine(x), "gelu", name="second")
    y = b.activation(b.affine(y), "tanh", name="third")
    z = b.sum([b.affine(y), b.affine(x)], [0.6, 0.8], name="add")
    return b.build([b.activation(b.affine(z), "gelu", name="last")])


def test_psi_by_activation_and_node():
    arch = network()
    shaping = qc.dks(arch, psi={"tanh": 1.1, "gelu": 1.05, "third": 1.2})
    for node, psi in {"first": 1.1, "second": 1.05, "third": 1.2, "last": 1.05}.items():
        transform = shaping.at(node)
        assert transform == solve(transform.activation, psi).transform
        assert float(qc.local_maps(transform.activation, transform).dc(1.0)) == pytest.approx(psi, abs=1e-11)
    assert shaping["gelu"] == shaping.at("last")
    with pytest.raises(ActivationError, match="first, third") as error:
        _ = shaping["tanh"]
    assert "at(node)" in error.value.remedy
    assert set(shaping.residuals()) == {"gelu", "first", "third"}
    assert shaping.psi is None
    with pytest.raises(ArgumentError):
        shaping.at("add")
    with pytest.raises(ArchitectureError):
        shaping.at("nowhere")


def test_zeta_is_the_largest_product_over_subnetworks():
    """By brute force: slopes along all paths of all subnetworks."""
    psi = {"first": 1.1, "second": 1.3, "third": 1.2, "last": 1.05}
    branch = 1.3 * 1.2
    whole = 1.1 * (0.36 * branch + 0.64) * 1.05
    want = max(1.1 * branch, whole)
    assert qc.dks(network(), psi=psi).zeta == pytest.approx(want, rel=1e-14)
    # Equal slopes: the maximal slope function.
    arch = qc.zoo.resnet_v2(50, activation="tanh")
    assert qc.dks(arch, psi={"tanh": 1.03}).zeta == pytest.approx(float(qc.maximal_slope(arch)(1.03)), rel=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_zeta_by_enumeration(seed):
    random = np.random.default_rng(seed)
    arch = qc.zoo.wide_resnet(10, residual_weight=math.sqrt(0.4), activation="tanh")
    nodes = [node.id for node in arch.nodes if node.op.kind == "activation"]
    psi = {node: float(value) for node, value in zip(nodes, random.uniform(1.01, 1.5, len(nodes)), strict=True)}
    best = 1.0
    for source, target in graphs.subnetworks(arch):
        values = {source: 1.0}
        inside = {v for u, v in graphs.subnetworks(arch) if u == source}
        for node in arch.nodes:
            if node.id in inside and node.id != source:
                shares = graphs._shares(arch, node)
                mean = sum(float(s) * values[u] for s, u in zip(shares, node.inputs, strict=True))
                values[node.id] = mean * psi.get(node.id, 1.0)
        best = max(best, values[target])
    shaping = qc.dks(arch, psi=psi)
    assert shaping.zeta == pytest.approx(best, rel=1e-13)


def test_a_mapping_with_one_value_is_the_number():
    one, other = qc.dks(qc.zoo.mlp(5), psi={"tanh": 1.1}), qc.dks(qc.zoo.mlp(5), psi=1.1)
    assert one["tanh"] == other["tanh"]
    assert (one.psi, one.zeta) == pytest.approx((other.psi, other.zeta), rel=1e-14)
    assert one.by_node == {}


@pytest.mark.parametrize(
    ("psi", "message"),
    [
        ({"tanh": 1.1}, "has no value"),
        ({"tanh": 1.1, "gelu": 1.1, "relu": 1.1}, "neither"),
        ({"tanh": 1.1, "gelu": 1.0}, "above 1"),
        ({"tanh": math.nan, "gelu": 1.1}, "above 1"),
        ({}, "has no value"),
    ],
)
def test_bad_mappings(psi, message):
    with pytest.raises(ArgumentError, match=message):
        qc.dks(network(), psi=psi)


@pytest.mark.parametrize("q_slope", [math.nan, math.inf, "minimize", True, [1]])
def test_bad_slopes(q_slope):
    with pytest.raises(ArgumentError) as error:
        qc.dks(qc.zoo.mlp(4), q_slope=q_slope)
    assert error.value.subject == "q_slope"


def test_options_do_not_depend_on_the_order_of_calls():
    cases = list(itertools.product(("tanh", "selu"), (1.0, 0.99, None, "minimise"), (1.01, 1.06)))
    cases = [case for case in cases if case[:2] != ("selu", None)]
    forward = [solve(qc.activation(name), psi, option) for name, option, psi in cases]
    from qcmap.numeric.shaping._solutions import patches

    patches.cache_clear()
    backward = [solve(qc.activation(name), psi, option) for name, option, psi in reversed(cases)][::-1]
    assert [one.transform for one in forward] == [one.transform for one in backward]


def test_network_maps_take_the_constants_of_each_node():
    """The slope at 1 of the whole network is the product and mean of its layers' own."""
    psi = {"first": 1.1, "second": 1.3, "third": 1.2, "last": 1.05}
    arch = network()
    maps = network_maps(arch, qc.dks(arch, psi=psi))
    h = 1e-6
    slope = (1 - float(maps.c(1 - h))) / h
    assert slope == pytest.approx(1.1 * (0.36 * 1.3 * 1.2 + 0.64) * 1.05, rel=1e-5)
    assert float(maps.q(1.0)) == pytest.approx(1, abs=1e-11)
    assert float(maps.c(0.0)) == pytest.approx(0, abs=1e-11)


def test_formulas_have_the_constants():
    """What is printed, read again: each activation's equation, and those of nodes with constants of their own."""
    psi = {"first": 1.1, "second": 1.3, "third": 1.2, "last": 1.0001}
    shaping = qc.dks(network(), psi=psi)
    for one in (shaping, qc.dks(qc.zoo.mlp(5), 1.5)):
        latex = one._repr_latex_()
        assert latex.count("{") == latex.count("}")
        lines = latex.removeprefix(r"$\begin{aligned}").removesuffix(r"\end{aligned}$").split(r" \\ ")
        solved = {**one.solutions, **one.by_node}
        assert len(lines) == len(solved)
        for line, (name, found) in zip(lines, solved.items(), strict=True):
            assert (name in line) or found.transform.activation.name in line
            numbers = re.findall(r"[-+]?\d+(?:\.\d+)?(?:\\cdot 10\^\{-?\d+\})?(?![\d}])", line)
            factor, scale, shift, offset = (float(x.replace(r"\cdot 10^{", "e").replace("}", "")) for x in numbers)
            own = found.transform.constants
            assert (scale, shift, offset, factor) == pytest.approx(tuple(own.values()), rel=6e-6)
            assert found.transform._repr_latex_() == "$" + re.sub(r"^.*?\(u\) &=", r"\\hat\\phi(u) =", line) + "$"


@pytest.mark.parametrize("psi", [1.02, 1.5, 2.5])
def test_both_curves_of_leaky_slopes(psi):
    """Where a slope exists, C'(1) = psi and Q'(1) is what is said, at 32 digits."""
    from qcmap.numeric.shaping._leaky_slope import _curves

    t = np.linspace(-3, 3, 13)
    left, slope = _curves(t, psi)
    seen = set()
    for branch, k in itertools.product((0, 1), range(t.size)):
        if np.isfinite(left[branch, k]):
            dq, dc1, *_ = oracles.eliminated(two_slopes_formula(float(left[branch, k])), 1, float(t[k]))
            assert abs(dc1 - MP.mpf(psi)) < 1e-11
            assert abs(dq - MP.mpf(float(slope[branch, k]))) < 1e-11
            seen.add(branch)
    assert seen == {0, 1}
