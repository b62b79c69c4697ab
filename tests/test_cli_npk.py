"""The command ``qcmap npk``."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import qcmap.nn as qnn
from qcmap.cli import main


def run(*arguments):
    return CliRunner().invoke(main, ["npk", *map(str, arguments)])


def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).double()


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    x = random.standard_normal((12, 3))
    torch.save(network(), tmp_path / "model.pt")
    np.savez(tmp_path / "data.npz", x=x, y=(x[:, 0] > 0).astype(int))
    np.save(tmp_path / "x.npy", x)
    return tmp_path, x


def test_kernel_and_picture(files):
    folder, x = files
    result = run(folder / "model.pt", folder / "data.npz", "--plot", folder / "k.png", "--save", folder / "k.npy")
    assert result.exit_code == 0, result.output
    assert "path kernel of 12 examples" in result.output
    assert "within classes" in result.output
    assert (folder / "k.png").read_bytes().startswith(b"\x89PNG")
    wanted = qnn.split_gates(network(), torch.tensor(x)).path_kernel(torch.tensor(x))
    np.testing.assert_allclose(np.load(folder / "k.npy"), wanted, rtol=1e-12)


def test_json_has_what_the_labels_say(files):
    folder, x = files
    found = json.loads(run(folder / "model.pt", folder / "data.npz", "--limit", 10, "--json").stdout)
    kernel = qnn.split_gates(network(), torch.tensor(x)).path_kernel(torch.tensor(x[:10]))
    y = np.where(x[:10, 0] > 0, 1.0, -1.0)
    assert found["examples"] == 10
    assert found["trace"] == pytest.approx(np.trace(kernel))
    assert found["eigenvalues"]["largest"] == pytest.approx(np.linalg.eigvalsh(kernel)[-1])
    if found["nu"] is not None:
        assert found["nu"] == pytest.approx(y @ np.linalg.solve(kernel / np.trace(kernel), y), rel=1e-5)
    cosine = kernel / np.sqrt(np.outer(kernel.diagonal(), kernel.diagonal()))
    pairs = [cosine[s, t] for s in range(10) for t in range(10) if s != t and y[s] == y[t]]
    assert found["likeness"]["within"] == pytest.approx(np.mean(pairs))
    plain = json.loads(run(folder / "model.pt", folder / "x.npy", "--json").stdout)
    assert "likeness" not in plain


def test_one_example_has_no_pairs(files):
    folder, x = files
    np.savez(folder / "one.npz", x=x[:1], y=np.ones(1))
    assert "no pairs within classes, no pairs between" in run(folder / "model.pt", folder / "one.npz").output
    found = json.loads(run(folder / "model.pt", folder / "one.npz", "--json").stdout)
    assert found["likeness"] == {"within": None, "between": None}


BAD = {
    "no model": (("missing.pt", "data.npz"), "there is no such file"),
    "no data": (("model.pt", "missing.npz"), "give an .npz or .npy file, or the word digits"),
    "state": (("state.pt", "data.npz"), "not its state_dict"),
    "damaged": (("damaged.pt", "data.npz"), "cannot be read"),
    "no gates": (("tanh.pt", "data.npz"), "1: tanh has no gate form"),
    "no inputs": (("model.pt", "y.npz"), "no finite inputs x"),
    "labels": (("model.pt", "labels.npz"), "do not go with 12 inputs"),
    "another width": (("model.pt", "wide.npy"), "0: its forward does not run on tensors without data"),
    "labels that are none": (("model.pt", "none.npz"), "its labels y are not all finite"),
    "empty": (("model.pt", "empty.npz"), "no file of arrays"),
    "large": (("model.pt", "large.npy"), "beyond the range of floats; divide the inputs by a constant"),
    "no arrays": (("model.pt", "damaged.pt"), "no file of arrays"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_calls_say_what_to_do(case, files, caplog):
    folder, x = files
    torch.save(network().state_dict(), folder / "state.pt")
    torch.save(nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double(), folder / "tanh.pt")
    (folder / "damaged.pt").write_bytes(b"nothing")
    np.savez(folder / "y.npz", y=np.ones(3))
    np.savez(folder / "labels.npz", x=x, y=np.ones(3))
    np.savez(folder / "none.npz", x=x, y=np.full(12, np.nan))
    (folder / "empty.npz").write_bytes(b"")
    np.save(folder / "wide.npy", np.ones((12, 4)))
    np.save(folder / "large.npy", 1e200 * x)
    (model, data), message = BAD[case]
    result = run(folder / model, folder / data)
    assert result.exit_code == 1
    assert not [record for record in caplog.records if "fake_tensor" in record.name]  # no traceback of torch
    assert message in " ".join(result.output.split())


def test_digits_and_a_callable():
    result = run("tests.cli_models:relu_digits", "digits", "--limit", 30, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["examples"] == 30
