"""The checks themselves: all pass, all broken subjects are rejected, and the command line reports the truth."""

from __future__ import annotations

import dataclasses
import json
import math

import mpmath as mp
import numpy as np
import pytest
from click.testing import CliRunner

from theory_checks import graphs, oracles, propagation, registry
from theory_checks.cli import main
from theory_checks.registry import Check, Outcome, Tally

STATEMENTS = {"dks": 57, "nrr": 12, "npf": 12, "dgn": 15}
"""How many there are of each paper."""
REQUIRED = {f"{paper}-{number:02d}" for paper, count in STATEMENTS.items() for number in range(1, count + 1)}


@pytest.mark.parametrize("key", registry.load())
def test_check_passes_and_rejects_its_broken_subject(key):
    result = registry.evaluate(registry.CHECKS[key], self_test=True)
    assert result.verdict == "pass", result.outcome
    assert result.broken_verdict == "pass", result.broken_outcome
    assert result.outcome.instances >= 3
    assert (result.check.false_alarm > 0) == (result.check.kind == "stat")


def test_every_required_statement_is_there():
    assert {check.id for check in registry.load().values()} == REQUIRED


def test_printed_and_corrected_come_in_pairs():
    keys = set(registry.load())
    printed = {key.removesuffix("/as_printed") for key in keys if key.endswith("/as_printed")}
    assert printed == {key.removesuffix("/corrected") for key in keys if key.endswith("/corrected")}
    assert printed


def test_refuted_table_names_every_wrong_entry():
    outcome = registry.evaluate(registry.load()["dks-32/table/as_printed"]).outcome
    for entry in (
        "relu input_scale",
        "relu output_scale",
        "swish input_scale",
        "selu input_scale",
        "selu output_scale",
    ):
        assert entry in outcome.detail
    assert "tanh" not in outcome.detail
    assert "softplus" not in outcome.detail


def _equals(expected: float, error_if_wrong: float = 2.0):
    def run(subject: float, effort: int) -> Outcome:
        tally = Tally()
        tally.add(subject - expected, abs(subject - expected) / error_if_wrong or 1, f"{subject} is not {expected}")
        return tally.outcome()

    return run


@pytest.fixture
def one_wrong_check(monkeypatch):
    wrong = Check("dks-99", "test", "1 = 2", _equals(2.0), subject=1.0, broken=2.0)
    monkeypatch.setitem(registry.CHECKS, wrong.key, wrong)
    return wrong


def test_wrong_statement_gives_exit_code_1(one_wrong_check):
    result = CliRunner().invoke(main, ["dks-99"])
    assert result.exit_code == 1
    assert "FAIL" in result.output


def test_accepted_broken_subject_gives_exit_code_1(one_wrong_check, monkeypatch):
    blind = dataclasses.replace(one_wrong_check, subject=2.0, broken=2.0)
    monkeypatch.setitem(registry.CHECKS, blind.key, blind)
    assert CliRunner().invoke(main, ["dks-99"]).exit_code == 0
    result = CliRunner().invoke(main, ["dks-99", "--self-test"])
    assert result.exit_code == 1
    assert "not rejected" in result.output


def test_exception_is_an_error_even_where_a_refutation_is_wanted(one_wrong_check, monkeypatch):
    def crash(subject: object, effort: int) -> Outcome:
        raise ZeroDivisionError("as planned")

    for variant in ("", "as_printed"):
        check = dataclasses.replace(one_wrong_check, run=crash, variant=variant)
        result = registry.evaluate(check, self_test=True)
        assert (result.verdict, result.broken_verdict) == ("error", "error")
    monkeypatch.setitem(registry.CHECKS, "dks-99", check)
    result = CliRunner().invoke(main, ["dks-99", "--json"])
    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)["checks"]
    assert row["margin"] is None
    assert "as planned" in row["detail"]


def test_nan_neither_holds_nor_refutes():
    tally = Tally()
    tally.add(math.nan, 1.0, "nothing")
    assert not tally.outcome().holds
    assert not tally.outcome().refutes
    assert not Tally().outcome().holds


