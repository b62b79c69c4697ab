"""Every catalogue activation on chains and residual networks: solved to 1e-12 or infeasible, by a rule of its own.

`benchmarks/grid_shaping.py` checks all of it with mpmath; here that is done for a sample.
"""

import math

import numpy as np
import pytest

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.errors import Infeasible
from qcmap.numeric import solve
from qcmap.numeric.shaping._tat import solve_curvature
from tests import oracles
from tests.numeric.tailored_oracle import exact
from tests.oracles import MP, formula_of

NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)


def networks():
    chains = [qc.zoo.mlp(depth) for depth in (5, 20, 50, 100, 1000)]
    residual = [qc.zoo.resnet_v2(d, residual_weight=math.sqrt(w2)) for d in (50, 101, 152) for w2 in (0.5, 0.05)]
    return chains + residual + [qc.zoo.resnet_v2(depth, shortcuts=False) for depth in (50, 101, 152)]


def all_targets():
    psi = {qc.maximal_slope(arch).inverse(zeta) for arch in networks() for zeta in (1.01, 1.1, 1.5, 12.0, 100.0)}
    kappa = {qc.maximal_curvature(arch).inverse(tau) for arch in networks() for tau in (0.03, 0.1, 0.3, 1.0, 3.0)}
    return sorted(psi), sorted(kappa)


PSI, KAPPA = all_targets()


def moments(transform):
    """Q(1), Q'(1), C(0), C'(1) and C''(1) by panels of equal width that break at the kinks."""
    act, a, b = transform.activation, transform.input_scale, transform.input_shift
    width = min(0.4, 0.4 * act.length / a) if act.length < math.inf else 0.4
    kinks = [(kink.at - b) / a for kink in act.kinks if abs(kink.at - b) < 11 * a]
    ends = np.unique([*np.linspace(-11, 11, math.ceil(22 / width) + 1), *kinks])
    half, middle = np.diff(ends)[:, None] / 2, (ends[1:] + ends[:-1])[:, None] / 2
    x = (middle + half * NODES).ravel()
    w = (half * WEIGHTS).ravel() * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    f, g = transform(x), transform.derivative(x)
    h = transform.output_scale * a * a * act.second(a * x + b)
    q = w @ (f * f)
    return {
        "Q(1)": q, "Q'(1)": w @ (f * g * x), "C(0)": (w @ f) ** 2 / q, "C'(1)": w @ (g * g) / q,
        "C''(1)": w @ (h * h) / q,
    }  # fmt: skip


def residual(solution):
    found = moments(solution.transform)
    return max(abs(found[name] - target) for name, target in solution.targets.items())


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in ("identity", "square")])
def test_deep_kernel_shaping(name):
    act, refused, reached = qc.activation(name), [], []
    for psi in PSI:
        try:
            assert residual(solve(act, psi)) < 1e-12, psi
        except Infeasible as error:
            refused.append(psi)
            reached += [(low, high) for low, high in error.achievable if low <= psi <= high]
    assert reached == []
    if name not in ("hardtanh", "relu6"):
        # What cannot be met is the most nonlinear.
        assert refused == PSI[len(PSI) - len(refused) :]
    assert len(refused) <= {"hardtanh": 67, "relu6": 67, "bentid": 10}.get(name, 3)


@pytest.mark.parametrize(
    "name", ["asinh", "bentid", "celu", "cos", "elu", "erf", "gelu", "mish", "sigmoid", "softplus", "softsign", "tanh"]
)
def test_tailored_activations(name):
    act = qc.activation(name)
    for kappa in KAPPA:
        assert residual(solve_curvature(act, kappa)) < 1e-12, kappa


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "gelu", "elu", "bentid", "hardswish", "selu", "relu", "sin"])
def test_a_sample_by_mpmath(name):
    for psi in PSI[::9]:
        try:
            solution = solve(qc.activation(name), psi)
        except Infeasible:
            continue
        values = oracles.conditions(formula_of(qc.activation(name)), **solution.transform.constants)
        found = dict(zip(("Q(1)", "Q'(1)", "C(0)", "C'(1)"), values, strict=True))
        assert max(abs(found[key] - MP.mpf(target)) for key, target in solution.targets.items()) < 1e-12
    if name in ("tanh", "gelu", "elu", "bentid", "sin"):
        for kappa in KAPPA[::13]:
            solution = solve_curvature(qc.activation(name), kappa)
            found = exact(name, **solution.transform.constants)
            assert max(abs(found[key] - MP.mpf(target)) for key, target in solution.targets.items()) < 1e-12


def test_the_rule_rejects_wrong_constants():
    import dataclasses

    solution = solve(qc.activation("gelu"), 1.01)
    wrong = dataclasses.replace(solution.transform, input_scale=solution.transform.input_scale * (1 + 1e-10))
    assert residual(dataclasses.replace(solution, transform=wrong)) > 1e-12
