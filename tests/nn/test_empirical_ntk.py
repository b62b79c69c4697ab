"""The tangent kernel of a model: against derivatives written out, loops over autograd, and the infinite width."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArgumentError, DataError


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(model, x):
    """For each sample and output the derivatives in each parameter."""
    parameters = list(model.parameters())
    return [
        [torch.autograd.grad(f, parameters, retain_graph=True) for f in model(sample[None]).flatten()] for sample in x
    ]


def looped(model, x1, x2):
    """Theta by one backward pass for each input and output; by parameter name."""
    names = [name for name, _ in model.named_parameters()]
    found = {name: np.zeros((len(x1), len(x2))) for name in names}
    for i, left in enumerate(gradients(model, x1)):
        for j, right in enumerate(gradients(model, x2)):
            for a, b in zip(left, right, strict=True):
                for name, first, second in zip(names, a, b, strict=True):
                    found[name][i, j] += float((first * second).sum()) / len(left)
    return found


class Shared(nn.Module):
    """A layer used twice, whose weight another module shares, with convolutions and a norm without parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.mix, self.again, self.head = nn.Linear(3, 3), nn.Linear(3, 3, bias=False), nn.Linear(3, 2)
        self.again.weight = self.mix.weight
        self.norm = nn.BatchNorm2d(3, affine=False)
        qnn.initialize(self, delta=False)

    def forward(self, x):
        h = torch.tanh(self.norm(self.conv(x))).mean((2, 3))
        return self.head(self.again(torch.tanh(self.mix(torch.tanh(self.mix(h))))))


@pytest.mark.parametrize("block", [1, 3, 100])
def test_against_loops(block):
    model = Shared().double()
    x, y = normal(5, 2, 4, 4), normal(3, 2, 4, 4, seed=1)
    model.train()
    expected = looped(model.eval(), x, y)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = qnn.empirical_ntk(model, x, y, parameterization="standard", block=block)
    # The shared weight counts once, with the derivatives of all its uses.
    assert list(found.terms) == ["conv", "mix", "head"]
    for path, term in found.terms.items():
        parts = [value for name, value in expected.items() if name.rpartition(".")[0] == path]
        np.testing.assert_allclose(term, sum(parts), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.total, sum(expected.values()), rtol=1e-9, atol=1e-12)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    same = qnn.empirical_ntk(model, x, parameterization="standard", block=block)
    np.testing.assert_allclose(
        same.total, qnn.empirical_ntk(model, x, x, parameterization="standard", block=2).total, rtol=1e-12
    )
    np.testing.assert_array_equal(same.total, same.total.T)


def test_the_two_parameterizations_of_a_linear_network():
    """f = v'Wx/..: Theta of W is |v|^2 x.x' and of v is Wx.Wx' in the standard one; over k, times a, in the other."""
    b = qc.Builder()
    h = b.affine(b.input("x", channels=5), 7, weight_variance=1.7, bias_variance=0.3, name="first")
    network = qnn.GraphNetwork(b.build([b.affine(h, 1, bias_variance=0.5, name="last")]), seed=2).double()
    x, y = normal(3, 5), normal(4, 5, seed=1)
    w, v = network.first.weight.detach().numpy(), network.last.weight.detach().numpy()[0]
    hidden = [network.first(z).detach().numpy() for z in (x, y)]
    inner, outer = (x @ y.T).numpy(), hidden[0] @ hidden[1].T
    standard = qnn.empirical_ntk(network, x, y, parameterization="standard")
    np.testing.assert_allclose(standard.terms["first"], v @ v * (inner + 1), rtol=1e-12)
    np.testing.assert_allclose(standard.terms["last"], outer + 1, rtol=1e-12)
    ntk = qnn.empirical_ntk(network, x, y)
    np.testing.assert_allclose(ntk.terms["first"], v @ v * (1.7 * inner / 5 + 0.3), rtol=1e-12)
    np.testing.assert_allclose(ntk.terms["last"], outer / 7 + 0.5, rtol=1e-12)
    assert w.shape == (7, 5)


