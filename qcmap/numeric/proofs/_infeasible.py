"""Proofs that a target is out of reach: theorems on classes of functions, and bounds by ball arithmetic over a box.

docs/certificates.md proves the theorems. A theorem holds for all real constants; a bound from cells holds in the box
that it names.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from flint import arb, ctx, fmpq

from qcmap.activations import Activation, activation
from qcmap.errors import ActivationError, ArgumentError, Infeasible
from qcmap.numeric.proofs._arguments import real
from qcmap.numeric.proofs._balls import ball_activation
from qcmap.numeric.proofs._cells import Pair, region
from qcmap.numeric.proofs._infeasible_result import InfeasibilityProof, Intervals
from qcmap.numeric.proofs._log_slope import lowest_scale

if TYPE_CHECKING:
    from qcmap.architecture import Architecture

_PRECISION = 110
_EVERYWHERE = "all real constants, input_scale not 0"
_UNSHIFTED = "negative slopes in [-1, 1), input_shift and output_shift 0"

Target = float | str | Fraction | arb | fmpq


def certify_infeasible(
    act: Activation | str,
    *,
    psi: Target | None = None,
    kappa: Target | None = None,
    scale: Pair | None = None,
    shift: Pair = (-6.0, 6.0),
    most_cells: int = 20_000,
) -> InfeasibilityProof:
    """Prove that no transform of an activation meets the conditions of `dks` (``psi``) or of smooth `tat` (``kappa``).

    Theorems decide linear functions, the square, functions clipped on both sides and, for kappa, those whose slope
    jumps. For the others psi must lie above what is found by `solve`; then cells cover a box and prove that C'(1) stays
    below a number between the two wherever Q'(1) = 1.

    Parameters
    ----------
    act
        An activation of the catalogue.
    psi, kappa
        The target: C'(1) = psi with Q(1) = Q'(1) = 1 and C(0) = 0, or C''(1) = kappa with Q(1) = Q'(1) = C'(1) = 1.
    scale, shift, most_cells
        The box of cells and their budget, as for `count_solutions`. By default input_scale starts at 0 for smooth
        activations and for the exponential ones (elu, celu, selu).

    Raises
    ------
    ArgumentError
        Unless one of psi and kappa is given, psi above 1 and kappa above 0, or if there is a solution.
    ActivationError
        If no proof is known for this activation and target, and where ball arithmetic has no formula for it.
    NumericalError
        If more cells are needed, or some remain undecided.

    See Also
    --------
    Infeasible.certify : the proof for the error that a solver raised.
    """
    act = activation(act)
    ball_activation(act)  # refuses what nothing can be proved about
    if (psi is None) == (kappa is None):
        raise ArgumentError("psi", "one of psi and kappa is the target", "give one of them")
    if kappa is not None:
        return _curvature(act, _target("kappa", kappa, 0))
    assert psi is not None
    target = _target("psi", psi, 1)
    known = _slope_theorem(act, target)
    if known is not None:
        return known
    return _bound(act, target, scale, shift, most_cells)


def _target(name: str, value: Target, least: int) -> arb:
    with ctx.workprec(_PRECISION):
        target = real(name, value)
    if not target > least:
        raise ArgumentError(name, f"the target must be above {least}, not {value}", "use a larger bound")
    return target


def _slope_theorem(act: Activation, psi: arb) -> InfeasibilityProof | None:
    """The proof for C'(1) = psi by a theorem on a class of functions, if one says so."""
    given, slope = ("Q(1) = 1", "C(0) = 0"), ("Q(1) = 1", "Q'(1) = 1", "C(0) = 0")
    one = arb(1)
    with ctx.workprec(_PRECISION):
        if act.two_slopes is not None and act.two_slopes[0] == act.two_slopes[1]:
            return _theorem(act, "C'(1)", psi, given, ((one, one),), "a linear function has C(c) = c")
        if act.name == "square":
            if psi > 2:
                why = "a quadratic function has C'(1) = 1 + a_2^2 with a_1^2 + a_2^2 = 1"
                return _theorem(act, "C'(1)", psi, given, ((one, arb(2)),), why)
            both = ("Q(1) = 1", "C(0) = 0", "C'(1) = psi")
            why = "a quadratic function has Q'(1) = C'(1) = psi"
            return _theorem(act, "Q'(1)", one, both, ((psi, psi),), why)
        if act.name in ("hardtanh", "relu6"):
            # The end itself is irrational and not attained.
            least = arb.pi() / (arb.pi() - 1)
            why = "a function clipped on both sides has C'(1) > pi / (pi - 1) where Q'(1) = 1"
            return _theorem(act, "C'(1)", psi, slope, ((least, arb("inf")),), why) if psi < least else None
    return None


