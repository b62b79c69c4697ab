"""Random small networks of every op that has paths, with gates, weights and inputs of integers."""

import math

import numpy as np

import qcmap as qc
from qcmap.paths import Gates, Units


def random_network(seed, kind):
    """A random architecture: ``"dense"`` (skips, concatenation, gates) or ``"convolution"`` (windows and pools too)."""
    random = np.random.default_rng(seed)
    b = qc.Builder(f"{kind}{seed}")
    spatial = kind == "convolution"
    extent = (4, 3) if seed % 2 else (5,)
    h = b.input("x", 2, locations=extent if spatial else None)
    channels = 2

    def layer(h, before, channels):
        if not spatial:
            return b.affine(h, channels)
        kernel = tuple(int(k) for k in random.integers(1, 4, len(extent)))
        border = ("zeros", "circular", "reflect", "replicate")[random.integers(4)]
        groups = 2 if before % 2 == channels % 2 == 0 and random.random() < 0.5 else 1
        dilation = 2 if all(k % 2 for k in kernel) and random.random() < 0.3 else 1
        return b.affine(h, channels, kernel=kernel, groups=groups, dilation=dilation, border=border)

    for step in range(2):
        before, channels = channels, 2
        inner = b.activation(layer(h, before, channels), "relu")
        match random.integers(4):
            case 0:
                h = b.sum([inner, layer(h, before, channels)], [int(w) for w in random.integers(1, 4, 2)])
            case 1:
                h, channels = b.concat([inner, h]), channels + before
            case 2:
                h = b.sum([inner, inner, b.gate(inner, f"g{step}")], [1, -2, 1])
            case _:
                h = b.scale(inner, -2)
    if spatial:
        pool = b.max_pool if random.random() < 0.5 else b.mean_pool
        kernel = tuple(2 for _ in extent)
        h = b.activation(pool(h, kernel, stride=1), "relu")
        h = layer(h, channels, 2)
        h = b.mean_pool(h) if random.random() < 0.5 else h
    h = b.affine(b.activation(h, "relu"), 1 + seed % 2)
    return b.build([h])


def integers(arch, seed, examples=3):
    """Gates of 0 and 1, weights and inputs of small integers."""
    random, units = np.random.default_rng(seed), Units.of(arch)
    gates = {name: random.integers(0, 2, (examples, *units.shape(name))) for name in units.activations}
    for name in units.max_pools:
        gates[name] = random.integers(0, len(units.taps(name)), (examples, *units.shape(name)))
    gates |= {name: random.integers(0, 2, examples) for name in units.variables}
    weights = {name: random.integers(-2, 3, shape) for name, shape in units.weights.items()}
    return gates, weights, random.integers(-3, 4, (examples, *units.shape("x")))


TOWERS = "sum", "concat", "outputs", "weight of 0"


def towers(joined):
    """100^200 paths beside one unit, twice, with gates of two examples, of which the first closes the paths.

    With them comes the logarithm of their path kernel for the inputs (1, 2) and (3, -2).
    """
    b = qc.Builder("towers")
    x = h = b.input("x", 2)
    for k in range(200):
        h = b.activation(b.affine(h, 100), "relu", name=f"tower{k}")
    h, unit = b.affine(h, 1), b.activation(b.affine(x, 1), "relu", name="unit")
    match joined:
        case "sum":
            arch = b.build([b.sum([h, unit], [1, 1])])
        case "concat":
            arch = b.build([b.affine(b.concat([h, unit]), 1)])
        case "weight of 0":
            arch = b.build([b.sum([h, unit], [0, 1])])
        case _:
            arch = b.build([h, unit])
    paths = 0 if joined == "weight of 0" else 200 * math.log(100)
    for closed in (198, 199):
        gates = Gates.all_open(arch, 2).to_arrays()
        gates[f"tower{closed}"][0] = 0
        yield arch, gates, [[math.log(5), 0], [0, math.log(13) + paths]]
