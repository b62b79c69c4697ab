"""Files of gated networks, builders by name, and the command line."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import qcmap as qc
from qcmap.cli import main
from qcmap.errors import ArchitectureError, ArgumentError, DataError
from tests.gated.networks import HIERARCHY
from theory_checks.gated_networks import random_network


def moments(network):
    task = network.task
    rows = {
        (task.contexts[c], name, int(r), int(k)): blocks.value.values[v]
        for name, blocks in (("xx", task.xx), ("yx", task.yx))
        for c, r, k, v in zip(blocks.context, blocks.row, blocks.column, blocks.value.ids, strict=True)
    }
    gates = {
        (name, task.contexts[c]): float(gating.value.values[v])
        for name, gating in task.gates.items()
        for c, v in zip(gating.contexts, gating.value.ids, strict=True)
    }
    return rows, gates


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize(
    "network",
    [
        qc.gated.routing(3, 2),
        qc.gated.routing(2, 1, data=(np.eye(4), HIERARCHY)),
        qc.gated.xor(3),
        random_network(5)[0],
    ],
    ids=["symbols", "data", "xor", "random"],
)
def test_a_saved_network_is_read_back(network, suffix, tmp_path):
    path = tmp_path / f"network.{suffix}"
    qc.gated.save(network, path)
    found = qc.gated.load(path)
    assert found.architecture == network.architecture
    assert found.task.contexts == network.task.contexts
    assert np.array_equal(found.task.probability.numbers(), network.task.probability.numbers())
    (rows, gates), (wanted, opened) = moments(found), moments(network)
    assert gates == opened
    assert set(rows) == set(wanted)
    assert all(np.array_equal(rows[key], wanted[key]) for key in rows)
    if network.task.yy is not None:
        assert np.array_equal(found.task.yy.numbers(), network.task.yy.numbers())


HEAD = """qcmap: 1
name: two
nodes:
  - {id: x, op: input, channels: 2}
  - {id: w, op: affine, inputs: [x], channels: 1}
  - {id: h, op: gate, inputs: [w], name: g}
