"""`fit`: learning, determinism, divergence, and what it refuses."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError
from qcmap.nn import History, fit, initialize


def _blobs(count: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three well separated Gaussian clouds in the plane."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    centres = torch.tensor([[0.0, 3.0], [3.0, -3.0], [-3.0, -3.0]])
    return centres[labels] + 0.5 * torch.randn(count, 2, generator=generator), labels


def _model() -> nn.Sequential:
    return initialize(nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 3)))


def test_learns_a_small_problem() -> None:
    history = fit(_model(), _blobs(), _blobs(90, seed=1), epochs=10, learning_rate=0.03, progress=False)
    assert history.status == "finished"
    assert history.test_accuracy is not None
    assert len(history.train_loss) == len(history.train_accuracy) == len(history.test_accuracy) == 10
    assert history.train_accuracy[-1] > 0.99
    assert history.test_accuracy[-1] > 0.97
    assert history.train_loss[-1] < history.train_loss[0]
    assert json.loads(json.dumps(history.to_dict()))["train_accuracy"] == list(history.train_accuracy)
    assert "finished after 10 epochs" in repr(history)


def test_recorded_accuracy_is_that_of_the_model_in_evaluation_mode() -> None:
    model, data = _model(), _blobs()
    history = fit(model, data, epochs=2, progress=False)
    assert history.test_accuracy is None
    with torch.no_grad():
        correct = model.eval()(data[0]).argmax(1) == data[1]
    assert history.train_accuracy[-1] == float(correct.double().mean())


def test_first_step_is_sgd_with_momentum_on_the_mean_loss() -> None:
    model = initialize(nn.Linear(2, 3))
    twin, data = copy.deepcopy(model), _blobs(20)
    fit(model, data, epochs=2, batch_size=20, learning_rate=0.1, momentum=0.5, progress=False)
    velocity = [torch.zeros_like(p) for p in twin.parameters()]
    for _ in range(2):
        gradient = torch.autograd.grad(nn.functional.cross_entropy(twin(data[0]), data[1]), list(twin.parameters()))
        velocity = [0.5 * v + g for v, g in zip(velocity, gradient, strict=True)]
        with torch.no_grad():
            for p, v in zip(twin.parameters(), velocity, strict=True):
                p -= 0.1 * v
    torch.testing.assert_close(model.weight, twin.weight)
    torch.testing.assert_close(model.bias, twin.bias)


def test_one_seed_gives_one_result_and_leaves_global_state_alone() -> None:
    models = [_model() for _ in range(3)]
    histories = []
    for model, seed in zip(models, (1, 1, 2), strict=True):
        torch.rand(7)
        state = torch.get_rng_state()
        histories.append(fit(model, _blobs(), epochs=2, batch_size=33, seed=seed, progress=False))
        assert torch.equal(torch.get_rng_state(), state)
    assert histories[0] == histories[1] != histories[2]
    first, second, third = (model.state_dict() for model in models)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)


def test_training_flags_come_back() -> None:
    model = _model()
    model[2].eval()
    fit(model, _blobs(30), epochs=1, progress=False)
    assert model.training
    assert not model[2].training


@pytest.mark.parametrize("batch_size", [16, 200], ids=["in a batch", "in the evaluation"])
def test_divergence_is_a_clean_end(batch_size: int) -> None:
    model = initialize(nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)))
    data = _blobs()
    history = fit(model, data, data, epochs=5, batch_size=batch_size, learning_rate=1e30, progress=False)
    assert history.status == "diverged"
    assert history.test_accuracy is not None
    assert len(history.train_loss) == len(history.train_accuracy) == len(history.test_accuracy) < 5
    figures = *history.train_loss, *history.train_accuracy, *history.test_accuracy
    assert all(math.isfinite(figure) for figure in figures)
    assert repr(history) == "<history diverged after 0 epochs>"


def test_finite_epochs_before_a_divergence_are_kept() -> None:
    class Failing(nn.Module):
        """Gives NaN from the given call in training mode on."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = initialize(nn.Linear(2, 3)), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            return self.inner(x) * (math.nan if self.calls > 5 else 1)

    history = fit(Failing(), _blobs(40), epochs=9, batch_size=20, progress=False)
    assert history.status == "diverged"
    assert len(history.train_loss) == 2


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    fit(_model(), _blobs(30), _blobs(30), epochs=2, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "2/2" in shown.err
    assert "train" in shown.err
    fit(_model(), _blobs(30), epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")


def test_device_is_where_the_model_goes() -> None:
    model = _model()
    fit(model, _blobs(30), epochs=1, progress=False, device="cpu")
    assert model[0].weight.device.type == "cpu"


X, Y = _blobs(30)
SETTINGS = [
    ({"epochs": 0}, "epochs: .*not 0"),
    ({"epochs": True}, "epochs: .*not True"),
    ({"batch_size": 2.5}, "batch_size: .*not 2.5"),
    ({"learning_rate": 0.0}, "learning_rate: .*not 0.0"),
    ({"learning_rate": math.nan}, "learning_rate: .*not nan"),
    ({"momentum": 1.0}, "momentum: .*not 1.0"),
    ({"seed": -3}, "seed: .*not -3"),
]


@pytest.mark.parametrize(("settings", "message"), SETTINGS)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fit(_model(), (X, Y), progress=False, **settings)


BAD_DATA = [
    ((X.double(), Y), "inputs are torch.float64 but the model is torch.float32"),
    ((X.long(), Y), "inputs are torch.int64"),
    ((X, Y.int()), "labels are one int64 class a row, not torch.int32"),
    ((X, Y[:, None]), r"labels .* of shape \[30, 1\]"),
    ((X, Y[:-1]), "do not go with 29 labels"),
    ((X[:0], Y[:0]), "do not go with 0 labels"),
    ((X[:, 0], Y), r"inputs of shape \[30\]"),
    ((X / 0, Y), "NaN or infinity"),
    ((X, Y + 1), "labels lie in 1 .. 3, but the model has classes 0 .. 2"),
    ((X, Y - 1), "labels lie in -1 .. 1"),
]


@pytest.mark.parametrize(("data", "message"), BAD_DATA)
@pytest.mark.parametrize("part", ["train", "test"])
def test_refused_data(data: tuple[Tensor, Tensor], message: str, part: str) -> None:
    model = _model()
    before = copy.deepcopy(model.state_dict())
    train, test = (data, None) if part == "train" else ((X, Y), data)
    with pytest.raises(DataError, match=f"{part}: .*{message}"):
        fit(model, train, test, progress=False)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training


def test_refused_models() -> None:
    with pytest.raises(ArgumentError, match="no trainable parameters"):
        fit(nn.ReLU(), (X, Y), progress=False)
    with pytest.raises(ArgumentError, match="no trainable parameters"):
        fit(_model().requires_grad_(False), (X, Y), progress=False)
    with pytest.raises(DataError, match=r"logits \[batch, classes\], but one example gives \[1, 3, 1\]"):
        fit(nn.Sequential(nn.Linear(2, 3), nn.Unflatten(1, (3, 1))), (X, Y), progress=False)


def test_history_is_frozen() -> None:
    history: Any = History((), (), None, "finished")
    with pytest.raises(AttributeError):
        history.status = "diverged"
