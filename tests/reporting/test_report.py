"""The report's page: what it says, and that it asks for nothing."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import qcmap as qc
from qcmap.cli import main
from qcmap.errors import ArgumentError, Infeasible, QCMapError
from tests import cli_models
from tests.reporting.networks import HOSTILE, report_of_broken, report_of_residual, residual


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page).group(1))


def test_numbers_are_those_of_the_library():
    report, arch = report_of_residual(), residual()
    assert embedded(report.html) == json.loads(json.dumps(report.to_dict()))
    assert report.data["slope"]["psi"] == qc.maximal_slope(arch).inverse(1.4)
    grid = report.data["maps"]
    assert 1.4 in [one["zeta"] for one in grid["shaped"]]
    reached = [one for one in grid["shaped"] if "reason" not in one]
    assert 4 < len(reached) < len(grid["shaped"])
    for one in grid["shaped"]:
        if one not in reached:
            with pytest.raises(Infeasible, match=re.escape(one["reason"])):
                qc.dks(arch, one["zeta"])
            continue
        maps = qc.network_maps(arch, qc.dks(arch, one["zeta"]))
        for stop, curve, slope in zip(grid["stops"], one["C"], one["slope"], strict=True):
            there = maps.at(stop["node"])
            np.testing.assert_allclose(curve, there.c(grid["c"]), atol=3e-9)  # nine digits
            assert slope == pytest.approx(float(there.dc(1.0)), rel=5.1e-9)


@pytest.mark.parametrize("make", [report_of_residual, report_of_broken])
def test_the_page_asks_for_nothing_and_takes_no_name_for_a_tag(make):
    html = make().html
    assert set(re.findall(r"https?://[^\"' ]+", html)) == {"http://www.w3.org/2000/svg"}
    assert all(target.startswith("#") for target in re.findall(r'\b(?:src|href)="([^"]*)"', html))
    assert not re.findall(r"fetch\(|XMLHttpRequest|import\(|@import|url\(", html)
    assert HOSTILE not in html
    assert html.count("<script") == html.count("</script>") == 3
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(set(ids)) == len(ids)


def test_parts_that_cannot_be_computed_say_why():
    report = report_of_broken()
    assert "normalized-sum" in {row["rule"] for row in report.data["rules"]}
    assert "add up to 2" in report.data["constants"]["reason"]
    assert "Constants cannot be computed" in report.html


def test_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(ArgumentError, match="cannot be written"):
        report_of_broken().save(tmp_path / "nowhere" / "report.html")
    assert not list(tmp_path.iterdir())


def test_command(tmp_path):
    page = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["report", "mlp:depth=2", "-o", str(page), "--zeta", "1.2", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == embedded(page.read_text())
    failed = CliRunner().invoke(main, ["report", "tests.cli_models:chain", "-o", str(tmp_path / "other.html")])
    assert (failed.exit_code, "--input" in failed.output, len(list(tmp_path.iterdir()))) == (1, True, 1)


MODELS = {"resnet": ["3x16x16"], "ready": ["16"], "two": ["8", "6"]}
"""Models of tests/cli_models.py, and the sizes of their inputs."""


def found_or_reason(make):
    try:
        return make()
    except QCMapError as error:
        return str(error)


@pytest.mark.parametrize("name", MODELS)
def test_measurements_of_a_model_are_those_of_the_library(name, tmp_path):
    qnn, torch = pytest.importorskip("qcmap.nn"), pytest.importorskip("torch")
    page, given = tmp_path / "page.html", [part for sizes in MODELS[name] for part in ("--input", sizes)]
    asked = ["report", f"tests.cli_models:{name}", "-o", str(page), "--zeta", "1.3", "--samples", "4", *given]
    torch.manual_seed(0)
    result = CliRunner().invoke(main, [*asked, "--json", "--seed", "3"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data == embedded(page.read_text())
    assert [one["what"] for one in data["measured"]] == ["as it stands", "shaped"]
    generator = torch.Generator().manual_seed(3)
    sizes = [[int(n) for n in text.split("x")] for text in MODELS[name]]
    drawn = [torch.randn(4, *one, generator=generator) for one in sizes]
    x = tuple(one / one.square().mean(1, keepdim=True).sqrt() for one in drawn)
    torch.manual_seed(0)
    model = cli_models.made(name)
    makers = (lambda: qnn.measure(model, x, seed=3),
              lambda: qnn.measure(qnn.shape(model, x, zeta=1.3, seed=3), x, weights="orthogonal", seed=3))  # fmt: skip
    seen = 0
    for one, make in zip(data["measured"], makers, strict=True):
        wanted = found_or_reason(make)
        if isinstance(wanted, str):
            assert one["reason"] == wanted
            continue
        assert [row["node"] for row in one["rows"]] == [row.node for row in wanted.rows]
        np.testing.assert_allclose([row["q"] for row in one["rows"]], [row.q_mean for row in wanted.rows], rtol=1e-6)
        np.testing.assert_allclose(
            [row["q_predicted"] for row in one["rows"]], [row.q_predicted for row in wanted.rows], rtol=1e-9
        )
        assert one["disagreeing"] == [row.node for row in wanted.disagreeing]
        seen += 1
    assert seen or name == "resnet"
    if name == "ready":
        return
    plain = CliRunner().invoke(main, [*asked, "--no-measure", "--json"])
    assert json.loads(plain.stdout)["measured"] == []
    assert "Predictions against measurements" not in page.read_text()
