"""`initialize`: whole models, all or nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn

from qcmap.errors import ArgumentError
from qcmap.nn import gaussian_weight, initialize, orthogonal_weight


def _model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(8, 8, 3, groups=2, bias=False)), nn.Linear(8, 5)
    )


def test_fills_every_layer_in_order_and_returns_the_model() -> None:
    model: Any = _model()
    identities = [id(p) for p in model.parameters()]
    assert initialize(model, seed=3) is model
    assert [id(p) for p in model.parameters()] == identities
    generator = torch.Generator().manual_seed(3)
    for layer, shape, groups in [(model[0], (8, 3, 3, 3), 1), (model[2][0], (8, 4, 3, 3), 2), (model[3], (5, 8), 1)]:
        assert torch.equal(layer.weight, orthogonal_weight(shape, groups=groups, generator=generator))
        assert layer.bias is None or not layer.bias.any()
    assert all(p.requires_grad for p in model.parameters())


def test_seed_generator_and_global_state() -> None:
    state = torch.get_rng_state()
    first, second = (initialize(nn.Linear(4, 3), seed=s).weight for s in (0, 1))
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    layers = nn.Linear(4, 3), nn.Linear(4, 3)
    state, generator = torch.get_rng_state(), torch.Generator().manual_seed(0)
    for layer in layers:
        initialize(layer, generator=generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layers[0].weight, first)
    assert not torch.equal(layers[1].weight, first)


def test_gain_and_gaussian_weights_give_he() -> None:
    layer = initialize(nn.Conv1d(4, 6, 3), "gaussian", delta=False, gain=math.sqrt(2), seed=2)
    expected = gaussian_weight((6, 4, 3), delta=False, gain=math.sqrt(2), seed=2)
    assert torch.equal(layer.weight, expected)


def test_keeps_dtype_and_memory_layout() -> None:
    layer = nn.Conv2d(4, 4, 3, dtype=torch.bfloat16)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    initialize(layer)
    assert layer.weight.dtype == torch.bfloat16
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_shared_weight_is_drawn_once() -> None:
    first, second, last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    initialize(nn.Sequential(first, second, last))
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(first.weight, orthogonal_weight((4, 4), generator=generator))
    assert torch.equal(last.weight, orthogonal_weight((4, 4), generator=generator))
    assert not second.bias.any()


def test_a_model_without_parameters_is_returned_as_it_is() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.ReLU())
    assert initialize(model) is model


def _clashing() -> nn.Module:
    whole, halves = nn.Conv1d(4, 4, 1), nn.Conv1d(8, 4, 1, groups=2)
    halves.weight = whole.weight
    return nn.Sequential(whole, halves)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "batch norm": (lambda: nn.BatchNorm1d(3), "bad: BatchNorm1d has its own parameters .weight, bias.*affine=False"),
    "embedding": (lambda: nn.Embedding(3, 4), "bad: Embedding has its own parameters"),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3), "bad: ConvTranspose2d has its own parameters"),
    "attention": (lambda: nn.MultiheadAttention(4, 2), "bad: MultiheadAttention has its own parameters"),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
        "bad: .*remove the parametrization",
    ),
    "lazy": (lambda: nn.LazyLinear(3), "bad: .*no memory yet"),
    "meta": (lambda: nn.Linear(2, 3, device="meta"), "bad: .*no memory yet"),
    "groups": (_clashing, r"bad\.1: it shares its weight with bad\.0, which has 1 groups where it has 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_names_the_path_and_changes_nothing(case: str) -> None:
    make, message = REFUSED[case]
    model: Any = nn.Sequential()
    model.add_module("good", nn.Linear(3, 3))
    model.add_module("bad", make())
    before = copy.deepcopy(model.good.state_dict())
    with pytest.raises(ArgumentError, match=message):
        initialize(model)
    assert all(torch.equal(before[key], value) for key, value in model.good.state_dict().items())


def test_even_kernels_have_the_left_one_of_two_middle_taps() -> None:
    """As the graph has it: a Delta filter of kernel size 4 and padding 1 keeps every location in its place."""
    layer = initialize(nn.Conv1d(2, 2, 4, padding=1))
    taps = layer.weight.detach().abs().amax((0, 1))
    assert taps[1] > 0
    assert not taps[[0, 2, 3]].any()
    initialize(nn.Conv2d(2, 2, (3, 4)), delta=False)


def test_bad_arguments() -> None:
    layer, bad = nn.Linear(2, 2), cast("Any", "xavier")
    with pytest.raises(ArgumentError, match="no initialization 'xavier'; choose one of 'orthogonal', 'gaussian'"):
        initialize(layer, bad)
    with pytest.raises(ArgumentError, match="gain"):
        initialize(layer, gain=0)
    with pytest.raises(ArgumentError, match="seed"):
        initialize(layer, seed=True)
