"""Synthetic data: Gaussian inputs and what a random network, the teacher, makes of them."""

from __future__ import annotations

import torch

from qcmap.architecture import zoo
from qcmap.errors import ArgumentError
from qcmap.nn._network import GraphNetwork
from qcmap.nn._pln import pln
from qcmap.nn.train._examples import Splits
from qcmap.nn.train._randomness import derived_seed


def teacher_splits(
    *, examples: int, channels: int, outputs: int, depth: int, width: int, activation: str, classes: bool, seed: int,
    with_pln: bool,
) -> Splits:  # fmt: skip
    """As many examples to train; a quarter as many to validate and to test.

    The teacher is an MLP with Gaussian weights. Targets are its outputs, or with ``classes`` the place of the largest.
    """
    sizes = {"examples": examples, "channels": channels, "outputs": outputs, "depth": depth, "width": width}
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"data.{name}", f"it must be positive, not {size}", "give 1 or more")
    source = torch.Generator().manual_seed(derived_seed(seed, "inputs"))
    quarter = -(-examples // 4)
    inputs = torch.randn(examples + 2 * quarter, channels, generator=source)
    arch = zoo.mlp(depth, width, activation, in_channels=channels, out_channels=outputs)
    teacher = GraphNetwork(arch, weights="gaussian", seed=derived_seed(seed, "teacher"))
    with torch.no_grad():
        found = teacher(inputs)
    targets = found.argmax(1) if classes else found
    inputs = pln(inputs) if with_pln else inputs
    parts = zip(inputs.split((examples, quarter, quarter)), targets.split((examples, quarter, quarter)), strict=True)
    train, validation, test = parts
    return Splits.of_tensors(train, validation, test)
