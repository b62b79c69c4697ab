"""Forms that read well: real, radicals in one shape, complementary error functions, hyperbolic functions for pairs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sympy as sp

S, S1, S2 = sp.symbols("s s1 s2", positive=True)
"""Standard deviations, the roots of q, q1 and q2: what is rational in them factors faster than what holds roots."""


def in_q(expression: Any) -> Any:
    """The expression with the standard deviations written as roots of the variances."""
    return expression.subs({s: sp.sqrt(sp.Symbol(s.name.replace("s", "q"), positive=True)) for s in (S, S1, S2)})


def tidy_in_q(expression: Any) -> Any:
    """`tidy` for an expression in the variances."""
    squares = {sp.Symbol(s.name.replace("s", "q"), positive=True): s**2 for s in (S, S1, S2)}
    return in_q(tidy(expression.subs(squares)))


def root(expression: Any) -> Any:
    """The square root of a rational function that is positive for abs(c) < 1, its factors in a canonical form.

    Equal radicals then look equal, so that they cancel: factors irreducible over the rationals, positive at a point of
    the domain, each under a root of its own; only (1 - c)(1 + c) is kept together.
    """
    rational: Any = sp.factor(sp.together(expression))
    result, negative = sp.S.One, False
    ends: dict[Any, Any] = defaultdict(lambda: sp.S.One)
    for factor in sp.Mul.make_args(rational):
        base, exponent = factor.as_base_exp()
        if _negative(base):
            base, negative = sp.expand(-base), negative ^ bool(exponent % 2)
        if base.is_Add and {str(symbol) for symbol in base.free_symbols} == {"c"}:
            ends[exponent] *= base
        else:
            result *= sp.sqrt(base) ** exponent
    if negative:
        return sp.sqrt(expression)
    return result * sp.Mul(*(sp.sqrt(sp.expand(base)) ** exponent for exponent, base in ends.items()))


def _negative(expression: Any) -> bool:
    """Whether the expression is negative where all its symbols are 1/3."""
    return bool(expression.subs(dict.fromkeys(expression.free_symbols, sp.Rational(1, 3))).is_negative)


def tidy(expression: Any, *, oscillates: bool = False) -> Any:
    """An equal real expression, as short as a few rewritings make it.

    ``oscillates`` says that sines and cosines were integrated as complex exponentials.
    """
    expression = _radicals(expression)
    groups = _groups(_real(expression) if expression.has(sp.I) else expression)
    _pair_error_functions(groups)
    _pair_exponentials(groups, everywhere=oscillates and len(groups) == 2)
    terms = [coefficient * key for key, coefficient in groups.items()]
    common = _common_factor(terms)
    return min((common * sp.Add(*(term / common for term in terms)), sp.Add(*terms)), key=_size)


def _common_factor(terms: list[Any]) -> Any:
    """What divides every term: a rational number and powers of numbers, symbols and functions."""
    if not terms:
        return sp.S.One
    numbers, rests = zip(*(term.as_coeff_Mul() for term in terms), strict=True)
    numerator, denominator = sp.gcd([n.p for n in numbers]), sp.ilcm(1, *(n.q for n in numbers))
    common = sp.Rational(numerator, denominator)
    powers = [dict(rest.as_powers_dict()) for rest in rests]
    for base in powers[0]:
        exponents = [row.get(base, sp.S.Zero) for row in powers]
        if base == sp.E or not all(exponent.is_Rational for exponent in exponents):
            continue
        if all(exponent > 0 for exponent in exponents):
            common *= base ** min(exponents)
        elif all(exponent < 0 for exponent in exponents):
            common *= base ** max(exponents)
    return common


def _size(expression: Any) -> int:
    return int(sp.count_ops(expression))


def _radicals(expression: Any) -> Any:
    """Every square root of a sum in the shape that `root` gives it."""
    half = sp.Rational(1, 2)
    return expression.replace(
        lambda e: e.is_Pow and e.base.is_Add and (e.exp - half).is_Integer and e.base.is_rational_function(),
        lambda e: root(e.base) ** (2 * e.exp),
    )


def _real(expression: Any) -> Any:
    """The real part, everything but I and the exponents being real (the imaginary parts of real integrals cancel)."""

    def euler(exponent: Any) -> Any:
        exponent = sp.expand(exponent)
        phase = exponent.coeff(sp.I, 1)
        return sp.exp(exponent.coeff(sp.I, 0)) * (sp.cos(phase) + sp.I * sp.sin(phase))

    merged = sp.expand(expression, power_exp=False).replace(sp.exp, euler)
    return sp.expand(merged, power_exp=False).coeff(sp.I, 0)


def _groups(expression: Any) -> dict[Any, Any]:
    """The expression as a sum of coefficient * key: coefficients factored, keys transcendental or radicals of sums.

    A radical's exponent is -1/2 in the key; whole powers go to the coefficient, where they may cancel.
    """
    names: dict[Any, Any] = {}
    sums: dict[Any, Any] = defaultdict(lambda: sp.S.Zero)
    expanded = sp.expand(_named_radicals(expression, names), power_exp=False)
    bases = {name: base for base, name in names.items()}
    for addend in sp.Add.make_args(expanded):
        coefficient, key, exponent = sp.S.One, sp.S.One, sp.S.Zero
        for factor in sp.Mul.make_args(addend):
            base, power = factor.as_base_exp()
            if isinstance(factor, sp.exp):
                exponent += factor.args[0]
            elif base in bases:
                key *= bases[base] ** sp.Rational(-(power % 2), 2)
                coefficient *= bases[base] ** (-(power // 2))
            elif base.is_Function:
                key *= factor
            else:
                coefficient *= factor
        sums[key, sp.factor_terms(sp.cancel(exponent))] += coefficient
    groups: dict[Any, Any] = {}
    for (key, exponent), total in sums.items():
        shorter, coefficient = _without_denominators(key, _factored(total))
        if coefficient != 0:
            groups[shorter * sp.exp(exponent)] = coefficient
    return groups


def _named_radicals(expression: Any, names: dict[Any, Any]) -> Any:
    """The expression with each sum under a root or in a denominator replaced by a name for its power -1/2.

    Otherwise sympy's expand would multiply the denominators out.
    """
    if expression.is_Add or expression.is_Mul:
        return expression.func(*(_named_radicals(argument, names) for argument in expression.args))
    if not expression.is_Pow or isinstance(expression, sp.exp):
        return expression
    base, exponent = expression.as_base_exp()
    if exponent.is_Integer and exponent.is_positive:
        return _named_radicals(base, names) ** exponent
    if base.is_Add and (2 * exponent).is_Integer:
        return names.setdefault(base, sp.Dummy(positive=True)) ** (-2 * exponent)
    return expression


def _without_denominators(key: Any, coefficient: Any) -> tuple[Any, Any]:
    """Radicals moved from the denominator to the numerator wherever that shortens the coefficient."""
    for factor in sp.Mul.make_args(key):
        base, exponent = factor.as_base_exp()
        shorter = _factored(coefficient / base) if base.is_Add and exponent.is_negative else coefficient
        if _size(shorter) < _size(coefficient):
            key, coefficient = key * base, shorter
    return key, coefficient


def _factored(coefficient: Any) -> Any:
    """A coefficient rational in c and in square roots of q, q1 and q2, factored, or expanded where that is shorter."""
    factored: Any = sp.factor(sp.together(coefficient))
    if not sp.fraction(factored)[1].has(sp.Add):
        factored = min((factored, sp.expand(factored)), key=_size)
    result, negative = sp.S.One, False
    for factor in sp.Mul.make_args(factored):
        base, exponent = factor.as_base_exp()
        if base.is_Add and exponent.is_Integer and _negative(base):
            # -(-a - b) is written a + b.
            base, negative = sp.expand(-base), negative ^ bool(exponent % 2)
        result *= base**exponent
    return -result if negative else result


def _pair_error_functions(groups: dict[Any, Any]) -> None:
    """A key and its product with erf(x), of opposite coefficients, become the product with erfc(x)."""
    for key in list(groups):
        for factor in sp.Mul.make_args(key):
            rest = key / factor
            if isinstance(factor, sp.erf) and rest in groups and sp.expand(groups[key] + groups[rest]) == 0:
                groups[rest * sp.erfc(factor.args[0])] = groups.pop(rest)
                del groups[key]
                break


def _pair_exponentials(groups: dict[Any, Any], *, everywhere: bool) -> None:
    """Two exponentials with equal or opposite coefficients become a hyperbolic function.

    Only where c -> -c swaps them, or ``everywhere``: 1 - exp(-2 q) is 2 exp(-q) sinh(q) for the sine alone.
    """

    def split(key: Any) -> tuple[Any, Any]:
        factors: Any = sp.Mul.make_args(key)
        exponents: Any = [factor.args[0] for factor in factors if isinstance(factor, sp.exp)]
        return sp.Mul(*(factor for factor in factors if not isinstance(factor, sp.exp))), sp.Add(*exponents)

    open_keys = list(groups)
    while open_keys:
        first = open_keys.pop()
        (rest1, exponent1), coefficient = split(first), groups[first]
        for second in open_keys:
            rest2, exponent2 = split(second)
            if rest1 != rest2 or not (everywhere or _swapped(exponent1, exponent2)):
                continue
            sign = next((sign for sign in (1, -1) if sp.expand(groups[second] - sign * coefficient) == 0), 0)
            if not sign:
                continue
            middle, half = (_factored((exponent1 + s * exponent2) / 2) for s in (1, -1))
            groups[rest1 * sp.exp(middle) * (sp.cosh(half) if sign == 1 else sp.sinh(half))] = 2 * coefficient
            del groups[first], groups[second]
            open_keys.remove(second)
            break


def _swapped(exponent1: Any, exponent2: Any) -> bool:
    """Whether c -> -c turns one exponent into the other, a different one."""
    opposite = exponent1.subs({symbol: -symbol for symbol in exponent1.free_symbols if symbol.name == "c"})
    return exponent1 != exponent2 and sp.cancel(opposite - exponent2) == 0
