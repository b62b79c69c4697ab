"""The shaping conditions as equations in the constants, with their Jacobian, in ball arithmetic.

With f = phi(u), g = phi'(u), h = phi''(u) at u = a x + b, the transform c (phi(a x + b) + d) meets

    Q(1)   = c^2 (E f^2 + 2 d E f + d^2),        Q'(1)  = c^2 a (E[f g x] + d E[g x]),
    C(0)   = c^2 (E f + d)^2 / Q(1),             C'(1)  = c^2 a^2 E g^2 / Q(1),        C''(1) = c^2 a^4 E h^2 / Q(1)

(DKS, equations 5, 14, sections 8.1 and 18.4). Q(1) = 1 is always among the conditions, so the quotients go. Derivatives
need no more than h: for F = F(a x + b), integrating by parts,

    a d/db E[F x^k] = E[F (x^(k+1) - k x^(k-1))],     a d/da E[F x^k] = E[F (x^(k+2) - (k+1) x^k)].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flint import arb, arb_mat

from qcmap.numeric.proofs._ball_integrals import Monomial, moments
from qcmap.numeric.proofs._balls import BallActivation

NAMES = ("input_scale", "input_shift", "output_shift", "output_scale")
_FIRST: tuple[Monomial, ...] = (
    (1, 0, 0, 0), (2, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 1), (0, 1, 0, 2), (0, 1, 0, 3),
    (1, 1, 0, 0), (1, 1, 0, 1), (1, 1, 0, 2), (1, 1, 0, 3), (0, 2, 0, 0), (0, 2, 0, 1), (0, 2, 0, 2),
)  # fmt: skip
_SECOND: tuple[Monomial, ...] = ((0, 0, 2, 0), (0, 0, 2, 1), (0, 0, 2, 2))

Constants = Sequence[arb]
"""input_scale, input_shift, output_shift, output_scale."""


def residuals(
    act: BallActivation, constants: Constants, targets: Mapping[str, arb]
) -> tuple[dict[str, arb], dict[str, list[arb]]]:
    """Each condition's left side less its target, and its derivatives in the four constants.

    The condition C(0) = 0 is put as E f + d = 0.
    """
    a, b, d, c = constants
    e = moments(act, a, b, _FIRST + (_SECOND if "C''(1)" in targets else ()))
    m, ff, g = e[1, 0, 0, 0], e[2, 0, 0, 0], e[0, 1, 0, 0]
    gx, gx2, gx3 = e[0, 1, 0, 1], e[0, 1, 0, 2], e[0, 1, 0, 3]
    fg, fgx, fgx2, fgx3 = e[1, 1, 0, 0], e[1, 1, 0, 1], e[1, 1, 0, 2], e[1, 1, 0, 3]
    gg, ggx, ggx2 = e[0, 2, 0, 0], e[0, 2, 0, 1], e[0, 2, 0, 2]
    square = c * c
    values: dict[str, arb] = {}
    rows: dict[str, list[arb]] = {}
    for name, target in targets.items():
        if name == "Q(1)":
            inner = ff + d * (2 * m + d)
            values[name] = square * inner - target
            rows[name] = [2 * square * (fgx + d * gx), 2 * square * (fg + d * g), 2 * square * (m + d), 2 * c * inner]
        elif name == "Q'(1)":
            inner = fgx + d * gx
            values[name] = square * a * inner - target
            rows[name] = [
                square * (inner + fgx3 - 2 * fgx + d * (gx3 - 2 * gx)),
                square * (fgx2 - fg + d * (gx2 - g)),
                square * a * gx,
                2 * c * a * inner,
            ]
        elif name == "C(0)":
            mean, zero = m + d, bool(target == 0)
            values[name] = mean if zero else square * mean * mean - target
            slope = arb(1) if zero else 2 * square * mean
            rows[name] = [slope * gx, slope * g, slope, arb(0) if zero else 2 * c * mean * mean]
        elif name == "C'(1)":
            values[name] = square * a * a * gg - target
            rows[name] = [square * a * (ggx2 + gg), square * a * ggx, arb(0), 2 * c * a * a * gg]
        else:
            hh, hhx, hhx2 = (e[monomial] for monomial in _SECOND)
            values[name] = square * a**4 * hh - target
            rows[name] = [square * a**3 * (hhx2 + 3 * hh), square * a**3 * hhx, arb(0), 2 * c * a**4 * hh]
    return values, rows


class System:
    """The conditions as a map of the free constants: as many as there are conditions; the others are held."""

    def __init__(self, act: BallActivation, targets: Mapping[str, arb], held: Mapping[int, arb]) -> None:
        self.act, self.targets, self.held = act, dict(targets), dict(held)
        self.free = [k for k in range(4) if k not in held]

    def constants(self, free: Sequence[arb]) -> list[arb]:
        """All four constants."""
        given = iter(free)
        return [self.held[k] if k in self.held else next(given) for k in range(4)]

    def __call__(self, free: Sequence[arb]) -> tuple[arb_mat, arb_mat]:
        """Values as a column, and the Jacobian, over the balls ``free``."""
        values, rows = residuals(self.act, self.constants(free), self.targets)
        names = list(self.targets)
        return (
            arb_mat([[values[name]] for name in names]),
            arb_mat([[rows[name][k] for k in self.free] for name in names]),
        )


def krawczyk(system: System, centre: Sequence[arb], radii: Sequence[arb]) -> list[arb] | None:
    """An enclosure of the only zero of the system in the box centre +- radii, or None if nothing is proved.

    K = y - C F(y) + (I - C F'(X)) (X - y). If K lies inside X, F has exactly one zero in X, and it lies in K
    (Krawczyk 1969; the map x - C F(x) contracts X into itself, and C is then invertible).
    """
    there = Centre.of(system, centre)
    return None if there is None else there.test(radii)


@dataclass(frozen=True)
class Centre:
    """A point y with C, the midpoint of F'(y)^-1, and the step C F(y), for Krawczyk's test in boxes around it."""

    system: System
    point: Sequence[arb]
    inverse: arb_mat
    step: arb_mat

    @staticmethod
    def of(system: System, point: Sequence[arb]) -> Centre | None:
        """None where F'(y) is not proved to be invertible."""
        value, slopes = system(point)
        try:
            inverse = arb_mat(len(point), len(point), [entry.mid() for entry in slopes.inv().entries()])
        except ZeroDivisionError:
            return None
        return Centre(system, point, inverse, inverse * value)

    @property
    def steps(self) -> list[arb]:
        """Upper bounds of abs(C F(y)); no narrower box can pass the test."""
        return [abs(entry).upper() for entry in self.step.entries()]

    def test(self, radii: Sequence[arb]) -> list[arb] | None:
        """As `krawczyk`."""
        size = len(self.point)
        box = [arb(y, r) for y, r in zip(self.point, radii, strict=True)]
        _, slopes = self.system(box)
        identity = arb_mat(size, size, [int(i == j) for i in range(size) for j in range(size)])
        around = arb_mat([[x - y] for x, y in zip(box, self.point, strict=True)])
        image = arb_mat([[y] for y in self.point]) - self.step + (identity - self.inverse * slopes) * around
        found = image.entries()
        return found if all(x.contains_interior(k) for x, k in zip(box, found, strict=True)) else None
