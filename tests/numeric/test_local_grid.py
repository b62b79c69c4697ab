"""C and C' of every activation against ball arithmetic at 31 digits: a part of benchmarks/grid_local_maps.py.

Errors are at most 1e-12 of the map's largest value, and never more than reported. For different q values the largest
value is taken from Cauchy and Schwarz: where the outputs at the two hardly correlate, the map itself is far smaller.
"""

import itertools
import math
import zlib

import flint
import numpy as np
import pytest
from flint import arb

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.errors import QCMapError
from qcmap.numeric import LocalMaps, Transform
from tests.formulas import Formula
from tests.pairs import PairMap

CONSTANTS = (0.4, -0.3, 0.2, 1.7)
PAIRS = ((0.01, 0.01), (1.0, 1.0), (100.0, 100.0), (0.01, 1.0), (1.0, 100.0))
INSIDE = tuple(sign * c for c in (0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.85, 0.9) for sign in (1, -1))
HARD = tuple(sign * (1 - 10.0**-k) for k in range(2, 13) for sign in (1, -1))


def largest_slope(formula, q, constants):
    """The bound of Cauchy and Schwarz on C'."""
    return math.sqrt(math.prod(float(PairMap(formula, one, one, constants).slope(1.0)) for one in q))


def check(maps, formula, q, constants, c, tolerance=1e-12):
    """Values one by one, values by the interpolant, and the errors reported, for orders 0 and 1."""
    oracle = PairMap(formula, *q, constants)
    exact = [oracle.both(value) for value in c]
    many = np.concatenate([c, np.linspace(-0.77, 0.77, 13)])
    for order, (function, bound) in enumerate(((maps.c, 1.0), (maps.dc, largest_slope(formula, q, constants)))):
        reported = maps.error(*q, order)
        # A kink many deviations out, of a function else constant there, leaves next to no slope: rounding shows.
        assert reported <= 10 * tolerance * max(bound, 1e-4)
        for values in (function(c, *q), function(many, *q)):
            with flint.ctx.workprec(100):
                gaps = [abs(float(arb(float(v)) - pair[order])) for v, pair in zip(values, exact, strict=False)]
            assert max(gaps) <= tolerance * bound, (order, c[int(np.argmax(gaps))])
            assert max(gaps) <= reported, (order, c[int(np.argmax(gaps))])


def drawn(*seed):
    """A generator of its own for each case."""
    return np.random.default_rng(zlib.crc32(" ".join(map(str, seed)).encode()))


@pytest.mark.parametrize("name", CATALOGUE)
def test_inside_and_ends(name):
    """Every activation at moderate correlations and at the ends."""
    generator = drawn(name)
    constants = [(1.0, 0.0, 0.0, 1.0), CONSTANTS][generator.integers(2)]
    q = PAIRS[generator.integers(len(PAIRS))]
    c = [-1.0, 1.0, *generator.choice(INSIDE, 3, replace=False).tolist()]
    check(LocalMaps(name, Transform(qc.activation(name), *constants)), name, q, constants, c)


CASES = list(zip(CATALOGUE, itertools.cycle(("plain", "constants", "dks")), strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "label"), CASES)
def test_near_the_ends(name, label):
    """One pair of q values for each activation and transform, and one c where expansions converge slowly."""
    act = qc.activation(name)
    transform = {"plain": None, "constants": Transform(act, *CONSTANTS), "dks": None}[label]
    if label == "dks":
        try:
            transform = qc.dks(qc.zoo.mlp(30, activation=name), zeta=1.5)[name]
        except QCMapError:
            return
    constants = (1.0, 0.0, 0.0, 1.0) if transform is None else tuple(transform.constants.values())
    generator = drawn(name, label)
    q = PAIRS[generator.integers(len(PAIRS))]
    check(LocalMaps(act, transform), name, q, constants, generator.choice(HARD, 1).tolist())


@pytest.mark.parametrize("name", ["tanh", "atan", "softplus", "erf"])
@pytest.mark.parametrize("q", [(1.0, 100.0), (100.0, 1.0), (0.3, 5.0)])
def test_one_layer_is_much_sharper(name, q):
    """The sharper function decides how fine the outer integral must be, be it the first or the second."""
    check(LocalMaps(name), name, q, (1, 0, 0, 1), [1 - 1e-6])


@pytest.mark.parametrize("c", [0.3, 1 - 1e-6])
def test_users_own(c):
    """Callables with kinks; their derivative given, or found numerically, which takes fifty times as long."""

    def value(u):
        return np.tanh(np.abs(u)) + np.abs(u - 1) / 2

    def slope(u):
        return np.sign(u) / np.cosh(u) ** 2 + np.sign(u - 1) / 2

    formula = Formula(
        lambda u: abs(u).tanh() + abs(u - 1) / 2,
        lambda u: (1 - u.tanh() ** 2) * (1 if u > 0 else -1) + (arb(1) if u > 1 else arb(-1)) / 2,
        (0, 1),
        length=1.5,
    )
    given = LocalMaps(qc.Activation.from_callable(value, slope, kinks=(0.0, 1.0), name="bent"))
    found = LocalMaps(qc.Activation.from_callable(value, kinks=(0.0, 1.0), name="bent"))
    for q in ((1.0, 1.0), (0.01, 1.0)):
        check(given, formula, q, (1, 0, 0, 1), [c], tolerance=1e-10)
    oracle = PairMap(formula, 1.0, 1.0)
    assert float(found.c(c)) == pytest.approx(float(oracle.value(c)), abs=1e-10)
    assert float(found.dc(c)) == pytest.approx(float(oracle.slope(c)), abs=1e-10)
