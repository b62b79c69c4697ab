"""Numeric tangent kernels: against mpmath on random graphs and chains, sympy, and the gradients of a wide network."""

import math
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.architecture import Affine, Builder
from qcmap.errors import ActivationError, ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric import network_maps, nngp, ntk
from qcmap.numeric.kernels import _kernel_walk as module
from qcmap.symbolic import tangent_kernel
from tests.oracles import hermite_map
from theory_checks.graphs import random_network, varied
from theory_checks.propagation import propagate

C = np.array([-1.0, -0.7, 0.0, 0.3, 0.8, 0.99, 1.0])


def chain(*names, weights=1.0, biases=0.0, last=True):
    b = Builder("chain")
    h = b.input("x")
    for k, name in enumerate(names, start=1):
        h = b.activation(b.affine(h, 4, weight_variance=weights, bias_variance=biases, name=f"affine{k}"), name)
    return b.build(outputs=[b.affine(h, 1, name="head") if last else h])


def by_mpmath(arch, c, q1, q2):
    """Theta_v = m_v dm_out/dm_v by a walk at 34 digits for every affine node v."""
    with mp.workdps(34):
        here = propagate(arch, mp.mpf(c), mp.mpf(q1), mp.mpf(q2))
        return {
            node.id: here[node.id].m * propagate(arch, c, q1, q2, source=node.id)[arch.outputs[0]].rate
            for node in arch.nodes
            if isinstance(node.op, Affine)
        }, here[arch.outputs[0]].m


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), norm=st.booleans(), inputs=st.integers(1, 2))
def test_random_graphs(seed, norm, inputs):
    """Uneven sums, concatenations, biases, layer norms, several inputs: every term and the covariance."""
    random = np.random.default_rng(seed)
    names = ("sin", "erf") if norm else ("relu", "erf", "square")
    arch = varied(random_network(random, 5, inputs=inputs), random, names, uneven=True, norm=norm)
    b = Builder("biased")
    for node in arch.nodes:
        biased = isinstance(node.op, Affine) and random.random() < 0.5
        op = Affine(node.op.channels, weight_variance=node.op.weight_variance, bias_variance=0.4) if biased else node.op
        b.add(op, node.inputs, node.id)
    arch = b.build(outputs=arch.outputs)
    c, q1, q2 = float(random.uniform(-0.9, 0.95)), float(random.uniform(0.4, 2)), float(random.uniform(0.4, 2))
    kernel = ntk(arch, c, q1, q2, target=arch.outputs[0])
    want, covariance = by_mpmath(arch, c, q1, q2)
    scale = max(map(abs, want.values()))
    for name, term in want.items():
        assert float(kernel.terms.get(name, 0.0)) == pytest.approx(float(term), rel=2e-12, abs=2e-13 * float(scale))
    assert float(kernel.nngp) == pytest.approx(float(covariance), rel=1e-12, abs=1e-13)
    assert set(want) - set(kernel.terms) == {name for name in want if name not in kernel.terms}


