"""The neural tangent kernel by C maps: DKS, section 24.4.

The sampled check uses the NTK parametrisation: a weight is sqrt(weight_variance / k) times a standard normal parameter,
k the input channels, a bias sqrt(bias_variance) times one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import mpmath as mp
import numpy as np
import sympy
from numpy.typing import NDArray

import qcmap as qc
from qcmap.architecture import Affine, Concat, Input, Nonlinear, Sum
from qcmap.symbolic import tangent_kernel
from theory_checks.graphs import random_network, varied
from theory_checks.oracles import Number, precise
from theory_checks.propagation import KERNELS, channels, propagate
from theory_checks.registry import Outcome, Tally, checks

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Chain = Callable[[tuple[str, ...], Number, Number], list[Number]]
"""Activations of combined layers 1 to D, c and q of the input to Theta_1, ..., Theta_D."""


def _chain(names: tuple[str, ...]) -> qc.Architecture:
    b = qc.Builder("-".join(names))
    h = b.input("x", channels=4)
    for k, name in enumerate(names, start=1):
        h = b.activation(b.affine(h, 4, name=f"affine{k}"), name)
    return b.build(outputs=[h])


def _numbers(terms: Mapping[str, sympy.Expr], digits: int) -> dict[str, Number]:
    """Closed forms as numbers, parts that they share once; evalf takes ten times as long."""
    with mp.workdps(digits + 10):
        return dict(zip(terms, sympy.lambdify((), list(terms.values()), "mpmath", cse=True)(), strict=True))


def library_chain(names: tuple[str, ...], c: Number, q: Number) -> list[Number]:
    """By qcmap."""
    terms = tangent_kernel(_chain(names), c=float(c), q1=float(q), q2=float(q)).terms
    found = _numbers(terms, 25)
    return [found[f"affine{k}"] for k in range(1, len(names) + 1)]


def _by_c_maps(names: tuple[str, ...], c: Number, q: Number, last: int) -> list[Number]:
    """q_last C_gi(c) times the product of the C_fj'(C_gj(c)), j = i to D; q_(D+1) repeats the last layer."""
    cs, qs, rates = [mp.mpf(c)], [mp.mpf(q)], []
    for name in (*names, names[-1]):
        kernel, here = KERNELS[name], qs[-1]
        qs.append(kernel.value(here, here, here))
        rates.append(here * kernel.slope(cs[-1] * here, here, here) / qs[-1])
        cs.append(kernel.value(cs[-1] * here, here, here) / qs[-1])
    depth = len(names)
    return [qs[depth + last] * cs[i] * mp.fprod(rates[i:depth]) for i in range(depth)]


def equation_23(names: tuple[str, ...], c: Number, q: Number) -> list[Number]:
    """Equation (23): q_D C_gi(c) C_hi'(C_gi(c))."""
    return _by_c_maps(names, c, q, last=0)


def recursion(names: tuple[str, ...], c: Number, q: Number) -> list[Number]:
    """By the recursion of Jacot et al.: Theta^(l+1) = E[phi' phi'] Theta^(l), plus the new layer's own term."""
    m, variance, terms = mp.mpf(c) * q, mp.mpf(q), list[Number]()
    for name in names:
        kernel = KERNELS[name]
        terms = [term * kernel.slope(m, variance, variance) for term in (*terms, m)]
        m, variance = kernel.value(m, variance, variance), kernel.value(variance, variance, variance)
    return terms


def _next_q(names: tuple[str, ...], c: Number, q: Number) -> list[Number]:
    return _by_c_maps(names, c, q, last=1)


