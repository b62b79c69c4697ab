"""A shaped model is a torch module like any other: copied, pickled, saved, compiled, exported, distributed."""

import copy
import io
import pickle
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

import qcmap.nn as qnn
from tests.nn.shaping.nets import Branches, ResNet, image, mlp


def shaped_resnet():
    return qnn.shape(ResNet(), image(), batch_norm="remove").eval()


@pytest.fixture(scope="module")
def models():
    """(shaped model, input) of several kinds."""
    return [
        (shaped_resnet(), image()),
        (qnn.shape(ResNet(), image(), batch_norm="layer_norm", pooling="weighted").eval(), image()),
        (qnn.shape(Branches(), torch.randn(3, 12), zeta=1.2).eval(), torch.randn(3, 12)),
    ]


def saved_and_loaded(model):
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


@pytest.mark.parametrize("how", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m)), saved_and_loaded])
def test_copies_compute_and_know_the_same(models, how):
    for model, x in models:
        again = how(model)
        assert torch.equal(again(x), model(x))
        assert type(again).__mro__[1] is qnn.ShapedModel
        assert again.architecture.nodes == model.architecture.nodes
        assert str(again.report()) == str(model.report())
        assert again.places == model.places
        assert {n.name for n in again.graph.nodes} >= set(model.places.values())
        assert torch.allclose(torch.tensor(again.predict_maps().c(0.3)), torch.tensor(model.predict_maps().c(0.3)))


def test_a_copy_is_trained_alone():
    model = shaped_resnet()
    again = copy.deepcopy(model)
    with torch.no_grad():
        again.get_parameter("stem.weight").zero_()
    assert model.get_parameter("stem.weight").abs().max() > 0


class WrittenOut(nn.Module):
    """Activations with formulas that the catalogue has no name for."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.a(x)
        return self.c(nn.functional.softplus(self.b(h * torch.sigmoid(1.702 * h)), beta=2))


@pytest.mark.parametrize("how", [copy.deepcopy, saved_and_loaded])
def test_activations_with_formulas_are_saved_too(how):
    x = torch.randn(3, 8)
    model = qnn.shape(WrittenOut(), x, zeta=1.05)
    again = how(model)
    assert torch.equal(again(x), model(x))
    assert again.predict_maps().c(0.3) == model.predict_maps().c(0.3)
    assert [repr(node.op) for node in again.architecture.nodes] == [repr(node.op) for node in model.architecture.nodes]
    assert torch.equal(qnn.fold(again)(x), qnn.fold(model)(x))


def test_flags_of_submodules_survive_pickling():
    model = qnn.shape(Branches(), torch.randn(3, 12), zeta=1.2)
    model.train()
    model.get_submodule("dropout").eval()
    again = pickle.loads(pickle.dumps(model))
    assert again.training
    assert not again.get_submodule("dropout").training


def test_state_dicts_go_round():
    x = image()
    one, other = (qnn.shape(ResNet(), x, batch_norm="remove", seed=seed) for seed in (1, 2))
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


def test_a_loaded_model_needs_no_more_than_qcmap(tmp_path):
    """In a new process, without the classes of the model that was shaped."""
    import subprocess

    model, x = shaped_resnet(), image()
    torch.save(model, tmp_path / "model.pt")
    torch.save((x, model(x)), tmp_path / "pair.pt")
    program = (
        "import sys, torch\n"
        f"model = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)\n"
        f"x, y = torch.load({str(tmp_path / 'pair.pt')!r})\n"
        "assert torch.allclose(model(x), y, atol=1e-6)\n"
        "assert not any(name.startswith('tests') for name in sys.modules)\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root, env={"PYTHONPATH": str(root)})


def test_training_lowers_the_loss():
    model, x = qnn.shape(mlp(6, act=nn.Tanh), torch.randn(8, 16), zeta=1.3), torch.randn(8, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    target = torch.randn(8, 4)
    losses = []
    for _ in range(20):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_compile_and_export(models):
    for model, x in models:
        exported = torch.export.export(model, (x,)).module()
        assert torch.allclose(exported(x), model(x), atol=1e-6)
    model, x = models[2]
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), model(x), atol=1e-5)


def _train(rank, folder):
    """One of two processes: half of the batch, one step of SGD."""
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(str(Path(folder) / "store"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    x, target = torch.load(Path(folder) / "data.pt")
    model = nn.parallel.DistributedDataParallel(torch.load(Path(folder) / "model.pt", weights_only=False))
    (model(x[rank::2]) - target[rank::2]).square().mean().backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
    if rank == 0:
        torch.save(model.module.state_dict(), Path(folder) / "trained.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one():
    model = qnn.shape(mlp(4, act=nn.Tanh).double(), torch.randn(8, 16, dtype=torch.float64), zeta=1.3)
    x, target = torch.randn(8, 16, dtype=torch.float64), torch.randn(8, 4, dtype=torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model, Path(folder) / "model.pt")
        torch.save((x, target), Path(folder) / "data.pt")
        torch.multiprocessing.spawn(_train, args=(folder,), nprocs=2)
        trained = torch.load(Path(folder) / "trained.pt")
    (model(x) - target).square().mean().backward()
    for name, p in model.named_parameters():
        assert torch.allclose(trained[name], p.detach() - 0.1 * p.grad, rtol=1e-12, atol=1e-14)
