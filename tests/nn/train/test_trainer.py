"""The engine: what it computes, stopping and going on, records, and what it refuses."""

from __future__ import annotations

import copy
import json
import math
import resource
from typing import Any

import pytest
import torch
from torch import nn

from qcmap.errors import ArgumentError, DataError, QCMapError
from qcmap.nn.train import LOSSES, Choice, Loss, Moment, Settings, Splits, TensorExamples, Trainer
from qcmap.nn.train._watch import Hits
from tests.nn.train.nets import blobs, double_net, double_splits, net, settings, splits


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, tensors included."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def rows(folder) -> list[dict[str, Any]]:
    """The records of a run without its times."""
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


OPTIMIZERS = [
    Choice("sgd", learning_rate=0.05, momentum=0.9, nesterov=True),
    Choice("adam", learning_rate=0.01),
    Choice("adamw", learning_rate=0.01, weight_decay=0.1),
    Choice("kfac", learning_rate=0.01, inverse_every=4),
    pytest.param(Choice("shampoo", learning_rate=0.01), marks=pytest.mark.filterwarnings("ignore")),
    pytest.param(Choice("soap", learning_rate=0.01), marks=pytest.mark.filterwarnings("ignore")),
]


STOPS = {"sgd": ((1,), (9, 18), (5, 13, 26))}
"""After a first step, at ends of epochs, and elsewhere; others stop once, in the middle of an epoch."""


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda choice: choice.name)
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(optimizer, tmp_path):
    chosen = settings(optimizer=optimizer, checkpoint_every=1)
    Trainer(net(), splits(), chosen, output=tmp_path / "whole").train()
    whole = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=False)
    for stops in STOPS.get(optimizer.name, ((13,),)):
        folder = tmp_path / "-".join(map(str, stops))
        for until in (*stops, None):
            # Another seed: the weights must come from the checkpoint.
            trainer = Trainer(net(seed=0 if until == stops[0] else 5), splits(), chosen, output=folder, resume=True)
            trainer.train(until)
        assert rows(folder) == rows(tmp_path / "whole")
        found = torch.load(folder / "checkpoint.pt", weights_only=False)
        objects = {"shampoo": ("optimizer",)}.get(optimizer.name, ())
        assert same(*({k: v for k, v in state.items() if k not in objects} for state in (found, whole)))


def test_lines_after_the_checkpoint_and_torn_ones_are_taken_back(tmp_path):
    chosen = settings(checkpoint_every=4)
    for folder in ("whole", "broken"):
        Trainer(net(), splits(), chosen, output=tmp_path / folder).train(None if folder == "whole" else 11)
    with open(tmp_path / "broken" / "records.jsonl", "a") as stream:
        stream.write('{"kind": "epo')
    result = Trainer(net(), splits(), chosen, output=tmp_path / "broken", resume=True).train()
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")
    assert [row["step"] for row in result.steps] == list(range(2, 28, 2))


def test_records_that_a_checkpoint_counts_on_must_be_there(tmp_path):
    Trainer(net(), splits(), settings(), output=tmp_path).train(9)
    (tmp_path / "records.jsonl").write_text('{"kind": "step", "step": 2}\n')
    with pytest.raises(DataError, match=r"records.jsonl: it has 1 lines, but the checkpoint was made after 5"):
        Trainer(net(), splits(), settings(), output=tmp_path, resume=True)
    (tmp_path / "records.jsonl").write_text("what\n" * 9)
    with pytest.raises(DataError, match=r"records.jsonl: it cannot be read"):
        Trainer(net(), splits(), settings(), output=tmp_path, resume=True)


def test_a_state_is_a_copy_that_another_run_takes_over():
    """What schedules by population do: the worker that was copied goes on without being changed by its copy."""
    alone, first, second = (Trainer(net(seed=k), splits(), settings()) for k in (0, 0, 1))
    first.train(5)
    state = first.state()
    first.train(7)
    second.load(state)
    second.learning_rate = 0.5
    second.train(9)
    second.load(state)
    assert (second.step, second.learning_rate) == (5, 0.05)
    for trainer in (alone, first, second):
        trainer.train()
    weights = [trainer.model.state_dict() for trainer in (alone, first, second)]
    assert same(weights[0], weights[1])
    assert same(weights[0], weights[2])


