"""Activations: functions of the catalogue and others, in whatever way they are called; products of one map's functions.

An activation that is written out, such as ``x * torch.sigmoid(1.702 * x)``, is followed as a formula: while a map is an
elementwise function of another one, both are known, and their product is an activation of that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qcmap.activations import CATALOGUE, activation
from qcmap.architecture import Nonlinear
from qcmap.nn.tracing._calls import Call, common
from qcmap.nn.tracing._expressions import catalogued, named_activation
from qcmap.nn.tracing._feature import Constant, Feature, Pointwise

if TYPE_CHECKING:
    from qcmap.architecture._ops import Named
    from qcmap.nn.tracing._translate import Rule, Translator, Value

Formula = Callable[[Any], Any]


def _text(formula: str) -> Formula:
    def of(u: Any) -> Any:
        import sympy

        names = {"Max": sympy.Max, "Min": sympy.Min, "Abs": sympy.Abs, "u": u}
        parse: Any = sympy.sympify
        return parse(formula, locals=names)

    return of


FORMULAS: Mapping[str, tuple[str, str]] = {
    "hardtanh": ("min_val=-1 max_val=1", "Min(Max(u, {min_val}), {max_val})"),
    "clamp": ("min=-oo max=oo", "Min(Max(u, {min}), {max})"),
    "hardsigmoid": ("", "Min(Max(u/6 + 1/2, 0), 1)"),
    "logsigmoid": ("", "-log(1 + exp(-u))"),
    "tanhshrink": ("", "u - tanh(u)"),
    "abs": ("", "Abs(u)"),
    "exp": ("", "exp(u)"),
    "expm1": ("", "exp(u) - 1"),
    "erfc": ("", "erfc(u)"),
    "log": ("", "log(u)"),
    "sqrt": ("", "sqrt(u)"),
    "rsqrt": ("", "1/sqrt(u)"),
    "reciprocal": ("", "1/u"),
    "sinh": ("", "sinh(u)"),
    "cosh": ("", "cosh(u)"),
    "softshrink": ("lambd=0.5", "Max(u - {lambd}, 0) + Min(u + {lambd}, 0)"),
    "clamp_min": ("min=-oo", "Max(u, {min})"),
    "clamp_max": ("max=oo", "Min(u, {max})"),
}
"""Functions that the catalogue lacks, or has for some parameters only: their parameters with defaults, and formulas."""


def bent(t: Translator, call: Call, x: Feature, function: str | Named) -> Feature:
    """An activation of a feature map."""
    act = activation(function)  # pyright: ignore[reportArgumentType]

    def formula(u: Any) -> Any:
        return act.sympy.subs(next(iter(act.sympy.free_symbols)), u)

    return applied(t, call, x, lambda: Nonlinear(function), formula)


def applied(t: Translator, call: Call, x: Feature, op: Callable[[], Nonlinear], formula: Formula) -> Feature:
    """An activation with this op and formula of a feature map."""
    inner = pointwise_of(x)
    outer = Pointwise(inner.base, lambda u: formula(inner.expression(u)), bent=True)
    draft = t.composite(outer, call.node) if x.draft is None else t.draft(call, op, x)
    return Feature(call.node, draft, x.layout, x.locations, outer)


def pointwise_of(x: Feature) -> Pointwise:
    """A feature map as a function of another one: of itself if of none."""
    return x.pointwise or Pointwise(x, lambda u: u, bent=False)


def _catalogued(name: str) -> Rule:
    """An activation whose parameters have the names that torch gives them."""
    parameters = activation(name).parameters

    def rule(t: Translator, call: Call) -> Feature:
        given = call.bound(" ".join(["input", *parameters]))
        x = one(t, call, given)
        values = {key: float(given[key]) for key in parameters if given.get(key) is not None}
        return bent(t, call, x, catalogued(name, values))

    return rule


def _formula(parameters: str, template: str) -> Rule:
    defaults = dict(item.split("=") for item in parameters.split())

    def rule(t: Translator, call: Call) -> Feature:
        given = call.bound(" ".join(["input", *defaults]))
        x = one(t, call, given)
        values = {key: repr(given[key]) if given.get(key) is not None else text for key, text in defaults.items()}
        if any(not isinstance(given.get(key, 0), (int, float, type(None))) for key in defaults):
            raise t.error(call, "its limits are no numbers", "give numbers")
        formula = _text(template.format(**values))
        return applied(t, call, x, lambda: Nonlinear(named_activation(formula)), formula)

    return rule


def one(t: Translator, call: Call, given: Mapping[str, Any]) -> Feature:
    """The feature map that a call of one argument reads."""
    x = given.get("input")
    if not isinstance(x, Feature):
        raise t.error(call, "what it reads is no feature map", "apply it to what a layer gives")
    return x


def _gelu(t: Translator, call: Call) -> Feature:
    given = call.bound("input")
    tanh = call.keywords.get("approximate", getattr(call.module, "approximate", "none")) == "tanh"
    return bent(t, call, one(t, call, given), "gelu_tanh" if tanh else "gelu")


def _prelu(t: Translator, call: Call) -> Feature:
    given = call.bound("input weight")
    weight = given["weight"]
    values = t.value_of(weight) if isinstance(weight, Constant) else weight
    if isinstance(values, Feature) or not bool((values == values.reshape(-1)[0]).all()):
        raise t.error(call, "its negative slopes differ by channel", "use one slope, or LeakyReLU")
    slope = float(values.reshape(-1)[0])
    return bent(t, call, one(t, call, given), catalogued("leaky_relu", {"negative_slope": slope}))


_SOFTPLUS = _formula("beta=1", "log(1 + exp({beta}*u))/{beta}")


def _softplus(t: Translator, call: Call) -> Value:
    given = call.bound("input beta threshold")
    threshold, beta = float(given.get("threshold", 20)), float(given.get("beta", 1))
    jump = float(np.logaddexp(0, -threshold)) / abs(beta) if beta else 0.0
    if jump > _SMALLEST_JUMP:
        raise t.error(
            call, f"it jumps by {jump:.2g} at its threshold {threshold:g}, above which torch takes the identity",
            "use a threshold of 20 or more",
        )  # fmt: skip
    return _SOFTPLUS(t, call)


_SMALLEST_JUMP = 1e-6
"""Less is the rounding of float32; torch's own threshold, 20, makes a jump of 2e-9."""


