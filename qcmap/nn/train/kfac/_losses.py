"""The losses whose curvature K-FAC can measure, as curvlinops knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FisherLoss:
    """A loss, and what curvlinops takes in its place.

    Attributes
    ----------
    known
        The module of torch that curvlinops takes, which sums over terms; a term has a label of its own.
    multiple
        How many times the loss it is.
    rows
        From the outputs of the model to [terms, numbers of one term].
    labels
        From the number of terms to labels that have the right type; their values are not used.
    """

    known: nn.Module
    multiple: float
    rows: Callable[[Tensor], Tensor]
    labels: Callable[[int], Tensor]


LOSSES: Mapping[str, FisherLoss] = {
    "cross_entropy": FisherLoss(
        nn.CrossEntropyLoss(reduction="sum"), 1.0,
        rows=lambda outputs: outputs.movedim(1, -1).flatten(0, -2),
        labels=lambda terms: torch.zeros(terms, dtype=torch.int64),
    ),
    "squared_error": FisherLoss(
        nn.MSELoss(reduction="sum"), 2.0,
        rows=lambda outputs: outputs.flatten(1),
        labels=lambda terms: torch.zeros(terms, 1),
    ),
}  # fmt: skip
"""By name: softmax cross-entropy of outputs [batch, classes, ...], a mean over all but the classes, and half the
squared error of outputs [batch, ...], a mean over the batch alone."""
