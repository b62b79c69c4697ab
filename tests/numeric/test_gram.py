"""Gram matrices: every entry against the kernel of its pair computed directly, in all four ways of interpolation."""

import math
import tracemalloc

import mpmath as mp
import numpy as np
import pytest

import qcmap as qc
from qcmap.architecture import Builder
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric import gram_blocks, nngp, nngp_gram, ntk, ntk_gram
from qcmap.numeric.kernels import _pair_kernel, _panels
from qcmap.numeric.kernels._degree import homogeneous_degree
from qcmap.numeric.kernels._kernel_walk import KernelWalk
from qcmap.numeric.kernels._panels import panel_series
from tests.numeric.test_tangent import chain


def inputs(n, d=6, *, norms=(1.0,), seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, d))
    x *= math.sqrt(d) / np.linalg.norm(x, axis=1, keepdims=True)
    return x * np.resize(np.asarray(norms), n)[:, None]


@pytest.fixture(autouse=True)
def nodes_in_norms(monkeypatch):
    """Interpolate for few pairs too."""
    monkeypatch.setattr(_pair_kernel, "_CHEAP", 0)


def pairs(x, y):
    q1, q2 = (x * x).mean(axis=1), (y * y).mean(axis=1)
    c = np.clip(x @ y.T / x.shape[1] / np.sqrt(q1[:, None] * q2), -1, 1)
    if x is y:
        np.fill_diagonal(c, 1.0)
    return c, q1[:, None] * np.ones_like(c), q2 * np.ones_like(c)


def residual(activation):
    b = Builder("residual")
    h = b.affine(b.input("x"), 4, name="stem")
    for _ in range(3):
        h = b.sum([h, b.affine(b.activation(b.affine(h, 4), activation), 4)], [0.8, 0.6])
    return b.build(outputs=[b.affine(b.activation(h, activation), 1, name="head")])


EQUAL = inputs(12)
FEW = inputs(12, norms=(0.7, 1.0, 1.6))
MANY = inputs(14, norms=np.linspace(0.8, 1.3, 14))
CASES = {
    "equal": (chain("tanh", "erf", weights=1.3, biases=0.1), EQUAL),
    "homogeneous": (residual("relu"), MANY),
    "degree 2": (chain("square", "relu"), MANY),
    "few": (chain("erf", "sin", biases=0.2), FEW),
    "many": (chain("erf", "sin", weights=1.2), MANY),
    "many, each by itself": (chain("relu", "leaky_relu", biases=0.2), MANY),
}


@pytest.mark.parametrize("case", CASES)
def test_entries(case):
    arch, x = CASES[case]
    found = ntk_gram(arch, x, per_layer=True)
    c, q1, q2 = pairs(x, x)
    exact = ntk(arch, c, q1, q2)
    scale = exact.total.max()
    worst = np.abs(found.matrix - exact.total).max()
    assert worst <= found.error + 1e-13 * scale
    assert worst <= 1e-11 * scale
    assert (found.matrix == found.matrix.T).all()
    assert list(found.terms) == list(exact.terms)
    for name, term in exact.terms.items():
        assert found.terms[name] == pytest.approx(term, rel=1e-9, abs=1e-11 * scale)
    one = ntk_gram(arch, x, layers=["head"])
    assert one.matrix == pytest.approx(exact.terms["head"], rel=1e-9, abs=1e-11 * scale)
    covariance = nngp_gram(arch, x)
    assert covariance.matrix == pytest.approx(exact.nngp, rel=1e-9, abs=1e-11 * exact.nngp.max())
    assert found.of([name for name in exact.terms if name != "head"]) == pytest.approx(
        exact.total - exact.terms["head"], rel=1e-8, abs=1e-11 * scale
    )


@pytest.mark.parametrize("case", ["equal", "homogeneous", "few", "many"])
def test_two_sets(case):
    arch, x = CASES[case]
    y = inputs(5, seed=3, norms=np.sqrt((x * x).mean(axis=1))[:5])
    found = ntk_gram(arch, x, y)
    assert found.matrix.shape == (len(x), 5)
    exact = ntk(arch, *pairs(x, y)).total
    assert found.matrix == pytest.approx(exact, rel=1e-9, abs=1e-11 * np.abs(exact).max())
    assert nngp_gram(arch, x, y).matrix == pytest.approx(nngp(arch, *pairs(x, y)), rel=1e-9, abs=1e-11)
    assert ntk_gram(arch, y, x).matrix == pytest.approx(found.matrix.T, rel=1e-12, abs=1e-12 * np.abs(exact).max())


