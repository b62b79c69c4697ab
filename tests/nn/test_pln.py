"""Per-location normalization."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qcmap.errors import ArgumentError, DataError
from qcmap.nn import pln, pln_inverse

# Rounding of every element moves q by at most twice the unit roundoff; float32 sums add a few more of their own.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5, torch.float16: 2.0**-9, torch.bfloat16: 2.0**-6}
VARIANTS = ["mean", "constant"]


def _q(y: Tensor, axis: int) -> Tensor:
    return y.double().square().mean(axis)


@st.composite
def _inputs(draw: st.DrawFn) -> tuple[Tensor, int, int | None]:
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    axes = list(range(len(shape)))
    channel = draw(st.sampled_from(axes))
    batch = draw(st.sampled_from([None, *(axis for axis in axes if axis != channel)]))
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    scale = draw(st.sampled_from([1e-4, 1.0, 1e3] if dtype == torch.float16 else [1e-30, 1.0, 1e30]))
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype), channel, batch


@settings(deadline=None)
@given(_inputs(), st.sampled_from(VARIANTS))
def test_every_location_has_q_value_one(case: tuple[Tensor, int, int | None], variant: Any) -> None:
    x, channel, batch = case
    y = pln(x, channel, variant, batch_axis=batch)
    assert y.dtype == x.dtype
    assert y.device == x.device
    assert y.shape == tuple(n + (axis == channel) for axis, n in enumerate(x.shape))
    q = _q(y, channel)
    torch.testing.assert_close(q, torch.ones_like(q), rtol=0, atol=TOLERANCE[x.dtype])


def test_formulas_of_the_paper() -> None:
    x = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norm2 = x.square().sum(1, keepdim=True)
    extras: dict[Any, Tensor] = {"mean": norm2.mean((2, 3), keepdim=True) / 4, "constant": torch.ones(1).double()}
    for variant, extra in extras.items():
        extra2 = extra.expand_as(norm2)
        expected = math.sqrt(5) * torch.cat([x, extra2.sqrt()], 1) / (norm2 + extra2).sqrt()
        torch.testing.assert_close(pln(x, variant=variant), expected, rtol=1e-13, atol=1e-14)
    # One location under "mean" (the paper's special case): sqrt(k) x / ||x||, then 1.
    y = pln(x[:, :, 0, 0])
    torch.testing.assert_close(y[:, :4], 2 * x[:, :, 0, 0] / norm2[:, :, 0, 0].sqrt(), rtol=1e-13, atol=0)
    torch.testing.assert_close(y[:, 4], torch.ones(3).double(), rtol=1e-13, atol=0)


def test_examples_do_not_mix_under_a_batch_axis() -> None:
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    alone = torch.stack([pln(example, 0, batch_axis=None) for example in x])
    torch.testing.assert_close(pln(x), alone)
    assert not torch.allclose(pln(x), pln(x, batch_axis=None))
    torch.testing.assert_close(pln(x.transpose(0, 1), 0, batch_axis=1), alone.transpose(0, 1))
    torch.testing.assert_close(pln(x.movedim(1, -1), -1), alone.movedim(1, -1))


@settings(deadline=None)
@given(_inputs())
def test_the_constant_variant_is_invertible(case: tuple[Tensor, int, int | None]) -> None:
    x, channel, batch = case
    if float(x.abs().max()) > 1e3:
        return  # the extra channel then leaves the dtype's range, as the paper warns
    back = pln_inverse(pln(x, channel, "constant", batch_axis=batch), channel)
    assert back.dtype == x.dtype
    torch.testing.assert_close(back, x, rtol=4 * torch.finfo(x.dtype).eps, atol=4 * torch.finfo(x.dtype).tiny)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient(variant: Any) -> None:
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: pln(z, variant=variant), (x,))


def test_a_zero_location_is_fine_and_a_zero_example_only_under_constant() -> None:
    x = torch.zeros(2, 3, 4)
    x[:, 0, 0] = 1
    torch.testing.assert_close(_q(pln(x), 1), torch.ones(2, 4).double())
    x[1] = 0
    with pytest.raises(DataError, match=r"zero at every location.*variant='constant'"):
        pln(x)
    torch.testing.assert_close(_q(pln(x, variant="constant"), 1), torch.ones(2, 4).double())


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (torch.ones(2, 3), {"variant": "median"}, ArgumentError, "no variant 'median'.*'mean' or 'constant'"),
        (torch.ones(2, 3), {"channel_axis": 2}, ArgumentError, r"channel_axis: .*\[2, 3\] has no axis 2"),
        (torch.ones(2, 3), {"channel_axis": True}, ArgumentError, "no axis True"),
        (torch.ones(2, 3), {"batch_axis": -3}, ArgumentError, "batch_axis: .* no axis -3"),
        (torch.ones(2, 3), {"batch_axis": -1}, ArgumentError, "axis 1 is the channel axis too"),
        (torch.ones(2, 3, dtype=torch.int64), {}, DataError, "floating-point tensors, not torch.int64"),
        (torch.tensor([[1.0, math.nan]]), {}, DataError, "NaN or infinity"),
        (torch.tensor([[1.0, math.inf]]), {}, DataError, "NaN or infinity"),
        (torch.ones(2, 0), {}, DataError, "no channels or no locations"),
        (torch.ones(2, 3, 0), {}, DataError, "no channels or no locations"),
    ],
)
def test_refusals(x: Tensor, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pln(x, **options)


def test_refusals_of_the_inverse() -> None:
    with pytest.raises(DataError, match="last channel is not positive"):
        pln_inverse(torch.tensor([[1.0, 0.0]]))
    with pytest.raises(DataError, match="two channels or more"):
        pln_inverse(torch.ones(2, 1))
    with pytest.raises(DataError, match="NaN"):
        pln_inverse(torch.tensor([[1.0, math.nan]]))
    with pytest.raises(ArgumentError, match="no axis 5"):
        pln_inverse(torch.ones(2, 2), 5)


def test_an_empty_batch_stays_empty() -> None:
    assert pln(torch.ones(0, 3, 4)).shape == (0, 4, 4)
