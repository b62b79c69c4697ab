"""The command line: what it prints, as text and as JSON, and how it fails."""

import json
import re

import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

import qcmap as qc
from qcmap.cli import main


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def test_slope_prints_the_factored_polynomial():
    result = run("slope", "resnet_v2:depth=50,residual_weight=w")
    assert result.exit_code == 0
    assert "p(psi) = psi^5 (w^2 psi^2 + 1 - w^2)^4 (w^2 psi^3 + 1 - w^2)^12\n" in result.output
    assert "give w a number" in result.output


@pytest.mark.parametrize(
    ("architecture", "polynomial"),
    [
        ("resnet_v2:depth=101,residual_weight=w", "psi^5 (w^2 psi^2 + 1 - w^2)^4 (w^2 psi^3 + 1 - w^2)^29"),
        ("resnet_v2:depth=152,residual_weight=w", "psi^5 (w^2 psi^2 + 1 - w^2)^4 (w^2 psi^3 + 1 - w^2)^46"),
        ("wide_resnet:depth=250,residual_weight=w", "psi^4 (w^2 psi + 1 - w^2)^3 (w^2 psi^2 + 1 - w^2)^120"),
        ("wide_resnet:depth=250", "psi^4 (0.05 psi + 0.95)^3 (0.05 psi^2 + 0.95)^120"),
        ("resnet_v2:depth=152,shortcuts=False", "psi^151"),
        ("wide_resnet:depth=28,shortcuts=false", "psi^25"),
        ("mlp:depth=100", "psi^100"),
    ],
)
def test_slope_as_json(architecture, polynomial):
    data = json.loads(run("slope", architecture, "--zeta", "1.5", "--json").output)
    assert data["polynomial"] == polynomial
    if "=w" in architecture:
        assert data["psi"] is None
    else:
        assert float(qc.maximal_slope(qc.zoo.call(architecture))(data["psi"])) == pytest.approx(1.5, rel=1e-14)


def test_dks_as_text_and_json():
    text = run("dks", "mlp:depth=100", "--activation", "softplus")
    assert text.exit_code == 0
    assert "input_scale     0.2280237" in text.output
    data = json.loads(run("dks", "mlp:depth=100,activation=swish", "--json").output)
    assert data["zeta"] == 1.5
    swish = data["activations"]["swish"]
    assert swish["input_shift"] == pytest.approx(0.349475, abs=5e-7)
    assert len(swish["other_solutions"]) == 2
    assert "other solutions" in run("dks", "mlp:depth=100,activation=swish").output


def test_dks_warns_of_the_heuristics_it_rests_on():
    result = run("dks", "resnet_v2:depth=50", "--activation", "softplus")
    assert "stem.pool: max pooling is treated as the identity" in result.stderr
    assert "final.pool: mean pooling is treated as the identity" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["slope", "resnet:depth=50"], "there is no family 'resnet'"),
        (["slope", "resnet_v2:deep=50"], "no argument 'deep'"),
        (["slope", "resnet_v2:depth"], "depth has no value"),
        (["dks", "mlp:depth=0"], "depth must be a positive integer, not 0"),
        (["dks", "mlp:depth=10", "--zeta", "1"], "the global slope bound must be a finite number above 1"),
        (["dks", "mlp:depth=10", "--zeta", "nan"], "the global slope bound must be a finite number above 1"),
        (["dks", "mlp:depth=10", "--activation", "softplos"], "did you mean softplus"),
        (["dks", "mlp:depth=10,activation=square"], "C'(1)"),
        (["dks", "resnet_v2:depth=50,residual_weight=w"], "symbolic"),
        (["slope", "resnet_v2:depth=50,residual_weight=1+"], "is not an expression"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_help_has_examples():
    assert "Example: qcmap dks resnet_v2" in run("dks", "--help").output
    assert "resnet_v2:depth=50,residual_weight=0.2236" in run("--help").output
    assert run("--version").output == "qcmap, version 0.1.0\n"


@pytest.mark.parametrize("command", main.commands)
def test_every_command_has_an_example_that_names_it(command):
    text = " ".join(run(command, "--help").output.split())
    assert f"Example: qcmap {command}" in text


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ["slope", "mlp:depth=3"]),
        (0, ["check", "resnet_v2:depth=50"]),  # warnings only
        (1, ["slope", "mlp:depth=0"]),
        (1, ["check", "missing.yaml"]),
        (2, ["slope"]),
        (2, ["slope", "mlp:depth=3", "--zeta", "many"]),
        (2, ["slop", "mlp:depth=3"]),
        (2, ["slope", "mlp:depth=3", "--psi"]),
    ],
)
def test_exit_codes(code, arguments):
    result = run(*arguments)
    assert result.exit_code == code
    assert (result.stderr.startswith(("Error: ", "Usage: "))) == (code > 0)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell):
    complete = get_completion_class(shell)(main, {}, "qcmap", "_QCMAP_COMPLETE")
    assert [item.value for item in complete.get_completions([], "sl")] == ["slope"]
    assert "--zeta" in [item.value for item in complete.get_completions(["slope", "mlp:depth=3"], "--z")]
    script = CliRunner().invoke(main, [], prog_name="qcmap", env={"_QCMAP_COMPLETE": f"{shell}_source"})
    assert script.exit_code == 0
    assert f"_QCMAP_COMPLETE={shell}_complete" in script.output


