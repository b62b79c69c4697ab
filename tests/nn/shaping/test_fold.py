"""Equivalent parameters of torch models: the same function, plain ops only, and the way back."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

import qcmap as qc
import qcmap.nn as qnn
from models.resnet import resnet_v2, wide_resnet
from models.unet import UNet
from qcmap.errors import ArchitectureError, ArgumentError
from tests.nn.shaping.nets import Added, Branches, ResNet, mlp


def trained(model, steps=2):
    """Every parameter moved off its initial value, as training does."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
            parameter += (0.1 * noise).to(parameter)
    return model


class Convolutions(nn.Module):
    """Strides, dilation, groups, 'same' padding, circular padding, functional calls, even kernels."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([
            nn.Conv2d(3, 8, 5, 2, 2), nn.Conv2d(8, 8, 3, padding="same", dilation=2, groups=2, bias=False),
            nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), nn.Conv2d(8, 6, (5, 7), padding=2),
            nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"),
        ])  # fmt: skip
        self.weight = nn.Parameter(torch.randn(6, 6, 3, 3))
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        for layer in self.layers:
            x = functional.softplus(layer(x))
        x = functional.softplus(functional.conv2d(x, self.weight, stride=2, padding=1))
        return self.out(x)


class Joined(nn.Module):
    """A concatenation of two activations with different constants, read by a padded filter."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 5, 1), nn.Conv2d(9, 4, 3, padding=1)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        h = torch.cat([functional.silu(self.a(x)), functional.softplus(self.b(x))], 1)
        return self.out(torch.tanh(self.c(h)))


class Shared(nn.Module):
    """Layers that share weights or biases or both, with or without biases; one function twice; one module twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(8, 8, bias=bias) for bias in (True, True, False, True))
        self.b.weight = self.c.weight = self.d.weight = self.a.weight
        self.d.bias = self.a.bias
        self.free = nn.Parameter(torch.randn(8, 8))
        self.norm, self.other = nn.LayerNorm(8), nn.LayerNorm(8)
        self.other.weight, self.other.bias = self.norm.weight, self.norm.bias
        self.outs = nn.ModuleList(nn.Linear(8, 2) for _ in range(8))

    def forward(self, x):
        maps = [layer(x) for layer in (self.a, self.b, self.c, self.d)]
        maps += [functional.linear(x, self.free), functional.linear(x, self.free)]
        maps += [self.norm(maps[0]), self.other(maps[1])]
        return torch.cat([out(functional.softplus(h)) for out, h in zip(self.outs, maps, strict=True)], 1)


class Tokens(nn.Module):
    """A table, read as it stands and by a residual branch."""

    def __init__(self):
        super().__init__()
        self.table, self.b, self.out = nn.Embedding(11, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, tokens):
        h = self.table(tokens)
        return self.out(functional.softplus(h + self.b(functional.softplus(h))))


class Pools(nn.Module):
    """Average pooling that leaves its padding out, a norm of whole maps, a formula that torch has no function for."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.d = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.c = nn.Conv2d(8, 4, 1)
        self.pool, self.norm = nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.LayerNorm((8, 6, 6))

    def forward(self, x):
        h = self.pool(functional.softplus(self.norm(self.a(x))))
        h = functional.avg_pool2d(functional.softplus(self.b(h)), 3, 1, 1, False, False)
        h = self.d(h)
        return self.c(torch.tanh(h) + 0.5 * torch.sin(h))


