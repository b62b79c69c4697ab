"""The command line of the checks."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from theory_checks.registry import Result


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("ids", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--self-test", is_flag=True, help="Also run every broken subject, which the check must reject.")
@click.option("--effort", type=click.IntRange(min=1), default=1, show_default=True, help="Multiplies the instances.")
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Processes; one for each core if left out and there are no IDS."
)
@click.option("--refute", is_flag=True, help="Instead, find and shrink a counterexample to every refuted statement.")
@click.option("--list", "list_only", is_flag=True, help="List the checks and what they claim, and run none.")
def main(
    ids: tuple[str, ...],
    *,
    as_json: bool,
    self_test: bool,
    effort: int,
    jobs: int | None,
    refute: bool,
    list_only: bool,
) -> None:
    """Run the checks of the papers' statements: all, or those that IDS name (dks-15, dks-32/as_printed).

    The exit code is 1 if a check fails, 2 for a bad option.

    Examples: python -m theory_checks --self-test; python -m theory_checks dks-23 --effort 10;
    python -m theory_checks --refute
    """
    from theory_checks.registry import UnknownCheckError, select

    try:
        chosen = select(ids)
    except UnknownCheckError as error:
        raise click.ClickException(str(error)) from None
    if list_only:
        for check in chosen:
            click.echo(f"{check.key}: {check.claim} [{check.source}]")
        return
    if refute:
        _refute({check.key for check in chosen}, effort=effort, self_test=self_test, as_json=as_json)
        return
    from theory_checks.runner import run

    jobs = jobs or (1 if ids else os.cpu_count() or 1)
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=len(chosen), label="checking", hidden=hidden, file=sys.stderr) as bar:
        results = run(chosen, jobs=jobs, effort=effort, self_test=self_test, done=bar.update)
    passed = all(result.passed for result in results)
    if as_json:
        report = {"passed": passed, "effort": effort, "checks": [result.to_dict() for result in results]}
        click.echo(json.dumps(report, indent=1, allow_nan=False))
    else:
        _show(results, self_test=self_test)
    raise SystemExit(0 if passed else 1)


def _refute(keys: set[str], *, effort: int, self_test: bool, as_json: bool) -> None:
    """Print the smallest counterexamples; with ``self_test`` the corrected statements must survive the same search."""
    from hypothesis.errors import NoSuchExample

    from theory_checks.refutations import find, searches, survives

    rows, passed = [], True
    for key, search in searches().items():
        if f"{key}/as_printed" not in keys:
            continue
        try:
            row = find(search, effort=effort).to_dict()
        except NoSuchExample:
            row = {"id": key, "severity": search.severity, "counterexample": None}
        if self_test:
            against = survives(search, examples=100 * effort)
            row["corrected survives"] = against is None
        passed = passed and row["counterexample"] is not None and row.get("corrected survives", True)
        rows.append(row)
        if not as_json:
            lost = "" if row.get("corrected survives", True) else " - AND REFUTES THE CORRECTED STATEMENT"
            click.echo(f"{key} ({search.severity}): {row['counterexample'] or 'NOT FOUND'}{lost}")
    if as_json:
        click.echo(json.dumps({"passed": passed, "effort": effort, "counterexamples": rows}, indent=1))
    raise SystemExit(0 if passed else 1)


def _show(results: list[Result], *, self_test: bool) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    console.print(_table(results, self_test=self_test))
    for result in results:
        outcome = result.outcome
        notes = [text for text in (outcome.counterexample, outcome.detail) if text]
        if notes:
            console.print(f"{result.check.key}: {'; '.join(notes)}", markup=False, highlight=False)
        if result.broken_verdict not in (None, "pass") and result.broken_outcome is not None:
            why = result.broken_outcome.detail or f"worst margin {result.broken_outcome.margin:.3g}"
            console.print(f"{result.check.key}: the broken subject was not rejected ({why})", markup=False)
    failed = sum(not result.passed for result in results)
    statements = len({result.check.id for result in results})
    seconds = sum(result.seconds for result in results)
    console.print(f"{len(results)} checks of {statements} statements, {failed} failed, {seconds:.1f} s in all")


def _table(results: list[Result], *, self_test: bool) -> Table:
    from rich.table import Table

    table = Table(header_style="bold")
    for name in ("statement", "variant", "source", "kind"):
        table.add_column(name, no_wrap=name == "statement")
    for name in ("instances", "worst margin"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    if self_test:
        table.add_column("broken")
    table.add_column("time", justify="right")
    styles = {"pass": "[green]PASS[/]", "fail": "[red]FAIL[/]", "error": "[red]ERROR[/]"}
    for result in results:
        check, outcome = result.check, result.outcome
        name = f"{check.id}/{check.part}" if check.part else check.id
        margin = f"{outcome.margin:.2g}" if math.isfinite(outcome.margin) else "-"
        verdict = styles[result.verdict]
        if result.verdict == "pass" and check.variant == "as_printed":
            verdict += " (refuted)"
        broken = {"pass": "rejected", "fail": "[red]ACCEPTED[/]", "error": "[red]ERROR[/]"}
        if check.variant == "as_printed":
            broken["pass"] = "holds"
        tested = [broken[result.broken_verdict]] if result.broken_verdict is not None else []
        table.add_row(
            name, check.variant.replace("_", " "), check.source, check.kind, f"{outcome.instances:,}", margin, verdict,
            *tested, f"{result.seconds:.2f} s",
        )  # fmt: skip
    return table