def test_delta_filters_have_one_tap():
    """Of a filter whose middle alone has a variance, the middle's derivatives count, over the input channels."""
    model = nn.Sequential(
        nn.Conv1d(3, 4, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(20, 1, bias=False)
    ).double()
    x = normal(2, 3, 5)
    v = model[2].weight.detach().reshape(4, 5)
    rows = torch.einsum("ol,nil->noi", v, x)
    found = qnn.empirical_ntk(model, x).terms["0"]
    np.testing.assert_allclose(found, torch.einsum("noi,moi->nm", rows, rows) / 3, rtol=1e-12)
    padded = nn.functional.pad(x, (1, 1))
    taps = torch.stack([torch.einsum("ol,nil->noi", v, padded[:, :, t : t + 5]) for t in range(3)])
    spread = qnn.empirical_ntk(model, x, delta=False).terms["0"]
    np.testing.assert_allclose(spread, torch.einsum("tnoi,tmoi->nm", taps, taps) / 9, rtol=1e-12)


def test_wide_networks_have_the_kernel_of_infinite_width():
    """Mean over 30 networks of width 150: layers within five standard errors and two percent for the width."""
    b = qc.Builder("net")
    h = b.affine(b.input("x", channels=9), 150, name="stem")
    h = b.sum([b.affine(b.activation(h, "tanh"), 150, name="branch"), h], [0.6, 0.8])
    arch = b.build([b.affine(b.activation(h, "tanh", name="end"), 8, name="head")])
    shaping = qc.dks(arch, 1.5)
    x = normal(3, 9)
    x = 3 * x / x.norm(dim=1, keepdim=True)
    theory = qc.ntk(arch, (x @ x.T / 9).clamp(-1, 1).numpy(), shaping=shaping)
    kernels = [
        qnn.empirical_ntk(qnn.GraphNetwork(arch, shaping, weights="gaussian", seed=seed), x, dtype=torch.float32)
        for seed in range(30)
    ]
    for name, term in theory.terms.items():
        draws = np.array([kernel.terms[name] for kernel in kernels])
        error = draws.std(axis=0, ddof=1) / math.sqrt(30)
        assert (np.abs(draws.mean(axis=0) - term) < 5 * error + 0.02 * term.max()).all()
    table = kernels[0].table(theory)
    assert table.row_count == 4
    assert [column.header for column in table.columns] == ["layer", "measured", "infinite width", "ratio"]
    assert f"<td>{kernels[0].total.mean():.4g}</td>" in kernels[0]._repr_html_()
    assert kernels[0].to_dict()["parameterization"] == "ntk"
    assert repr(kernels[0]) == "<empirical tangent kernel of 3 layers for 3 x 3 inputs>"


def _with_nan():
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    return nn.Sequential(model, nn.Tanh(), nn.Linear(2, 1))


@pytest.mark.parametrize(
    ("model", "shape", "options", "error", "message"),
    [
        (nn.Linear(2, 1), (3, 2), {"parameterization": "mup"}, ArgumentError, "parameterization: it is 'ntk' or"),
        (nn.Linear(2, 1), (3, 2), {"block": 0}, ArgumentError, "block: .*not 0"),
        (nn.Linear(2, 1), (3, 2), {"dtype": torch.int32}, ArgumentError, "dtype: .*int32"),
        (nn.Linear(2, 1), (2,), {}, DataError, r"x1: .*shape \[2\]"),
        (nn.Linear(2, 1), (3, 5), {}, DataError, "x1: Linear does not run on it"),
        (nn.Tanh(), (3, 2), {}, ArgumentError, "Tanh: it has no parameters"),
        (nn.Conv1d(2, 2, 1), (3, 2, 4), {}, DataError, r"it gives a tensor of shape \[1, 2, 4\]"),
        (nn.Sequential(nn.Conv1d(2, 2, 2), nn.Flatten()), (3, 2, 2), {}, ArgumentError, r"0: a filter of \[2\] has no"),
        (nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 1)), (3, 2), {}, ArgumentError, "0: LayerNorm has parameters"),
        (_with_nan(), (3, 2), {}, DataError, "the derivatives of its parameters are not finite"),
    ],
)
def test_refusals(model, shape, options, error, message):
    with pytest.raises(error, match=message):
        qnn.empirical_ntk(model.double(), normal(*shape), **options)