CASES = {
    "mlp": (lambda: mlp(10), (4, 16), {"zeta": 1.5}),
    "mlp, tanh": (lambda: mlp(50, act=nn.Tanh), (4, 16), {"zeta": 1.5}),
    "resnet": (ResNet, (2, 3, 32, 32), {"batch_norm": "remove", "residual_weight": 0.4}),
    "resnet, layer norms": (ResNet, (2, 3, 32, 32), {"batch_norm": "layer_norm"}),
    "resnet, weighted pooling": (ResNet, (2, 3, 32, 32), {"batch_norm": "remove", "pooling": "weighted"}),
    "convolutions": (Convolutions, (2, 3, 17, 15), {"zeta": 1.5}),
    "concatenation": (Joined, (2, 3, 6, 7), {"zeta": 1.2}),
    "the paper's resnet": (
        lambda: resnet_v2(50, width=2, activation="swish"),
        (2, 3, 64, 64),
        {"batch_norm": "remove", "residual_weight": 0.05**0.5},
    ),
    "the paper's wide resnet": (
        lambda: wide_resnet(16, activation="softplus"),
        (2, 3, 16, 16),
        {"batch_norm": "remove"},
    ),
    "the u-net": (lambda: UNet(2, 4, activation="softplus"), (2, 3, 16, 16), {"zeta": 1.5}),
    "branches": (Branches, (3, 12), {"zeta": 1.2}),
    "added parameters": (Added, (2, 3, 6, 6), {"zeta": 1.2}),
    "shared parameters": (Shared, (3, 8), {"zeta": 1.2}),
    "tokens": (Tokens, (3, 7), {"zeta": 1.2}),
    "pools": (Pools, (2, 3, 6, 6), {"zeta": 1.05}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_plain_network_has_the_same_function(name, dtype, tolerance):
    make, shape, options = CASES[name]
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)
    if name == "tokens":
        x = torch.arange(x.numel()).reshape(shape) % 11
    shaped = trained(qnn.shape(make().to(dtype), x, **options)).eval()
    before = copy.deepcopy(shaped.state_dict())
    plain = qnn.fold(shaped)
    wanted = shaped(x)
    assert (plain(x) - wanted).abs().max() <= tolerance * wanted.abs().max()
    assert all(torch.equal(value, shaped.state_dict()[key]) for key, value in before.items())
    ours = {type(m).__name__ for m in plain.modules() if type(m).__module__.startswith("qcmap")}
    assert ours <= {"WeightedMeanPool", "ChannelNorm", "PlainActivation"}
    assert torch.equal(pickle.loads(pickle.dumps(plain))(x), plain(x))
    if dtype is torch.float64:
        again = qnn.unfold(trained(plain), shaped)
        wanted = plain(x)
        assert (again(x) - wanted).abs().max() <= tolerance * wanted.abs().max()
        back = qnn.unfold(qnn.fold(shaped), shaped)
        for key, value in before.items():
            assert torch.allclose(back.state_dict()[key], value, rtol=1e-11, atol=1e-12), key


def test_borders_are_padded_with_what_stands_for_zero():
    """Without that the functions differ at the border: DKS, 18.2, is silent on it."""
    shaped = qnn.shape(Convolutions().double(), torch.randn(1, 3, 17, 15, dtype=torch.float64), zeta=1.5)
    plain = qnn.fold(shaped)
    pads = [node for node in plain.graph.nodes if node.target is functional.pad]
    # The first layer reads the input, two layers pad by reflection or circularly.
    assert len(pads) == 3
    assert all(node.kwargs["value"] == -shaped.shaping["softplus"].output_shift for node in pads)


def test_a_parameter_added_to_maps_of_different_constants_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))
            self.shift = nn.Parameter(torch.zeros(8))

        def forward(self, x):
            h = self.b(torch.tanh(self.a(x) + self.shift))
            return self.c(functional.softplus(h + self.shift))

    shaped = qnn.shape(Twice(), torch.randn(2, 8), zeta=1.2)
    with pytest.raises(ArchitectureError, match=r"^shift: the maps that it is added to \('a', 'b'\) have different"):
        qnn.fold(shaped)


class TwoReaders(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        h = self.a(x)
        return self.b(torch.tanh(h)) + self.c(functional.softplus(h))


def sequence(*layers):
    return nn.Sequential(nn.Linear(8, 8), *layers, nn.Linear(8, 8))


def norm_twice():
    norm = nn.LayerNorm(8)
    return sequence(norm, nn.Softplus(), nn.Linear(8, 8), norm, nn.Tanh())


def counted():
    return nn.Sequential(nn.Conv1d(3, 8, 1), nn.Softplus(), nn.AvgPool1d(3, 1, 1), nn.Conv1d(8, 3, 1))


REFUSED = {
    "no biases": (sequence(nn.RMSNorm(8), nn.Softplus()), (2, 8), "^1: it does not subtract the mean and has no bias"),
    "one norm": (norm_twice(), (2, 8), "^1_2: it shares its parameters with '1'"),
    "counted padding": (counted(), (2, 3, 9), "^2: its padding counts.*count_include_pad=False"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_take_constants_up_is_refused_by_name(name):
    model, shape, said = REFUSED[name]
    with pytest.raises(ArchitectureError, match=said):
        qnn.fold(qnn.shape(model, torch.randn(*shape), zeta=1.1))


def test_a_norm_without_shifts_keeps_its_epsilon():
    """None is the rounding of the type."""
    x = torch.randn(4, 8, dtype=torch.float64)
    shaped = trained(qnn.shape(sequence(nn.Softplus(), nn.Linear(8, 8), nn.RMSNorm(8))[:-1].double(), x, zeta=1.2))
    assert torch.allclose(qnn.fold(shaped)(x), shaped(x), rtol=1e-12, atol=1e-13)


def test_what_has_no_equivalent_is_refused_by_name():
    shaped = qnn.shape(TwoReaders(), torch.randn(2, 8), zeta=1.05)
    with pytest.raises(ArchitectureError, match=r"^a: 'tanh' and 'softplus' read it with different constants"):
        qnn.fold(shaped)
    with pytest.raises(ArgumentError, match="shaped"):
        qnn.fold(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="no such parameter"):
        qnn.unfold(mlp(4)[:-1], qnn.shape(mlp(4), torch.randn(2, 16), zeta=1.2))


def test_fold_is_the_papers_formula_on_a_chain():
    shaped = qnn.shape(mlp(2), torch.randn(2, 16), zeta=1.2)
    t = shaped.shaping["softplus"]
    plain = trained(shaped) and qnn.fold(shaped)
    weight, bias = (shaped.get_parameter(f"2.{name}").detach().double() for name in ("weight", "bias"))
    wanted = t.input_scale * (bias + t.output_scale * t.output_shift * weight.sum(1)) + t.input_shift
    assert torch.allclose(plain.get_parameter("2.weight").double(), t.input_scale * t.output_scale * weight, rtol=1e-6)
    assert torch.allclose(plain.get_parameter("2.bias").double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet_v2", "wide_resnet"])
def test_the_zoo_folds(name):
    """Every feature map of deep residual graphs has an equivalent."""
    from qcmap.nn.shaping._equivalent import equivalence

    arch = {"resnet_v2": qc.zoo.resnet_v2(50), "wide_resnet": qc.zoo.wide_resnet(28)}[name]
    found = equivalence(arch, qc.dks(arch), {})
    assert not found.weights
