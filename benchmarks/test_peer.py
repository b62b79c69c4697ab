"""Constants of DKS and TAT beside the public package `dks` (0.1.2), in one run: ``pip install dks==0.1.2 absl-py``."""

import warnings

import pytest

import qcmap as qc

peer = pytest.importorskip("dks.base.activation_transform", reason="pip install -c constraints.txt -e '.[bench]'")

DEPTH, ZETA, TAU = 100, 1.5, 0.3
NAMES = ["softplus", "tanh", "swish"]
OPTIONS = {
    "DKS": {"dks_params": {"c_slope_1_target": ZETA}, "max_slope_func": lambda psi: psi**DEPTH},
    "TAT": {"tat_params": {"c_curve_target": TAU}, "max_curv_func": lambda kappa: DEPTH * kappa},
}


def theirs(name: str, method: str) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = peer._get_activations_params((name,), method=method, **OPTIONS[method])[name]
    return {key: float(value) for key, value in found.items()}


def ours(name: str, method: str) -> dict[str, float]:
    arch = qc.zoo.mlp(DEPTH, activation=name)
    shaping = qc.dks(arch, ZETA) if method == "DKS" else qc.tat(arch, tau=TAU)
    return shaping[name].constants


@pytest.mark.parametrize("method", ["DKS", "TAT"])
@pytest.mark.parametrize("name", NAMES)
def test_ours(benchmark, name, method):
    """Reach: 2 ms and 5 ms, and 100 and 300 times the peer."""
    benchmark(ours, name, method)


@pytest.mark.parametrize("method", ["DKS", "TAT"])
@pytest.mark.parametrize("name", NAMES)
def test_theirs(benchmark, name, method):
    found = benchmark.pedantic(theirs, (name, method), rounds=5, warmup_rounds=1)
    sign = -1 if name == "tanh" else 1  # a mirror image for odd functions: theirs has the positive shift
    expected = ours(name, method)
    assert found["input_scale"] == pytest.approx(expected["input_scale"], rel=1e-6)
    # The peer ends at either image.
    assert found["input_shift"] in [pytest.approx(s * expected["input_shift"], rel=1e-6) for s in (1, sign)]