outputs: [h]
"""
DATA = "contexts:\n  - {name: c, gates: {g: 1}, inputs: {x: [[1, 0], [0, 1]]}, targets: {h: [[2, 1]]}}\n"


def test_data_in_files(tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(HEAD + DATA)
    assert qc.gated.FullFlow(qc.gated.load(path)).loss({"w": np.array([[2.0, 0]])}) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, r"needs the key 'contexts'"),
        (HEAD + "contexts: 3\n", r"line 8, contexts: a list was expected"),
        (HEAD + "contexts:\n  - 3\n", r"line 9, context: a mapping was expected"),
        (HEAD + "contexts:\n  - {gates: {g: 1}}\n", r"line 9, context, name: a context needs the key 'name'"),
        (HEAD + "contexts:\n  - {name: c, gate: {g: 1}}\n", r"line 9.*did you mean gates"),
        (HEAD + "contexts:\n  - {name: c, gates: [g]}\n", r"line 9, context 'c', gates: a mapping"),
        (HEAD + "contexts:\n  - {name: c, xx: 1}\n", r"context 'c', xx: a list was expected"),
        (HEAD + "contexts:\n  - {name: c, xx: [{of: x, value: D}]}\n", r"xx\[0\]: a pair of nodes"),
        (HEAD + "contexts:\n  - {name: c, xx: [{of: [x, x], value: [[1, 2], [3]]}]}\n", r"rows of equal length"),
        (HEAD + "contexts:\n  - {name: c, yy: 1, inputs: {x: [[1]]}}\n", r"data and moments"),
        (HEAD + DATA.replace("[2, 1]", "[2]"), r"line 9, context 'c': its arrays have"),
    ],
)
def test_bad_files_name_the_line(text, message, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ArchitectureError, match=message):
        qc.gated.load(path)


def test_contexts_of_files_are_checked(tmp_path):
    path = tmp_path / "shut.yaml"
    path.write_text(HEAD + DATA.replace("gates: {g: 1}", "gates: {}"))
    with pytest.raises(DataError, match="'c': its gates close every path"):
        qc.gated.load(path)


def test_builders_by_name():
    assert qc.gated.call("routing:M=3,K=2").architecture.name == "routing:M=3,K=2"
    assert len(qc.gated.reduce(qc.gated.call("sharing:M=4,P=1+16")).symbols) == 6
    with pytest.raises(ArchitectureError, match="no argument 'Q'"):
        qc.gated.call("routing:Q=3")
    with pytest.raises(ArchitectureError, match="no family 'ring'"):
        qc.gated.call("ring")
    with pytest.raises(ArgumentError, match="K: it must be an integer from 1 to 3"):
        qc.gated.call("routing:M=3,K=4")


@pytest.mark.parametrize("word", ["yes", "true", "no", "False"])
def test_flags_are_words_for_true_and_false(word):
    flag = word in ("yes", "true")
    assert len(qc.gated.call(f"routing:M=3,K=2,trained={word}").task.contexts) == (6 if flag else 3)
    assert len(qc.gated.call(f"contextual:gated={word}").edges) == (4 if flag else 2)


@pytest.mark.parametrize(
    ("name", "build"), [("trained", lambda v: qc.gated.routing(3, 2, trained=v)),
                        ("gated", lambda v: qc.gated.contextual(gated=v)),
                        ("trained", lambda v: qc.gated.call(f"routing:M=3,K=2,trained={v}"))],
    ids=["routing", "contextual", "call"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["maybe", 0, 1, None])
def test_other_words_are_no_flags(name, build, value):
    with pytest.raises(ArgumentError, match=f"^{name}: it must be true or false"):
        build(value)


def run(*arguments):
    return CliRunner().invoke(main, ["gated", *arguments])


def test_command_reduces():
    result = run("routing:M=7,K=4")
    assert result.exit_code == 0
    for text in ("conserved: 7*B1**2 - B2**2", "tau dB1/dt = B1*B2*(-B1**2*B2*D + S)/7", "ratios: 1 : sqrt(7)"):
        assert text in result.output


def test_command_derives_solves_and_draws(tmp_path):
    picture = tmp_path / "race.png"
    result = run("routing:M=3,K=1", "--derive", "--solve", "--s", "2", "--time", "40", "--plot", str(picture), "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)
    assert rows["classes"] == {"B1": ["in0", "in1", "in2"], "B2": ["hidden1"], "B3": ["out0", "out1", "out2"]}
    assert rows["flow"]["in0"].startswith("W_hidden1.T*W_out0.T*")
    b = rows["solution"]["values"]["B2"][-1][0]
    assert b * (b**2 + 0.02) == pytest.approx(3 * 2, abs=1e-6)  # B2 (B2^2 + C) = M S / D, C = 3 * 0.1^2 - 0.1^2
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_command_derives_statistics_and_classes():
    """Trained paths with (11)-(12); beyond 1,000 paths one equation for each class of edges."""
    text = run("routing:M=7,K=4", "--derive").output
    assert text.count("\npath ") == 28
    for line in ("trained in no context: 21 of 49 paths", "Sigma_yx(1) = S/28\n", "Sigma_x(1,1) = D/28\n"):
        assert line in text
    large = run("routing:M=40,K=2", "--derive")
    assert large.exit_code == 0, large.output
    assert "1600 paths, more than 1000; one equation for each class of edges:\nB1: in0" in large.output
    assert "tau dB2/dt = " in large.output


def test_command_says_what_the_loss_is():
    assert "loss less that of zero weights" in run("routing:M=3,K=2", "--solve").output
    assert "less that" not in run("xor", "--solve").output


def test_command_reads_files_and_refuses_nonsense(tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(HEAD + DATA)
    result = run(str(path), "--solve", "--reduce")
    assert result.exit_code == 0, result.output
    assert "half learned" in result.output
    bad = run("sharing:P=9")
    assert bad.exit_code == 1
    assert "not the square of a divisor" in bad.output
    assert run("sharing:M=4,P=1+16").output.count("no single equation") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("xor", "--solve", "--s", "3"), "--s: S and D of xor"),
        (("xor", "--solve", "--d", "1"), "--d: S and D of xor"),
        (("routing:M=3,K=2", "--s", "3"), "--s: it says how to solve, but nothing is solved"),
        (
            ("routing:M=3,K=2", "--reduce", "--time", "3", "--start", "1"),
            "--start, --time: it says how to solve, but nothing is solved",
        ),
        (("routing:M=3,K=2", "--solve", "--d", "0"), "D: <x x^T> is 0 along mode 1"),
        (("routing:M=3,K=2", "--solve", "--time", "-1"), "times: "),
        (("routing:M=3,K=2,trained=maybe",), "trained: it must be true or false"),
    ],
    ids=lambda part: part if isinstance(part, str) else " ".join(part),
)
def test_command_uses_every_option_or_refuses_it(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.output