@checks(
    "dks-39",
    part="chain",
    variant="as_printed",
    source="DKS 24.4, the display before (23)",
    claim="Theta_i = q_(D+1) C_gi(c) prod_j C_fj'(C_gj(c)), with the q value after one layer more",
    subject=_next_q,
    broken=equation_23,
)
@checks(
    "dks-39",
    part="chain",
    variant="corrected",
    source="DKS 24.4 (23)",
    claim="Theta_i = q_D C_gi(c) C_hi'(C_gi(c)) for D combined layers",
    subject=equation_23,
    broken=_next_q,
)
@checks(
    "dks-39",
    part="library",
    source="DKS 24.4 (23)",
    claim="qcmap's tangent kernel of a chain has these terms",
    subject=library_chain,
    broken=lambda names, c, q: [value * q for value in library_chain(names, c, q)],
)
@precise
def chains(subject: Chain, effort: int) -> Outcome:
    """Against the recursion, term by term."""
    random, tally = np.random.default_rng(39), Tally()
    for _ in range(8 * effort):
        names = tuple(("relu", "erf")[int(k)] for k in random.integers(2, size=int(random.integers(1, 5))))
        c, q = float(random.uniform(-0.9, 0.95)), float(random.uniform(0.4, 2))
        found, terms = subject(names, c, q), recursion(names, c, q)
        for k, (a, b) in enumerate(zip(found, terms, strict=True), start=1):
            where = f"{'-'.join(names)} at c = {c:.4g}, q = {q:.4g}"
            tally.add(a / b - 1, 1e-13, f"Theta_{k} of {where} is {mp.nstr(b, 8)}, not {mp.nstr(a, 8)}")
        total = mp.fsum(found) / mp.fsum(terms) - 1 if terms else 0
        tally.add(total, 1e-12, f"the whole kernel of {'-'.join(names)} is off by {mp.nstr(total, 3)}")
    return tally.outcome()


Terms = Callable[[qc.Architecture, float, float, float], Mapping[str, float]]
"""A network and c, q1, q2 of its inputs to the kernel of each affine node's parameters."""


def library(arch: qc.Architecture, c: float, q1: float, q2: float) -> dict[str, float]:
    """By qcmap, for the first output."""
    terms = tangent_kernel(arch, arch.outputs[0], c, q1, q2).terms
    return {name: float(value) for name, value in _numbers(terms, 20).items()}


def wrong_shares(arch: qc.Architecture, c: float, q1: float, q2: float) -> dict[str, float]:
    """The kernel with the weights of sums in the opposite order, and equal channels in concatenations."""
    b = qc.Builder("wrong")
    for node in arch.nodes:
        op: Any = Sum(node.op.weights[::-1]) if isinstance(node.op, Sum) else node.op
        b.add(replace(op, channels=4) if isinstance(op, (Input, Affine)) else op, node.inputs, node.id)
    return library(b.build(outputs=arch.outputs), c, q1, q2)


def _with_biases(arch: qc.Architecture, random: np.random.Generator) -> qc.Architecture:
    b = qc.Builder(arch.name)
    for node in arch.nodes:
        op: Any = node.op
        if isinstance(op, Affine) and random.random() < 0.5:
            op = replace(op, bias_variance=float(random.uniform(0.1, 1)))
        b.add(op, node.inputs, node.id)
    return b.build(outputs=arch.outputs)


@checks(
    "dks-39",
    part="graph",
    source="DKS 24.4 (graphs: ours)",
    claim="In any graph Theta_v = m_v dm_out/dm_v for the parameters of the affine node v",
    subject=library,
    broken=wrong_shares,
)
@precise
def graphs(subject: Terms, effort: int) -> Outcome:
    """Random graphs with biases, uneven sums and layer norms: m_v moved by 1e-10 either way in a walk at 34 digits."""
    random, tally, step = np.random.default_rng(391), Tally(), mp.mpf(10) ** -10
    for k in range(6 * effort):
        names, norm = (("sin", "erf"), True) if k % 3 == 2 else (("relu", "erf"), False)
        arch = varied(random_network(random, 5, inputs=1 + k % 2), random, names, uneven=True, norm=norm)
        arch = _with_biases(arch, random)
        c, q1, q2 = float(random.uniform(-0.8, 0.8)), *(float(q) for q in random.uniform(0.4, 2, 2))
        found, here = subject(arch, c, q1, q2), propagate(arch, c, q1, q2)
        for node in arch.nodes:
            if isinstance(node.op, Affine):
                up, down = (
                    propagate(arch, c, q1, q2, source=node.id, nudge=sign * step)[arch.outputs[0]].m for sign in (1, -1)
                )
                want = here[node.id].m * (up - down) / (2 * step)
                claimed = found.get(node.id, 0.0)
                witness = f"Theta of {node.id} is {mp.nstr(want, 8)}, not {claimed:.8g}"
                tally.add((claimed - want) / max(1, abs(want)), 1e-11, witness)
    return tally.outcome()


