"""Certificates: the constants of a shaping exist, are unique nearby, and have these digits, by ball arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flint import arb, ctx, fmpq

from qcmap.errors import ActivationError, ArgumentError, NumericalError
from qcmap.numeric.proofs._balls import BallActivation, ball_activation, two_lines
from qcmap.numeric.proofs._decimals import decimal, proved_digits
from qcmap.numeric.proofs._shaping_system import NAMES, System, krawczyk, residuals

if TYPE_CHECKING:
    from qcmap.numeric.shaping._shaping import Solution

_BITS = math.log2(10)
_GUARDS = (40, 80, 160, 320)
_FARTHEST = 1e-6


@dataclass(frozen=True)
class Certificate:
    """What is proved about the constants of one activation.

    Attributes
    ----------
    activation, parameters
        The activation.
    targets
        The conditions and their targets as balls; exact numbers have radius 0.
    constants
        Balls that hold the true constants, ``negative_slope`` among them where it is an unknown.
    decimals
        The same, rightly rounded to ``digits`` significant digits.
    digits
        Significant digits proved, of every constant.
    residuals
        For each condition a ball that holds the difference from its target at the enclosed constants; it contains 0.
    unique_within
        Half the width, for each unknown, of a box around the constants that holds no other solution. Empty for closed
        forms.
    float_errors
        Upper bounds of the distance of the given float constants from the true ones.
    method
        The proof, in words.
    """

    activation: str
    parameters: Mapping[str, float]
    targets: Mapping[str, arb]
    constants: Mapping[str, arb]
    decimals: Mapping[str, str]
    digits: int
    residuals: Mapping[str, arb]
    unique_within: Mapping[str, float]
    float_errors: Mapping[str, float]
    method: str
    _ball: BallActivation = field(repr=False, compare=False)

    def verify(self) -> bool:
        """Enclose the residuals once more with flint's own integrator, which shares no quadrature with the proof."""
        from qcmap.numeric.proofs._verify import enclosed_again

        with ctx.workprec(round(self.digits * _BITS) + 40):
            again = enclosed_again(self._ball, [self.constants[name] for name in NAMES], self.targets)
        return all(ball.contains(0) for ball in again.values())

    def to_dict(self) -> dict[str, Any]:
        """The certificate as plain data; balls as text with their radius."""
        return {
            "activation": self.activation,
            "parameters": dict(self.parameters),
            "targets": {name: ball.str(self.digits, more=True) for name, ball in self.targets.items()},
            "constants": dict(self.decimals),
            "enclosures": {name: ball.str(self.digits + 5, more=True) for name, ball in self.constants.items()},
            "digits": self.digits,
            "residuals": {name: ball.str(3) for name, ball in self.residuals.items()},
            "unique_within": dict(self.unique_within),
            "float_errors": dict(self.float_errors),
            "method": self.method,
        }

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={float(ball):.8g}" for name, ball in self.constants.items())
        return f"<certificate for {self.activation}: {self.digits} digits of {shown}>"


def certify(solution: Solution, digits: int = 50, *, psi: arb | fmpq | None = None) -> Certificate:
    """Prove that the constants of a solution exist and are unique nearby, and enclose them.

    The float solution is refined by Newton's method in high precision; Krawczyk's test then proves that a small box
    holds exactly one zero of the conditions (docs/certificates.md). All integrals are enclosed, tails included.

    Parameters
    ----------
    solution
        From `dks`, `tat` or `solve`.
    digits
        Significant digits to prove, at least 1.
    psi
        The target of C'(1), if it is not the float of the solution but a number known better: a ball from
        `certified_inverse`, or a fraction.

    Raises
    ------
    ArgumentError
        If digits is not a whole number of at least 1, psi is not near the solution's, or Q(1) = 1 is not a condition.
    ActivationError
        If the activation has no formula, or one that cannot be bounded.
    NumericalError
        If the constants are not near a solution, or nothing can be proved: the solution is degenerate.
    """
    if isinstance(digits, bool) or not isinstance(digits, int) or digits < 1:
        raise ArgumentError("digits", f"it is a whole number of at least 1, not {digits!r}", "ask for 50")
    act = solution.transform.activation
    for guard in _GUARDS:
        with ctx.workprec(round(digits * _BITS) + guard):
            targets = _targets(solution, psi)
            if max(ball.rad() for ball in targets.values()) > arb(10) ** -digits:
                break
            if act.free_slope and solution.transform.input_shift == 0:
                found = _closed_form(solution, targets)
            else:
                found = _proved(solution, ball_activation(act), targets)
            if found is None:
                continue
            certificate = _written(solution, targets, digits, *found)
            if certificate is not None:
                return certificate
    raise NumericalError(
        act.name,
        f"{digits} digits of its constants could not be proved: the conditions are nearly dependent there,"
        " or a target is not known well enough",
        "ask for fewer digits, use a larger zeta, or give psi more precisely",
    )


