"""Random weights: norms kept, distributions right. Sampled checks fix their seed and state their false-alarm rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from qcmap.errors import ArgumentError
from qcmap.nn import gaussian_weight, initialize, orthogonal_weight

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
GEOMETRY: list[dict[str, Any]] = [
    {"kernel_size": 1},
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 5, "padding": 4},
    {"kernel_size": 5, "padding": 3, "stride": 3},
    {"kernel_size": 3, "dilation": 2, "padding": "same"},
    {"kernel_size": 3, "dilation": 2, "padding": 3, "stride": 2},
    {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
]


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _q(z: Tensor) -> Tensor:
    return z.square().mean(1)


def _centre_q(layer: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The input's q value under the central tap of every output location, and whether that tap is not padding."""
    q, inside = _q(x), torch.ones(y.shape[2:], dtype=torch.bool)
    for axis, (kernel, stride, dilation) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    ):
        reach = dilation * (kernel // 2)
        padding = reach if layer.padding == "same" else layer.padding[axis]
        at = torch.arange(y.shape[2 + axis]) * stride - padding + reach
        valid = (at >= 0) & (at < x.shape[2 + axis])
        q = q.index_select(1 + axis, at.clamp(0, x.shape[2 + axis] - 1))
        inside = inside & valid.reshape([-1 if a == axis else 1 for a in range(inside.ndim)])
    return q, inside


def test_wide_linear_keeps_the_q_value_of_every_input() -> None:
    layer = initialize(nn.Linear(64, 256, dtype=torch.float64), seed=1)
    x = torch.cat([_normal(200, 64), torch.eye(64).double(), 1e8 * _normal(5, 64), 1e-8 * _normal(5, 64)])
    with torch.no_grad():
        ratio = _q(layer(x)) / _q(x)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=1e-13)


def test_narrow_linear_keeps_the_q_value_on_average_over_directions() -> None:
    layer = initialize(nn.Linear(256, 64, dtype=torch.float64), seed=1)
    # For x uniform on a sphere in R^k, E x x^T = (||x||^2 / k) I, so E ||W x||^2 / m = ||W||_F^2 / m * ||x||^2 / k, and
    # the mean of q_out / q_in is ||W||_F^2 / m: exactly 1, since the m rows are orthonormal.
    assert float(layer.weight.detach().square().sum()) / 64 == pytest.approx(1, abs=1e-13)
    # For one x, ||W x||^2 / ||x||^2 is Beta(m/2, (k - m)/2), here Beta(32, 96), times k / m.
    x = _normal(4000, 256)
    with torch.no_grad():
        ratio = (_q(layer(x)) / _q(x)).numpy()
    beta = stats.beta(32, 96, scale=4)
    # Five standard errors: false-alarm rate 6e-7.
    assert abs(ratio.mean() - 1) < 5 * beta.std() / math.sqrt(len(ratio))
    # Kolmogorov-Smirnov at false-alarm rate 1e-6.
    assert stats.kstest(ratio, beta.cdf).pvalue > 1e-6


@pytest.mark.parametrize("geometry", GEOMETRY, ids=lambda g: ",".join(f"{k}={v}" for k, v in g.items()))
@pytest.mark.parametrize("dimensions", CONVOLUTIONS)
@pytest.mark.parametrize(("groups", "channels"), [(1, (4, 10)), (1, (6, 6)), (3, (6, 15))])
def test_delta_convolution_keeps_q_values_under_its_central_tap(
    dimensions: int, geometry: dict[str, Any], groups: int, channels: tuple[int, int]
) -> None:
    layer = CONVOLUTIONS[dimensions](*channels, groups=groups, dtype=torch.float64, **geometry)
    initialize(layer, seed=2)
    x = _normal(3, channels[0], *(9, 8, 7)[:dimensions])
    with torch.no_grad():
        y = layer(x)
    expected, inside = _centre_q(layer, x, y)
    assert bool(inside.any())
    torch.testing.assert_close(_q(y)[:, inside] / expected[:, inside], torch.ones(3, int(inside.sum())).double())
    if geometry.get("padding_mode") is None:
        assert float(_q(y)[:, ~inside].sum()) == 0


