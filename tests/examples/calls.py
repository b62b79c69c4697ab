"""Calls of an example's command that must be refused."""

from pathlib import Path

from click import Command
from click.testing import CliRunner


def refused(main: Command, arguments: list[str], code: int, message: str, folder: Path) -> None:
    """The command ends with the code and the message, and leaves the folder empty."""
    result = CliRunner().invoke(main, [*arguments, "--output", str(folder)])
    assert result.exit_code == code
    assert message in result.output
    assert not list(folder.iterdir())
