"""How wide layers have to be for kernel approximations to hold: the calculators of DKS, Theorems 1 and 6.

Both are sufficient conditions, far from necessary ones: docs/widths.md compares them with what sampled networks need.
`qcmap.numeric.sampling_error` predicts the actual size of the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from qcmap.errors import ArgumentError, Infeasible
from qcmap.numeric.maps._arguments import integer, is_number

_MOST_DIGITS = 10_000


def kernel_width(depth: int, error: float, failure: float, bound: float, *, layers: int | None = None) -> int:
    """Least width that Theorem 1 asks for: (4 C^4)^D log(8 L / delta) / eps^2, rounded up.

    With standard Gaussian fan-in weights, all layers at least this wide and inputs of q = 1, the kernel entry
    f(z) . f(z') / width is within ``error`` of its limit for every pair of inputs, with probability at least
    1 - ``failure`` for each pair.

    Parameters
    ----------
    depth
        D, the largest number of nonlinear layers on a path from input to output.
    error, failure
        eps > 0, in units of the kernel (q = 1), and delta in (0, 1).
    bound
        C, a bound on abs(phi), abs(phi') and abs(phi''). phi is twice continuously differentiable, with
        E phi(x)^2 = 1; so C >= 1 (Remark 3).
    layers
        L, the number of combined layers; D if not given.

    Raises
    ------
    ArgumentError
        For arguments out of range, and for widths of more than 10,000 digits.
    """
    from mpmath import mp

    depth, layers, failure, bound = _checked(depth, layers, failure, bound)
    error = _positive("error", error)
    log_bound, log_layers = math.log10(4) + 4 * math.log10(bound), math.log(8 * layers) - math.log(failure)
    digits = depth * log_bound + math.log10(log_layers) - 2 * math.log10(error)
    if digits > _MOST_DIGITS:
        raise ArgumentError(
            "depth", f"the width has {digits:.3g} digits, more than {_MOST_DIGITS:,}", "use a smaller depth or bound"
        )
    with mp.workdps(30 + max(0, math.ceil(digits))):
        base = 4 * mp.mpf(bound) ** 4
        return int(mp.ceil(base**depth * mp.log(mp.mpf(8 * layers) / mp.mpf(failure)) / mp.mpf(error) ** 2))


def kernel_error(width: int, depth: int, failure: float, bound: float, *, layers: int | None = None) -> float:
    """The error eps that Theorem 1 guarantees at a width: the inverse of `kernel_width`; infinity above 1e308."""
    width = integer(width, least=1, name="width")
    depth, layers, failure, bound = _checked(depth, layers, failure, bound)
    logarithm = depth * (math.log(4) + 4 * math.log(bound)) - math.log(width)
    logarithm += math.log(math.log(8 * layers) - math.log(failure))
    return math.exp(logarithm / 2) if logarithm < 1418 else math.inf


def orthogonal_width(inputs: int, error: float, failure: float, bound: float) -> int:
    """Least width m that Theorem 6 asks for, for one layer with SUO weights of shape m x k and no bias.

    With n = max(k, m): m^(5/2) / (n + 1)^2 > log(2 / delta) and (n - 1) / m^(3/4) > 8 sqrt(2) C^2 / eps. Then the
    kernel entry is within ``error`` of its limit with probability at least 1 - ``failure``, for inputs of q = 1. The
    second condition is not monotone in m below k: a larger m need not meet it; every larger one from k on does.

    Parameters
    ----------
    inputs
        k, the dimension of the layer's input.
    error, failure
        eps > 0, in units of the kernel, and delta in (0, 1).
    bound
        C > 0, a bound on abs(phi) and abs(phi').
    """
    inputs, failure, bound = _single(inputs, failure, bound)
    error = _positive("error", error)
    # Logarithms, since integers and powers may be beyond all floats.
    deepest = math.log(math.log(2) - math.log(failure))
    target = math.log(8 * math.sqrt(2)) + 2 * math.log(bound) - math.log(error)

    def concentrates(m: int) -> bool:
        return 2.5 * math.log(m) - 2 * math.log(max(inputs, m) + 1) > deepest

    def precise(m: int) -> bool:
        n = max(inputs, m)
        return n > 1 and math.log(n - 1) - 0.75 * math.log(m) > target

    # The first condition holds from some m on; the second up to some m < k, and again from some m >= k on.
    first = _least(concentrates, 1)
    if first <= inputs and precise(first):
        return first
    return _least(lambda m: concentrates(m) and precise(m), max(first, inputs))


def orthogonal_error(width: int, inputs: int, failure: float, bound: float) -> float:
    """The least error eps that Theorem 6 guarantees at a width m: 8 sqrt(2) C^2 m^(3/4) / (n - 1), n = max(k, m).

    Raises
    ------
    Infeasible
        If m^(5/2) / (n + 1)^2 <= log(2 / delta): then the theorem says nothing at this width, for any error.
    """
    width = integer(width, least=1, name="width")
    inputs, failure, bound = _single(inputs, failure, bound)
    n = max(width, inputs)
    reached, needed = 2.5 * math.log(width) - 2 * math.log(n + 1), math.log(2) - math.log(failure)
    if reached <= math.log(needed) or n == 1:
        reached = math.exp(min(reached, 709.0))
        raise Infeasible(
            "width", f"m^(5/2) / (n + 1)^2 = {reached:.4g} is not above log(2 / delta) = {needed:.4g}",
            "use a larger width or failure probability", condition="m^(5/2) / (n + 1)^2", achievable=(),
        )  # fmt: skip
    logarithm = math.log(8 * math.sqrt(2)) + 2 * math.log(bound) + 0.75 * math.log(width) - math.log(n - 1)
    return math.exp(logarithm) if logarithm < 709 else math.inf


def _least(holds: Callable[[int], bool], start: int) -> int:
    """The least m >= start at which a condition holds that holds from there on."""
    high = start
    while not holds(high):
        high *= 2
    low = max(start, high // 2)
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _checked(depth: int, layers: int | None, failure: float, bound: float) -> tuple[int, int, float, float]:
    depth = integer(depth, least=1, name="depth")
    layers = depth if layers is None else integer(layers, least=1, name="layers")
    if layers < depth:
        raise ArgumentError(
            "layers", f"a path of {depth} layers needs as many layers, not {layers}", "give more layers"
        )
    failure = _probability(failure)
    if not (is_number(bound) and bound >= 1):
        raise ArgumentError("bound", f"E phi^2 = 1 makes it at least 1, not {bound!r}", "give max(abs(phi), ...) >= 1")
    return depth, layers, failure, float(bound)


def _single(inputs: int, failure: float, bound: float) -> tuple[int, float, float]:
    return integer(inputs, least=1, name="inputs"), _probability(failure), _positive("bound", bound)


def _probability(failure: float) -> float:
    if not (is_number(failure) and 0 < failure < 1):
        raise ArgumentError("failure", f"a probability lies between 0 and 1, not {failure!r}", "give such a number")
    return float(failure)


def _positive(name: str, value: float) -> float:
    if not (is_number(value) and value > 0):
        raise ArgumentError(name, f"it is positive and finite, not {value!r}", "give such a number")
    return float(value)
