"""Sums, concatenations, multiples and products."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Complex, Real
from typing import TYPE_CHECKING, Any

from qcmap.architecture import Concat, Multiply, Scale, Sum
from qcmap.nn.tracing._axes import CHANNEL, Atom, joined, whole
from qcmap.nn.tracing._calls import Call
from qcmap.nn.tracing._elementwise import pointwise_of, product
from qcmap.nn.tracing._feature import Constant, Feature, Pointwise

if TYPE_CHECKING:
    from qcmap.nn.tracing._translate import Rule, Translator


def _add(sign: float, *, reverse: bool = False) -> Rule:
    def rule(t: Translator, call: Call) -> Feature:
        given = call.bound("input other")
        x, y = given["input"], given["other"]
        alpha = call.keywords.get("alpha", call.positional[2] if len(call.positional) > 2 else 1)
        weights = (1.0, sign * _number(t, call, alpha))
        if reverse:
            x, y = y, x
        if isinstance(x, Feature) and isinstance(y, Feature):
            return added(t, call, [x, y], weights)
        if isinstance(x, Feature):
            return _shifted(t, call, x, y, weights[1])
        if isinstance(x, Constant) and x.sources is not None and weights[1] != 1:
            raise t.error(
                call, "it adds a multiple of a feature map to a parameter, two things in one call",
                "multiply the map first, or add the parameter to it: parameter + (-x)",
            )  # fmt: skip
        shifted = _scaled(t, call, y, weights[1]) if weights[1] != 1 else y
        return _shifted(t, call, shifted, x, 1.0)

    return rule


def added(t: Translator, call: Call, parts: list[Feature], weights: tuple[float, ...]) -> Feature:
    """The weighted sum of feature maps."""
    parts = [t.seen(x, 1) for x in parts]
    first = parts[0]
    for x in parts[1:]:
        if x.layout != first.layout:
            raise t.error(
                call, "its branches have their channels or locations on different axes, or one is broadcast",
                "bring the branches to the same shape with layers or pooling",
            )  # fmt: skip
    pointwise = None
    forms = [pointwise_of(x) for x in parts]
    if all(form.base.same_map(forms[0].base) for form in forms):
        pointwise = Pointwise(
            forms[0].base,
            lambda u: sum(w * form.expression(u) for w, form in zip(weights, forms, strict=True)),
            bent=any(form.bent for form in forms),
        )
    if pointwise is not None and any(x.draft is None or callable(x.draft.op) for x in parts):
        return Feature(call.node, None, first.layout, first.locations, pointwise)
    return Feature(call.node, t.draft(call, Sum(weights), *parts), first.layout, first.locations, pointwise)


def _shifted(t: Translator, call: Call, x: Feature, constant: Any, weight: float) -> Feature:
    """A feature map plus a constant: nothing if that is zero or a bias, else part of an activation."""
    if isinstance(constant, Constant):
        _same_shape(t, call, x)
        if constant.sources is not None:
            return _biased(t, call, x, constant.sources)
        number = entry(t, call, constant, "adds")
    else:
        number = _number(t, call, constant)
    number *= weight
    if number == 0:
        return replace(x, place=call.node)
    form = pointwise_of(x)
    shifted = Pointwise(form.base, lambda u: form.expression(u) + number, form.bent)
    return Feature(call.node, None, x.layout, x.locations, shifted)


def _biased(t: Translator, call: Call, x: Feature, parameters: tuple[str, ...]) -> Feature:
    """A feature map plus a parameter: a formula that it has been part of ends here, as it has no place for that."""
    x = t.solid(x)
    assert x.draft is not None, call.node
    for path in parameters:
        t.biases.setdefault(path, {})[x.draft] = None
    return replace(x, place=call.node, pointwise=None, biases=(*x.biases, call.node))


def entry(t: Translator, call: Call, constant: Constant, verb: str) -> float:
    """The number that all entries of a constant are; refused if they differ."""
    values = t.value_of(constant).detach().reshape(-1)
    if values.numel() == 0 or not bool((values == values[0]).all()):
        raise t.error(
            call, f"it {verb} a constant tensor whose entries differ", "use one number for all channels and locations"
        )
    return _number(t, call, values[0].item())


def _number(t: Translator, call: Call, value: Any) -> float:
    """A number as it is written; refused if it is not finite, or computed from the batch size."""
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    found = repr(value) if isinstance(value, Complex) else "the batch size"
    raise t.error(call, f"it calculates with {found}", "use a finite number that is always the same")


def _same_shape(t: Translator, call: Call, x: Feature) -> None:
    if call.node.meta["val"].shape != x.place.meta["val"].shape:
        raise t.error(call, "it broadcasts a feature map to a larger shape", "bring them to one shape with layers")


def _mul(t: Translator, call: Call) -> Feature:
    given = call.bound("input other")
    x, y = given["input"], given["other"]
    if isinstance(x, Feature) and isinstance(y, Feature):
        x, y = t.seen(x, 1), t.seen(y, 1)
        fused = product(t, call, x, y)
        if fused is not None:
            return fused
        larger = x if x.place.meta["val"].numel() == call.node.meta["val"].numel() else y
        return Feature(call.node, t.draft(call, Multiply(), x, y), larger.layout, larger.locations)
    if not isinstance(x, Feature):
        x, y = y, x
    return _times(t, call, x, y, inverse=False)


def _div(t: Translator, call: Call) -> Feature:
    given = call.bound("input other")
    x, y = given["input"], given["other"]
    if isinstance(y, Feature):
        fused = product(t, call, t.seen(x, 1), t.seen(y, 1), inverse=True) if isinstance(x, Feature) else None
        if fused is not None:
            return fused
        if isinstance(x, (int, float)) and x != 0:
            form = pointwise_of(y)
            quotient = Pointwise(form.base, lambda u: x / form.expression(u), bent=True)
            return Feature(call.node, None, y.layout, y.locations, quotient)
        raise t.error(
            call, "it divides by a feature map, a product of feature maps [no-multiplication]",
            "use a normalization layer of torch.nn",
        )  # fmt: skip
    if call.keywords.get("rounding_mode"):
        raise t.error(call, "it rounds", "divide without rounding_mode")
    return _times(t, call, x, y, inverse=True)


def _times(t: Translator, call: Call, x: Feature, constant: Any, *, inverse: bool) -> Feature:
    if isinstance(constant, Constant):
        _same_shape(t, call, x)
        number = entry(t, call, constant, "multiplies by")
    else:
        number = _number(t, call, constant)
    if number == 0:
        own = isinstance(constant, Constant) and constant.sources
        raise t.error(
            call, f"multiplication or division by {f'the parameter {own[0]!r}, which is zero' if own else 'zero'}",
            "give it another value: shaping weights the branches of sums itself" if own else "take this branch out",
        )  # fmt: skip
    return _scaled(t, call, x, 1 / number if inverse else number)


def _scaled(t: Translator, call: Call, x: Feature, factor: float) -> Feature:
    form = pointwise_of(x)
    scaled = Pointwise(form.base, lambda u: factor * form.expression(u), form.bent)
    if x.draft is None or callable(x.draft.op):
        # A multiple of what is written out, such as the last factor of ``x * relu6(x + 3) / 6``, belongs to it.
        return Feature(call.node, None, x.layout, x.locations, scaled)
    return Feature(call.node, t.draft(call, Scale(factor), x), x.layout, x.locations, scaled)


def _neg(t: Translator, call: Call) -> Feature:
    return _scaled(t, call, call.features[0], -1.0)


def _cat(t: Translator, call: Call) -> Feature:
    given = call.bound("input dim")
    parts, dim = given["input"], int(given.get("dim", 0))
    if not all(isinstance(x, Feature) for x in parts):
        raise t.error(
            call, "it joins a feature map with a constant, whose c value is 1 for all pairs of inputs",
            "leave the constant (a class token?) out",
        )  # fmt: skip
    parts = [t.seen(x, dim) for x in parts]
    dim %= len(parts[0].layout)
    first = parts[0]
    if not all(whole(x.layout[dim], CHANNEL, x.channels) for x in parts):
        raise t.error(call, f"axis {dim} is not that of the channels", "concatenate channels, or pool and add")
    rest = [axis for k, axis in enumerate(first.layout) if k != dim]
    if any([axis for k, axis in enumerate(x.layout) if k != dim] != rest for x in parts):
        raise t.error(call, "its maps have their locations on different axes", "bring them to one order")
    layout = list(first.layout)
    layout[dim] = joined([Atom(CHANNEL, sum(x.channels for x in parts))])
    return Feature(call.node, t.draft(call, Concat(), *parts), tuple(layout), first.locations)


RULES: dict[str, Rule] = {
    "add": _add(1.0),
    "sub": _add(-1.0),
    "rsub": _add(-1.0, reverse=True),
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "cat": _cat,
}
