"""Proofs of infeasibility: the theorems against mpmath and random constants, the lemma, cells, and what is refused."""

import math

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

import qcmap as qc
from qcmap.errors import ActivationError, ArgumentError, Infeasible, NumericalError
from qcmap.numeric import InfeasibilityProof, certify_infeasible, solve, tat
from qcmap.numeric.proofs._ball_series import SmoothActivation, smooth_activation
from qcmap.numeric.proofs._cells import region
from qcmap.numeric.proofs._count_moments import Cell
from qcmap.numeric.proofs._log_slope import lowest_scale
from qcmap.numeric.proofs._quadratic import Quadratic, negative_at_zeros
from qcmap.numeric.proofs._tail_cells import LeftTail
from qcmap.numeric.shaping._tat import solve_curvature
from tests import oracles
from tests.numeric.tailored_oracle import exact
from tests.oracles import FORMULAS, MP

SELU_PSI = 1.533885199172726
"""The smallest psi of the grid of networks that elu, celu, selu and softplus do not reach."""


def proof_of(function, *arguments, **options):
    """The proof that the error carries."""
    with pytest.raises(Infeasible) as error:
        function(*arguments, **options)
    return error.value.certify()


def clipped(low, high):
    """P, Var and the numerator of Q'(1) for x clipped to [low, high], x standard normal, arrays."""
    p, q = (np.exp(-k * k / 2) / math.sqrt(2 * math.pi) for k in (low, high))
    inside, left, right = ndtr(high) - ndtr(low), ndtr(low), ndtr(-high)
    mean = low * left + p - q + high * right
    square = inside + low * p - high * q
    return inside, low**2 * left + square + high**2 * right - mean**2, square - mean * (p - q)