def _curvature(act: Activation, kappa: arb) -> InfeasibilityProof:
    """The proof for C''(1) = kappa."""
    given = ("Q(1) = 1", "Q'(1) = 1", "C'(1) = 1")
    with ctx.workprec(_PRECISION):
        if not ball_activation(act).smooth_slope:
            infinite = arb("inf")
            return _theorem(act, "C''(1)", kappa, (), ((infinite, infinite),), "phi' jumps, so C''(1) is infinite")
        if act.name == "square":
            both = ("Q(1) = 1", "C'(1) = 1", "C''(1) = kappa")
            away = kappa / arb(2).sqrt()
            ends = tuple((1 + side * away, 1 + side * away) for side in (-1, 1))
            return _theorem(act, "Q'(1)", arb(1), both, ends, "a quadratic function has Q'(1) = 1 +- kappa / sqrt 2")
    raise ActivationError(
        act.name, f"no proof is known that C''(1) = {float(kappa):.10g} is out of reach, given {', '.join(given)}",
        "rely on the interval that `Infeasible` has found",
    )  # fmt: skip


def certify_c0(arch: Architecture, eta: Target, act: Activation) -> InfeasibilityProof:
    """Prove that no negative slope of the functions that are linear on either side makes the largest C_f(0) ``eta``.

    For architectures all of whose activations are of one such function; relu and the identity have no slope to choose.
    C(c) = c + lambda / pi (sqrt(1 - c^2) - c arccos c) grows with lambda = (1 - a)^2 / (1 + a^2), and C maps increase
    on [0, 1], so the largest C_f(0) grows with lambda from 0 (linear) over 1 (relu) to 2 (the absolute value).
    """
    from qcmap.symbolic import maximal_c0

    target = _target("eta", eta, 0)
    if act.two_slopes is None:
        raise ActivationError(
            act.name, "eta is for functions that are linear on either side of zero", "give leaky_relu"
        )
    ball_activation(act)  # refuses what nothing can be proved about
    largest = maximal_c0(arch)

    def value(share: arb) -> arb:
        def at(c: arb) -> arb:
            return c + share / arb.pi() * (((1 - c) * (1 + c)).sqrt() - c * c.acos()) if c < 1 else arb(1)

        def local(c: arb) -> arb:
            # Increasing on [0, 1]; a ball that reaches beyond 1, or to where the root is steep, would lose its digits.
            return at(c.lower().max(arb(0))).union(at(c.upper()))

        values = list(largest.values({act.name: local}, arb(0)).values())
        most = values[0]
        for other in values[1:]:
            most = most.max(other)
        return most

    with ctx.workprec(_PRECISION):
        if act.free_slope:
            ends, why = (value(arb(0)), value(arb(2))), "the largest C_f(0) grows with (1 - a)^2 / (1 + a^2)"
        else:
            left, right = map(arb, act.two_slopes)
            own = value((right - left) ** 2 / (left**2 + right**2))
            ends, why = (own, own), "without a slope to choose, the C map is fixed"
        return InfeasibilityProof(
            act.name, dict(act.parameters), "C(0)", target, ("Q(1) = 1", "Q'(1) = 1", "C'(1) = 1"), (ends,),
            _UNSHIFTED, why, 0,
        )  # fmt: skip


def _theorem(
    act: Activation, condition: str, target: arb, given: tuple[str, ...], intervals: Intervals, why: str
) -> InfeasibilityProof:
    return InfeasibilityProof(act.name, dict(act.parameters), condition, target, given, intervals, _EVERYWHERE, why, 0)


def _bound(act: Activation, psi: arb, scale: Pair | None, shift: Pair, most_cells: int) -> InfeasibilityProof:
    """The proof that C'(1) stays below a number below psi, by cells."""
    from qcmap.numeric.shaping._dks import solve

    try:
        solution = solve(act, float(psi))
    except Infeasible as error:
        found = error.achievable if error.condition == "C'(1)" else ()
    else:
        raise ArgumentError("psi", f"there is a solution: {solution.transform.constants}", "use `Solution.certify`")
    highest = max((high for _, high in found), default=float("inf"))
    if not psi > highest:
        raise ActivationError(
            act.name, f"no proof is known that C'(1) = {float(psi):.10g} is out of reach, as values above it are not",
            "use `count_solutions`, which proves that a box has no solution",
        )  # fmt: skip
    with ctx.workprec(53):
        bound = highest + 0.75 * (float(psi.lower()) - highest)
    start, reason = scale, "C'(1) is below the bound wherever Q'(1) = 1, by enclosures over cells"
    domain = "input_scale in {}, input_shift in {}"
    if scale is None and (lowest := lowest_scale(act, bound)) is not None:
        start = (lowest, 3.0)
        reason += f"; for input_scale <= {lowest:g} and every shift since log phi' is nearly Lipschitz"
    box = region(act, start, shift)
    if scale is None and start is None and box.scale[0] > 0:
        raise ActivationError(
            act.name, "no proof is known for small input scales near its kinks", "give `scale`, with a lower end"
        )
    with ctx.workprec(_PRECISION):
        search = box.search(arb(bound), most_cells, below=True)
        low = 0.0 if scale is None else box.scale[0]
        opening = "(" if low == 0 else "["
        where = domain.format(f"{opening}{low:g}, {box.scale[1]:g}]", f"[{box.shift[0]:g}, {box.shift[1]:g}]")
        return InfeasibilityProof(
            act.name, dict(act.parameters), "C'(1)", psi, ("Q(1) = 1", "Q'(1) = 1", "C(0) = 0"),
            ((arb(1), arb(bound)),), where, reason, search.seen,
        )  # fmt: skip
