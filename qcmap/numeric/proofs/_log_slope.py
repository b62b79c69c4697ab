"""A bound on C'(1) for small input scales, where phi' is an exponential on one side and constant on the other.

Let phi' = X r with a positive X that has abs(X') <= L X and a step r between r_1 and r_2 = t r_1, t >= 1. Then, with
e = (t - 1) / (t + 1), r is (1 + d) (r_1 + r_2) / 2 with abs(d) <= e. Poincare's inequality gives Var X(a x + b) <=
a^2 E X'^2 <= a^2 L^2 E X^2, so in units of (r_1 + r_2) / 2 and of (E X^2)^(1/2) the deviation of phi' is at most
a L + e and its norm at least 1 - e:

    Var phi' <= k^2 E phi'^2,    k = (a L + e) / (1 - e).

Since Var phi(a x + b) >= a^2 (E phi')^2, the square of its first Hermite coefficient, C'(1) = a^2 E phi'^2 / Var phi is
at most 1 / (1 - k^2) for k < 1.
"""

from __future__ import annotations

import math

from flint import arb, ctx

from qcmap.activations import Activation
from qcmap.numeric.proofs._balls import ball_activation

_SELU_ALPHA = 1.6732632423543772848170429916717


def lowest_scale(act: Activation, bound: float) -> float | None:
    """An input scale up to which C'(1) < bound, for every shift; None if the lemma does not serve.

    It serves elu, celu and selu with alpha > 0: on the left phi' is a multiple of exp(u), or exp(u / alpha), and on the
    right it is constant.
    """
    name, alpha = act.name, act.parameters.get("alpha", 1.0)
    if name not in ("elu", "celu", "selu") or alpha <= 0 or ball_activation(act).name != name:
        return None
    step = {"elu": alpha, "celu": 1.0, "selu": _SELU_ALPHA}[name]
    rate = 1 / alpha if name == "celu" else 1.0
    step = max(step, 1 / step)
    with ctx.workprec(64):
        e = (arb(step) - 1) / (arb(step) + 1) * (1 + arb(2) ** -50)
        most = ((1 - e) * (1 - 1 / arb(bound)).sqrt() - e) / (arb(rate) * (1 + arb(2) ** -50))
        # Rounded down to a short number, which floats hold and people read.
        low = math.floor(float(most.lower()) * 128) / 128
    return low if low > 0 else None
