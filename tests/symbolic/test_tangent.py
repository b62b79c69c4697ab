"""The tangent kernel and derivatives of C maps: equation 23, perturbed forward passes, and one wide torch network."""

import math

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import Activation
from qcmap.architecture import Affine, Builder, Concat, Gate, Input, LayerNorm, Nonlinear, Scale, Sum
from qcmap.errors import ArchitectureError, QCMapError
from qcmap.symbolic import SymbolicMaps, c_derivative, c_map, q_map, tangent_kernel
from tests.graphs import _channels
from tests.symbolic.test_maps import NAMED, C, chain, in_numbers, local, mapped, residual, same

Q, Q1, Q2, W = sp.symbols("q q1 q2 w", positive=True)


def maps_of(op):
    return local(op.name)


def forward(arch, c, q1, q2, *, bumps=None, gates=None):
    """m at every node, from one's own recursion in floats; ``bumps`` are added to the m values of nodes."""
    q, m, mean = {}, {}, {}
    for node in arch.nodes:
        op, name, sources = node.op, node.id, node.inputs
        if isinstance(op, Input):
            q[name], m[name], mean[name] = (q1, q2), c * math.sqrt(q1 * q2), (0.0, 0.0)
        elif isinstance(op, Affine):
            a, b = float(op.weight_variance), float(op.bias_variance)
            q[name] = tuple(a * x + b for x in q[sources[0]])
            m[name], mean[name] = a * m[sources[0]] + b, (0.0, 0.0)
        elif isinstance(op, Nonlinear):
            maps, (x, y) = maps_of(op), q[sources[0]]
            q[name] = tuple(float(maps.q(v)) for v in (x, y))
            slope = float(maps.c(m[sources[0]] / math.sqrt(x * y), x, y))
            m[name] = slope * math.sqrt(q[name][0] * q[name][1])
            mean[name] = tuple(float(maps.mean(v)) for v in (x, y))
        elif isinstance(op, (Sum, Concat)):
            counts = [_channels(arch, u) for u in sources]
            ws = list(map(float, op.weights)) if isinstance(op, Sum) else [k / sum(counts) for k in counts]
            shares = [w * w for w in ws] if isinstance(op, Sum) else ws
            q[name] = tuple(sum(s * q[u][k] for s, u in zip(shares, sources, strict=True)) for k in (0, 1))
            m[name] = sum(s * m[u] for s, u in zip(shares, sources, strict=True))
            mean[name] = tuple(sum(w * mean[u][k] for w, u in zip(ws, sources, strict=True)) for k in (0, 1))
        elif isinstance(op, (Scale, Gate)):
            f, g = (float(op.factor),) * 2 if isinstance(op, Scale) else gates[op.name]
            x = sources[0]
            q[name], m[name] = (f * f * q[x][0], g * g * q[x][1]), f * g * m[x]
            mean[name] = (f * mean[x][0], g * mean[x][1])
        elif isinstance(op, LayerNorm):
            x = sources[0]
            (v1, v2), (a, b) = q[x], mean[x]
            m[name] = (m[x] - a * b) / math.sqrt((v1 - a * a) * (v2 - b * b))
            q[name], mean[name] = (1.0, 1.0), (0.0, 0.0)
        else:
            q[name], m[name], mean[name] = q[sources[0]], m[sources[0]], mean[sources[0]]
        m[name] += (bumps or {}).get(name, 0.0)
    return m


def by_perturbation(arch, node, target, c, q1, q2, gates=None):
    """m at the node times the derivative of m at the target, by a central difference of fourth order."""
    h = 1e-3
    values = [
        forward(arch, c, q1, q2, bumps={node: k * h}, gates=gates)[target] for k in (-2, -1, 1, 2)
    ]  # fmt: skip
    rate = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    return forward(arch, c, q1, q2, gates=gates)[node] * rate


