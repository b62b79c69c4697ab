"""The demo keeps its promises: shaped networks train, unshaped ones do not, q values are the predicted ones."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from qcmap import demo, dks
from qcmap.cli import main
from qcmap.errors import Infeasible
from qcmap.nn import GraphNetwork

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPED = [name for name, network in demo.NETWORKS.items() if network.shaped]


@pytest.mark.slow
def test_shaped_networks_train():
    """The demo's promise: above 90% after one epoch, and 99% within seven (seen: after six and four)."""
    for history in demo.train(SHAPED, epochs=7, progress=False).values():
        assert history.status == "finished"
        assert history.train_accuracy[0] > 0.90
        assert max(history.train_accuracy) >= 0.99


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the command writes and prints after one epoch, and where."""
    folder = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(main, ["demo", "--output", str(folder), "--epochs", "1", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output), folder


@pytest.mark.slow
def test_unshaped_networks_do_not_train(written):
    """The demo's promise: below 60% after one epoch."""
    for name in demo.NETWORKS.keys() - SHAPED:
        history = written[0]["training"][name]
        assert history["status"] == "finished"
        assert history["train_accuracy"][0] < 0.60


@pytest.mark.slow
@pytest.mark.parametrize("name", demo.DRAWS)
def test_q_values_are_within_three_standard_errors(name, written):
    """Means of 20 weight draws, 50 layers, fixed seeds.

    Layers are strongly correlated, so this is about one t-test with 19 degrees of freedom taken at its worst of 50
    moments: resampling 400 draws gives a false-alarm rate of 13%. The seeds are fixed; of the first three blocks of 20,
    block 0-19 has one layer at 3.1 standard errors. The next test has the power that this one lacks.
    """
    layers = written[0]["layers"][name]
    assert layers["q_predicted"] == pytest.approx([1.0] * demo.DEPTH, abs=1e-9)
    deviation = (np.array(layers["q_mean"]) - 1) / np.array(layers["q_error"])
    assert np.abs(deviation).max() < 3


@pytest.mark.slow
def test_q_values_have_mean_one_over_many_draws():
    """160 draws: every layer's mean within 4.5 standard errors of 1 and within 10% of it (false alarms below 1e-3)."""
    arch, inputs, draws = demo.architecture("tanh"), demo.digits(double=True)[0][:64], []
    shaping = dks(arch, demo.ZETA)
    for seed in range(1000, 1160):
        network, found = GraphNetwork(arch, shaping, weights="orthogonal", seed=seed).double(), []
        for name, module in network.named_modules():
            if name.endswith(".activation"):
                module.register_forward_hook(lambda _, __, z, found=found: found.append(z.square().mean().item()))
        network(inputs)
        draws.append(found)
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1) / math.sqrt(160)
    assert mean.shape == (demo.DEPTH,)
    assert np.abs((mean - 1) / error).max() < 4.5
    assert np.abs(mean - 1).max() < 0.1


def test_unshaped_networks_miss_the_shaped_prediction():
    """Without shaping q leaves 1 at once, so the checks above can fail."""
    layers = demo.measured(demo.NETWORKS["fan-in tanh"], seeds=range(3))
    assert layers.q_mean[-1] < 0.3


def test_constants_cover_the_catalogue():
    rows = demo.constants()
    infeasible = {name for name, row in rows.items() if isinstance(row, Infeasible)}
    assert infeasible == {"hardtanh", "identity", "relu6", "square"}
    for name, row in rows.items():
        if name not in infeasible:
            assert max(map(abs, row.residuals.values())) < 1e-12


@pytest.mark.slow
def test_the_command_writes_its_picture_and_json(written):
    data, folder = written
    assert (folder / "demo.png").stat().st_size > 10_000
    assert [path.name for path in folder.iterdir()] == ["demo.png"]
    assert len(data["slopes"]) == 4
    assert set(data["training"]) == set(demo.NETWORKS)
    numbers = [value for row in data["layers"].values() for values in row.values() for value in values]
    assert all(map(math.isfinite, numbers))
