"""Splitting a network into gates and values: the same outputs, and the gates are the signs of pre-activations."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qcmap as qc
import qcmap.nn as qnn
from models import resnet_v2
from qcmap.errors import ArchitectureError, ArgumentError, DataError, QCMapError


class Net(nn.Module):
    """In-place and functional activations, a batch norm, a skip, a concatenation, biases, circular padding."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.relu = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.b, self.leaky = nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular"), nn.LeakyReLU(0.1)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm(self.a(x)))
        g = torch.relu(self.leaky(self.b(h)) + h)
        return self.head(torch.cat([g, h], 1).mean((2, 3)))


def trained(model, x):
    """The model in evaluation mode after steps that change its weights and running statistics."""
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()
    return model.eval()


def images(seed=0, count=5):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chain(*widths):
    layers = [layer for k, m in itertools.pairwise(widths) for layer in (nn.Linear(k, m, bias=False), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).double()


CASES = {
    "convolutions": (lambda: trained(Net().double(), images()), images),
    "resnet": (lambda: resnet_v2(18, width=4, stem="cifar", norm="batch", activation="relu").double().eval(), images),
    "chain": (lambda: chain(3, 5, 5, 2), lambda: torch.randn(7, 3, dtype=torch.float64)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_two_parts_compute_what_the_model_does(case):
    make, inputs = CASES[case]
    model, x = make(), inputs()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    split = qnn.split_gates(model, x[:2])
    assert torch.equal(state, torch.get_rng_state())
    for got in (split(x), split.at(split.gates(x), x)):
        torch.testing.assert_close(got, model(x), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with torch.no_grad():
        for p in split.values.parameters():
            p.mul_(2)
    torch.testing.assert_close(split.gates(x), qnn.split_gates(model, x[:2]).gates(x), rtol=0, atol=0)


def test_gates_are_what_the_activations_read():
    model, x, seen = trained(Net().double(), images()), images(1), {}
    split = qnn.split_gates(model, x[:2])
    model.norm.register_forward_hook(lambda _, inputs, q: seen.update(relu_1=q.clone()))
    model.b.register_forward_hook(lambda _, inputs, q: seen.update(leaky=q.clone()))
    model(x)
    gates = split.gates(x)
    assert list(gates) == ["relu", "leaky", "relu_2"]
    assert torch.equal(gates["relu"], (seen["relu_1"] > 0).double())
    assert torch.allclose(gates["leaky"], torch.where(seen["leaky"] > 0, 1.0, 0.1).double())
    soft = qnn.split_gates(model, x[:2], gate=qnn.GateFunction(4, 0.1)).gates(x)
    assert torch.allclose(soft["relu"], 1.1 / (1 + torch.exp(-4 * seen["relu_1"])))
    assert torch.allclose(soft["leaky"], 0.1 + 0.9 * 1.1 / (1 + torch.exp(-4 * seen["leaky"])))


def test_values_are_the_sum_over_paths_at_any_gates():
    """Proposition 2.1 of NPF, with gates that no input has."""
    model, x = chain(2, 3, 3, 1), torch.randn(4, 2, dtype=torch.float64)
    split = qnn.split_gates(model, x)
    gates = {name: torch.rand(4, 3, dtype=torch.float64) for name in ("1", "3")}
    w1, w2, w3 = (model[k].weight for k in (0, 2, 4))
    total = torch.zeros(4, dtype=torch.float64)
    for i, j, k in itertools.product(range(2), range(3), range(3)):
        total += x[:, i] * gates["1"][:, j] * gates["3"][:, k] * w1[j, i] * w2[k, j] * w3[0, k]
    torch.testing.assert_close(split.at(gates, x)[:, 0], total, rtol=1e-12, atol=1e-12)


def test_a_split_follows_the_model_that_is_trained():
    model, x = Net().double().eval(), images()
    split = qnn.split_gates(model, x[:2])
    trained(model.train(), x)
    assert not torch.allclose(split(x), model(x))
    assert split.follow(model) is split
    torch.testing.assert_close(split(x), model(x), rtol=1e-12, atol=1e-12)
    with pytest.raises(ArgumentError, match=r"a\.weight: the model has none"):
        split.follow(chain(3, 4, 1))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.relu(self.left(x) + self.right(y)))


def test_several_inputs():
    model, x, y = Two(), torch.randn(5, 3), torch.randn(5, 2)
    split = qnn.split_gates(model, (x, y))
    torch.testing.assert_close(split(x, y), model(x, y))
    assert split.gates(x, y)["relu"].shape == (5, 4)


F = nn.functional
LAYERS = {
    "tanh": (nn.Tanh, r"1: tanh has no gate form: it is not linear on either side of zero; use relu"),
    "gelu": (nn.GELU, r"1: gelu has no gate form"),
    "relu6": (nn.ReLU6, r"1: relu6 has no gate form"),
    "layer norm": (lambda: nn.LayerNorm(4), r"1: a layer_norm has no gate form"),
    "batch norm in training mode": (lambda: nn.BatchNorm1d(4), r"1: it normalizes by the statistics of the batch"),
    "batch norm without statistics": (
        lambda: nn.BatchNorm1d(4, track_running_stats=False).eval(),
        r"1: it normalizes .*give it track_running_stats=True",
    ),
    "no activation": (nn.Identity, r"it has no activations"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_what_has_no_gates_is_refused_by_name(case):
    make, message = LAYERS[case]
    with pytest.raises(ArchitectureError, match=message):
        qnn.split_gates(nn.Sequential(nn.Linear(3, 4), make(), nn.Linear(4, 2)), torch.zeros(2, 3))


class Pooled(nn.Module):
    """Max poolings as a module, a function, and a reduction of all locations; skips, means and shared weights."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.a, self.b = nn.Conv2d(1, 2, 2, bias=False), nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.pool, self.head = nn.MaxPool2d(3, 2, padding=1), nn.Linear(2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(torch.relu(self.a(x)))
        if self.kind == "overlapping":
            return self.head(F.max_pool2d(h, 2, stride=1).mean((2, 3)))
        if self.kind == "adaptive":
            return self.head(F.adaptive_max_pool2d(torch.relu(self.b(h)) + h, 1).flatten(1))
        if self.kind == "channels last":
            return self.head(h.permute(0, 2, 3, 1).amax((1, 2)))
        return self.head(torch.relu(h.amax((2, 3))))


@pytest.mark.parametrize("kind", ["overlapping", "adaptive", "channels last", "amax"])
def test_max_poolings_are_gates_on_the_paths_they_take(kind):
    """Output, tangent kernel and path kernel by enumeration, and by autograd of the model (NPF, props. 2.1 and 3.1)."""
    generator = torch.Generator().manual_seed(3)
    model, x = Pooled(kind).double(), torch.randn(3, 1, 5, 4, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(generator=generator)
    split = qnn.split_gates(model, x)
    torch.testing.assert_close(split(x), model(x), rtol=0, atol=1e-12)
    table, gates = qc.paths.path_table(split.architecture), split.path_gates(x)
    weights = {name: model.get_parameter(path).detach().numpy() for name, path in WEIGHTS.items()}
    weights = {name: weights[name] for name in table.units.weights}
    np.testing.assert_allclose(table.outputs(gates, x.numpy(), weights), model(x).detach().numpy(), atol=1e-10)
    features = table.features(gates, x.numpy())
    assert 0 < np.count_nonzero(features) < features.size / 4
    np.testing.assert_allclose(split.path_kernel(x), features @ features.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(qnn.path_kernel(split.architecture, gates, x), features @ features.T, atol=1e-10)
    psi = []
    for k in range(2):
        rows = [torch.autograd.grad(model(one[None])[0, k], model.parameters(), allow_unused=True) for one in x]
        psi += [[torch.cat([g.flatten() for g in row if g is not None]) for row in rows]]
    ntk = sum(torch.stack(rows) @ torch.stack(rows).T for rows in psi).numpy()
    tangent = qc.paths.value_tangent(table, weights)
    by_paths = sum(tangent.kernel(features * (table.end == k)) for k in range(2))
    np.testing.assert_allclose(by_paths, ntk, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(qc.paths.gated_ntk(split.architecture, weights, gates, x.numpy()), ntk, atol=1e-10)
    kernels = qnn.gate_kernels(split, x)
    np.testing.assert_allclose(2 * kernels.values, ntk, atol=1e-10)
    assert not kernels.features.any()


WEIGHTS = {"a": "a.weight", "b": "b.weight", "head": "head.weight"}


def test_other_choices_are_other_linear_networks():
    model, x = (
        nn.Sequential(nn.ReLU(), nn.MaxPool1d(3, 2, padding=1)).double(),
        torch.tensor([[[3.0, 1, 2, 5]]]).double(),
    )
    split = qnn.split_gates(model, x)
    gates = split.gates(x)
    assert gates["1"].tolist() == [[[1, 2]]]
    assert split(x).tolist() == [[[3, 5]]]
    assert split.at({**gates, "1": torch.tensor([[[2, 0]]])}, x).tolist() == [[[1, 1]]]
    for message, choices in {
        "a choice lies in the padding": torch.tensor([[[0, 0]]]),
        "a choice is a position in its window, 0 to 2": torch.tensor([[[3, 0]]]),
        r"choices are integers, not torch.float64": gates["0"][..., :2],
        r"its gates are \[1, 1, 2\]": torch.tensor([[[1]]]),
    }.items():
        with pytest.raises(DataError, match=f"^1: {message}"):
            split.at({**gates, "1": choices}, x)
    before, after = qnn.subnetworks(split.gates, x), qnn.subnetworks(split.gates, x.roll(1, 2))
    assert list(before.active) == ["0"]
    assert after.choices["1"].tolist() == [[[1, 0]]]
    assert after.switched(before) == {"0": 0, "1": 0.5}
    lowest = torch.full((1, 1, 4), -torch.inf, dtype=torch.float64)
    assert split.gates(lowest)["1"].tolist() == [[[1, 0]]]  # the first within the map
    zeros = split.gates(torch.zeros(1, 1, 4).double())["1"]
    assert zeros.tolist() == [[[1, 0]]]  # as torch takes the first of equal entries


def test_max_poolings_of_other_layouts_are_refused_by_name():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.a(x)).flatten(2).amax(2)

    with pytest.raises(ArchitectureError, match=r"^amax: its maps .*pool the map as \[batch, channels"):
        qnn.split_gates(Flat(), torch.zeros(2, 1, 8, 8))


GATES = {
    "missing": (lambda g: {"1": g["1"]}, r"gates: there are none for 3"),
    "foreign": (lambda g: {**g, "5": g["1"]}, r"gates: no layer is called '5'"),
    "another width": (lambda g: {**g, "3": g["3"][:, 1:]}, r"3: its gates are \[4, 3\].*not shape \[4, 2\]"),
    "another batch": (lambda g: {**g, "3": g["3"][1:]}, r"3: its gates are \[4, 3\]"),
    "no tensor": (lambda g: {**g, "3": 1.0}, r"3: .*not float"),
    "too large": (lambda g: {**g, "1": 2 * g["1"] + 1}, r"1: a gate lies in \[0, 1\], but one is"),
    "negative": (lambda g: {**g, "1": g["1"] - 1.5}, r"1: a gate lies in \[0, 1\]"),
    "not a number": (lambda g: {**g, "1": g["1"] * torch.nan}, r"1: a gate lies .* nan"),
}


@pytest.mark.parametrize("case", GATES)
def test_bad_gates_are_refused(case):
    model, x = chain(2, 3, 3, 1), torch.randn(4, 2, dtype=torch.float64)
    split = qnn.split_gates(model, x)
    change, message = GATES[case]
    with pytest.raises(DataError, match=message):
        split.at(change(split.gates(x)), x)


def test_gates_are_a_dictionary():
    split = qnn.split_gates(chain(2, 3, 1), torch.zeros(4, 2).double())
    with pytest.raises(QCMapError, match=r"call values\(x, gates\)"):
        split.values(torch.zeros(4, 2).double())


@pytest.mark.parametrize(
    ("beta", "epsilon"), [(0, 0), (-1, 0), (float("nan"), 0), (4, -0.1), (float("inf"), 0.1), ("4", 0), (1, True)]
)
def test_gate_functions_have_a_range(beta, epsilon):
    with pytest.raises(ArgumentError):
        qnn.GateFunction(beta, epsilon)


def test_slope_of_a_soft_gate():
    gate, q = qnn.GateFunction(3.0, 0.2), torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(gate(q).sum(), q)
    torch.testing.assert_close(gate.slope(q), slope, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gate.passed(q), q * gate(q))
    hard = qnn.GateFunction()
    assert hard(q).tolist() == [0] * 5 + [1] * 4
    assert torch.equal(hard.passed(q), torch.relu(q))
    assert not hard.slope(q).any()
    fine = torch.linspace(-5, 5, 2001, dtype=torch.float64)
    for threshold in (0.3, 0.6, 0.9, 1.1):
        assert gate.largest_slope(threshold) >= gate.slope(fine)[gate(fine) > threshold].max() > 0
    assert gate.largest_slope(1.5) == 0  # no gate exceeds it


def test_what_is_no_model_gate_or_input_is_refused():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.ones(2, 3)
    split = qnn.split_gates(model, x)
    for call, message in (
        (lambda: qnn.split_gates("model", x), "model: it is a torch module, not str"),
        (lambda: qnn.split_gates(model, x, gate="soft"), "gate: it is a GateFunction, not str"),
        (lambda: split.follow("model"), "model: it is a torch module, not str"),
        (lambda: split(x.double()), r"input: it is torch.float64, for parameters of torch.float32"),
        (lambda: split(x.numpy()), "input: it is a tensor, not ndarray"),
        (lambda: split.at(None, x), "gates: they are a dictionary, not NoneType"),
        (lambda: split.path_kernel(x.numpy()), "inputs: there are no examples, or they are no tensors"),
        (lambda: split.path_kernel(), "inputs: there are no examples"),
        (lambda: qnn.subnetworks(split.gates, torch.nan * x), "inputs: inputs are finite"),
        (lambda: qnn.GateRecorder(model, x, ["a", "b"]), "labels: it is an array of real numbers"),
    ):
        with pytest.raises(QCMapError, match=f"^{message}"):
            call()


def test_gate_functions_of_arrays_are_taken():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.ones(2, 3)
    ours, theirs = (
        qnn.split_gates(model, x, gate=g) for g in (qc.paths.GateFunction(4, 0.1), qnn.GateFunction(4, 0.1))
    )
    assert torch.equal(ours(x), theirs(x))
