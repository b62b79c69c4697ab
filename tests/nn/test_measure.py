"""`measure`: exact where theory is exact, close where it is a limit, and the errors that name a node."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcmap.architecture import Affine, Architecture, Builder, Nonlinear
from qcmap.errors import ArgumentError, DataError
from qcmap.nn import Measurement, initialize, measure

Array = NDArray[np.float64]


class Values(NamedTuple):
    """What network maps return at a node."""

    c: Array
    q1: Array
    q2: Array


class ReluMaps:
    """Maps of a chain of affine and relu nodes, in closed form (DKS, equation 15)."""

    def __init__(self, architecture: Architecture) -> None:
        self.nodes = architecture.nodes

    def propagate(self, c: Array, q1: Array, q2: Array) -> dict[str, Values]:
        """The values at every node."""
        found = {}
        for node in self.nodes:
            if isinstance(node.op, Nonlinear):
                c, q1, q2 = (np.sqrt(1 - c * c) + (np.pi - np.arccos(c)) * c) / np.pi, q1 / 2, q2 / 2
            found[node.id] = Values(c, q1, q2)
        return found

    def propagate_q(self, q: Array) -> dict[str, Array]:
        """The q values at every node."""
        return {node: values.q1 for node, values in self.propagate(np.ones_like(q), q, q).items()}


def _chain(*names: str, activation: str = "relu") -> Architecture:
    """Input "x", then affine nodes, and activations where the name begins with "act"."""
    b = Builder("chain")
    h = b.input("x")
    for name in names:
        h = b.activation(h, activation, name=name) if name.startswith("act") else b.affine(h, name=name)
    return b.build(outputs=[h])


def _measure(model: nn.Module, x: Tensor, architecture: Architecture, **options: Any) -> Measurement:
    return measure(model, x, architecture=architecture, maps=ReluMaps(architecture), **options)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Linear(16, 16), (6, 16)),
        (lambda: nn.Conv1d(16, 16, 3, padding=1), (6, 16, 5)),
        (lambda: nn.Conv2d(16, 16, (3, 5), padding="same"), (6, 16, 4, 3)),
        (lambda: nn.Conv3d(16, 16, 3, padding=1), (6, 16, 2, 2, 3)),
    ],
)
def test_square_orthogonal_layers_keep_q_and_c_exactly(layer: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model = initialize(nn.Sequential(layer(), layer(), layer()).double())
    result = _measure(model, 3 * _normal(*shape), _chain("0", "1", "2"))
    assert [row.node for row in result.rows] == ["x", "0", "1", "2"]
    assert [row.op for row in result.rows] == ["input", "affine", "affine", "affine"]
    assert (result.samples, result.pairs, result.locations) == (6, 15, math.prod(shape[2:]))
    for row in result.rows:
        assert row.q_mean == pytest.approx(row.q_predicted, rel=1e-12)
        assert row.c_deviation < 1e-13
        assert row.c_measured.shape == row.c_predicted.shape == (15, math.prod(shape[2:]))


def test_a_wide_relu_network_follows_its_maps_and_a_wrong_map_shows() -> None:
    parts = {}
    for k in (1, 2, 3):
        parts |= {f"affine{k}": nn.Linear(1024, 1024), f"act{k}": nn.ReLU()}
    model = initialize(nn.Sequential())
    for name, part in parts.items():
        model.add_module(name, part)
    initialize(model, seed=1)
    architecture = _chain(*parts)
    shared, own = _normal(1, 1024).float(), _normal(40, 1024, seed=1).float()
    result = _measure(model, shared + own, architecture)
    # Deviations are of the order of 1/sqrt(1024) = 0.03 for c, and of sqrt(5/1024) = 0.07 relative for the q of relu.
    assert all(row.c_deviation < 0.05 for row in result.rows)
    assert all(row.q_mean == pytest.approx(row.q_predicted, rel=0.2) for row in result.rows)
    identity = _chain(*(f"affine{k}" for k in (1, 2, 3)))
    plain = measure(model, shared + own, architecture=identity, maps=ReluMaps(identity))
    assert plain["affine3"].c_deviation > 0.1


def test_figures_are_those_of_the_definition() -> None:
    x = _normal(5, 3, 4)
    model = nn.Sequential(nn.Conv1d(3, 7, 1).double())
    z = model(x).detach()
    row = _measure(model, x, _chain("0"), pairs=999)["0"]
    q = z.square().mean(1).mean(1)
    assert row.q_mean == pytest.approx(float(q.mean()))
    assert row.q_standard_error == pytest.approx(float(q.std()) / math.sqrt(5))
    expected = {
        tuple(torch.cosine_similarity(z[i], z[j], dim=0).numpy().round(10)) for i, j in combinations(range(5), 2)
    }
    assert {tuple(c.round(10)) for c in row.c_measured} == expected
    assert row.c_deviation == pytest.approx(np.abs(row.c_measured - row.c_predicted).mean())


def test_pairs_are_distinct_seeded_and_at_most_those_asked_for() -> None:
    model, architecture, x = nn.Sequential(nn.Linear(4, 4).double()), _chain("0"), _normal(50, 4)
    state = torch.get_rng_state()
    first, same, other = (_measure(model, x, architecture, pairs=30, seed=s)["0"].c_measured for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(np.unique(first)) == 30
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    everything = _measure(model, x, architecture, pairs=10_000)["0"].c_measured
    assert len(np.unique(everything)) == 50 * 49 // 2


def test_one_location_may_be_written_in_several_ways() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Unflatten(1, (4, 1, 1)), nn.Conv2d(4, 4, 1)).double()
    result = _measure(model, _normal(3, 4, 1), _chain("1", "3"))
    assert result.locations == 1


def test_nodes_that_are_no_modules_are_listed() -> None:
    result = _measure(nn.Sequential(nn.Linear(4, 4).double()), _normal(3, 4), _chain("0", "elsewhere"))
    assert result.unmeasured == ("elsewhere",)
    with pytest.raises(ArgumentError, match="elsewhere: it was not measured; choose one of x, 0"):
        result["elsewhere"]


def test_output_forms() -> None:
    result = _measure(nn.Sequential(nn.Linear(4, 4).double()), _normal(3, 4), _chain("0"))
    data = json.loads(json.dumps(result.to_dict()))
    assert data["samples"] == 3
    assert data["rows"][1]["node"] == "0"
    assert np.shape(data["rows"][1]["c_measured"]) == (3, 1)
    assert result.table().row_count == 2
    assert repr(result).startswith("<measurement of 2 nodes: q off by")
    assert repr(result["0"]).startswith("<affine 0: q ")


def test_half_precision_models_are_measured_in_float64() -> None:
    model = initialize(nn.Sequential(nn.Linear(32, 32)).bfloat16())
    row = _measure(model, _normal(4, 32).bfloat16(), _chain("0"))["0"]
    assert row.c_measured.dtype == np.float64
    assert row.c_deviation < 0.02


class Twice(nn.Module):
    """Runs one of its layers twice and another never."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle, self.pair = nn.Linear(4, 4), nn.Linear(4, 4), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The layer applied twice."""
        return self.used(self.used(x))


