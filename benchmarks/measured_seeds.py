"""Measured q and c values over 20 seeds beside the predictions, before and after shaping.

``python benchmarks/measured_seeds.py`` prints a line for each network: an MLP of width 512 and depth 100, and a
residual convolutional network of 50 layers with widened bottlenecks on 8 x 8 images. Some minutes on one core.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import qcmap as qc
import qcmap.nn as qnn

SEEDS = 20


class Bottlenecks(nn.Module):
    """A stem and 16 residual blocks of three convolutions, bottlenecks as wide as the rest, and no pooling.

    48 convolutions in blocks, the stem and the head make 50 layers. ``shaping`` has the transform of softplus.
    """

    def __init__(self, width: int, seed: int, shaping: qc.numeric.Shaping | None, weight: float) -> None:
        super().__init__()
        self.add = qnn.NormalizedSum([weight, (1 - weight**2) ** 0.5])
        self.stem = nn.Conv2d(5, width, 3, padding=1)
        act = qnn.activation_module("softplus", None if shaping is None else shaping["softplus"])
        self.blocks = nn.ModuleList(
            nn.Sequential(
                act, nn.Conv2d(width, width, 1), act, nn.Conv2d(width, width, 3, padding=1), act,
                nn.Conv2d(width, width, 1),
            )
            for _ in range(16)
        )  # fmt: skip
        self.last, self.head = act, nn.Conv2d(width, width, 1)
        qnn.initialize(self, "orthogonal", seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        """The head's feature map."""
        h = self.stem(x)
        for block in self.blocks:
            h = self.add(block(h), h)
        return self.head(self.last(h))


def mlp(inputs: Tensor) -> None:
    """Width 512, depth 100."""
    b = qc.Builder("mlp")
    h = b.input("x", channels=inputs.shape[1])
    for _ in range(100):
        h = b.activation(b.affine(h, 512), "tanh")
    arch = b.build([h])
    shaping = qc.dks(arch, 1.5)
    maps = qc.network_maps(arch, shaping)
    for name, made in (("shaped", shaping), ("as it is", None)):
        found = qnn.measure_seeds(
            lambda seed, made=made: qnn.GraphNetwork(arch, made, seed=seed), inputs, seeds=SEEDS, maps=maps, pairs=32
        )
        report(f"MLP of depth 100, {name}", found)


def report(name: str, found: qnn.SeedsMeasurement) -> None:
    """One line."""
    inside = sum(max(abs(row.q.score), abs(row.c.score)) <= 3 for row in found.rows)
    print(
        f"{name}: {inside} of {len(found.rows)} nodes within 3 standard errors, the worst {found.worst:.2f} off "
        f"(threshold {found.threshold:.2f}: {len(found.disagreeing)} disagree), errors up to {found.largest_error:.2%}",
        flush=True,
    )


def bottlenecks(images: Tensor, width: int = 256) -> None:
    """50 layers; the graph is traced, and shaped for all its activations."""
    weight = 0.05**0.5
    arch = qnn.trace(Bottlenecks(width, 0, None, weight), images)
    shaping = qc.dks(arch, 1.5)
    for name, made in (("shaped", shaping), ("as it is", None)):
        # A shaped model is traced with its shaped activations; the other one is held against what they would do.
        found = qnn.measure_seeds(
            lambda seed, made=made: Bottlenecks(width, seed, made, weight),
            images,
            seeds=SEEDS,
            pairs=8,
            shaping=None if made is not None else shaping,
        )
        report(f"50 convolutions, {name}", found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(16, 64, generator=generator) + 0.7 * torch.randn(1, 64, generator=generator)
    mlp(qnn.pln(rows))
    pixels = torch.randn(8, 4, 8, 8, generator=generator) + torch.randn(1, 4, 8, 8, generator=generator)
    bottlenecks(qnn.pln(pixels))
