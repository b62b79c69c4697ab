"""Deep gated networks: every regime, layout and start, and the memorisation network."""

import itertools

import numpy as np
import pytest
import torch

import qcmap.nn as qnn
from models import DeepGatedNetwork, MemorisationNetwork
from models.gated import REGIMES
from models.gated_layers import GatedLayers, Layer, circular, fully_connected, gconv, vconv
from qcmap.errors import ArgumentError, DataError
from qcmap.nn.gates import HARD

FC = fully_connected([6, 6], 3)
SHAPES = {"fc": (FC, (4,)), "vconv": (vconv((3, 4), (5,), 3), (2, 5, 5)), "gconv": (gconv((3, 4), (5,), 3), (2, 5, 5)),
          "circular": (circular(3, 2), (1, 6))}  # fmt: skip


def inputs(shape, count=5):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def network(regime, layout="fc", **arguments):
    """Of a seed at which no layer of one channel is dead."""
    rows, shape = SHAPES[layout]
    learnt = DeepGatedNetwork(rows, shape, "relu", seed=9) if regime == "flnpf" else None
    return DeepGatedNetwork(rows, shape, regime, learnt=learnt, **{"seed": 3, **arguments})


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("regime", REGIMES)
def test_gradients_reach_what_is_trained_and_nothing_else(regime, layout):
    model, x = network(regime, layout), inputs(SHAPES[layout][1])
    model(x).square().sum().backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == set(REGIMES[regime].trains)
    with torch.no_grad():
        torch.testing.assert_close(model.values(x, model.gates(x)), model(x))


@pytest.mark.parametrize("layout", ["fc", "vconv", "gconv"])
def test_the_relu_regime_is_a_relu_network(layout):
    model, x = network("relu", layout), inputs(SHAPES[layout][1])
    split = qnn.split_gates(model, x)
    torch.testing.assert_close(split(x), model(x))
    for one, other in zip(split.gates(x).values(), model.gates(x).values(), strict=True):
        assert torch.equal(one, other)
    same = network("frnpf_di", layout)
    torch.testing.assert_close(same(x), model(x))
    assert not torch.equal(network("frnpf_ii", layout)(x), model(x))


def test_outputs_written_out():
    x = inputs((4,))
    model = network("soft_galu", gate=qnn.GateFunction(2.0, 0.1))
    v, f = ([part.get_submodule(f"layer{k}").weight for k in (1, 2, 3)] for part in (model.values, model.features))

    def gate(q):
        return 1.1 / (1 + torch.exp(-2 * q))

    for forwards in ("relu", "gate"):
        model.forwards = forwards
        q1 = x @ f[0].T
        q2 = (torch.relu(q1) if forwards == "relu" else q1 * gate(q1)) @ f[1].T
        wanted = ((x @ v[0].T * gate(q1)) @ v[1].T * gate(q2)) @ v[2].T
        torch.testing.assert_close(model(x), wanted)
    w = [network("linear").values.get_submodule(f"layer{k}").weight for k in (1, 2, 3)]
    torch.testing.assert_close(network("linear")(x), x @ (w[2] @ w[1] @ w[0]).T)
    own = network("soft_relu")
    w = [own.values.get_submodule(f"layer{k}").weight for k in (1, 2, 3)]
    h = x
    for matrix in w[:2]:
        h = (h @ matrix.T) * torch.sigmoid(4 * (h @ matrix.T))
    torch.testing.assert_close(own(x), h @ w[2].T)