def _targets(solution: Solution, psi: arb | fmpq | None) -> dict[str, arb]:
    known = ("Q(1)", "Q'(1)", "C(0)", "C'(1)", "C''(1)")
    targets = {name: arb(solution.targets[name]) for name in known if name in solution.targets}
    if psi is not None:
        given, own = arb(psi), targets.get("C'(1)")
        if own is None or not abs(given - own) < 1e-8:
            raise ArgumentError("psi", f"the solution was made for C'(1) = {own}, not {given}", "give the psi it has")
        targets["C'(1)"] = given
    if not targets.get("Q(1)", arb(0)) == 1:
        raise ArgumentError("solution", "Q(1) = 1 is not among its conditions", "use a solution of dks or tat")
    return targets


Found = tuple[dict[str, arb], dict[str, float], BallActivation, str]


def _closed_form(solution: Solution, targets: dict[str, arb]) -> Found | None:
    """Leaky relu without input shift: its slope l solves (1 - l)^2 = s (1 + l^2), in closed form.

    Without an output shift C'(1) = 1 and C(0) = (1 - l)^2 / (pi (1 + l^2)) (TAT); with the one that makes C(0) = 0,
    C'(1) = 1 / (1 - (1 - l)^2 / (pi (1 + l^2))) (DKS). docs/certificates.md.
    """
    start = solution.transform
    scale, pi = arb(start.input_scale), arb.pi()
    centred = bool(targets["C(0)"] == 0)
    share = pi * (1 - 1 / targets["C'(1)"]) if centred else pi * targets["C(0)"]
    if not (0 < share < 2):
        return None
    slope = (1 - share) / (1 + (share * (2 - share)).sqrt())
    mean = scale * (1 - slope) / (2 * pi).sqrt()
    second = scale**2 * (1 + slope**2) / 2
    shift = -mean if centred else arb(0)
    constants = {
        "input_scale": scale,
        "input_shift": arb(0),
        "output_shift": shift,
        "output_scale": 1 / (second - (mean**2 if centred else 0)).sqrt(),
        "negative_slope": slope,
    }
    return constants, {}, two_lines("leaky_relu", slope, arb(1)), "closed form"


def _proved(solution: Solution, act: BallActivation, targets: dict[str, arb]) -> Found | None:
    t = solution.transform
    start = [arb(value) for value in t.constants.values()]
    if "C''(1)" in targets and not act.smooth_slope:
        raise ActivationError(act.name, "its slope jumps, so C''(1) is infinite", "use a smooth activation")
    held: dict[int, arb] = {}
    if len(targets) == 3:
        held = {1: start[1]}  # a homogeneous function: the input shift only sets the unit
    elif len(targets) != 4:
        raise ArgumentError(
            "solution", f"{len(targets)} conditions do not fix four constants", "use a solution of dks or tat"
        )
    if t.input_scale < 0:
        raise ArgumentError("solution", "its input_scale is negative", "reflect it: phi(-u) is another activation")
    system = System(act, targets, held)
    point = _newton(system, [start[k] for k in system.free], solution)
    units = _units(system.constants(point))
    for power in (12, 24, 36):
        radii = [units[k] * arb(2) ** (power + 8 - ctx.prec) for k in system.free]
        tight = krawczyk(system, point, radii)
        if tight is not None:
            break
    else:
        return None
    widths, box = _unique(system, point, units)
    constants: dict[str, arb] = dict(zip(NAMES, system.constants(tight), strict=True))
    if box is None:
        widths = [float(r) for r in radii]
    unique = {NAMES[k]: width for k, width in zip(system.free, widths, strict=True)}
    unknowns = ", ".join(NAMES[k] for k in system.free)
    return constants, unique, act, f"Krawczyk's test in ({unknowns})"


