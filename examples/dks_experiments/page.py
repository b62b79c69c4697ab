"""``python -m examples.dks_experiments.page RESULTS PAGE``: put figures, numbers and verdicts into a page of the docs.

The page keeps its prose. What stands between ``<!-- results: NAME -->`` and ``<!-- end -->`` is written anew, and the
figures are copied to ``figures/dks_experiments`` beside the page.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from examples.dks_experiments.ordering import NOISE
from examples.experiment import mean_and_error, shown
from qcmap._atomic import write_whole
from qcmap.errors import DataError

_BLOCK = re.compile(r"(<!-- results: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
FIGURES = Path("figures") / "dks_experiments"


def filled_in(page: str, results: Path) -> str:
    """The page with all its blocks written anew; those whose results are not there say so."""
    reports = {path.stem: json.loads(path.read_text()) for path in results.glob("*.json") if path.stem != "cells"}

    def block(match: re.Match[str]) -> str:
        name = match[2]
        if name == "summary":
            text = _summary(reports)
        else:
            text = _section(reports[name]) if name in reports else "Not run yet.\n"
        return f"{match[1]}\n{text}\n{match[4]}"

    return _BLOCK.sub(block, page)


def _summary(reports: Mapping[str, Mapping[str, Any]]) -> str:
    rows = ["| row | what the paper reports | holds | of |", "|---|---|---|---|"]
    for name, report in sorted(reports.items()):
        holds = sum(finding["holds"] for finding in report["findings"])
        count = len(report["findings"])
        rows.append(f"| {name} | {report['reports']} | {'all' if holds == count else holds} | {count} |")
    findings = [finding for report in reports.values() for finding in report["findings"]]
    holding = [finding for finding in findings if finding["holds"]]
    noise = sum(NOISE in finding["seen"] for finding in holding)
    minutes = sum(report["cpu_seconds"] for report in reports.values()) / 60
    total = (
        f"Of {len(findings)} orderings {len(holding)} hold, {noise} of these because noise forgives, and "
        f"{len(findings) - len(holding)} fail. All rows together took {minutes:.0f} CPU minutes."
    )
    return "\n".join([total, "", *rows]) + "\n"


def _section(report: Mapping[str, Any]) -> str:
    name = report["experiment"]
    lines = [f"*The paper, {report['reports']}.*", "", f"![{name}]({FIGURES.as_posix()}/{name}.png)", ""]
    curves = {label: row for label, row in report["numbers"].items() if "runs" in row}
    if curves:
        lines += ["| | rate | speed | training accuracy | test accuracy |", "|---|---|---|---|---|"]
        lines += [_line(label, row) for label, row in curves.items()]
        lines.append("")
    for finding in report["findings"]:
        says, seen = finding["says"], finding["seen"].replace("+-", "±")
        lines.append(f"- {'holds' if finding['holds'] else '**fails**'}: {says}; {seen}")
    return "\n".join(lines) + "\n"


def _line(label: str, row: Mapping[str, Any]) -> str:
    numbers = " | ".join(
        shown(*mean_and_error(np.array(row[name]))).replace("+-", "±") for name in ("speed", "train", "test")
    )
    lost = sum(run["status"] == "diverged" for run in row["runs"])
    edge = " (edge)" if row["rate_at_edge"] else ""
    broken = f", {lost} of {len(row['runs'])} diverged" if lost else ""
    return f"| {label}{broken} | {row['rate']:g}{edge} | {numbers} |"


@click.command(help="Put the results of a folder into a page of the docs.")
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("page", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(results: Path, page: Path) -> None:
    """Rewrite the page's blocks and copy the figures that it shows."""
    text = page.read_text()
    names = [match[2] for match in _BLOCK.finditer(text) if match[2] != "summary"]
    if not names:
        raise DataError(str(page), "it has no blocks for results", "put <!-- results: NAME --> and <!-- end --> in")
    write_whole(page, filled_in(text, results).encode())
    (page.parent / FIGURES).mkdir(parents=True, exist_ok=True)
    for name in names:
        if (results / f"{name}.png").exists():
            shutil.copyfile(results / f"{name}.png", page.parent / FIGURES / f"{name}.png")


if __name__ == "__main__":
    main()