@pytest.mark.parametrize("dimensions", CONVOLUTIONS)
@pytest.mark.parametrize("groups", [1, 2])
def test_narrow_delta_convolution_keeps_q_values_on_average_over_directions(dimensions: int, groups: int) -> None:
    layer = CONVOLUTIONS[dimensions](12, 4, 3, padding=1, groups=groups, dtype=torch.float64)
    initialize(layer, seed=3)
    taps = layer.weight.detach().flatten(2)
    centre = taps.shape[2] // 2
    # As for nn.Linear, the mean of q_out / q_in is ||W||_F^2 / m, summed over the blocks: 4 orthonormal rows in all.
    assert float(taps[..., centre].square().sum()) / 4 == pytest.approx(1, abs=1e-13)
    assert float(taps.square().sum()) == pytest.approx(4, abs=1e-13)
    rows = taps[..., centre].reshape(groups, 4 // groups, 12 // groups)
    eye = torch.eye(4 // groups, dtype=torch.float64).expand(groups, -1, -1)
    torch.testing.assert_close(rows @ rows.mT, eye)
    x = _normal(2, 12, *(5, 4, 3)[:dimensions])
    by_hand = torch.cat(
        [torch.einsum("oi,ni...->no...", w, part) for w, part in zip(rows, x.chunk(groups, 1), strict=True)], 1
    )
    torch.testing.assert_close(layer(x).detach(), by_hand)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.lists(st.sampled_from([1, 3, 5]), max_size=2))
def test_orthogonality_of_every_block(rows: int, columns: int, groups: int, kernel: list[int]) -> None:
    weight = orthogonal_weight((groups * rows, columns, *kernel), groups=groups, dtype=torch.float64)
    flat = weight.flatten(2) if kernel else weight[..., None]
    assert float(flat.square().sum()) == pytest.approx(groups * rows, rel=1e-12)
    for block in flat[..., flat.shape[-1] // 2].reshape(groups, rows, columns):
        gram = block @ block.T if rows <= columns else block.T @ block * (columns / rows)
        torch.testing.assert_close(gram, torch.eye(min(rows, columns)).double(), rtol=0, atol=1e-13)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.lists(st.integers(1, 4), max_size=3))
def test_fan_in_weights_use_all_taps_and_even_kernels(rows: int, columns: int, kernel: list[int]) -> None:
    weight = orthogonal_weight((rows, columns, *kernel), delta=False, dtype=torch.float64)
    fan_in = weight.flatten(1)
    gram = fan_in @ fan_in.T if rows <= fan_in.shape[1] else fan_in.T @ fan_in * (fan_in.shape[1] / rows)
    torch.testing.assert_close(gram, torch.eye(gram.shape[0]).double(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", [orthogonal_weight, gaussian_weight])
@pytest.mark.parametrize("delta", [True, False])
def test_groups_have_blocks_of_their_own(make: Any, delta: bool) -> None:
    first, second = make((8, 4, 3), groups=2, delta=delta).chunk(2)
    assert not torch.allclose(first, second)


def _uncorrected(count: int, size: int) -> np.ndarray:
    """Orthogonal matrices by QR without the sign correction: not Haar."""
    return torch.linalg.qr(_normal(count, size, size, seed=5))[0].numpy()


def _drawn(count: int, size: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(6)
    draws = [orthogonal_weight((size, size), generator=generator, dtype=torch.float64) for _ in range(count)]
    return torch.stack(draws).numpy()


def _haar_violations(samples: np.ndarray) -> list[str]:
    """The Haar statistics that samples [count, n, n] violate; each has a false-alarm rate of at most 1e-6."""
    count, n = samples.shape[:2]
    found = []
    # tr W has mean 0 and variance 1 on O(n), and det W is a fair coin.
    if abs(np.trace(samples, axis1=1, axis2=2).mean()) > 5 / math.sqrt(count):
        found.append("trace")
    if stats.binomtest(int((np.linalg.det(samples) > 0).sum()), count).pvalue < 1e-6:
        found.append("determinant")
    for i, j in [(0, 0), (n - 1, 0), (0, n - 1), (n - 1, n - 1)]:
        entry = samples[:, i, j]
        if stats.binomtest(int((entry > 0).sum()), count).pvalue < 1e-6:
            found.append(f"sign of entry {i},{j}")
        # A coordinate of a uniform unit vector: (1 + w) / 2 is Beta((n-1)/2, (n-1)/2).
        if stats.kstest((1 + entry) / 2, stats.beta((n - 1) / 2, (n - 1) / 2).cdf).pvalue < 1e-6:
            found.append(f"entry {i},{j}")
    return found


def test_orthogonal_weights_are_haar_and_uncorrected_qr_is_not() -> None:
    assert _haar_violations(_drawn(2000, 5)) == []
    rejected = _haar_violations(_uncorrected(2000, 5))
    assert {"trace", "sign of entry 0,0", "entry 0,0"} <= set(rejected)


@pytest.mark.parametrize("shape", [(3, 6), (6, 3)])
def test_same_distribution_as_the_papers_sampler(shape: tuple[int, int]) -> None:
    count, short = 2000, min(shape)
    x = _normal(count, short, max(shape), seed=7)
    values, vectors = torch.linalg.eigh(x @ x.mT)
    paper = vectors @ (values**-0.5).diag_embed() @ vectors.mT @ x
    paper = math.sqrt(shape[0] / shape[1]) * paper.mT if shape[0] > shape[1] else paper
    generator = torch.Generator().manual_seed(8)
    ours = torch.stack([orthogonal_weight(shape, generator=generator, dtype=torch.float64) for _ in range(count)])
    probe = _normal(*shape, seed=9)
    for statistic in (lambda w: w[:, 0, 0], lambda w: w[:, -1, -1], lambda w: (w * probe).sum((1, 2))):
        # Two-sample Kolmogorov-Smirnov at false-alarm rate 1e-6.
        result: Any = stats.ks_2samp(statistic(ours).numpy(), statistic(paper).numpy())
        assert result.pvalue > 1e-6


@pytest.mark.parametrize(
    ("shape", "options", "variance"),
    [
        ((256, 128), {}, 1 / 128),
        ((256, 128), {"gain": math.sqrt(2)}, 2 / 128),
        ((96, 64, 3, 3), {"delta": False}, 1 / (64 * 9)),
        ((256, 32, 5), {"groups": 4}, 1 / 32),
        ((64, 32, 2, 4), {"groups": 2, "delta": False, "gain": 0.5}, 0.25 / (32 * 8)),
    ],
)
def test_gaussian_weights(shape: tuple[int, ...], options: dict[str, Any], variance: float) -> None:
    weight = gaussian_weight(shape, dtype=torch.float64, seed=4, **options)
    assert weight.shape == shape
    values = weight[weight != 0].numpy() / math.sqrt(variance)
    taps = math.prod(shape[2:]) if not options.get("delta", True) else 1
    assert len(values) == shape[0] * shape[1] * taps
    # Kolmogorov-Smirnov at 1e-6, and five standard errors of the variance (6e-7).
    assert stats.kstest(values, stats.norm.cdf).pvalue > 1e-6
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / len(values))


@pytest.mark.parametrize("make", [orthogonal_weight, gaussian_weight])
def test_seed_dtype_and_generator(make: Any) -> None:
    state = torch.get_rng_state()
    exact = make((6, 4, 3), seed=5, dtype=torch.float64)
    assert torch.equal(exact, make((6, 4, 3), seed=5, dtype=torch.float64))
    assert not torch.equal(exact, make((6, 4, 3), seed=6, dtype=torch.float64))
    assert make((6, 4, 3), seed=5).dtype == torch.get_default_dtype()
    assert torch.equal(make((6, 4, 3), seed=5, dtype=torch.bfloat16), exact.bfloat16())
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(make((6, 4, 3), generator=generator, dtype=torch.float64), exact)
    assert not torch.equal(make((6, 4, 3), generator=generator, dtype=torch.float64), exact)
    assert torch.equal(make((6, 4), gain=3.0, dtype=torch.float64), 3 * make((6, 4), dtype=torch.float64))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("make", [orthogonal_weight, gaussian_weight])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4,), {}, r"\[out, in/groups, \*kernel\]"),
        ((4, 0), {}, "positive sizes"),
        ((4, 2.0), {}, "positive sizes"),
        ((4, 2), {"groups": 3}, "groups must divide the 4 outputs"),
        ((4, 2), {"groups": 0}, "groups must divide"),
        ((4, 2), {"gain": -1.0}, "gain: .*positive"),
        ((4, 2), {"gain": math.nan}, "gain: .*positive"),
        ((4, 2), {"seed": -1}, "seed: .*not -1"),
        ((4, 2), {"seed": 0.5}, "seed: .*not 0.5"),
    ],
)
def test_refusals(make: Any, shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(shape, **options)


def test_signs_are_balanced_and_of_one_size():
    layer = initialize(nn.Linear(100, 400), "sign", seed=3)
    assert torch.equal(layer.weight.abs(), torch.full((400, 100), 0.1))
    assert abs(layer.weight.sign().mean().item()) < 6 / 200  # six standard errors