def test_resuming_what_has_not_begun_or_has_ended(tmp_path):
    first = Trainer(net(), splits(), settings(), output=tmp_path, resume=True).train()
    again = Trainer(net(), splits(), settings(), output=tmp_path, resume=True).train()
    assert first == again
    assert first.status == "finished"


def test_what_a_folder_holds(tmp_path):
    result = Trainer(net(), splits(), settings(), output=tmp_path, facts={"model": "small"}).train()
    assert {path.name for path in tmp_path.iterdir()} == {
        "configuration.json", "records.jsonl", "checkpoint.pt", "summary.json",
    }  # fmt: skip
    configuration = json.loads((tmp_path / "configuration.json").read_text())
    assert configuration["settings"]["optimizer"] == {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}
    assert configuration["facts"] == {"model": "small"}
    assert configuration["versions"]["torch"] == torch.__version__
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["last"]["test"] == result.epochs[-1]["test"]
    assert result.curve("validation.accuracy")[-1] == summary["last"]["validation"]["accuracy"]
    with pytest.raises(ArgumentError, match=r"speed: no epoch has it; choose from epoch, step, .*test"):
        result.curve("speed")


def test_accumulated_parts_make_the_same_step():
    models = [nn.Sequential(net()[0], nn.Tanh(), net()[4]).double() for _ in range(2)]
    data = Splits.of_tensors(blobs(dtype=torch.float64))
    results = [
        Trainer(model, data, settings(accumulate=parts, clip_norm=0.5)).train()
        for model, parts in zip(models, (1, 3), strict=True)
    ]
    assert results[0].curve("loss") == pytest.approx(results[1].curve("loss"), rel=1e-12)
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(*(m.parameters() for m in models), strict=True))


def test_one_clipped_step_by_hand():
    """Two epochs of one step on all examples: cosine schedule, clipped gradient."""
    model, (x, y) = nn.Linear(2, 3).double(), blobs(dtype=torch.float64)
    twin = copy.deepcopy(model)
    chosen = Settings(
        epochs=2, batch_size=90, optimizer=Choice("sgd", learning_rate=0.5), schedule=Choice("cosine"), clip_norm=0.01
    )
    Trainer(model, Splits.of_tensors((x, y)), chosen).train()
    for rate in (0.5, 0.25):
        gradients = torch.autograd.grad(nn.functional.cross_entropy(twin(x), y), list(twin.parameters()))
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        with torch.no_grad():
            for p, g in zip(twin.parameters(), gradients, strict=True):
                p -= rate * g * 0.01 / norm
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-4)


def test_squared_error_of_numbers_and_of_classes():
    x, y = blobs(dtype=torch.float64)
    hot = nn.functional.one_hot(y, 3).double()
    chosen = settings(loss="squared_error")
    results = [Trainer(nn.Linear(2, 3).double(), Splits.of_tensors(d, d), chosen) for d in ((x, y), (x, hot))]
    results[1].model.load_state_dict(results[0].model.state_dict())
    start = (results[0].model(x) - hot).square().sum(1).mean().item() / 2
    classes, numbers = (trainer.train() for trainer in results)
    assert classes.curve("loss") == numbers.curve("loss")
    assert "accuracy" not in numbers.epochs[0]
    assert classes.curve("validation.loss")[-1] < start
    end = (results[0].model(x) - hot).square().sum(1).mean().item() / 2
    assert classes.curve("validation.loss")[-1] == pytest.approx(end, rel=1e-12)


def test_measured_quantities_are_recorded():
    def norm(moment: Moment) -> dict[str, float]:
        assert not moment.model.training
        return {"norm": moment.model[0].weight.detach().norm().item(), "wild": math.inf, "step": moment.step}

    result = Trainer(net(), splits(), settings(), each_epoch=[norm], each_step=[norm]).train()
    assert result.curve("measured.step") == (9, 18, 27)
    assert result.epochs[0]["measured"]["wild"] is None
    assert [row["measured"]["step"] for row in result.steps] == list(range(2, 28, 2))
    plain = Trainer(net(), splits(), settings()).train()
    assert plain.curve("loss") == result.curve("loss")


