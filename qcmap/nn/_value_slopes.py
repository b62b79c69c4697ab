"""Derivatives of shaped activations in terms of their values, for those whose value says enough.

A layer's value is kept for the weights of the next layer in any case. So a derivative that is a function of it saves
the memory and the reading of the input. Exact up to rounding of phi = phi_hat/gamma - delta.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

_MARGIN = 2.0**-20
"""Half of the rounding errors that a value at a kink may have, in units of its terms, and more."""


@dataclass(frozen=True)
class Constants:
    """The constants of phi_hat(u) = gamma (phi(alpha u + beta) + delta), and what phi has besides."""

    input_scale: float
    input_shift: float
    output_shift: float
    output_scale: float
    parameters: Mapping[str, float] = field(default_factory=dict)


ValueSlope = Callable[[Tensor, Tensor], Tensor]
"""From values phi_hat(u) and a factor: the factor times phi_hat'(u)."""


def value_slope(name: str, constants: Constants) -> ValueSlope | None:
    """The derivative of an activation of the catalogue; None where its value does not say enough."""
    row = _TABLE.get(name)
    return None if row is None or constants.output_scale <= 0 else row(constants)


def _two_slopes(c: Constants, left: float, right: float) -> ValueSlope | None:
    """Slopes on the two sides of the kink v = 0, where phi_hat = gamma delta; rounded values there count as left.

    None if the function falls on the left: then values stand for two arguments.
    """
    if left < 0:
        return None
    steep = c.output_scale * c.input_scale
    kink = c.output_scale * c.output_shift
    edge = kink + _MARGIN * c.output_scale * (abs(c.output_shift) + abs(c.input_shift))
    return lambda value, factor: factor * torch.where(value > edge, steep * right, steep * left).to(factor.dtype)


def _saturating(c: Constants, peak: float, middle: float) -> ValueSlope:
    """Peak - (phi - middle)^2 times the outer constants: 1 - tanh^2, 1/4 - (sigmoid - 1/2)^2."""
    scale, shift, steep = 1 / c.output_scale, c.output_shift + middle, c.output_scale * c.input_scale
    return lambda value, factor: factor * (steep * (peak - (scale * value - shift).square()))


_TABLE: Mapping[str, Callable[[Constants], ValueSlope | None]] = {
    "relu": lambda c: _two_slopes(c, 0.0, 1.0),
    "leaky_relu": lambda c: _two_slopes(c, c.parameters["negative_slope"], 1.0),
    "tanh": lambda c: _saturating(c, 1.0, 0.0),
    "sigmoid": lambda c: _saturating(c, 0.25, 0.5),
}
