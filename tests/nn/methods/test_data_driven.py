"""LSUV and WLI: variances and means on the data, what stays as it was, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn import initialize, methods


def _data(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1


def _convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(16, 8, 3, 2, groups=2), nn.Tanh(), nn.Flatten(),
        nn.Linear(32, 10),
    ).double()  # fmt: skip


class Residual(nn.Module):
    """Layers called in another order than they are registered, one only by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.first, self.other = nn.Linear(7, 5), nn.Linear(5, 7), nn.Linear(4, 7)
        self.double()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.last(torch.relu(self.first(x) + self.other(y)))


def _outputs(module: nn.Module, *data: Tensor) -> dict[str, Tensor]:
    """What every layer gives, [channels, samples], in eval mode."""
    found: dict[str, Tensor] = {}

    def hook(name: str, axis: int) -> Any:
        return lambda layer, inputs, output: found.update({name: output.detach().movedim(axis, 0).flatten(1)})

    handles = [
        part.register_forward_hook(hook(name, 1))
        for name, part in module.named_modules()
        if isinstance(part, (nn.Linear, nn.Conv2d))
    ]
    module.eval()(*data)
    for handle in handles:
        handle.remove()
    return found


CASES: dict[str, tuple[Any, tuple[Tensor, ...]]] = {
    "convolutional": (_convolutional, (_data(64, 3, 8, 8),)),
    "residual": (Residual, (_data(50, 5), _data(50, 4, seed=1))),
}


@pytest.mark.parametrize("case", CASES)
def test_lsuv_gives_every_layer_variance_1_on_the_data(case):
    make, data = CASES[case]
    module = methods.lsuv(make(), data if len(data) > 1 else data[0], seed=2)
    outputs = _outputs(module, *data)
    assert len(outputs) == 3
    for name, rows in outputs.items():
        assert abs(float(rows.var(correction=0)) - 1) < 1e-12, name
    fresh = initialize(make(), seed=2)
    for part, plain in zip(module.modules(), fresh.modules(), strict=True):
        if hasattr(part, "weight"):
            drawn = plain.weight.detach()
            ratio = (part.weight.detach() / drawn)[drawn != 0]
            assert float(ratio.std()) < 1e-12 * float(ratio.mean())  # one factor for the whole layer
            assert not part.bias.any()


@pytest.mark.parametrize("case", CASES)
def test_wli_gives_every_channel_mean_0_and_variance_1(case):
    make, data = CASES[case]
    for name, rows in _outputs(methods.wli(make(), data if len(data) > 1 else data[0]), *data).items():
        assert float(rows.mean(1).abs().max()) < 1e-12, name
        assert float((rows.var(1, correction=0) - 1).abs().max()) < 1e-12, name


def test_keyword_data_flags_and_global_state():
    x, y = CASES["residual"][1]
    module, state = Residual(), torch.get_rng_state()
    module.first.eval()
    methods.lsuv(module, {"y": y, "x": x}, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert module.last.training
    assert not module.first.training
    assert torch.equal(module.last.weight, methods.lsuv(Residual(), (x, y), seed=2).last.weight)
    assert not module.first._forward_hooks


def test_weights_that_are_there_are_kept_but_for_their_scale():
    layer = nn.Linear(5, 4, dtype=torch.float64)
    before, data = layer.weight.detach().clone(), _data(30, 5)
    methods.lsuv(layer, data, weights=None)
    factor = (data @ before.T).std(correction=0)
    assert torch.allclose(layer.weight, before / factor, rtol=1e-13)
    assert not layer.bias.any()


def test_single_precision_reaches_the_tolerance():
    module = methods.wli(_convolutional().float(), CASES["convolutional"][1][0].float())
    for rows in _outputs(module, CASES["convolutional"][1][0].float()).values():
        assert float((rows.double().var(1, correction=0) - 1).abs().max()) < 1e-5


def test_a_layer_that_is_called_twice_is_measured_on_both_calls():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.head = nn.Linear(5, 5, dtype=torch.float64), nn.Linear(5, 3, dtype=torch.float64)
            self.seen: list[Tensor] = []

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            self.seen = [self.shared(x), self.shared(y)]
            return self.head(torch.tanh(self.seen[0]) + torch.tanh(self.seen[1]))

    x, y = _data(40, 5), 0.1 * _data(40, 5, seed=3)
    module = methods.lsuv(Twice(), (x, y))
    out = module(x, y)
    assert abs(float(torch.cat(module.seen).detach().var(correction=0)) - 1) < 1e-3
    assert abs(float(out.detach().var(correction=0)) - 1) < 1e-3


def _tied() -> nn.Sequential:
    a, b = nn.Linear(5, 5, dtype=torch.float64), nn.Linear(5, 5, dtype=torch.float64)
    b.weight = a.weight
    return nn.Sequential(a, nn.Tanh(), b)


def _without_bias() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 5, dtype=torch.float64), nn.Linear(5, 5, bias=False, dtype=torch.float64))


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = (nn.Linear(5, 5, dtype=torch.float64) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def _linear() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 5, dtype=torch.float64))


REFUSED: dict[str, tuple[str, Any, Tensor, dict[str, Any], type[Exception], str]] = {
    "constant": ("lsuv", _linear, torch.zeros(9, 5).double(), {}, DataError, "0: its output on the data does not vary"),
    "another shape": ("lsuv", _linear, _data(9, 4), {}, DataError, "data: Sequential does not run on it"),
    "one example": ("wli", _linear, _data(1, 5), {}, DataError, "0: .*does not vary"),
    "infinite": ("lsuv", _linear, torch.full((9, 5), torch.inf).double(), {}, DataError, "0: .*has a NaN or infinity"),
    "idle": ("lsuv", Idle, _data(9, 5), {}, DataError, "idle: the model does not call it"),
    "tied": ("lsuv", _tied, _data(9, 5), {}, NumericalError, r"[02]: after 10 passes .* still"),
    "no bias": ("wli", _without_bias, _data(9, 5), {}, ArgumentError, "1: within-layer initialization sets biases"),
    "tolerance": ("wli", _linear, _data(9, 5), {"tolerance": 0}, ArgumentError, "tolerance: "),
    "passes": ("lsuv", _linear, _data(9, 5), {"passes": 0}, ArgumentError, "passes: "),
    "weights": ("lsuv", _linear, _data(9, 5), {"weights": "he"}, ArgumentError, "weights: "),
    "embedding": ("lsuv", lambda: nn.Embedding(3, 4), _data(9, 5), {}, ArgumentError, "Embedding has its own"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_path_and_change_nothing(case):
    method, make, data, options, error, message = REFUSED[case]
    module = make()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(error, match=message):
        getattr(methods, method)(module, data, **options)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