def test_a_rate_set_on_the_way_is_kept(tmp_path):
    trainer = Trainer(net(), splits(), settings(schedule=Choice("constant"), checkpoint_every=1), output=tmp_path)
    trainer.train(3)
    trainer.learning_rate = 0.01
    trainer.train(5)
    assert [row["learning_rate"] for row in trainer.result().steps] == [0.05, 0.01]
    for rate in (0.0, -1.0, math.nan, 1e300, "fast"):
        with pytest.raises(ArgumentError, match="learning_rate: it must be "):
            trainer.learning_rate = rate
    again = Trainer(net(), splits(), settings(schedule=Choice("constant")), output=tmp_path, resume=True)
    assert again.learning_rate == 0.01


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns(precision):
    result = Trainer(net(dropout=0.0), splits(), settings(precision=precision, epochs=6)).train()
    assert result.curve("validation.accuracy")[-1] > 0.95
    full = Trainer(net(dropout=0.0), splits(), settings(epochs=6)).train()
    assert result.curve("loss") != full.curve("loss")
    assert result.curve("loss") == pytest.approx(full.curve("loss"), abs=0.1)  # fp16 leaves out the first step or two


def test_fp16_leaves_out_steps_whose_scaled_gradient_overflows():
    model = net(dropout=0.0)
    trainer = Trainer(model, splits(), settings(precision="fp16"))
    trainer.parts.precision.scaler.load_state_dict({**trainer.parts.precision.scaler.state_dict(), "scale": 2.0**40})
    before = copy.deepcopy(list(model.parameters()))
    trainer.train(1)
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))
    assert trainer.parts.precision.scaler.get_scale() == 2.0**39


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_models_train_alike(tmp_path):
    results = []
    for backend in (None, "eager"):
        torch.compiler.reset()
        chosen = settings(epochs=1, compile=backend)
        results.append(Trainer(net(dropout=0.0), splits(), chosen, output=tmp_path / str(backend)).train())
    assert results[0].curve("loss") == pytest.approx(results[1].curve("loss"), rel=1e-5)
    states = [torch.load(tmp_path / name / "checkpoint.pt")["model"].keys() for name in ("None", "eager")]
    assert states[0] == states[1]


