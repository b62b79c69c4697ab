"""Fixup: zero branches, the scales of the others, and steps whose size does not depend on depth."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import qcmap as qc
from qcmap.errors import ArchitectureError
from qcmap.nn import methods
from qcmap.nn.methods._fixup import residual_branches
from tests.nn.methods.residual import Residual


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EXAMPLE = _normal(2, 4, 9)


def test_branches_are_zero_and_other_layers_scaled():
    """L = 3 branches of m = 2 layers: 1/sqrt(3) on the first, He's variance elsewhere; widths allow 6.2 errors."""
    model = Residual(width=40, kernel=1)
    fixed = methods.fixup(model, EXAMPLE, seed=2)
    parameters = dict(fixed.named_parameters())
    for name in ("out0.weight", "out1.weight", "out2.weight", "head.weight", "head.bias"):
        assert not parameters[name].any()
    for name, wanted in (("stem", 2 / 4), ("projection", 2 / 40), *((f"conv{k}", 2 / 40 / 3) for k in range(3))):
        weight = parameters[f"{name}.weight"].detach()
        assert abs(float(weight.square().mean()) / wanted - 1) < 6.2 * math.sqrt(2 / weight.numel()), name
    x = _normal(3, 4, 5)
    h = model.double().stem
    h.load_state_dict({"weight": parameters["stem.weight"].detach(), "bias": parameters["stem.bias"].detach()})
    relu = torch.relu(nn.functional.conv1d(torch.relu(h(x)), parameters["projection.weight"]))
    found: dict[str, torch.Tensor] = {}
    fixed.act.register_forward_hook(lambda module, inputs, output: found.update(last=output))
    assert not fixed(x).any()
    assert torch.allclose(found["last"], relu, atol=1e-13)  # blocks without projection are the identity


def test_scalars_are_everywhere_and_trainable():
    model = Residual()
    fixed = methods.fixup(model, EXAMPLE)
    scalars = {name: p for name, p in fixed.named_parameters() if name.startswith("fixup.")}
    assert sum("multiplier" in name for name in scalars) == 3
    assert sum("bias" in name for name in scalars) == 9 + 7  # before every affine layer and activation
    assert all(p.ndim == 0 and p.requires_grad for p in scalars.values())
    assert {float(p.detach()) for name, p in scalars.items() if "bias" in name} == {0.0}
    with torch.no_grad():
        for name, p in fixed.named_parameters():
            if name.endswith("weight"):
                p.copy_(0.3 * _normal(*p.shape))
    fixed(_normal(3, 4, 5)).square().sum().backward()
    assert all(p.grad is not None and float(p.grad) != 0 for p in scalars.values())
    assert not any(name.startswith("fixup") for name, _ in model.named_parameters())


def _change_after_steps(model: nn.Module, steps: int, rate: float) -> float:
    """The rms change of the outputs over the step size, after steps of gradient descent on half the squared error.

    The head is random and fixed, so that all of it comes through the residual branches and the stem.
    """
    x, y = _normal(16, 4, 3), _normal(16, 5, seed=1)
    model = copy.deepcopy(model)
    head = model.get_submodule("head")
    with torch.no_grad():
        head.weight.copy_(_normal(*head.weight.shape) / math.sqrt(head.in_features))
    head.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    start = model(x).detach()
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * (model(x) - y).square().sum(1).mean()).backward()
        optimizer.step()
    return float((model(x).detach() - start).square().mean().sqrt()) / (rate * steps)


def test_updates_are_of_the_order_of_the_step_at_every_depth():
    """From 2 to 32 blocks the change stays within a factor of 2; with He's initialization alone it explodes."""
    changes, plain = [], []
    for blocks in (2, 8, 32):
        model = Residual(blocks=blocks, width=8, kernel=1)
        changes.append(_change_after_steps(methods.fixup(model, EXAMPLE, seed=1), 6, 1e-3))
        plain.append(_change_after_steps(methods.he(model, seed=1), 1, 1e-9))
    assert 0.5 < changes[2] / changes[0] < 2
    assert 0.5 < changes[1] / changes[0] < 2
    assert plain[2] / plain[0] > 1e6


def _sum(*branches: str, weights: tuple[float, ...] | None = None) -> qc.Architecture:
    """A sum of branches: ``a`` affine layers and ``r`` activations in turn, nothing for the map itself."""
    b = qc.Builder("sum")
    stem = b.affine(b.input("x", channels=3), 3, name="stem")
    ends = []
    for k, branch in enumerate(branches):
        h = stem
        for j, letter in enumerate(branch):
            name = f"{letter}{k}{j}"
            h = b.affine(h, 3, name=name) if letter == "a" else b.activation(h, "relu", name=name)
        ends.append(h)
    total = b.sum(ends, weights=list(weights or [1] * len(ends)), name="add")
    return b.build([b.affine(total, 2, name="head")])


def test_branches_of_nested_sums_belong_to_the_inner_one():
    b = qc.Builder("nested")
    x = b.affine(b.input("x", channels=3), 3, name="stem")
    h = b.affine(b.activation(x, "relu"), 3, name="outer1")
    inner = b.affine(b.activation(b.affine(b.activation(h, "relu"), 3, name="in1"), "relu"), 3, name="in2")
    h = b.affine(b.activation(b.sum([inner, h], weights=[1, 1], name="inner"), "relu"), 3, name="outer2")
    arch = b.build([b.sum([x, h], weights=[1, 1], name="outer")])
    found = {branch.sum: branch.layers for branch in residual_branches(arch)}
    assert found == {"inner": ("in1", "in2"), "outer": ("outer1", "outer2")}


def test_several_branches_and_projections():
    branches = residual_branches(_sum("a", "rara", "ra" * 3))
    assert [branch.layers for branch in branches] == [("a11", "a13"), ("a21", "a23", "a25")]


class Deep(nn.Module):
    """Four residual branches of three layers each."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64, dtype=torch.float64) for _ in range(12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for k in range(0, 12, 3):
            a, b, c = self.layers[k : k + 3]
            x = x + c(torch.relu(b(torch.relu(a(torch.relu(x))))))
        return x


def test_the_exponent_counts_the_layers_of_a_branch():
    """Three layers and L = 4: standard deviations times 4^(-1/4), variances times 1/2."""
    fixed = methods.fixup(Deep(), _normal(2, 64), seed=4)
    for k in range(12):
        weight = fixed.get_parameter(f"layers.{k}.weight").detach()
        wanted = 0.0 if k % 3 == 2 else 2 / 64 / 2
        assert abs(float(weight.square().mean()) - wanted) <= 6.2 * wanted * math.sqrt(2 / weight.numel()), k


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (_sum("ra", "ra"), "add: it is not evident which branch is the shortcut"),
        (_sum("rar", ""), "r02: a residual branch of add ends with it"),
        (_sum("ra", "", weights=(0.6, 0.8)), "add: Fixup has plain sums"),
    ],
    ids=["equal", "activation", "weighted"],
)
def test_refusals_name_the_node(arch: qc.Architecture, message: str):
    with pytest.raises(ArchitectureError, match=message):
        residual_branches(arch)


def test_a_network_without_branches_is_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    with pytest.raises(ArchitectureError, match="no residual branches"):
        methods.fixup(model, torch.zeros(2, 3))
