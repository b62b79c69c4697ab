"""``python -m examples.neural_race NAME ... [--size small|paper] [--output DIR] [--data DIR]``, or ``--all``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from examples.neural_race.experiment import SIZES, perform
from examples.neural_race.table import EXPERIMENTS
from qcmap.errors import QCMapError


@click.command(help="Draw figures of the Neural Race Reduction and check what the paper reports of them.")
@click.argument("names", nargs=-1, metavar="NAME...", type=click.Choice(list(EXPERIMENTS)))
@click.option("--all", "everything", is_flag=True, help="All figures.")
@click.option("--size", type=click.Choice(SIZES), default="small", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("neural-race"), show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with MNIST and CIFAR-10, for --size paper.")
def main(names: tuple[str, ...], everything: bool, size: str, output: Path, data: Path | None) -> None:
    """Run the experiments and print each finding with its verdict."""
    chosen = list(EXPERIMENTS) if everything else list(dict.fromkeys(names))
    if not chosen:
        raise click.UsageError(f"name a figure ({', '.join(EXPERIMENTS)}), or give --all")
    try:
        for name in chosen:
            experiment = EXPERIMENTS[name]
            reads = data is not None and hasattr(experiment.sizes[size], "data")
            report = perform(experiment, size, output, **({"data": str(data)} if reads else {}))
            click.echo(f"{name} ({report['cpu_seconds']} s): {report['verdict']}")
            for finding in report["findings"]:
                click.echo(f"  {'holds' if finding['holds'] else 'FAILS'}: {finding['says']}; {finding['seen']}")
    except QCMapError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
