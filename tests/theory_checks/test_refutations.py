"""Counterexamples found by machine, and the page of errata: each refuted statement has one, and one entry."""

import json
import re
from functools import cache
from pathlib import Path

import hypothesis.strategies as st
import pytest
from click.testing import CliRunner
from hypothesis.errors import NoSuchExample

from theory_checks import refutations, registry
from theory_checks.cli import main
from theory_checks.refutations import Search, find, refuted, row, searches, survives

PAGE = Path(__file__).parents[2] / "docs" / "errata.md"
PRINTED = {key.removesuffix("/as_printed") for key in registry.load() if key.endswith("/as_printed")}


@cache
def rows() -> dict[str, str]:
    """The table of the page by key."""
    lines = PAGE.read_text().split(refutations.BEGIN)[1].split(refutations.END)[0].splitlines()
    return {match[1]: line for line in lines if (match := re.match(r"\| `(.*?)` \|", line))}


def entries() -> dict[str, list[str]]:
    """The keys that each section of the page names in its heading."""
    headings = re.findall(r"^## (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return {heading: re.findall(r"`(.*?)`", heading) for heading in headings if heading != "Remarks"}


def test_every_refuted_statement_has_one_search_and_one_entry():
    assert searches().keys() == PRINTED
    named = [key for keys in entries().values() for key in keys]
    assert sorted(named) == sorted(PRINTED)
    assert all(entries().values()), entries()
    assert rows().keys() == PRINTED


@pytest.mark.parametrize("key", sorted(PRINTED))
def test_hypothesis_refutes_the_printed_statement_and_not_the_corrected_one(key):
    search = searches()[key]
    found = find(search)
    assert search.margin(search.printed.subject, found.instance) > 1
    assert search.margin(search.printed.broken, found.instance) <= 1
    assert survives(search, examples=15) is None
    assert row(found) == rows()[key], "python -m theory_checks.refutations docs/errata.md"


@pytest.fixture
def search_in_vain(monkeypatch):
    search = Search("dks-26/affine", "wrong", st.integers(), lambda subject, x: (0.0, 1.0, "nothing"))
    monkeypatch.setitem(refutations.SEARCHES, search.key, search)
    return search


def test_a_search_in_vain_fails(search_in_vain, monkeypatch):
    monkeypatch.setattr(refutations, "EXAMPLES", 20)
    with pytest.raises(NoSuchExample):
        find(search_in_vain)
    result = CliRunner().invoke(main, ["--refute", "dks-26"])
    assert result.exit_code == 1
    assert "dks-26/affine (wrong): NOT FOUND" in result.output


def test_a_corrected_statement_that_fails_is_noticed(search_in_vain, monkeypatch):
    wrong = Search("dks-26/affine", "wrong", st.integers(), lambda subject, x: (float(x > 3), 0.5, f"x = {x}"))
    monkeypatch.setitem(refutations.SEARCHES, wrong.key, wrong)
    assert survives(wrong) == 4
    result = CliRunner().invoke(main, ["--refute", "dks-26", "--self-test"])
    assert result.exit_code == 1
    assert "x = 4 - AND REFUTES THE CORRECTED STATEMENT" in result.output


def test_refute_as_json():
    result = CliRunner().invoke(main, ["--refute", "dks-53", "--self-test", "--json"])
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)["counterexamples"]
    assert found["id"] == "dks-53"
    assert found["corrected survives"]
    assert found["counterexample"].startswith("C(c) = 1/2 c + 1/2 c^3")


def test_two_searches_of_one_key_are_refused():
    first = next(iter(searches().values()))
    with pytest.raises(ValueError, match="two searches"):
        refuted(first.key, "wrong", st.integers())(first.examine)
