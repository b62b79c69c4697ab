"""C maps and their derivatives by ball arithmetic (python-flint) at 31 digits, for correlations up to one.

abs(c) <= 0.9: the Hermite series, with coefficients by quadrature. Beyond: a double integral over independent standard
normal a and b, x = alpha a + beta b, y = sign(c) (alpha a - beta b), where alpha^2 = (1 + abs(c)) / 2 and beta^2 = (1 -
abs(c)) / 2. For kinked pieces the rules break at every kink line and are graded over a width beta around it. C' is
E[F' F'] for continuous F. Orders from 2 on take no derivatives of F at all: c enters through the variances alpha^2 and
beta^2, and d/dt E[H(sqrt(t) a)] = E[H He_2(a)] / (2 t), so

    C^(i) = sum_j binom(i, j) (4 alpha^2)^(j-i) (-4 beta^2)^(-j) E[F_1 F_2 He_{2(i-j)}(a) He_{2j}(b)],

which cancels by beta^(-2 i): the arithmetic has that many more digits. The library does neither.
"""

import math
from functools import cached_property, lru_cache
from itertools import pairwise

import flint
from flint import arb

from tests.formulas import BALLS

DIGITS = 22
"""What quadrature leaves out, absolutely; arithmetic has nine digits more, and a map may ask for more."""
_NODES = 22
_TERMS = 560
_GRADES = (-10.5, -7.0, -4.0, -1.8, 0.0, 1.8, 4.0, 7.0, 10.5)


@lru_cache(maxsize=8)
def _legendre(count, precision):
    """Nodes and weights on [-1, 1]."""
    with flint.ctx.workprec(precision):
        return [arb.legendre_p_root(count, k, weight=True) for k in range(count)]


def _panels(points, reach, count):
    """Composite Gauss-Legendre nodes between the points, clipped to [-reach, reach]."""
    ends = sorted(map(arb, (-reach, reach, *(p for p in points if abs(float(p)) < reach))), key=float)
    x, w = [], []
    for left, right in pairwise(ends):
        if float(right - left) > 1e-27:
            half, middle = (right - left) / 2, (right + left) / 2
            for node, weight in _legendre(count, flint.ctx.prec):
                x.append(middle + half * node)
                w.append(half * weight)
    return x, w


def _even(reach, width):
    count = math.ceil(2 * reach / width)
    return [-reach + 2 * reach * k / count for k in range(1, count)]


def _hermite(n, x):
    before, here = arb(0), arb(1)
    for k in range(n):
        before, here = here, x * here - k * before
    return here


class Layer:
    """F(x) = gain * (phi(scale * sqrt(q) * sign * x + shift) + offset) and its derivative in x."""

    def __init__(self, formula, q, constants, sign=1):
        scale, shift, offset, gain = map(arb, constants)
        self.formula, self.scale, self.shift, self.offset, self.gain = (
            formula,
            scale * arb(q).sqrt(),
            shift,
            offset,
            gain,
        )
        self.scale *= sign
        self.kinks = [(kink - shift) / self.scale for kink in formula.kinks]
        self.width = abs(float(self.scale))

    def value(self, x):
        return self.gain * (self.formula.value(self.scale * x + self.shift) + self.offset)

    def first(self, x):
        return self.gain * self.scale * self.formula.first(self.scale * x + self.shift)

    def grading(self, reach, smear=0.0):
        """Breaks in x towards complex singularities, whose real parts are ``smear`` uncertain."""
        length, largest = self.formula.strip, self.width * reach + abs(float(self.shift))
        if math.isinf(length):
            return []
        if self.formula.oscillates:
            distances = [2.0 * length * k for k in range(math.ceil(largest / (2.0 * length)) + 1)]
        else:
            distances = [length / 2 * 2.0**k for k in range(math.ceil(math.log2(2 * largest / length + 2)))]
            distances += [length * k for k in range(1, math.ceil(smear * self.width / length) + 1)]
        points = (self.formula.centre + sign * d for d in distances for sign in (1, -1))
        return [(p - self.shift) / self.scale for p in points]


