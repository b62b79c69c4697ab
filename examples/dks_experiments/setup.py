"""What is trained: a network, a method that makes it trainable, data and an optimiser, all as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Layers = Literal["dense", "convolutional"]


@dataclass(frozen=True)
class Setup:
    """One curve of a figure, whatever the size.

    Attributes
    ----------
    method
        A row of `METHODS`.
    activation
        A name of the catalogue.
    optimizer
        A row of `qcmap.nn.train.OPTIMIZERS`.
    layers
        Which of a size's networks.
    skips, norm
        Whether it has shortcuts, and batch norms.
    options
        Of the method.
    pooling, stem
        Of convolutional networks: how locations are pooled at the end and at the start; None for the network's own way.
    task
        ``"classes"``, those of the data set, or ``"parity"``: whether their number is odd.
    pln, scale
        Whether inputs are normalised per location, and what they are multiplied by before.
    clip
        The largest norm of a gradient, all parameters together, or None: Looks Linear needs one (section 28.5.5).
    """

    method: str = "dks"
    activation: str = "tanh"
    optimizer: str = "sgd"
    layers: Layers = "dense"
    skips: bool = False
    norm: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    pooling: Literal["mean", "weighted"] = "mean"
    stem: Literal["max", "convolution"] | None = None
    task: Literal["classes", "parity"] = "classes"
    pln: bool = True
    scale: float = 1.0
    clip: float | None = None


@dataclass(frozen=True)
class Network:
    """A size of network: a row of `MODELS`, affine layers from stem to head, and channels (or how often to widen)."""

    model: str
    depth: int
    width: int


@dataclass(frozen=True)
class Scale:
    """A size of experiment: what all curves share.

    Attributes
    ----------
    networks
        By kind of layers.
    dataset, data
        A row of `qcmap.nn.train.data.DATASETS`, and the folder it is read from.
    batch_size, epochs, schedule
        Of the runs that are shown.
    tuning_epochs
        Of the runs that choose the learning rate.
    rates
        The grid, by optimiser: the same for all methods.
    optimizers
        Options, by optimiser.
    seeds
        Of weights and of the order of examples; the rate is chosen with another seed.
    double
        Whether to compute in float64: shaped activations are quicker in it at these widths.
    workers
        Processes; 0 trains in this one.
    chance
        The accuracy of guesses among the classes of the data set.
    keep
        Whether each run has a folder with records and checkpoints, from which it is resumed.
    """

    networks: Mapping[str, Network]
    dataset: str = "digits"
    data: str = ""
    batch_size: int = 64
    epochs: int = 5
    schedule: str = "constant"
    tuning_epochs: int = 2
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    optimizers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    double: bool = True
    workers: int = 2
    chance: float = 0.1
    keep: bool = False


@dataclass(frozen=True)
class Run:
    """One training run; two rows of the table that have the same run share it."""

    setup: Setup
    network: Network
    dataset: str
    data: str
    batch_size: int
    epochs: int
    schedule: str
    options: Mapping[str, Any] = field(hash=False)
    rate: float
    seed: int
    double: bool


def chance_of(setup: Setup, scale: Scale) -> float:
    """The accuracy of guesses."""
    return 0.5 if setup.task == "parity" else scale.chance


def run_of(setup: Setup, scale: Scale, rate: float, seed: int, epochs: int) -> Run:
    """The run of a setup at a size, with a rate and a seed."""
    return Run(
        setup, scale.networks[setup.layers], scale.dataset, scale.data, scale.batch_size, epochs, scale.schedule,
        scale.optimizers.get(setup.optimizer, {}), rate, seed, scale.double,
    )  # fmt: skip
