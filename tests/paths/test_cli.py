"""The command ``qcmap paths``, and the paths that it shows."""

import json
from itertools import pairwise

import numpy as np
from click.testing import CliRunner

from qcmap.cli import main
from qcmap.paths import Units, count_paths, first_paths
from tests.paths.networks import random_network

TOY = "mlp:depth=2,width=3,in_channels=2,out_channels=1"


def run(*arguments):
    return CliRunner().invoke(main, ["paths", *arguments])


def test_counts_paths_and_overlaps(tmp_path):
    file = tmp_path / "gates.npz"
    gates = [[1, 0, 1], [1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 1, 1], [0, 1, 1]]
    np.savez(file, **{f"layer{k}.activation": np.array(g) for k, g in enumerate(gates, start=1)})
    data = json.loads(run(TOY, "--gates", str(file), "--json").output)
    assert data["paths"] == 18
    assert data["overlap"] == [[2, 1, 0], [1, 2, 0], [0, 0, 2]]
    assert len(data["first"]) == 3
    text = run(TOY, "--gates", str(file)).output
    assert "18 paths\n  input[0] -> layer1.affine[0]" in text
    assert "Lambda" in text
    assert (
        "312590388426287087709365419000061831662560205672802673483503077128911691822838002438940002609166690008117"
        in (run("resnet_v2:depth=50").output)
    )


def test_refusals(tmp_path):
    file = tmp_path / "gates.npz"
    file.write_text("no arrays")
    result = run(TOY, "--gates", str(file))
    assert result.exit_code == 1
    assert "it is no .npz file of arrays; write it with numpy.savez" in result.output
    assert "give channels to every layer" in run("mlp:depth=2").output
    np.save(tmp_path / "one.npy", np.ones((2, 3)))
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("one.npy", "empty.npz"):
        assert "it is no .npz file of arrays" in run(TOY, "--gates", str(tmp_path / name)).output


def test_counts_of_more_digits_than_python_prints_are_exact():
    arch, digits = "mlp:depth=3000,width=100,in_channels=2,out_channels=1", "2" + 6000 * "0"
    assert f": {digits} paths, about 2.00e+6000" in run(arch, "--first", "0").output
    assert f'"paths": {digits},' in run(arch, "--first", "0", "--json").output


def test_first_paths_are_all_of_them_if_there_are_few():
    for kind, seed in (("dense", 1), ("dense", 5), ("convolution", 6)):
        arch = random_network(seed, kind)
        units, count = Units.of(arch), count_paths(arch)
        found = first_paths(arch, count + 1)
        assert len(set(found)) <= len(found) == count  # parallel branches of a sum look alike
        for path in found:
            for (before, _), (node, position) in pairwise(path):
                assert before in arch[node].inputs
                assert all(0 <= p < n for p, n in zip(position, units.shape(node), strict=True))


def test_lambda_beyond_floats_is_a_logarithm(tmp_path):
    """2 * 10^400 paths for 2 input units; the last example has none."""
    file = tmp_path / "gates.npz"
    gates = {f"layer{k}.activation": np.ones((2, 10)) for k in range(1, 401)}
    gates["layer3.activation"][1] = 0
    np.savez(file, **gates)
    arch = "mlp:depth=400,width=10,in_channels=2,out_channels=1"
    found = json.loads(run(arch, "--gates", str(file), "--first", "0", "--json").output)
    assert found["log_overlap"][0][1] is None
    np.testing.assert_allclose(found["log_overlap"][0][0], 400 * np.log(10), rtol=1e-12)
    assert "log Lambda, as Lambda is no float" in run(arch, "--gates", str(file)).output
