"""The exact maximum of slope polynomials, against sympy's real roots and evaluation at many rational points."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmap.architecture import Builder, zoo
from qcmap.errors import ArchitectureError, NumericalError
from qcmap.symbolic import AlgebraicNumber, maximal_slope
from qcmap.symbolic._algebra import mean_polynomial
from qcmap.symbolic._envelope import envelope
from qcmap.symbolic._polynomial import ONE, slope
from tests.oracles import MP
from tests.symbolic.test_polynomial import polynomials
from tests.symbolic.test_slopes import every_op, every_slope

PSI = sp.Symbol("psi", positive=True)
X = sp.Symbol("x")
S = slope()


def mean(*terms):
    """A mean with exact fractions as weights."""
    return mean_polynomial([(Fraction(weight), polynomial) for weight, polynomial in terms])


def exact(polynomial):
    return sp.Poly([sp.Rational(int(c.p), int(c.q)) for c in reversed(polynomial.coefficients)], X)


def fractions_of(polynomial):
    return [Fraction(int(c.p), int(c.q)) for c in polynomial.coefficients]


def at(coefficients, point):
    return sum(c * point**k for k, c in enumerate(coefficients))


def check_envelope(polynomials, digits=60):
    """Every piece is the largest up to the next, exactly, and starts are the crossings that sympy finds."""
    pieces = envelope(polynomials)
    assert pieces[0][0] == AlgebraicNumber((-1, 1), 0)
    rows = [fractions_of(p) for p in polynomials]
    roots = {sp.Integer(1)}
    for p, q in itertools.combinations(polynomials, 2):
        difference = exact(p) - exact(q)
        if not difference.is_zero and difference.degree() > 0:
            roots.update(
                sp.real_roots(difference, multiple=False) and [r for r, _ in sp.real_roots(difference, multiple=False)]
            )
    marks = sorted({sp.N(root, digits) for root in roots if sp.N(root, digits) >= 1})
    marks = [m for k, m in enumerate(marks) if k == 0 or m - marks[k - 1] > sp.Float(10) ** (10 - digits)]
    want = []
    for k, mark in enumerate(marks):
        middle = (mark + marks[k + 1]) / 2 if k + 1 < len(marks) else mark + 1
        point = Fraction(int(sp.floor(middle * 10 ** (digits - 5))), 10 ** (digits - 5))
        values = [at(row, point) for row in rows]
        best = [i for i, value in enumerate(values) if value == max(values)]
        if not want or not set(best) & set(want[-1][1]):
            want.append((mark, best))
        else:
            want[-1] = (want[-1][0], [i for i in want[-1][1] if i in best])
    assert len(pieces) == len(want)
    for (start, index), (mark, best) in zip(pieces, want, strict=True):
        assert index in best
        assert float(start) == pytest.approx(float(mark), rel=1e-15)
        assert abs(sp.N(start.expr, 40) - mark) < sp.Float("1e-35") * mark
    return pieces


@settings(max_examples=25)
@given(family=st.lists(polynomials(), min_size=1, max_size=4))
def test_random_families(family):
    check_envelope(family)


@settings(max_examples=20)
@given(data=st.data())
def test_random_families_of_high_degree(data):
    """Sparse means of few terms, as residual networks have."""
    family = []
    for _ in range(data.draw(st.integers(2, 4))):
        degrees = data.draw(st.lists(st.integers(0, 25), min_size=1, max_size=3, unique=True))
        weights = [data.draw(st.integers(1, 9)) for _ in degrees]
        family.append(
            S ** data.draw(st.integers(0, 6))
            * mean(*((Fraction(w, sum(weights)), S**d) for w, d in zip(weights, degrees, strict=True)))
        )
    check_envelope(family)


@given(arch=every_op(), psi=st.lists(st.floats(1, 30), min_size=1, max_size=5))
def test_pieces_of_random_graphs(arch, psi):
    """At every point the active piece is the largest of all subnetworks, by exact arithmetic."""
    mu, slopes = maximal_slope(arch), every_slope(arch)
    starts = [float(piece.start) for piece in mu.pieces]
    assert starts == sorted(starts)
    for point in [*psi, *(x + 1e-9 for x in starts)]:
        x = Fraction(point)
        piece = mu.pieces[max(k for k, start in enumerate(starts) if start <= point)]
        want = max(sum(c * x**d for d, c in s.items()) for s in slopes)
        found = at(fractions_of(piece.candidate.polynomial), x)
        assert found == want or any(abs(start - point) < 1e-12 for start in starts)
    active = {piece.candidate for piece in mu.pieces}
    assert {c.target for c in mu.candidates} == {c.target for c in active}


# --- the paper's example ---------------------------------------------------------------------------------------------


def one_block(depth):
    """One block over depth layers, and one more layer: max{psi^D, psi (1 + psi^D) / 2}."""
    b = Builder("one block")
    x = h = b.input("x", channels=2)
    for _ in range(depth):
        h = b.activation(b.affine(h, 2), "tanh")
    return b.build([b.activation(b.affine(b.sum([h, x]), 2), "tanh")])


@pytest.mark.parametrize("depth", [3, 4, 5, 10, 25])
def test_block_followed_by_a_layer(depth):
    """psi^D - 2 psi^(D-1) + 1 = (psi - 1) (psi^(D-1) - psi^(D-2) - ... - 1)."""
    mu = maximal_slope(one_block(depth))
    first, second = mu.pieces
    assert str(first.candidate.polynomial) == f"psi^{depth}"
    assert str(second.candidate.polynomial) == f"psi (0.5 psi^{depth} + 0.5)"
    assert float(first.start) == 1
    assert second.start.coefficients == (*(-1,) * (depth - 1), 1)
    assert second.start.polynomial == PSI ** (depth - 1) - sum(PSI**k for k in range(depth - 1))
    root = MP.findroot(lambda x: x - 2 + x ** (1 - depth), 2 - MP.mpf(2) ** (1 - depth) * (1 if depth > 3 else 1.5))
    assert abs(float(second.start) - root) <= 2.3e-16 * root
    assert len(mu.candidates) == 2
    assert isinstance(mu.expr, sp.Max)
    assert str(mu) == f"max{{psi (0.5 psi^{depth} + 0.5), psi^{depth}}}"
    for psi in (1.2, 1.99, 2.0, 2.01):
        want = max(MP.mpf(psi) ** depth, MP.mpf(psi) * (1 + MP.mpf(psi) ** depth) / 2)
        assert abs(MP.mpf(float(mu(psi))) / want - 1) < 1e-13


def test_two_layers_never_cross():
    """D = 2: psi (1 + psi^2) / 2 - psi^2 = psi (psi - 1)^2 / 2, a double root at 1 that changes no sign."""
    mu = maximal_slope(one_block(2))
    assert [str(piece.candidate.polynomial) for piece in mu.pieces] == ["psi (0.5 psi^2 + 0.5)"]
    assert str(mu) == "psi (0.5 psi^2 + 0.5)"


def test_the_golden_ratio():
    start = maximal_slope(one_block(3)).pieces[1].start
    assert sp.simplify(start.expr - sp.GoldenRatio.rewrite(sp.sqrt)) == 0
    assert float(start) == (1 + math.sqrt(5)) / 2
    assert str(start) == str(start.expr)
    assert start._repr_latex_() == f"${sp.latex(start.expr)}$"
    assert sp.simplify(start.polynomial.subs(PSI, start.expr)) == 0


def test_a_root_of_degree_four():
    start = maximal_slope(one_block(5)).pieces[1].start
    assert str(start) == "~1.92756197548"
    assert isinstance(start.expr, sp.polys.rootoftools.ComplexRootOf)
    assert float(start.expr) == pytest.approx(float(start), rel=1e-15)
    assert start._repr_latex_().startswith("$")


@pytest.mark.parametrize("depth", [60, 200])
def test_a_block_of_many_layers(depth):
    """The crossing is 2 - 2^-(D-1) and less, here the float next to 2 or 2 itself."""
    mu = maximal_slope(one_block(depth))
    assert len(mu.pieces) == 2
    assert float(mu.pieces[1].start) == 2.0
    assert mu.pieces[1].start.coefficients == (*(-1,) * (depth - 1), 1)


def test_beyond_the_largest_degree():
    mu = maximal_slope(one_block(3000))
    with pytest.raises(NumericalError, match="degree"):
        _ = mu.pieces
    assert len(mu.candidates) == 2
    assert str(mu.argmax(1.5).polynomial) == "psi^3000"
    assert str(mu.argmax(2.5).polynomial) == "psi (0.5 psi^3000 + 0.5)"
    assert float(mu.log(math.log(1.5))) == pytest.approx(3000 * math.log(1.5))
    assert mu.inverse(1e9) == pytest.approx(math.exp(math.log(1e9) / 3000))


def test_large_common_factors_do_not_count():
    """psi^5000 times either: degrees are those after the common factor."""
    family = [S**5000 * S**3, S**5000 * S * mean(("1/2", S**3), ("1/2", ONE))]
    pieces = check_pieces(family)
    assert float(pieces[1][0]) == (1 + math.sqrt(5)) / 2


def check_pieces(family):
    pieces = envelope(family)
    assert [index for _, index in pieces] == [0, 1]
    return pieces


# --- ties, touching, closeness ---------------------------------------------------------------------------------------


def test_equal_polynomials_in_different_forms():
    square = mean(("1/2", S), ("1/2", ONE)) ** 2
    expanded = mean(("1/4", S**2), ("1/2", S), ("1/4", ONE))
    assert square != expanded
    for family in ([square, expanded], [expanded, square], [square, expanded, S], [S, expanded, square]):
        pieces = check_envelope(family)
        assert len({index for _, index in pieces}) == len(pieces)
    # One of the two stands for both.
    assert len(envelope([square, expanded])) == 1


def test_a_network_with_two_forms_of_one_slope():
    b = Builder()
    x = b.input("x", channels=1)
    one = x
    for _ in range(2):
        one = b.sum([b.activation(one, "tanh"), one])
    a = b.activation(x, "tanh")
    two = b.sum([b.activation(a, "tanh"), a, x], [1, math.sqrt(2), 1])
    for outputs in ([one, two], [two, one]):
        mu = maximal_slope(b.build(outputs))
        # psi (psi + 1) / 2, up to the second branch, is above ((psi + 1) / 2)^2, and psi^2 above both.
        assert str(mu) == "psi^2"


def test_touching_without_crossing():
    """p - q = (psi - 1) (psi - 2)^2 k: a double root at 2, no change of sign there."""
    # psi^3 - 5 psi^2 + 8 psi - 4, of which the positive part is p and the negative part q, up to 9.
    p = mean(("1/9", S**3), ("8/9", S))
    q = mean(("5/9", S**2), ("4/9", ONE))
    assert len(check_envelope([p, q])) == 1
    assert envelope([p, q]) == [(AlgebraicNumber((-1, 1), 0), 0)]
    assert envelope([q, p]) == [(AlgebraicNumber((-1, 1), 0), 1)]


def test_a_touching_point_where_polynomials_are_compared():
    """psi^3 p against psi^3 q: the rational point between crossings may be a double root, where both agree.

    p is the larger one everywhere else.
    """
    for swapped in (False, True):
        b = Builder()
        powers = [b.input("x", channels=1)]
        for _ in range(3):
            powers.append(b.activation(powers[-1], "tanh"))
        branches = [([powers[3], powers[1]], [1, math.sqrt(8)]), ([powers[2], powers[0]], [math.sqrt(5), 2])]
        ends = []
        for inputs, weights in reversed(branches) if swapped else branches:
            h = b.sum(inputs, weights)
            for _ in range(3):
                h = b.activation(h, "tanh")
            ends.append(h)
        mu = maximal_slope(b.build(ends))
        for psi in (1.3, 1.9, 3.0):
            best = float(mu(psi))
            assert best == pytest.approx(psi**3 * (psi**3 + 8 * psi) / 9, rel=1e-13)
            assert max(float(c.polynomial(psi)) for c in mu.candidates) == pytest.approx(best, rel=1e-13)
            assert float(mu.expr.subs(PSI, psi)) == pytest.approx(best, rel=1e-13)


def test_crossing_with_multiplicity_three():
    """(psi - 1) (psi - 2)^3 changes its sign at 2."""
    cubed = sp.Poly(sp.expand((X - 1) * (X - 2) ** 3), X).all_coeffs()[::-1]
    above, below = parts(cubed)
    assert [str(start) for start, _ in check_envelope([below, above])] == ["1", "2"]


def parts(coefficients):
    """Two slope polynomials whose difference is a multiple of an integer polynomial with a root at 1."""
    total = sum(c for c in coefficients if c > 0)
    assert total == -sum(c for c in coefficients if c < 0)
    return tuple(
        mean(*((Fraction(int(sign * c), int(total)), S**k) for k, c in enumerate(coefficients) if sign * c > 0))
        for sign in (1, -1)
    )


@settings(max_examples=30)
@given(
    roots=st.lists(st.fractions(Fraction(1, 2), 4, max_denominator=7), min_size=1, max_size=3),
    powers=st.lists(st.integers(1, 3), min_size=3, max_size=3), irrational=st.booleans(),
)  # fmt: skip
def test_given_roots(roots, powers, irrational):
    """Differences with given roots of given multiplicities, one of them sqrt(2) perhaps."""
    product = X - 1
    for root, power in zip(roots, powers, strict=False):
        product *= (X * root.denominator - root.numerator) ** power
    if irrational:
        product *= X**2 - 2
    coefficients = sp.Poly(sp.expand(product), X).all_coeffs()[::-1]
    odd = {}
    for root, power in zip(roots, powers, strict=False):
        odd[root] = odd.get(root, 0) + power
    want = sorted([float(r) for r, power in odd.items() if power % 2 and r > 1] + [math.sqrt(2)] * irrational)
    pieces = check_envelope(list(parts(coefficients)))
    assert [float(start) for start, _ in pieces[1:]] == want


@pytest.mark.parametrize("distance", [1e-3, 1e-9, 1e-15, 1e-18, 1e-60, 1e-300])
def test_crossings_close_to_one(distance):
    """a psi^2 + 1 - a crosses psi at (1 - a) / a = 1 + d for a = 1 / (2 + d)."""
    d = Fraction(distance)
    a = 1 / (2 + d)
    family = [S, mean((a, S**2), (1 - a, ONE))]
    first, second = envelope(family)
    assert (first[1], second[1]) == (0, 1)
    assert sp.simplify(second[0].expr - (1 + sp.Rational(d))) == 0
    assert float(second[0]) == 1 + distance
    # An irrational one as close: psi (a psi^2 + 1 - a) crosses psi^2 at the same place, a cubic at its own.
    a = 1 / (3 + d)
    start = envelope([S, mean((a, S**3), (1 - a, ONE))])[1][0]
    # a (psi^2 + psi + 1) = 1 has the root 1 + d / 3 + O(d^2).
    assert float(start) == pytest.approx(1 + distance / 3, rel=1e-15, abs=distance**2)
    assert len(start.coefficients) == 3


@pytest.mark.parametrize("gap", [1e-6, 1e-15, 1e-40])
def test_crossings_close_to_each_other(gap):
    """psi, a psi^2 + 1 - a and b psi^3 + 1 - b meet nearly in one point, at 3/2."""
    r = Fraction(3, 2)
    for sign in (1, -1):
        s = r + sign * Fraction(gap)
        family = [S, mean((1 / (1 + r), S**2), (r / (1 + r), ONE))]
        b = 1 / (s * s + s + 1)
        family.append(mean((b, S**3), (1 - b, ONE)))
        pieces = check_envelope(family, digits=120)
        assert [index for _, index in pieces] == ([0, 1, 2] if sign > 0 else [0, 2])
        if sign > 0:
            # Which of two floats next to each other is the larger one is decided exactly.
            assert sp.N(pieces[1][0].expr - pieces[2][0].expr, 60) < 0


# --- weights that are not rational -----------------------------------------------------------------------------------


def branched(weights):
    b = Builder("branched")
    x = b.input("x", channels=2)
    h = b.activation(b.activation(b.activation(x, "tanh"), "tanh"), "tanh")
    return b.build([b.activation(b.sum([h, x], weights), "tanh")])


@pytest.mark.parametrize("weights", [(sp.sqrt(sp.sqrt(2)), 1), (sp.Symbol("w", positive=True), 1), (sp.pi, sp.E)])
def test_irrational_and_symbolic_weights(weights):
    mu = maximal_slope(branched(weights))
    with pytest.raises(ArchitectureError) as error:
        _ = mu.pieces
    assert error.value.remedy
    assert len(mu.candidates) == 2
    assert isinstance(mu.expr, sp.Max)
    assert str(mu).startswith("max{")
    if not any(weight.free_symbols for weight in map(sp.sympify, weights)):
        a, b = (float(w) ** 2 for w in weights)
        for psi in (1.1, 1.5, 3.0):
            want = max(psi**3, psi * (a * psi**3 + b) / (a + b))
            assert float(mu(psi)) == pytest.approx(want, rel=1e-13)
            assert float(mu.argmax(psi).polynomial(psi)) == pytest.approx(want, rel=1e-13)
            assert float(mu.expr.subs(PSI, psi)) == pytest.approx(want, rel=1e-12)
    else:
        with pytest.raises(ArchitectureError, match="w"):
            mu(1.5)


def test_symbols_that_go_by_substitution():
    arch = branched((sp.Symbol("w", positive=True), 1))
    assert len(maximal_slope(arch.substitute(w=1.0)).pieces) == 2
    assert maximal_slope(arch.substitute(w=1.0)).pieces[1].start.coefficients == (-1, -1, 1)


@pytest.mark.parametrize(("depth", "w"), [(50, math.sqrt(0.05)), (50, 0.9), (101, math.sqrt(0.5))])
def test_resnets(depth, w):
    """psi^2 (w^2 psi^3 + 1 - w^2)^-1 > 1 below some psi: where the last residual branch is steeper than the whole."""
    mu = maximal_slope(zoo.resnet_v2(depth, residual_weight=w))
    starts = [float(piece.start) for piece in mu.pieces]
    for psi in np.concatenate([np.linspace(1, 5, 23), np.array(starts) + 1e-6]):
        values = [float(c.polynomial.log(np.log(psi))) for c in mu._undivided]
        active = mu.pieces[int(np.searchsorted(starts, psi, side="right")) - 1].candidate
        assert float(active.polynomial.log(np.log(psi))) >= max(values) - 1e-12


# --- algebraic numbers -----------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(coefficients=st.lists(st.integers(-20, 20), min_size=2, max_size=6).filter(lambda c: c[-1] and c[0]))
def test_algebraic_numbers(coefficients):
    """Every real root of an irreducible polynomial, of either sign of its leading coefficient."""
    polynomial = sp.Poly(list(reversed(coefficients)), X)
    if not polynomial.is_irreducible:
        return
    for index, root in enumerate(sp.real_roots(polynomial)):
        number = AlgebraicNumber(tuple(coefficients), index)
        assert float(number) == pytest.approx(float(root), rel=1e-15)
        assert abs(sp.N(number.expr - root, 30)) < sp.Float("1e-25")
        assert float(sp.N(sp.sympify(str(number).lstrip("~")), 20)) == pytest.approx(float(root), rel=1e-11)
        assert number._repr_latex_().startswith("$")
        symbol = PSI
        assert sp.expand(number.polynomial - sum(c * symbol**k for k, c in enumerate(coefficients))) == 0


def test_rational_numbers():
    number = AlgebraicNumber((-7, 3), 0)
    assert number.expr == sp.Rational(7, 3)
    assert (str(number), float(number), number._repr_latex_()) == ("7/3", 7 / 3, r"$\frac{7}{3}$")
    assert AlgebraicNumber((-7, 3), 0) == number
    assert len({number, AlgebraicNumber((-7, 3), 0)}) == 1
