"""The command of a table of experiments: ``python -m examples.TABLE NAME ... [--size small|paper] [--output DIR]``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from examples.experiment import Experiment, perform
from qcmap.errors import QCMapError


def command(experiments: Mapping[str, Experiment], says: str, output: str) -> click.Command:
    """A command that runs experiments by name and prints each finding with its verdict.

    Parameters
    ----------
    experiments
        By name.
    says
        What the command does, for its help.
    output
        The folder that results go to by default.
    """
    sizes = list(dict.fromkeys(size for experiment in experiments.values() for size in experiment.sizes))

    @click.command(help=says)
    @click.argument("names", nargs=-1, metavar="NAME...", type=click.Choice(list(experiments)))
    @click.option("--all", "everything", is_flag=True, help="All of them.")
    @click.option("--size", type=click.Choice(sizes), default="small", show_default=True)
    @click.option("--output", type=click.Path(path_type=Path), default=Path(output), show_default=True)
    @click.option(
        "--data", type=click.Path(path_type=Path), help="Folder with MNIST, CIFAR-10 or ImageNet, for large sizes."
    )
    def main(names: tuple[str, ...], everything: bool, size: str, output: Path, data: Path | None) -> None:
        """Run the experiments and print what was found."""
        chosen = list(experiments) if everything else list(dict.fromkeys(names))
        if not chosen:
            raise click.UsageError(f"name a figure ({', '.join(experiments)}), or give --all")
        try:
            for name in chosen:
                experiment = experiments[name]
                reads = data is not None and hasattr(experiment.sizes.get(size), "data")
                report = perform(experiment, size, output, **({"data": str(data)} if reads else {}))
                click.echo(f"{name} ({report['cpu_seconds']} s): {report['verdict']}")
                for finding in report["findings"]:
                    click.echo(f"  {'holds' if finding['holds'] else 'FAILS'}: {finding['says']}; {finding['seen']}")
        except QCMapError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return main
