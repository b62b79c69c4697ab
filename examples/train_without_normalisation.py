"""A model of your own loses its batch norms and trains all the same.

``python -m examples.train_without_normalisation [--blocks 10] [--epochs 10]``

Replace `Model` and the data by yours; the rest stays.
"""

from __future__ import annotations

import click
import torch
from torch import Tensor, nn

from qcmap.nn import shape
from qcmap.nn.train import Choice, Settings, Trainer, data


class Model(nn.Module):
    """Any torch model: here blocks with batch norms and skips, written as usual."""

    def __init__(self, blocks: int = 10, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(65, width)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(blocks))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 65] to [batch, 10]."""
        h = self.first(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = h + layer(torch.nn.functional.silu(norm(h)))
        return self.head(torch.nn.functional.silu(h))


@click.command()
@click.option("--blocks", default=10, show_default=True)
@click.option("--epochs", default=10, show_default=True)
def main(blocks: int, epochs: int) -> None:
    """Train the model as it is and without its norms, and say what was changed."""
    digits = data.digits()
    torch.manual_seed(0)  # for torch's own weights of the model
    model = Model(blocks)
    shaped = shape(model, digits.example(), batch_norm="remove", residual_weight=0.3)
    click.echo(f"{len(list(model.modules()))} modules; changed: {shaped.report().counts()}")
    settings = Settings(epochs=epochs, batch_size=32, optimizer=Choice("sgd", learning_rate=5e-3, momentum=0.9))
    for name, network in {"with norms": model, "shaped, without": shaped}.items():
        result = Trainer(network, digits, settings).train()
        click.echo(f"{name}: {result.status}; test accuracy {result.curve('test.accuracy')[-1]:.1%}")


if __name__ == "__main__":
    main()
