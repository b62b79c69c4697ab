"""Calls of an example's command: experiments at tiny size, and what must be refused."""

import json
from collections.abc import Iterable
from pathlib import Path

from click import Command
from click.testing import CliRunner


def refused(main: Command, arguments: list[str], code: int, message: str, folder: Path) -> None:
    """The command ends with the code and the message, and leaves the folder empty."""
    result = CliRunner().invoke(main, [*arguments, "--output", str(folder)])
    assert result.exit_code == code
    assert message in result.output
    assert not list(folder.iterdir())


def runs_tiny(main: Command, name: str, folder: Path, must_hold: Iterable[str]) -> None:
    """The experiment writes numbers and a picture, says what it found, and finds what must hold."""
    result = CliRunner().invoke(main, [name, "--size", "tiny", "--output", str(folder)])
    assert result.exit_code == 0, result.output
    report = json.loads((folder / f"{name}.json").read_text())
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert report["settings"]
    assert report["numbers"]
    holds = {finding["says"]: finding["holds"] for finding in report["findings"]}
    assert report["verdict"] == ("holds" if all(holds.values()) else "fails")
    assert f"{name} ({report['cpu_seconds']} s): {report['verdict']}" in result.output
    assert all(holds[says] for says in must_hold)