class PairMap:
    """E[F_1(x) F_2(y)] / sqrt(Q(q1) Q(q2)) and its derivatives in the correlation c.

    ``formula`` has functions of balls, as in `BALLS`; ``constants`` are those of a transform, in the order input_scale,
    input_shift, output_shift, output_scale.
    """

    def __init__(self, formula, q1=1.0, q2=1.0, constants=(1, 0, 0, 1), digits=DIGITS):
        if isinstance(formula, str):
            formula = BALLS[formula]
        self.make = lambda q, sign: Layer(formula, q, constants, sign)
        self.q1, self.q2, self.digits = q1, q2, digits

    @cached_property
    def moments(self):
        with flint.ctx.workprec(_bits(self.digits)):
            return tuple(self._line(self.make(q, 1), self.make(q, 1), "value", self.digits) for q in (self.q1, self.q2))

    def value(self, c):
        """C(c), a ball; c is a float, exactly."""
        return self.both(c)[0]

    def slope(self, c):
        """C'(c)."""
        return self.both(c)[1]

    def both(self, c):
        """C(c) and C'(c) at abs(c) <= 1, for continuous F."""
        with flint.ctx.workprec(_bits(self.digits)):
            sign = -1 if c < 0 else 1
            if abs(c) <= 0.9:
                value, slope = self._series(c, 0), self._series(c, 1) * sign
            elif abs(c) == 1:
                one, two = self.make(self.q1, 1), self.make(self.q2, sign)
                value, slope = (self._line(one, two, which, self.digits) for which in ("value", "first"))
            else:
                value, slope = self._plane(c, self.digits, _slopes)
            norm = (self.moments[0] * self.moments[1]).sqrt()
            return value / norm, slope * sign / norm

    def derivative(self, c, order):
        """The derivative of any order at abs(c) < 1; F may jump."""
        digits = self.digits + math.ceil(order * -math.log10(1 - abs(c)) if abs(c) > 0.9 else 0)
        with flint.ctx.workprec(_bits(digits)):
            if abs(c) <= 0.9:
                found = self._series(c, order)
            else:
                found = self._plane(c, digits, _weighted(order, abs(arb(c)), -1 if c < 0 else 1))[0]
            return found / (self.moments[0] * self.moments[1]).sqrt()

    @staticmethod
    def _line(one, two, which, digits):
        """E[F_1(x) F_2(x)]."""
        reach, more = _reach(digits), _NODES + 2 * max(0, digits - DIGITS)
        points = [*_even(reach, 1.5), *one.kinks, *two.kinks, *one.grading(reach), *two.grading(reach)]
        x, w = _panels(points, reach, more)
        f, g = getattr(one, which), getattr(two, which)
        total = sum((v * (-p * p / 2).exp() * f(p) * g(p) for p, v in zip(x, w, strict=True)), arb(0))
        return total / (2 * arb.pi()).sqrt()

    @cached_property
    def _coefficients(self):
        with flint.ctx.workprec(_bits(self.digits)):
            return [_coefficients(self.make(q, 1), self.digits) for q in dict.fromkeys((self.q1, self.q2))]

    def _series(self, c, order):
        a, b = self._coefficients[0], self._coefficients[-1]
        total, c = arb(0), arb(c)
        for n in reversed(range(order, _TERMS)):
            total = total * c + a[n] * b[n] * math.perm(n, order)
        return total

    def _plane(self, c, digits, terms):
        """The sum over all nodes of the terms, a pair."""
        sign, magnitude = (-1 if c < 0 else 1), abs(arb(c))
        alpha, beta = ((1 + magnitude) / 2).sqrt(), ((1 - magnitude) / 2).sqrt()
        one, two = self.make(self.q1, 1), self.make(self.q2, sign)
        # With one q the integrand is even in b, or in a if c < 0.
        even_b, even_a = self.q1 == self.q2 and c > 0, self.q1 == self.q2 and c < 0
        reach, count = _reach(digits), _NODES + (digits - DIGITS)
        points = [*_even(reach, 1.5), 0.0]
        for layer in (one, two):
            points += [p / alpha for p in layer.grading(reach, 6 * float(beta / alpha))]
            grades = [grade * math.sqrt(digits / DIGITS) for grade in _GRADES]
            points += [k / alpha + grade * beta / alpha for k in layer.kinks for grade in grades]
        points += [(k + m) / (2 * alpha) for k in one.kinks for m in two.kinks]
        steps = self._steps(one, two, float(beta), digits, reach, even_b)
        total, other = arb(0), arb(0)
        for a, wa in zip(*_panels(points, reach, count), strict=True):
            if even_a and a < 0:
                continue
            here, room = alpha * a, reach * reach - float(a) ** 2
            breaks = [(k - here) / beta for k in one.kinks] + [(here - k) / beta for k in two.kinks]
            inner = steps
            if any(float(p) ** 2 < room for p in breaks):
                b, wb = _panels([*breaks, *_even(reach, 2.6), 0.0], reach, count)
                inner = [(p, v * (-p * p / 2).exp() * (2 if even_b else 1))
                         for p, v in zip(b, wb, strict=True) if not (even_b and p < 0)]  # fmt: skip
            wa *= (-a * a / 2).exp() * (2 if even_a else 1)
            kept = [(b, wb) for b, wb in inner if float(b) ** 2 < room]
            found = terms(one, two, here, [beta * b for b, _ in kept], a, kept)
            total += wa * found[0]
            other += wa * found[1]
        return total / (2 * arb.pi()), other / (2 * arb.pi())

    @staticmethod
    def _steps(one, two, beta, digits, reach, even):
        """The trapezoidal rule in b, for pieces that are analytic in a strip."""
        strip = min(layer.formula.strip / (layer.width * beta) for layer in (one, two))
        decay = (digits + 5) * math.log(10)
        strip = min(0.9 * strip, math.sqrt(2 * decay))
        h = arb(2 * math.pi * strip / (decay + strip**2 / 2))
        number = math.ceil(reach / float(h))
        nodes = [h * k for k in range(0 if even else -number, number + 1)]
        return [(b, h * (-b * b / 2).exp() * (2 if even and k else 1)) for k, b in enumerate(nodes)]


