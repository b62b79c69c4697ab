"""How the global slope bound zeta changes training: ``python -m examples.sweep_zeta --output runs/zeta``.

Each run has a folder of its own; a sweep that was broken off goes on where it was.
"""

from __future__ import annotations

import click

from qcmap.nn.train import run, settings_from

CONFIGURATION = {
    "data": "digits",
    "batch_size": 32,
    "optimizer": {"name": "sgd", "learning_rate": 2e-3, "momentum": 0.9},
}


@click.command()
@click.option("--zeta", "zetas", type=float, multiple=True, default=(1.001, 1.1, 1.5, 5.0, 100.0), show_default=True)
@click.option("--depth", default=50, show_default=True)
@click.option("--epochs", default=5, show_default=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--output", required=True)
def main(zetas: tuple[float, ...], depth: int, epochs: int, seeds: int, output: str) -> None:
    """Train once for each zeta and seed, and print training and test accuracy."""
    for zeta in zetas:
        for seed in range(seeds):
            model = {"name": "zoo", "architecture": f"mlp:depth={depth},width=64,activation=tanh", "zeta": zeta}
            settings = settings_from({**CONFIGURATION, "model": model, "epochs": epochs, "seed": seed})
            result = run(settings, output=f"{output}/zeta-{zeta}-seed-{seed}", resume=True)
            if result.status == "diverged":
                click.echo(f"zeta {zeta}, seed {seed}: diverged")
                continue
            train, test = result.curve("accuracy")[-1], result.curve("test.accuracy")[-1]
            click.echo(f"zeta {zeta}, seed {seed}: training {train:.1%}, test {test:.1%}")


if __name__ == "__main__":
    main()