def test_starts():
    plain, shape = DeepGatedNetwork(FC, (4,), "relu", seed=3), (4,)
    learnt = DeepGatedNetwork(FC, shape, "relu", seed=4)
    for regime, features in (("frnpf_di", plain), ("flnpf", learnt)):
        model = DeepGatedNetwork(FC, shape, regime, learnt=learnt, seed=3)
        assert all(torch.equal(a, b) for a, b in zip(model.values.parameters(), plain.parameters(), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(model.features.parameters(), features.parameters(), strict=True))
    apart = DeepGatedNetwork(FC, shape, "frnpf_ii", seed=3)
    assert torch.equal(apart.values.layer1.weight, plain.values.layer1.weight)
    assert not torch.equal(apart.features.layer1.weight, apart.values.layer1.weight)


@pytest.mark.parametrize("regime", ["dlnpf", "soft_galu"])
def test_learnt_gates_are_those_of_the_features_that_gave_them(regime):
    learnt, x = DeepGatedNetwork(FC, (4,), regime, seed=4), inputs((4,))
    model = DeepGatedNetwork(FC, (4,), "flnpf", learnt=learnt, forwards=learnt.forwards, gate=learnt.gate, seed=3)
    for name, gate in learnt.gates(x).items():
        assert torch.equal(model.gates(x)[name], gate)


def test_padding_of_gates():
    """DGN^(m): G(k w + i) = G(i), and the mean over the copies of equal values is the plain network's output."""
    plain, model, x = network("frnpf_ii"), network("frnpf_ii", repeats=3), inputs((4,))
    model.features.load_state_dict(plain.features.state_dict())
    for name, gate in plain.gates(x).items():
        assert torch.equal(model.gates(x)[name], torch.cat([gate] * 3, dim=1))
    with torch.no_grad():
        for k in (1, 2, 3):
            one = plain.values.get_submodule(f"layer{k}").weight
            model.values.get_submodule(f"layer{k}").weight.copy_(one.repeat(3 if k < 3 else 1, 3 if k > 1 else 1) / 3)
    torch.testing.assert_close(model(x) * 3, plain(x))
    maps = network("dlnpf", "gconv", repeats=2)
    assert maps(inputs((2, 5, 5))).shape == (5, 3)


def test_untied_is_the_same_function_and_splits_the_kernel():
    """K = K_w + K_a + Psi_w' Psi_a + Psi_a' Psi_w for soft-ReLU networks (DGN, section 3), by autograd."""
    tied, x = network("soft_relu").double(), inputs((4,)).double()
    apart = tied.untied()
    torch.testing.assert_close(apart(x), tied(x))

    def jacobian(model, prefix):
        rows = []
        for s, output in itertools.product(range(5), range(3)):
            parameters = [p for name, p in model.named_parameters() if name.startswith(prefix)]
            grads = torch.autograd.grad(model(x)[s, output], parameters, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, parameters, strict=True)]
            rows.append(torch.cat([g.flatten() for g in flat]))
        return torch.stack(rows).reshape(5, 3, -1)

    w, a, both = jacobian(apart, "values"), jacobian(apart, "features"), jacobian(tied, "values")

    def gram(one, other):
        return (torch.einsum("sop,top->st", one, other) / 3).numpy()

    found = qnn.gate_kernels(apart, x)
    np.testing.assert_allclose(found.values, gram(w, w), rtol=1e-10)
    np.testing.assert_allclose(found.features, gram(a, a), rtol=1e-10, atol=1e-12)
    cross = qnn.empirical_ntk(tied, x, parameterization="standard").total - found.total
    np.testing.assert_allclose(cross, gram(w, a) + gram(a, w), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gram(both, both), found.total + cross, rtol=1e-10)
    hard = qnn.gate_kernels(network("frnpf_ii").double(), x)
    assert not hard.features.any()
    assert "values" in repr(hard)
    assert set(hard.to_dict()) == {"values", "features"}
    with pytest.raises(ArgumentError, match="no parameters of their own"):
        qnn.gate_kernels(tied, x)
    with pytest.raises(ArgumentError, match="submodule 'values'"):
        qnn.gate_kernels(torch.nn.Linear(2, 1), x)
    split = qnn.split_gates(network("relu").double(), x, gate=qnn.GateFunction(4.0))
    assert np.trace(qnn.gate_kernels(split, x).features) > 0


def test_global_average_pooling_makes_circular_layers_invariant_to_rotation():
    """With gates that turn with the input: those of the network itself (DGN, lemma 4.1)."""
    model, x = network("relu", "circular"), inputs((1, 6))
    torch.testing.assert_close(model(x.roll(2, dims=2)), model(x))
    linear = network("linear", "circular")
    factor = np.prod([layer.weight.sum().item() for layer in linear.values.children()])
    torch.testing.assert_close(linear(x)[:, 0], x.mean((1, 2)) * factor)