@pytest.fixture
def network(tmp_path):
    """A file with a normalized sum, a leaky relu and no violation."""
    b = qc.Builder("small")
    h = b.affine(b.input(channels=8), 8)
    h = b.sum([b.affine(b.activation(h, qc.activation("leaky_relu", negative_slope=0.2)), 8), h], [0.6, 0.8])
    path = tmp_path / "small.yaml"
    qc.save(b.build([b.activation(h, "tanh")]), path)
    return path


def test_a_file_stands_for_an_architecture(network):
    assert json.loads(run("slope", str(network), "--json").output)["polynomial"] == "psi (0.36 psi + 0.64)"
    assert set(json.loads(run("dks", str(network), "--json").output)["activations"]) == {"leaky_relu", "tanh"}
    replaced = json.loads(run("dks", str(network), "--activation", "softplus", "--json").output)
    assert set(replaced["activations"]) == {"softplus"}
    as_json = network.with_suffix(".JSON")
    qc.save(qc.load(network), as_json)
    assert run("slope", str(as_json)).output == run("slope", str(network)).output


def test_check_without_violations(network):
    result = run("check", str(network))
    assert (result.exit_code, result.output) == (0, "small: no rule is broken\n")
    result = run("check", str(network), "--json")
    assert (result.exit_code, json.loads(result.output)) == (0, [])


def test_check_with_warnings_only():
    result = run("check", "resnet_v2:depth=50")
    assert result.exit_code == 0
    assert "stem.pool: max pooling is treated as the identity map" in result.output
    assert "[max-pool-heuristic, warning]" in result.output


def test_check_with_errors(network):
    network.write_text(network.read_text().replace("0.6", "0.7"))
    result = run("check", str(network))
    assert result.exit_code == 1
    assert "sum1: the squares of its weights add up to 1.13" in result.output
    result = run("check", str(network), "--json")
    (violation,) = json.loads(result.output)
    assert result.exit_code == 1
    assert violation.keys() == {"rule", "severity", "node", "message", "remedy"}
    assert (violation["rule"], violation["severity"], violation["node"]) == ("normalized-sum", "error", "sum1")


@pytest.mark.parametrize("command", ["slope", "dks", "check"])
def test_bad_files_are_one_line_and_exit_code_1(command, network):
    network.write_text(network.read_text().replace("tanh", "tahn"))
    result = run(command, str(network))
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: .*small.yaml, line \d+, node '.*', function: 'tahn': .* did you mean .*tanh.*\n", result.stderr
    )
    network.unlink()
    assert "it cannot be read (No such file" in run(command, str(network)).stderr


class TestMaps:
    def test_json_is_what_python_gives(self):
        data = json.loads(
            run("maps", "mlp:depth=20,activation=tanh", "--zeta", "1.5", "--c", "0,0.5,1", "--json").stdout
        )
        arch = qc.zoo.mlp(20, activation="tanh")
        maps = qc.network_maps(arch, qc.dks(arch, 1.5))
        assert data["C"] == maps.c([0, 0.5, 1]).tolist()
        assert data["dC"][2] == pytest.approx(1.5, rel=1e-12)
        assert data["deviation"]["value"] == maps.deviation().value

    def test_text(self):
        lines = run("maps", "mlp:depth=3,activation=relu", "--c", "0,1", "--q", "2").stdout.splitlines()
        assert lines[1].startswith("Q = 0.25")
        assert lines[-2].split() == ["1", "1", "1"]

    @pytest.mark.parametrize("c", ["0,2", "a", ""])
    def test_bad_c(self, c):
        assert run("maps", "mlp:depth=3", "--c", c).exit_code in (1, 2)


def test_ntk():
    data = json.loads(run("ntk", "mlp:depth=3,activation=relu", "--c", "0.2,1", "--json").stdout)
    kernel = qc.ntk(qc.zoo.mlp(3, activation="relu"), [0.2, 1])
    assert data["total"] == kernel.total.tolist()
    text = run("ntk", "mlp:depth=3,activation=relu", "--c", "0.2,1").stdout
    assert f"{kernel.total[1]:.12g}" in text


def test_compare():
    text = run("compare", "mlp:depth=5,activation=tanh").stdout
    assert all(method in text for method in ("lecun", "he", "edge_of_chaos", "dks", "tat"))
    assert "dks" in str(json.loads(run("compare", "mlp:depth=5,activation=tanh", "--json").stdout))


def test_certify():
    text = run("dks", "mlp:depth=100,activation=tanh", "--certify", "30").stdout
    assert "0.0904379454104523026191868303817" in text
    data = json.loads(run("tat", "mlp:depth=20,activation=softplus", "--certify", "20", "--json").stdout)
    assert data["certificates"]["softplus"]["digits"] == 20
