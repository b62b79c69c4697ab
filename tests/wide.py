"""An independent simulator: an architecture as a random wide network in numpy, and equations 8, 9, 12 and 13 by hand.

Nothing here uses the library's layers, maps, quadrature or algebras: only the nodes of a graph and the data of its ops
are read. Feature maps are arrays (channels, locations, 2), the last axis a pair of network inputs; there is at most one
spatial axis. Formulas are arrays over the locations.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import erf

from qcmap.architecture import (
    Affine,
    BatchNorm,
    Concat,
    Gate,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Multiply,
    Nonlinear,
    Output,
    Scale,
    Sum,
    Upsample,
    WeightedMeanPool,
)

ACTIVATIONS = {
    "identity": lambda u: u,
    "relu": lambda u: np.maximum(u, 0),
    "tanh": np.tanh,
    "erf": erf,
    "sin": np.sin,
    "softplus": lambda u: np.logaddexp(u, 0),
    "swish": lambda u: u / (1 + np.exp(-u)),
}


# --- Inputs ----------------------------------------------------------------------------------------------------------


def pair(c, q1, q2, width, rng, *, mean=0.0, signs=False):
    """Two inputs (width, locations, 2) with exactly these q values, c value and channel mean at every location.

    ``c`` is a number or one for each location. The rest is uniformly random. With ``signs`` the entries are
    +-sqrt(q), which no affine layer made: then c is met to 1 / width, and there is no channel mean to give.
    """
    columns = []
    for value in np.atleast_1d(np.asarray(c, dtype=float)):
        if signs:
            first = rng.choice([-1.0, 1.0], width)
            second = np.where(rng.permutation(width) < round(width * (1 - value) / 2), -first, first)
            columns.append(np.stack([math.sqrt(q1) * first, math.sqrt(q2) * second], axis=-1))
            continue
        basis, _ = np.linalg.qr(np.column_stack([np.ones(width), rng.standard_normal((width, 2))]))
        e, f = basis[:, 1] * math.sqrt(width), basis[:, 2] * math.sqrt(width)
        r1, r2 = math.sqrt(q1 - mean**2), math.sqrt(q2 - mean**2)
        cosine = (value * math.sqrt(q1 * q2) - mean**2) / (r1 * r2)
        columns.append(np.stack([mean + r1 * e, mean + r2 * (cosine * e + math.sqrt(1 - cosine**2) * f)], axis=-1))
    return np.stack(columns, axis=1)


# --- Networks --------------------------------------------------------------------------------------------------------


def _fresh(rng, rows, columns):
    # Drawn in single precision, which is twice as fast and rounds by 1e-7; all arithmetic is in double precision.
    return rng.standard_normal((rows, columns), dtype=np.float32).astype(np.float64)


def _windows(extent, op):
    """First input locations of the windows, from -padding on."""
    size = op.kernel[0]
    pad = (size - 1) // 2 if op.padding == "same" else op.padding
    step = size if op.stride is None else op.stride
    return [start - pad for start in range(0, extent + 2 * pad - size + 1, step)]


def _affine(op, x, width, rng, shared):
    if op.groups > 1 and op.groups == op.channels:
        # Depthwise: a sign for each channel, however many stand for one.
        signs = rng.choice([-1.0, 1.0], x.shape[0])
        centre = [start + (op.kernel[0] - 1) // 2 for start in _windows(x.shape[1], op)] if op.kernel else slice(None)
        return signs[:, None, None] * x[:, centre]
    if op.groups > 1:
        one = replace(op, channels=op.channels // op.groups, groups=1)
        return np.concatenate([_affine(one, part, width, rng, shared) for part in np.split(x, op.groups)])
    k, extent = x.shape[:2]
    rows = width * (op.channels or 1)
    size = op.kernel[0] if op.kernel else 1
    spread = op.init == "fan_in" and size > 1
    taps = range(size) if spread else [(size - 1) // 2]
    key = op.parameters
    if key is None or key not in shared:
        made = [_fresh(rng, rows, k) for _ in taps], rng.standard_normal(rows)
        if key is not None:
            shared[key] = made
    else:
        made = shared[key]
    weights, bias = made
    starts = _windows(extent, op) if op.kernel else range(0, extent, op.stride)
    variance = float(op.weight_variance) / (k * (size if spread else 1))
    result = np.zeros((rows, len(starts), 2)) + math.sqrt(float(op.bias_variance)) * bias[:, None, None]
    for tap, weight in zip(taps, weights, strict=True):
        seen = [(at, start + tap) for at, start in enumerate(starts) if 0 <= start + tap < extent]
        read = np.ascontiguousarray(x[:, [location for _, location in seen]]).reshape(k, -1)
        result[:, [at for at, _ in seen]] += math.sqrt(variance) * (weight @ read).reshape(rows, -1, 2)
    return result


def _normed(op, x):
    """Moments over channels, or over groups of channels and all locations."""
    grouped = x.reshape(op.groups or 1, -1, *x.shape[1:])
    axes = 1 if op.groups is None else (1, 2)
    centred = grouped - op.centre * grouped.mean(axis=axes, keepdims=True)
    return (centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True))).reshape(x.shape)


def _pooled(op, x, reduce):
    if not op.kernel:
        return reduce(x, axis=1, keepdims=True)
    parts = [x[:, max(start, 0) : start + op.kernel[0]] for start in _windows(x.shape[1], op)]
    return np.concatenate([reduce(part, axis=1, keepdims=True) for part in parts], axis=1)


def sample(arch, inputs, width, seed, *, gates=None):
    """The feature maps (channels, locations, 2) at every node of one random network, keyed by id.

    ``inputs`` gives for each input node the arguments (c, q1, q2) of `pair`, a dictionary of them, or an array. A node
    of k channels is k * width wide, one of unknown channels width. ``gates`` holds the values of gating variables.
    """
    rng = np.random.default_rng(seed)
    found, shared = {}, {}
    for node in arch.nodes:
        op, values = node.op, [found[name] for name in node.inputs]
        if isinstance(op, Input):
            given = inputs[node.id]
            if isinstance(given, dict):
                given = pair(width=width * (op.channels or 1), rng=rng, **given)
            elif isinstance(given, tuple):
                given = pair(*given, width * (op.channels or 1), rng)
            found[node.id] = given
        elif isinstance(op, Affine):
            found[node.id] = _affine(op, values[0], width, rng, shared)
        elif isinstance(op, Nonlinear):
            found[node.id] = ACTIVATIONS[op.name](values[0])
        elif isinstance(op, Sum):
            found[node.id] = sum(float(weight) * value for weight, value in zip(op.weights, values, strict=True))
        elif isinstance(op, Concat):
            found[node.id] = np.concatenate(values)
        elif isinstance(op, Multiply):
            found[node.id] = np.prod(values, axis=0)
        elif isinstance(op, Scale):
            found[node.id] = float(op.factor) * values[0]
        elif isinstance(op, Gate):
            found[node.id] = gates[op.name] * values[0]
        elif isinstance(op, Upsample):
            found[node.id] = np.repeat(values[0], op.factors[0], axis=1)
        elif isinstance(op, LayerNorm):
            found[node.id] = _normed(op, values[0])
        elif isinstance(op, BatchNorm):
            # The pair of inputs is the batch.
            centred = values[0] - values[0].mean(axis=2, keepdims=True)
            found[node.id] = centred / np.sqrt((centred**2).mean(axis=2, keepdims=True))
        elif isinstance(op, MeanPool):
            found[node.id] = _pooled(op, values[0], np.mean)
        elif isinstance(op, MaxPool):
            found[node.id] = _pooled(op, values[0], np.max)
        elif isinstance(op, WeightedMeanPool):
            extent = values[0].shape[1]
            found[node.id] = np.einsum("klp,l->kp", values[0], rng.standard_normal(extent) / math.sqrt(extent))[:, None]
        else:
            assert isinstance(op, Output)
            found[node.id] = values[0]
    return found


@dataclass(frozen=True)
class Statistics:
    """Means and standard errors over networks of (q1, q2, m, c), each an array (4, locations)."""

    mean: np.ndarray
    error: np.ndarray

    def score(self, expected, *, floor=1e-9):
        """(mean - expected) / standard error, (4, locations); differences below ``floor`` count as none."""
        gap = self.mean - expected
        return np.where(np.abs(gap) <= floor, 0.0, gap / np.maximum(self.error, 1e-300))


def values_of(first, second):
    """(q1, q2, m, c) at each location of feature maps (channels, locations): averages over channels."""
    q1, q2, m = ((a * b).mean(axis=0) for a, b in ((first, first), (second, second), (first, second)))
    return np.stack([q1, q2, m, m / np.sqrt(q1 * q2)])


def measured(arch, inputs, width, networks, *, seed=0, gates=None, nodes=None):
    """`Statistics` at every node (or at these), over ``networks`` random networks."""
    rows = {}
    for k in range(networks):
        for name, maps in sample(arch, inputs, width, [seed, k], gates=gates).items():
            if nodes is None or name in nodes:
                rows.setdefault(name, []).append(values_of(maps[..., 0], maps[..., 1]))
    return {name: summary(found) for name, found in rows.items()}


def summary(rows):
    """`Statistics` of one array (4, locations) a network."""
    rows = np.asarray(rows)
    return Statistics(rows.mean(axis=0), rows.std(axis=0, ddof=1) / math.sqrt(len(rows)))


# --- Formulas --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _grid():
    """Gauss-Hermite nodes for two independent standard normals, and weights."""
    x, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()
    return x[:, None], x[None, :], w[:, None] * w[None, :]


def _kernel(name, m, a, b):
    """E phi(u) phi(v) for jointly Gaussian u, v with variances a, b and covariance m."""
    if name == "identity":
        return m
    root = math.sqrt(a * b)
    c = min(max(m / root, -1.0), 1.0)
    if name == "relu":
        return root * (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / (2 * math.pi)
    if name == "erf":
        return 2 / math.pi * math.asin(2 * m / math.sqrt((1 + 2 * a) * (1 + 2 * b)))
    if name == "sin":
        return math.exp(-(a + b) / 2) * math.sinh(m)
    x, y, w = _grid()
    phi = ACTIVATIONS[name]
    return float((w * phi(math.sqrt(a) * x) * phi(math.sqrt(b) * (c * x + math.sqrt(1 - c * c) * y))).sum())


def _mean(name, a):
    if name in ("identity", "erf", "sin", "tanh"):
        return 0.0
    if name == "relu":
        return math.sqrt(a / (2 * math.pi))
    x, _, w = _grid()
    return float((w.sum(axis=1) * ACTIVATIONS[name](math.sqrt(a) * x[:, 0])).sum())


def _formula(node, values, inputs, gates):
    """Rows q1, q2, m and the two channel means, by locations."""
    op = node.op
    if isinstance(op, Input):
        given = inputs[node.id]
        options = given if isinstance(given, dict) else dict(zip(("c", "q1", "q2"), given, strict=True))
        c, q1, q2 = np.atleast_1d(np.asarray(options["c"], dtype=float)), options["q1"], options["q2"]
        one = np.ones_like(c)
        return np.stack([q1 * one, q2 * one, c * math.sqrt(q1 * q2), 0 * c, 0 * c])
    (x, *_) = values
    if isinstance(op, Affine):
        # The centre of the filter.
        middle = (op.kernel[0] - 1) // 2 if op.kernel else 0
        starts = _windows(x.shape[1], op) if op.kernel else range(0, x.shape[1], op.stride)
        seen = x[:3, [start + middle for start in starts]]
        return np.concatenate([float(op.weight_variance) * seen + float(op.bias_variance), 0 * seen[:2]])
    if isinstance(op, Nonlinear):
        columns = [
            (_kernel(op.name, a, a, a), _kernel(op.name, b, b, b), _kernel(op.name, m, a, b), _mean(op.name, a),
             _mean(op.name, b))
            for a, b, m, *_ in x.T
        ]  # fmt: skip
        return np.array(columns).T
    if isinstance(op, Sum):
        weights = [float(weight) for weight in op.weights]
        squared = sum(weight**2 * value[:3] for weight, value in zip(weights, values, strict=True))
        return np.concatenate([squared, sum(w * value[3:] for w, value in zip(weights, values, strict=True))])
    if isinstance(op, (Scale, Gate)):
        factor = float(op.factor) if isinstance(op, Scale) else gates[op.name]
        first, second = np.broadcast_to(factor, 2)
        by = np.array([first**2, second**2, first * second, first, second])
        return by[:, None] * x
    if isinstance(op, Upsample):
        return np.repeat(x, op.factors[0], axis=1)
    if isinstance(op, LayerNorm):
        a, b, m, first, second = x
        if not op.centre:
            return np.stack([a / a, b / b, m / np.sqrt(a * b), first / np.sqrt(a), second / np.sqrt(b)])
        product = (m - first * second) / np.sqrt((a - first**2) * (b - second**2))
        return np.stack([np.ones_like(a), np.ones_like(a), product, 0 * a, 0 * a])
    if isinstance(op, (MeanPool, MaxPool)) and op.kernel:
        return x[:, [start + (op.kernel[0] - 1) // 2 for start in _windows(x.shape[1], op)]]
    if isinstance(op, (MeanPool, MaxPool, WeightedMeanPool)):
        # Where locations agree, their average is the value that all of them have.
        return x.mean(axis=1, keepdims=True)
    assert isinstance(op, (Output, BatchNorm, Multiply)), op
    return x


def predicted(arch, inputs, *, gates=None):
    """(q1, q2, m, c) at each location of every node by the formulas, whether or not the graph keeps the rules.

    Sums add q and m values with squared weights (equations 12 and 13), concatenations average them by channels
    (equations 8 and 9), pools are the identity, and so, for want of a formula, are products and batch norms.
    """
    found, channels = {}, {}
    for node in arch.nodes:
        op = node.op
        if isinstance(op, (Input, Affine)):
            channels[node.id] = op.channels or 1
        elif isinstance(op, Concat):
            channels[node.id] = sum(channels[name] for name in node.inputs)
        else:
            channels[node.id] = channels[node.inputs[0]]
        if isinstance(op, Concat):
            shares = [channels[name] / channels[node.id] for name in node.inputs]
            found[node.id] = sum(share * found[name] for share, name in zip(shares, node.inputs, strict=True))
        else:
            found[node.id] = _formula(node, [found[name] for name in node.inputs], inputs, gates)
    return {
        name: np.stack([q1, q2, m, m / np.sqrt(q1 * q2)]) for name, (q1, q2, m, *_) in found.items()
    }  # fmt: skip