def _units(constants: list[arb]) -> list[arb]:
    """The natural unit of each constant: errors of a shift count against the scale that goes with it."""
    a, b, d, c = (abs(value.mid()) for value in constants)
    return [a, a + b, d + 1 / c, c]


def _newton(system: System, point: list[arb], solution: Solution) -> list[arb]:
    """Newton's method from the float constants, each step at twice the precision of the last, up to the present one."""
    full, start = ctx.prec, point
    units = _units(system.constants(start))
    bits, steps = 100, 0
    while True:
        precision = min(bits, full)
        with ctx.workprec(precision):
            value, slopes = system(point)
            try:
                step = slopes.solve(value).entries()
            except ZeroDivisionError:
                raise _degenerate(solution) from None
            point = [(x - s).mid() for x, s in zip(point, step, strict=True)]
        moved = max(float(abs(x - y) / units[k]) for x, y, k in zip(point, start, system.free, strict=True))
        if not moved < _FARTHEST:
            raise NumericalError(
                solution.transform.activation.name,
                f"the constants are not near a solution: Newton's method moves them by {moved:.1e}",
                "give the constants that dks or tat returned",
            )
        last = max(float(abs(s).upper() / units[k]) for s, k in zip(step, system.free, strict=True))
        if (precision == full and last < 2.0 ** (-full / 2 + 10)) or steps > 40:
            return point
        bits, steps = 2 * bits, steps + 1


def _degenerate(solution: Solution) -> NumericalError:
    return NumericalError(
        solution.transform.activation.name, "the conditions are dependent at these constants", "use another zeta"
    )


def _unique(system: System, point: list[arb], units: list[arb]) -> tuple[list[float], bool | None]:
    """A box, as wide as a few trials find, in which the zero is the only one."""
    with ctx.workprec(128):
        for power in range(-3, -17, -1):
            radii = [units[k] * arb(10) ** power for k in system.free]
            if krawczyk(system, [x.mid() for x in point], radii) is not None:
                return [math.nextafter(float(r.lower()), 0) for r in radii], True
    return [], None


def _above(size: arb) -> float:
    """A float that is at least every number in the ball."""
    return 0.0 if size == 0 else math.nextafter(float(size.upper()), math.inf)


def _written(
    solution: Solution,
    targets: dict[str, arb],
    digits: int,
    constants: dict[str, arb],
    unique: dict[str, float],
    act: BallActivation,
    method: str,
) -> Certificate | None:
    if min(map(proved_digits, constants.values())) < digits:
        return None
    decimals = {name: decimal(ball, digits) for name, ball in constants.items()}
    if None in decimals.values():
        return None
    checked, _ = residuals(act, [constants[name] for name in NAMES], targets)
    if not all(ball.contains(0) for ball in checked.values()):
        raise NumericalError(act.name, "the enclosed constants contradict a condition", "report this as a bug")
    t = solution.transform
    given = {
        **t.constants,
        **({"negative_slope": t.activation.parameters["negative_slope"]} if len(constants) > 4 else {}),
    }
    errors = {name: _above(abs(ball - arb(given[name]))) for name, ball in constants.items()}
    return Certificate(
        activation=act.name,
        parameters={} if "negative_slope" in constants else dict(t.activation.parameters),
        targets=targets,
        constants=constants,
        decimals={name: text for name, text in decimals.items() if text is not None},
        digits=digits,
        residuals=checked,
        unique_within=unique,
        float_errors=errors,
        method=method,
        _ball=act,
    )
