"""An independent walk over a network: m values (inner products over channels) of two inputs, and their derivatives.

Only the data of an `Architecture` are read (ids, ops, inputs); none of qcmap's maps is used. Activations are given by
closed forms of E phi(u), E[phi(u) phi(v)] and E[phi'(u) phi'(v)] for Gaussian u, v of variances q1, q2 and covariance
m; a test compares these with the series of `theory_checks.oracles`. Numbers are mpmath's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import mpmath as mp

import qcmap as qc
from qcmap.architecture import Affine, Concat, Input, LayerNorm, Nonlinear, Scale, Sum
from theory_checks.oracles import Number


@dataclass(frozen=True)
class Kernel:
    """An activation's Gaussian moments: the mean at q, and E[phi phi] and E[phi' phi'] at (m, q1, q2)."""

    mean: Callable[[Number], Number]
    value: Callable[[Number, Number, Number], Number]
    slope: Callable[[Number, Number, Number], Number]


def _angle(m: Number, q1: Number, q2: Number) -> Number:
    return mp.acos(max(mp.mpf(-1), min(mp.mpf(1), m / mp.sqrt(q1 * q2))))


def _relu(m: Number, q1: Number, q2: Number) -> Number:
    theta = _angle(m, q1, q2)
    return mp.sqrt(q1 * q2) * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / (2 * mp.pi)


def _erf(m: Number, q1: Number, q2: Number) -> Number:
    return 2 / mp.pi * mp.asin(2 * m / mp.sqrt((1 + 2 * q1) * (1 + 2 * q2)))


def _erf_slope(m: Number, q1: Number, q2: Number) -> Number:
    return 4 / mp.pi / mp.sqrt((1 + 2 * q1) * (1 + 2 * q2) - 4 * m * m)


def _damping(q1: Number, q2: Number) -> Number:
    return mp.exp(-(q1 + q2) / 2)


def _nothing(q: Number) -> Number:
    return mp.mpf(0)


KERNELS: dict[str, Kernel] = {
    "relu": Kernel(
        lambda q: mp.sqrt(q / (2 * mp.pi)), _relu, lambda m, q1, q2: (mp.pi - _angle(m, q1, q2)) / (2 * mp.pi)
    ),
    "erf": Kernel(_nothing, _erf, _erf_slope),
    "sin": Kernel(
        _nothing,
        lambda m, q1, q2: _damping(q1, q2) * mp.sinh(m),
        lambda m, q1, q2: _damping(q1, q2) * mp.cosh(m),
    ),
    "cos": Kernel(
        lambda q: mp.exp(-q / 2),
        lambda m, q1, q2: _damping(q1, q2) * mp.cosh(m),
        lambda m, q1, q2: _damping(q1, q2) * mp.sinh(m),
    ),
    "square": Kernel(lambda q: q, lambda m, q1, q2: q1 * q2 + 2 * m * m, lambda m, q1, q2: 4 * m),
}


class Values(NamedTuple):
    """Two inputs at a node: m, their q values, their channel means, and the derivative of m in the m value at a source.

    Means of network inputs are taken to be zero.
    """

    m: Number
    q1: Number
    q2: Number
    mean1: Number
    mean2: Number
    rate: Number

    @property
    def c(self) -> Number:
        """The c value."""
        return self.m / mp.sqrt(self.q1 * self.q2)


def channels(arch: qc.Architecture) -> dict[str, int]:
    """The number of channels at each node; 1 where none is given."""
    found: dict[str, int] = {}
    for node in arch.nodes:
        if isinstance(node.op, (Input, Affine)):
            found[node.id] = int(node.op.channels or 1)
        elif isinstance(node.op, Concat):
            found[node.id] = sum(found[name] for name in node.inputs)
        else:
            found[node.id] = found[node.inputs[0]]
    return found


def propagate(
    arch: qc.Architecture,
    c: Number,
    q1: Number,
    q2: Number,
    *,
    source: str | None = None,
    nudge: Number = 0,
) -> dict[str, Values]:
    """The values at every node, for inputs with these c and q values.

    With ``source``, ``nudge`` is added to the m value there, and ``rate`` is the derivative in it; it is 1 at the
    inputs if there is no source. q values do not depend on m.
    """
    widths, values, zero = channels(arch), dict[str, Values](), mp.mpf(0)
    for node in arch.nodes:
        op, above = node.op, [values[name] for name in node.inputs]
        if isinstance(op, Input):
            here = Values(c * mp.sqrt(mp.mpf(q1) * q2), mp.mpf(q1), mp.mpf(q2), zero, zero, mp.mpf(source is None))
        elif isinstance(op, Affine):
            a, b = (mp.mpf(float(number)) for number in (op.weight_variance, op.bias_variance))
            (v,) = above
            here = Values(a * v.m + b, a * v.q1 + b, a * v.q2 + b, zero, zero, a * v.rate)
        elif isinstance(op, Nonlinear):
            here = _activated(KERNELS[op.name], above[0])
        elif isinstance(op, Sum):
            weights = [mp.mpf(float(weight)) for weight in op.weights]
            here = _added(above, [weight**2 for weight in weights], weights)
        elif isinstance(op, Concat):
            shares = [mp.mpf(widths[name]) / widths[node.id] for name in node.inputs]
            here = _added(above, shares, shares)
        elif isinstance(op, Scale):
            factor = mp.mpf(float(op.factor))
            here = _added(above, [factor**2], [factor])
        elif isinstance(op, LayerNorm):
            (v,) = above
            norm = mp.sqrt((v.q1 - v.mean1**2) * (v.q2 - v.mean2**2))
            m = (v.m - v.mean1 * v.mean2) / norm
            here = Values(m, mp.mpf(1), mp.mpf(1), zero, zero, v.rate / norm)
        else:  # pooling: the identity
            (here,) = above
        values[node.id] = here._replace(m=here.m + nudge, rate=mp.mpf(1)) if node.id == source else here
    return values


def slope(arch: qc.Architecture, target: str, q: Number) -> Number:
    """C'(1) at a node, with both input q values equal to q: the derivative of m there, in units of the q values."""
    end = propagate(arch, mp.mpf(1), q, q)[target]
    return end.rate * q / end.q1


def layer_slopes(arch: qc.Architecture, q: Number) -> Mapping[str, Number]:
    """For each nonlinear node, C'(1) of its own local map at the q value that reaches it."""
    values = propagate(arch, mp.mpf(1), q, q)
    found = {}
    for node in arch.nodes:
        if isinstance(node.op, Nonlinear):
            here = values[node.inputs[0]].q1
            found[node.id] = KERNELS[node.op.name].slope(here, here, here) * here / values[node.id].q1
    return found


def _activated(kernel: Kernel, v: Values) -> Values:
    return Values(
        kernel.value(v.m, v.q1, v.q2),
        kernel.value(v.q1, v.q1, v.q1),
        kernel.value(v.q2, v.q2, v.q2),
        kernel.mean(v.q1),
        kernel.mean(v.q2),
        kernel.slope(v.m, v.q1, v.q2) * v.rate,
    )


def _added(above: list[Values], shares: list[Number], mean_shares: list[Number]) -> Values:
    columns = list(zip(*above, strict=True))
    m, q1, q2, rate = (mp.fdot(shares, columns[k]) for k in (0, 1, 2, 5))
    mean1, mean2 = (mp.fdot(mean_shares, columns[k]) for k in (3, 4))
    return Values(m, q1, q2, mean1, mean2, rate)
