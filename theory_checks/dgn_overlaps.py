"""Deep Gated Networks: overlaps of random and of frozen gates by depth, and spectra (section 2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qcmap.paths import (
    Spectrum,
    expected_path_kernel,
    memorisation_kernel,
    overlap,
)
from theory_checks.npf_moments import chain_kernel
from theory_checks.path_networks import Array, Plain, signs
from theory_checks.registry import Outcome, Tally, checks

Powers = Callable[[float, int, int], tuple[float, float]]
"""mu, w and d to the means of lambda(s, s) and lambda(s, s')."""


@checks(
    "dgn-05",
    part="means",
    source="DGN Lemma 2.4",
    claim="For gates Ber(mu), E lambda is (mu w)^(d-1) on and (mu^2 w)^(d-1) off the diagonal",
    subject=lambda mean, width, depth: ((mean * width) ** (depth - 1), (mean**2 * width) ** (depth - 1)),
    broken=lambda mean, width, depth: ((mean * width) ** (depth - 1), (mean * width) ** (2 * depth - 2) / width),
)
def random_gates(subject: Powers, effort: int) -> Outcome:
    """Over all gates of two examples, and by qcmap's path kernel of constant gates."""
    tally = Tally()
    for depth, width in ((2, 3), (3, 2), (4, 1)):
        plain = Plain.random(0, depth, width, 1, examples=2)
        for mean in (0.5, 0.2, 0.9)[: 1 + effort]:
            count, total = 2 * (depth - 1) * width, np.zeros((2, 2))
            for row in signs(count):
                gates = ((row + 1) / 2).reshape(depth - 1, 2, width)
                chance = np.prod(np.where(row > 0, mean, 1 - mean))
                total += chance * np.prod([g @ g.T for g in gates], axis=0)
            own, other = subject(mean, width, depth)
            ours = expected_path_kernel(plain.arch, np.ones((2, 1)), mean)
            for name, found in (("counted", total), ("qcmap", ours)):
                witness = f"d = {depth}, w = {width}, mu = {mean}, {name}: {found[0]} is not {own:.6g}, {other:.6g}"
                tally.add(abs(found[0, 0] - own) + abs(found[0, 1] - other), 1e-12, witness)
    return tally.outcome()


@checks(
    "dgn-05",
    part="decay",
    variant="as_printed",
    source="DGN 1, key result 1, and Definition 7.3",
    claim="If mu of the active gates of each layer overlap, lambda(s, s') / lambda(s, s) <= mu^d",
    subject=lambda mean, depth: mean**depth,
    broken=lambda mean, depth: mean ** (depth - 1),
)
@checks(
    "dgn-05",
    part="decay",
    variant="corrected",
    source="DGN 1, key result 1, and Definition 7.3",
    claim="If mu of the active gates of each layer overlap, lambda(s, s') / lambda(s, s) = mu^(d-1)",
    subject=lambda mean, depth: mean ** (depth - 1),
    broken=lambda mean, depth: mean**depth,
)
def decay(subject: Callable[[float, int], float], effort: int) -> Outcome:
    """Two examples with 4 active gates in each layer, 1 to 3 of them shared."""
    tally = Tally()
    for depth in (2, 3, 5):
        for shared in (1, 2, 3):
            gates = np.zeros((2, 8))
            gates[0, :4] = gates[1, 4 - shared : 8 - shared] = 1
            plain = Plain(np.ones((2, 1)), (gates,) * (depth - 1))
            found = overlap(plain.arch, plain.named_gates)
            ratio, bound = found[0, 1] / found[0, 0], subject(shared / 4, depth)
            tally.add(
                max(ratio / bound - 1, 0), 1e-9, f"d = {depth}, mu = {shared / 4}: the ratio {ratio:.4g} > {bound:.4g}"
            )
    return tally.outcome()


@checks(
    "dgn-06",
    kind="stat",
    false_alarm=1e-3,
    source="DGN (5), Fig. 1 to 3",
    claim="At w = 500 the sums of eigenvalues of K_0 / d and the largest one follow those of the ideal kernel (5)",
    subject=memorisation_kernel,
    broken=lambda count, mean, depth: memorisation_kernel(count, mean, depth + 1),
)
def spectra(subject: Callable[[int, float, int], Array], effort: int) -> Outcome:
    """Means over 10 networks of 60 inputs that are 1; tolerances are at least 3.5 standard errors of the largest one.

    The smallest eigenvalue is not compared: it is less than half of the ideal one at d = 2, and stays well below it.
    """
    tally, count, width, notes = Tally(), 60, 500, []
    for depth, tolerance in ((2, 0.03), (3, 0.05), (4, 0.08)):
        seen = []
        for seed in range(10 * effort):
            random = np.random.default_rng((seed, depth))
            gates = [1.0 * (random.random((count, width)) < 0.5) for _ in range(depth - 1)]
            shapes = [(width, 1), *((width, width) for _ in range(depth - 2)), (1, width)]
            weights = [random.choice([-1.0, 1.0], shape) * (2 / width) ** 0.5 for shape in shapes]
            seen.append(np.linalg.eigvalsh(chain_kernel(np.ones((count, 1)), gates, weights) / depth))
        ideal, found = Spectrum.of(subject(count, 0.5, depth)), Spectrum(np.mean(seen, axis=0))
        gap = float(np.abs(found.cumulative - ideal.cumulative).max() / count)
        tally.add(gap, 0.15, f"d = {depth}: the sums differ by {gap:.3g} n")
        tally.add(
            found.largest / ideal.largest - 1,
            tolerance,
            f"d = {depth}: rho_max {found.largest:.3f}, {ideal.largest:.3f}",
        )
        shown = ((name, getattr(found, name), getattr(ideal, name)) for name in ("largest", "median", "smallest"))
        notes.append(f"d = {depth}: " + ", ".join(f"{name} {seen:.2f} ({want:.2f})" for name, seen, want in shown))
    return tally.outcome("; ".join(notes))


@checks(
    "dgn-07",
    source="DGN 2, GaLU networks",
    claim="If inputs share at most eta of a layer's active gates, lambda(s, s') <= eta^(d-1) lambda(s, s)",
    subject=lambda eta, depth: eta ** (depth - 1),
    broken=lambda eta, depth: eta**depth,
)
def overlaps_of_galu(subject: Callable[[float, int], float], effort: int) -> Outcome:
    """Gates of random ReLU networks on pairs of inputs, the worst pair."""
    tally = Tally()
    for seed in range(6 * effort):
        random, depth, width = np.random.default_rng(seed), 2 + seed % 4, 40
        z, gates = random.standard_normal((5, 20)), []
        for _ in range(depth - 1):
            q = z @ random.standard_normal((width, z.shape[1])).T
            gates.append(1.0 * (q > 0))
            z = np.maximum(q, 0)
        shares = [(g @ g.T) / np.maximum((g @ g.T).diagonal(), 1)[:, None] for g in gates]
        apart = ~np.eye(5, dtype=bool)
        eta = max(float(share[apart].max()) for share in shares)
        plain = Plain(np.ones((5, 1)), tuple(gates))
        kernel = overlap(plain.arch, plain.named_gates)
        ratio = float((kernel / kernel.diagonal()[:, None])[apart].max())
        witness = f"network {seed}: the overlap is {ratio:.4g}, above {subject(eta, depth):.4g}"
        tally.add(max(ratio - subject(eta, depth), 0), 1e-12, witness)
    return tally.outcome()
