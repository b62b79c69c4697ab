"""`ShapedActivation`: values, precision, and life as a module."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from qcmap.activations import Activation, activation
from qcmap.errors import ActivationError, ArgumentError, DataError
from qcmap.nn import PlainActivation, ShapedActivation, activation_module
from qcmap.numeric import Transform

HALF = [torch.bfloat16, torch.float16]


def _transform(row: Activation, input_scale: float, input_shift: float) -> Transform:
    """Constants that send 0 to 0 with slope 1, like those that shaping finds for a nearly linear network."""
    at = np.array(input_shift)
    return Transform(row, input_scale, input_shift, -float(row.value(at)), 1 / (input_scale * float(row.first(at))))


def _exact(transform: Transform, u: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(transform(u.double().numpy()))


NAMES = ["softplus", "tanh", "swish", "gelu", "elu"]
U = torch.linspace(-4, 4, 501)


@pytest.mark.parametrize("name", NAMES)
def test_float64_value(name: str) -> None:
    transform = _transform(activation(name), 0.2, 0.3)
    y = ShapedActivation(transform)(U.double())
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, _exact(transform, U), rtol=0, atol=1e-13)


def _bound(transform: Transform, exact: torch.Tensor, rounding: float) -> torch.Tensor:
    """One rounding to the output dtype, and float32 rounding (2^-24) of phi, delta and their arguments times gamma."""
    size = 1 + abs(transform.output_shift) + exact.abs() / transform.output_scale
    return rounding * exact.abs() + 4 * 2.0**-24 * transform.output_scale * size


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.bfloat16, 2.0**-8), (torch.float16, 2.0**-11)])
def test_half_precision_is_float64_to_one_rounding(name: str, dtype: torch.dtype, rounding: float) -> None:
    transform = _transform(activation(name), 0.02, 0.3)
    u = U.to(dtype)
    exact = _exact(transform, u)
    bound = _bound(transform, exact, rounding)
    y = ShapedActivation(transform)(u)
    assert y.dtype == dtype
    assert bool(((y.double() - exact).abs() <= bound).all())
    # The check can fail: evaluated in half precision throughout, the cancellation shows.
    phi = activation_module(name)(transform.input_scale * u + transform.input_shift)
    naive = transform.output_scale * (phi + transform.output_shift)
    assert bool(((naive.double() - exact).abs() > 10 * bound).any())


@pytest.mark.parametrize("dtype", HALF)
def test_gradient_in_half_precision(dtype: torch.dtype) -> None:
    transform = _transform(activation("softplus"), 0.02, 0.3)
    u = U.to(dtype).requires_grad_()
    (slope,) = torch.autograd.grad(ShapedActivation(transform)(u).sum(), u)
    exact = transform.derivative(u.detach().double().numpy())
    assert slope.dtype == dtype
    np.testing.assert_allclose(slope.double().numpy(), exact, rtol=torch.finfo(dtype).eps)


def test_autocast_does_not_lower_the_precision() -> None:
    transform = _transform(activation("gelu"), 0.02, 0.3)
    model = nn.Sequential(nn.Linear(8, 8), ShapedActivation(transform))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        wide, hidden = model[1](U), model[0](torch.ones(3, 8))
        out = model(torch.ones(3, 8))
    assert wide.dtype == torch.float32
    assert hidden.dtype == out.dtype == torch.bfloat16
    exact = _exact(transform, hidden)
    assert bool(((out.double() - exact).abs() <= _bound(transform, exact, 2.0**-8)).all())


@pytest.mark.parametrize("name", ["softplus", "bentid", "gelu_tanh", "identity"])
@pytest.mark.parametrize("shaped", [True, False])
def test_survives_deepcopy_pickle_state_dict_and_compile(name: str, shaped: bool) -> None:
    transform = _transform(activation(name), 0.2, 0.3) if shaped else None
    module = activation_module(name, transform)
    y = module(U)
    assert list(module.parameters()) == []
    assert module.state_dict() == {}
    module.load_state_dict({})
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(U), y)
        assert repr(twin) == repr(module)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(module, backend="aot_eager", fullgraph=True)(U), y)


def test_moves_with_the_input() -> None:
    y = ShapedActivation(_transform(activation("tanh"), 0.2, 0.3))(torch.empty(3, 4, device="meta"))
    assert y.device.type == "meta"
    assert y.shape == (3, 4)


def test_repr_gives_the_constants() -> None:
    module = ShapedActivation(_transform(activation("leaky_relu", negative_slope=0.25), 1.0, 0.5))
    for part in ("leaky_relu", "negative_slope=0.25", "input_scale=1", "input_shift=0.5", "output_shift=-0.5"):
        assert part in repr(module)


def test_module_of_an_activation() -> None:
    row = activation("leaky_relu", negative_slope=0.25)
    chosen = activation_module("leaky_relu", _transform(row, 1.0, 0.0))
    assert isinstance(chosen, ShapedActivation)
    assert float(chosen(torch.tensor(-1.0))) == pytest.approx(-1.0)
    assert type(activation_module(row)) is PlainActivation
    assert float(activation_module(row)(torch.tensor(-1.0))) == -0.25


def test_refusals() -> None:
    tanh = activation("tanh")
    with pytest.raises(ArgumentError, match="made for tanh, not for relu"):
        activation_module("relu", _transform(tanh, 1.0, 0.0))
    with pytest.raises(DataError, match=r"floating-point tensors, not torch.int64"):
        ShapedActivation(_transform(tanh, 1.0, 0.0))(torch.arange(3))
    with pytest.raises(ActivationError, match="no torch counterpart"):
        activation_module(activation(lambda u: np.tanh(u)))
    with pytest.raises(ActivationError, match="no activation has this name"):
        activation_module("no_such")
