"""The path kernel of a split model: path by path for a chain, through both ways of computing it for the rest."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qcmap as qc
import qcmap.nn as qnn
from models import DeepGatedNetwork
from models.gated_layers import fully_connected, gconv, vconv
from qcmap.architecture import Input
from qcmap.errors import ArchitectureError, DataError
from qcmap.nn.gates._path_kernel import inputs_by_node, whole

LAYOUTS = {
    "fc": (fully_connected([4, 5], 3), (3,)),
    "vconv": (vconv((3, 4), (5,), 3), (2, 5, 5)),
    "gconv": (gconv((3, 4), (5,), 3), (2, 5, 5)),
}


def network(name):
    layout, shape = LAYOUTS[name]
    x = torch.randn(7, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return DeepGatedNetwork(layout, shape, "relu", seed=5).double(), x


@pytest.mark.parametrize("gate", [qnn.GateFunction(), qnn.GateFunction(3.0, 0.2)], ids=["hard", "soft"])
def test_a_chain_path_by_path(gate):
    model, x = network("fc")
    split = qnn.split_gates(model, x, gate=gate)
    found = split.gates(x)
    g, h = (found[name].detach() for name in split.values.shapes)
    features = [x[:, i] * g[:, j] * h[:, k] for i, j, k in itertools.product(range(3), range(4), range(5))]
    phi = torch.stack(features, dim=1).numpy()
    np.testing.assert_allclose(split.path_kernel(x), 3 * phi @ phi.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYOUTS)
def test_by_torch_as_by_numpy(name):
    """What a CUDA device would compute, on the CPU, in blocks that do not divide the number of inputs."""
    model, x = network(name)
    split = qnn.split_gates(model, x)
    gates = split.path_gates(x, block=3)
    by_torch = whole(qnn.path_kernel_blocks(gates.units, gates, inputs_by_node(split, (x,)), side=3), len(x))
    np.testing.assert_allclose(by_torch, split.path_kernel(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(whole(split.path_kernel_blocks(x, side=2), len(x)), by_torch, rtol=1e-12, atol=1e-12)


def test_the_kernel_is_that_of_linear_values_by_their_gradients():
    """E over signs of the squared output is the path kernel's diagonal: here all 2^w sign patterns of a small chain."""
    layout = fully_connected([2, 2], 1)
    model = DeepGatedNetwork(layout, (2,), "relu", seed=1).double()
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    split = qnn.split_gates(model, x)
    gates, total = split.gates(x), torch.zeros(3, 3, dtype=torch.float64)
    parameters = list(split.values.parameters())
    sizes = [p.numel() for p in parameters]
    with torch.no_grad():
        for signs in itertools.product((-1.0, 1.0), repeat=sum(sizes)):
            for p, part in zip(parameters, torch.tensor(signs).double().split(sizes), strict=True):
                p.copy_(part.reshape(p.shape))
            y = split.values(x, gates)[:, 0]
            total += torch.outer(y, y)
    np.testing.assert_allclose((total / 2 ** sum(sizes)).numpy(), split.path_kernel(x), rtol=1e-12, atol=1e-12)


def test_batch_norms_in_evaluation_mode_are_passed_through():
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double().eval()
    normed = nn.Sequential(plain[0], nn.BatchNorm1d(4).double(), plain[1], plain[2]).eval()
    x = torch.randn(5, 3, dtype=torch.float64)
    np.testing.assert_allclose(
        qnn.split_gates(normed, x).path_kernel(x), qnn.split_gates(plain, x).path_kernel(x), rtol=1e-12
    )


def test_gates_below_zero_are_refused():
    x = torch.stack([torch.ones(3), -torch.ones(3)])  # without biases each unit is below zero for one of them
    split = qnn.split_gates(nn.Sequential(nn.Linear(3, 4, bias=False), nn.LeakyReLU(-0.5), nn.Linear(4, 2)), x)
    with pytest.raises(DataError, match="gates are from 0"):
        split.path_kernel(x)


