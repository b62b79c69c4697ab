"""C maps composed many times with themselves, by repeated squaring of their interpolants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qcmap.numeric.maps._profile import Profile, composed

Array = NDArray[np.float64]


class Powers:
    """The n-fold compositions of one C map; ``once`` is its interpolant, None if it has none, ``exact`` the map."""

    def __init__(self, once: Profile | None, exact: Callable[[Array], Array]) -> None:
        self._exact = exact
        self._known: dict[int, Profile | None] = {1: once}

    def power(self, n: int) -> Profile | None:
        """The interpolant of the n-fold composition; None if it is too steep to be resolved."""
        if n not in self._known:
            half, once = self.power(n // 2), self._known[1]
            parts = [half, half, *([once] if n % 2 else [])]
            known = [part for part in parts if part is not None]
            self._known[n] = composed(known) if len(known) == len(parts) else None
        return self._known[n]

    def __call__(self, c: Array, n: int) -> Array:
        """C^n(c): by one interpolant, else by the largest n/2, n/4, ... that has one, until nothing changes."""
        while n:
            m = n
            while m > 1 and self.power(m) is None:
                m //= 2
            step = self.power(m) or self._exact
            times, n = divmod(n, m)
            for _ in range(times):
                after = np.clip(step(c), -1.0, 1.0)
                if np.array_equal(after, c):
                    return c
                c = after
        return c
