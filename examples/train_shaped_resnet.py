"""A Wide-ResNet without skips and norms, shaped, beside the same one as it is: on the digits, or on CIFAR-10.

``python -m examples.train_shaped_resnet [--depth 28] [--cifar10 FOLDER] [--optimizer kfac]``
"""

from __future__ import annotations

import click
import torch
from torch import nn

from models import wide_resnet
from qcmap.nn import shape
from qcmap.nn.train import Choice, Settings, Trainer, data

RATES = {"sgd": 2e-3, "adam": 1e-3, "kfac": 1e-3, "soap": 1e-3}


@click.command()
@click.option("--depth", default=28, show_default=True, help="6 n + 4.")
@click.option("--cifar10", "folder", help="Folder with the official binary files; the digits without it.")
@click.option("--optimizer", type=click.Choice(list(RATES)), default="sgd", show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--examples", type=int, help="Train on the first of the training examples only.")
def main(depth: int, folder: str | None, optimizer: str, epochs: int, examples: int | None) -> None:
    """Train both networks with the same settings and print their curves."""
    if folder is None:
        images = data.digits(flat=False, train=examples)
    else:
        images = data.cifar10(folder=folder, augment=True, train=examples)

    torch.manual_seed(0)  # for torch's own weights of the first convolution
    # Neither norms nor shortcuts; the first convolution reads the channel that PLN adds.
    plain = wide_resnet(depth, widen=2, activation="softplus", norm=None, shortcuts=False)
    plain.stem.conv = nn.Conv2d(images.example().shape[1], 16, 3, padding=1)

    # One call: traced, checked, its constants solved for, rebuilt, its weights drawn. The model itself stays as it is.
    shaped = shape(plain, images.example(), zeta=1.5)

    settings = Settings(epochs=epochs, batch_size=32, optimizer=Choice(optimizer, learning_rate=RATES[optimizer]))
    for name, network in {"shaped": shaped, "plain": plain}.items():
        result = Trainer(network, images, settings).train()
        curve = result.curve("accuracy")
        click.echo(f"{name}: {result.status}; training {', '.join(f'{accuracy:.0%}' for accuracy in curve)}")


if __name__ == "__main__":
    main()