PADDED = {
    "odd, circular": {"kernel_size": 3, "padding": 1},
    "odd, reflect": {"kernel_size": 3, "padding": 1},
    "dilated, strided, circular": {"kernel_size": 3, "padding": 2, "dilation": 2, "stride": 2},
    "dilated, strided, reflect": {"kernel_size": 3, "padding": 2, "dilation": 2, "stride": 2},
    "even, circular": {"kernel_size": 2, "padding": "same"},
    "even, replicate": {"kernel_size": 2, "padding": "same"},
    "even, zeros": {"kernel_size": 4, "padding": "same"},
    "less than half, circular": {"kernel_size": 5, "padding": 1},
    "unpadded, reflect": {"kernel_size": 3},
    "plane, circular": {"kernel_size": (3, 5), "padding": (1, 2)},
    "plane, reflect": {"kernel_size": (3, 5), "padding": (1, 2)},
    "even plane, zeros": {"kernel_size": (2, 3), "padding": "same"},
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("case", PADDED)
def test_convolutions_as_a_walk_of_pairs_with_unit_weights(case):
    """All squared weights 1: pairs of inputs multiply at the inputs and gates, and convolve side by side in torch."""
    kind, extent = (nn.Conv2d, (6, 5)) if "plane" in case else (nn.Conv1d, (8,))
    options = {"bias": False, "padding_mode": case.split(", ")[-1], **PADDED[case]}
    first, second = (kind(c, k, **options).double() for c, k in ((1, 3), (3, 2)))
    model = nn.Sequential(first, nn.ReLU(), second)
    x = torch.randn(4, 1, *extent, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    split = qnn.split_gates(model, x)
    gates = split.gates(x)["1"]
    with torch.no_grad():
        for layer in (first, second):
            layer.weight.fill_(1.0)

        def pairs(z):
            return (z[:, None] * z).flatten(0, 1)

        walk = second(first(pairs(x)) * pairs(gates)).flatten(1).sum(1).reshape(4, 4).numpy()
    np.testing.assert_allclose(split.path_kernel(x), walk, rtol=1e-12, atol=1e-12)
    by_hand = qc.path_kernel(qnn.trace(model, x), {"1": gates.numpy()}, x.numpy())
    np.testing.assert_allclose(by_hand, walk, rtol=1e-12, atol=1e-12)


class Last(nn.Module):
    """A convolution, then linear layers with the channels last, as in ConvNeXt; gates of maps or of flat vectors."""

    def __init__(self, hidden, *, flat=False):
        super().__init__()
        self.a, self.flat = nn.Conv2d(2, 3, 3, padding=1, bias=False), flat
        self.b, self.c = nn.Linear(3, hidden, bias=False), nn.Linear(hidden, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).permute(0, 2, 3, 1)
        h = torch.relu(h.flatten(1)).reshape(h.shape) if self.flat else torch.relu(h)
        return self.c(torch.relu(self.b(h))).mean((1, 2))


class Tokens(nn.Module):
    """Linear layers on [batch, tokens, channels]; with ``merged`` the gates are those of [batch * tokens, channels]."""

    def __init__(self, hidden, *, merged=False):
        super().__init__()
        self.a, self.b, self.merged = nn.Linear(2, hidden, bias=False), nn.Linear(hidden, 2, bias=False), merged

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        h = torch.relu(h.flatten(0, 1)).reshape(h.shape) if self.merged else torch.relu(h)
        return self.b(h).mean(1)


LAST = {
    "map": (lambda: Last(4), (2, 5, 4)),
    "map of as many channels as rows": (lambda: Last(3), (2, 3, 3)),
    "flat": (lambda: Last(4, flat=True), (2, 5, 4)),
    "tokens": (lambda: Tokens(3), (5, 2)),
    "as many tokens as channels": (lambda: Tokens(2), (2, 2)),
}


@pytest.mark.parametrize("case", LAST)
def test_channels_may_come_last(case):
    """The walk of pairs with unit weights again, by the model itself; the mean over k locations has squares 1/k^2."""
    make, shape = LAST[case]
    model, x = make().double(), torch.randn(3, *shape, generator=torch.Generator().manual_seed(5)).double()
    split = qnn.split_gates(model, x)
    gates, locations = split.gates(x), shape[0] if len(shape) == 2 else shape[1] * shape[2]
    ones = qnn.split_gates(model, x)
    with torch.no_grad():
        for p in ones.parameters():
            p.fill_(1.0)

        def pairs(z):
            return (z[:, None] * z).flatten(0, 1)

        walk = ones.values(pairs(x), {name: pairs(gate) for name, gate in gates.items()}).sum(1) / locations
    np.testing.assert_allclose(split.path_kernel(x), walk.reshape(3, 3).numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (6, 1)], ids=["sequence", "one token"])
def test_tokens_are_vectors_with_a_single_one(shape):
    """A table of rows is a linear layer on them."""
    table = nn.Embedding(5, 3)
    rows = nn.Linear(5, 3, bias=False)
    rows.weight.data = table.weight.data.T
    rest = nn.ReLU(), nn.Linear(3, 2)
    tokens = torch.randint(5, shape, generator=torch.Generator().manual_seed(6))
    split = qnn.split_gates(nn.Sequential(table, *rest), tokens)
    assert split.architecture["input"].op == Input(5, shape[1:])
    ones = torch.nn.functional.one_hot(tokens, 5).float()
    wanted = qnn.split_gates(nn.Sequential(rows, *rest), ones).path_kernel(ones)
    np.testing.assert_allclose(split.path_kernel(tokens), wanted, rtol=1e-12)
    assert wanted.any()


def test_activations_that_read_no_examples_one_by_one_are_refused_by_name():
    with pytest.raises(ArchitectureError, match=r"^relu: its first axis is not that of the batch"):
        qnn.split_gates(Tokens(3, merged=True), torch.randn(4, 5, 2))


def test_a_border_that_repeats_the_only_location_is_refused():
    """Two taps of three read it again, so that its paths are more than those of a layer without a kernel."""
    model = nn.Sequential(
        nn.Conv1d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Conv1d(3, 2, 3, padding=1, padding_mode="replicate")
    )
    split = qnn.split_gates(model, torch.randn(2, 1, 8))
    with pytest.raises(ArchitectureError, match=r"^3: its padding \(replicate\) repeats .*kernel of size 1"):
        split.path_kernel(torch.randn(2, 1, 8))