def _with_nan() -> nn.Sequential:
    model: Any = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        model[1].weight[0, 0] = math.nan
    return model


def _dead() -> nn.Sequential:
    model: Any = nn.Sequential()
    model.add_module("0", nn.Linear(4, 4))
    model.add_module("act", nn.ReLU())
    with torch.no_grad():
        model[0].bias.fill_(-1e3)
    return model


REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...], str]] = {
    "not finite": (_with_nan, (3, 4), ("0", "1"), "^1: its values are not finite"),
    "zero vector": (_dead, (3, 4), ("0", "act"), "^act: the vector of sample 0 at location 0 is zero"),
    "twice": (Twice, (3, 4), ("used",), "^used: its module runs twice"),
    "never": (lambda: nn.Sequential(Twice().idle, nn.ModuleDict({"a": nn.ReLU()})), (3, 4), ("1.a",), "^1.a: "),
    "locations": (
        lambda: nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.MaxPool1d(2)), (3, 4, 8), ("0", "1"),
        r"^1: its locations \[4\] are not the input's \[8\]",
    ),
    "channels last": (lambda: nn.Sequential(nn.Linear(4, 4)), (3, 5, 4), ("0",), "^0: .*channels last"),
    "batch": (
        lambda: nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, 12))), (3, 4), ("1",),
        r"^1: it gives shape \[1, 12\] where",
    ),
    "tuple": (lambda: nn.Sequential(nn.LSTM(4, 4)), (3, 4), ("0",), "^0: it gives tuple"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_node_and_leave_no_trace(case: str) -> None:
    make, shape, names, message = REFUSED[case]
    model: Any = make().double()
    model.training = True
    if case == "never":
        model.forward = lambda x: x
    flags = [module.training for module in model.modules()]
    with pytest.raises(DataError, match=message):
        _measure(model, _normal(*shape), _chain(*names))
    assert not any(module._forward_hooks for module in model.modules())
    assert [module.training for module in model.modules()] == flags


def test_hooks_and_flags_after_success() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4)).double()
    model[1].eval()
    _measure(model, _normal(3, 4), _chain("0", "2"))
    assert not any(module._forward_hooks for module in model.modules())
    assert [module.training for module in model] == [True, False, True]
    assert all(p.grad is None for p in model.parameters())


BAD_INPUTS = [
    (torch.ones(4).double(), {}, DataError, r"x: .*\[N, C, \*locations\].*\[4\]"),
    (torch.ones(3, 4, dtype=torch.int64), {}, DataError, "x: .*torch.int64"),
    (torch.ones(0, 4).double(), {}, DataError, "x: "),
    (torch.ones(1, 4).double(), {}, DataError, "x: c values need two samples"),
    (torch.full((3, 4), math.inf).double(), {}, DataError, "x: its values are not finite"),
    (torch.zeros(3, 4).double(), {}, DataError, "x: the vector of sample 0 .* is zero.*pln"),
    (torch.ones(3, 4).double(), {"pairs": 0}, ArgumentError, "pairs: .*not 0"),
    (torch.ones(3, 4).double(), {"seed": -1}, ArgumentError, "seed: .*not -1"),
]


@pytest.mark.parametrize(("x", "options", "error", "message"), BAD_INPUTS)
def test_refused_inputs(x: Tensor, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _measure(nn.Sequential(nn.Linear(4, 4).double()), x, _chain("0"), **options)


def test_refused_graphs() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4).double()), _normal(3, 4)
    with pytest.raises(ArgumentError, match=r"Sequential: it has no architecture.*architecture=\.\.\."):
        measure(model, x)
    with pytest.raises(ArgumentError, match="chain: no node id is a module path"):
        _measure(model, x, _chain("other"))
    b = Builder("two")
    total = b.sum([b.add(Affine(), [b.input()]), b.add(Affine(), [b.input()])])
    with pytest.raises(ArgumentError, match="two: it has 2 inputs"):
        _measure(model, x, b.build(outputs=[total]))
