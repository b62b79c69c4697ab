"""The data of a setup: a data set of the library, with or without PLN, its inputs multiplied by a number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from examples.dks_experiments.setup import Run
from qcmap.errors import ArgumentError
from qcmap.nn import pln
from qcmap.nn.train import Choice, Examples, Splits, TensorExamples
from qcmap.nn.train.data import load_data

IMAGES_ONLY = "cifar10", "imagenet"


def splits_of(run: Run) -> Splits:
    """Splits for a run, in its floating-point type.

    Raises
    ------
    ArgumentError
        If files are needed and no folder is named, or images are to be read as vectors.
    DataError
        If files are missing; the message says which to put where.
    """
    setup = run.setup
    options: dict[str, Any] = {"pln": setup.pln and setup.scale == 1}
    if run.dataset != "digits":
        if not run.data:
            raise ArgumentError("data", f"{run.dataset} is read from a local folder", "name it with --data")
        options["folder"] = run.data
    if run.dataset not in IMAGES_ONLY:
        options["flat"] = setup.layers == "dense"
    if run.dataset == "cifar10":
        options["augment"] = True
    splits = load_data(Choice(run.dataset, **options))
    if setup.scale != 1:
        splits = splits.changed(lambda part: _multiplied(part, setup.scale, with_pln=setup.pln))
    if setup.task == "parity":
        splits = splits.changed(_parity)
    return splits.cast(torch.float64) if run.double else splits


def _parity(examples: Examples) -> Examples:
    """The examples with 1 for odd classes and 0 for even ones."""
    if not isinstance(examples, TensorExamples):
        raise ArgumentError("task", "the classes of images in files cannot be changed", "leave the row out")
    return replace(examples, targets=examples.targets % 2)


def _multiplied(examples: Examples, factor: float, *, with_pln: bool) -> Examples:
    """The examples with inputs times a factor, and PLN after that if wanted."""
    if not isinstance(examples, TensorExamples):
        raise ArgumentError("scale", "images in files cannot be multiplied", "leave the row out")
    before = examples.preparation

    def preparation(inputs: Tensor) -> Tensor:
        scaled = factor * (inputs if before is None else before(inputs))
        return pln(scaled) if with_pln else scaled

    return replace(examples, preparation=preparation)


def some_inputs(splits: Splits, count: int) -> Tensor:
    """The first training inputs [count, ...], or all if there are fewer, augmented by the middle of each range."""
    count, examples = min(count, len(splits.train)), splits.train
    return examples.prepared(examples.batch(torch.arange(count), torch.full((count, examples.draws), 0.5))[0])