# --- equation 23 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("functions", [("tanh",), ("tanh", "softplus", "tanh"), ("relu", "tanh", "swish", "relu")])
def test_chains_are_equation_23(functions):
    """Theta_i = q_D C_g(c) C_h'(C_g(c)), g up to the affine layer and h from there on; equal q values."""
    arch = chain(*functions)
    kernel = tangent_kernel(arch, q1=Q)
    assert set(kernel.terms) == {f"u{k}" for k in range(len(functions))}
    end = q_map(arch, q=Q)
    for k in range(len(functions)):
        head = c_map(arch, f"u{k}", q1=Q)
        rest = chain(*functions[k:])
        slope = c_derivative(rest, None, head, q_map(arch, f"u{k}", q=Q))
        assert sp.simplify(kernel.terms[f"u{k}"] / (end * head * slope)) == 1
    assert sp.expand(kernel.total - sp.Add(*kernel.terms.values())) == 0


def test_equation_23_with_a_last_affine_layer():
    b = Builder()
    x = b.affine(b.activation(b.affine(b.input(), name="one"), "relu"), name="two")
    kernel = tangent_kernel(b.build([x]), q1=1)
    relu = (sp.sqrt(1 - C**2) + C * (sp.pi - sp.acos(C))) / (2 * sp.pi)
    assert same(kernel.terms["two"], relu)
    assert same(kernel.terms["one"], C * (sp.pi - sp.acos(C)) / (2 * sp.pi))
    assert same(kernel.total, relu + C * (sp.pi - sp.acos(C)) / (2 * sp.pi))


def test_symbolic_variances():
    """NTK parameterisation: an affine layer's own m, biases included, times what follows."""
    a, s = sp.symbols("a s", positive=True)
    b = Builder()
    x = b.affine(b.affine(b.input(), weight_variance=a, bias_variance=s, name="one"), weight_variance=a, name="two")
    kernel = tangent_kernel(b.build([x]), q1=Q)
    first = a * C * Q + s
    assert sp.expand(kernel.terms["one"] - first * a) == 0
    assert sp.expand(kernel.terms["two"] - a * first) == 0


# --- random graphs ---------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(arch=mapped(max_steps=3), c=st.sampled_from([-0.6, 0.0, 0.35, 0.8]))
def test_every_term_by_perturbation(arch, c):
    kernel, end = tangent_kernel(arch), arch.outputs[0]
    affine = [node.id for node in arch.nodes if isinstance(node.op, Affine)]
    assert set(kernel.terms) <= set(affine)
    for q1, q2 in ((1.0, 1.0), (0.7, 1.6)):
        total = 0.0
        for name in affine:
            want = by_perturbation(arch, name, end, c, q1, q2)
            got = float(in_numbers(kernel.terms.get(name, sp.Integer(0)), (C, Q1, Q2))(c, q1, q2))
            assert got == pytest.approx(want, rel=1e-6, abs=1e-7)
            total += got
        assert float(in_numbers(kernel.total, (C, Q1, Q2))(c, q1, q2)) == pytest.approx(total, rel=1e-12, abs=1e-14)


@settings(max_examples=12)
@given(arch=mapped(max_steps=3), data=st.data())
def test_inner_targets_leave_out_what_does_not_matter(arch, data):
    target = data.draw(st.sampled_from([node.id for node in arch.nodes]))
    kernel = tangent_kernel(arch, target)
    before, frontier = {target}, [target]
    while frontier:
        for u in arch[frontier.pop()].inputs:
            if u not in before:
                before.add(u)
                frontier.append(u)
    assert set(kernel.terms) <= {name for name in before if isinstance(arch[name].op, Affine)}
    for name, term in kernel.terms.items():
        want = by_perturbation(arch, name, target, 0.3, 1.0, 1.0)
        assert float(in_numbers(term, (C, Q1, Q2))(0.3, 1.0, 1.0)) == pytest.approx(want, rel=1e-6, abs=1e-7)