class TestTheorems:
    """Each for constants of any size, so checked far from the searched boxes too."""

    def test_clipped_functions(self):
        """Where the interval holds 0, Q'(1) < 1; elsewhere C'(1) > pi / (pi - 1), whatever Q'(1) is."""
        generator = np.random.default_rng(4)
        low = generator.normal(size=100_000) * 3
        width = np.exp(generator.uniform(-4, 3, size=low.size))
        inside, variance, numerator = clipped(low, low + width)
        # Not where the function is linear, or constant, to rounding.
        kept = (inside > 1e-3) & (ndtr(low) + ndtr(-low - width) > 1e-9)
        straddling = kept & (low < 0) & (low + width > 0)
        assert straddling.sum() > 10_000
        assert (numerator < variance)[straddling].all()
        beside = kept & ~straddling
        assert beside.sum() > 10_000
        least = math.pi / (math.pi - 1)
        assert (inside[beside] / variance[beside]).min() > least
        # It is the limit: a relu whose kink is at 0.
        half, variance, _ = clipped(np.array(0.0), np.array(30.0))
        assert half / variance == pytest.approx(least, rel=1e-14)

    @pytest.mark.parametrize("name", ["hardtanh", "relu6"])
    def test_clipped_functions_are_refused_below_the_limit(self, name):
        proof = proof_of(solve, qc.activation(name), 1.3786)
        assert proof.proved
        assert "all real constants" in proof.statement
        assert float(proof.enclosure[0][0]) == pytest.approx(math.pi / (math.pi - 1), rel=1e-15)
        a, b = 0.2, 1.01 if name == "hardtanh" else 0.01
        dq, dc1, *_ = oracles.eliminated(FORMULAS[name], MP.mpf(a), MP.mpf(b))
        low, high = ((-1 if name == "hardtanh" else 0) - b) / a, ((1 if name == "hardtanh" else 6) - b) / a
        inside, variance, numerator = clipped(np.array(low), np.array(high))
        assert float(dc1) == pytest.approx(float(inside / variance), rel=1e-12)
        assert float(dq) == pytest.approx(float(numerator / variance), rel=1e-12)
        # Above the limit there are solutions.
        assert solve(qc.activation(name), 1.5339).count >= 1
        with pytest.raises(ArgumentError, match="there is a solution"):
            certify_infeasible(name, psi=1.5339)

    @pytest.mark.parametrize(("a", "b"), [(0.3, -2.0), (2.5, 0.0), (1.0, 7.0)])
    def test_squares(self, a, b):
        """Q'(1) = C'(1) if the mean is taken off; else, with C'(1) = 1, Q'(1) - 1 is +- C''(1) / sqrt 2."""
        dq, dc1, mean, variance = oracles.eliminated(FORMULAS["square"], MP.mpf(a), MP.mpf(b))
        assert abs(dq - dc1) < 1e-25
        excess = dc1 - 1
        for side in (-1, 1):
            shift, scale = side * MP.sqrt(variance * excess) - mean, 1 / MP.sqrt(variance * (1 + excess))
            found = exact("square", input_scale=a, input_shift=b, output_shift=shift, output_scale=scale)
            assert abs(found["C'(1)"] - 1) < 1e-25
            assert abs(abs(found["Q'(1)"] - 1) - found["C''(1)"] / MP.sqrt(2)) < 1e-25
            assert abs(found["Q'(1)"] - 1) > 0.01 * excess

    def test_squares_and_lines_are_refused(self):
        for proof in (
            proof_of(solve, qc.activation("square"), 1.3),
            proof_of(solve, qc.activation("identity"), 1.3),
            proof_of(solve_curvature, qc.activation("square"), 0.3),
        ):
            assert proof.proved
            assert proof.cells == 0
        assert [float(low) for low, _ in proof.enclosure] == pytest.approx([1 - 0.3 / 2**0.5, 1 + 0.3 / 2**0.5])

    @pytest.mark.parametrize("psi", [2.0, 2.51])
    def test_squares_have_slopes_up_to_two(self, psi):
        """Reached without a shift: u^2 has the second coefficient alone."""
        with pytest.raises(Infeasible) as error:
            solve(qc.activation("square"), psi)
        proof = error.value.certify()
        assert error.value.condition == proof.condition == ("C'(1)" if psi > 2 else "Q'(1)")
        assert proof.proved
        assert "all real constants" in proof.statement
        _, dc1, *_ = oracles.eliminated(FORMULAS["square"], MP.mpf(0.7), MP.zero)
        assert dc1 == pytest.approx(2, abs=1e-25)

    @pytest.mark.parametrize("name", ["hardtanh", "relu6", "selu", "hardswish"])
    def test_corners(self, name):
        proof = proof_of(solve_curvature, qc.activation(name), 0.3)
        assert proof.proved
        assert "{inf}" in repr(proof)

    @pytest.mark.parametrize("depth", [5, 100, 1000])
    def test_a_kink_without_a_slope(self, depth):
        """The largest C_f(0) of relu by balls, beside mpmath; it tends to 1, beyond which there is no C map."""
        fixed = proof_of(tat, qc.zoo.mlp(depth, activation="relu"), eta=0.9)
        c = MP.zero
        for _ in range(depth):
            c += (MP.sqrt(1 - c * c) - c * MP.acos(c)) / MP.pi
        assert fixed.proved
        assert fixed.enclosure[0][0].overlaps(arb(float(c), 1e-15))
        assert float(fixed.enclosure[0][0].rad()) < 1e-25

    def test_slopes_of_a_kink(self):
        """Just inside the reach there is a solution, just outside a proof."""
        assert proof_of(tat, qc.zoo.mlp(20, activation="leaky_relu"), eta=0.99).proved
        arch = qc.zoo.resnet_v2(50, activation="leaky_relu")
        free = proof_of(tat, arch, eta=0.99)
        assert free.proved
        most = float(free.enclosure[0][1])
        assert tat(arch, eta=most - 1e-9).eta == most - 1e-9
        assert proof_of(tat, arch, eta=most + 1e-9).proved
        assert proof_of(tat, qc.zoo.mlp(5, activation="identity"), eta=0.9).proved


@settings(max_examples=12, deadline=None)
@given(name=st.sampled_from(["elu", "celu", "selu"]), share=st.floats(0.01, 1), shift=st.floats(-9, 9))
def test_small_scales_of_exponential_functions(name, share, shift):
    """The lemma's bound on C'(1), at shifts that no box has."""
    bound = 1.51
    lowest = lowest_scale(qc.activation(name), bound)
    _, dc1, *_ = oracles.eliminated(FORMULAS[name], MP.mpf(share * lowest), MP.mpf(shift))
    assert dc1 < bound


