"""Certificates: the constants of a shaping exist, are unique nearby, and have these digits, by ball arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from flint import arb, ctx, fmpq

from qcmap.errors import ActivationError, ArgumentError, NumericalError
from qcmap.numeric.proofs._arguments import real, whole_digits
from qcmap.numeric.proofs._balls import BallActivation, ball_activation, two_lines
from qcmap.numeric.proofs._certificate import BITS, Certificate
from qcmap.numeric.proofs._decimals import decimal, proved_digits
from qcmap.numeric.proofs._shaping_system import NAMES, Centre, System, residuals

if TYPE_CHECKING:
    from qcmap.numeric.maps._shaping import Solution

_GUARDS = (40, 80, 160, 320)
_FARTHEST = 1e-6
_WIDENINGS = (12, 36, 60, 80)


def certify(
    solution: Solution,
    digits: int = 50,
    *,
    psi: float | Fraction | arb | fmpq | None = None,
    curvature: float | Fraction | arb | fmpq | None = None,
) -> Certificate:
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
    curvature
        The target of C''(1), likewise (`tat` with tau).

    Raises
    ------
    ArgumentError
        If digits is not a whole number of at least 1, psi or curvature is not near the solution's, or Q(1) = 1 is not a
        condition.
    ActivationError
        If the activation has no formula, or one that cannot be bounded.
    NumericalError
        If the constants are not near a solution, or nothing can be proved: the solution is degenerate.
    """
    from qcmap.numeric.maps._shaping import Solution

    whole_digits(digits)
    if not isinstance(solution, Solution):
        raise ArgumentError(
            "solution", f"it is of type {type(solution).__name__}", "give one of a shaping's solutions, or of solve"
        )
    act = solution.transform.activation
    for guard in _GUARDS:
        with ctx.workprec(round(digits * BITS) + guard):
            targets = _targets(solution, psi, curvature)
            if max(ball.rad() for ball in targets.values()) > arb(10) ** -digits:
                break
            if act.free_slope and solution.transform.input_shift == 0:
                found = _closed_form(solution, targets)
            else:
                found = _proved(solution, ball_activation(act), targets)
            if found is None:
                continue
            certificate = _written(solution, targets, digits, found, _sources(targets, psi, curvature))
            if certificate is not None:
                return certificate
    raise NumericalError(
        act.name,
        f"{digits} digits of its constants could not be proved: the conditions are nearly dependent there,"
        " or a target is not known well enough",
        "ask for fewer digits, use a larger zeta, or give psi more precisely",
    )


_Given = float | Fraction | arb | fmpq | None
_EXACT = {"Q(1)": 1, "Q'(1)": 1, "C(0)": 0, "C'(1)": 1}


def _targets(solution: Solution, psi: _Given, curvature: _Given) -> dict[str, arb]:
    known = ("Q(1)", "Q'(1)", "C(0)", "C'(1)", "C''(1)")
    targets = {name: arb(solution.targets[name]) for name in known if name in solution.targets}
    for name, condition, number in (("psi", "C'(1)", psi), ("curvature", "C''(1)", curvature)):
        if number is None:
            continue
        given, own = real(name, number), targets.get(condition)
        if own is None or not abs(given - own) < 1e-8 * own:
            raise ArgumentError(
                name, f"the solution was made for {condition} = {solution.targets.get(condition)}, not {number}",
                f"give the {name} it has",
            )  # fmt: skip
        targets[condition] = given
    if not targets.get("Q(1)", arb(0)) == 1:
        raise ArgumentError("solution", "Q(1) = 1 is not among its conditions", "use a solution of dks or tat")
    return targets


def _sources(targets: Mapping[str, arb], psi: _Given, curvature: _Given) -> dict[str, str]:
    given = {"C'(1)": psi, "C''(1)": curvature}
    return {
        name: "given" if given.get(name) is not None
        else "exact" if name in _EXACT and bool(ball == _EXACT[name])
        else "float"
        for name, ball in targets.items()
    }  # fmt: skip


class Found(NamedTuple):
    """What a proof gives."""

    constants: dict[str, arb]
    unique: dict[str, float]
    act: BallActivation
    method: str
    held: tuple[str, ...]


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
    held = ("input_scale", "input_shift")
    return Found(constants, {}, two_lines("leaky_relu", slope, arb(1)), "closed form", held)


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
    centre = Centre.of(system, point)
    if centre is None:
        return None
    # The test needs a box wider than the steps, which are long where the conditions are nearly dependent.
    for power in _WIDENINGS:
        radii = [
            2 * step + units[k] * arb(2) ** (power + 8 - ctx.prec)
            for step, k in zip(centre.steps, system.free, strict=True)
        ]
        tight = centre.test(radii)
        if tight is not None:
            break
    else:
        return None
    widths = _unique(system, point, units) or [math.nextafter(float(r.lower()), 0) for r in radii]
    constants: dict[str, arb] = dict(zip(NAMES, system.constants(tight), strict=True))
    unique = {NAMES[k]: width for k, width in zip(system.free, widths, strict=True)}
    unknowns = ", ".join(NAMES[k] for k in system.free)
    method = f"Krawczyk's test in ({unknowns})" + _method_of_held(act, held, solution)
    return Found(constants, unique, act, method, tuple(NAMES[k] for k in held))


def _method_of_held(act: BallActivation, held: Mapping[int, arb], solution: Solution) -> str:
    if not held:
        return ""
    if solution.transform.activation.homogeneity is not None:
        return "; input_shift is held, it only sets the unit of input_scale"
    return (
        "; input_shift is held at the float of the solution, nothing is proved about other shifts, nor that it is the"
        f" one of the smallest Q'(1) of {act.name}"
    )


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


def _unique(system: System, point: list[arb], units: list[arb]) -> list[float] | None:
    """Half the widths of a box, as wide as a few trials find, in which the zero is the only one."""
    with ctx.workprec(128):
        centre = Centre.of(system, [x.mid() for x in point])
        for power in range(-3, -17, -1) if centre else ():
            radii = [units[k] * arb(10) ** power for k in system.free]
            if centre is not None and centre.test(radii) is not None:
                return [math.nextafter(float(r.lower()), 0) for r in radii]
    return None


def _above(size: arb) -> float:
    """A float that is at least every number in the ball."""
    return 0.0 if size == 0 else math.nextafter(float(size.upper()), math.inf)


def _written(
    solution: Solution, targets: dict[str, arb], digits: int, found: Found, sources: dict[str, str]
) -> Certificate | None:
    constants, act = found.constants, found.act
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
        unique_within=found.unique,
        float_errors=errors,
        method=found.method,
        held=found.held,
        sources=sources,
        _ball=act,
    )
