"""Every spelling of a call means the same node; ids are module paths; the graph computes what the model does."""

import pytest
import torch
from torch import Tensor, nn

import qcmap as qc
import qcmap.nn as qnn
from qcmap.activations import CATALOGUE
from qcmap.architecture import Nonlinear

F = nn.functional


class Between(nn.Module):
    """A function between two layers of 8 channels."""

    def __init__(self, function, **modules):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self, self.first(x)))


def ops_of(arch, *leave_out):
    return [node.op for node in arch.nodes if node.id not in ("input", "first", "last", *leave_out)]


def agrees(model, *inputs):
    """The recorded graph computes what the model does, for another batch size than that of the example."""
    traced = qnn.traced(model, inputs if len(inputs) > 1 else inputs[0])
    more = [torch.cat([x, x.flip(0), x]) for x in inputs]
    model.eval()
    torch.testing.assert_close(traced.graph_module(*more), model(*more), rtol=0, atol=0)
    return traced


def between(function, **modules):
    return agrees(Between(function, **modules), torch.randn(2, 3, 8, 8))


ACTIVATIONS = {
    "relu": [F.relu, Tensor.relu, torch.relu_, Tensor.relu_, lambda h: F.relu(h, True), nn.ReLU(),
             nn.ReLU(inplace=True), torch.ops.aten.relu.default, lambda h: torch.clamp(h, min=0), lambda h: h.clamp(0),
             lambda h: F.threshold(+h, 0, 0)],
    "tanh": [F.tanh, Tensor.tanh, Tensor.tanh_, nn.Tanh(), torch.ops.aten.tanh.default],
    "sigmoid": [F.sigmoid, Tensor.sigmoid, nn.Sigmoid(), torch.special.expit,
                lambda h: (h / 2).tanh() * 0.5 + 0.5],
    "swish": [lambda h: h / (1 + torch.exp(-h)),
              nn.SiLU(inplace=True), lambda h: h * torch.sigmoid(h), lambda h: h.mul_(h.sigmoid())],
    "gelu": [nn.GELU(), lambda h: h * 0.5 * (1.0 + torch.erf(h / 2**0.5))],
    "gelu_tanh": [lambda h: F.gelu(h, approximate="tanh"), nn.GELU("tanh"),
                  lambda h: 0.5 * h * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (h + 0.044715 * torch.pow(h, 3.0))))],
    "mish": [nn.Mish(), lambda h: h * torch.tanh(F.softplus(h))],
    "softplus": [F.softplus, nn.Softplus(), lambda h: F.softplus(h, threshold=40)],
    "hardswish": [nn.Hardswish(), lambda h: h * F.relu6(h + 3) / 6],
    "relu6": [nn.ReLU6(), lambda h: F.hardtanh(h, 0.0, 6.0), nn.Hardtanh(0, 6), lambda h: h.clamp(0, 6)],
    "hardtanh": [nn.Hardtanh(inplace=True), lambda h: torch.clamp(h, -1.0, 1.0)],
    "selu": [F.selu, nn.SELU()],
    "elu": [nn.ELU(), F.elu_],
    "celu": [nn.CELU(), lambda h: h.relu() + torch.expm1(h.clamp(max=0))],
    "leaky_relu": [F.leaky_relu, nn.LeakyReLU(), lambda h: F.leaky_relu(h, 0.01, inplace=True)],
    "softsign": [nn.Softsign()],
    "erf": [Tensor.erf, torch.special.erf, lambda h: 1 - torch.erfc(h)],
    "atan": [torch.arctan, Tensor.atan],
    "asinh": [torch.arcsinh],
    "sin": [torch.sin, Tensor.sin_],
    "square": [lambda h: h**2, lambda h: h * h, lambda h: torch.pow(h, 2)],
    "bentid": [lambda h: (torch.sqrt(h * h + 1) - 1) / 2 + h],
    "identity": [nn.Identity(), lambda h: h, nn.Dropout(0.3), lambda h: F.dropout(h, 0.3, training=False)],
}  # fmt: skip


def spellings():
    """All of the above, and of every row of the catalogue the function that it names, or its formula."""
    for name in CATALOGUE:
        for k, function in enumerate([qnn.torch_function(qc.activation(name)), *ACTIVATIONS.get(name, ())]):
            yield pytest.param(name, function, id=f"{name}-{k}")


@pytest.mark.parametrize(("name", "function"), list(spellings()))
def test_activations(name, function):
    traced = between(lambda self, h: self.act(h), act=function) if isinstance(function, nn.Module) else between(
        lambda self, h: function(h)
    )  # fmt: skip
    found = ops_of(traced.architecture)
    assert found == ([] if name == "identity" else [Nonlinear(name)])
    assert qc.check(traced.architecture) == []
