"""The table of experiments, by name, and its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from examples.dks_experiments.kernels import KERNELS
from examples.dks_experiments.rows_ablations import ABLATIONS
from examples.dks_experiments.rows_main import MAIN
from examples.dks_experiments.rows_methods import OTHERS
from examples.dks_experiments.rows_parameters import PARAMETERS
from examples.dks_experiments.setup import Network, Scale
from examples.experiment import Experiment

SMALL = Scale(
    {"dense": Network("deep", 50, 64), "convolutional": Network("deep", 50, 8)},
    schedule="cosine",
    rates={
        "sgd": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
        "adam": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
        "kfac": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        "shampoo": (3e-5, 1e-4, 3e-4, 1e-3),
    },
    optimizers={
        "sgd": {"momentum": 0.9},
        "kfac": {"damping": 0.03, "max_norm": 0.03, "curvature_every": 5, "inverse_every": 10},
    },
)
"""Digits. K-FAC has more damping and more frequent inverses than the paper's, for batches of 64 and some hundred steps;
its norm is not squared (docs/kfac.md), and makes all rates above some 0.003 alike. A network that learns has its best
rate inside the grid: ResNets and Fixup had it at the end, 0.1, of an earlier one, K-FAC at 0.01 and convolutional
networks with Adam at 0.003. One that learns nothing may have it anywhere."""

TINY = replace(
    SMALL,
    networks={"dense": Network("deep", 6, 16), "convolutional": Network("deep", 6, 4)},
    epochs=1,
    tuning_epochs=1,
    batch_size=512,
    rates={name: rates[1:2] for name, rates in SMALL.rates.items()},
    seeds=(0, 1),
    workers=0,
)

PAPER = Scale(
    {"dense": Network("resnet_v2", 101, 64), "convolutional": Network("resnet_v2", 101, 64)},
    dataset="imagenet",
    batch_size=512,
    epochs=80,
    schedule="cosine",
    tuning_epochs=2,
    rates={
        "sgd": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
        "adam": (1e-5, 1e-4, 3e-4, 1e-3),
        "kfac": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
        "shampoo": (1e-5, 1e-4, 3e-4, 1e-3),
    },
    optimizers={"sgd": {"momentum": 0.9}},
    double=False,
    workers=0,
    chance=1e-3,
    keep=True,
)
"""Section 27: ResNet-101, 200,000 steps of 512 images, with a grid and a cosine in place of FIRE PBT."""

CIFAR = replace(
    PAPER,
    networks={"dense": Network("wide_resnet", 250, 2), "convolutional": Network("wide_resnet", 250, 2)},
    dataset="cifar10",
    batch_size=1024,
    epochs=570,
    chance=0.1,
)
"""Section 28.1: Wide-ResNet of 250 layers, widened twice, 25,000 steps of 1,024 images."""

SCALES = {"tiny": TINY, "small": SMALL, "paper": CIFAR, "imagenet": PAPER}

ROWS = (*MAIN, *OTHERS, *PARAMETERS, *ABLATIONS)
EXPERIMENTS: Mapping[str, Experiment] = {
    **{row.name: row.experiment(SCALES) for row in ROWS},
    KERNELS.name: KERNELS,
}
