"""Independent oracles of graphs: subnetworks, paths and slopes by enumeration; random architectures for hypothesis.

Nothing here uses the library's dominators or polynomials; `architectures` uses its `Builder` only to write graphs down.
"""

import math
from collections import defaultdict
from fractions import Fraction

from hypothesis import strategies as st

from qcmap.architecture import Affine, Architecture, Builder, Concat, Input, Nonlinear, Scale, Sum
from tests.formulas import MP


def edges_of(arch):
    """For each node id, the ids it reads."""
    return {node.id: tuple(node.inputs) for node in arch.nodes}


def subnetworks(arch):
    """All pairs (u, v), u = v included, such that every path from an input to v passes u: delete u, then search."""
    reads = edges_of(arch)
    readers = defaultdict(list)
    for v, sources in reads.items():
        for u in sources:
            readers[u].append(v)
    found = set()
    for u in reads:
        reached = {v for v, sources in reads.items() if not sources and v != u}
        frontier = list(reached)
        while frontier:
            for v in readers[frontier.pop()]:
                if v != u and v not in reached:
                    reached.add(v)
                    frontier.append(v)
        found.update((u, v) for v in reads if v not in reached)
    return found


def _shares(arch, node):
    """Exact weights with which a node averages the slopes of its branches."""
    if isinstance(node.op, Sum):
        squares = [Fraction(weight) ** 2 for weight in node.op.weights]
    elif isinstance(node.op, Concat):
        squares = [Fraction(_channels(arch, name)) for name in node.inputs]
    else:
        squares = [Fraction(1)]
    return [square / sum(squares) for square in squares]


def _channels(arch, name):
    """The channels at a node: followed back to the affine layers and inputs that fix them."""
    node = next(node for node in arch.nodes if node.id == name)
    if isinstance(node.op, (Affine, Input)):
        return node.op.channels
    if isinstance(node.op, Concat):
        return sum(_channels(arch, source) for source in node.inputs)
    return _channels(arch, node.inputs[0])


def slope_by_paths(arch, source, target):
    """The slope polynomial {degree: coefficient} as a sum over all paths, with exact fractions."""
    nodes = {node.id: node for node in arch.nodes}
    coefficients = defaultdict(Fraction)
    stack = [(target, Fraction(1), 0)]
    while stack:
        v, weight, degree = stack.pop()
        if v == source:
            coefficients[degree] += weight
            continue
        degree += isinstance(nodes[v].op, Nonlinear)
        for u, share in zip(nodes[v].inputs, _shares(arch, nodes[v]), strict=True):
            if share:
                stack.append((u, weight * share, degree))
    return dict(coefficients)


def propagated(arch, moments, kernel, sqrt):
    """(m, q1, q2) at every node, one node after the other, straight from DKS sections 7 and 9.

    ``moments`` are (c, q1, q2) at the inputs; ``kernel(name)`` takes m and both q values of a layer; numbers may be of
    any kind that ``sqrt`` takes.
    """
    found = {}
    for node in arch.nodes:
        values = [found[u] for u in node.inputs]
        if isinstance(node.op, Input):
            c, a, b = moments
            found[node.id] = (c * sqrt(a * b), a, b)
        elif isinstance(node.op, Nonlinear):
            ((m, a, b),) = values
            of = kernel(node.op.name)
            found[node.id] = (of(m, a, b), of(a, a, a), of(b, b, b))
        elif isinstance(node.op, Sum):
            found[node.id] = _weighted([w * w for w in node.op.weights], values)
        elif isinstance(node.op, Concat):
            counts = [arch.channels[u] for u in node.inputs]
            found[node.id] = tuple(x / sum(counts) for x in _weighted(counts, values))
        elif isinstance(node.op, Scale):
            found[node.id] = _weighted([node.op.factor**2], values)
        elif isinstance(node.op, Affine):
            found[node.id] = tuple(node.op.weight_variance * x + node.op.bias_variance for x in values[0])
        else:
            found[node.id] = values[0]
    return found


def _weighted(weights, rows):
    return tuple(sum(w * row[k] for w, row in zip(weights, rows, strict=True)) for k in range(3))