def test_gates():
    b = Builder()
    x = b.affine(b.input(channels=2), 2, name="one")
    g = b.gate(b.activation(x, "tanh"), "g")
    arch = b.build([b.concat([b.affine(g, 2, name="two"), b.gate(b.affine(x, 4, name="three"), "h")])])
    kernel = tangent_kernel(arch)
    symbols = (C, Q1, Q2, *(sp.Symbol(name, positive=True) for name in ("g", "g'", "h", "h'")))
    gates = {"g": (0.7, 1.4), "h": (2.0, 0.3)}
    for name, term in kernel.terms.items():
        want = by_perturbation(arch, name, arch.outputs[0], 0.4, 0.9, 1.2, gates)
        stand_ins = {symbol: sp.Symbol(f"s{k}", positive=True) for k, symbol in enumerate(symbols)}
        function = in_numbers(term.xreplace(stand_ins), tuple(stand_ins.values()))
        assert float(function(0.4, 0.9, 1.2, 0.7, 1.4, 2.0, 0.3)) == pytest.approx(want, rel=1e-6)


def test_uniform_kernels():
    """All q values 1: each term is C_g times the slope of what follows, psi_name at c = 1."""
    arch = chain("tanh", "relu", "tanh")
    psi, other = sp.Symbol("psi_tanh", positive=True), sp.Symbol("psi_relu", positive=True)
    at_one = tangent_kernel(arch, c=1, uniform=True).terms
    assert at_one == {"u0": psi**2 * other, "u1": psi * other, "u2": psi}
    block = tangent_kernel(residual(1), c=1, uniform=True)
    assert sp.expand(block.total - ((1 - W**2) + W**2 * psi + W**2 * psi + W**2)) == 0


@settings(max_examples=10)
@given(arch=mapped(max_steps=4, biases=False))
def test_uniform_derivatives_and_kernels_agree(arch):
    """The first affine layer of a network with one input has the kernel c C'(c)."""
    kernel = tangent_kernel(arch, uniform=True)
    maps = SymbolicMaps(arch, uniform=True)
    firsts = [node.id for node in arch.nodes if isinstance(node.op, Affine) and node.inputs[0] in arch.inputs]
    total = sp.Add(*(kernel.terms.get(name, 0) for name in firsts))
    ones = [name for name in firsts if maps.values[name].c == C]
    assert len(ones) == len(firsts)
    values = {sp.Symbol("c", real=True): sp.Rational(1)}
    want = c_derivative(arch, c=1, uniform=True)
    assert sp.expand(total.subs(values).doit() - want) == 0


def test_a_map_read_twice():
    b = Builder()
    x = b.affine(b.input(channels=2), 2, name="one")
    h = b.activation(x, "tanh")
    arch = b.build([b.activation(b.affine(b.concat([h, h, x]), 2, name="two"), "tanh")])
    for name, term in tangent_kernel(arch).terms.items():
        want = by_perturbation(arch, name, arch.outputs[0], 0.4, 0.9, 1.2)
        assert float(in_numbers(term, (C, Q1, Q2))(0.4, 0.9, 1.2)) == pytest.approx(want, rel=1e-6)


# --- errors and edges ------------------------------------------------------------------------------------------------


def test_shared_parameters_are_refused():
    b = Builder("shared")
    x = b.activation(b.affine(b.input(channels=2), 2, parameters="p"), "tanh")
    y = b.activation(b.affine(b.input(channels=2), 2, parameters="p"), "tanh")
    with pytest.raises(ArchitectureError, match="affine2: it shares the parameters 'p' with 'affine1'"):
        tangent_kernel(b.build([b.concat([x, y])]))


def test_jumps_leave_nothing_undefined():
    """At c = 1 the slope of sign is infinite: an error, as for c_derivative, not zoo."""
    arch = chain(Activation.from_sympy("sign(u)", name="step"), "tanh")
    with pytest.raises(QCMapError):
        tangent_kernel(arch, c=1, q1=1)
    below = tangent_kernel(arch, c=sp.Rational(1, 2), q1=1)
    assert not below.total.has(sp.nan, sp.zoo, sp.oo)


def test_data_are_strings_that_sympy_reads():
    data = tangent_kernel(chain("relu", "relu"), q1=1).to_dict()
    assert sp.sympify(data["total"], locals={"c": C}) is not None
    assert tangent_kernel(chain("tanh"), q1=1)._repr_latex_().startswith("$")


