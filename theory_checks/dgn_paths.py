"""Deep Gated Networks: the path view, its expectations and its variance (sections 1, 2, 7 and 8)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qcmap.paths import (
    Spectrum,
    expected_path_kernel,
    memorisation_kernel,
    nu,
    overlap,
    path_kernel,
    path_table,
)
from theory_checks.npf_moments import chain_kernel, linear_variance, over_signs
from theory_checks.path_networks import Array, Plain, signs
from theory_checks.registry import Outcome, Tally, checks


@checks(
    "dgn-01",
    part="paths",
    source="DGN Table 1, (2)",
    claim="With gates in [0, 1] the output is the sum over paths of input, activation level and strength",
    subject=lambda plain, flat: path_table(plain.arch).outputs(plain.named_gates, plain.x, plain.named(flat))[:, 0],
    broken=lambda plain, flat: path_table(plain.arch).outputs(
        {n: 1.0 * (g > 0.5) for n, g in plain.named_gates.items()}, plain.x, plain.named(flat))[:, 0],
)  # fmt: skip
def path_view(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """Against the forward pass."""
    tally = Tally()
    for seed in range(4 * effort):
        plain = Plain.random(seed, 2 + seed % 3, 3, soft=True)
        flat = np.random.default_rng(seed).standard_normal(plain.count)
        gap = float(np.abs(subject(plain, flat) - plain.outputs(flat)).max())
        tally.add(gap, 1e-12, f"network {seed}: the outputs differ by {gap:.3g}")
    return tally.outcome()


@checks(
    "dgn-01",
    part="step",
    variant="as_printed",
    source="DGN 1, (1)",
    claim="A small step of descent on sum e^2 makes e - alpha K e of the error e",
    subject=1.0,
    broken=0.5,
)
@checks(
    "dgn-01",
    part="step",
    variant="corrected",
    source="DGN 1, (1)",
    claim="A small step of descent on (1/2) sum e^2 makes e - alpha K e of the error e",
    subject=0.5,
    broken=1.0,
)
def small_step(subject: float, effort: int) -> Outcome:
    """The rate of the error in alpha at 0, for the loss ``subject`` times sum e^2."""
    tally = Tally()
    for seed in range(4 * effort):
        plain = Plain.random(seed, 3, 4)
        random = np.random.default_rng(seed)
        flat, targets = random.standard_normal(plain.count), random.standard_normal(len(plain.x))
        error = plain.outputs(flat) - targets
        step = -2 * subject * plain.gradient(flat).T @ error
        rate = np.imag(plain.outputs(flat + 1e-30j * step)) * 1e30
        gap = float(np.abs(rate + plain.kernel(flat) @ error).max() / np.abs(rate).max())
        tally.add(gap, 1e-9, f"loss {subject:g} sum e^2, network {seed}: the step is {1 / (1 - gap):.3g} alpha K e")
    return tally.outcome()


@checks(
    "dgn-02",
    source="DGN 1",
    claim="No ReLU network without biases fits (x, 1) and (2x, -1): the least squared error is 9/5",
    subject=9 / 5,
    broken=2.0,
)
def hard_data(subject: float, effort: int) -> Outcome:
    """Random networks, with the last layer scaled as well as it can be: y(2x) = 2 y(x) leaves one number to choose."""
    tally = Tally()
    for seed in range(20 * effort):
        random = np.random.default_rng(seed)
        weights = [random.standard_normal(s) for s in ((8, 3), (8, 8), (1, 8))]

        def output(x: Array, weights: list[Array] = weights) -> float:
            for matrix in weights[:-1]:
                x = np.maximum(matrix @ x, 0)
            return float((weights[-1] @ x)[0])

        x = random.standard_normal(3)
        y = np.array([output(x), output(2 * x)])
        scale = y @ np.array([1, -1]) / (y @ y)
        best = float(((scale * y - np.array([1, -1])) ** 2).sum())
        tally.add(best - subject, 1e-12, f"network {seed}: the least error is {best:.12g}, not {subject:.12g}")
    return tally.outcome()


def _same_input(plain: Plain, flat: Array, *, cross: bool) -> Array:
    """The printed sum over i of x_i x_i' kappa(i), or with kappa(i, j) for paths from inputs i and j."""
    listed, rows = plain.paths(), plain.sensitivities(flat)
    gram = rows @ rows.T
    activity = np.stack([plain.activity(p) for p in listed], axis=1)
    start = np.array([p[0] for p in listed])
    if not cross:
        gram = gram * (start[:, None] == start)
    weighed = activity * plain.x[:, start]
    return weighed @ gram @ weighed.T