def evaluate(coefficients, psi):
    """A polynomial {degree: coefficient} at psi, by mpmath."""
    return MP.fsum(MP.mpf(c.numerator) / c.denominator * MP.mpf(psi) ** d for d, c in coefficients.items())


def slopes_from(arch, source, psi):
    """p(source -> v)(psi) for every v that ``source`` dominates, by direct evaluation node by node (mpmath)."""
    inside = {v for u, v in subnetworks(arch) if u == source}
    values = {source: MP.one}
    for node in arch.nodes:
        if node.id in inside and node.id != source:
            mean = MP.fsum(
                MP.mpf(share.numerator) / share.denominator * values[u]
                for u, share in zip(node.inputs, _shares(arch, node), strict=True)
            )
            values[node.id] = mean * (MP.mpf(psi) if isinstance(node.op, Nonlinear) else 1)
    return values


def maximal_slope(arch, psi):
    """max over all subnetworks (u, v) of p(u -> v)(psi), by enumeration."""
    pairs = subnetworks(arch)
    return max(evaluate(slope_by_paths(arch, u, v), psi) for u, v in pairs)


# --- Random architectures --------------------------------------------------------------------------------------------

_UNARY = ("affine", "activation", "activation", "layer_norm", "max_pool", "mean_pool", "weighted_mean_pool")
EVERY_OP = (*_UNARY, "scale", "gate", "batch_norm", "multiply", "varied_affine", "window_pool", "upsample")
"""All kinds that `architectures` can draw by its option ``unary`` besides sums and concatenations."""


def extent_after(extent, size, stride, pad):
    """How many locations a window leaves of this many, along one axis."""
    return (extent + 2 * pad - size) // stride + 1