def test_memorisation_network():
    model = MemorisationNetwork(200, 25, 4, mu=0.3, seed=2)
    index = torch.tensor([3, 0, 3, 199])
    gates = model.gates(index)
    assert torch.equal(gates["layer2"][0], gates["layer2"][2])
    assert set(model.open.unique().tolist()) == {0.0, 1.0}
    share = model.open.mean().item()
    assert abs(share - 0.3) < 5 * (0.21 / model.open.numel()) ** 0.5
    sigma = (1 / (0.3 * 25)) ** 0.5
    for p in model.parameters():
        torch.testing.assert_close(p.abs(), torch.full_like(p, sigma))
    w = [p.detach() for p in model.parameters()]
    h = torch.ones(1)
    for matrix, layer in zip(w[:3], model.open, strict=True):
        h = layer[3] * (matrix @ h)
    torch.testing.assert_close(model(index)[0], w[3] @ h)
    torch.testing.assert_close(model(index[:, None].float()), model(index))
    with pytest.raises(DataError, match="index"):
        model(torch.zeros(3, 2))
    with pytest.raises(ArgumentError, match="mu"):
        MemorisationNetwork(3, 4, 2, mu=0.0)


BAD = {
    "regime": (lambda: network("relus"), "no regime 'relus'"),
    "hard gates trained": (lambda: network("dlnpf", gate=HARD), "no gradient flows through hard gates"),
    "nothing learnt": (lambda: DeepGatedNetwork(FC, (4,), "flnpf"), "needs the network whose gates"),
    "learnt of another layout": (
        lambda: DeepGatedNetwork(FC, (4,), "flnpf", learnt=DeepGatedNetwork(FC, (5,), "relu")), "another layout"),
    "repeats of its own gates": (lambda: network("relu", repeats=2), "repeats"),
    "repeats": (lambda: network("dlnpf", repeats=0), "positive integer"),
    "untied": (lambda: network("dlnpf").untied(), "not those of its own values"),
    "untied linear": (lambda: network("linear").untied(), "not those of its own values"),
    "map without join": (lambda: DeepGatedNetwork(FC, (2, 5, 5)), "kernel of 0 axes for a map of 2"),
    "channels": (lambda: DeepGatedNetwork((Layer(0), Layer(3)), (4,)), "channels of layer1"),
    "seed": (lambda: network("relu", seed=-1), "seed"),
    "forwards": (lambda: network("dlnpf", forwards="q"), "it is 'relu' or 'gate', not 'q'"),
    "gate": (lambda: network("dlnpf", gate="soft"), "a GateFunction, not str"),
    "learnt that is none": (lambda: DeepGatedNetwork(FC, (4,), "flnpf", learnt="relu"), "needs the network"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    make, message = BAD[case]
    with pytest.raises(ArgumentError, match=message):
        make()


def test_bad_gates_and_inputs():
    model, x = network("dlnpf"), inputs((4,))
    gates = model.gates(x)
    with pytest.raises(DataError, match=r"layer2: its gates are \[5, 6\]"):
        model.values(x, {**gates, "layer2": gates["layer2"][:, :3]})
    with pytest.raises(DataError, match="x: one input has the shape"):
        model(inputs((3,)))


@pytest.mark.parametrize("index", [[-1], [5], [0.5], [float("nan")]])
def test_a_memory_has_so_many_numbers(index):
    model = MemorisationNetwork(5, 4, 3)
    with pytest.raises(DataError, match="keeps 5 numbers; give whole numbers from 0 to 4"):
        model(torch.tensor(index))


def test_gates_that_are_no_numbers_are_refused():
    layout = fully_connected([4], 2)
    with pytest.raises(DataError, match="layer1: its gates are not all finite"):
        GatedLayers(layout, (3,))(torch.zeros(2, 3), {"layer1": torch.full((2, 4), torch.nan)})
