"""A deep network without skips or norms on the digits: shaped, and with plain fan-in weights.

``python -m examples.train_shaped_mlp [--depth 50] [--activation tanh] [--output runs]``
"""

from __future__ import annotations

import click

import qcmap as qc
from qcmap.nn import GraphNetwork
from qcmap.nn.train import Choice, Settings, Trainer, data


@click.command()
@click.option("--depth", default=50, show_default=True)
@click.option("--activation", default="tanh", show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--output", help="Folder for records and checkpoints; a run that is there already goes on.")
def main(depth: int, activation: str, epochs: int, output: str | None) -> None:
    """Train both networks with the same settings and print their curves."""
    digits = data.digits()  # 60% to train, 20% to validate, 20% to test; PLN gives every input q value 1
    arch = qc.zoo.mlp(depth, width=64, activation=activation, in_channels=65, out_channels=10)
    shaping = qc.dks(arch, zeta=1.5)  # the constants of the activation
    networks = {
        "shaped": GraphNetwork(arch, shaping),  # orthogonal weights
        "plain": GraphNetwork(arch, weights="gaussian"),
    }
    settings = Settings(
        epochs=epochs, batch_size=32, optimizer=Choice("sgd", learning_rate=2e-3, momentum=0.9),
        schedule=Choice("cosine", warmup=20),
    )  # fmt: skip
    for name, network in networks.items():
        folder = None if output is None else f"{output}/{name}"
        result = Trainer(network, digits, settings, output=folder, resume=True, facts={"network": name}).train()
        curve = result.curve("validation.accuracy")
        click.echo(f"{name}: {result.status}; validation {', '.join(f'{accuracy:.0%}' for accuracy in curve)}")


if __name__ == "__main__":
    main()