def _threshold(t: Translator, call: Call) -> Feature:
    given = call.bound("input threshold value")
    if (given["threshold"], given["value"]) != (0, 0):
        raise t.error(call, "a threshold other than (0, 0) jumps", "use relu")
    return bent(t, call, one(t, call, given), "relu")


def _power(t: Translator, call: Call) -> Feature:
    x, exponent = call.bound("input exponent").values()
    if not isinstance(x, Feature) or isinstance(exponent, bool) or not isinstance(exponent, (int, float)):
        raise t.error(call, "an exponent is a number", "use x**2")
    if exponent != int(exponent) or exponent < 1:
        raise t.error(call, f"the power {exponent} is not finite at 0 or for negative arguments", "use a whole power")
    n = int(exponent)
    if n == 1:
        return x
    return applied(t, call, x, lambda: Nonlinear(named_activation(lambda u: u**n)), lambda u: u**n)


def function_of(name: str) -> str | None:
    """The common name of the torch function that the catalogue has for an activation."""
    counterpart = activation(name).torch
    return None if counterpart is None else common(counterpart.path.rpartition(".")[2])


def product(t: Translator, call: Call, x: Feature, y: Feature, *, inverse: bool = False) -> Feature | None:
    """The product (or quotient) of two functions of one feature map, an activation of it; None if they are not."""
    first, second = pointwise_of(x), pointwise_of(y)
    if not first.base.same_map(second.base) or x.layout != y.layout:
        return None
    power = -1 if inverse else 1
    both = Pointwise(first.base, lambda u: first.expression(u) * second.expression(u) ** power, bent=True)
    return Feature(call.node, t.composite(both, call.node), x.layout, x.locations, both)


RULES: dict[str, Rule] = {
    **{name: _catalogued(name) for name in CATALOGUE if function_of(name) == name},
    **{name: _formula(*row) for name, row in FORMULAS.items()},
    "gelu": _gelu,
    "softplus": _softplus,
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    "threshold": _threshold,
    "pow": _power,
}