@checks(
    "dgn-03",
    part="decomposition",
    variant="as_printed",
    source="DGN (4), Lemma 2.1, 7.1 (9)",
    claim="K(s, s') is the sum over inputs i of x_s(i) x_s'(i) kappa(s, s', i), at any weights",
    subject=lambda plain, flat: _same_input(plain, flat, cross=False),
    broken=lambda plain, flat: _same_input(plain, flat, cross=True),
)
@checks(
    "dgn-03",
    part="decomposition",
    variant="corrected",
    source="DGN (4), Lemma 2.1, 7.1 (9)",
    claim="K(s, s') is the sum over inputs i, j of x_s(i) x_s'(j) kappa(s, s', i, j); the terms i != j have mean 0",
    subject=lambda plain, flat: _same_input(plain, flat, cross=True),
    broken=lambda plain, flat: _same_input(plain, flat, cross=False),
)
def signal_and_wire(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """At weights +-1, against derivatives of the output."""
    tally = Tally()
    for seed in range(3 * effort):
        plain = Plain.random(seed, 3, 2)
        flat = np.random.default_rng(seed).choice([-1.0, 1.0], plain.count)
        found, want = subject(plain, flat), plain.kernel(flat)
        worst = np.unravel_index(np.abs(found - want).argmax(), want.shape)
        witness = f"network {seed}: K{tuple(map(int, worst))} is {want[worst]:.6g}, not {found[worst]:.6g}"
        tally.add(found[worst] - want[worst], 1e-10, witness)
    return tally.outcome()


@checks(
    "dgn-03",
    part="expected",
    source="DGN Lemma 2.1, 2.2",
    claim="Over weights +-sigma the decomposition holds in the mean: E kappa(s, s', i, j) is 0 for i != j",
    subject=lambda plain, flat: _same_input(plain, flat, cross=False),
    broken=lambda plain, flat: plain.sensitivities(flat).sum() * plain.x @ plain.x.T,
)
def expected_decomposition(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """Averages over all sign patterns."""
    tally = Tally()
    for depth, width in ((2, 2), (3, 2), (2, 3))[: 2 + effort]:
        plain = Plain.random(depth, depth, width, inputs=2 if depth == 2 else 1)
        found = over_signs(plain, 0.9, lambda flat, plain=plain: subject(plain, flat))
        want = over_signs(plain, 0.9, plain.kernel)
        tally.add(
            np.abs(found - want).max(), 1e-11, f"d = {depth}: E K(1, 1) is {want[0, 0]:.6g}, not {found[0, 0]:.6g}"
        )
    return tally.outcome()


@checks(
    "dgn-04",
    part="mean",
    source="DGN Theorem 2.3",
    claim="E K_0 = d sigma^(2(d-1)) (x'x * lambda), for gates in [0, 1] as well",
    subject=lambda plain, sigma: plain.depth * sigma ** (2 * (plain.depth - 1)) * plain.x @ plain.x.T
    * overlap(plain.arch, plain.named_gates),
    broken=lambda plain, sigma: plain.depth * sigma ** (2 * plain.depth) * plain.x @ plain.x.T
    * overlap(plain.arch, plain.named_gates),
)  # fmt: skip
def mean_kernel(subject: Callable[[Plain, float], Array], effort: int) -> Outcome:
    """Over all sign patterns."""
    tally = Tally()
    for depth, width, inputs in ((2, 2, 2), (3, 2, 1), (2, 3, 2))[: 2 + effort]:
        plain = Plain.random(7 + depth, depth, width, inputs, soft=True)
        found, want = subject(plain, 0.7), over_signs(plain, 0.7, plain.kernel)
        tally.add(
            np.abs(found - want).max(), 1e-11, f"d = {depth}: E K(1, 1) is {want[0, 0]:.6g}, not {found[0, 0]:.6g}"
        )
    return tally.outcome()


def _printed_bound(depth: int, width: int) -> float:
    """The proof's cases with its constants, w^(2(d-1)) sigma^(4(d-1)) = 1: crossings at weights."""
    ratio = 4 * depth / width**2
    outer, inner = 32 * depth**2 / width, 16 * depth**3 / width**2
    return (outer * (1 + 4 / width) + inner) / (1 - ratio)


@checks(
    "dgn-04",
    part="variance",
    variant="as_printed",
    source="DGN Theorem 2.3, 7.3",
    claim="Var K_0 <= C max(d^2/w, d^3/w^2) for w sigma^2 = 1 and 4d < w^2, with the constants of the proof",
    subject=_printed_bound,
    broken=lambda depth, width: 36 * depth**3 / width,
)
@checks(
    "dgn-04",
    part="variance",
    variant="corrected",
    source="DGN Theorem 2.3, 7.3",
    claim="Var K_0 <= C d^3/w for w sigma^2 = 1 and d well below w: paths cross at units, not only at weights",
    subject=lambda depth, width: 36 * depth**3 / width,
    broken=_printed_bound,
)
def variance(subject: Callable[[int, int], float], effort: int) -> Outcome:
    """The exact variance of linear networks of one input over the bound."""
    tally = Tally()
    for depth, width in ((4, 64), (16, 256), (32, 1024), (100, 1000), (200, 2000))[: 4 + effort]:
        found, bound = linear_variance(depth, width), subject(depth, width)
        tally.add(found / bound, 1.0, f"d = {depth}, w = {width}: Var K_0 = {found:.4g} is above {bound:.4g}")
    return tally.outcome()


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


def _two_points(signed: bool) -> Callable[[int], Array]:
    """All weights of second moment 1: +-1, or 0 and sqrt 2."""
    return lambda count: np.array(list(signs(count))) if signed else (np.array(list(signs(count))) + 1) / 2**0.5


@checks(
    "dgn-12",
    variant="as_printed",
    source="DGN 8, Cor. 8.1 (16)",
    claim="Under assumption 2, independence of gates and weights, a linear network has E K_0 = d (w sigma^2)^(d-1)",
    subject=_two_points(False),
    broken=_two_points(True),
)
@checks(
    "dgn-12",
    variant="corrected",
    source="DGN 8, Cor. 8.1 (16)",
    claim="Under assumption 1, weights +-sigma, a linear network has E K_0 = d (w sigma^2)^(d-1)",
    subject=_two_points(True),
    broken=_two_points(False),
)
def linear_networks(subject: Callable[[int], Array], effort: int) -> Outcome:
    """Averages over all weights of a distribution with this second moment; constant gates are independent of them."""
    tally = Tally()
    for depth, width in ((2, 2), (2, 4), (3, 2)):
        plain = Plain(np.ones((1, 1)), tuple(np.ones((1, width)) for _ in range(depth - 1)))
        sigma = 0.8
        found = float(np.mean([plain.kernel(sigma * row)[0, 0] for row in subject(plain.count)]))
        want = depth * (width * sigma**2) ** (depth - 1)
        tally.add(found - want, 1e-12, f"d = {depth}, w = {width}: E K_0 is {found:.6g}, not {want:.6g}")
    return tally.outcome()


@checks(
    "dgn-12",
    part="effective",
    source="DGN 8 (13)-(15)",
    claim="A linear network computes x'eta, eta(i) the sum of the strengths from input i; lambda = w^(d-1)",
    subject=lambda plain, flat: [
        path_table(plain.arch).values(plain.named(flat))[path_table(plain.arch).start == i].sum()
        for i in range(plain.x.shape[1])
    ],
    broken=lambda plain, flat: [
        np.abs(path_table(plain.arch).values(plain.named(flat)))[path_table(plain.arch).start == i].sum()
        for i in range(plain.x.shape[1])
    ],
)
def effective_weights(subject: Callable[[Plain, Array], list[float]], effort: int) -> Outcome:
    """Against the forward pass, and the overlap."""
    tally = Tally()
    for seed in range(3 * effort):
        depth, width = 2 + seed % 3, 3
        random = np.random.default_rng(seed)
        plain = Plain(random.standard_normal((4, 3)), tuple(np.ones((4, width)) for _ in range(depth - 1)))
        flat = random.standard_normal(plain.count)
        gap = float(np.abs(plain.x @ np.array(subject(plain, flat)) - plain.outputs(flat)).max())
        tally.add(gap, 1e-11, f"network {seed}: the outputs differ by {gap:.3g}")
        found = overlap(plain.arch, plain.named_gates)[0, 1]
        tally.add(found - width ** (depth - 1), 1e-9, f"network {seed}: lambda is {found}")
    return tally.outcome()


@checks(
    "dgn-13",
    source="DGN 3, nu_t (the bounds: ours)",
    claim="nu = y'(M/tr M)^-1 y is sum of (u'y)^2 / rho, above n for labels +-1, near n if aligned, n^2 for M = I",
    subject=nu,
    broken=lambda kernel, y: float(y @ np.linalg.solve(kernel, y)),
)
def alignment(subject: Callable[[Array, Array], float], effort: int) -> Outcome:
    """Path kernels of random gates, and kernels between indifferent and aligned."""
    tally = Tally()
    for seed in range(4 * effort):
        n = 6
        random = np.random.default_rng(seed)
        plain = Plain.random(seed, 3, 8, inputs=6, examples=n, soft=True)
        y = random.choice([-1.0, 1.0], n)
        kernel = path_kernel(plain.arch, plain.named_gates, plain.x)
        values, vectors = np.linalg.eigh(kernel / kernel.trace())
        want = float(((vectors.T @ y) ** 2 / values).sum())
        tally.add(subject(kernel, y) / want - 1, 1e-8, f"kernel {seed}: nu is {want:.8g}, not {subject(kernel, y):.8g}")
        tally.add(max(n - subject(kernel, y), 0), 1e-9, f"kernel {seed}: nu = {subject(kernel, y):.6g} is below n")
        tally.add(subject(np.eye(n), y) - n**2, 1e-9, f"nu of I is {subject(np.eye(n), y)}")
        near = np.outer(y, y) + 1e-9 * np.eye(n)
        tally.add(subject(near, y) - n, 1e-6, f"nu of an aligned kernel is {subject(near, y):.8g}")
    return tally.outcome()