def test_a_run_that_diverges_keeps_its_last_finite_checkpoint(tmp_path):
    class Failing(nn.Module):
        """Gives NaN from the given call in training mode on."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = nn.Linear(2, 3), 0

        def forward(self, x):
            self.calls += self.training
            return self.inner(x) * (math.nan if self.calls > 14 else 1)

    model = Failing()
    result = Trainer(model, splits(), settings(), output=tmp_path).train()
    assert result.status == "diverged"
    assert (result.step, len(result.epochs)) == (14, 1)
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "diverged"
    assert torch.load(tmp_path / "checkpoint.pt")["step"] == 9
    assert "NaN" not in (tmp_path / "records.jsonl").read_text()


def test_curvature_that_is_not_finite_is_divergence():
    model = net(dropout=0.0)
    with torch.no_grad():
        model[0].weight.fill_(1e38)
        model[1].weight.fill_(1e38)
    chosen = settings(optimizer=Choice("kfac", learning_rate=0.01))
    assert Trainer(model, splits(), chosen).train().status == "diverged"


def test_a_step_that_an_optimiser_refuses_is_divergence(tmp_path):
    """Gradients of 1e200 are finite and so is the loss, but not the square of the step in the curvature."""

    model = nn.Sequential(nn.Linear(2, 3)).double()
    data = Splits.of_tensors(blobs(dtype=torch.float64))
    trainer = Trainer(
        model, data, settings(optimizer=Choice("kfac", learning_rate=0.01, curvature_every=100)), output=tmp_path
    )
    trainer.train(9)
    before = copy.deepcopy(list(model.parameters()))
    model[0].weight.register_hook(lambda gradient: gradient * 1e200)
    result = trainer.train()
    assert (result.status, result.step, len(result.epochs)) == ("diverged", 9, 1)
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "diverged"


def test_fp16_gradients_are_unscaled_before_they_are_clipped():
    """With a bound far above the gradients, clipping must change nothing; gradients 65536 times as large it would."""
    curves = [
        Trainer(net(dropout=0.0), splits(), settings(precision="fp16", clip_norm=bound)).train().curve("loss")
        for bound in (None, 100.0, 1e-6)
    ]
    assert curves[0] == curves[1]
    assert curves[2][-1] > curves[0][-1] + 0.1


@pytest.mark.parametrize("steps", [1, 31, 32, 33, 200])
def test_hits_are_counted_however_many_steps_wait(steps):
    hits, waited, alone = Hits(LOSSES["cross_entropy"]), 0.0, 0
    random = torch.Generator().manual_seed(0)
    for step in range(steps):
        outputs, targets = torch.randn(3, 2 + step // 50, generator=random), torch.randint(2, (3,), generator=random)
        waited += hits.push(outputs, targets)
        alone += int((outputs.argmax(1) == targets).sum())
    assert waited + hits.flush() == alone
    assert hits.flush() == 0


def test_augmentation_is_the_same_however_a_batch_is_cut():
    from qcmap.nn.train import Augmentation

    def shifted(images, uniforms):
        return images + uniforms.to(images.dtype)

    results = []
    for parts in (1, 2):
        torch.manual_seed(0)
        model = nn.Linear(2, 3).double()
        x, y = blobs(dtype=torch.float64)
        examples = TensorExamples(x, y, Augmentation(2, shifted), preparation=lambda images: images / 2)
        results.append(Trainer(model, Splits(examples), settings(accumulate=parts)).train().curve("loss"))
    assert results[0] == pytest.approx(results[1], rel=1e-13)


REFUSED = [
    ({"epochs": 0}, "epochs: it must be a positive integer, not 0"),
    ({"batch_size": 91}, "batch_size: a batch of 91 is larger than the 90 training examples"),
    ({"batch_size": 2, "accumulate": 3}, "accumulate: 3 parts on 1 processes are more than the 2"),
    ({"loss": "cross_entropi"}, "loss: there is no loss 'cross_entropi'; did you mean cross_entropy"),
    ({"optimizer": Choice("sgdd")}, "optimizer: there is no optimiser 'sgdd'; did you mean sgd"),
    ({"optimizer": Choice("sgd", momentun=0.9)}, "optimizer.momentun: .*did you mean momentum"),
    ({"optimizer": Choice("adam", betas=(0.9, 7.0))}, "optimizer: Adam refuses its options .*beta"),
    ({"optimizer": Choice("adam", learning_rate="fast")}, "optimizer.learning_rate: .* a finite number, not 'fast'"),
    ({"schedule": Choice("cosin")}, "schedule: .*did you mean cosine"),
    ({"schedule": Choice("cosine", warmpu=3)}, "schedule.warmpu: "),
    ({"schedule": Choice("cosine", warmup=-1)}, "schedule.warmup: it is a number of steps, not -1"),
    ({"schedule": Choice("step", at=0.5)}, "schedule.at: it must be a list of a finite number, not 0.5"),
    ({"schedule": Choice("step", at=(0.5, 20.0))}, r"schedule.at: it has fractions of the run, in \[0, 1\], not 20.0"),
    ({"schedule": Choice("step", factor=-0.1)}, "schedule.factor: .*must not fall below 0, not -0.1"),
    ({"schedule": Choice("cosine", final=-1e-9)}, "schedule.final: .*must not fall below 0, not -1e-09"),
    ({"schedule": Choice("pieces", at=(0.5,), factors=(1.0, -1.0))}, "schedule.factors: .*below 0, not -1.0"),
    ({"schedule": Choice("pieces", at=(-0.5,), factors=(1.0, 1.0))}, "schedule.at: .*not -0.5"),
    ({"optimizer": Choice("adam", betas=(0.9,))}, "optimizer: Adam refuses its options"),
    ({"optimizer": Choice("sgd", weight_decay=math.nan)}, "optimizer.weight_decay: it is NaN"),
    (
        {"optimizer": Choice("sgd", learning_rate=1e300)},
        r"optimizer.learning_rate: it must be at most 3.4e38, the largest float32, not 1e\+300",
    ),
    ({"optimizer": Choice("sgd", learning_rate=10**400)}, "optimizer.learning_rate: it must be a finite number"),
    ({"precision": "fp8"}, "precision: it must be 'full' or 'bf16' or 'fp16', not 'fp8'"),
    ({"evaluate": ("tset",)}, "evaluate: .*did you mean test"),
    ({"clip_norm": 0.0}, "clip_norm: it must be positive"),
    ({"compile": "inductr"}, "compile: torch has no backend 'inductr' here; choose from .*inductor"),
    ({"seed": -1}, "seed: a seed is an integer"),
]


@pytest.mark.parametrize(
    ("changes", "message"), REFUSED, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_refused_settings(changes, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        Trainer(net(), splits(), settings(**changes), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_labels_out_of_range_are_refused_before_anything_is_written(tmp_path):
    x, y = blobs()
    data = Splits.of_tensors((x, y), (x, y + 1))
    with pytest.raises(DataError, match=r"validation: labels lie in 1 \.\. 3, but the model has classes 0 \.\. 2"):
        Trainer(net(), data, settings(), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_a_model_does_not_run_on_is_refused_by_split():
    x, y = blobs()
    for inputs, labels, message in (
        (torch.ones(90, 7), y, r"train: Sequential does not run on it \(mat1 and mat2 shapes cannot be multiplied"),
        (torch.ones(90, 2, 3, 4, 5), y, "train: Sequential does not run on it"),
        (x.numpy(), y, "train: inputs must be a tensor, not ndarray"),
        (x, y.tolist(), "train: labels must be a tensor, not list"),
        (x, y[0], "train: labels are a single number"),
    ):
        with pytest.raises(DataError, match=message):
            Trainer(net(), Splits.of_tensors((inputs, labels)), settings())
    for device in ("gpu", "meta"):
        with pytest.raises(ArgumentError, match="device: "):
            Trainer(net(), splits(), settings(), device=device)


def test_a_last_batch_too_small_for_a_batch_norm_is_named():
    """Ninety examples in batches of 89 leave one."""
    with pytest.raises(DataError, match=r"train: the model does not train on 1 of its examples .*set drop_last"):
        Trainer(net(), splits(), settings(batch_size=89)).train()
    assert Trainer(net(), splits(), settings(batch_size=89, drop_last=True)).train().step == 3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast_would_leave_float64_as_it_is(precision):
    with pytest.raises(
        ArgumentError, match=f"precision: {precision} is mixed with float32, but the model is torch.flo"
    ):
        Trainer(double_net(), double_splits(), settings(precision=precision))


def test_there_is_an_accuracy_where_the_loss_knows_hits():
    """Whatever the targets are: the loss without hits has none, and the one with hits counts them for numbers too."""
    x, y = blobs()
    classes = LOSSES["cross_entropy"]
    without = Loss("mine", classes.total, lambda outputs, targets: None, classes.check)
    result = Trainer(net(), splits(), settings(epochs=1), loss=without).train()
    assert "accuracy" not in result.epochs[0]
    assert set(result.epochs[0]["test"]) == {"loss"}

    def total(outputs, targets):
        return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets, reduction="sum")

    binary = Loss(
        "binary", total, lambda outputs, targets: ((outputs[:, 0] > 0) == (targets > 0)).sum(), lambda *_: None
    )
    data = Splits.of_tensors((x, (y > 0).float()), test=(x, (y > 0).float()))
    model = net()
    row = Trainer(model, data, settings(epochs=1), loss=binary).train().epochs[0]
    expected = ((model.eval()(x)[:, 0] > 0) == (y > 0)).double().mean().item()
    assert row["test"]["accuracy"] == pytest.approx(expected)
    assert 0 < row["accuracy"] <= 1


def _files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_that_holds_another_run_is_left_as_it_is(tmp_path):
    Trainer(net(), splits(), settings(), output=tmp_path).train(9)
    before = _files(tmp_path)
    with pytest.raises(ArgumentError, match=r"it holds a run \(checkpoint.pt\); resume it, or give another folder"):
        Trainer(net(), splits(), settings(), output=tmp_path)
    with pytest.raises(ArgumentError, match="it is of a run with batch_size 11, not 12"):
        Trainer(net(), splits(), settings(batch_size=12), output=tmp_path, resume=True)
    with pytest.raises(DataError, match=r"checkpoint of another model \(0.weight is .*\[8, 2\] there, but .*\[9, 2\]"):
        Trainer(nn.Sequential(nn.Linear(2, 9), nn.Linear(9, 3)), splits(), settings(), output=tmp_path, resume=True)
    with pytest.raises(DataError, match=r"another model \(the checkpoint has no 5.weight\)"):
        Trainer(net().append(nn.Linear(3, 3)), splits(), settings(), output=tmp_path, resume=True)
    assert _files(tmp_path) == before
    for damage in (lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"hello" * 40):
        (tmp_path / "checkpoint.pt").write_bytes(damage(before["checkpoint.pt"]))
        with pytest.raises(DataError, match=r"checkpoint.pt: it is no readable checkpoint"):
            Trainer(net(), splits(), settings(), output=tmp_path, resume=True)


def test_one_wrong_bit_of_a_checkpoint_is_found(tmp_path):
    """torch alone loads a tensor with a wrong bit, and so do zip files without a look at the checksums."""
    Trainer(net(), splits(), settings(), output=tmp_path).train(9)
    path = tmp_path / "checkpoint.pt"
    whole = bytearray(path.read_bytes())
    kept = torch.load(path, weights_only=True)["model"]["0.weight"]
    place = whole.find(kept.numpy().tobytes())
    assert place > 0
    whole[place + 3] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"no readable checkpoint \(the checksum of .*data/\d+ is wrong\)"):
        Trainer(net(), splits(), settings(), output=tmp_path, resume=True)
    torch.save({"format": 1}, path)
    with pytest.raises(DataError, match="it is no checkpoint of format 1"):
        Trainer(net(), splits(), settings(), output=tmp_path, resume=True)


def test_a_run_without_a_checkpoint_yet_is_resumed_with_its_settings_only(tmp_path):
    Trainer(net(), splits(), settings(checkpoint_every=20), output=tmp_path).train(5)
    before = _files(tmp_path)
    assert "checkpoint.pt" not in before
    with pytest.raises(ArgumentError, match=r"configuration.json: it is of a run with epochs 3, not 4"):
        Trainer(net(), splits(), settings(epochs=4), output=tmp_path, resume=True)
    assert _files(tmp_path) == before
    assert Trainer(net(), splits(), settings(), output=tmp_path, resume=True).train().step == 27
    (tmp_path / "checkpoint.pt").unlink()
    (tmp_path / "configuration.json").write_text("[]")
    with pytest.raises(DataError, match=r"configuration.json: it is no configuration of a run"):
        Trainer(net(), splits(), settings(), output=tmp_path, resume=True)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("evil",)

    Trainer(net(), splits(), settings(), output=tmp_path).train(9)
    torch.save({"format": 1, "configuration": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="it holds more than plain data and tensors"):
        Trainer(net(), splits(), settings(), output=tmp_path, resume=True)


def test_a_full_disk_ends_the_run_and_leaves_the_old_checkpoint(tmp_path):
    """The operating system refuses files above a size, as a full disk does."""
    trainer = Trainer(net(), splits(), settings(record_every=None), output=tmp_path)
    trainer.train(9)
    before = _files(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(QCMapError, match=r"checkpoint.pt: it cannot be written \(File too large\)"):
            trainer.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = _files(tmp_path)
    assert after["checkpoint.pt"] == before["checkpoint.pt"]
    assert after.keys() == before.keys()
    assert Trainer(net(), splits(), settings(record_every=None), output=tmp_path, resume=True).train().step == 27


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=r"it cannot be made a folder \(Not a directory\)"):
        Trainer(net(), splits(), settings(), output=tmp_path / "file" / "run")


def test_settings_and_choices_are_values():
    assert settings() == settings()
    assert copy.deepcopy(settings()) == settings()
    assert repr(Choice("sgd", momentum=0.9)) == "Choice('sgd', momentum=0.9)"
    assert QCMapError in ArgumentError.__mro__
