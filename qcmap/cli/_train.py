"""The command ``train``."""

from __future__ import annotations

import click

from qcmap.cli._common import JSON, print_json


@click.command()
@click.argument("config", type=click.Path(dir_okay=False))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting; may be repeated.")
@click.option("--output", required=True, type=click.Path(file_okay=False), help="Folder for records and checkpoint.")
@click.option("--resume", is_flag=True, help="Go on from the folder's checkpoint, if there is one.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@JSON
def train(config: str, changes: tuple[str, ...], output: str, resume: bool, quiet: bool, as_json: bool) -> None:
    """Train a network as a configuration file says.

    Example: qcmap train run.yaml --set optimizer.learning_rate=0.01 --output runs/first

    Several processes or GPUs: torchrun --nproc-per-node 2 -m qcmap train run.yaml --output runs/first
    """
    import os

    from qcmap.nn.train import read_run, run

    result = run(read_run(config, changes), output=output, resume=resume, progress=not (quiet or as_json))
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(f"{result!r} in {output}")
