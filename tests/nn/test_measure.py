"""`measure`: exact where theory is exact, close where it is a limit, and the errors that name a node."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import qcmap as qc
import qcmap.nn as qnn
from qcmap.architecture import Architecture, Builder
from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn import GraphNetwork, Measurement, initialize, measure, measure_seeds
from qcmap.numeric import PairValues, sampling_error

Array = NDArray[np.float64]


def _chain(*names: str, activation: str = "relu") -> Architecture:
    """Input "x", then affine nodes, and activations where the name begins with "act"."""
    b = Builder("chain")
    h = b.input("x")
    for name in names:
        h = b.activation(h, activation, name=name) if name.startswith("act") else b.affine(h, name=name)
    return b.build(outputs=[h])


def _measure(model: nn.Module, x: Tensor, architecture: Architecture, **options: Any) -> Measurement:
    return measure(model, x, architecture=architecture, **{"networks": 0, **options})


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
    assert (result.samples, result.pairs) == (6, 15)
    for row in result.rows:
        assert row.q_mean == pytest.approx(row.q_predicted, rel=1e-12)
        assert row.c_deviation < 1e-13
        # q values differ, so that only two locations are looked at, if there are so many.
        assert row.c_measured.shape == row.c_predicted.shape == (15, min(math.prod(shape[2:]), 2))


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
    plain = _measure(model, shared + own, identity)
    assert plain["affine3"].c_deviation > 0.1


def test_figures_are_those_of_the_definition() -> None:
    x = _normal(5, 3, 4)
    model = nn.Sequential(nn.Conv1d(3, 7, 1).double())
    z = model(x).detach()
    row = _measure(model, x, _chain("0"), pairs=999, locations=4)["0"]
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
    assert result["3"].c_measured.shape == (3, 1)


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
    assert result.table().row_count == result._repr_html_().count('<th scope="row">') == 2
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
        r"^1: its locations are \[4\] where the architecture has \[8\]",
    ),
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
    (torch.eye(4), {}, DataError, "x: Sequential does not run on it .*give the shape, dtype and device"),
    (torch.ones(3, 4, device="meta"), {}, DataError, "x: it has no data"),
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
    with pytest.raises(ArgumentError, match="chain: no node id is a module path"):
        _measure(model, x, _chain("other"))


# --- Where locations, inputs and pools are not one to one -------------------------------------------------------------


class Tower(nn.Module):
    """Two strided convolutions and a shortcut, with a max pool and a head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, width, 3, stride=2, padding=1)
        self.act1, self.act2, self.act3 = nn.Tanh(), nn.Tanh(), nn.Tanh()
        self.conv = nn.Conv2d(width, width, 3, stride=2)
        self.pool = nn.MaxPool2d(2)
        self.after, self.head = nn.Conv2d(width, width, 1), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Through all of it."""
        h = self.pool(self.act2(self.conv(self.act1(self.stem(x)))))
        return self.head(self.act3(self.after(h)).mean((2, 3)))


def _tower(width: int) -> tuple[Tower, Architecture]:
    b = Builder("tower")
    h = b.affine(b.input("x", channels=4), width, kernel=(3, 3), stride=2, padding=1, name="stem")
    h = b.activation(h, "tanh", name="act1")
    h = b.affine(h, width, kernel=(3, 3), stride=2, padding=0, name="conv")
    h = b.max_pool(b.activation(h, "tanh", name="act2"), (2, 2), name="pool")
    h = b.activation(b.affine(h, width, kernel=(1, 1), name="after"), "tanh", name="act3")
    return initialize(Tower(width).double(), seed=3), b.build(outputs=[h])


def test_strides_drop_locations_and_predictions_start_anew_after_pooling() -> None:
    model, architecture = _tower(400)
    x = _normal(6, 4, 13, 13) + 2 * _normal(1, 4, 13, 13, seed=5)
    result = _measure(model, x, architecture, pairs=5, locations=2, networks=16)
    assert not result.disagreeing
    assert not result["pool"].judged
    # Max pooling raises q; what follows starts from there, and is predicted well again.
    assert result["pool"].q_mean > 1.2 * result["pool"].q_predicted
    assert result["after"].q_mean == pytest.approx(result["after"].q_predicted, rel=1e-12)
    # Rolling the locations of the input makes every location stand for a neighbour of the right one.
    wrong = x.roll(1, dims=3)
    mean_gap = []
    for inputs in (x, wrong):
        model.stem.register_forward_pre_hook(lambda module, args, inputs=inputs: (inputs,))
        rows = _measure(model, x, architecture, pairs=5, locations=2)
        mean_gap.append(rows["act2"].c_deviation)
    assert mean_gap[1] > 3 * mean_gap[0]


def test_each_location_is_compared_with_the_one_it_stands_for() -> None:
    """Linear convolutions of orthogonal weights keep q and c exactly, at the locations that strides leave."""
    model = initialize(nn.Sequential(nn.Conv1d(6, 6, 3, stride=3), nn.Conv1d(6, 6, 1, stride=2)).double())
    b = Builder("strided")
    h = b.affine(b.input("x"), 6, kernel=(3,), stride=3, padding=0, name="0")
    architecture = b.build([b.affine(h, 6, kernel=(1,), stride=2, name="1")])
    x = _normal(5, 6, 40)
    result = _measure(model, x, architecture, locations=5)
    assert result["1"].q_measured.shape == (5, 5)
    expected = (
        x.square().mean(1).numpy()[:, 1:39:6]
    )  # centres 1, 4, ..., 37 of the first layer, every other one of them
    assert all((np.abs(expected - column[:, None]) < 1e-12).all(0).any() for column in result["1"].q_measured.T)
    for row in result.rows:
        assert row.c_deviation < 1e-13
        np.testing.assert_allclose(row.q_mean, row.q_predicted, rtol=1e-12)
    b = Builder("padded")
    wrong = b.build([b.affine(b.input("x"), 6, kernel=(3,), stride=3, padding=1, name="0")])
    with pytest.raises(DataError, match=r"^0: its locations are \[13\] where the architecture has \[14\]"):
        _measure(model, x, wrong)


def test_two_inputs_and_channels_last() -> None:
    class Pair(nn.Module):
        """One linear layer for each of two token sequences."""

        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            self.act = nn.Tanh()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            """The sum, which is no module."""
            return self.out(self.act(0.6 * self.left(a) + 0.8 * self.right(b)))

    b = Builder("pair")
    total = b.sum(
        [b.affine(b.input("a"), 8, name="left"), b.affine(b.input("b"), 8, name="right")], [0.6, 0.8], name="s"
    )
    architecture = b.build([b.affine(b.activation(total, "tanh", name="act"), 8, name="out")])
    model = initialize(Pair().double())
    x, y = _normal(4, 5, 8), 3 * _normal(4, 5, 8, seed=1)
    result = _measure(model, (x, y), architecture, locations=5)
    assert result.unmeasured == ("s",)
    np.testing.assert_allclose(result["left"].q_measured, x.square().mean(2))
    np.testing.assert_allclose(result["right"].q_measured, y.square().mean(2))
    assert result["right"].c_deviation < 1e-13
    by_name = _measure(model, {"b": y, "a": x}, architecture, locations=5)
    assert by_name["out"].c_deviation == result["out"].c_deviation
    with pytest.raises(DataError, match="there are 1 tensors for the inputs"):
        _measure(model, x, architecture)
    with pytest.raises(DataError, match=r"its inputs have \[3, 4\] samples"):
        _measure(model, (x, y[:3]), architecture)


class Written(nn.Module):
    """Sums, activations and permutations written in forward; square Linear layers on maps of as many locations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix = nn.Conv1d(6, 6, 3, padding=1), nn.Linear(6, 6)
        self.short = nn.Conv1d(6, 6, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """A residual branch with its channels last."""
        h = self.stem(x)
        r = self.mix(torch.tanh(h).transpose(1, 2)).transpose(1, 2)
        return self.short(0.6 * r + 0.8 * h)


def test_a_model_without_a_graph_is_traced() -> None:
    """Every node against the same tensors written out by hand."""
    model = initialize(Written().double(), seed=4)
    x = _normal(4, 6, 6)
    result = measure(model, x, networks=0, locations=6)
    assert not result.unmeasured
    h = model.stem(x)
    r = model.mix(torch.tanh(h).transpose(1, 2)).transpose(1, 2)
    s = 0.6 * r + 0.8 * h
    by_hand = {"stem": h, "tanh": torch.tanh(h), "mix": r, "short": model.short(s)}
    for node, z in by_hand.items():
        np.testing.assert_allclose(result[node].q_measured, z.detach().square().mean(1), rtol=1e-12)
    (total,) = (row for row in result.rows if row.op == "sum")
    np.testing.assert_allclose(total.q_measured, s.detach().square().mean(1), rtol=1e-12)
    assert result["stem"].c_deviation < 1e-13
    assert result["tanh"].c_deviation > 1e-3


# --- Sampling errors -------------------------------------------------------------------------------------------------


def _deep(width: int, seed: int, weights: str, scale: float = 1.0) -> tuple[GraphNetwork, Tensor]:
    b = Builder("deep")
    h = b.affine(b.input("x", channels=16), width, name="stem")
    for k in range(4):
        g = b.affine(b.activation(h, "tanh"), width)
        h = b.sum([h, g], [0.6, 0.8], name=f"sum{k}")
    network = GraphNetwork(b.build([b.activation(h, "tanh")]), weights=weights, seed=seed).double()
    with torch.no_grad():
        network.stem.weight *= scale
    x = _normal(8, 16, seed=seed) + _normal(1, 16, seed=99)
    return network, 4 * x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_networks_that_the_maps_describe_are_seldom_flagged_and_others_are(weights: Any) -> None:
    """40 networks at a false-alarm rate of at most 1 in 10 each: more than 13 alarms have probability 1e-4 at most."""
    alarms, scores, missed = 0, [], 0
    for seed in range(40):
        network, x = _deep(96, seed, weights)
        result = measure(network, x, weights=weights, networks=12, false_alarm=0.1, seed=seed)
        alarms += bool(result.disagreeing)
        scores += [row.scores.q for row in result.rows if row.judged]
        if seed < 5:
            wrong, _ = _deep(96, seed, weights, scale=1.8)
            missed += not measure(wrong, x, weights=weights, networks=16, false_alarm=0.1).disagreeing
    assert alarms <= 13
    # Scores have mean square 1 if the errors are right, or less, if there are more samples than the errors are for.
    assert 0.7 < np.mean(np.square(scores)) < 1.4
    assert missed == 0


def test_errors_are_those_of_theory() -> None:
    """Against the expansion in 1/width of `sampling_error` for one input pair: q and c of a chain."""
    arch = qc.zoo.mlp(6, width=300, activation="tanh")
    network = GraphNetwork(_with_input(arch, 20), seed=1).double()
    first, second = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 2)))[0].T * math.sqrt(20)
    x = torch.as_tensor(np.stack([first, 0.5 * first + math.sqrt(0.75) * second]))
    result = measure(network, x, networks=400)
    theory = sampling_error(arch, 0.5)
    found = [result[node].errors for node in theory.nodes]
    # Four percent is the sampling error of a root mean square over 400.
    np.testing.assert_allclose([error.c for error in found], theory.c_std, rtol=0.16)
    assert all(error.tilt < 1e-5 for error in found)