def test_data_of_named_functions_are_strings_that_sympy_reads():
    data = tangent_kernel(chain("tanh", "tanh"), q1=1).to_dict()
    assert sp.sympify(data["total"], locals={"c": C}) is not None


def test_several_outputs_and_unknown_targets():
    b = Builder("two")
    x = b.affine(b.input(channels=2), 2, name="u")
    arch = b.build([b.activation(x, "tanh", name="a"), b.activation(x, "relu", name="r")])
    with pytest.raises(ArchitectureError):
        tangent_kernel(arch)
    with pytest.raises(ArchitectureError):
        tangent_kernel(arch, "nothing")
    assert set(tangent_kernel(arch, "r").terms) == {"u"}


def test_without_affine_layers():
    b = Builder()
    kernel = tangent_kernel(b.build([b.scale(b.input(), 2.0)]))
    assert kernel.terms == {}
    assert kernel.total == 0
    assert kernel._repr_latex_() == "$0$"


# --- one wide network ------------------------------------------------------------------------------------------------


def test_a_wide_torch_network():
    """Empirical kernel of one network of width 1,000, averaged over 8 outputs: 12 % of the limit; fixed seed."""
    torch = pytest.importorskip("torch")
    width, outputs, entries = 1000, 8, 300
    b = Builder("wide")
    x = b.input("x", channels=entries)
    first = b.affine(x, 1, bias_variance=0.4, name="first")
    n = b.layer_norm(b.activation(first, "relu"))
    block = b.affine(b.activation(b.affine(n, 1, weight_variance=1.5, name="second"), "tanh"), 1, name="third")
    skip = b.affine(n, 1, name="skip")
    arch = b.build([b.affine(b.sum([block, skip], [0.6, 0.8]), 1, bias_variance=0.1, name="last")])
    kernel = tangent_kernel(arch, c=sp.Rational(3, 10), q1=1)

    generator = torch.Generator().manual_seed(3)
    sizes = {"first": (width, entries), "second": (width, width), "third": (width, width), "skip": (width, width),
             "last": (outputs, width)}  # fmt: skip
    weights = {k: torch.randn(*v, generator=generator, dtype=torch.float32) for k, v in sizes.items()}
    biases = {k: torch.randn(sizes[k][0], generator=generator) for k in ("first", "last")}
    parameters = {**weights, **{f"{k}.bias": v for k, v in biases.items()}}
    for value in parameters.values():
        value.requires_grad_(True)

    def affine(name, u, variance=1.0, bias=0.0):
        result = math.sqrt(variance / u.numel()) * weights[name] @ u
        return result + math.sqrt(bias) * biases[name] if bias else result

    def network(u):
        h = torch.relu(affine("first", u, bias=0.4))
        h = h - h.mean()
        h = h / h.square().mean().sqrt()
        inner = affine("third", torch.tanh(affine("second", h, 1.5)))
        return affine("last", 0.6 * inner + 0.8 * affine("skip", h), bias=0.1)

    e, f = torch.linalg.qr(torch.randn(entries, 2, generator=generator))[0].T * math.sqrt(entries)
    pair = e, 0.3 * e + math.sqrt(1 - 0.09) * f
    sums = dict.fromkeys(sizes, 0.0)
    for k in range(outputs):
        one, other = (torch.autograd.grad(network(u)[k], list(parameters.values())) for u in pair)
        for name, a, d in zip(parameters, one, other, strict=True):
            sums[name.removesuffix(".bias")] += float((a * d).sum()) / outputs
    total = 0.0
    for name, term in kernel.terms.items():
        want = float(in_numbers(term, ())())
        total += want
        assert sums[name] == pytest.approx(want, rel=0.12, abs=0.02)
    assert sum(sums.values()) == pytest.approx(total, rel=0.08)


def test_the_numeric_maps_used_here_are_those_of_the_named_functions():
    assert all(local(name) is local(name) for name in NAMED)
    assert float(local("tanh").c(0.5)) == pytest.approx(float(qc.local_maps("tanh").c(0.5)))