WIDTH, OUTPUTS, SEEDS, T = 384, 48, 150, 6.1
"""Student's t with 149 degrees of freedom exceeds 6.1 in size with probability below 1e-8."""


def _residual() -> qc.Architecture:
    b = qc.Builder("residual")
    h = b.affine(b.input("x", channels=8), WIDTH, bias_variance=0.2, name="stem")
    for k, w in enumerate((0.8, 0.5)):
        r = b.affine(b.activation(h, ("relu", "erf")[k]), WIDTH, weight_variance=1.7, name=f"block{k}.conv1")
        h = b.sum([h, b.affine(b.activation(r, "relu"), WIDTH, name=f"block{k}.conv2")], [1.0, w], name=f"block{k}")
    return b.build(outputs=[b.affine(b.activation(h, "erf"), OUTPUTS, name="head")])


def _inception() -> qc.Architecture:
    b = qc.Builder("concat")
    h = b.activation(b.affine(b.input("x", channels=8), WIDTH, name="stem"), "relu")
    left = b.activation(b.affine(h, WIDTH // 4, weight_variance=2.5, name="left"), "erf")
    right = b.affine(b.activation(b.affine(h, WIDTH // 2, name="right1"), "relu"), WIDTH, name="right2")
    h = b.affine(b.concat([left, b.activation(right, "relu")]), WIDTH, weight_variance=1.5, name="mix")
    return b.build(outputs=[b.affine(b.activation(h, "erf"), OUTPUTS, bias_variance=0.1, name="head")])


def _activate(name: str, u: Array) -> tuple[Array, Array]:
    if name == "relu":
        return np.maximum(u, 0), (u > 0).astype(np.float32)
    from scipy.special import erf

    return erf(u), np.float32(2 / np.pi**0.5) * np.exp(-u * u)


def _product(a: Array, b: Array) -> Array:
    """A b by torch, whose threads can be limited."""
    import torch

    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def _normal(shape: tuple[int, int], generator: torch.Generator) -> Array:
    """Standard normal numbers by torch, which draws twice as many in the time."""
    import torch

    return torch.randn(shape, generator=generator).numpy()


def _empirical(arch: qc.Architecture, x: Array, generator: torch.Generator) -> dict[str, float]:
    """The tangent kernel of one random network for the two columns of x, averaged over outputs, by backpropagation."""
    widths, values, slopes = channels(arch), dict[str, Array](), dict[str, Array]()
    weights: dict[str, Array] = {}
    for node in arch.nodes:
        op, above = node.op, [values[name] for name in node.inputs]
        if isinstance(op, Input):
            values[node.id] = x
        elif isinstance(op, Affine):
            k, out = widths[node.inputs[0]], widths[node.id]
            scale = np.float32((float(op.weight_variance) / k) ** 0.5)
            weights[node.id] = scale * _normal((out, k), generator)
            bias = np.float32(float(op.bias_variance) ** 0.5) * _normal((out, 1), generator)
            values[node.id] = _product(weights[node.id], above[0]) + bias
        elif isinstance(op, Nonlinear):
            values[node.id], slopes[node.id] = _activate(op.name, above[0])
        elif isinstance(op, Sum):
            values[node.id] = np.add.reduce([np.float32(w) * v for w, v in zip(op.weights, above, strict=True)])
        else:
            values[node.id] = np.concatenate(above)
    back: dict[str, Any] = dict.fromkeys(values, 0)
    count = widths[arch.outputs[0]]
    back[arch.outputs[0]] = np.stack([np.eye(count, dtype=np.float32)] * 2)
    found: dict[str, float] = {}
    for node in reversed(arch.nodes):
        op, rate = node.op, back[node.id]
        if isinstance(op, Affine):
            (source,) = node.inputs
            inner = float(values[source][:, 0] @ values[source][:, 1]) / widths[source]
            own = float(op.weight_variance) * inner + float(op.bias_variance)
            found[node.id] = own * float(np.vdot(rate[0], rate[1])) / count
            back[source] = back[source] + _product(rate, weights[node.id])
        elif isinstance(op, Nonlinear):
            (source,) = node.inputs
            back[source] = back[source] + rate * slopes[node.id].T[:, None, :]
        elif isinstance(op, Sum):
            for name, weight in zip(node.inputs, op.weights, strict=True):
                back[name] = back[name] + np.float32(weight) * rate
        elif isinstance(op, Concat):
            ends = np.cumsum([widths[name] for name in node.inputs])[:-1]
            for name, part in zip(node.inputs, np.split(rate, ends, axis=2), strict=True):
                back[name] = back[name] + part
    return found


@cache
def _samples(effort: int) -> list[tuple[qc.Architecture, tuple[float, float, float], dict[str, list[float]]]]:
    import torch

    rows, threads = [], torch.get_num_threads()
    for arch in (_residual(), _inception()):
        random, generator = np.random.default_rng(24), torch.Generator().manual_seed(24)
        c, q1, q2 = 0.75, 1.0, 1.5
        basis = np.linalg.qr(random.standard_normal((8, 2)))[0]
        gram = 8 * np.array([[q1, c * (q1 * q2) ** 0.5], [c * (q1 * q2) ** 0.5, q2]])
        x = (basis @ np.linalg.cholesky(gram).T).astype(np.float32)
        torch.set_num_threads(1)  # many small products: more threads only wait for each other
        try:
            draws = [_empirical(arch, x, generator) for _ in range(SEEDS * effort)]
        finally:
            torch.set_num_threads(threads)
        rows.append((arch, (c, q1, q2), {name: [draw[name] for draw in draws] for name in draws[0]}))
    return rows


@checks(
    "dks-39",
    part="empirical",
    source="DKS 24.4 (graphs: ours)",
    claim="The kernel is the limit of the tangent kernel of wide random networks, also with skips and concatenations",
    subject=library,
    broken=wrong_shares,
    kind="stat",
    false_alarm=1e-6,
)
def empirical(subject: Terms, effort: int) -> Outcome:
    """A residual and a concatenating network: every layer's mean over 150 seeds by Student's t, at 1e-8 each.

    One percent is allowed for the finite width, whose bias is of the order 1/384 a layer.
    """
    tally, worst, gap = Tally(), 0.0, 0.0
    for arch, start, samples in _samples(effort):
        theory = subject(arch, *start)
        for name, draws in samples.items():
            mean, error = float(np.mean(draws)), float(np.std(draws, ddof=1)) / len(draws) ** 0.5
            allowed = T * error + 0.01 * abs(mean)
            worst, gap = max(worst, allowed / abs(mean)), max(gap, abs(theory[name] / mean - 1))
            witness = f"Theta of {name} in the {arch.name} network is {mean:.5g} +- {error:.2g}, not {theory[name]:.5g}"
            tally.add(mean - theory[name], allowed, witness)
    return tally.outcome(f"the widest tolerance is {100 * worst:.2g}%, the largest difference {100 * gap:.2g}%")