@pytest.mark.parametrize("weights", [2.0, 1.3])
def test_relu_chains_are_the_arc_cosine_recursion(weights):
    """Jacot et al.: Theta^(l+1) = 2 sigma/2 kappa_0 Theta^(l) + Sigma^(l+1), in angles."""
    arch = chain(*["relu"] * 6, weights=weights)
    q1, q2 = 0.7, 2.5
    found = ntk(arch, C, q1, q2).total
    for c, value in zip(C, found, strict=True):
        with mp.workdps(30):
            angle, norm = mp.acos(mp.mpf(c)), mp.sqrt(mp.mpf(q1) * q2) * mp.mpf(weights)
            total = norm * mp.cos(angle)
            for k in range(6):
                scale = mp.mpf(weights) if k < 5 else 1  # the head has weight variance 1
                cosine = (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / mp.pi
                norm = norm / 2 * scale
                total = total * (mp.pi - angle) / (2 * mp.pi) * scale + norm * cosine
                angle = mp.acos(cosine)
        assert value == pytest.approx(float(total), rel=2e-13)


def test_tanh_chain_by_hermite_series():
    """q varies from layer to layer; C and its slope by mpmath's Hermite coefficients."""
    arch, depth = chain(*["tanh"] * 3, weights=1.7, biases=0.2), 3
    q1, q2 = 0.6, 1.4
    for c in (-0.5, 0.2, 0.85):
        m, qs, terms = c * math.sqrt(q1 * q2), (q1, q2), []
        for _ in range(depth):
            m, qs = 1.7 * m + 0.2, tuple(1.7 * q + 0.2 for q in qs)
            terms = [1.7 * term for term in terms] + [m]
            first, second = (hermite_map("tanh", q) for q in qs)
            here = m / math.sqrt(qs[0] * qs[1])
            out = math.sqrt(first.moment * second.moment)
            slope = first.c(second, here, derivative=True) * out / math.sqrt(qs[0] * qs[1])
            terms = [slope * term for term in terms]
            m, qs = first.c(second, here) * out, (first.moment, second.moment)
        kernel = ntk(arch, c, q1, q2)
        names = [*(f"affine{k}" for k in range(1, depth + 1)), "head"]
        assert [float(kernel.terms[name]) for name in names] == pytest.approx([*terms, m], rel=1e-11)
        assert float(kernel.total) == pytest.approx(sum(terms) + m, rel=1e-11)


def test_agrees_with_sympy():
    """The symbolic layer is another engine: closed forms, no interpolation."""
    b = Builder("mixed")
    h = b.affine(b.input("x"), 4, bias_variance=0.2, name="stem")
    h = b.sum([h, b.affine(b.activation(h, "relu"), 4, weight_variance=1.7)], [1.0, 0.5])
    h = b.concat([b.activation(b.affine(b.scale(h, 1.5), 2), "sin"), b.affine(h, 6)])
    arch = b.build(outputs=[b.affine(b.layer_norm(b.mean_pool(b.affine(h, 4))), 3, bias_variance=0.1)])
    exact = tangent_kernel(arch, c=0.3, q1=0.8, q2=1.4).terms
    found = ntk(arch, 0.3, 0.8, 1.4)
    assert set(found.terms) == set(exact)
    for name, term in exact.items():
        assert float(found.terms[name]) == pytest.approx(float(term.evalf(20)), rel=1e-13)


def test_layer_norm_behind_an_activation():
    """The channel means are not zero there: they leave m, and the q values that it is divided by."""
    b = Builder("norm")
    h = b.layer_norm(b.activation(b.affine(b.input("x"), 4, bias_variance=0.2), "relu"))
    arch = b.build(outputs=[b.affine(b.activation(b.affine(h, 4, weight_variance=1.5), "erf"), 1)])
    for c, q1, q2 in ((0.4, 0.8, 1.7), (-0.6, 1.0, 1.0), (1.0, 1.2, 1.2)):
        kernel = ntk(arch, c, q1, q2)
        for name, term in by_mpmath(arch, c, q1, q2)[0].items():
            assert float(kernel.terms[name]) == pytest.approx(float(term), rel=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu"])
def test_shaped_chains_at_one(activation):
    """At c = 1 every q value is 1, and Theta_i is a power of psi (equation 23)."""
    arch = qc.zoo.mlp(10, activation=activation)
    shaping = qc.dks(arch, 1.5)
    kernel = ntk(arch, [1.0, 0.0], shaping=shaping)
    for k in range(1, 11):
        term = kernel.terms[f"layer{k}.affine"]
        assert term[0] == pytest.approx(shaping.psi ** (11 - k), rel=1e-9)
        assert term[1] == pytest.approx(0, abs=1e-9)  # C(0) = 0
    assert kernel.nngp[0] == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("q", [0.7, None])
def test_relu_graphs_by_their_angles(q):
    """Equal q values: sums, concatenations, biases and leaky slopes, also where c is near 1 or -1."""
    b = Builder("angles")
    h = b.affine(b.input("x", q=0.7), 4, bias_variance=0.3)
    for k in range(4):
        r = b.affine(b.activation(h, "relu"), 4, weight_variance=1.6, bias_variance=0.1 * k)
        h = b.sum([h, b.scale(b.affine(b.concat([r, b.affine(h, 2)]), 4), -1.5)], [0.9, 0.7])
    arch = b.build(outputs=[b.affine(b.mean_pool(b.activation(h, "relu")), 1)])
    gaps = [1e-13, 1e-9, 1e-4, 0.3, 1.0, 1.9]
    found = ntk(arch, [1 - gap for gap in gaps], q, q)
    for k, gap in enumerate(gaps):
        want, covariance = by_mpmath(arch, 1 - gap, 0.7, 0.7)
        for name, term in want.items():
            assert float(found.terms[name][k]) == pytest.approx(float(term), rel=1e-13)
        assert float(found.nngp[k]) == pytest.approx(float(covariance), rel=1e-13)


def test_leaky_relu_by_its_local_maps():
    act = qc.activation("leaky_relu", negative_slope=0.3)
    found = ntk(chain(act, act, weights=1.5), C, 1.0, 1.3)
    maps, c, norm = qc.local_maps(act), C, 1.5 * math.sqrt(1.3)
    total = norm * c
    for scale in (1.5, 1.0):  # the head has weight variance 1
        factor = scale * (1 + 0.3**2) / 2
        total, c, norm = factor * maps.dc(c) * total, maps.c(c), factor * norm
        total = total + norm * c
    assert found.total == pytest.approx(total, rel=1e-7)
    assert found.total[1:-1] == pytest.approx(total[1:-1], rel=1e-13)


@pytest.mark.parametrize(("name", "weights", "biases"), [("erf", 30.0, 0.1), ("relu", 2.0, 0.0), ("tanh", 20.0, 0.3)])
def test_equal_inputs_stay_equal(name, weights, biases):
    """At c = 1 the kernel is a product of C'(1), even where rounding of c would grow by the factor 5 in each layer."""
    arch = chain(*[name] * 30, weights=weights, biases=biases)
    kernel = ntk(arch, 1.0, 0.8, 0.8)
    maps, inner, slopes = qc.local_maps(name), [weights * 0.8 + biases], []
    for _ in range(30):
        q = inner[-1]
        slopes.append(weights * float(maps.q(q)) / q * float(maps.dc(1.0, q, q)))
        inner.append(weights * float(maps.q(q)) + biases)
    for k in range(30):
        rate = math.prod(slopes[k:]) / weights  # the head has weight variance 1
        assert float(kernel.terms[f"affine{k + 1}"]) == pytest.approx(inner[k] * rate, rel=1e-11)
    assert float(kernel.nngp) == pytest.approx((inner[-1] - biases) / weights, rel=1e-12)


def test_shaped_residual_network_by_composition():
    """dm_out/dm_v of the last layers by a difference of the network's own C map."""
    b = Builder("residual")
    x = b.input("x")
    h = b.affine(b.activation(b.affine(x, 4, name="stem"), "swish"), 4)
    r = b.affine(b.activation(b.affine(b.activation(h, "swish"), 4), "swish"), 4)
    arch = b.build(outputs=[b.sum([h, r], [0.8, 0.6])])
    shaping = qc.dks(arch, 1.4)
    maps, step = network_maps(arch, shaping), 1e-4
    slope = (8 * (maps.c(0.4 + step) - maps.c(0.4 - step)) - maps.c(0.4 + 2 * step) + maps.c(0.4 - 2 * step)) / (
        12 * step
    )
    assert float(ntk(arch, 0.4, shaping=shaping).terms["stem"]) == pytest.approx(0.4 * float(slope), rel=1e-9)


def test_shapes_blocks_and_sums(monkeypatch):
    arch = chain("erf", "relu")
    kernel = ntk(arch, C[:, None], np.array([0.5, 1.0, 2.0]), 1.3)
    assert kernel.total.shape == kernel.nngp.shape == (7, 3)
    assert list(kernel.terms) == ["affine1", "affine2", "head"]
    one = ntk(arch, 0.3, 2.0, 1.3)
    assert float(one.total) == pytest.approx(kernel.total[3, 2], rel=1e-13)
    assert kernel.of(["head", "affine1"]) == pytest.approx(kernel.terms["head"] + kernel.terms["affine1"], rel=1e-15)
    assert kernel.of(["affine1", "affine2", "head"]) == pytest.approx(kernel.total, rel=1e-15)
    assert kernel.nngp == pytest.approx(nngp(arch, C[:, None], np.array([0.5, 1.0, 2.0]), 1.3), rel=1e-15)
    assert kernel.nngp == pytest.approx(kernel.terms["head"], rel=1e-15)
    plain = kernel.to_dict()
    assert np.shape(plain["total"]) == (7, 3)
    assert repr(kernel) == "<tangent kernel of 3 affine nodes for pairs of shape (7, 3)>"
    assert ntk(arch, np.empty((0, 2))).total.shape == (0, 2)
    many = np.cos(np.linspace(0, math.pi, 300))
    whole = ntk(arch, many, np.linspace(0.5, 2, 300), 1.0).total
    monkeypatch.setattr(module, "_FLOATS", 1)
    assert ntk(arch, many, np.linspace(0.5, 2, 300), 1.0).total == pytest.approx(whole, rel=1e-12)


def test_inputs_keep_their_own_q_values():
    b = Builder()
    x, y = b.input("x", q=2.0), b.input("y", q=0.5)
    arch = b.build(outputs=[b.activation(b.affine(b.concat([b.affine(x, 2), b.affine(y, 2)]), 4), "erf")])
    own = ntk(arch, 0.4)
    want, _ = by_mpmath(chain("erf", last=False), 0.4, 1.25, 1.25)  # the concatenation averages q and m
    assert float(own.terms["affine3"]) == pytest.approx(float(want["affine1"]), rel=1e-13)
    assert float(ntk(arch, 0.4, 2.0, 2.0).total) != pytest.approx(float(own.total))


def test_inner_targets():
    arch = chain("erf", "relu")
    kernel = ntk(arch, C, target="affine2")
    assert list(kernel.terms) == ["affine1", "affine2"]
    assert kernel.total == pytest.approx(ntk(chain("erf"), C).total, rel=1e-14)


def test_refusals():
    b = Builder()
    h = b.activation(b.affine(b.input(), 4, parameters="W", name="one"), "relu")
    shared = b.build(outputs=[b.affine(h, 4, parameters="W", name="two")])
    with pytest.raises(ArchitectureError, match="two: it shares the parameters 'W' with 'one'"):
        ntk(shared, 0.5)
    assert float(nngp(shared, 0.5)) == pytest.approx(float(nngp(chain("relu"), 0.5)), rel=1e-14)
    assert list(ntk(shared, 0.5, target="one").terms) == ["one"]
    b = Builder()
    x = b.affine(b.input(), 4)
    several = b.build(outputs=[b.activation(x, "relu"), b.activation(x, "erf")])
    with pytest.raises(ArchitectureError, match=r"several outputs; give target, e\.g\. 'activation1'"):
        ntk(several, 0.5)
    with pytest.raises(ArchitectureError, match="there is no node"):
        ntk(several, 0.5, target="activaton1")
    with pytest.raises(ArgumentError, match="c values"):
        ntk(chain("relu"), 1.1)
    with pytest.raises(ArgumentError, match="q values"):
        ntk(chain("relu"), 0.5, 0.0, 1.0)
    with pytest.raises(ArgumentError, match="'affine9' is not an affine node"):
        ntk(chain("relu"), 0.5).of(["affine9"])
    with pytest.raises(ArgumentError, match="no layer"):
        ntk(chain("relu"), 0.5).of([])
    b = Builder()
    gated = b.build(outputs=[b.gate(b.affine(b.input(), 4), "g")])
    with pytest.raises(ArchitectureError, match="gating variable g"):
        ntk(gated, 0.5)
    step = qc.Activation.from_callable(np.sign, lambda u: 0 * u, kinks=(0.0,), name="step")
    b = Builder()
    jumps = b.build(outputs=[b.activation(b.affine(b.input(), 4), step)])
    with pytest.raises((ActivationError, NumericalError), match="step"):
        ntk(jumps, 1.0)
    with pytest.raises(NumericalError, match=r"overflow|not finite"):
        ntk(chain(*["relu"] * 40, weights=1e9), 0.5)
    with pytest.raises(NumericalError, match="the tangent kernel of its parameters overflows"):
        ntk(chain(*["erf"] * 150, weights=1e6), 1.0, 1.0, 1.0, target="affine150")


def _gradients(arch, shaping, x, seed, width):
    """Per-layer inner products of gradients of a wide network, by torch autograd, averaged over 16 outputs."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    sizes = [x.shape[1], *[width] * 3, 16]
    weights = [torch.randn(o, i, generator=generator).requires_grad_() for i, o in pairwise(sizes)]
    t = shaping["tanh"]
    rows = []
    for row in x:
        h = row
        for k, w in enumerate(weights):
            h = w @ h / w.shape[1] ** 0.5
            if k < len(weights) - 1:
                h = t.output_scale * (torch.tanh(t.input_scale * h + t.input_shift) + t.output_shift)
        rows.append([torch.autograd.grad(out, weights, retain_graph=True) for out in h])
    return [sum(float((a[k] * b[k]).sum()) for a, b in zip(*rows, strict=True)) / 16 for k in range(4)]


def test_gradients_of_wide_networks():
    """The mean over 40 networks of width 384 is within 6.5 standard errors and 1.5 percent of each layer's kernel.

    Student's t with 39 degrees of freedom exceeds 6.5 in size with probability below 2e-7: 1e-6 for the four layers.
    """
    torch = pytest.importorskip("torch")
    b = Builder("shaped")
    h = b.input("x")
    for k in range(3):
        h = b.activation(b.affine(h, 384, name=f"w{k}"), "tanh")
    arch = b.build(outputs=[b.affine(h, 1, name="w3")])
    shaping = qc.dks(arch, 2.0)
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((10, 2)))[0]
    c = 0.8
    x = math.sqrt(10) * np.stack([basis[:, 0], c * basis[:, 0] + math.sqrt(1 - c * c) * basis[:, 1]])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        draws = np.array([_gradients(arch, shaping, torch.tensor(x, dtype=torch.float32), s, 384) for s in range(40)])
    finally:
        torch.set_num_threads(threads)
    kernel = ntk(arch, c, 1.0, 1.0, shaping=shaping)
    for k in range(4):
        mean, error = draws[:, k].mean(), draws[:, k].std(ddof=1) / math.sqrt(40)
        assert error < 0.045 * mean
        assert abs(float(kernel.terms[f"w{k}"]) - mean) <= 6.5 * error + 0.015 * mean
