"""The command ``demo``."""

from __future__ import annotations

import click

from qcmap.cli._common import JSON, print_json


@click.command()
@click.option("--output", type=click.Path(file_okay=False), default="demo-output", show_default=True, help="Folder.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True, help="Epochs of training.")
@JSON
def demo(output: str, epochs: int, as_json: bool) -> None:
    """Formulas, constants, training on real data, predictions against measurements, a picture. Under a minute.

    Example: qcmap demo --output demo-output --epochs 5
    """
    from pathlib import Path

    from qcmap.demo import run

    results = run(Path(output), epochs=epochs, quiet=as_json)
    if as_json:
        print_json(results)
