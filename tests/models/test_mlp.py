"""The reference MLP and the graph it claims to have."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from models import MLP
from qcmap.activations import activation
from qcmap.architecture import Affine, Nonlinear
from qcmap.errors import ActivationError, ArgumentError
from qcmap.nn import ShapedActivation, trace
from qcmap.numeric import Transform


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_module_paths_are_the_node_ids(depth: int) -> None:
    model = MLP(5, 8, depth, 3, "softplus")
    leaves = {path: part for path, part in model.named_modules() if path and not list(part.children())}
    nodes = model.architecture.nodes
    assert list(leaves) == [node.id for node in nodes if node.id != "input"]
    for node in nodes[1:]:
        part = leaves[node.id]
        if isinstance(node.op, Affine):
            assert isinstance(part, nn.Linear)
            assert part.out_features == node.op.channels
            assert part.in_features == model.architecture.channels[node.inputs[0]]
        else:
            assert isinstance(node.op, Nonlinear)
            assert node.op.function == "softplus"
    assert sum(isinstance(node.op, Nonlinear) for node in nodes) == depth


def test_forward_is_the_chain() -> None:
    model, x = MLP(5, 8, 3, 4), torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    h = x
    for layer in (1, 2, 3):
        affine: Any = model.get_submodule(f"layer{layer}.affine")
        h = torch.tanh(h @ affine.weight.T + affine.bias)
    torch.testing.assert_close(model(x), h @ model.head.weight.T + model.head.bias)


def test_weights_are_orthogonal_seeded_and_leave_global_state_alone() -> None:
    state = torch.get_rng_state()
    first, same, other = (MLP(5, 8, 2, 3, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    weight = first["layer1.affine.weight"]
    torch.testing.assert_close(weight.T @ weight, 8 / 5 * torch.eye(5))
    assert not first["layer1.affine.bias"].any()


def test_shaping_is_looked_up_by_the_catalogues_name() -> None:
    transform = Transform(activation("swish"), 0.5, 0.25, -0.1, 3.0)
    shaping = {"swish": transform}
    model, x = MLP(5, 8, 2, 3, "silu", shaping), torch.linspace(-2, 2, 9)
    assert model.shaping is shaping
    shaped = model.get_submodule("layer2.activation")
    assert isinstance(shaped, ShapedActivation)
    torch.testing.assert_close(shaped(x), 3 * (nn.functional.silu(0.5 * x + 0.25) - 0.1))
    plain = MLP(5, 8, 2, 3, "silu").get_submodule("layer2.activation")
    torch.testing.assert_close(plain(x), nn.functional.silu(x))


def test_copies() -> None:
    model, x = MLP(5, 8, 2, 3, "gelu"), torch.ones(2, 5)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), model(x))
        assert twin.architecture == model.architecture


@pytest.mark.parametrize("argument", ["in_features", "width", "depth", "out_features"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True])
def test_refused_sizes(argument: str, value: Any) -> None:
    sizes: dict[str, Any] = {"in_features": 5, "width": 8, "depth": 2, "out_features": 3} | {argument: value}
    with pytest.raises(ArgumentError, match=f"{argument}: it must be a positive integer"):
        MLP(**sizes)


def test_refused_activations() -> None:
    with pytest.raises(ActivationError, match="sofplus: no activation has this name; did you mean softplus"):
        MLP(5, 8, 2, 3, "sofplus")
    with pytest.raises(ActivationError, match="no torch counterpart"):
        MLP(5, 8, 2, 3, activation(lambda u: u * math.pi))


def test_traces_to_the_graph_of_the_zoo() -> None:
    model = MLP(5, 8, 4, 3, "gelu")
    traced = trace(model, torch.ones(2, 5))
    assert traced.nodes == model.architecture.nodes
    assert traced.outputs == model.architecture.outputs
