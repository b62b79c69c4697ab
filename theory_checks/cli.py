"""The command line of the checks."""

from __future__ import annotations

import json
import math
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
@click.option("--list", "list_only", is_flag=True, help="List the checks and what they claim, and run none.")
def main(ids: tuple[str, ...], *, as_json: bool, self_test: bool, effort: int, list_only: bool) -> None:
    """Run the checks of the papers' statements: all, or those that IDS name (dks-15, dks-32/as_printed)."""
    from theory_checks.registry import UnknownCheckError, evaluate, select

    try:
        chosen = select(ids)
    except UnknownCheckError as error:
        raise click.ClickException(str(error)) from None
    if list_only:
        for check in chosen:
            click.echo(f"{check.key}: {check.claim} [{check.source}]")
        return
    show = sys.stderr.isatty()
    with click.progressbar(chosen, label="checking", hidden=not show, file=sys.stderr) as bar:
        results = [evaluate(check, effort=effort, self_test=self_test) for check in bar]
    passed = all(result.passed for result in results)
    if as_json:
        report = {"passed": passed, "effort": effort, "checks": [result.to_dict() for result in results]}
        click.echo(json.dumps(report, indent=1, allow_nan=False))
    else:
        _show(results, self_test=self_test)
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
    console.print(f"{len(results)} checks, {failed} failed, {sum(r.seconds for r in results):.1f} s")


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