def test_relu_at_thirty_digits():
    """The arc-cosine recursion at mpmath's c values: an oracle outside the package."""
    arch, x = chain(*["relu"] * 10, weights=2.0), inputs(6, seed=5)
    found = ntk_gram(arch, x)
    for i in range(6):
        for j in range(6):
            with mp.workdps(30):
                a, b = ([mp.mpf(float(v)) for v in x[k]] for k in (i, j))
                norms = [mp.sqrt(mp.fsum(v * v for v in row)) for row in (a, b)]
                angle = mp.acos(min(mp.mpf(1), mp.fdot(a, b) / norms[0] / norms[1])) if i != j else mp.mpf(0)
                size = 2 * norms[0] * norms[1] / 6
                total = size * mp.cos(angle)
                for k in range(10):
                    cosine = (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / mp.pi
                    scale = 2 if k < 9 else 1
                    size = size / 2 * scale
                    total = total * (mp.pi - angle) / (2 * mp.pi) * scale + size * cosine
                    angle = mp.acos(cosine)
            assert found.matrix[i, j] == pytest.approx(float(total), rel=1e-12)


def test_diagonal_is_exact_and_duplicates_equal_it():
    arch = qc.zoo.mlp(20)
    shaping = qc.dks(arch)
    x = inputs(8)
    x[5] = x[2]
    x[6] = -x[3]
    found = ntk_gram(arch, x, shaping=shaping).matrix
    one = float(ntk(arch, 1.0, 1.0, 1.0, shaping=shaping).total)
    assert (np.diag(found) == one).all()
    assert len({x[k].tobytes() for k in range(8)}) == 7
    assert found[5, 2] == found[2, 2]
    assert found[3, 6] == pytest.approx(float(ntk(arch, -1.0, 1.0, 1.0, shaping=shaping).total), rel=1e-12)
    assert np.linalg.eigvalsh(found)[0] >= -1e-12 * one
    assert nngp_gram(arch, x, shaping=shaping).matrix[0, 0] == pytest.approx(1, rel=1e-12)


def test_deep_relu_at_thirty_digits():
    """1,000 layers: c is within 5e-5 of 1 at the end, but gaps and angles keep their digits."""
    arch, x = chain(*["relu"] * 1000, weights=2.0), inputs(4, seed=6)
    found = ntk_gram(arch, x)
    for j in range(1, 4):
        with mp.workdps(30):
            a, b = ([mp.mpf(float(v)) for v in x[k]] for k in (0, j))
            angle = mp.acos(mp.fdot(a, b) / mp.sqrt(mp.fdot(a, a) * mp.fdot(b, b)))
            total = 2 * mp.cos(angle)
            for k in range(1000):
                cosine = (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / mp.pi
                last = k == 999
                total = total * (mp.pi - angle) / (2 if last else 1) / mp.pi + (1 if last else 2) * cosine
                angle = mp.acos(cosine)
        assert found.matrix[0, j] == pytest.approx(float(total), rel=1e-12)


def test_near_duplicates_keep_their_digits():
    """Inputs 1e-7 apart: c = 1 - 5e-15 as a cosine has one digit, but their angle has all of them."""
    arch = chain("relu", weights=2.0)
    x = np.array([[1.0, 0.0], [1.0, 1e-7]])
    found = ntk_gram(arch, x).matrix
    angle = math.atan(1e-7)
    norm = math.sqrt(1 + 1e-14) / 2
    want = norm * (
        math.cos(angle) * (math.pi - angle) / math.pi
        + (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / math.pi
    )
    assert found[0, 1] == pytest.approx(want, rel=1e-15)


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize("size", [1, 5, 100])
def test_blocks(kernel, size):
    arch, x = CASES["many"]
    whole = (ntk_gram if kernel == "ntk" else nngp_gram)(arch, x)
    found = np.full(whole.matrix.shape, np.nan)
    for block in gram_blocks(arch, x, kernel=kernel, size=size):
        assert np.isnan(found[block.rows, block.columns]).all()
        assert block.error <= whole.error
        found[block.rows, block.columns] = block.values
    upper = np.triu_indices(len(x))
    assert found[upper] == pytest.approx(whole.matrix[upper], rel=1e-13)
    below = np.arange(len(x))[:, None] // size > np.arange(len(x)) // size
    assert (np.isnan(found) == below).all()
    rows = sum(block.values.size for block in gram_blocks(arch, x, EQUAL, kernel=kernel, size=size))
    assert rows == len(x) * len(EQUAL)


def test_memory_is_bounded():
    arch, x = chain("relu", "relu", weights=2.0), inputs(1500, 20)
    blocks = gram_blocks(arch, x, size=100)
    next(blocks)
    tracemalloc.start()
    total = sum(float(block.values.sum()) for block in blocks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total > 0
    assert peak < 3e6  # the matrix has 18e6 bytes


@pytest.mark.parametrize("name", ["erf", "relu"])
@pytest.mark.parametrize("weights", [0.5, 1.0, 2.0, 4.0, 9.0])
@pytest.mark.parametrize("depth", [1, 4, 20])
def test_reported_error_is_never_too_small(name, weights, depth):
    """At angles of all sizes, for collapsing, critical and exploding chains.

    Allowed besides: that every layer rounds its c value, each time changing the kernel by eps times its slope in c.
    """
    arch = chain(*[name] * depth, weights=weights)
    walk, one = KernelWalk(arch), np.ones(())

    def values(theta):
        return np.add.reduce(list(walk.terms(np.cos(theta), one, one, theta)[1].values()))[:, None]

    series = panel_series(values, "chain", depth, rounded=not walk.exact_angles)
    if walk.exact_angles:
        assert series.error.max() <= 2e-13 * series.start[0]
    random = np.random.default_rng(depth)
    c = np.cos(np.concatenate([math.pi * random.random(200), 10.0 ** random.uniform(-6, 0.4, 200)]))
    theta = 2 * np.arcsin(np.sqrt((1 - c) / 2))  # of the rounded c, to all digits
    exact = ntk(arch, c, one, one).total
    slope = np.abs(series(1.001 * theta) - series(theta)) / (0.001 * theta * np.sin(theta))
    panel, _ = series.place(theta)
    allowed = series.error[0, panel] + depth * 2.3e-16 * slope + 1e-14 * depth * np.abs(exact)
    assert (np.abs(series(theta) - exact) <= allowed).all()


def test_exploding_chain_needs_few_panels_and_says_what_is_lost():
    arch = chain(*["erf"] * 25, weights=4.0)
    found = ntk_gram(arch, inputs(30))
    exact = ntk(arch, *pairs(inputs(30), inputs(30))).total
    off = ~np.eye(30, dtype=bool)
    assert np.abs(found.matrix - exact)[off].max() <= 1e-11 * np.abs(exact[off]).max()
    assert found.matrix[0, 0] == pytest.approx(exact[0, 0], rel=1e-12)
    assert found.evaluations < 3000
    assert found.error < 1e-9


def test_degrees():
    assert homogeneous_degree(KernelWalk(residual("relu"))) == 1
    assert homogeneous_degree(KernelWalk(chain("square", "relu", "square"))) == 4
    assert homogeneous_degree(KernelWalk(residual("square"))) is None
    assert homogeneous_degree(KernelWalk(chain("relu", biases=0.1))) is None
    assert homogeneous_degree(KernelWalk(chain("tanh"))) is None
    b = Builder()
    h = b.activation(b.layer_norm(b.affine(b.input(), 4)), "tanh")
    normed = b.build(outputs=[b.affine(h, 4, bias_variance=0.3)])
    assert homogeneous_degree(KernelWalk(normed)) == 0
    x = inputs(5, norms=np.linspace(1, 30, 5))
    assert np.ptp(np.diag(ntk_gram(normed, x).matrix)) == pytest.approx(0, abs=1e-14)
    relu = qc.zoo.mlp(3, activation="relu")
    assert homogeneous_degree(KernelWalk(relu, qc.dks(relu))) is None  # the shift by input_shift = 1


def test_result():
    arch, x = CASES["equal"]
    found = ntk_gram(arch, x[:3], per_layer=True)
    assert np.asarray(found) is found.matrix
    assert np.array(found, dtype=np.float32).dtype == np.float32
    assert np.linalg.cond(found) > 1
    plain = found.to_dict()
    assert np.shape(plain["matrix"]) == (3, 3)
    assert set(plain["terms"]) == {"affine1", "affine2", "head"}
    assert repr(found).startswith("<Gram matrix 3 x 3, 3 layers apart: error ")
    assert ntk_gram(arch, x[:1]).matrix.shape == (1, 1)


def test_refusals(monkeypatch):
    arch = CASES["equal"][0]
    with pytest.raises(ArgumentError, match="x: row 3 is zero"):
        ntk_gram(arch, np.where(np.arange(5)[:, None] == 3, 0.0, inputs(5)))
    with pytest.raises(ArgumentError, match="x2: row 1 is not finite"):
        nngp_gram(arch, EQUAL, np.array([[1.0] * 6, [np.nan] * 6]))
    with pytest.raises(ArgumentError, match="6 components in x and 4 in x2"):
        ntk_gram(arch, EQUAL, inputs(3, 4))
    with pytest.raises(ArgumentError, match=r"not of shape \(6,\)"):
        ntk_gram(arch, EQUAL[0])
    with pytest.raises(ArgumentError, match="'nope' is not an affine node"):
        ntk_gram(arch, EQUAL, layers=["nope"])
    with pytest.raises(ArgumentError, match="layers: no layer"):
        ntk_gram(arch, EQUAL, layers=[])
    with pytest.raises(ArgumentError, match="not a sum over layers"):
        next(gram_blocks(arch, EQUAL, kernel="nngp", layers=["head"]))
    with pytest.raises(ArgumentError, match="'ntk' and 'nngp'"):
        next(gram_blocks(arch, EQUAL, kernel="laplace"))
    for size in (0, "a", 2.5):
        with pytest.raises(ArgumentError, match=r"size: .*at least 1"):
            next(gram_blocks(arch, EQUAL, size=size))
    for x in ("abc", [[1.0, 2.0], [3.0]], EQUAL * 1j, EQUAL * 1e200):
        with pytest.raises(ArgumentError, match=r"^x: "):
            ntk_gram(arch, x)
    for layers in (5, "head", [3]):
        with pytest.raises(ArgumentError, match=r"^layers: "):
            ntk_gram(arch, EQUAL, layers=layers)
    b = Builder()
    three = b.build(outputs=[b.affine(b.input(channels=3), 4)])
    with pytest.raises(ArgumentError, match="the input has 3 channels, but rows have 6"):
        ntk_gram(three, EQUAL)
    b = Builder()
    two = b.build(outputs=[b.sum([b.affine(b.input(), 4), b.affine(b.input(), 4)], [0.6, 0.8])])
    with pytest.raises(ArchitectureError, match="several inputs"):
        ntk_gram(two, EQUAL)
    with pytest.raises(ArgumentError, match="out of range"):
        ntk_gram(arch, 1e-200 * EQUAL)
    relu = qc.zoo.mlp(2, activation="relu")
    monkeypatch.setattr(_pair_kernel, "_MOST_PAIRS", 104)
    with pytest.raises(NumericalError, match=r"layer1.activation: inputs have 14 diff.*105 pairs.*normalise"):
        ntk_gram(relu, MANY, shaping=qc.dks(relu))
    assert ntk_gram(relu, FEW, shaping=qc.dks(relu)).error < 1e-10
    monkeypatch.setattr(_pair_kernel, "_NORM_NODES", (3,))
    with pytest.raises(NumericalError, match=r"3 nodes in the norms of the inputs, and 105 pairs.*normalise"):
        ntk_gram(chain("erf"), MANY)
    monkeypatch.setattr(_panels, "_MOST", 8)
    with pytest.raises(NumericalError, match="not resolved by 8 panels"):
        ntk_gram(chain(*["erf"] * 20, weights=9.0), EQUAL)


def test_many_norms_pair_by_pair(monkeypatch):
    """Kinks, or norms that nodes do not resolve: the network itself at every pair, where equal inputs are equal."""
    relu = qc.zoo.mlp(2, activation="relu")
    shaping = qc.dks(relu)
    monkeypatch.setattr(_pair_kernel, "_NORM_NODES", (3,))
    for arch, how in ((relu, shaping), (chain("erf"), None)):
        found = ntk_gram(arch, MANY, shaping=how)
        exact = ntk(arch, *pairs(MANY, MANY), shaping=how)
        assert found.matrix == pytest.approx(exact.total, rel=1e-11)
        assert (found.error, found.evaluations) == (0.0, 105)
        assert (found.matrix == found.matrix.T).all()
        assert ntk_gram(arch, MANY, MANY[:5], shaping=how).matrix == pytest.approx(found.matrix[:, :5], rel=1e-11)
    monkeypatch.setattr(_pair_kernel, "_CHEAP", 105)
    assert ntk_gram(chain("erf"), MANY).error == 0