def _with_input(arch: Architecture, channels: int) -> Architecture:
    nodes = [
        replace(node, op=replace(node.op, channels=channels)) if node.id in arch.inputs else node for node in arch.nodes
    ]
    return Architecture(arch.name, tuple(nodes), arch.outputs)


def test_rounding_is_no_disagreement() -> None:
    """Square orthogonal layers keep q and c: there is nothing but rounding, in whichever dtype."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        model = initialize(nn.Sequential(*(nn.Linear(64, 64) for _ in range(5))).to(dtype))
        result = _measure(model, _normal(6, 64).to(dtype), _chain(*"01234"), networks=8, weights="orthogonal")
        assert not result.disagreeing
    bent = nn.Sequential(*(nn.Linear(64, 64) for _ in range(5))).double()
    initialize(bent)
    with torch.no_grad():
        bent[2].weight *= 1 + 1e-4
    result = _measure(bent, _normal(6, 64), _chain(*"01234"), networks=8, weights="orthogonal")
    assert [row.node for row in result.disagreeing] == ["2", "3", "4"]


def test_narrow_networks_that_die_are_named() -> None:
    model = nn.Sequential()
    model.add_module("a", nn.Linear(4, 2))
    model.add_module("act", nn.ReLU())
    with torch.no_grad():
        model.a.bias.fill_(10)
    with pytest.raises(NumericalError, match="act: a random network of its width"):
        _measure(model.double(), _normal(6, 4), _chain("a", "act"), networks=64)


# --- Many seeds ------------------------------------------------------------------------------------------------------


def _family(scale: float = 1.0) -> Callable[[int], nn.Module]:
    return lambda seed: _deep(64, seed, "orthogonal", scale)[0]


def test_means_over_seeds() -> None:
    _, x = _deep(64, 0, "orthogonal")
    result = measure_seeds(_family(), x, seeds=12, pairs=10)
    # 15 nodes with two scores each at a false-alarm rate of 0.01 for all.
    assert not result.disagreeing
    single = [measure(_family()(seed), x, networks=0, pairs=10) for seed in range(12)]
    draws = np.array([m.rows[-1].q_mean for m in single])
    last = result.rows[-1]
    assert last.q.mean == pytest.approx(draws.mean(), rel=1e-12)
    assert last.q.error == pytest.approx(draws.std(ddof=1) / math.sqrt(12), rel=1e-9)
    assert last.c.mean == pytest.approx(np.mean([m.rows[-1].c_measured.mean() for m in single]), rel=1e-12)
    assert last.q.score == pytest.approx((last.q.mean - last.q.predicted) / last.q.error)
    assert result.worst >= abs(last.q.score)
    assert 0 < result.largest_error < 0.1
    data = json.loads(json.dumps(result.to_dict()))
    assert data["seeds"] == 12
    assert result.table().row_count == result._repr_html_().count('<th scope="row">') == len(result.rows)
    assert repr(result).startswith(f"<measurement of {len(result.rows)} nodes over 12 seeds: at most")
    wrong = measure_seeds(_family(1.3), x, seeds=12, pairs=10)
    assert wrong.disagreeing
    with pytest.raises(ArgumentError, match=r"seeds: .*not 2"):
        measure_seeds(_family(), x, seeds=2)
    with pytest.raises(ArgumentError, match="build: its models have different nodes"):
        measure_seeds(_wider, x, seeds=3)


def _wider(seed: int) -> nn.Module:
    b = Builder("other")
    h = b.affine(b.input("x", channels=16), 8)
    for _ in range(seed):
        h = b.affine(h, 8)
    return GraphNetwork(b.build([h])).double()


class _Normed(nn.Module):
    """Orthogonal layers around a norm, as a module or a call."""

    def __init__(self, norm: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 64).double(), nn.Linear(64, 64).double()
        initialize(self, seed=3)
        self.norm = norm.double() if isinstance(norm, nn.Module) else norm

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)))


_F = nn.functional
_NORMS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "rms": (nn.RMSNorm(64, eps=0.5), 0.5),
    "rms, torch's own": (nn.RMSNorm(64), 2.0**-52),
    "rms, called": (lambda x: _F.rms_norm(x, (64,), None, 0.5), 0.5),
    "rms, by name": (lambda x: _F.rms_norm(x, (64,), eps=0.25), 0.25),
    "layer": (nn.LayerNorm(64, eps=0.5), 0.5),
    "layer, called": (lambda x: _F.layer_norm(x, (64,), None, None, 0.25), 0.25),
    "layer, torch's own": (lambda x: _F.layer_norm(x, (64,)), 1e-5),
    "channels": (qnn.ChannelNorm(64, eps=0.5), 0.5),
}


@pytest.mark.parametrize("case", _NORMS)
def test_epsilons_of_norms_are_in_the_predictions(case: str) -> None:
    """q/(q + epsilon), to rounding where nothing else is random: rms norms between orthogonal layers."""
    norm, epsilon = _NORMS[case]
    x = 2 * _normal(6, 64)
    result = measure(_Normed(norm), x, networks=16, weights="orthogonal")
    q = x.square().mean(1)
    for row in result.rows[2:]:
        assert row.q_predicted == pytest.approx(float((q / (q + epsilon)).mean()), rel=1e-12)
        if case.startswith("rms"):
            assert row.q_mean == pytest.approx(row.q_predicted, rel=1e-12)
            assert row.c_deviation < 1e-13
    assert not result.disagreeing


def test_an_epsilon_that_a_graph_of_another_origin_does_not_show_is_that_of_its_module() -> None:
    b = Builder("by hand")
    h = b.layer_norm(b.affine(b.input("x"), name="first"), centre=False, name="norm")
    arch = b.build([b.affine(h, name="last")])
    model = _Normed(nn.RMSNorm(64, eps=0.5))
    row = _measure(model, 2 * _normal(6, 64), arch)["norm"]
    assert row.q_mean == pytest.approx(row.q_predicted, rel=1e-12)
    assert row.q_predicted < 0.95
    made = GraphNetwork(_with_input(Architecture("made", tuple(
        replace(node, op=replace(node.op, channels=64)) if node.op.kind == "affine" else node for node in arch.nodes
    ), arch.outputs), 64)).double()  # fmt: skip
    row = measure(made, 2 * _normal(6, 64), networks=0)["norm"]
    assert row.q_predicted == 1
    assert row.q_mean == pytest.approx(1, rel=1e-12)


def test_c_maps_behind_epsilons_take_one_q_value() -> None:
    """q values differ by epsilon there: c values at their middle are those at each of them, to less than epsilon."""
    b = Builder("norm")
    h = b.activation(b.affine(b.layer_norm(b.affine(b.input("x")), name="norm")), "softplus", name="act")
    maps = qc.network_maps(b.build([h]))
    c, q = np.array([0.9, 0.1, -0.5]), np.array([0.5, 1.0, 3.0])
    given = {"x": PairValues(c, q, q)}
    near, exact = maps.propagate_from(given, epsilons={"norm": 1e-5}), maps.propagate_from(given)
    np.testing.assert_allclose(near["norm"].q1, q / (q + 1e-5), rtol=1e-15)
    np.testing.assert_allclose(near["act"].q1, qc.local_maps("softplus").q(q / (q + 1e-5)), rtol=1e-14)
    assert 1e-9 < np.abs(near["act"].c - exact["act"].c).max() < 1e-5
    far = maps.propagate_from(given, epsilons={"norm": 0.1})["act"].c
    values = q / (q + 0.1)
    np.testing.assert_allclose(far, qc.local_maps("softplus").c(c, values, values), rtol=1e-12)
