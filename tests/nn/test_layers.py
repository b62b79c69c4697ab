"""Normalized sums, weighted mean pooling and PLN as modules."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError
from qcmap.nn import PLN, LazyWeightedMeanPool, NormalizedSum, WeightedMeanPool, initialize, pln

SEED = 5


def sample(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(SEED))


class Pair(nn.Module):
    """A sum of two branches of one input, so that every layer here takes one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = NormalizedSum([0.6, 0.8])

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(x, x.flip(0))


LAYERS: dict[str, tuple[nn.Module, Tensor]] = {
    "sum": (Pair(), sample(3, 4)),
    "pool": (WeightedMeanPool((5, 6), seed=1), sample(2, 3, 5, 6)),
    "pool, kept axes": (WeightedMeanPool(5, seed=1, keepdim=True, trainable=False), sample(2, 3, 5)),
    "pln": (PLN(), sample(2, 3, 5, 6)),
    "pln, constant": (PLN(-1, "constant"), sample(2, 5, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_survives_pickle_deepcopy_state_dict_compile_and_export(name: str) -> None:
    layer, x = LAYERS[name]
    y = layer(x)
    assert torch.equal(copy.deepcopy(layer)(x), y)
    twin = pickle.loads(pickle.dumps(layer))
    for parameter in twin.parameters():
        parameter.data.zero_()
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin(x), y)
    assert repr(twin) == repr(layer)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), y)
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), y)


def test_sum() -> None:
    x, y, z = sample(3, 2, 4, 5)
    torch.testing.assert_close(NormalizedSum([0.6, -0.8])(x, y), 0.6 * x - 0.8 * y)
    third = 1 / math.sqrt(3)
    torch.testing.assert_close(NormalizedSum([third] * 3)(x, y, z), third * (x + y + z))


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.6, 0.8001], [math.nan, 1.0], [math.inf, 0.0]])
def test_sums_that_are_not_normalized_are_refused(weights: list[float]) -> None:
    with pytest.raises(ArgumentError, match="squares of the weights of a normalized sum are 1 together, not"):
        NormalizedSum(weights)


def test_refusals_of_sums() -> None:
    with pytest.raises(ArgumentError, match="at least two branches, not 1"):
        NormalizedSum([1.0])
    with pytest.raises(DataError, match="2 weights, but got 1 branches"):
        NormalizedSum([0.6, 0.8])(sample(2))
    with pytest.raises(DataError, match=r"one shape, not \[2, 3\] and \[1, 3\]"):
        NormalizedSum([0.6, 0.8])(sample(2, 3), sample(1, 3))


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5)])
def test_pool_is_the_weighted_sum_over_locations(shape: tuple[int, ...]) -> None:
    pool = WeightedMeanPool(shape, seed=3)
    x = sample(2, 4, *shape)
    expected = (x * pool.weight).sum(tuple(range(2, x.ndim)))
    torch.testing.assert_close(pool(x), expected)
    torch.testing.assert_close(pool(x[0]), expected[0])
    kept = WeightedMeanPool(shape, seed=3, keepdim=True)(x)
    assert kept.shape == (2, 4, *(1,) * len(shape))
    torch.testing.assert_close(kept.flatten(1), expected)
    with torch.no_grad():
        pool.weight.fill_(1 / math.prod(shape))
    torch.testing.assert_close(pool(x), x.flatten(2).mean(2))


def test_pool_keeps_mean_q_values_in_expectation() -> None:
    """Over 4,000 draws: E ||Z w||^2 = ||Z||^2 / locations, whose standard error is measured (appendix E)."""
    z = sample(3, 4, 4).double()
    random = torch.Generator().manual_seed(0)
    pool = WeightedMeanPool((4, 4)).double()
    norms = torch.empty(4000, dtype=torch.float64)
    for k in range(len(norms)):
        pool.draw(random)
        norms[k] = pool(z).square().sum().detach()
    standard_error = float(norms.std()) / math.sqrt(len(norms))
    assert abs(float(norms.mean()) - float(z.square().sum()) / 16) < 4 * standard_error
    assert standard_error < 0.03 * float(z.square().sum()) / 16


def test_pool_takes_a_generator_and_leaves_torchs_own_alone() -> None:
    state = torch.get_rng_state()
    random = torch.Generator().manual_seed(7)
    first, second = WeightedMeanPool(9, generator=random), WeightedMeanPool(9, generator=random)
    assert not torch.equal(first.weight, second.weight)
    assert torch.equal(first.weight, WeightedMeanPool(9, seed=7).weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert not WeightedMeanPool(9, trainable=False).weight.requires_grad


def test_initialize_draws_pool_weights_after_all_others() -> None:
    model = nn.Sequential(WeightedMeanPool(9), nn.Linear(3, 3))
    alone = initialize(nn.Linear(3, 3), seed=4)
    initialize(model, seed=4)
    assert torch.equal(model[1].weight, alone.weight)
    assert not torch.equal(model[0].weight, WeightedMeanPool(9).weight)
    with pytest.raises(ArgumentError, match="no memory yet"):
        initialize(nn.Sequential(LazyWeightedMeanPool()))


def test_lazy_pool_becomes_a_pool_at_the_first_map() -> None:
    lazy = LazyWeightedMeanPool(seed=2, keepdim=True)
    x = sample(2, 3, 4, 5)
    parameter = lazy.weight
    y = lazy(x)
    assert type(lazy) is WeightedMeanPool
    assert lazy.weight is parameter
    torch.testing.assert_close(y, WeightedMeanPool((4, 5), seed=2, keepdim=True)(x))
    fresh = LazyWeightedMeanPool(keepdim=True)
    fresh.load_state_dict(lazy.state_dict())
    torch.testing.assert_close(fresh(x), y)


@pytest.mark.parametrize("locations", [(), 0, (3, -1), (2.0,), True])
def test_refused_locations(locations: Any) -> None:
    with pytest.raises(ArgumentError, match="a positive extent along each axis"):
        WeightedMeanPool(locations)


def test_refused_maps() -> None:
    with pytest.raises(DataError, match=r"map of \[3, 3\] locations, but the input is \[2, 4, 3, 4\]"):
        WeightedMeanPool((3, 3))(sample(2, 4, 3, 4))
    with pytest.raises(DataError, match=r"but the input is \[3, 3\]"):
        WeightedMeanPool((3, 3))(sample(3, 3))
    with pytest.raises(DataError, match=r"a map is \[batch, channels"):
        LazyWeightedMeanPool()(sample(3, 3))


def test_pln_module() -> None:
    x = sample(2, 3, 4, 5)
    for variant in ("mean", "constant"):
        torch.testing.assert_close(PLN(variant=variant)(x), pln(x, variant=variant))
    torch.testing.assert_close(PLN(0, batch_axis=None)(x[0]), pln(x[0], 0, batch_axis=None))
    with pytest.raises(ArgumentError, match="no variant 'median'"):
        PLN(variant="median")  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="NaN or infinity"):
        PLN()(torch.full((2, 3), math.nan))
