"""When a scalar equation is where: its closed form in many digits, and that turned round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import mpmath as mp

Term: TypeAlias = tuple[Callable[[Any], Any], Sequence[Any] | None]

_DIGITS = 60
_TINY = 62.0
"""Values closer to a point than 2^-62 of its size are that point in double precision."""
_SMALLEST = 1080.0
"""Numbers below 2^-1080 are zero in double precision."""


class Clock:
    """The elapsed time of a scalar equation, in units of tau.

    Parameters
    ----------
    terms
        For each partial fraction p/q of 1/rate: p/q' and the coefficients of q, whose roots are simple, or its integral
        and None.
    start
        The value at time 0. The digits in use let numbers as small as this one, or a double if it is zero, be told
        from it.
    """

    def __init__(self, terms: Sequence[Term], start: float) -> None:
        self.digits = _DIGITS + (int(max(0, -mp.log10(abs(mp.mpf(start))))) if start else 330)
        with mp.workdps(self.digits):
            self.start = mp.mpf(start)
            self._terms = [
                (
                    made,
                    None if powers is None else mp.polyroots([mp.mpf(c.p) / c.q for c in powers], 500, extraprec=240),
                )
                for made, powers in terms
            ]

    def elapsed(self, end: Any) -> Any:
        """The time from the start to a value, as an `mpmath` number; no steady state may lie between."""
        with mp.workdps(self.digits):
            total = mp.mpf(0)
            for made, roots in self._terms:
                if roots is None:
                    total += made(end) - made(self.start)
                else:
                    total += sum(made(r) * (mp.log(end - r) - mp.log(self.start - r)) for r in roots)
            return mp.re(total)

    def towards(self, time: float, limit: Any) -> float:
        """The value at a time on the way to a steady state, to the last digits of its distance from start and end.

        With x the binary logarithm of (way gone) / (way left), which runs from minus to plus infinity, the value is
        ``start + (limit - start) / (1 + 2^-x)``. Beyond the x where it is start or end to double precision, it is that.
        """
        with mp.workdps(self.digits):
            way = limit - self.start

            def place(x: Any) -> Any:
                return limit - way / (1 + mp.power(2, x)) if x > 0 else self.start + way / (1 + mp.power(2, -x))

            last = _TINY + max(0.0, _log2(way / limit)) if limit else _SMALLEST + max(0.0, _log2(way))
            first = -_TINY - max(0.0, _log2(way / self.start)) if self.start else -_SMALLEST - max(0.0, _log2(way))
            if abs(self.elapsed(place(last))) <= abs(time):
                return float(limit)
            if abs(self.elapsed(place(first))) >= abs(time):
                return float(place(first))
            return float(place(self._found(place, time, first, last)))

    def beyond(self, time: float, *, up: bool, farthest: float) -> float | None:
        """The value at a time where no steady state lies ahead; None if it is farther away than that."""
        with mp.workdps(self.digits):

            def place(x: Any) -> Any:
                return self.start + (1 if up else -1) * mp.power(2, x)

            last = _log2(mp.mpf(farthest))
            first = -_TINY + min(_log2(self.start), 0.0) if self.start else -_SMALLEST
            if abs(self.elapsed(place(last))) < abs(time):
                return None
            if abs(self.elapsed(place(first))) >= abs(time):
                return float(place(first))
            return float(place(self._found(place, time, first, last)))

    def _found(self, place: Callable[[Any], Any], time: float, first: float, last: float) -> Any:
        """The x between two where the elapsed time is that one, by bisection and a bracketing secant."""
        wanted = mp.mpf(time)

        def late(x: Any) -> Any:
            return self.elapsed(place(x)) / wanted - 1

        low, high = mp.mpf(first), mp.mpf(last)
        while high - low > 1:
            middle = (low + high) / 2
            low, high = (middle, high) if late(middle) < 0 else (low, middle)
        return mp.findroot(late, (low, high), solver="anderson", tol=mp.mpf(10) ** -40, verify=False)


def _log2(value: Any) -> float:
    return float(mp.log(abs(value), 2))
