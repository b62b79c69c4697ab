"""``python -m examples.front_figure``: the picture of README and of the first page, docs/figures/front.png."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

import qcmap as qc
from qcmap import demo, plot

NETWORKS = {
    "shaped tanh": ("tanh", "dks"),
    "shaped softplus": ("softplus", "dks"),
    "fan-in tanh": ("tanh", "lecun"),
    "fan-in softplus": ("softplus", "lecun"),
    "He relu": ("relu", "he"),
}
"""Activation and method of each network of the demo."""


def c_map(activation: str, method: str, c: np.ndarray) -> np.ndarray:
    """The C map of 50 layers at c."""
    arch = qc.zoo.mlp(demo.DEPTH, activation=activation)
    if method == "dks":
        return qc.network_maps(arch, qc.dks(arch, demo.ZETA)).c(c)
    return qc.network_maps(qc.numeric.initialized(arch, method)).c(c)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("docs/figures/front.png"), show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=demo.EPOCHS, show_default=True)
def main(output: Path, epochs: int) -> None:
    """Draw C maps of networks of 50 layers, and how these networks train on the digits."""
    figure, (left, right) = plot.new_figure(2, width=4.2, height=3.0)
    c = np.linspace(-1, 1, 401)
    for name, (activation, method) in NETWORKS.items():
        left.plot(c, c_map(activation, method, c), "-" if method == "dks" else "--", label=name)
    left.set(xlabel="cosine of two inputs", ylabel="after 50 layers", title="C maps", ylim=(-1.05, 1.05))
    plot.accuracy(right, demo.train(NETWORKS, epochs=epochs, progress=False))
    right.set(title="training accuracy")
    click.echo(plot.save(figure, output))


if __name__ == "__main__":
    main()