def test_json_parses():
    result = CliRunner().invoke(main, ["dks-26", "dks-15/formula", "--json", "--self-test"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["passed"]
    rows = {(row["id"], row["part"], row["variant"]): row for row in report["checks"]}
    assert ("dks-15", "formula", "") in rows
    printed = rows["dks-26", "affine", "as_printed"]
    assert printed["verdict"] == "pass"
    assert "Q(" in printed["counterexample"]
    assert printed["broken"]["verdict"] == "pass"


def test_two_processes_find_what_one_does():
    def outcomes(jobs: str) -> list[dict]:
        result = CliRunner().invoke(main, ["dks-26", "dgn-02", "--json", "--jobs", jobs])
        assert result.exit_code == 0
        return [row | {"seconds": 0} for row in json.loads(result.stdout)["checks"]]

    assert outcomes("2") == outcomes("1")


def test_table_is_printed():
    result = CliRunner().invoke(main, ["dks-26/affine"])
    assert result.exit_code == 0
    assert "as printed" in result.output
    assert "refuted" in result.output


def test_list_shows_claims_without_running():
    result = CliRunner().invoke(main, ["--list", "dks-37"])
    assert result.exit_code == 0
    assert "equation (20)" in result.output


def test_unknown_id_names_the_nearest():
    result = CliRunner().invoke(main, ["dks-2"])
    assert result.exit_code == 1
    assert "no check 'dks-2'; did you mean dks-" in result.output


def test_bad_effort_is_refused():
    assert CliRunner().invoke(main, ["--effort", "0"]).exit_code == 2


def test_two_checks_of_one_name_are_refused():
    first = next(iter(registry.load().values()))
    with pytest.raises(ValueError, match="two checks"):
        registry.register(first)


@oracles.precise
def test_oracle_rule_agrees_with_mpmath():
    for name, a, b in (("tanh", 1.3, 0.2), ("selu", 0.7, -0.4), ("hardtanh", 2.0, 0.5)):
        phi = oracles.ACTIVATIONS[name]
        breaks = sorted([-12, -6, -3, 0, 3, 6, 12, *((mp.mpf(k) - mp.mpf(b)) / mp.mpf(a) for k in phi.kinks)])
        a, b = mp.mpf(a), mp.mpf(b)
        want = mp.quad(lambda x, phi=phi, a=a, b=b: phi.value(a * x + b) * mp.npdf(x), breaks)
        assert abs(oracles.moments(phi, a, b).mean - want) < mp.mpf(10) ** -18


@oracles.precise
def test_oracle_series_agrees_with_the_closed_form():
    c = mp.mpf("0.37")
    want = (mp.sqrt(1 - c * c) + (mp.pi - mp.acos(c)) * c) / mp.pi
    assert abs(oracles.normalised(oracles.ACTIVATIONS["relu"], 0.37, 2.0, 0.3) - want) < mp.mpf(10) ** -15


@oracles.precise
def test_closed_kernels_agree_with_the_series():
    for name in ("relu", "erf", "sin", "square"):
        phi, kernel = oracles.ACTIVATIONS[name], propagation.KERNELS[name]
        derivative = oracles.Oracle(phi.slope, mp.diff, phi.kinks)
        for c, q1, q2 in ((0.3, 0.7, 1.9), (-0.2, 1.3, 1.3), (1.0, 0.8, 0.8)):
            q1, q2 = mp.mpf(q1), mp.mpf(q2)
            m = mp.mpf(c) * mp.sqrt(q1 * q2)
            assert abs(kernel.value(m, q1, q2) - oracles.correlated(phi, c, q1, q2)) < mp.mpf(10) ** -14
            assert abs(kernel.slope(m, q1, q2) - oracles.correlated(derivative, c, q1, q2)) < mp.mpf(10) ** -14
        assert abs(kernel.mean(mp.mpf(0.7)) - oracles.hermite(phi, 0.7, 1)[0]) < mp.mpf(10) ** -14


@oracles.precise
def test_rate_of_the_walk_is_a_difference_quotient():
    arch = graphs.varied(
        graphs.random_network(np.random.default_rng(4)), np.random.default_rng(5), ("erf", "cos", "relu"), uneven=True
    )
    step, (start, end) = mp.mpf(10) ** -10, (arch.inputs[0], arch.outputs[0])
    rate = propagation.propagate(arch, 0.4, 1.0, 1.3)[end].rate
    up, down = (propagation.propagate(arch, 0.4, 1.0, 1.3, source=start, nudge=s * step)[end].m for s in (1, -1))
    assert abs((up - down) / (2 * step) - rate) < mp.mpf(10) ** -15


def test_brute_force_on_a_diamond():
    arch = graphs.random_network(np.random.default_rng(0), layers=6)
    plain = graphs.wiring(arch)
    best = max(plain.slope(u, v, 1.4) for u, inside in plain.subnetworks for v in inside)
    assert plain.largest_slope(1.4)[0] == pytest.approx(best, rel=1e-13)