def test_the_lemma_says_how_far_it_goes():
    assert lowest_scale(qc.activation("elu"), 1.51) == pytest.approx(math.sqrt(1 - 1 / 1.51), abs=1 / 128)
    assert 0.15 < lowest_scale(qc.activation("selu"), 1.51) < 0.19
    assert lowest_scale(qc.activation("celu", alpha=2.0), 1.51) == pytest.approx(
        2 * lowest_scale(qc.activation("elu"), 1.51), abs=1 / 64
    )
    assert lowest_scale(qc.activation("elu", alpha=9.0), 1.51) is None
    assert lowest_scale(qc.activation("softplus"), 1.51) is None
    # C'(1) of selu does exceed 1.03 at small scales, so a bound there must be refused.
    assert lowest_scale(qc.activation("selu"), 1.03) is None


class TestTails:
    """Q'(1) > 1 where phi and phi'' fall together."""

    @settings(max_examples=12, deadline=None)
    @given(
        name=st.sampled_from(["gelu", "gelu_tanh", "swish", "softplus"]),
        scale=st.floats(0.02, 0.5), shift=st.floats(-6, -2.5),
    )  # fmt: skip
    def test_cells_that_are_excluded(self, name, scale, shift):
        cell = Cell(0.98 * scale**2, 1.02 * scale**2, shift - 0.02, shift + 0.02)
        if tail_of(name).excludes(cell):
            dq, *_ = oracles.eliminated(FORMULAS[name], MP.mpf(scale), MP.mpf(shift))
            assert dq > 1

    @pytest.mark.parametrize(("name", "right"), [("gelu", -2.0), ("gelu_tanh", -2.0), ("swish", -3.3), ("softplus", 0)])
    def test_how_far_it_goes(self, name, right):
        """Up to where the second or third derivative is zero, for gelu u^2 (u^2 - 4) = 0."""
        tail = tail_of(name)
        assert right - 0.4 < tail.right <= right
        assert tail.excludes(Cell(0.0, 0.01, -6.0, -4.5))
        # Arguments to the right of it are not improbable here.
        assert not tail.excludes(Cell(0.9, 1.0, -4.6, -4.5))
        assert not tail.excludes(Cell(0.0, 0.01, 0.5, 0.6))

    @pytest.mark.parametrize(("name", "scale"), [("gelu", 0.3), ("swish", 0.1), ("gelu_tanh", 0.2)])
    def test_its_inequality(self, name, scale):
        """Both sides where they are equal, beside the integrals that they bound."""
        tail, phi, a = tail_of(name), FORMULAS[name], MP.mpf(scale)
        low, high = -6.0, tail.right - 2 * scale
        for _ in range(30):
            b = (low + high) / 2
            low, high = (b, high) if tail.excludes(at := point(scale, b)) else (low, b)
        assert tail.excludes(point(scale, low))
        assert not tail.excludes(point(scale, high))
        mean, lost = tail.terms(at)
        assert scale**2 * float(mean) ** 2 / 2 == pytest.approx(float(lost), rel=1e-5)
        assert mean < abs(MP.quad(lambda x: phi.first(a * x + b) * x * MP.npdf(x), range(-10, 11, 2))) / a  # by parts
        # The second shift leaves as much outside as may be.
        for shift in (b, tail.right - 2.1 * scale):

            def square(x, b=shift):
                return 2 * float(tail.size) ** 2 * ((tail.width - b) ** 2 + (scale * x) ** 2)

            points = np.linspace(-20, 20, 401)
            assert tail.power == 1
            assert (square(points) >= (float(tail.size) * (tail.width + abs(scale * points + shift))) ** 2).all()
            end = (tail.right - shift) / scale
            beyond = 2 * MP.quad(lambda x: square(x) * MP.npdf(x), [end, end + 2, end + 8])
            rare, whole = 2 * MP.ncdf(-end), MP.quad(lambda x: square(x) * MP.npdf(x), [-12, 0, 12])
            mean, lost = map(float, tail.terms(point(scale, shift)))
            assert lost == pytest.approx(float(2 * (beyond + rare * whole)), rel=1e-9)
            # phi'' at the steps of a unit interval, up to the tail's end.
            steps = [k / 4 for k in range(24) if k / 4 + 1 < end]
            used = max(abs(MP.diff(phi.first, shift + a * x)) * (MP.ncdf(x + 1) - MP.ncdf(x)) for x in steps)
            assert 0.9 * used < mean + math.sqrt(beyond * rare) <= used * (1 + 1e-12)

    def test_there_may_be_none(self):
        assert LeftTail.of(SmoothActivation(lambda u: u * u, 1.0, 2, 2), 6.0) is None

    def test_gelu(self):
        """A part of the box that took more cells than there are; the whole box takes 2,784."""
        proof = certify_infeasible("gelu", psi=2.51, scale=(0.0, 0.2), shift=(-6.0, -3.0))
        assert proof.proved
        assert proof.cells < 400


