"""Functions that are lines far out but for less than the last digit: pieces that need no narrow panels there.

gelu_tanh is u sigma(w), w = k (u + c u^3), k = 2 sqrt(2 / pi), c = 0.044715. The poles lie at a distance of pi / w'
from the line, so panels get as narrow as 1 / u^2, where the function is 0 or u to all digits. As phi(-u) = phi(u) - u,
one side is enough: for u >= U >= 2

    0 <= u - phi(u) = u sigma(-w) <= u e^-w,
    abs(1 - phi'(u)) = abs(sigma(-w) - u w' sigma'(w)) <= (1 + u w') e^-w,

and these bounds fall with u: their logarithms have the derivatives 1 / u - w' and (w' + u w'') / (1 + u w') - w', which
is below 3 / u - w' as u w'' < 2 w', and u w' > 3 from u = 2 on.
"""

from __future__ import annotations

from functools import lru_cache

from flint import arb, ctx

from qcmap.numeric.proofs._balls import BallActivation, line, rational

Gap = tuple[arb, arb]
"""By how much phi and phi' differ from the pieces', at most."""


def with_far_lines(act: BallActivation, bits: int) -> tuple[BallActivation, Gap]:
    """Pieces for integrals at this precision, and their gap, below 2^-bits; most activations stay as they are."""
    if act.name != "gelu_tanh":
        return act, (arb(0), arb(0))
    end, gap = _end(bits)
    pieces = (line(arb(0)), act.pieces[0], line(arb(1)))
    return BallActivation(act.name, (-end, end), pieces, act.growth), gap


@lru_cache(maxsize=16)
def _end(bits: int) -> tuple[arb, Gap]:
    """U, and the bounds there."""
    end = arb(2)
    with ctx.workprec(53):
        scale, cubic = 2 * (2 / arb.pi()).sqrt(), rational("0.044715")
        while True:
            end = end + arb(0.25)
            small = (-scale * (end + cubic * end**3)).exp()
            gap = (end * small).upper(), ((1 + scale * end * (1 + 3 * cubic * end**2)) * small).upper()
            if max(gap) < arb(2) ** -bits:
                return end, gap