def _varied_affine(draw, b, x, extents):
    """An affine layer with any kernel, stride, padding, variances, initialization and parameters; its extents."""
    size, stride = draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 3))
    padding = draw(st.sampled_from(["same", *range((size - 1) // 2 + 1)]))
    pad = (size - 1) // 2 if padding == "same" else padding
    if any(extent + 2 * pad < size for extent in extents):
        padding, pad = "same", (size - 1) // 2
    made = b.affine(
        x, 4, kernel=(size,) * len(extents), stride=stride, padding=padding,
        weight_variance=draw(st.sampled_from([1.0, 1.0, 0.5, 2.0])),
        bias_variance=draw(st.sampled_from([0.0, 0.0, 0.3])), init=draw(st.sampled_from(["delta", "delta", "fan_in"])),
        parameters=draw(st.none() | st.sampled_from(["W", "V"])),
    )  # fmt: skip
    if not extents:
        return made, extents
    return made, tuple(extent_after(extent, size, stride, pad) for extent in extents)


def _window_pool(draw, b, x, extents):
    """A pool with a window, if there is anything to slide over; its extents."""
    pool = draw(st.sampled_from([b.max_pool, b.mean_pool]))
    if not extents:
        return pool(x), extents
    size = draw(st.integers(1, min(extents)))
    stride, pad = draw(st.integers(1, 3)), draw(st.integers(0, (size - 1) // 2))
    made = pool(x, (size,) * len(extents), stride=stride, padding=pad)
    return made, tuple(extent_after(extent, size, stride, pad) for extent in extents)


@st.composite
def architectures(
    draw, *, max_nodes=11, max_inputs=2, activations=("tanh",), unary=_UNARY, one_output=False, zero_weights=False,
    independent=False, locations=None, input_q=(1.0,), outputs=False,
):  # fmt: skip
    """A random architecture: several inputs and outputs, normalized sums, concatenations, pools, affine, activations.

    All maps have 4 channels, or multiples of 4 after a concatenation. There is at least one activation. ``independent``
    gives every branch of a sum, and every activation, an affine layer of its own, as their C maps need. ``unary`` lists
    the other kinds, any of `EVERY_OP`; ``locations`` is the extent of the inputs, ``input_q`` their q values to choose
    from, and ``outputs`` lets the ends be named by `Output` nodes.
    """
    b = Builder("random")
    width, extents = {}, {}
    for _ in range(draw(st.integers(1, max_inputs))):
        q = input_q[0] if len(input_q) == 1 else draw(st.sampled_from(input_q))
        x = b.input(channels=4, locations=locations, q=q)
        width[x], extents[x] = 4, locations or ()
    for _ in range(draw(st.integers(1, max_nodes))):
        ids = list(width)
        # Preferring recent nodes makes graphs deep.
        pick = st.sampled_from(ids[-3:]) | st.sampled_from(ids)
        kind = draw(st.sampled_from([*unary, "sum", "sum", "concat"]))
        x = draw(pick)
        after = extents[x]
        if kind in ("sum", "multiply"):
            same = [y for y in ids if width[y] == width[x] and extents[y] == after]
            branches = [x, *draw(st.lists(st.sampled_from(same), min_size=1, max_size=2))]
            if kind == "sum":
                numbers = [draw(st.integers(-3, 3).filter(lambda k: zero_weights or k)) for _ in branches]
                numbers[0] = numbers[0] or 1
                norm = math.sqrt(sum(k * k for k in numbers))
                if independent:
                    branches = [b.affine(y, width[x]) for y in branches]
                made = b.sum(branches, [k / norm for k in numbers])
            else:
                made = b.multiply(branches)
            width[made] = width[x]
        elif kind == "concat":
            beside = st.sampled_from([y for y in ids if extents[y] == after]) if locations else pick
            branches = [x, *draw(st.lists(beside, min_size=1, max_size=2))]
            made = b.concat(branches)
            width[made] = sum(width[y] for y in branches)
        elif kind == "affine":
            made = b.affine(x, 4)
            width[made] = 4
        elif kind == "varied_affine":
            made, after = _varied_affine(draw, b, x, after)
            width[made] = 4
        elif kind == "activation":
            before = b.affine(x, width[x]) if independent else x
            made = b.activation(before, draw(st.sampled_from(activations)))
            width[made] = width[x]
        elif kind == "scale":
            made = b.scale(x, draw(st.sampled_from([-2.0, 0.5, 1.5])))
            width[made] = width[x]
        elif kind == "gate":
            made = b.gate(x, draw(st.sampled_from(["g", "h"])))
            width[made] = width[x]
        elif kind == "window_pool":
            made, after = _window_pool(draw, b, x, after)
            width[made] = width[x]
        elif kind == "upsample":
            most = 2 if after and math.prod(after) < 100 else 1
            factors = tuple(draw(st.integers(1, most)) for _ in after)
            made = b.upsample(x, factors) if factors else b.scale(x, 1.5)
            width[made], after = width[x], tuple(n * k for n, k in zip(after, factors, strict=True))
        else:
            made = getattr(b, kind)(x)
            width[made] = width[x]
            after = () if kind.endswith("pool") else after
        extents[made] = after
    last = list(width)[-1]
    before = b.affine(last, width[last]) if independent else last
    width[b.activation(before, activations[0])] = width[last]
    used = {u for node in b._nodes.values() for u in node.inputs}
    sinks = [name for name in width if name not in used]
    if one_output and len(sinks) > 1:
        heads = [b.affine(name, 4) for name in sinks]
        sinks = [b.sum(heads)]
    if outputs:
        sinks = [b.output(name) if draw(st.booleans()) else name for name in sinks]
    return b.build(outputs=sinks)


@st.composite
def relabelled(draw, arch: Architecture):
    """The same architecture with permuted nodes and new ids, and the map from old ids to new ones."""
    from qcmap.architecture import Node

    order = draw(st.permutations(range(len(arch.nodes))))
    numbers = draw(st.permutations(range(len(arch.nodes))))
    names = {node.id: f"n{k}" for node, k in zip(arch.nodes, numbers, strict=True)}
    nodes = [arch.nodes[k] for k in order]
    moved = tuple(Node(names[node.id], node.op, tuple(names[u] for u in node.inputs)) for node in nodes)
    return Architecture("relabelled", moved, tuple(names[v] for v in arch.outputs)), names