def _slopes(one, two, here, moves, _, kept):
    """E[F_1 F_2] and E[F_1' F_2'] at one a."""
    value, slope = arb(0), arb(0)
    f, g, df, dg = one.formula.value, two.formula.value, one.formula.first, two.formula.first
    for move, (_, w) in zip(moves, kept, strict=True):
        u, v = one.scale * (here + move) + one.shift, two.scale * (here - move) + two.shift
        value += w * (f(u) + one.offset) * (g(v) + two.offset)
        slope += w * df(u) * dg(v)
    gain = one.gain * two.gain
    return gain * value, gain * one.scale * two.scale * slope


def _weighted(order, magnitude, sign):
    """The terms of the formula that needs no derivatives of F."""
    wide, narrow = 2 * (1 + magnitude), -2 * (1 - magnitude)
    factors = [math.comb(order, j) / (wide ** (order - j) * narrow**j) * sign**order for j in range(order + 1)]

    def terms(one, two, here, moves, a, kept):
        outer = [factor * _hermite(2 * (order - j), a) for j, factor in enumerate(factors)]
        total = arb(0)
        for move, (b, w) in zip(moves, kept, strict=True):
            weight = sum((factor * _hermite(2 * j, b) for j, factor in enumerate(outer)), arb(0))
            total += w * weight * one.value(here + move) * two.value(here - move)
        return total, arb(0)

    return terms


def _bits(digits):
    return math.ceil((digits + 9) * math.log2(10))


def _reach(digits):
    return math.sqrt(2 * (digits + 2) * math.log(10))


def _coefficients(layer, digits):
    """E[F He_n / sqrt(n!)] for n < `_TERMS`."""
    reach = 1.2 * _reach(digits)
    x, w = _panels([*_even(reach, 0.8), *layer.kinks, *layer.grading(reach)], reach, _NODES + 2 * (digits - DIGITS))
    root = (2 * arb.pi()).sqrt()
    weighted = [v * (-p * p / 2).exp() / root * layer.value(p) for p, v in zip(x, w, strict=True)]
    before, here, found = [arb(0)] * len(x), [arb(1)] * len(x), []
    roots = [arb(n).sqrt() for n in range(_TERMS + 1)]
    for n in range(_TERMS):
        found.append(sum((v * h for v, h in zip(weighted, here, strict=True)), arb(0)))
        a, b = 1 / roots[n + 1], roots[n] / roots[n + 1]
        # The recurrence is stable, but not in interval arithmetic: radii are dropped.
        before, here = here, [(a * p * h - b * k).mid() for p, h, k in zip(x, here, before, strict=True)]
    return found
