"""Kernels and channel means of wide random layers: DKS, sections 5.1, 5.4, 5.5 and appendix A.

Sampled checks have fixed seeds and compare means over independent networks with standard errors estimated from their
spread, at 6.2 of them (two-sided 6e-10 each), so no check has a false-alarm rate above 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import mpmath as mp
import numpy as np

from qcmap.architecture import Affine
from qcmap.numeric import local_maps
from theory_checks.dks_weights import gaussian
from theory_checks.oracles import precise
from theory_checks.propagation import KERNELS
from theory_checks.registry import SIGMAS, Array, Outcome, Tally, checks

_FALSE_ALARM = 1e-6

Kernel = Callable[[str, Array, Array, Array], Array]
"""An activation, m values and two q values (of one shape) to E[phi(u1) phi(u2)]."""


def library_kernel(name: str, m: Array, q1: Array, q2: Array) -> Array:
    """Equation (1) by qcmap: C(c, q1, q2) sqrt(Q(q1) Q(q2))."""
    maps = local_maps(name)
    c = np.clip(m / np.sqrt(q1 * q2), -1, 1)
    values = [float(maps.c(a, float(b), float(d))) for a, b, d in zip(c.flat, q1.flat, q2.flat, strict=True)]
    return np.reshape(values, m.shape) * np.sqrt(maps.q(q1) * maps.q(q2))


def _at_unit_q(name: str, m: Array, q1: Array, q2: Array) -> Array:
    return library_kernel(name, m / np.sqrt(q1 * q2), np.ones_like(q1), np.ones_like(q2))


def _pair(q1: float, q2: float, c: float, k: int) -> Array:
    """Two inputs [k, 2] with these q values and cosine."""
    random = np.random.default_rng(k)
    basis = np.linalg.qr(random.standard_normal((k, 2)))[0] * math.sqrt(k)
    second = c * basis[:, 0] + math.sqrt(1 - c * c) * basis[:, 1]
    return np.stack([math.sqrt(q1) * basis[:, 0], math.sqrt(q2) * second], axis=1)


LAYERS = (("relu", 1.0, 1.0, 0.3), ("relu", 0.5, 2.0, -0.6), ("erf", 1.5, 0.7, 0.5), ("softplus", 2.0, 1.0, -0.2))
"""An activation, q1, q2 and c."""


@lru_cache(maxsize=64)
def _kernels(name: str, q1: float, q2: float, c: float, width: int, count: int) -> Array:
    """The kernel entry of ``count`` layers: means over ``width`` channels of phi(W z) phi(W z')."""
    z = _pair(q1, q2, c, 5)
    u = gaussian(width * count, 5, 1, width)[0] @ z
    phi = local_maps(name).transform
    return np.mean((phi(u[:, 0]) * phi(u[:, 1])).reshape(count, width), axis=1)


@checks(
    "dks-01",
    part="kernel",
    source="DKS 5.1 (1)",
    claim="The kernel entry of a layer with weights of variance 1/k is E[phi(u1) phi(u2)] on average, u ~ N(0, Sigma)",
    subject=library_kernel,
    broken=_at_unit_q,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def kernels(subject: Kernel, effort: int) -> Outcome:
    """The mean over layers, whose rows are independent at every width."""
    tally, count = Tally(), 8000 * effort
    for name, q1, q2, c in LAYERS:
        found = _kernels(name, q1, q2, c, 16, count)
        want = float(subject(name, np.array([c * math.sqrt(q1 * q2)]), np.array([q1]), np.array([q2]))[0])
        tally.mean(found, want, f"{name} at q = {q1:g}, {q2:g}, c = {c:g}")
    return tally.outcome()


@checks(
    "dks-01",
    part="rate",
    source="DKS 5.1, 5.6",
    claim="Its error falls as width^(-1/2), since it averages independent channels",
    subject=lambda width: width**-0.5,
    broken=lambda width: width**-0.6,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def rate(subject: Callable[[int], float], effort: int) -> Outcome:
    """Rms errors at widths 64 and 1024 over that at 8; log rms has the standard error sd(e^2) / (2 sqrt(n) E e^2)."""
    tally, count = Tally(), 1000 * effort
    for name, q1, q2, c in LAYERS:
        want = float(library_kernel(name, np.array([c * math.sqrt(q1 * q2)]), np.array([q1]), np.array([q2]))[0])
        squares = {width: (_kernels(name, q1, q2, c, width, count) - want) ** 2 for width in (8, 64, 1024)}
        logs = {width: math.log(float(e.mean())) / 2 for width, e in squares.items()}
        spread = {width: float(e.std() / e.mean()) / (2 * math.sqrt(count)) for width, e in squares.items()}
        for width in (64, 1024):
            fall = logs[width] - logs[8]
            error = math.hypot(spread[width], spread[8])
            witness = f"{name}, c = {c:g}: from width 8 to {width} the rms error falls by {math.exp(fall):.4f}"
            tally.add((fall - math.log(subject(width) / subject(8))) / error, SIGMAS, witness)
    return tally.outcome()


Operator = Callable[[Array], Array]
"""Inner products [locations, locations] of two feature maps to those of their affine images."""
TAPS, EXTENT = 3, 6


def patches(products: Array) -> Array:
    """The operator A of (2): the mean over taps t of the products at i + t and j + t, zero outside the map."""
    padded = np.pad(products, TAPS // 2)
    return np.mean([padded[t : t + EXTENT, t : t + EXTENT] for t in range(TAPS)], axis=0)


def _patches_without_border(products: Array) -> Array:
    padded = np.pad(products, TAPS // 2)
    inside = np.pad(np.ones_like(products), TAPS // 2)
    total, count = (np.sum([a[t : t + EXTENT, t : t + EXTENT] for t in range(TAPS)], axis=0) for a in (padded, inside))
    return total / count


@lru_cache(maxsize=4)
def _convolved(delta: bool, count: int) -> tuple[Array, Array]:
    """Two inputs [2, channels, locations], and [networks, 2, filters, locations] of random convolutions of them."""
    import torch

    import qcmap.nn as qnn

    random = np.random.default_rng(2)
    base = random.standard_normal((3, EXTENT))
    z = np.stack([base, 0.6 * base[:, ::-1] + 0.8 * random.standard_normal((3, EXTENT))])
    filters, generator = 32, torch.Generator().manual_seed(2)
    weights = [
        qnn.gaussian_weight((filters, 3, TAPS), delta=delta, generator=generator, dtype=torch.float64)
        for _ in range(count)
    ]
    u = torch.nn.functional.conv1d(torch.from_numpy(z), torch.cat(weights), padding=TAPS // 2)
    return z, u.reshape(2, count, filters, EXTENT).transpose(0, 1).numpy()


@checks(
    "dks-02",
    part="fan_in",
    source="DKS 5.4 (2)",
    claim="With fan-in convolutions the kernel is E[phi(u) phi(u)^T] at u ~ N(0, A(Sigma)), A averaging over patches",
    subject=(False, patches),
    broken=(False, _patches_without_border),
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
@checks(
    "dks-02",
    part="delta",
    source="DKS 5.4",
    claim="With Delta convolutions it is E[phi(u) phi(u)^T] at u ~ N(0, Sigma): locations do not mix",
    subject=(True, lambda products: products),
    broken=(True, patches),
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def convolutions(subject: tuple[bool, Operator], effort: int) -> Outcome:
    """Every entry of the kernel matrix of a relu layer of two inputs with six locations, zero padding, 3 taps."""
    tally, (delta, operator) = Tally(), subject
    count = 600 * effort
    z, u = _convolved(delta, count)
    f = np.maximum(u, 0)
    products = np.einsum("ski,tkj->stij", z, z) / z.shape[1]
    mixed = np.array([[operator(products[s, t]) for t in range(2)] for s in range(2)])
    q = np.array([np.diag(mixed[s, s]) for s in range(2)])
    for s in range(2):
        for t in range(s, 2):
            found = np.einsum("nki,nkj->nij", f[:, s], f[:, t]) / f.shape[2]
            q1, q2 = np.broadcast_arrays(q[s][:, None], q[t][None, :])
            error = found.std(axis=0) / math.sqrt(count)
            gap = (found.mean(axis=0) - library_kernel("relu", mixed[s, t], q1, q2)) / error
            for (i, j), value in np.ndenumerate(gap):
                tally.add(value, SIGMAS, f"locations {i} of input {s} and {j} of input {t}: off by {value:.3g} errors")
    return tally.outcome()


def visited(kernel: int, stride: int, padding: int, extent: int) -> list[int]:
    """The input locations that the filter's centre visits, by qcmap."""
    op = Affine(channels=1, kernel=(kernel,), stride=stride, padding=padding)
    return list(op.centres((extent,))[0])


def _first_taps(kernel: int, stride: int, padding: int, extent: int) -> list[int]:
    return [place - kernel // 2 + (kernel == 1) for place in visited(kernel, stride, padding, extent)]


@checks(
    "dks-02",
    part="strides",
    source="DKS 5.5 (3)",
    claim="With a Delta filter each output location is a fully-connected layer on the one input location under the "
    "filter's centre; strides and missing padding drop the other locations",
    subject=visited,
    broken=_first_taps,
)
def strides(subject: Callable[[int, int, int, int], list[int]], effort: int) -> Outcome:
    """Torch's convolutions against W z at the visited locations, and with all dropped locations changed."""
    import torch

    import qcmap.nn as qnn

    tally, random = Tally(), np.random.default_rng(22)
    for kernel in (1, 3, 5):
        for stride in (1, 2, 3):
            for padding in {0, kernel // 2}:
                extent = int(random.integers(8, 12))
                weight = qnn.orthogonal_weight((4, 3, kernel), seed=kernel, dtype=torch.float64)
                z = torch.from_numpy(random.standard_normal((3, extent)))
                out = torch.nn.functional.conv1d(z[None], weight, stride=stride, padding=padding)[0]
                places = subject(kernel, stride, padding, extent)
                case = f"{kernel} taps, stride {stride}, padding {padding}, {extent} locations"
                if len(places) != out.shape[1] or not all(0 <= place < extent for place in places):
                    tally.add(1.0, 0.5, f"{case}: the outputs do not stem from {places}")
                    continue
                gap = float((out - weight[:, :, kernel // 2] @ z[:, places]).abs().max())
                tally.add(gap, 1e-13, f"{case}: outputs differ by {gap:.3g} from W z at {places}")
                changed = z.clone()
                changed[:, [place for place in range(extent) if place not in places]] += 1e3
                other = torch.nn.functional.conv1d(changed[None], weight, stride=stride, padding=padding)[0]
                moved = float((out - other).abs().max())
                tally.add(moved, 1e-11, f"{case}: dropped locations change the output by {moved:.3g}")
    return tally.outcome()


def channel_mean(name: str, q: float) -> float:
    """Equation (24) by qcmap, at the q value of the layer's input."""
    return float(local_maps(name).mean(q))


def _at_the_output(name: str, q: float) -> float:
    return channel_mean(name, float(local_maps(name).q(q)))


@checks(
    "dks-48",
    source="DKS A (24)",
    claim="The mean over channels of phi(W z) is E phi(sqrt(q) x) on average, q that of z and not of the output, and "
    "its variance Var phi(sqrt(q) x) / width",
    subject=channel_mean,
    broken=_at_the_output,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def channel_means(subject: Callable[[str, float], float], effort: int) -> Outcome:
    """Means and variances over layers of widths 8 and 128."""
    tally, count = Tally(), 4000 * effort
    for name, q in (("relu", 1.0), ("relu", 2.5), ("softplus", 0.5), ("swish", 2.0)):
        z, phi, maps = _pair(q, q, 0.0, 5)[:, 0], local_maps(name).transform, local_maps(name)
        want = subject(name, q)
        variance = float(maps.q(q)) - want**2
        for width in (8, 128):
            u = gaussian(width * count, 5, 1, 48 + width)[0] @ z
            means = phi(u).reshape(count, width).mean(axis=1)
            where = f"{name} at q = {q:g}, width {width}:"
            tally.mean(means, want, f"{where} the mean")
            tally.mean((means - means.mean()) ** 2, variance / width, f"{where} the variance")
    return tally.outcome()


def _of_output(name: str, q: float) -> float:
    """E phi(sqrt(q) x) with the q value after the layer for q."""
    kernel, q_in = KERNELS[name], mp.mpf(q)
    return float(kernel.mean(kernel.value(q_in, q_in, q_in)))


def _of_input(name: str, q: float) -> float:
    return float(KERNELS[name].mean(mp.mpf(q)))


@checks(
    "dks-48",
    part="q",
    variant="as_printed",
    source="DKS A (24)",
    claim="The channel mean is E phi(sqrt(q) x) with the q value of the vector y in the layer's output",
    subject=_of_output,
    broken=_of_input,
)
@checks(
    "dks-48",
    part="q",
    variant="corrected",
    source="DKS A (24)",
    claim="It is E phi(sqrt(q) x) with the q value of the layer's input, as in the proof: sqrt(q / (2 pi)) for relu",
    subject=_of_input,
    broken=_of_output,
)
@precise
def which_q(subject: Callable[[str, float], float], effort: int) -> Outcome:
    """Against the mean of the units of an infinitely wide layer, E phi(u) with u of variance q, by quadrature."""
    tally = Tally()
    for name in ("relu", "square", "cos"):
        for q in (0.5, 1.0, 2.5, *(3.0 + k for k in range(1, effort))):
            want, found = wide_mean(name, q), subject(name, q)
            tally.add(found - want, 1e-12, f"{name} at q = {q}: the mean is {want:.8g}, not {found:.8g}")
    return tally.outcome()


@lru_cache(maxsize=64)
def wide_mean(name: str, q: float) -> float:
    """E phi(u) with u ~ N(0, q), from the activation's values."""
    phi = {"relu": lambda u: np.maximum(u, 0), "square": np.square, "cos": np.cos}[name]
    nodes, weights = np.polynomial.legendre.leggauss(100)
    x, total = 5 * (nodes + 1), 0.0
    for side in (x, -x):
        total += float(5 * weights @ (phi(math.sqrt(q) * side) * np.exp(-x * x / 2))) / math.sqrt(2 * math.pi)
    return total