def point(scale, shift):
    """A cell of one point."""
    return Cell(scale * scale, scale * scale, shift, shift)


def tail_of(name):
    phi = smooth_activation(qc.activation(name))
    assert phi is not None
    tail = LeftTail.of(phi, 6.0)
    assert tail is not None
    return tail


class TestCells:
    def test_negative_where_the_other_vanishes(self):
        def plane(c, x, y):
            zero = arb(0)
            return Quadratic(arb(c), arb(x), arb(y), zero, zero, zero)

        assert negative_at_zeros(plane(-2, 1, 0), plane(0, 1, 0))
        assert negative_at_zeros(plane(5, 0, 0), plane(2, 1, 0))
        # x - 1/2 is not negative everywhere, but it is where x + y / 8 = 0.
        assert negative_at_zeros(plane(-0.5, 1, 0), plane(0, 1, 0.125))
        assert not negative_at_zeros(plane(0.5, 1, 0), plane(0, 1, 0.125))
        assert not negative_at_zeros(plane(0, 1, 0), plane(0, 0, 1))

    def test_a_part_of_the_box(self):
        proof = certify_infeasible("softplus", psi=SELU_PSI, scale=(1.5, 1.7), shift=(-0.5, 0))
        assert isinstance(proof, InfeasibilityProof)
        assert proof.proved
        assert proof.cells > 0
        low, high = proof.enclosure[0]
        assert low == 1
        assert 1.43 < float(high) < SELU_PSI
        assert "input_scale in [1.5, 1.7]" in proof.statement
        assert proof.to_dict()["proved"] is True

    def test_a_false_bound_is_not_proved(self):
        """C'(1) is 1.1 at a point of this box where Q'(1) = 1."""
        solution = solve(qc.activation("softplus"), 1.1).transform
        a, b = solution.input_scale, solution.input_shift
        box = region(qc.activation("softplus"), (0.99 * a, 1.01 * a), (b - 0.01, b + 0.01))
        with ctx.workprec(110):
            with pytest.raises(NumericalError):
                box.search(arb(1.095), 15, below=True)
            assert box.search(arb(1.12), 15, below=True).seen == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({}, "one of psi and kappa"),
            ({"psi": 1.5, "kappa": 0.3}, "one of psi and kappa"),
            ({"psi": 1.0}, "above 1"),
            ({"kappa": -1.0}, "above 0"),
            ({"psi": 1.1}, "there is a solution"),
        ],
    )
    def test_arguments(self, options, match):
        with pytest.raises(ArgumentError, match=match):
            certify_infeasible("softplus", **options)

    def test_no_proof_known(self):
        with pytest.raises(ActivationError, match="no proof is known"):
            certify_infeasible("tanh", kappa=0.3)
        with pytest.raises(ActivationError, match="nothing can be proved about a callable"):
            certify_infeasible(qc.Activation.from_callable(np.tanh), psi=1.5)
        with pytest.raises(ActivationError, match="no proof is known that this value"):
            proof_of(solve, qc.activation("softplus"), 1.6, 1.2)
        error = Infeasible("x", "rule", "remedy", condition="C'(1)", achievable=())
        with pytest.raises(ActivationError, match="x: no proof is known"):
            error.certify()
